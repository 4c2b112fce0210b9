//! All device nodes of the host, for a privileged container.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, fstat, mkdirat, mknodat, openat, statat};
use rustix::io::Errno;

use super::error::{Context, SetupError};

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
