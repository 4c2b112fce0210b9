//! The typed model of a stack: what the files say once they are merged, interpolated, checked
//! and made absolute. Maps are ordered, so the same files give the same model, byte for byte.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::text::Span;
use crate::tree::{Map, Node, Tag, Value};

/// A whole project: the Compose model after profiles and selection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stack {
    /// Project name, already normalised (`[a-z0-9][a-z0-9_-]*`).
    pub name: String,
    /// Directory that relative paths count from, absolute.
    pub working_dir: PathBuf,
    /// Files the model was made from, absolute, in the order they were merged.
    pub files: Vec<PathBuf>,
    /// Active services by name.
    pub services: BTreeMap<String, Service>,
    /// Networks some active service uses (`default` included when it is used).
    pub networks: BTreeMap<String, Network>,
    /// Named volumes some active service uses.
    pub volumes: BTreeMap<String, Volume>,
    /// Configs some active service uses.
    pub configs: BTreeMap<String, FileObject>,
    /// Secrets some active service uses.
    pub secrets: BTreeMap<String, FileObject>,
    /// Services switched off by their profiles, or left out when others were named. They are no
    /// orphans.
    pub inactive: Vec<String>,
    /// Where each value was written, by path (`services.web.environment.LOG`).
    #[serde(skip)]
    pub places: Places,
    /// The whole canonical text as a tree: what `berth config` prints.
    #[serde(skip)]
    pub document: Document,
}

/// The canonical form of a stack, with everything the files say in it.
#[derive(Clone, Default)]
pub struct Document {
    tree: Option<Arc<Node>>,
    raw: bool,
}

impl Document {
    pub(crate) fn new(tree: Node, raw: bool) -> Document {
        Document { tree: Some(Arc::new(tree)), raw }
    }

    /// Whether variables are still in the texts.
    pub(crate) fn is_raw(&self) -> bool {
        self.raw
    }

    pub(crate) fn tree(&self) -> &Node {
        static EMPTY: Node = Node {
            span: Span { file: 0, start: 0, end: 0 },
            tag: Tag::None,
            value: Value::Map(Map(BTreeMap::new())),
        };
        self.tree.as_deref().unwrap_or(&EMPTY)
    }
}

/// Places are no part of what a stack says, so two documents are always equal where the typed
/// fields are compared too.
impl PartialEq for Document {
    fn eq(&self, _: &Document) -> bool {
        true
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Document")
    }
}

/// Where in the text a value was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// File as the user named it or as it was found.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// Places by dotted path of the value in the model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places(pub BTreeMap<String, Place>);

impl Places {
    /// The place of `path`, or of the nearest value around it.
    pub fn find(&self, path: &str) -> Option<&Place> {
        let mut path = path;
        loop {
            if let Some(place) = self.0.get(path) {
                return Some(place);
            }
            path = &path[..path.rfind('.')?];
        }
    }
}

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

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// Port in the container.
    pub target: u16,
    /// First and last host port; `None` asks for a free one. More than one means "the first free".
    pub published: Option<(u16, u16)>,
    /// Host address; `None` means all, IPv4 and IPv6.
    pub host_ip: Option<IpAddr>,
    /// Transport.
    pub protocol: Protocol,
}

/// Transport of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// Something mounted into the container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute, cleaned path in the container.
    pub target: String,
    /// What is mounted.
    pub source: MountSource,
    /// Not writable.
    pub read_only: bool,
}

/// What a [`Mount`] shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum MountSource {
    /// A named volume: key of [`Stack::volumes`].
    Volume {
        /// Key in the stack.
        name: String,
        /// Do not copy the image's content into an empty volume.
        nocopy: bool,
        /// Folder of the volume.
        subpath: Option<String>,
    },
    /// A volume of its own for each container.
    Anonymous {
        /// Do not copy the image's content.
        nocopy: bool,
    },
    /// A path of the host, absolute.
    Bind {
        /// Host path.
        path: PathBuf,
        /// Make a missing directory.
        create_host_path: bool,
        /// `rprivate`, `rshared`, …
        propagation: Option<String>,
    },
    /// Memory.
    Tmpfs(Tmpfs),
}

/// A tmpfs mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    /// Absolute path in the container.
    pub target: String,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Mode of its root, default 0o1777.
    pub mode: Option<u32>,
    /// Further options as written (`ro`, `exec`, `uid=`, …).
    pub options: Vec<String>,
}

/// A service on a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceNetwork {
    /// Further names on this network.
    pub aliases: Vec<String>,
    /// Fixed IPv4 address.
    pub ipv4_address: Option<std::net::Ipv4Addr>,
    /// Fixed IPv6 address.
    pub ipv6_address: Option<std::net::Ipv6Addr>,
    /// Order of connecting; highest is first.
    pub priority: i32,
    /// Who gives the default route; highest wins.
    pub gw_priority: i32,
    /// MAC address as written.
    pub mac_address: Option<String>,
}

