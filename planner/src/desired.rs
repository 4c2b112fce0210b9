//! What a stack asks of the host, in the host's own terms: real names, no keys, no syntax.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use berth_schema::stack::{
    BlockIo, Device, DeviceRule, Healthcheck, Hook, InitStep, Limits, Logging, OnChange, Protocol,
    PullPolicy, Ready, Recursive, RestartPolicy, Tmpfs,
};
use serde::{Deserialize, Serialize};

use crate::bound::{BoundFiles, Stamp};
use crate::policy::Judged;
use crate::pull;
use crate::rollout::{Choice, Rollout};

mod confinement;
mod life;
mod networks;

pub use confinement::{DEFAULT_CAPABILITIES, IpcSpace, PidSpace, Seccomp, Security};
pub use life::{DependencySpec, InitSpec, RestartPace};
pub use networks::{EndpointSpec, NetworkSpec, PoolSpec};

/// Everything one project wants.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Desired {
    /// Project name.
    pub project: String,
    /// Directory of the project, absolute.
    pub working_dir: PathBuf,
    /// Files it was loaded from, absolute.
    pub files: Vec<PathBuf>,
    /// Services by name.
    pub services: BTreeMap<String, ServiceSpec>,
    /// Networks by their name on the host.
    pub networks: BTreeMap<String, NetworkSpec>,
    /// Named volumes by their name on the host.
    pub volumes: BTreeMap<String, VolumeSpec>,
    /// Services switched off by profiles: their containers are no orphans.
    pub inactive: Vec<String>,
    /// What the policy said of it; nothing when it was not asked.
    #[serde(skip)]
    pub judged: Judged,
    /// Files that it was resolved with, those of secrets left out.
    #[serde(skip)]
    pub sources: BTreeMap<PathBuf, Content>,
    /// What was read of files that its services mount.
    #[serde(skip)]
    pub stamps: BTreeMap<PathBuf, Stamp>,
}

/// A service: so many containers of one description.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// How many.
    pub replicas: u32,
    /// What each is made from.
    pub container: ContainerSpec,
    /// When its image is pulled.
    pub pull_policy: PullPolicy,
    /// Digest that the lock gives to its image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<String>,
    /// Id of the image that it has to have, whatever the name means now: that of a generation, or of the
    /// containers that it goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<String>,
    /// Fixed container name, if the file gives one.
    pub container_name: Option<String>,
    /// Why its containers have no user namespace, when they have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_userns: Option<String>,
    /// What of it this host does as if it was not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_effect: Vec<Inert>,
    /// How its containers are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// How they came to the order that is in, if not by the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Choice>,
    /// How they are replaced by those before them, if it comes to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollout>,
    /// How long a container may take to become good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
    /// It goes back to containers that are there: what has moved since they were made counts for
    /// nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub goes_back: bool,
    /// What must be before it starts, by service name.
    pub depends_on: BTreeMap<String, DependencySpec>,
    /// Whether `up` follows its output.
    pub attach: bool,
    /// What the containers of `pre_start` are made from, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_start: Vec<InitSpec>,
}

/// An attribute that is there and has no effect on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inert {
    /// Its path below the service.
    pub attribute: String,
    /// What has no effect, and why, in a line.
    pub why: String,
}

impl ServiceSpec {
    /// What the store is asked for when its image is looked for.
    pub fn image(&self) -> String {
        let by_name = || pull::image(&self.container.image, self.locked.as_deref());
        self.pinned.clone().unwrap_or_else(by_name)
    }
}

