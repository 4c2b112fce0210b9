//! Bytes on the disk as `du` counts them: blocks, each file once whatever its names.
//!
//! What is measured may belong to a container that is changing it. So nothing is resolved by
//! path: one folder is open at a time, links are not followed, and a tree as deep as anybody
//! likes takes no more than that.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Measures; remembers what it has counted.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Files of several names, by device and inode.
    seen: BTreeSet<(u64, u64)>,
}

/// A folder on the way down: which one it is, and the folders in it still to be looked at.
struct Level {
    folder: (u64, u64),
    below: Vec<CString>,
}

impl Meter {
    /// Bytes of `name` in `folder` with all below it that was not counted before; 0 when it is not
    /// there.
    ///
    /// # Errors
    /// What the host answers. Files that go meanwhile are none.
    pub(crate) fn tree(&mut self, folder: BorrowedFd<'_>, name: &CStr) -> io::Result<u64> {
        let Some(stat) = stat(folder, name)? else { return Ok(0) };
        let mut bytes = self.count(&stat);
        if !is_folder(&stat) {
            return Ok(bytes);
        }
        let Some(mut here) = open(folder, name)? else { return Ok(bytes) };
        let mut levels = Vec::new();
        bytes += self.enter(&here, &mut levels)?;
        while let Some(level) = levels.last_mut() {
            if let Some(next) = level.below.pop() {
                if let Some(next) = open(here.as_fd(), &next)? {
                    here = next;
                    bytes += self.enter(&here, &mut levels)?;
                }
                continue;
            }
            levels.pop();
            let Some(above) = levels.last() else { break };
            let Some(back) = open(here.as_fd(), c"..")? else { break };
            // A folder that was moved away meanwhile does not lead back to where we came from.
            if identity(&rustix::fs::fstat(&back)?) != above.folder {
                break;
            }
            here = back;
        }
        Ok(bytes)
    }

    /// Bytes of the entry itself.
    pub(crate) fn entry(&mut self, folder: BorrowedFd<'_>, name: &CStr) -> io::Result<u64> {
        Ok(stat(folder, name)?.map_or(0, |stat| self.count(&stat)))
    }

    /// Counts what is in a folder and notes the folders in it.
    fn enter(&mut self, folder: &OwnedFd, levels: &mut Vec<Level>) -> io::Result<u64> {
        let mut level = Level { folder: identity(&rustix::fs::fstat(folder)?), below: Vec::new() };
        let mut bytes = 0;
        for name in names(folder.as_fd())? {
            if let Some(stat) = stat(folder.as_fd(), &name)? {
                bytes += self.count(&stat);
                if is_folder(&stat) {
                    level.below.push(name);
                }
            }
        }
        levels.push(level);
        Ok(bytes)
    }

    fn count(&mut self, stat: &Stat) -> u64 {
        let several = stat.st_nlink > 1 && !is_folder(stat);
        if several && !self.seen.insert(identity(stat)) {
            return 0;
        }
        u64::try_from(stat.st_blocks).unwrap_or(0) * 512
    }
}

/// Bytes of what is at `path`, with all below it.
///
/// # Errors
/// What the host answers.
pub(crate) fn measure(path: &Path) -> io::Result<u64> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = File::open(parent.unwrap_or(Path::new(".")))?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    Meter::default().tree(parent.as_fd(), &CString::new(name.as_bytes())?)
}

/// Names in a folder, `.` and `..` left out.
pub(crate) fn names(folder: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// A folder, not through a link; `None` when it is not there or not one.
pub(crate) fn open(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<OwnedFd>> {
    match rustix::fs::openat(folder, name, FOLDER, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn stat(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn it_agrees_with_du_on_holes_links_and_depth() {
        let dir = std::env::temp_dir().join(format!("berth-meter-{}", std::process::id()));
        fs::create_dir_all(dir.join("a/b")).unwrap();
        fs::write(dir.join("a/file"), vec![1; 123_456]).unwrap();
        fs::hard_link(dir.join("a/file"), dir.join("a/b/same")).unwrap();
        symlink("/", dir.join("a/root")).unwrap();
        let hole = fs::File::create(dir.join("hole")).unwrap();
        hole.set_len(1 << 30).unwrap();
        // Deeper than there are descriptors, and than a path may be long.
        let mut here = rustix::fs::open(&dir, FOLDER, Mode::empty()).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&here, "deep", Mode::from_raw_mode(0o755)).unwrap();
            here = open(here.as_fd(), c"deep").unwrap().unwrap();
        }
        let measured = measure(&dir).unwrap();
        let du = std::process::Command::new("du").args(["-s", "-B1"]).arg(&dir).output().unwrap();
        let du = String::from_utf8(du.stdout).unwrap();
        assert_eq!(measured.to_string(), du.split_whitespace().next().unwrap());
        assert!(measured < 100_000_000);
        let removed = std::process::Command::new("rm").arg("-rf").arg(&dir).status().unwrap();
        assert!(removed.success());
    }
}
