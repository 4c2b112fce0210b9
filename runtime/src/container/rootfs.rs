//! The root file system: an overlay of the image's layers and the container's own files.
//!
//! The overlay is always mounted with `userxattr`: whiteouts and opaque folders are told by
//! `user.overlay.*`, and a `trusted.overlay.*` attribute that came with an image means nothing.
//! In a user namespace it is mounted from inside, on layers whose mounts map the ids, so owners
//! on disk are those the container sees.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount_change, unmount};

use super::error::{Context, SetupError};
use super::fs;
use crate::bundle::Rootfs;

/// The folder whose mount holds both `upper` and `work`; the overlay wants them on one mount.
pub(crate) fn state_of(rootfs: &Rootfs) -> Result<&std::path::Path, SetupError> {
    match (rootfs.upper.parent(), rootfs.work.parent()) {
        (Some(upper), Some(work)) if upper == work => Ok(upper),
        _ => Err(SetupError::refused(
            "mount overlay",
            rootfs.upper.display(),
            "its work folder is not beside it",
        )),
    }
}

/// A folder of memory in the mount namespace of the starting container, where the pieces are
/// put together. Goes away with the old root.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: OwnedFd,
}

impl Scratch {
    /// Covers a folder that every host has, everyone may search, and the container gets anew:
    /// `/proc`, or one of `/sys` where programs of the host run that want the other.
    pub(crate) fn make(place: &str) -> Result<Scratch, SetupError> {
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).step("make mounts private", "/")?;
        let folder = fs::new("tmpfs", &["mode=0700", "size=256k"], fs::NODEV | fs::NOSUID)?;
        fs::put_at(&folder, CWD, place).step("mount scratch", place)?;
        Ok(Scratch { folder })
    }

    /// Covers a folder of ours with one that everybody may search.
    pub(crate) fn over(path: &std::path::Path) -> Result<Scratch, SetupError> {
        let attr = fs::NODEV | fs::NOSUID;
        let mount = fs::new("tmpfs", &["mode=0755", "size=256k"], attr)?;
        let target = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let target = target.step("mount scratch", path.display())?;
        fs::put_on(&mount, &target).step("mount scratch", path.display())?;
        Ok(Scratch { folder: mount })
    }

    /// Mounts the overlay. `state` and `lowers` are unattached mounts.
    pub(crate) fn overlay(
        &self,
        rootfs: &Rootfs,
        state: &OwnedFd,
        lowers: &[OwnedFd],
        nosuid: bool,
    ) -> Result<OwnedFd, SetupError> {
        const STEP: &str = "mount overlay";
        let mut names = Vec::with_capacity(lowers.len());
        for (index, (lower, path)) in lowers.iter().zip(&rootfs.lowers).enumerate() {
            let name = index.to_string();
            self.attach(lower, &name).step(STEP, path.display())?;
            names.push(name);
        }
        let upper = rootfs.upper.display();
        self.attach(state, "state").step(STEP, &upper)?;
        mkdirat(&self.folder, "root", Mode::from_raw_mode(0o755)).step(STEP, "root")?;
        rustix::process::fchdir(&self.folder).step(STEP, "scratch")?;
        // Names relative to here are so short that 500 layers, the kernel's limit, fit.
        let options = format!(
            "lowerdir={},upperdir=state/{},workdir=state/{},userxattr,index=off",
            names.join(":"),
            file_name(&rootfs.upper)?,
            file_name(&rootfs.work)?,
        );
        let mut flags = MountFlags::NODEV;
        if nosuid {
            flags |= MountFlags::NOSUID;
        }
        let options = std::ffi::CString::new(options).map_err(std::io::Error::from);
        let options = options.step(STEP, &upper)?;
        rustix::mount::mount("overlay", "root", "overlay", flags, options.as_c_str())
            .step(STEP, &upper)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(&self.folder, "root", flags, Mode::empty()).step(STEP, &upper)
    }

    /// The files of an image for a mount of the description, from unattached mounts of its layers.
    pub(crate) fn image(&self, index: usize, layers: &[impl AsFd]) -> Result<OwnedFd, SetupError> {
        const STEP: &str = "mount image";
        let own = format!("image-{index}");
        let mut names = Vec::with_capacity(layers.len() + 1);
        for (layer, tree) in layers.iter().enumerate() {
            let name = format!("{own}-{layer}");
            self.attach(tree, &name).step(STEP, &name)?;
            names.push(name);
        }
        // Without an upper folder the kernel wants two.
        let empty = format!("{own}-empty");
        for folder in [&empty, &own] {
            mkdirat(&self.folder, folder.as_str(), Mode::from_raw_mode(0o755))
                .step(STEP, folder)?;
        }
        names.push(empty);
        rustix::process::fchdir(&self.folder).step(STEP, "scratch")?;
        let options = format!("lowerdir={},userxattr,index=off", names.join(":"));
        let options = std::ffi::CString::new(options).map_err(std::io::Error::from);
        let options = options.step(STEP, &own)?;
        let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::RDONLY;
        rustix::mount::mount("overlay", own.as_str(), "overlay", flags, options.as_c_str())
            .step(STEP, &own)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(&self.folder, own.as_str(), flags, Mode::empty()).step(STEP, &own)
    }

    /// A folder with this file, for programs that run before the root is the only one.
    pub(crate) fn describe(&self, folder: &str, file: &str, text: &[u8]) -> Result<(), SetupError> {
        const STEP: &str = "describe the container";
        mkdirat(&self.folder, folder, Mode::from_raw_mode(0o755)).step(STEP, folder)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let path = format!("{folder}/{file}");
        let file =
            openat(&self.folder, &path, flags, Mode::from_raw_mode(0o644)).step(STEP, &path)?;
        std::io::Write::write_all(&mut std::fs::File::from(file), text).step(STEP, &path)
    }

    /// A read-only empty folder to cover things with.
    pub(crate) fn empty_folder(&self) -> Result<OwnedFd, SetupError> {
        let attr = fs::RDONLY | fs::NODEV | fs::NOSUID | fs::NOEXEC;
        let empty = fs::new("tmpfs", &["mode=0755", "size=4k"], attr)?;
        self.attach(&empty, "empty").step("mount scratch", "empty")?;
        Ok(empty)
    }

    /// Attaches the mount with the nodes of devices, so that they can be bound from it.
    pub(crate) fn hold_nodes(&self, nodes: &OwnedFd) -> Result<(), SetupError> {
        self.attach(nodes, "nodes").step("mount scratch", "nodes")
    }

    fn attach(&self, mount: &impl AsFd, name: &str) -> Result<(), rustix::io::Errno> {
        mkdirat(&self.folder, name, Mode::from_raw_mode(0o700))?;
        fs::put_at(mount, self.folder.as_fd(), name)
    }
}