/// The description a container is made from. Equal descriptions need no new container.
///
/// Image defaults (command, environment, …) are folded in when the container is created.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Image reference as the file has it.
    pub image: String,
    /// Arguments; `None` keeps the image's.
    pub command: Option<Vec<String>>,
    /// Program; `None` keeps the image's.
    pub entrypoint: Option<Vec<String>>,
    /// Variables; `None` removes the image's.
    pub environment: BTreeMap<String, Option<String>>,
    /// Published ports.
    pub ports: Vec<PortSpec>,
    /// Ports only documented.
    pub expose: Vec<String>,
    /// Mounts by target.
    pub mounts: BTreeMap<String, MountSpec>,
    /// Containers whose mounts it has too, where it has none of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes_from: Vec<VolumesFromSpec>,
    /// User and group of the host to whom files in binds belong that are its user's inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerSpec>,
    /// Tmpfs mounts.
    pub tmpfs: Vec<Tmpfs>,
    /// Configs and secrets.
    pub files: Vec<FileSpec>,
    /// Regular files of the host that it has mounted and whose content counts.
    #[serde(default, skip_serializing_if = "BoundFiles::is_empty")]
    pub bound_files: BoundFiles,
    /// What happens when one of these has another content.
    #[serde(default, skip_serializing_if = "OnChange::is_usual")]
    pub on_change: OnChange,
    /// Networks by name on the host. Empty unless `network_mode` is `Bridge`.
    pub networks: BTreeMap<String, EndpointSpec>,
    /// How it is connected.
    pub network_mode: NetworkMode,
    /// The probe; `None` leaves the image's.
    pub healthcheck: Option<Healthcheck>,
    /// What else shows that it can be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<Ready>,
    /// It is started again when it is unhealthy.
    #[serde(default, skip_serializing_if = "is_off")]
    pub restart_unhealthy: bool,
    /// When the monitor starts it again.
    pub restart: RestartPolicy,
    /// How restarts follow each other.
    #[serde(default, skip_serializing_if = "RestartPace::is_default")]
    pub restart_pace: RestartPace,
    /// Commands run in it after each start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_start: Vec<Hook>,
    /// Containers that run to their end before it is made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_start: Vec<InitStep>,
    /// Commands run in it before it is stopped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_stop: Vec<Hook>,
    /// Labels, `com.docker.compose.*` not included.
    pub labels: BTreeMap<String, String>,
    /// Notes for programs, as in the file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The program of the host that makes it; `None` is berth itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// As in the file.
    pub user: Option<String>,
    /// As in the file.
    pub group_add: Vec<String>,
    /// As in the file.
    pub working_dir: Option<String>,
    /// As in the file.
    pub hostname: Option<String>,
    /// As in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    /// As in the file.
    pub stop_signal: Option<String>,
    /// Default 10 s.
    pub stop_grace_period: Option<Duration>,
    /// Root file system read-only.
    pub read_only: bool,
    /// A small init as PID 1; `None` lets berth choose.
    pub init: Option<bool>,
    /// Terminal.
    pub tty: bool,
    /// Standard input kept open.
    pub stdin_open: bool,
    /// Everything allowed, on the host.
    pub privileged: bool,
    /// Everything allowed that reaches no further than its user namespace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub contained: bool,
    /// Own user namespace.
    pub userns: bool,
    /// Capabilities added, without `CAP_`.
    pub cap_add: Vec<String>,
    /// Capabilities dropped, without `CAP_`.
    pub cap_drop: Vec<String>,
    /// What confines it beyond its capabilities.
    #[serde(default, skip_serializing_if = "Security::is_usual")]
    pub security: Security,
    /// Whose processes it sees.
    #[serde(default, skip_serializing_if = "PidSpace::is_own")]
    pub pid: PidSpace,
    /// Whose shared memory it uses.
    #[serde(default, skip_serializing_if = "IpcSpace::is_own")]
    pub ipc: IpcSpace,
    /// It has the host name of the host.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub host_names: bool,
    /// Names that lead to others for this container alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkSpec>,
    /// Host names with addresses.
    pub extra_hosts: Vec<(String, String)>,
    /// Name servers asked for what is not of the stack.
    pub dns: Vec<IpAddr>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// resolv.conf options.
    pub dns_opt: Vec<String>,
    /// Limits.
    pub limits: Limits,
    /// Shares and limits of block devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blkio_config: Option<BlockIo>,
    /// How readily its memory is swapped out, 0…100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem_swappiness: Option<u8>,
    /// No process of it is ended when its memory is used up; it waits.
    #[serde(default, skip_serializing_if = "is_off")]
    pub oom_kill_disable: bool,
    /// Microseconds of the period of `cpu_rt_runtime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_rt_period: Option<u64>,
    /// Microseconds of real-time scheduling in a period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_rt_runtime: Option<u64>,
    /// Devices of the host; those asked for by what they can do are here by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// Further devices it may use, by their numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device_cgroup_rules: Vec<DeviceRule>,
    /// It sees the cgroups of the host instead of its own.
    #[serde(default, skip_serializing_if = "is_off")]
    pub cgroup_host: bool,
    /// The cgroup its own is below, from the root of each hierarchy, without slashes around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup_parent: Option<String>,
    /// Bytes of `/dev/shm`.
    pub shm_size: Option<u64>,
    /// Most bytes of its writable layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_size: Option<u64>,
    /// Process limits.
    pub ulimits: BTreeMap<String, (i64, i64)>,
    /// Kernel settings.
    pub sysctls: BTreeMap<String, String>,
    /// How output is kept.
    pub logging: Logging,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_off(switch: &bool) -> bool {
    !switch
}

/// A container whose mounts another one has too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumesFromSpec {
    /// Name on the host.
    pub container: String,
    /// None of them is writable.
    pub read_only: bool,
}

