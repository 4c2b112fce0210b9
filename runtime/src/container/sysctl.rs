//! Kernel settings of the container's own namespaces.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::error::{Context, SetupError};
use super::spaces::{has_own_ipc, has_own_network};
use crate::bundle::Bundle;
#[cfg(feature = "sabotage")]
use crate::sabotage::naive;
use crate::sabotage::{defence, without};

const STEP: &str = "set sysctl";

/// Writes the settings below the container's own `/proc/sys`.
pub(crate) fn write_all(settings: BorrowedFd<'_>, bundle: &Bundle) -> Result<(), SetupError> {
    usual(bundle).iter().try_for_each(|(key, value)| write(settings, key, value))?;
    bundle.sysctls.iter().try_for_each(|(key, value)| {
        without!("sysctl.beneath", return naive::set(&path(key), value).step(STEP, key));
        write(settings, key, value)
    })?;
    deaf(bundle).iter().try_for_each(|(key, value)| write(settings, key, value))
}

/// What the settings of a network namespace are now.
pub(crate) fn read_in(
    netns: BorrowedFd<'_>,
    keys: &[&String],
) -> Result<BTreeMap<String, String>, SetupError> {
    in_network(netns, |settings| {
        let read = |key: &&String| {
            let file = open_setting(settings, key, OFlags::RDONLY).step("read sysctl", key)?;
            let mut text = String::new();
            File::from(file).read_to_string(&mut text).step("read sysctl", key)?;
            Ok(((*key).clone(), text.trim().to_owned()))
        };
        keys.iter().map(read).collect()
    })
}

/// Writes the settings of its network that are others than in `before`.
pub(crate) fn change_in(
    netns: BorrowedFd<'_>,
    bundle: &Bundle,
    before: &BTreeMap<String, String>,
) -> Result<(), SetupError> {
    let differs = |(key, value): &(&String, &String)| before.get(*key) != Some(*value);
    let changed: Vec<_> = bundle.sysctls.iter().filter(differs).collect();
    if changed.is_empty() {
        return Ok(());
    }
    check(bundle)?;
    in_network(netns, |settings| {
        changed.iter().try_for_each(|(key, value)| write(settings, key, value))?;
        deaf(bundle).iter().try_for_each(|(key, value)| write(settings, key, value))
    })
}

