//! The first difference between two folders, by names, metadata and bytes.
//!
//! Paths are resolved beneath a folder's descriptor and no link is followed. Times of folders do
//! not count: those that no archive names have the time they were made.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

const CHUNK: usize = 256 << 10;
const MAX_XATTR: usize = 64 << 10;
/// Bytes of a path that is opened at once; no name is longer than 255.
const MAX_PATH: usize = 4000;

/// What is different in `there`, for people; `None` when nothing is.
pub(super) fn difference(
    expected: BorrowedFd<'_>,
    there: BorrowedFd<'_>,
) -> io::Result<Option<String>> {
    let mut folders: Vec<Vec<u8>> = vec![b".".to_vec()];
    while let Some(path) = folders.pop() {
        let pair = Pair { expected: open(expected, &path)?, there: open(there, &path)?, path };
        if let Some(what) = pair.folder(&mut folders)? {
            return Ok(Some(what));
        }
    }
    Ok(None)
}

/// One folder on both sides.
struct Pair {
    expected: OwnedFd,
    there: OwnedFd,
    path: Vec<u8>,
}

impl Pair {
    fn folder(&self, folders: &mut Vec<Vec<u8>>) -> io::Result<Option<String>> {
        if xattrs(&self.expected)? != xattrs(&self.there)? {
            return Ok(Some(format!("`{}` has other attributes", show(&self.path))));
        }
        let (expected, there) = (names(&self.expected)?, names(&self.there)?);
        if let Some(name) = expected.difference(&there).next() {
            return Ok(Some(format!("`{}` is missing", show(&self.below(name)))));
        }
        if let Some(name) = there.difference(&expected).next() {
            return Ok(Some(format!("`{}` is not from its archive", show(&self.below(name)))));
        }
        for name in &expected {
            if let Some(what) = self.entry(name)? {
                return Ok(Some(format!("`{}` has {what}", show(&self.below(name)))));
            }
            if kind(&stat(&self.expected, name)?) == FileType::Directory {
                folders.push(self.below(name));
            }
        }
        Ok(None)
    }

    fn below(&self, name: &CStr) -> Vec<u8> {
        match self.path.as_slice() {
            b"." => name.to_bytes().to_vec(),
            path => [path, b"/", name.to_bytes()].concat(),
        }
    }

    fn entry(&self, name: &CStr) -> io::Result<Option<&'static str>> {
        let (expected, there) = (stat(&self.expected, name)?, stat(&self.there, name)?);
        if let Some(what) = metadata(&expected, &there) {
            return Ok(Some(what));
        }
        match kind(&expected) {
            FileType::RegularFile => self.file(name),
            FileType::Symlink => {
                let target = |fd: &OwnedFd| rustix::fs::readlinkat(fd, name, Vec::new());
                let same = target(&self.expected)? == target(&self.there)?;
                Ok((!same).then_some("another target"))
            }
            _ => Ok(None),
        }
    }

    fn file(&self, name: &CStr) -> io::Result<Option<&'static str>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = |fd: &OwnedFd| rustix::fs::openat(fd, name, flags, Mode::empty());
        let (expected, there) = (open(&self.expected)?, open(&self.there)?);
        if xattrs(&expected)? != xattrs(&there)? {
            return Ok(Some("other attributes"));
        }
        let (mut expected, mut there) = (File::from(expected), File::from(there));
        let (mut a, mut b) = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
        loop {
            a.clear();
            b.clear();
            (&mut expected).take(CHUNK as u64).read_to_end(&mut a)?;
            (&mut there).take(CHUNK as u64).read_to_end(&mut b)?;
            if a != b {
                return Ok(Some("other bytes"));
            }
            if a.is_empty() {
                return Ok(None);
            }
        }
    }
}

