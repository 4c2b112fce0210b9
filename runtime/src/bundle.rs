//! All that starting and keeping one container needs, worked out beforehand.
//!
//! The host room writes a [`Bundle`] to `bundle.json` of the container's run folder when the
//! container is created; the monitor reads it and needs nothing else: no image, no stack, no
//! plan. Image defaults are folded in, names of users are resolved, every path is absolute.

use std::collections::BTreeMap;
use std::path::PathBuf;

use berth_planner::cdi::CdiHook;
use berth_planner::desired::{IpcSpace, PidSpace, PortSpec, Seccomp};
use serde::{Deserialize, Serialize};

mod cgroup;
mod forward;
mod life;
mod mounts;
mod network;
mod status;
mod upkeep;
mod wiring;

pub use cgroup::{BlockLimits, Cgroup};
pub use forward::{Destination, Forward, Peer};
pub use life::{Hooks, Pace, Probe, Ready, Restart, Times};
pub use mounts::{BindOwner, BundleDevice, BundleMount, BundleSource, Judged, Rootfs};
pub use network::{Dns, Link, NameLink, NameRecord, Network, Publishing};
pub use status::{HookError, HookStage, HookStatus, Phase, Status, StopStatus};
pub use upkeep::{Settings, Upkeep};
pub use wiring::{Wiring, links};

/// Everything about one container, for its monitor and its init.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Bundle {
    /// Name on the host.
    pub name: String,
    /// 64 hexadecimal digits.
    pub id: String,
    /// Project.
    pub project: String,
    /// Service.
    pub service: String,
    /// Image as the file has it, for events.
    #[serde(default)]
    pub image: String,
    /// `run` made it, not `up`.
    #[serde(default)]
    pub oneoff: bool,
    /// Durable folder (`upper/`, `work/`, `logs/`).
    pub state_dir: PathBuf,
    /// Folder of this boot (`status.json`, `sock`, FIFOs).
    pub run_dir: PathBuf,
    /// What runs.
    pub process: Process,
    /// The program that makes the container; `None` is berth itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<OciRuntime>,
    /// Notes for the program that makes the container.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// All is prepared and nothing runs: the process waits for the end of its standard input, so
    /// that the files of a container can be reached that does not run. Never written down.
    #[serde(skip)]
    pub held: bool,
    /// A small init of ours is PID 1 and starts `process`.
    pub init: bool,
    /// The root file system.
    pub rootfs: Rootfs,
    /// Mounts in the order they are made (parents first); `/proc`, `/sys`, `/dev` are not listed.
    pub mounts: Vec<BundleMount>,
    /// Devices of the host beside the usual ones.
    #[serde(default)]
    pub devices: Vec<BundleDevice>,
    /// Programs that the descriptions of its devices name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device_hooks: Vec<CdiHook>,
    /// Root file system read-only after the mounts.
    pub read_only: bool,
    /// Bytes of `/dev/shm`.
    pub shm_size: u64,
    /// Name of the UTS namespace.
    pub hostname: String,
    /// First host id of the 65 536 of its user namespace; `None` runs in the host's.
    pub id_base: Option<u32>,
    /// No masks, all devices, no seccomp, writable /sys and cgroups.
    pub privileged: bool,
    /// Nothing of `/proc` and `/sys` is hidden or write-protected.
    #[serde(default)]
    pub unconfined_paths: bool,
    /// `/sys` is writable as far as its user namespace goes.
    #[serde(default)]
    pub contained: bool,
    /// Whose processes it sees.
    #[serde(default)]
    pub pid: PidSpace,
    /// Whose shared memory it uses.
    #[serde(default)]
    pub ipc: IpcSpace,
    /// It has the UTS namespace of the host; `hostname` is only written down then.
    #[serde(default)]
    pub host_names: bool,
    /// NIS domain name of the UTS namespace.
    #[serde(default)]
    pub domainname: Option<String>,
    /// Kernel settings, written inside.
    pub sysctls: BTreeMap<String, String>,
    /// Cgroup below each hierarchy's root (`berth/NAME`) and its limits.
    pub cgroup: Cgroup,
    /// Where the network comes from.
    pub network: Network,
    /// Names and servers its resolver uses.
    pub dns: Dns,
    /// It has neither ports of the host nor names on its networks: another container of its replica
    /// serves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beside: bool,
    /// Ports the monitor reserves on the host and publishes.
    pub ports: Vec<PortSpec>,
    /// The probe.
    pub health: Option<Probe>,
    /// What else shows that it can be used.
    #[serde(default)]
    pub ready: Option<Ready>,
    /// It is started again when it is unhealthy.
    #[serde(default)]
    pub restart_unhealthy: bool,
    /// Commands run in it after its start and before its end.
    #[serde(default)]
    pub hooks: Hooks,
    /// When it is started again.
    pub restart: Restart,
    /// How restarts follow each other.
    #[serde(default)]
    pub pace: Pace,
    /// How output is kept.
    pub log: Log,
    /// Where its lines go besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<Forward>,
    /// Give it a terminal.
    pub tty: bool,
    /// Keep standard input open for an attached client.
    pub stdin_open: bool,
    /// Number of the signal that asks it to end.
    pub stop_signal: i32,
    /// Milliseconds between that signal and SIGKILL.
    pub stop_grace_ms: u64,
    /// Its output is read, and its end reported, only after a client has attached (or has not come
    /// for ten seconds), so that the client misses nothing.
    #[serde(default)]
    pub await_client: bool,
    /// The monitor ends and leaves nothing in `/run` when the container ends (`run --rm`).
    pub remove_on_exit: bool,
    /// The limits that it is being given in place of those in `cgroup`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changing: Option<Box<Cgroup>>,
    /// What the kernel is being given for it in place of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settling: Option<Box<Settings>>,
    /// The links, names and ports that it is being given in place of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewiring: Option<Box<Wiring>>,
}

/// A process in the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Program and arguments; the program is looked up in the container by its `PATH`.
    pub argv: Vec<String>,
    /// `KEY=value`, complete: the environment is built from nothing.
    pub env: Vec<String>,
    /// Working directory in the container, made when missing.
    pub cwd: String,
    /// User id in the container.
    pub uid: u32,
    /// Group id in the container.
    pub gid: u32,
    /// Supplementary groups, complete.
    pub groups: Vec<u32>,
    /// Capabilities of the bounding set by name without `CAP_`; effective for uid 0 only.
    pub capabilities: Vec<String>,
    /// Set `no_new_privs`.
    pub no_new_privs: bool,
    /// Which system calls pass; all of them in a privileged container without a profile.
    #[serde(default)]
    pub seccomp: Seccomp,
    /// It cannot change which quota project a file counts to, as its writable layer has a limit
    /// and no user namespace keeps it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps_project: bool,
    /// The profile of AppArmor that it is under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apparmor: Option<String>,
    /// `nofile` and so on: soft and hard; `u64::MAX` is unlimited.
    pub rlimits: BTreeMap<String, (u64, u64)>,
    /// −1000…1000.
    pub oom_score_adj: Option<i32>,
}

/// A program of the host that makes containers as the OCI runtime specification has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OciRuntime {
    /// As the file has it.
    pub name: String,
    /// Where it is.
    pub program: PathBuf,
}

/// How output is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// Keep nothing.
    pub none: bool,
    /// Bytes at which a file is rotated.
    pub max_size: u64,
    /// Files kept, the current one included.
    pub max_files: u32,
}
