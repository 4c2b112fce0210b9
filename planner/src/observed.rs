//! What the host has: read by the runtime from records, the kernel and the store.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use berth_schema::stack::{Platform, Protocol};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::bound::Stamp;
use crate::desired::{ContainerSpec, DependencySpec, MountSpec, NetworkSpec, PortSpec, VolumeSpec};
use crate::pull;
use crate::rollout::usual_name;
use crate::up::is_active;

/// The host as far as berth is concerned, all projects included.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// Facts about the host itself.
    pub host: HostFacts,
    /// Images by reference as the files write it; only those asked about.
    pub images: BTreeMap<String, ObservedImage>,
    /// Networks of berth by name.
    pub networks: BTreeMap<String, ObservedNetwork>,
    /// Volumes of berth by name.
    pub volumes: BTreeMap<String, ObservedVolume>,
    /// Containers of berth by name.
    pub containers: BTreeMap<String, ObservedContainer>,
    /// What a crash left behind and no record explains.
    pub leftovers: BTreeSet<Leftover>,
    /// Files that containers were made from, as their records have them, and that are not there any more.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub gone: BTreeSet<String>,
}

/// What of the host decides a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Subnets that routes of the host cover (the default route not included), each as often as
    /// there are routes to it.
    pub routes: Vec<IpNet>,
    /// Whether containers can have user namespaces with mapped file systems.
    pub userns: bool,
    /// Whether files carry labels that decide what containers may do with them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub selinux: bool,
    /// Where writable layers are; `None` when nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// What programs have to be made for to run here; `None` when nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Names of the links of this host, those left out that lead to containers.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub links: BTreeSet<String>,
    /// Tells what this state names on the host from what another state beside it names; empty
    /// for the state at its usual place.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub realm: String,
    /// Who has ports that the plan may want, without running containers of this state. Of the next
    /// [`PORTS_BEYOND`] after a single one it is known that they are taken, not by whom.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listening: Vec<Listener>,
}

/// So many ports after one that is taken may be free instead of it.
pub const PORTS_BEYOND: u16 = 16;

/// A port of the host that somebody has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Listener {
    /// Transport.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// Address of the host; an unspecified one is all of its family.
    pub address: IpAddr,
    /// It is on all addresses of both families.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub both: bool,
    /// Who has it.
    pub owner: PortOwner,
}

/// Who has a port of the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum PortOwner {
    /// A container of this state that is just being started.
    Container {
        /// Its name.
        name: String,
    },
    /// A container of another state of berth on this host.
    Foreign {
        /// Its name.
        name: String,
    },
    /// A process.
    Process {
        /// Its id.
        pid: i32,
        /// What it is called.
        name: String,
        /// The service of systemd that it is of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unit: Option<String>,
    },
    /// No process that could be found: one of another container, or the kernel.
    Unknown,
}

impl fmt::Display for PortOwner {
    /// In words that follow `is`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PortOwner::Container { name } => write!(f, "published by `{name}`"),
            PortOwner::Foreign { name } => {
                write!(f, "published by `{name}`, a container of another state of berth")
            }
            PortOwner::Process { pid, name, unit: None } => {
                write!(f, "taken by process {pid} (`{name}`)")
            }
            PortOwner::Process { pid, name, unit: Some(unit) } => {
                write!(f, "taken by process {pid} (`{name}` of `{unit}`)")
            }
            PortOwner::Unknown => f.write_str("taken by another program"),
        }
    }
}

/// The file system of berth's durable state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Its type, such as `ext4`.
    pub kind: String,
    /// It limits what counts to a project (quotactl(2), `PRJQUOTA`).
    pub limits_projects: bool,
    /// Projects of [`LAYER_PROJECTS`](crate::ipam::LAYER_PROJECTS) that something counts to, or that have a limit.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub projects: BTreeSet<u32>,
}

/// The cgroup above those of all containers of the state that `realm` stands for, below the root
/// of each hierarchy.
pub fn cgroups(realm: &str) -> String {
    match realm {
        "" => "berth".to_owned(),
        realm => format!("berth-{realm}"),
    }
}

/// An image in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedImage {
    /// Digest of its config, `sha256:…`.
    pub id: String,
    /// Seconds since the epoch when it was pulled or loaded.
    pub pulled_at: i64,
    /// Digests it is known by in registries (`name@sha256:…`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repo_digests: Vec<String>,
}

/// What is written down about a network when it is created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// Name on the host.
    pub name: String,
    /// Project that owns it.
    pub project: String,
    /// Description it was made from.
    pub spec: NetworkSpec,
    /// Link name of the bridge (at most 15 bytes).
    pub bridge: String,
    /// The realm of its state, if the file gave the link its name, which then does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realm: Option<String>,
    /// Chosen subnets, IPv4 first, each with the bridge's address.
    pub subnets: Vec<Subnet>,
}

