//! What a container changed of its image's files.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, Stat};

use super::pack::join;
use super::view::{Entry, FOLDER, Folder, is, is_gone, is_opaque, is_whiteout, names_in};

/// A path that differs from the image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Changed {
    /// From `/` on.
    pub path: Vec<u8>,
    /// How it differs.
    pub how: How,
}

/// How a path differs from the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// The image has it not.
    Added,
    /// The image has another, or something in the folder differs.
    Changed,
    /// Only the image has it.
    Deleted,
}

/// Compares a container's own files with its image's, and leaves out mount points.
pub(super) struct Comparison<'a> {
    targets: &'a BTreeSet<Vec<u8>>,
    found: Vec<Changed>,
}

impl<'a> Comparison<'a> {
    /// Everything that differs, by path.
    pub(super) fn of(
        upper: &OwnedFd,
        lower: &Folder,
        targets: &'a BTreeSet<Vec<u8>>,
    ) -> io::Result<Vec<Changed>> {
        let mut comparison = Comparison { targets, found: Vec::new() };
        comparison.folder(upper, Some(lower), false, b"")?;
        comparison.found.sort();
        Ok(comparison.found)
    }

    /// Compares a folder; an opaque one shows nothing of `lower`.
    fn folder(
        &mut self,
        upper: &OwnedFd,
        lower: Option<&Folder>,
        opaque: bool,
        path: &[u8],
    ) -> io::Result<()> {
        for name in names_in(upper)? {
            let below = join(path, name.to_bytes());
            let stat = match rustix::fs::statat(upper, &*name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(errno) if is_gone(errno) => continue,
                stat => stat?,
            };
            let under = lower.map_or(Ok(Entry::Nothing), |lower| lower.entry(&name))?;
            let is_new = matches!(under, Entry::Nothing);
            if is_whiteout(&stat) {
                if !is_new {
                    self.push(&below, How::Deleted);
                }
                continue;
            }
            let how = if is_new { How::Added } else { How::Changed };
            if !is(&stat, FileType::Directory) {
                let covered = is_new && stat.st_size == 0 && self.targets.contains(&below);
                if !covered {
                    self.push(&below, how);
                }
                continue;
            }
            let folder = match rustix::fs::openat(upper, &*name, FOLDER, Mode::empty()) {
                Err(errno) if is_gone(errno) => continue,
                folder => folder?,
            };
            let hides = opaque || is_opaque(&folder);
            let before = self.found.len();
            let under = match &under {
                Entry::Folder(under) => Some(under),
                Entry::Nothing | Entry::Other(..) => None,
            };
            self.folder(&folder, under, hides, &below)?;
            let differs = match under.and_then(Folder::top) {
                Some(top) => self.found.len() > before || !same(&stat, &rustix::fs::fstat(top)?),
                None => !(is_new && self.found.len() == before && self.targets.contains(&below)),
            };
            if differs {
                self.push(&below, how);
            }
        }
        match lower {
            Some(lower) if opaque => self.hidden(upper, lower, path),
            _ => Ok(()),
        }
    }

    /// What an opaque folder has not any more.
    fn hidden(&mut self, upper: &OwnedFd, lower: &Folder, path: &[u8]) -> io::Result<()> {
        let there: BTreeSet<_> = names_in(upper)?;
        for name in lower.names()? {
            if !there.contains(&name) && !matches!(lower.entry(&name)?, Entry::Nothing) {
                self.push(&join(path, name.to_bytes()), How::Deleted);
            }
        }
        Ok(())
    }

    fn push(&mut self, path: &[u8], how: How) {
        self.found.push(Changed { path: [b"/", path].concat(), how });
    }
}

/// A folder that was only copied up for what is in it.
fn same(a: &Stat, b: &Stat) -> bool {
    let about = |s: &Stat| (s.st_mode, s.st_uid, s.st_gid, s.st_mtime, s.st_mtime_nsec);
    about(a) == about(b)
}
