//! Looks at the host.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use berth_runtime::host::userns;
use berth_runtime::paths::Roots;

use super::network::NetworkFacts;

/// `statfs` magic of overlayfs.
const OVERLAY: i64 = 0x794c_7630;

/// What of the host decides whether and how berth works here. `None`: could not be read.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// Release, `6.1.0-18-amd64`.
    pub(crate) kernel: String,
    /// We run as root.
    pub(crate) root: bool,
    /// Effective capabilities as a bit set.
    pub(crate) capabilities: u64,
    /// Controllers of mounted v1 hierarchies.
    pub(crate) cgroup_v1: BTreeSet<String>,
    /// Controllers of the mounted v2 tree; `None` without one.
    pub(crate) cgroup_v2: Option<BTreeSet<String>>,
    /// `user.max_user_namespaces`; `None` without user namespaces.
    pub(crate) max_user_namespaces: Option<u64>,
    /// Overlay file systems are known to the kernel.
    pub(crate) overlay: bool,
    /// Seccomp filters are known to the kernel.
    pub(crate) seccomp: bool,
    /// `/` is no mount point: we were started inside a chroot.
    pub(crate) chroot: bool,
    /// `net.bridge.bridge-nf-call-iptables`; `None` when the module is not there.
    pub(crate) br_netfilter: Option<bool>,
    /// Name servers of `/etc/resolv.conf`; `None` without the file.
    pub(crate) name_servers: Option<Vec<IpAddr>>,
    /// Folder of durable state.
    pub(crate) state: State,
    /// What the kernel answers to a question about our firewall table; `Ok` when it answers.
    pub(crate) firewall: Result<(), String>,
    /// What decides who reaches whom.
    pub(crate) network: NetworkFacts,
    /// Whether containers can have user namespaces over the file system of the state folder.
    pub(crate) mapped_mounts: bool,
}

/// The folder of durable state.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Owner and mode bits; `None` when it is not there yet.
    pub(crate) owner: Option<(u32, u32)>,
    /// Free bytes of its file system.
    pub(crate) free: Option<u64>,
    /// Its file system is an overlay.
    pub(crate) on_overlay: bool,
}

impl Facts {
    /// Reads them.
    pub(crate) fn gather(roots: &Roots) -> Facts {
        let mounts = text("/proc/self/mountinfo").unwrap_or_default();
        let (cgroup_v1, cgroup_v2) = cgroups(&mounts);
        let servers = text("/etc/resolv.conf").map(|conf| name_servers(&conf));
        Facts {
            kernel: text("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            root: rustix::process::geteuid().is_root(),
            capabilities: capabilities(),
            cgroup_v1,
            cgroup_v2,
            max_user_namespaces: number("/proc/sys/user/max_user_namespaces")
                .filter(|_| Path::new("/proc/self/ns/user").exists()),
            overlay: knows_overlay(),
            seccomp: Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(),
            chroot: !mounts.is_empty() && !mount_points(&mounts).any(|point| point == "/"),
            br_netfilter: number("/proc/sys/net/bridge/bridge-nf-call-iptables").map(|n| n != 0),
            network: NetworkFacts::gather(roots, servers.as_deref().unwrap_or_default()),
            name_servers: servers,
            state: state(&roots.state),
            firewall: berth_network::firewall::observe().map(drop).map_err(|e| e.to_string()),
            mapped_mounts: userns(roots),
        }
    }
}

fn text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn number(path: &str) -> Option<u64> {
    text(path)?.trim().parse().ok()
}

fn capabilities() -> u64 {
    let status = text("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0)
}

/// Whether overlay is built in or loaded, or there are modules to load it from.
fn knows_overlay() -> bool {
    let known = text("/proc/filesystems").unwrap_or_default();
    let release = text("/proc/sys/kernel/osrelease").unwrap_or_default();
    let module = format!("/lib/modules/{}/kernel/fs/overlayfs", release.trim());
    known.lines().any(|line| line.ends_with("\toverlay")) || Path::new(&module).exists()
}

/// Mount points of `/proc/self/mountinfo` (fifth field, proc_pid_mountinfo(5)).
fn mount_points(mountinfo: &str) -> impl Iterator<Item = &str> {
    mountinfo.lines().filter_map(|line| line.split(' ').nth(4))
}

/// Controllers of the v1 hierarchies and of the v2 tree.
fn cgroups(mountinfo: &str) -> (BTreeSet<String>, Option<BTreeSet<String>>) {
    let mut v1 = BTreeSet::new();
    let mut v2 = None;
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let fields: Vec<&str> = right.split(' ').collect();
        match fields.as_slice() {
            ["cgroup", _, options, ..] => v1.extend(options.split(',').map(str::to_owned)),
            ["cgroup2", ..] => {
                let point = left.split(' ').nth(4).unwrap_or_default();
                let file = format!("{point}/cgroup.controllers");
                let controllers = text(&file).unwrap_or_default();
                v2 = Some(controllers.split_whitespace().map(str::to_owned).collect());
            }
            _ => {}
        }
    }
    (v1, v2)
}

fn name_servers(conf: &str) -> Vec<IpAddr> {
    let lines = conf.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    lines.filter_map(|rest| rest.split_whitespace().next()?.parse().ok()).collect()
}

fn state(path: &Path) -> State {
    let owner = fs::metadata(path).ok().map(|meta| (meta.uid(), meta.mode() & 0o7777));
    let nearest = path.ancestors().find(|ancestor| ancestor.exists());
    let statfs = nearest.and_then(|existing| rustix::fs::statfs(existing).ok());
    State {
        path: path.to_owned(),
        owner,
        free: statfs
            .as_ref()
            .map(|fs| fs.f_bavail.saturating_mul(u64::try_from(fs.f_bsize).unwrap_or(0))),
        on_overlay: statfs.is_some_and(|fs| fs.f_type == OVERLAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_tell_a_chroot() {
        let inside = "30 1 8:1 /srv/root /proc rw - proc proc rw\n";
        let outside = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n";
        assert!(!mount_points(inside).any(|point| point == "/"));
        assert!(mount_points(outside).any(|point| point == "/"));
    }

    #[test]
    fn v1_controllers_are_read_from_the_mount_options() {
        let (v1, v2) =
            cgroups("31 2 0:30 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n");
        assert!(v1.contains("cpu") && v1.contains("cpuacct"));
        assert_eq!(v2, None);
    }

    #[test]
    fn name_servers_are_the_addresses_of_their_lines() {
        let conf =
            "# nameserver 9.9.9.9\nsearch a\nnameserver 10.0.0.1\nnameserver ::1\nnameserver x\n";
        let servers: Vec<String> = name_servers(conf).iter().map(IpAddr::to_string).collect();
        assert_eq!(servers, ["10.0.0.1", "::1"]);
    }
}