impl NetworkRecord {
    /// What of the host its containers are linked by.
    pub(crate) fn has(&self) -> &'static str {
        if self.spec.beside.is_some() { "link" } else { "bridge" }
    }
}

/// A subnet with the bridge's address in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// The subnet.
    pub net: IpNet,
    /// The bridge's address.
    pub gateway: IpAddr,
}

/// A network on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedNetwork {
    /// What it was made from.
    pub record: NetworkRecord,
    /// The bridge is there, up, and has its addresses.
    pub bridge_up: bool,
    /// The firewall rules of this network are in place, or the names on one that has none.
    pub rules_present: bool,
}

/// What is written down about a volume when it is created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// Name on the host.
    pub name: String,
    /// Project that owns it.
    pub project: String,
    /// Description it was made from.
    pub spec: VolumeSpec,
    /// Container it belongs to, if it is anonymous.
    pub container: Option<String>,
}

/// A volume on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedVolume {
    /// What it was made from.
    pub record: VolumeRecord,
}

/// What is written down about a container when it is created: the last applied description.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// Name on the host.
    pub name: String,
    /// Project that owns it.
    pub project: String,
    /// Service it is a replica of.
    pub service: String,
    /// Number of the replica, from 1.
    pub number: u32,
    /// How many containers before it have handed this replica over.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub succession: u32,
    /// Made by `run`, not by `up`.
    pub oneoff: bool,
    /// The step of its service's `pre_start` that it is, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<u32>,
    /// All of its `pre_start` had succeeded when it was made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prepared: bool,
    /// Description it was made from.
    pub spec: ContainerSpec,
    /// Image it was made from, `sha256:…`. In a plan the one it has to be made from; empty when
    /// that is still to come.
    pub image_id: String,
    /// What its mounts were found to be when it was made.
    #[serde(default, skip_serializing_if = "Borrowed::is_empty")]
    pub borrowed: Borrowed,
    /// Digest that the lock gave to its image then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<String>,
    /// Addresses by network.
    pub addresses: BTreeMap<String, Addresses>,
    /// First id of its user namespace's 65 536; `None` without one.
    pub id_base: Option<u32>,
    /// Quota project of its writable layer; `None` without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_project: Option<u32>,
    /// What its service depended on, so that a stop knows the order without the file.
    pub depends_on: BTreeMap<String, DependencySpec>,
    /// Directory of the project, for the labels.
    pub working_dir: String,
    /// Files of the project, for the labels.
    pub config_files: Vec<String>,
    /// What the policy judged it to be given beyond the defaults, by digest.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub grants: BTreeSet<String>,
    /// What each host path it mounts led to, without links, when the policy judged it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub judged: BTreeMap<PathBuf, PathBuf>,
}

/// What mounts that name something else were found to be when the container was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Borrowed {
    /// Images it mounts (`sha256:…`) by their references.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
    /// Mounts it has of other containers, by target.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mounts: BTreeMap<String, MountSpec>,
    /// What the host paths among them led to when the others were judged.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub judged: BTreeMap<PathBuf, PathBuf>,
}

impl Borrowed {
    /// Whether nothing was looked for.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty() && self.mounts.is_empty()
    }
}

impl ContainerRecord {
    /// Whether it was made, as by `create`, before the `pre_start` in its description had run.
    pub fn is_unprepared(&self) -> bool {
        !self.spec.pre_start.is_empty() && !self.prepared
    }

    /// The name that its replica has whichever of its containers serves.
    pub fn usual_name(&self) -> &str {
        match self.oneoff {
            true => &self.name,
            false => usual_name(&self.name, &self.project, &self.service, self.number),
        }
    }

    /// What the store is asked for when its image is looked for.
    pub fn image(&self) -> String {
        pull::image(&self.spec.image, self.locked.as_deref())
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A container's addresses on one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// IPv4.
    pub ipv4: Option<Ipv4Addr>,
    /// IPv6.
    pub ipv6: Option<Ipv6Addr>,
}

impl Addresses {
    /// Those there are.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.ipv4.map(IpAddr::V4).into_iter().chain(self.ipv6.map(IpAddr::V6))
    }
}

