//! Paths inside a root that may be hostile: resolved by the kernel below a descriptor, never by
//! string.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{
    CWD, FileType, Mode, OFlags, ResolveFlags, fstat, fstatfs, mkdirat, openat, openat2,
};
use rustix::io::Errno;

use super::error::{Context, SetupError};
use crate::sabotage::defence;

const SYSFS_MAGIC: i64 = 0x6265_6572;
pub(super) const PROC_MAGIC: i64 = 0x9fa0;
const CGROUP_MAGIC: i64 = 0x0027_e0eb;
const CGROUP2_MAGIC: i64 = 0x6367_7270;
const DEVPTS_MAGIC: i64 = 0x1cd1;
const MQUEUE_MAGIC: i64 = 0x1980_0202;

/// What a missing last component is made as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A folder.
    Folder,
    /// An empty file.
    File,
}

/// Opens `path` as if `root` were `/`; symbolic links cannot lead out, `/proc` links are refused.
pub fn open(root: BorrowedFd<'_>, path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    retried(|| openat2(root, path.as_ref(), flags | OFlags::CLOEXEC, Mode::empty(), resolve))
}

/// Opens `path` below the folder `root`; what leads out of it, on whichever way, is `EXDEV`.
pub(crate) fn beneath(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    retried(|| openat2(root, path, flags, Mode::empty(), resolve))
}

/// Opens one existing folder directly below `parent`, which must be a real folder on the same
/// mount, or makes it. For `/proc`, `/sys`, `/dev`: a link there is refused.
pub(crate) fn plain_folder(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, SetupError> {
    let open = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        defence!(
            "root.plain_folder",
            retried(|| openat2(parent, name, flags, Mode::empty(), resolve)),
            crate::sabotage::naive::follow(parent, name)
        )
    };
    let opened = match open() {
        Err(Errno::NOENT) => {
            mkdirat(parent, name, Mode::from_raw_mode(0o755)).step("create folder", name)?;
            open()
        }
        opened => opened,
    };
    match opened {
        Err(Errno::LOOP | Errno::NOTDIR) => {
            Err(SetupError::refused("open folder", format!("/{name}"), "it is a link or a file"))
        }
        opened => opened.step("open folder", format!("/{name}")),
    }
}

/// Opens `path` in `root` for a mount on it, making what is missing on the way, one component
/// after the other.
pub(crate) fn make(root: BorrowedFd<'_>, path: &str, kind: Kind) -> Result<OwnedFd, SetupError> {
    const STEP: &str = "open mount target";
    let names = names(path)?;
    let mut at =
        openat(root, ".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .step(STEP, path)?;
    // The part that has been resolved: each step asks the kernel from the root again, so a link
    // met on the way means the same as it does to the container.
    let mut prefix = String::from(".");
    for (index, name) in names.iter().enumerate() {
        let last = index + 1 == names.len();
        prefix.push('/');
        prefix.push_str(name);
        at = match open(root, &prefix, OFlags::PATH) {
            Err(Errno::NOENT) => {
                create(&at, name, if last { kind } else { Kind::Folder }).step(STEP, path)?;
                open(root, &prefix, OFlags::PATH).step(STEP, path)?
            }
            opened => opened.step(STEP, path)?,
        };
    }
    let is_folder = FileType::from_raw_mode(fstat(&at).step(STEP, path)?.st_mode).is_dir();
    match (kind, is_folder) {
        (Kind::Folder, false) => {
            // As where nothing was at the path of a bind, so that a folder was made there.
            let reason = "a folder cannot cover a file; one that was made on the host because the file was \
                          missing has to be removed, and the file put in its place";
            Err(SetupError::refused(STEP, path, reason))
        }
        (Kind::File, true) => Err(SetupError::refused(STEP, path, "a file cannot cover a folder")),
        (Kind::Folder, true) | (Kind::File, false) => Ok(at),
    }
}

/// The descriptor lies on procfs, sysfs, a cgroup tree, or among terminals or message queues.
pub(crate) fn is_kernel_file_system(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let magic = fstatfs(fd)?.f_type;
    Ok([PROC_MAGIC, SYSFS_MAGIC, CGROUP_MAGIC, CGROUP2_MAGIC, DEVPTS_MAGIC, MQUEUE_MAGIC]
        .contains(&magic))
}

/// Opens a device node of the host and checks that it is the one meant.
pub(crate) fn device(name: &str, major: u32, minor: u32) -> Result<OwnedFd, SetupError> {
    let path = format!("/dev/{name}");
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(CWD, path.as_str(), flags, Mode::empty()).step("open device", &path)?;
    let stat = fstat(&fd).step("open device", &path)?;
    let found = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    if !FileType::from_raw_mode(stat.st_mode).is_char_device() || found != (major, minor) {
        let reason = format!("it is not the character device {major}:{minor}");
        return Err(SetupError::refused("open device", path, reason));
    }
    Ok(fd)
}

/// The components of an absolute path without `..`.
fn names(path: &str) -> Result<Vec<&str>, SetupError> {
    let refuse = |reason| SetupError::refused("open mount target", path, reason);
    if !path.starts_with('/') {
        return Err(refuse("it is not an absolute path"));
    }
    let mut names = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => names.extend(OsStr::to_str(name)),
            Component::ParentDir | Component::Prefix(_) => {
                return Err(refuse("it contains `..`"));
            }
        }
    }
    Ok(names)
}

fn create(at: &OwnedFd, name: &str, kind: Kind) -> Result<(), Errno> {
    match kind {
        Kind::Folder => mkdirat(at, name, Mode::from_raw_mode(0o755)),
        Kind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(at.as_fd(), name, flags | OFlags::WRONLY, Mode::from_raw_mode(0o644)).map(drop)
        }
    }
}

/// `openat2` answers EAGAIN when a rename elsewhere could have changed the answer.
fn retried<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 0..100 {
        match call() {
            Err(Errno::AGAIN | Errno::INTR) => {}
            answer => return answer,
        }
    }
    call()
}
