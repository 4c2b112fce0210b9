//! `/proc`, `/sys`, the cgroup view and `/dev`, and what of them is hidden.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, mkdirat, openat, symlinkat};
use rustix::io::Errno;

use super::error::{Context, SetupError};
use super::{cgroup, fs, inside};
use crate::sabotage::defence;
#[cfg(feature = "sabotage")]
use crate::sabotage::naive;

/// Device nodes every container has: name, major, minor.
const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Links in `/dev`.
const LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Covered: they tell about the host, or change it.
pub(super) const MASKED: [&str; 20] = [
    "proc/acpi",
    "proc/asound",
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "proc/timer_stats",
    "sys/firmware",
    "sys/devices/virtual/powercap",
    "sys/fs/selinux",
    "sys/fs/bpf",
    "sys/kernel/debug",
    "sys/kernel/tracing",
    "sys/kernel/security",
    "sys/kernel/config",
    "sys/fs/pstore",
    "sys/fs/fuse/connections",
];

/// Visible, not writable.
pub(super) const READ_ONLY: [&str; 5] =
    ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];

/// What of `/sys` can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing.
    None,
    /// What belongs to the container's own namespaces.
    Own,
    /// All, the cgroups as well.
    All,
}

/// What is at `/dev/shm`.
#[derive(Debug)]
pub(crate) enum Memory {
    /// Nothing.
    None,
    /// So many bytes of the container's own.
    Own(u64),
    /// That of the host or another container.
    Of(OwnedFd),
}

/// Mounts `/proc`, which the parent has made where we cannot; gives its folder `sys` for settings, which no later mount covers.
pub(crate) fn proc(root: BorrowedFd<'_>, ready: Option<OwnedFd>) -> Result<OwnedFd, SetupError> {
    let target = inside::plain_folder(root, "proc")?;
    let proc = match ready {
        Some(proc) => proc,
        None => fs::new("proc", &[], fs::NOSUID | fs::NODEV | fs::NOEXEC)?,
    };
    fs::put_on(&proc, &target).step("mount proc", "/proc")?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(&proc, "sys", flags, Mode::empty()).step("open folder", "/proc/sys")
}

/// Mounts `/sys`. `ready` is a sysfs made by the parent, for a network namespace that belongs
/// to another user namespace.
pub(crate) fn sys(
    root: BorrowedFd<'_>,
    ready: Option<OwnedFd>,
    (group, of_host): (&cgroup::Group, bool),
    access: Access,
) -> Result<(), SetupError> {
    let target = inside::plain_folder(root, "sys")?;
    let mut attr = fs::NOSUID | fs::NODEV | fs::NOEXEC;
    if access == Access::None {
        attr |= fs::RDONLY;
    }
    let sys = match ready {
        Some(sys) => {
            fs::set(&sys, attr, false).step("mount sysfs", "/sys")?;
            sys
        }
        None => fs::new("sysfs", &[], attr)?,
    };
    fs::put_on(&sys, &target).step("mount sysfs", "/sys")?;
    match openat(&sys, "fs/cgroup", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT) => Ok(()),
        target => {
            let attr = if access == Access::All { attr } else { attr | fs::RDONLY };
            cgroups(&target.step("open folder", "/sys/fs/cgroup")?, (group, of_host), attr)
        }
    }
}

/// The container's own groups as the whole tree, or those of the host: one mount with v2 alone, a
/// folder of mounts otherwise.
pub(super) fn cgroups(
    target: &OwnedFd,
    (group, of_host): (&cgroup::Group, bool),
    attr: rustix::mount::MountAttrFlags,
) -> Result<(), SetupError> {
    const STEP: &str = "mount cgroup";
    let own = |folder: &Path| -> Result<OwnedFd, SetupError> {
        let mount = fs::copy_of_path(folder).step(STEP, folder.display())?;
        fs::set(&mount, defence!("cgroup.read_only", attr, attr - fs::RDONLY), false)
            .step(STEP, folder.display())?;
        Ok(mount)
    };
    if let Some(unified) = group.unified_view(of_host) {
        return fs::put_on(&own(unified)?, target).step(STEP, "/sys/fs/cgroup");
    }
    let folder = fs::new("tmpfs", &["mode=0755", "size=64k"], fs::NOSUID | fs::NODEV | fs::NOEXEC)?;
    fs::put_on(&folder, target).step(STEP, "/sys/fs/cgroup")?;
    for (name, path) in group.views(of_host) {
        mkdirat(&folder, name, Mode::from_raw_mode(0o755)).step(STEP, name)?;
        fs::put_at(&own(path)?, folder.as_fd(), name).step(STEP, name)?;
        for controller in name.split(',').filter(|_| name.contains(',')) {
            symlinkat(name, &folder, controller).step(STEP, name)?;
        }
    }
    fs::set(&folder, attr, false).step(STEP, "/sys/fs/cgroup")
}