/// Does something with the settings of a network namespace, which are those of who opens them.
fn in_network<T>(
    netns: BorrowedFd<'_>,
    work: impl FnOnce(BorrowedFd<'_>) -> Result<T, SetupError>,
) -> Result<T, SetupError> {
    const KIND: Option<LinkNameSpaceType> = Some(LinkNameSpaceType::Network);
    let own = File::open("/proc/self/ns/net").step("open", "/proc/self/ns/net")?;
    move_into_link_name_space(netns, KIND).step("join namespace", "network")?;
    let settings = File::open("/proc/sys").step("open", "/proc/sys");
    let done = settings.and_then(|settings| work(settings.as_fd()));
    move_into_link_name_space(own.as_fd(), KIND).step("leave namespace", "network")?;
    done
}

/// No neighbour says where packets go. At a link it holds only where it holds for all, and
/// whether the container forwards turns it over: it comes last, unless the file names it.
fn deaf(bundle: &Bundle) -> Option<(&'static str, String)> {
    const KEY: &str = "net.ipv4.conf.all.accept_redirects";
    let named = bundle.sysctls.keys().any(|key| path(key) == path(KEY));
    let is_deaf = has_own_network(bundle) && !named;
    is_deaf.then(|| (KEY, defence!("net.deaf", "0", "1").to_owned()))
}

/// What every network of a container's own is set to.
fn usual(bundle: &Bundle) -> Vec<(&'static str, String)> {
    if !has_own_network(bundle) {
        return Vec::new();
    }
    // The group range must be one that the user namespace maps.
    let last = if bundle.id_base.is_some() { 65_535 } else { i32::MAX };
    vec![
        ("net.ipv4.ping_group_range", format!("0 {last}")),
        ("net.ipv4.ip_unprivileged_port_start", "0".to_owned()),
    ]
}

/// All settings of a container that another program makes.
pub(super) fn all(bundle: &Bundle) -> BTreeMap<String, String> {
    let usual = usual(bundle).into_iter().chain(deaf(bundle));
    let usual = usual.map(|(key, value)| (key.to_owned(), value));
    usual.chain(bundle.sysctls.clone()).collect()
}

/// Refuses what would reach beyond the container, or is no plain value.
pub(crate) fn check(bundle: &Bundle) -> Result<(), SetupError> {
    for (key, value) in &bundle.sysctls {
        let refuse = |reason: &str| SetupError::refused(STEP, format!("{key}={value}"), reason);
        let path = path(key);
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        if !key.chars().all(plain) || path.split('/').any(|part| part.is_empty() || part == "..") {
            return Err(refuse("it is no name of a setting"));
        }
        if value.len() > 256 || value.chars().any(|c| c.is_control() && c != '\t') {
            return Err(refuse("the value contains a control character or is too long"));
        }
        if path.starts_with("net/") {
            if !has_own_network(bundle) {
                return Err(refuse("the container has no network of its own"));
            }
        } else if path == "kernel/domainname" {
            if bundle.host_names {
                return Err(refuse("the container has the names of the host"));
            }
        } else if is_ipc(&path) {
            if !has_own_ipc(bundle) {
                return Err(refuse("the container has no shared memory of its own"));
            }
        } else {
            return Err(refuse("this setting belongs to the host, not to a container"));
        }
    }
    Ok(())
}

fn is_ipc(path: &str) -> bool {
    const EXACT: [&str; 8] = [
        "kernel/msgmax",
        "kernel/msgmnb",
        "kernel/msgmni",
        "kernel/sem",
        "kernel/shmall",
        "kernel/shmmax",
        "kernel/shmmni",
        "kernel/shm_rmid_forced",
    ];
    EXACT.contains(&path) || path.starts_with("fs/mqueue/")
}

/// `net.ipv4.conf.eth0.forwarding`, or with slashes where a name itself has a dot.
fn path(key: &str) -> String {
    if key.contains('/') { key.to_owned() } else { key.replace('.', "/") }
}

fn write(settings: BorrowedFd<'_>, key: &str, value: &str) -> Result<(), SetupError> {
    let object = || format!("{key}={value}");
    let file = open_setting(settings, key, OFlags::WRONLY).step(STEP, object())?;
    rustix::io::write(file.as_fd(), value.as_bytes()).map(drop).step(STEP, object())
}

fn open_setting(settings: BorrowedFd<'_>, key: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    openat2(settings, path(key), flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Network;

    fn checked(key: &str, value: &str) -> String {
        let bundle = Bundle {
            sysctls: [(key.to_owned(), value.to_owned())].into(),
            network: Network::Own(Vec::new()),
            ..Bundle::default()
        };
        check(&bundle).map_or_else(|e| e.reason, |()| "ok".into())
    }

    #[test]
    fn only_settings_of_the_containers_namespaces_pass() {
        assert_eq!(checked("net.core.somaxconn", "1024"), "ok");
        assert_eq!(checked("net/ipv4/conf/eth0.1/forwarding", "1"), "ok");
        assert_eq!(checked("kernel.shmmax", "1"), "ok");
        for key in ["kernel.core_pattern", "kernel.modprobe", "vm.overcommit_memory"] {
            assert_eq!(checked(key, "1"), "this setting belongs to the host, not to a container");
        }
        for key in ["net/../kernel/modprobe", "net..a", "net.a b"] {
            assert_eq!(checked(key, "1"), "it is no name of a setting");
        }
        for value in ["1\n2", "1\0"] {
            let reason = "the value contains a control character or is too long";
            assert_eq!(checked("net.core.somaxconn", value), reason);
        }
    }
}
