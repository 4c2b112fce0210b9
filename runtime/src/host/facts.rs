//! Facts about the host that decide a plan.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use berth_network::endpoint;
use berth_network::links::{self, Link};
use berth_planner::observed::{HostFacts, Storage};
use berth_planner::unfit::Abilities;
use berth_schema::stack::Platform;
use ipnet::IpNet;

use super::mapping::{self, Mount, kernel_at_least};
use super::{HostError, modules, quota};
use crate::container::cgroup::Hierarchies;
use crate::container::hard_limits;
use crate::logs::{JOURNAL, LOCAL_SYSLOG};
use crate::paths::Roots;
use crate::sabotage::defence;
use crate::store;

/// The subnets that routes of the host lead to.
pub(super) fn routes() -> Result<Vec<IpNet>, HostError> {
    let seen = links::destinations().map_err(|e| HostError::Network(e.to_string()))?;
    Ok(defence!("networks.beside_routes", seen, Vec::new()))
}

/// Reads what containers can have; what is of the network is read apart.
pub(super) fn read(roots: &Roots) -> HostFacts {
    let below_state = mapping::file_system(&roots.state);
    let userns = below_state.as_ref().is_some_and(userns_on);
    HostFacts {
        routes: Vec::new(),
        userns,
        selinux: selinux(),
        storage: below_state.map(quota::storage_on),
        platform: Some(platform()),
        links: BTreeSet::new(),
        realm: roots.realm(),
        listening: Vec::new(),
    }
}

/// Names of the links of this host, but of those that lead to containers.
pub(super) fn names(links: &[Link]) -> BTreeSet<String> {
    let links = links.iter().filter(|link| !endpoint::is_near_end(&link.name));
    links.flat_map(Link::names).cloned().collect()
}

/// Whether the kernel runs `SELinux`: its file system is there only then (selinuxfs).
pub fn selinux() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// Of these paths those that are not there.
pub fn absent(paths: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let absent = |path: &&PathBuf| {
        fs::symlink_metadata(path).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)
    };
    paths.iter().filter(absent).cloned().collect()
}

/// What programs have to be made for to run on this host.
pub fn platform() -> Platform {
    let store::Platform { os, architecture, variant } = store::Platform::host();
    Platform { os, architecture: Some(architecture), variant }
}

/// Whether containers can have user namespaces: the kernel allows them, overlay knows idmapped
/// layers (5.19), and the file system below the state root (there or not yet) can be idmapped.
pub fn userns(roots: &Roots) -> bool {
    mapping::file_system(&roots.state).is_some_and(|below_state| userns_on(&below_state))
}

fn userns_on(below_state: &Mount) -> bool {
    let allowed = fs::read_to_string("/proc/sys/user/max_user_namespaces")
        .is_ok_and(|max| max.trim().parse().is_ok_and(|max: u64| max > 0));
    allowed && kernel_at_least(5, 19) && below_state.carries_layers()
}

/// Where programs are looked for when nobody says.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The program of this name on `PATH`, or at this absolute path.
pub fn program(name: &str) -> Option<PathBuf> {
    let executable = |path: &PathBuf| {
        let access = rustix::fs::Access::EXEC_OK;
        path.is_file() && rustix::fs::access(path, access).is_ok()
    };
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_absolute()).filter(executable);
    }
    let folders = std::env::var_os("PATH").unwrap_or_else(|| PATH.into());
    // One that is relative means something else for every caller.
    let folders = std::env::split_paths(&folders).filter(|folder| folder.is_absolute());
    folders.map(|folder| folder.join(name)).find(executable)
}

/// What of this host decides whether attributes have their effect. Anybody may look; of
/// `must_exist` and `runtimes`, what is not there is told. Writable layers are in `storage`, and
/// for SCTP it is looked when `sctp`.
pub fn abilities(
    must_exist: &BTreeSet<PathBuf>,
    runtimes: &BTreeSet<String>,
    storage: Option<Storage>,
    sctp: bool,
) -> Abilities {
    let none = Hierarchies::default();
    let groups = Hierarchies::known().unwrap_or(&none);
    Abilities {
        controllers: groups.controllers(),
        swap: groups.count_swap(),
        block_weights: groups.weigh_block_devices(),
        ipv6: has_ipv6(),
        sctp: sctp && has_sctp(),
        hard_limits: hard_limits(),
        journal: is_socket(JOURNAL),
        modules: modules::modules(),
        syslog: LOCAL_SYSLOG.iter().any(|path| is_socket(path)),
        slices: groups.slices(),
        storage,
        no_runtimes: runtimes.iter().filter(|name| program(name).is_none()).cloned().collect(),
        missing: absent(must_exist),
    }
}

/// Whether there is a socket here, whoever listens on it.
fn is_socket(path: &str) -> bool {
    use std::os::unix::fs::FileTypeExt;
    fs::metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}

/// Whether the kernel speaks SCTP, or has a module that does, which comes with the first socket. Where
/// nobody can tell which modules there are, the start does.
fn has_sctp() -> bool {
    let release = rustix::system::uname();
    let modules = Path::new("/lib/modules").join(release.release().to_string_lossy().as_ref());
    let lists = |list: &str| {
        let text = fs::read_to_string(modules.join(list)).ok()?;
        Some(text.contains("/sctp.ko"))
    };
    let is_module = || Some(lists("modules.dep")? || lists("modules.builtin")?);
    let loads_modules = || Path::new("/proc/modules").exists();
    Path::new("/proc/net/sctp").exists() || (loads_modules() && is_module().unwrap_or(true))
}

/// Whether links can have IPv6 addresses: the kernel knows them and they are not switched off.
fn has_ipv6() -> bool {
    let off = Path::new("/proc/sys/net/ipv6/conf/all/disable_ipv6");
    fs::read_to_string(off).is_ok_and(|text| text.trim() == "0")
}
