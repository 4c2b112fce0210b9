//! One service.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Berth, BlockIo, Build, CgroupMode, Dependency, Deploy, Device, DeviceRequest, DeviceRule,
    FileMount, Healthcheck, Hook, InitStep, IpcMode, Limits, Link, Logging, Mount, MountSource,
    NetworkMode, PidMode, Platform, Port, Provider, PullPolicy, RestartPolicy, SecurityOptions,
    ServiceModel, ServiceNetwork, Tmpfs, UsernsMode, UtsMode, VolumesFrom, Watch,
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
    /// Networks by key of [`Stack::networks`]. Empty with a `network_mode`; one of `bridge` is
    /// the network `default`.
    pub networks: BTreeMap<String, ServiceNetwork>,
    /// How it is connected; `None` when `networks` counts.
    pub network_mode: Option<NetworkMode>,
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
    /// Whose user ids it has.
    pub userns_mode: UsernsMode,
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
    /// Annotations of the container.
    pub annotations: BTreeMap<String, String>,
    /// Limits of block devices.
    pub block_io: Option<BlockIo>,
    /// How its image is built.
    pub build: Option<Box<Build>>,
    /// Which cgroups it sees; `None` leaves it to the host.
    pub cgroup: Option<CgroupMode>,
    /// Cgroup its own is made in.
    pub cgroup_parent: Option<String>,
    /// Period that `cpu_rt_runtime` is a part of.
    pub cpu_rt_period: Option<Duration>,
    /// Processor time of real-time tasks in each period.
    pub cpu_rt_runtime: Option<Duration>,
    /// What `deploy` says beyond limits.
    pub deploy: Option<Box<Deploy>>,
    /// Paths whose changes count while developing.
    pub watch: Vec<Watch>,
    /// Rules about devices by their numbers.
    pub device_rules: Vec<DeviceRule>,
    /// Devices of the host.
    pub devices: Vec<Device>,
    /// Devices by what they can do.
    pub device_requests: Vec<DeviceRequest>,
    /// Name of the domain.
    pub domainname: Option<String>,
    /// Names for containers of other projects.
    pub external_links: Vec<Link>,
    /// Names for services of the stack.
    pub links: Vec<Link>,
    /// Whose shared memory it uses.
    pub ipc: IpcMode,
    /// Whose processes it sees.
    pub pid: PidMode,
    /// Whose host name it has.
    pub uts: UtsMode,
    /// MAC address on the network of the highest priority, as written.
    pub mac_address: Option<String>,
    /// How soon memory is swapped out, 0…100 percent.
    pub mem_swappiness: Option<u8>,
    /// Not ended when memory runs out.
    pub oom_kill_disable: bool,
    /// Models by key of [`Stack::models`](super::Stack::models).
    pub models: BTreeMap<String, ServiceModel>,
    /// What its image must run on; `None` is the host.
    pub platform: Option<Platform>,
    /// Containers that run to their end before it starts, in order.
    pub pre_start: Vec<InitStep>,
    /// Commands run in it after it started.
    pub post_start: Vec<Hook>,
    /// Commands run in it before it is stopped.
    pub pre_stop: Vec<Hook>,
    /// A program that provides it instead of a container.
    pub provider: Option<Provider>,
    /// Age at which an image counts as old.
    pub pull_refresh_after: Option<Duration>,
    /// Name of the program that runs it.
    pub runtime: Option<String>,
    /// What confines it.
    pub security: SecurityOptions,
    /// Most bytes it may write into its root file system.
    pub storage_size: Option<u64>,
    /// It can reach the API of whoever runs it.
    pub use_api_socket: bool,
    /// Mounts of others that it has too.
    pub volumes_from: Vec<VolumesFrom>,
    /// What `x-berth` says.
    pub berth: Berth,
    /// What its other `x-` keys say.
    pub extensions: BTreeMap<String, serde_json::Value>,
}

impl Service {
    /// Images it needs besides its own: those it mounts, and those of its `pre_start`.
    pub fn other_images(&self) -> impl Iterator<Item = &String> {
        let mounted = self.volumes.iter().filter_map(|mount| match &mount.source {
            MountSource::Image { reference, .. } => Some(reference),
            _ => None,
        });
        let steps = self.pre_start.iter().filter_map(|step| step.image.as_ref());
        mounted.chain(steps.filter(|image| Some(*image) != self.image.as_ref()))
    }
}
