//! Mounts as values: a new or cloned mount is a descriptor until it is put somewhere.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags,
    fsconfig_create, fsconfig_reconfigure, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    fspick, move_mount, open_tree,
};

use super::error::{Context, SetupError};
use crate::sys::{self, MountAttr};

pub(crate) const NOSUID: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID;
pub(crate) const NODEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;
pub(crate) const NOEXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;
pub(crate) const NOATIME: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOATIME;
pub(crate) const NODIRATIME: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODIRATIME;
pub(crate) const STRICTATIME: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_STRICTATIME;
pub(crate) const RDONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

/// A new file system of this type. An option is `key=value` or a flag.
pub(crate) fn new(
    kind: &str,
    options: &[&str],
    attr: MountAttrFlags,
) -> Result<OwnedFd, SetupError> {
    let step = format!("mount {kind}");
    let fs = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).step(&step, kind)?;
    for option in options {
        match option.split_once('=') {
            Some((key, value)) => fsconfig_set_string(&fs, key, value),
            None => fsconfig_set_flag(&fs, *option),
        }
        .map_err(|error| explained(&fs, &step, option, error))?;
    }
    fsconfig_create(&fs).map_err(|error| explained(&fs, &step, kind, error))?;
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attr).step(&step, kind)
}

/// Changes an option of the file system that is mounted at `mount`.
pub(crate) fn reconfigure(mount: &impl AsFd, key: &str, value: &str) -> Result<(), SetupError> {
    const STEP: &str = "change mount";
    let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
    let fs = fspick(mount, "", flags).step(STEP, key)?;
    fsconfig_set_string(&fs, key, value).map_err(|error| explained(&fs, STEP, key, error))?;
    fsconfig_reconfigure(&fs).map_err(|error| explained(&fs, STEP, key, error))
}

/// The kernel's own words wait in the context and are worth more than the number.
fn explained(fs: &OwnedFd, step: &str, object: &str, error: rustix::io::Errno) -> SetupError {
    let mut error = SetupError::kernel(step, object, &error.into());
    let mut text = [0; 512];
    if let Ok(len) = rustix::io::read(fs, &mut text) {
        let text = String::from_utf8_lossy(text.get(..len).unwrap_or_default()).into_owned();
        error.reason = format!("{}, {}", error.reason, text.trim().trim_start_matches("e "));
    }
    error
}

/// A copy of the mount at `fd`, not attached anywhere.
pub(crate) fn copy_of(fd: impl AsFd, recursive: bool) -> Result<OwnedFd, rustix::io::Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(fd, "", flags)
}

/// A copy of what is mounted at a path of ours, not attached anywhere.
pub(crate) fn copy_of_path(path: &std::path::Path) -> Result<OwnedFd, rustix::io::Errno> {
    open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
}

/// Changes the attributes of an unattached mount, or of an attached one by its root.
pub(crate) fn set(
    mount: &impl AsFd,
    attr: MountAttrFlags,
    recursive: bool,
) -> Result<(), std::io::Error> {
    let attr = MountAttr { set: u64::from(attr.bits()), recursive, ..MountAttr::default() };
    sys::mount_setattr(mount.as_fd(), &attr)
}

/// Puts a mount on the file or folder that `target` is.
pub(crate) fn put_on(mount: &impl AsFd, target: &impl AsFd) -> Result<(), rustix::io::Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount.as_fd(), "", target.as_fd(), "", flags)
}

/// Puts a mount on `name` in the folder `parent`.
pub(crate) fn put_at(
    mount: &impl AsFd,
    parent: BorrowedFd<'_>,
    name: &str,
) -> Result<(), rustix::io::Errno> {
    move_mount(mount.as_fd(), "", parent, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}
