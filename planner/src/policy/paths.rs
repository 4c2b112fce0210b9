//! What a path of the host is to the host.

use std::fmt;
use std::path::{Path, PathBuf};

use super::Facts;

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathFact {
    /// The path without links; of what is missing, the part that is there without links.
    pub real: PathBuf,
    /// What is there.
    pub kind: Kind,
    /// Device and inode of what is there.
    pub object: Option<(u64, u64)>,
    /// The device that is there.
    pub device: Option<Node>,
    /// Programs whose sockets it is or holds, as far as they give the host away.
    pub sockets: Vec<String>,
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Missing,
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A socket.
    Socket,
    /// A device, a pipe, anything else.
    Other,
}

/// A device, as the kernel numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// A block device; else one of characters.
    pub block: bool,
    /// Major number: which driver.
    pub major: u32,
    /// Minor number: which of its devices.
    pub minor: u32,
}

impl Node {
    /// Whether who has it has the memory or the disks of the host: every block device,
    /// `/dev/mem`, `/dev/kmem`, `/dev/port` (mem(4)) and the SCSI generic devices, by the numbers
    /// of the kernel's `admin-guide/devices.txt`.
    pub(super) fn is_the_host(self) -> bool {
        match (self.block, self.major, self.minor) {
            (true, ..) => true,
            (false, 1, minor) => matches!(minor, 1 | 2 | 4),
            (false, major, _) => major == 21,
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:{}", if self.block { 'b' } else { 'c' }, self.major, self.minor)
    }
}

/// What a container gets with a path of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Weight {
    /// Our own state.
    Own,
    /// A socket of these programs.
    Socket(String),
    /// Files the host lives of, for this reason.
    Root(&'static str),
    /// A path outside the project.
    Outside,
    /// What everybody may read.
    Public,
    /// A path of the project.
    Project,
}

/// Folders that are the host's with all that is in them.
const WHOLE: [&str; 6] = ["/etc", "/proc", "/sys", "/dev", "/run", "/boot"];
/// Folders that hold the data of programs which run as root, or what such programs obey.
const OBEYED: [&str; 22] = [
    "/var/cache/apt",
    "/var/lib/apt",
    "/var/lib/buildkit",
    "/var/lib/cloud",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/docker",
    "/var/lib/dpkg",
    "/var/lib/etcd",
    "/var/lib/kubelet",
    "/var/lib/libvirt",
    "/var/lib/lxc",
    "/var/lib/lxd",
    "/var/lib/machines",
    "/var/lib/nfs",
    "/var/lib/rancher",
    "/var/lib/rpm",
    "/var/lib/snapd",
    "/var/lib/systemd",
    "/var/spool/at",
    "/var/spool/cron",
];
/// Folders that are handed over only with care, but hold things of their own below.
const ITSELF: [&str; 3] = ["/var/lib", "/home", "/root"];
/// Folders of programs that root runs, merged into `/usr` or not.
const PROGRAMS: [&str; 6] = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt"];
/// Data that every user of every host may read, and programs expect.
const PUBLIC: [&str; 8] = [
    "/etc/localtime",
    "/etc/timezone",
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates",
    "/usr/share/zoneinfo",
    "/usr/share/ca-certificates",
];

/// What the path `fact` tells of is. The mounted thing is what counts, so a link is what it
/// leads to.
pub(super) fn weigh(fact: &PathFact, read_only: bool, facts: &Facts) -> Weight {
    let path = fact.real.as_path();
    if facts.own.iter().any(|own| path.starts_with(own)) {
        return Weight::Own;
    }
    if !fact.sockets.is_empty() {
        return Weight::Socket(fact.sockets.join(", "));
    }
    if let Some(why) = around(path, facts) {
        return Weight::Root(why);
    }
    let project = facts.project.as_path();
    let is_project = facts.is_project(path);
    if fact.device.is_some_and(Node::is_the_host) {
        return Weight::Root("the memory or a disk of the host");
    }
    if let Some(folder) = WHOLE.iter().chain(&OBEYED).find(|folder| path.starts_with(folder)) {
        let public = is_public(path);
        return match () {
            // A project may lie in a folder of the host, but not have one in it.
            () if is_project && !Path::new(folder).starts_with(project) => Weight::Project,
            () if public && read_only => Weight::Public,
            () => Weight::Root("what the host itself lives of"),
        };
    }
    if PROGRAMS.iter().any(|folder| path.starts_with(folder)) && !is_project {
        let public = is_public(path);
        return match (read_only, public) {
            (true, true) => Weight::Public,
            (true, false) => Weight::Outside,
            (false, _) => Weight::Root("programs of the host, writable"),
        };
    }
    if is_hidden_at_home(path, facts) {
        return Weight::Root("keys and settings of somebody's home");
    }
    match (is_project, fact.kind) {
        (true, _) => Weight::Project,
        (false, Kind::Socket) => Weight::Socket("a program of the host".to_owned()),
        (false, _) => Weight::Outside,
    }
}

/// Whether a path is, or is below, data that every user may read.
pub(super) fn is_public(path: &Path) -> bool {
    PUBLIC.iter().any(|public| path.starts_with(public))
}

/// Why a path holds what must not be handed over by the way.
pub(super) fn around(path: &Path, facts: &Facts) -> Option<&'static str> {
    let fixed = WHOLE.iter().chain(&OBEYED).chain(&ITSELF).chain(&PROGRAMS);
    if path == Path::new("/") {
        return Some("all files of the host");
    }
    if fixed.clone().any(|folder| Path::new(folder).starts_with(path)) {
        return Some("what the host itself lives of");
    }
    if facts.own.iter().any(|own| own.starts_with(path)) {
        return Some("our own state");
    }
    facts.homes.iter().any(|home| home.starts_with(path)).then_some("somebody's home")
}

/// Whether a path is, or is below, something in a home whose name begins with a dot; the project
/// may lie below such a thing.
fn is_hidden_at_home(path: &Path, facts: &Facts) -> bool {
    facts.homes.iter().map(PathBuf::as_path).chain([Path::new("/root")]).any(|home| {
        let Ok(rest) = path.strip_prefix(home) else { return false };
        let Some(first) = rest.components().next() else { return false };
        let hidden = first.as_os_str().as_encoded_bytes().starts_with(b".");
        let inside =
            facts.is_project(path) && facts.project.starts_with(home.join(first.as_os_str()));
        hidden && !inside
    })
}
