//! One service.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Dependency, FileMount, Healthcheck, Limits, Logging, Mount, Port, PullPolicy, RestartPolicy,
    ServiceNetwork, Tmpfs,
};

/// One service, every short syntax expanded and every path absolute.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Image reference as written. `None` only when the service is built.
    pub image: Option<String>,
    /// Arguments; `None` keeps the image's, empty clears it.
    pub command: Option<Vec<String>>,
    /// Program and first arguments; `None` keeps the image's, empty clears it.
    pub entrypoint: Option<Vec<String>>,
    /// `env_file` and `environment` folded together. `None` removes the image's variable.
    pub environment: BTreeMap<String, Option<String>>,
    /// Published ports, ranges expanded where both sides are ranges.
    pub ports: Vec<Port>,
    /// Ports the service listens on without publishing them (`80`, `80/udp`, `8000-8010`).
    pub expose: Vec<String>,
    /// Mounts in order of their target.
    pub volumes: Vec<Mount>,
    /// Networks by key of [`Stack::networks`]. Empty with `network_mode` other than bridge.
    pub networks: BTreeMap<String, ServiceNetwork>,
    /// `none`, `host`, `service:NAME`, `container:NAME`; `None` when `networks` counts.
    pub network_mode: Option<String>,
    /// What must be before this service starts, by service name.
    pub depends_on: BTreeMap<String, Dependency>,
    /// The probe; `None` leaves the image's.
    pub healthcheck: Option<Healthcheck>,
    /// When the monitor starts it again.
    pub restart: RestartPolicy,
    /// Labels of the container.
    pub labels: BTreeMap<String, String>,
    /// `uid[:gid]` or `name[:group]`, resolved inside the image.
    pub user: Option<String>,
    /// Supplementary groups by name or number.
    pub group_add: Vec<String>,
    /// Directory the process starts in.
    pub working_dir: Option<String>,
    /// Name of the UTS namespace.
    pub hostname: Option<String>,
    /// Fixed container name.
    pub container_name: Option<String>,
    /// Signal that asks the process to end (`SIGTERM` form); `None` takes the image's.
    pub stop_signal: Option<String>,
    /// How long a stop waits before it kills. Default 10 s.
    pub stop_grace_period: Option<Duration>,
    /// Configs mounted into the container.
    pub configs: Vec<FileMount>,
    /// Secrets mounted into the container.
    pub secrets: Vec<FileMount>,
    /// `PATH` with mount options, in order.
    pub tmpfs: Vec<Tmpfs>,
    /// Root file system read-only.
    pub read_only: bool,
    /// Run a small init as PID 1. `None` leaves it to berth.
    pub init: Option<bool>,
    /// Give it a terminal.
    pub tty: bool,
    /// Keep standard input open.
    pub stdin_open: bool,
    /// All capabilities, devices, no masks.
    pub privileged: bool,
    /// Capabilities added to the default set, without `CAP_`.
    pub cap_add: Vec<String>,
    /// Capabilities taken from the default set, without `CAP_`.
    pub cap_drop: Vec<String>,
    /// `host` switches the user namespace off.
    pub userns_mode: Option<String>,
    /// Lines for `/etc/hosts`: name and addresses (or `host-gateway`).
    pub extra_hosts: Vec<(String, String)>,
    /// Name servers for what is not of the stack.
    pub dns: Vec<IpAddr>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// Options of resolv.conf.
    pub dns_opt: Vec<String>,
    /// Limits from `deploy.resources.limits` and the older attributes.
    pub limits: Limits,
    /// Size of `/dev/shm` in bytes. Default 64 MiB.
    pub shm_size: Option<u64>,
    /// Resource limits of the process by name (`nofile`): soft and hard, −1 for unlimited.
    pub ulimits: BTreeMap<String, (i64, i64)>,
    /// Namespaced kernel settings.
    pub sysctls: BTreeMap<String, String>,
    /// How the output is kept.
    pub logging: Logging,
    /// When the image is pulled.
    pub pull_policy: PullPolicy,
    /// How many containers.
    pub replicas: u32,
    /// Whether `up` follows its output.
    pub attach: bool,
    /// Profiles that activate it.
    pub profiles: Vec<String>,
}