/// How a service needs another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// What must be true before the dependent starts.
    pub condition: Condition,
    /// Whether a replaced or restarted dependency restarts the dependent.
    pub restart: bool,
    /// `false`: a missing or failed dependency only warns.
    pub required: bool,
}

/// State of a dependency that opens the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Its process runs.
    ServiceStarted,
    /// Its probe succeeded.
    ServiceHealthy,
    /// It ended with exit status 0.
    ServiceCompletedSuccessfully,
}

/// The probe of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]`, `["CMD-SHELL", line]`; `None` keeps the image's test.
    pub test: Option<Vec<String>>,
    /// Default 30 s.
    pub interval: Option<Duration>,
    /// Default 30 s.
    pub timeout: Option<Duration>,
    /// Default 0 s.
    pub start_period: Option<Duration>,
    /// Default 5 s.
    pub start_interval: Option<Duration>,
    /// Default 3.
    pub retries: Option<u32>,
    /// No probe, not even the image's.
    pub disable: bool,
}

/// When a container that ended is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// Always, also after a reboot.
    Always,
    /// Always, unless the user stopped it.
    UnlessStopped,
    /// When it failed, at most so many times (0: without end).
    OnFailure(u32),
}

/// Limits of one container. `None` means none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes.
    pub memory: Option<u64>,
    /// Bytes of memory plus swap; −1 for unlimited.
    pub memory_swap: Option<i64>,
    /// Bytes kept under pressure.
    pub memory_reservation: Option<u64>,
    /// Millionths of a CPU (1.5 CPUs are 1 500 000).
    pub cpu_micros: Option<u64>,
    /// Relative weight as cgroup v1 counts it (2…262144).
    pub cpu_shares: Option<u64>,
    /// CPUs it may use (`0-1,3`).
    pub cpuset: Option<String>,
    /// Number of processes; `None` is berth's default, −1 unlimited.
    pub pids: Option<i64>,
    /// −1000…1000.
    pub oom_score_adj: Option<i32>,
}

/// How output is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    /// `json-file`, `local` or `none`.
    pub driver: String,
    /// Size in bytes at which a file is rotated.
    pub max_size: u64,
    /// How many files are kept.
    pub max_files: u32,
}

impl Default for Logging {
    fn default() -> Self {
        Logging { driver: "local".into(), max_size: 10 << 20, max_files: 3 }
    }
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullPolicy {
    /// When it is not there.
    #[default]
    Missing,
    /// Each time.
    Always,
    /// Not at all.
    Never,
    /// When the local one is older than so many seconds.
    Every(u64),
}

/// A config or secret mounted into a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMount {
    /// Key in [`Stack::configs`] or [`Stack::secrets`].
    pub source: String,
    /// Absolute path in the container.
    pub target: String,
    /// Owner in the container, default 0.
    pub uid: Option<u32>,
    /// Group in the container, default 0.
    pub gid: Option<u32>,
    /// Mode, default 0444 (config) or 0400 as the service user sees it (secret: 0444 as Docker).
    pub mode: Option<u32>,
}

/// A top-level network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Name on the host (`PROJECT_KEY` unless given).
    pub name: String,
    /// Must exist already, never created or removed.
    pub external: bool,
    /// No way out, nothing published.
    pub internal: bool,
    /// `bridge` here.
    pub driver: Option<String>,
    /// Options of the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// Also IPv6.
    pub enable_ipv6: bool,
    /// Address pools asked for.
    pub ipam: Vec<IpamPool>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// One pool of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpamPool {
    /// `10.1.0.0/24`.
    pub subnet: Option<String>,
    /// Part of the subnet that addresses are given from.
    pub ip_range: Option<String>,
    /// The bridge's own address.
    pub gateway: Option<IpAddr>,
    /// Addresses never given.
    pub aux_addresses: BTreeMap<String, IpAddr>,
}

/// A top-level volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Name on the host (`PROJECT_KEY` unless given).
    pub name: String,
    /// Must exist already, never created or removed.
    pub external: bool,
    /// `local` here.
    pub driver: Option<String>,
    /// `type`, `o`, `device` as mount(8) reads them.
    pub driver_opts: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A top-level config or secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileObject {
    /// Name on the host (`PROJECT_KEY` unless given).
    pub name: String,
    /// Where the content comes from.
    pub content: FileContent,
}

/// Where the content of a config or secret comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileContent {
    /// A file of the host, absolute.
    File(PathBuf),
    /// A variable of the project environment, with its value (`None`: not set, an error at `up`).
    Environment(String, Option<String>),
    /// Text in the Compose file.
    Inline(String),
}