/// Builds `/dev`; gives its folder.
pub(crate) fn dev(root: BorrowedFd<'_>, memory: Memory, all: bool) -> Result<OwnedFd, SetupError> {
    const STEP: &str = "build /dev";
    let target = inside::plain_folder(root, "dev")?;
    let attr = fs::NOSUID | fs::NOEXEC;
    let dev = fs::new("tmpfs", &["mode=0755", "size=64k"], attr)?;
    fs::put_on(&dev, &target).step(STEP, "/dev")?;
    for (name, major, minor) in DEVICES {
        let node = inside::device(name, major, minor)?;
        bind_node(&dev, name, &node).step(STEP, name)?;
    }
    for (name, to) in LINKS {
        symlinkat(to, &dev, name).step(STEP, name)?;
    }
    let attr = attr | fs::NODEV;
    let pts = ["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    let pts = fs::new("devpts", &pts, fs::NOSUID | fs::NOEXEC)?;
    mount_in(&dev, "pts", &pts).step(STEP, "pts")?;
    let memory = match memory {
        Memory::None => None,
        Memory::Own(bytes) => {
            Some(fs::new("tmpfs", &["mode=1777", &format!("size={bytes}")], attr)?)
        }
        Memory::Of(theirs) => Some(theirs),
    };
    if let Some(memory) = memory {
        mount_in(&dev, "shm", &memory).step(STEP, "shm")?;
    }
    mount_in(&dev, "mqueue", &fs::new("mqueue", &[], attr)?).step(STEP, "mqueue")?;
    if all {
        super::devices::add_all(&dev)?;
    }
    Ok(dev)
}

fn bind_node(dev: &OwnedFd, name: &str, node: &OwnedFd) -> Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    openat(dev, name, flags, Mode::from_raw_mode(0o666))?;
    fs::put_at(&fs::copy_of(node, false)?, dev.as_fd(), name)
}

fn mount_in(dev: &OwnedFd, name: &str, mount: &OwnedFd) -> Result<(), Errno> {
    mkdirat(dev, name, Mode::from_raw_mode(0o755))?;
    fs::put_at(mount, dev.as_fd(), name)
}

/// Covers and write-protects the paths that show or change the host.
pub(crate) fn hide(root: BorrowedFd<'_>, empty: &OwnedFd) -> Result<(), SetupError> {
    let null = defence!(
        "mask.source",
        inside::device("null", 1, 3)?,
        naive::own_null(root).step("mask", "/dev/null")?
    );
    for path in MASKED {
        if defence!("mask.list", false, path == "proc/interrupts") {
            continue;
        }
        mask(root, path, empty, &null).step("mask", format!("/{path}"))?;
    }
    for cpu in throttles(root).step("mask", "/sys/devices/system/cpu")? {
        mask(root, &cpu, empty, &null).step("mask", format!("/{cpu}"))?;
    }
    for path in READ_ONLY {
        protect(root, path).step("make read-only", format!("/{path}"))?;
    }
    Ok(())
}

fn mask(
    root: BorrowedFd<'_>,
    path: &str,
    empty: &OwnedFd,
    null: &OwnedFd,
) -> Result<(), std::io::Error> {
    let target = match inside::open(root, path, OFlags::PATH | OFlags::NOFOLLOW) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        target => target?,
    };
    let is_folder =
        rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode).is_dir();
    let cover = fs::copy_of(if is_folder { empty } else { null }, false)?;
    Ok(fs::put_on(&cover, &target)?)
}

fn protect(root: BorrowedFd<'_>, path: &str) -> Result<(), std::io::Error> {
    let target = match inside::open(root, path, OFlags::PATH | OFlags::NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        target => target?,
    };
    let same = fs::copy_of(&target, true)?;
    fs::set(&same, fs::RDONLY | fs::NOSUID | fs::NODEV | fs::NOEXEC, true)?;
    Ok(fs::put_on(&same, &target)?)
}

/// `thermal_throttle` of each CPU, where the hardware counts it.
pub(super) fn throttles(root: BorrowedFd<'_>) -> Result<Vec<String>, Errno> {
    const CPUS: &str = "sys/devices/system/cpu";
    let probe = format!("{CPUS}/cpu0/thermal_throttle");
    match inside::open(root, &probe, OFlags::PATH) {
        Err(Errno::NOENT) => return Ok(Vec::new()),
        found => drop(found?),
    }
    let folder = inside::open(root, CPUS, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut paths = Vec::new();
    for entry in rustix::fs::Dir::new(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix("cpu").unwrap_or_default();
        if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) {
            paths.push(format!("{CPUS}/{name}/thermal_throttle"));
        }
    }
    Ok(paths)
}