/// A container on the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObservedContainer {
    /// What it was made from.
    pub record: ContainerRecord,
    /// Random id, 64 hexadecimal digits.
    pub id: String,
    /// Seconds since the epoch.
    pub created_at: i64,
    /// What it does.
    pub state: ContainerState,
    /// Result of its probe.
    pub health: Health,
    /// Its monitor lives. `false` beside a running state: the container is to be adopted.
    pub monitored: bool,
    /// The user stopped it.
    pub held: bool,
    /// Its processes stand still, because the user asked for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Host paths it mounts that lead elsewhere now than when the policy judged them, each with
    /// where it leads.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub moved: BTreeMap<PathBuf, PathBuf>,
    /// It runs beside the container that serves for its replica: it has no ports of the host, and
    /// answers to no name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beside: bool,
    /// It has served for its replica, in this life or an earlier one, on this boot or an earlier one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub served: bool,
    /// Host ports it really has.
    pub published: Vec<PortSpec>,
    /// Times the monitor started it again.
    pub restarts: u32,
    /// A hook after its start failed: it is not what the file says yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hook_failed: bool,
    /// It runs in a network or memory that was that of another container, and is not any more: that one
    /// has been started again since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left_behind: bool,
    /// A network that it has lost its link to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unplugged: Option<String>,
    /// A change of it as it is was begun, and nobody knows how far that came.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub updating: bool,
    /// A config or secret on the disk has another content than it was made with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub content_moved: bool,
    /// Host paths it mounts where another regular file is by now than the one it has.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub swapped: BTreeSet<PathBuf>,
    /// What was read of files that it mounts when it was made or changed.
    #[serde(skip)]
    pub stamps: BTreeMap<PathBuf, Stamp>,
    /// Limits that the kernel has otherwise than it was given them, while it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moved_limits: Vec<MovedLimit>,
    /// The kernel killed a process of it for memory in its last life.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oom_killed: bool,
}

impl ObservedContainer {
    /// One that has just been made, and was never started.
    pub fn made(record: ContainerRecord) -> ObservedContainer {
        ObservedContainer {
            record,
            id: String::new(),
            created_at: 0,
            state: ContainerState::Created,
            health: Health::default(),
            monitored: false,
            held: false,
            paused: false,
            moved: BTreeMap::new(),
            beside: false,
            served: false,
            published: Vec::new(),
            restarts: 0,
            hook_failed: false,
            left_behind: false,
            unplugged: None,
            updating: false,
            content_moved: false,
            swapped: BTreeSet::new(),
            stamps: BTreeMap::new(),
            moved_limits: Vec::new(),
            oom_killed: false,
        }
    }

    /// Orders the containers of one replica: the last one serves, or would. Where none does it is the
    /// newest that has: what never took over is not good because the other one ended, and what is half
    /// made is nothing.
    pub fn rank(&self) -> (bool, bool, bool, u32) {
        let whole = self.state != ContainerState::Broken;
        (is_active(self) && !self.beside, self.served, whole, self.record.succession)
    }
}

/// A limit of a container that somebody else has set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MovedLimit {
    /// The attribute of the file that asks for it.
    pub attribute: String,
    /// The file of its cgroup (`memory.max`).
    pub file: String,
    /// What was written there.
    pub set: String,
    /// What it shows now.
    pub seen: String,
}

impl fmt::Display for MovedLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} is {}, not {}", self.attribute, self.file, self.seen, self.set)
    }
}

/// What a container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum ContainerState {
    /// Made, never started (on this boot).
    Created,
    /// Its process runs.
    Running {
        /// Process id of its init on the host.
        pid: i32,
        /// Seconds since the epoch.
        started_at: i64,
    },
    /// It ended; the monitor waits to start it again.
    Restarting {
        /// Last exit status.
        exit_code: i32,
    },
    /// It ended.
    Exited {
        /// Exit status, 128 + n for signal n, −1 when it is not known.
        exit_code: i32,
        /// Seconds since the epoch.
        finished_at: i64,
    },
    /// Half made: a crash came between, it can only be removed.
    Broken,
}

/// Result of the probe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It has no probe.
    #[default]
    None,
    /// No result yet.
    Starting,
    /// Good.
    Healthy,
    /// Failed `retries` times.
    Unhealthy,
}

/// Something of ours that no record explains.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "name")]
pub enum Leftover {
    /// A cgroup below ours.
    Cgroup(String),
    /// A bridge with our mark.
    Bridge(String),
    /// Firewall elements for a container that is not there.
    PortRules(String),
    /// A folder under the state root.
    Folder(String),
}

impl Leftover {
    /// Its name, whatever it is.
    pub fn name(&self) -> &str {
        match self {
            Leftover::Cgroup(name)
            | Leftover::Bridge(name)
            | Leftover::PortRules(name)
            | Leftover::Folder(name) => name,
        }
    }
}
