//! Device nodes of the host in a container: those of its description, or all of them.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, Dev, Dir, FileType, Gid, Mode, OFlags, Uid, chmodat, chownat, fstat, makedev,
    mkdirat, mknodat, openat, statat,
};
use rustix::io::Errno;

use super::error::{Context, SetupError};
use super::fs;
use super::spawn::IDS;
use crate::bundle::{Bundle, BundleDevice};

/// A file system of memory with a node for each device of the description, named by its place
/// there.
///
/// It is made by the parent, because no user namespace may make nodes, and not attached anywhere.
/// Owners are those of the host's nodes as the container counts, so that they look as they do on
/// the host, and the container's root may use what belongs to root.
pub(crate) fn nodes(bundle: &Bundle) -> Result<Option<OwnedFd>, SetupError> {
    const STEP: &str = "make device node";
    if bundle.devices.is_empty() {
        return Ok(None);
    }
    let folder = fs::new("tmpfs", &["mode=0755", "size=1m"], fs::NOSUID | fs::NOEXEC)?;
    for (index, device) in bundle.devices.iter().enumerate() {
        let name = index.to_string();
        let number = verified(device)?;
        let kind = if device.block { FileType::BlockDevice } else { FileType::CharacterDevice };
        let mode = Mode::from_raw_mode(device.mode);
        mknodat(&folder, &name, kind, mode, number).step(STEP, &device.target)?;
        let id = |id: u32| match bundle.id_base {
            None => id,
            Some(base) if id < IDS => base.saturating_add(id),
            Some(base) => base.saturating_add(NOBODY),
        };
        let (user, group) = (Uid::from_raw(id(device.uid)), Gid::from_raw(id(device.gid)));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        chownat(&folder, &name, Some(user), Some(group), flags).step(STEP, &device.target)?;
        // Whatever the umask is.
        chmodat(&folder, &name, mode, AtFlags::empty()).step(STEP, &device.target)?;
    }
    Ok(Some(folder))
}

/// The number of a device that is still the one that was looked up.
fn verified(device: &BundleDevice) -> Result<Dev, SetupError> {
    const STEP: &str = "open device";
    let object = device.source.display();
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let fd = openat(CWD, &device.source, flags, Mode::empty()).step(STEP, &object)?;
    let stat = fstat(&fd).step(STEP, &object)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let same_kind = if device.block { kind.is_block_device() } else { kind.is_char_device() };
    if !same_kind || stat.st_rdev != makedev(device.major, device.minor) {
        return Err(SetupError::refused(STEP, object, "it is another device than before"));
    }
    Ok(stat.st_rdev)
}

/// A device of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// Below `/dev`.
    pub(super) name: String,
    /// A block device, not a character device.
    pub(super) block: bool,
    /// Its number.
    pub(super) major: u32,
    /// Its number.
    pub(super) minor: u32,
    /// Mode bits.
    pub(super) mode: u32,
    /// Owner.
    pub(super) uid: u32,
    /// Group.
    pub(super) gid: u32,
}

/// All that [`add_all`] makes nodes for.
pub(super) fn all() -> Result<Vec<Node>, SetupError> {
    let folder = fs::new("tmpfs", &["mode=0755", "size=1m"], fs::NOSUID | fs::NOEXEC)?;
    add_all(&folder)?;
    let mut found = Vec::new();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(&folder, ".", flags, Mode::empty());
    let listed = folder.and_then(|folder| list(&folder, "", &mut found));
    listed.step("list devices", "/dev")?;
    Ok(found)
}

fn list(folder: &OwnedFd, above: &str, found: &mut Vec<Node>) -> Result<(), Errno> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "." || name == ".." {
            continue;
        }
        let stat = statat(folder, name.as_str(), AtFlags::SYMLINK_NOFOLLOW)?;
        let path = format!("{above}{name}");
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind.is_dir() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let below = openat(folder, name.as_str(), flags, Mode::empty())?;
            list(&below, &format!("{path}/"), found)?;
        } else {
            found.push(Node {
                name: path,
                block: kind.is_block_device(),
                major: rustix::fs::major(stat.st_rdev),
                minor: rustix::fs::minor(stat.st_rdev),
                mode: stat.st_mode & 0o7777,
                uid: stat.st_uid,
                gid: stat.st_gid,
            });
        }
    }
    Ok(())
}

/// Who owns what nobody in the container does.
const NOBODY: u32 = IDS - 2;

/// What the container has of its own.
const OWN: [&str; 6] = ["pts", "shm", "mqueue", "ptmx", "console", "tty"];
/// Folders within folders.
const DEPTH: usize = 4;

/// Makes the nodes below `dev`, in the same folders.
pub(crate) fn add_all(dev: &OwnedFd) -> Result<(), SetupError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let host = openat(CWD, "/dev", flags, Mode::empty()).step("open folder", "/dev")?;
    add(&host, dev, DEPTH).step("copy devices", "/dev")
}

fn add(from: &OwnedFd, to: &OwnedFd, depth: usize) -> Result<(), Errno> {
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_bytes();
        if text.starts_with(b".") || OWN.iter().any(|own| own.as_bytes() == text) {
            continue;
        }
        let stat = match statat(from, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            stat => stat?,
        };
        let mode = Mode::from_raw_mode(stat.st_mode);
        match FileType::from_raw_mode(stat.st_mode) {
            kind @ (FileType::CharacterDevice | FileType::BlockDevice) => {
                match mknodat(to, name, kind, mode, stat.st_rdev) {
                    Err(Errno::EXIST) => {}
                    made => {
                        made?;
                        let owner = Some(rustix::fs::Uid::from_raw(stat.st_uid));
                        let group = Some(rustix::fs::Gid::from_raw(stat.st_gid));
                        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
                        rustix::fs::chownat(to, name, owner, group, flags)?;
                    }
                }
            }
            FileType::Directory if depth > 0 => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let below = openat(from, name, flags, Mode::empty())?;
                if fstat(&below)?.st_dev != fstat(from)?.st_dev {
                    continue; // another file system, such as hugetlbfs
                }
                match mkdirat(to.as_fd(), name, mode) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error),
                }
                add(&below, &openat(to, name, flags, Mode::empty())?, depth - 1)?;
            }
            _ => {}
        }
    }
    Ok(())
}
