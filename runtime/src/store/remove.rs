//! Removes a folder with all in it, however deep: an image chooses how deep its folders are.
//!
//! Every step is beneath a descriptor and follows no link, and nothing of another file system is
//! touched. A recursion would hold a descriptor for each level; below a certain depth a folder is
//! moved up instead, and its turn comes later.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Levels that are walked at once, each with two descriptors.
const LEVELS: u32 = 24;
/// Every round makes the tree smaller; this many only a tree that others fill meanwhile needs.
const MAX_ROUNDS: u32 = 1 << 20;

/// Removes what stands at `path`, a file or a folder with all in it.
///
/// # Errors
/// What the host refused, `NotFound` when nothing is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let parent = File::open(parent.unwrap_or(Path::new(".")))?;
    Ok(remove_at(parent.as_fd(), name.as_bytes())?)
}

/// As [`remove`], for a name in the folder `parent`.
pub(super) fn remove_at(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        done => return done,
    }
    let top = open(parent, name)?;
    let mut moved = 0;
    for _ in 0..MAX_ROUNDS {
        empty(&top, &top, LEVELS, &mut moved)?;
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY) => {}
            done => return done,
        }
    }
    Err(Errno::NOTEMPTY)
}

/// Removes what is in `folder`; what is deeper than `levels` is moved up into `top`.
fn empty(folder: &OwnedFd, top: &OwnedFd, levels: u32, moved: &mut u64) -> Result<(), Errno> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR) => {}
            Err(errno) => return Err(errno),
        }
        match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::NOTEMPTY) => {}
            Err(errno) => return Err(errno),
        }
        if levels == 0 {
            move_up(folder, name, top, moved)?;
            continue;
        }
        let below = open(folder.as_fd(), name)?;
        empty(&below, top, levels - 1, moved)?;
        match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
            // A later round finds what this one has not seen.
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Renames the folder `name` to a name in `top` that nothing has.
fn move_up(folder: &OwnedFd, name: &[u8], top: &OwnedFd, moved: &mut u64) -> Result<(), Errno> {
    loop {
        *moved += 1;
        match rustix::fs::renameat(folder, name, top, format!(".moved.{moved}")) {
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            done => return done,
        }
    }
}

fn open(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::super::test_images::Scratch;
    use super::*;

    #[test]
    fn a_tree_goes_and_what_its_links_lead_to_stays() {
        let scratch = Scratch::new("remove");
        let (tree, other) = (scratch.path().join("tree"), scratch.path().join("other"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join("kept"), "kept").unwrap();
        symlink(&other, tree.join("a/link")).unwrap();
        remove(&tree).unwrap();
        assert!(!tree.exists());
        assert_eq!(fs::read_to_string(other.join("kept")).unwrap(), "kept");
        assert_eq!(remove(&tree).unwrap_err().kind(), io::ErrorKind::NotFound);
        symlink(&other, &tree).unwrap();
        remove(&tree).unwrap();
        assert!(other.join("kept").exists() && tree.symlink_metadata().is_err());
    }

    #[test]
    fn no_tree_is_too_deep_to_be_removed() {
        let scratch = Scratch::new("remove");
        let root: OwnedFd = fs::File::open(scratch.path()).unwrap().into();
        rustix::fs::mkdirat(&root, "tree", Mode::RWXU).unwrap();
        let mut folder = open(root.as_fd(), b"tree").unwrap();
        for level in 0..3000 {
            // Names that the removal itself would give.
            let name = if level % 2 == 0 { "d".to_owned() } else { format!(".moved.{level}") };
            rustix::fs::mkdirat(&folder, &name, Mode::RWXU).unwrap();
            rustix::fs::mkdirat(&folder, "beside", Mode::RWXU).unwrap();
            folder = open(folder.as_fd(), name.as_bytes()).unwrap();
        }
        remove(&scratch.path().join("tree")).unwrap();
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}
