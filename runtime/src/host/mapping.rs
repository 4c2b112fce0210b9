//! Which file systems can be mounted with their ids mapped (mount_setattr(2), "ID-mapped mounts").
//!
//! What is not known to can not. File systems are told apart by what mountinfo says of them: to ask
//! one itself may hang when it is that of another host.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use berth_planner::resolve::BindSource;
use rustix::fs::CWD;

use crate::small;

/// File systems that map ids, and the first kernel where they do.
const MAPS_IDS: [(&str, (u32, u32)); 13] = [
    ("ext4", (5, 12)),
    ("ext3", (5, 12)),
    ("ext2", (5, 12)),
    ("vfat", (5, 12)),
    ("xfs", (5, 12)),
    ("btrfs", (5, 15)),
    ("ntfs3", (5, 15)),
    ("f2fs", (5, 18)),
    ("erofs", (5, 19)),
    ("squashfs", (6, 2)),
    ("tmpfs", (6, 3)),
    ("ceph", (6, 7)),
    ("bcachefs", (6, 10)),
];

/// Of these, the ones whose owners a user namespace cannot see as they are on disk.
pub fn unmapped(sources: &BTreeSet<BindSource>) -> BTreeSet<BindSource> {
    if sources.is_empty() {
        return BTreeSet::new();
    }
    let mounts = mounts();
    sources.iter().filter(|source| !maps(&mounts, source)).cloned().collect()
}

/// Whether a mount of what is at an absolute path, there or not yet, can map ids.
pub(super) fn maps_ids(path: &Path) -> bool {
    maps(&mounts(), &BindSource { path: path.to_owned(), recursive: false })
}

/// The file system of a path, there or not yet.
pub(super) fn file_system(path: &Path) -> Option<Mount> {
    let mounts = mounts();
    holder(&mounts, &real(path)).cloned()
}

pub(super) fn kernel_at_least(major: u32, minor: u32) -> bool {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
}

/// A line of proc_pid_mountinfo(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// Where it is mounted.
    pub(super) at: PathBuf,
    /// The type of its file system.
    pub(super) kind: String,
}

impl Mount {
    /// Whether layers of containers can be on it: their ids are mapped, and an overlay's upper one
    /// is there, which tmpfs can be since 6.6, when it got `user.*` attributes.
    pub(super) fn carries_layers(&self) -> bool {
        match self.kind.as_str() {
            "ext4" | "xfs" | "btrfs" | "f2fs" => true,
            "tmpfs" => kernel_at_least(6, 6),
            _ => false,
        }
    }

    fn maps_ids(&self) -> bool {
        let known = MAPS_IDS.iter().find(|(kind, _)| *kind == self.kind);
        known.is_some_and(|(_, (major, minor))| kernel_at_least(*major, *minor))
    }
}

fn maps(mounts: &[Mount], source: &BindSource) -> bool {
    let path = real(&source.path);
    let below = mounts.iter().filter(|mount| source.recursive && mount.at.starts_with(&path));
    holder(mounts, &path).is_some_and(Mount::maps_ids) && below.into_iter().all(Mount::maps_ids)
}

/// The mount that a path is on; the last of several at one place covers the others.
fn holder<'m>(mounts: &'m [Mount], path: &Path) -> Option<&'m Mount> {
    let around = mounts.iter().filter(|mount| path.starts_with(&mount.at));
    around.max_by_key(|mount| mount.at.components().count())
}

/// Where a path leads, as far as it is there.
pub(super) fn real(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|above| {
        let rest = path.strip_prefix(above).unwrap_or(Path::new(""));
        fs::canonicalize(above).ok().map(|above| above.join(rest))
    });
    there.unwrap_or_else(|| path.to_owned())
}

fn mounts() -> Vec<Mount> {
    let text = small::text(CWD, "/proc/self/mountinfo").unwrap_or_default();
    text.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Mount> {
    let (about, kind) = line.split_once(" - ")?;
    let at = PathBuf::from(std::ffi::OsString::from_vec(plain(about.split(' ').nth(4)?)));
    Some(Mount { at, kind: kind.split(' ').next()?.to_owned() })
}

/// Space, tab, newline and backslash are written as three octal digits.
fn plain(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits =
            after.get(..3).filter(|_| *first == b'\\').and_then(|d| std::str::from_utf8(d).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Vec<Mount> {
        let text = "\
21 1 8:1 / / rw - ext4 /dev/sda1 rw
22 21 0:5 / /proc rw - proc proc rw
23 21 0:40 / /mnt/a\\040b rw shared:7 - nfs4 host:/x rw
24 21 8:2 / /srv rw - ext4 /dev/sda2 rw
25 24 8:3 / /srv rw - fuse.sshfs x rw";
        text.lines().filter_map(mount).collect()
    }

    fn source(path: &str, recursive: bool) -> BindSource {
        BindSource { path: path.into(), recursive }
    }

    #[test]
    fn a_path_is_judged_by_the_mount_it_is_on() {
        let mounts = table();
        assert!(maps(&mounts, &source("/no-such-folder/x", true)));
        assert!(holder(&mounts, Path::new("/mnt/a b/c")).is_some_and(|mount| mount.kind == "nfs4"));
        assert!(holder(&mounts, Path::new("/mnt/ab")).is_some_and(|mount| mount.kind == "ext4"));
        assert!(holder(&mounts, Path::new("/srv/x")).is_some_and(|mount| mount.kind != "ext4"));
    }

    #[test]
    fn what_is_mounted_below_counts_when_it_comes_along() {
        let mounts = table();
        assert!(maps(&mounts, &source("/", false)));
        assert!(!maps(&mounts, &source("/", true)));
    }
}