/// Makes `root` the root of the mount namespace, and everything else unreachable.
pub(crate) fn pivot(root: &OwnedFd) -> Result<(), SetupError> {
    const STEP: &str = "pivot root";
    rustix::process::fchdir(root).step(STEP, "/")?;
    rustix::process::pivot_root(".", ".").step(STEP, "/")?;
    // The old root now lies over the new one at `/`, and `.` is still the new one.
    unmount(".", UnmountFlags::DETACH).step(STEP, "detach old root")?;
    rustix::process::chdir("/").step(STEP, "/")
}

/// Refuses a process whose root is not that of its mount namespace: after a chroot, pivoting
/// would leave the outer root as the container's.
pub(crate) fn refuse_chroot() -> Result<(), SetupError> {
    const STEP: &str = "look for a chroot";
    let before = root_mount().step(STEP, "/")?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let own = openat(CWD, "/proc/self/ns/mnt", flags, Mode::empty()).step(STEP, "/proc")?;
    // Entering a mount namespace, even one's own, sets the root to the namespace's.
    let kind = rustix::thread::LinkNameSpaceType::Mount;
    rustix::thread::move_into_link_name_space(own.as_fd(), Some(kind)).step(STEP, "/")?;
    if root_mount().step(STEP, "/")? == before {
        return Ok(());
    }
    Err(SetupError::refused(
        "pivot root",
        "/",
        "berth runs in a chroot, from where a container cannot be separated from the outer root; \
         enter it with a mount namespace of its own (`unshare --mount`, `pivot_root`)",
    ))
}

/// Mount id and inode of `/`.
fn root_mount() -> Result<(u64, u64), rustix::io::Errno> {
    use rustix::fs::{AtFlags, StatxFlags, statx};
    let stat = statx(CWD, "/", AtFlags::empty(), StatxFlags::INO | StatxFlags::MNT_ID)?;
    Ok((stat.stx_mnt_id, stat.stx_ino))
}

fn file_name(path: &std::path::Path) -> Result<&str, SetupError> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.filter(|name| !name.contains([',', ':', '\\'])).ok_or_else(|| {
        SetupError::refused("mount overlay", path.display(), "its name is not a plain one")
    })
}