fn metadata(expected: &Stat, there: &Stat) -> Option<&'static str> {
    let is_folder = kind(expected) == FileType::Directory;
    if kind(expected) != kind(there) || expected.st_rdev != there.st_rdev {
        Some("another kind")
    } else if expected.st_mode != there.st_mode {
        Some("another mode")
    } else if (expected.st_uid, expected.st_gid) != (there.st_uid, there.st_gid) {
        Some("another owner")
    } else if !is_folder && expected.st_size != there.st_size {
        Some("another size")
    } else if !is_folder && expected.st_nlink != there.st_nlink {
        Some("another number of names")
    } else if !is_folder
        && (expected.st_mtime, expected.st_mtime_nsec) != (there.st_mtime, there.st_mtime_nsec)
        && !is_whiteout(expected)
    {
        Some("another time")
    } else {
        None
    }
}

/// A mark of ours, which no archive gives a time.
fn is_whiteout(stat: &Stat) -> bool {
    kind(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn stat(folder: &OwnedFd, name: &CStr) -> io::Result<Stat> {
    Ok(rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Opens a folder of any depth: the kernel takes a path of less than 4096 bytes at once.
fn open(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<OwnedFd> {
    let Some(long) = path.get(..MAX_PATH) else { return open_short(root, path) };
    let slash = long.iter().rposition(|byte| *byte == b'/').ok_or(Errno::NAMETOOLONG)?;
    let above = open_short(root, &path[..slash])?;
    open(above.as_fd(), &path[slash + 1..])
}

fn open_short(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    // EAGAIN: a rename elsewhere on the host raced with the look-up (openat2(2)).
    for _ in 0..32 {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            done => return Ok(done?),
        }
    }
    Err(Errno::AGAIN.into())
}

fn names(folder: &OwnedFd) -> io::Result<BTreeSet<CString>> {
    let mut names = BTreeSet::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.insert(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

fn xattrs(fd: &OwnedFd) -> io::Result<BTreeSet<(Vec<u8>, Vec<u8>)>> {
    let mut list = vec![0; MAX_XATTR];
    let length = match rustix::fs::flistxattr(fd, &mut list[..]) {
        Err(Errno::NOTSUP) => 0,
        length => length?,
    };
    let mut found = BTreeSet::new();
    for name in list[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; MAX_XATTR];
        let length = rustix::fs::fgetxattr(fd, name, &mut value[..])?;
        value.truncate(length);
        found.insert((name.to_vec(), value));
    }
    Ok(found)
}

/// A path for people: bytes that are not text or move the cursor are escaped.
fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(300).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::super::super::test_images::Scratch;
    use super::*;

    /// A chain of folders whose path is longer than the kernel takes, with a file at its end.
    fn deep(root: &OwnedFd, text: &[u8]) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let name = "d".repeat(200);
        let mut here = root.try_clone().unwrap();
        for _ in 0..25 {
            rustix::fs::mkdirat(&here, &*name, Mode::from_raw_mode(0o755)).unwrap();
            here = rustix::fs::openat(&here, &*name, flags, Mode::empty()).unwrap();
        }
        let flags = OFlags::WRONLY | OFlags::CREATE;
        let file = rustix::fs::openat(&here, "file", flags, Mode::from_raw_mode(0o644)).unwrap();
        rustix::io::write(&file, text).unwrap();
        let time = rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::futimens(&file, &times).unwrap();
    }

    #[test]
    fn what_is_deeper_than_a_path_is_compared_too() {
        let scratch = Scratch::new("compare");
        let folder = |name: &str, text: &[u8]| {
            let path = scratch.path().join(name);
            std::fs::create_dir(&path).unwrap();
            let folder = OwnedFd::from(File::open(path).unwrap());
            deep(&folder, text);
            folder
        };
        let [one, same, other] =
            [("a", "text"), ("b", "text"), ("c", "TEXT")].map(|(n, t)| folder(n, t.as_bytes()));
        assert_eq!(difference(one.as_fd(), same.as_fd()).unwrap(), None);
        let told = difference(one.as_fd(), other.as_fd()).unwrap().unwrap();
        assert!(told.ends_with("has other bytes"), "{told}");
    }
}