/// A user of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerSpec {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// A name that leads to another container, for one container alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkSpec {
    /// What the other is called on the networks they share.
    pub name: String,
    /// What it is called here.
    pub alias: String,
    /// It is a service of the stack, whose containers are `NAME-1`, `NAME-2`, … here.
    pub service: bool,
}

impl ContainerSpec {
    /// References of the images it needs besides its own: those it mounts, and those of its
    /// `pre_start`.
    pub fn other_images(&self) -> impl Iterator<Item = &str> {
        let steps = self.pre_start.iter().filter_map(|step| step.image.as_deref());
        self.mounted_images().chain(steps.filter(|image| *image != self.image))
    }

    fn mounted_images(&self) -> impl Iterator<Item = &str> {
        self.mounts.values().filter_map(|mount| match &mount.source {
            SourceSpec::Image { reference, .. } => Some(reference.as_str()),
            SourceSpec::Volume { .. } | SourceSpec::Anonymous { .. } | SourceSpec::Bind { .. } => {
                None
            }
        })
    }

    /// The containers whose namespaces it shares.
    pub fn parents(&self) -> BTreeSet<&str> {
        let network = match &self.network_mode {
            NetworkMode::Container(parent) => Some(parent.as_str()),
            NetworkMode::Bridge | NetworkMode::None | NetworkMode::Host => None,
        };
        network.into_iter().chain(self.kin()).collect()
    }

    /// The containers whose user namespace it has to share, because only there is it somebody:
    /// those whose processes or shared memory it uses.
    pub fn kin(&self) -> BTreeSet<&str> {
        let pid = match &self.pid {
            PidSpace::Container(parent) => Some(parent.as_str()),
            PidSpace::Own | PidSpace::Host => None,
        };
        let ipc = match &self.ipc {
            IpcSpace::Container(parent) => Some(parent.as_str()),
            IpcSpace::Own | IpcSpace::Shareable | IpcSpace::None | IpcSpace::Host => None,
        };
        pid.into_iter().chain(ipc).collect()
    }
}

/// How a container reaches the network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkMode {
    /// By the bridges in `networks` (with none of them: loopback only).
    #[default]
    Bridge,
    /// Loopback only.
    None,
    /// The host's own.
    Host,
    /// That of the named container.
    Container(String),
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortSpec {
    /// Host address; `None` is every address.
    pub host_ip: Option<IpAddr>,
    /// First and last host port tried; `None` takes any free one.
    pub published: Option<(u16, u16)>,
    /// Port in the container.
    pub target: u16,
    /// Transport.
    pub protocol: Protocol,
}

/// A mount of a volume or a host path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountSpec {
    /// What is shown.
    pub source: SourceSpec,
    /// Not writable.
    pub read_only: bool,
}

/// What a [`MountSpec`] shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum SourceSpec {
    /// A named volume.
    Volume {
        /// Name on the host.
        name: String,
        /// No copy of the image's content.
        nocopy: bool,
        /// Folder of the volume.
        subpath: Option<String>,
    },
    /// A volume of this one container, kept when it is replaced.
    Anonymous {
        /// No copy of the image's content.
        nocopy: bool,
        /// Labels of the volume.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        labels: BTreeMap<String, String>,
    },
    /// Files of an image, never writable.
    Image {
        /// Reference as the file has it.
        reference: String,
        /// Folder of the image.
        subpath: Option<String>,
    },
    /// A path of the host.
    Bind {
        /// Absolute.
        path: PathBuf,
        /// Make it if missing.
        create_host_path: bool,
        /// Mount propagation.
        propagation: Option<String>,
        /// What becomes of mounts below it.
        #[serde(default, skip_serializing_if = "is_enabled")]
        recursive: Recursive,
    },
}

fn is_enabled(recursive: &Recursive) -> bool {
    *recursive == Recursive::Enabled
}

/// A config or secret as the container sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSpec {
    /// Absolute path in the container.
    pub target: String,
    /// Owner in the container.
    pub uid: u32,
    /// Group in the container.
    pub gid: u32,
    /// Mode bits.
    pub mode: u32,
    /// Whether values are hidden from people.
    pub secret: bool,
    /// SHA-256 of the content, `sha256:…`. This is what counts as a change.
    pub digest: String,
    /// The content itself; never written with the description.
    #[serde(skip)]
    pub content: Content,
}

/// Bytes that may be a secret: not printed, not serialised, always equal.
#[derive(Clone, Default)]
pub struct Content(pub Arc<Vec<u8>>);

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

impl PartialEq for Content {
    /// The digest beside it is what is compared.
    fn eq(&self, _: &Content) -> bool {
        true
    }
}

impl Eq for Content {}

/// A named volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpec {
    /// Must exist, is never created or removed.
    pub external: bool,
    /// `type`, `o`, `device`.
    pub driver_opts: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}
