//! Regular files of the host that containers have mounted: what is in them, and whether they still are the
//! ones at their paths.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use berth_planner::bound::Stamp;
use berth_planner::desired::{ContainerSpec, SourceSpec};
use berth_planner::generation::digest_of;
use berth_planner::observed::{ContainerState, ObservedContainer};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Stat, StatxAttributes, StatxFlags, fstat, open, openat,
    stat, statx,
};

use super::Host;
use crate::container::{is_kernel_file_system, open_inside};

/// Up to here a file is read; of a larger one its size and time count.
const READ: u64 = 8 << 20;

impl Host {
    /// What is in the regular files at these paths, links followed. One that looks as it did when `seen`
    /// containers were made is not read again.
    pub fn bound_files(
        paths: &BTreeSet<PathBuf>,
        seen: &BTreeMap<String, ObservedContainer>,
    ) -> BTreeMap<PathBuf, Stamp> {
        let look = |path: &PathBuf| {
            let known = seen.values().filter_map(|container| container.stamps.get(path));
            Some((path.clone(), look(path, known)?))
        };
        paths.iter().filter_map(look).collect()
    }

    /// From now on containers that are made or changed remember this of their files.
    pub fn remember_files(&self, stamps: &BTreeMap<PathBuf, Stamp>) {
        self.stamps.lock().unwrap_or_else(|e| e.into_inner()).clone_from(stamps);
    }

    /// What is remembered of the files that a container has, with the contents that it is to have.
    pub(super) fn stamps_of(&self, spec: &ContainerSpec) -> BTreeMap<PathBuf, Stamp> {
        let stamps = self.stamps.lock().unwrap_or_else(|e| e.into_inner());
        let of = |(path, content): (&PathBuf, &String)| {
            let stamp = stamps.get(path).filter(|stamp| stamp.content == *content)?;
            Some((path.clone(), stamp.clone()))
        };
        spec.bound_files.0.iter().filter_map(of).collect()
    }
}

/// Nothing where there is no regular file of a disk. One that cannot be read counts as it was known, or as
/// one that is too large for it.
fn look<'a>(path: &Path, known: impl Iterator<Item = &'a Stamp> + Clone) -> Option<Stamp> {
    let now = stamp(&stat(path).ok()?)?;
    if let Some(stamp) = known.clone().find(|stamp| stamp.holds(&now)) {
        return Some(stamp.clone());
    }
    let found = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    // Another text at each look, and some are gone when they have been read.
    if is_kernel_file_system(found.as_fd()).ok()? {
        return None;
    }
    let is_like = |stamp: &&Stamp| (stamp.size, stamp.modified) == (now.size, now.modified);
    let before = || known.clone().find(is_like).map(|stamp| stamp.content.clone());
    let content = match now.size <= READ {
        true => read(path).ok().or_else(before).unwrap_or_else(|| of_stamp(&now)),
        false => of_stamp(&now),
    };
    Some(Stamp { content, ..now })
}

/// Whether this is what somebody has mounted, and not something below it.
fn is_mount(found: BorrowedFd<'_>) -> bool {
    statx(found, "", AtFlags::EMPTY_PATH, StatxFlags::TYPE)
        .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// What is known of a regular file without reading it.
fn stamp(found: &Stat) -> Option<Stamp> {
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return None;
    }
    let nanos = |seconds: i64, nanos: i128| i128::from(seconds) * 1_000_000_000 + nanos;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(Stamp {
        object: (found.st_dev, found.st_ino),
        size: u64::try_from(found.st_size).unwrap_or_default(),
        modified: nanos(found.st_mtime, i128::from(found.st_mtime_nsec)),
        changed: nanos(found.st_ctime, i128::from(found.st_ctime_nsec)),
        read: i128::try_from(now.as_nanos()).unwrap_or_default(),
        content: String::new(),
    })
}

/// Devices, and inodes of some file systems, have other numbers after a start of the machine.
fn of_stamp(stamp: &Stamp) -> String {
    format!("size:{} modified:{}", stamp.size, stamp.modified)
}

fn read(path: &Path) -> io::Result<String> {
    // What has come to its place meanwhile may be one whose opening waits.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    let mut bytes = Vec::new();
    if stamp(&fstat(&file)?).is_none()
        || file.take(READ + 1).read_to_end(&mut bytes)? > READ as usize
    {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(digest_of(&bytes))
}

/// Paths of the host where another regular file is than the one that a container which runs has mounted.
pub(super) fn swapped(container: &ObservedContainer) -> BTreeSet<PathBuf> {
    let ContainerState::Running { pid, .. } = container.state else { return BTreeSet::new() };
    let binds = container.record.spec.mounts.iter().filter_map(|(target, mount)| {
        let SourceSpec::Bind { path, .. } = &mount.source else { return None };
        let now = stamp(&stat(path).ok()?)?;
        Some((target, path, now.object))
    });
    let binds: Vec<_> = binds.collect();
    if binds.is_empty() {
        return BTreeSet::new();
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(root) = openat(CWD, format!("/proc/{pid}/root"), flags, Mode::empty()) else {
        return BTreeSet::new();
    };
    let is_other = |(target, _, object): &(&String, &PathBuf, (u64, u64))| {
        let mounted = open_inside(root.as_fd(), target, OFlags::PATH).ok();
        // A link there may lead elsewhere by now.
        let mounted = mounted.filter(|file| is_mount(file.as_fd()));
        let mounted = mounted.and_then(|file| stamp(&fstat(file).ok()?));
        mounted.is_some_and(|mounted| mounted.object != *object)
    };
    binds.into_iter().filter(is_other).map(|(_, path, _)| path.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::time::Duration;

    use super::*;

    /// A file that was changed long enough ago, and what is known of it.
    fn settled(name: &str, text: &str) -> (PathBuf, Stamp) {
        let path = std::env::temp_dir().join(format!("berth-bound-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        let mut stamp = look(&path, std::iter::empty()).unwrap();
        stamp.read += 3_000_000_000;
        (path, stamp)
    }

    #[test]
    fn one_that_looks_as_it_did_is_not_read_again_unless_it_was_changed_when_it_was_read() {
        let (path, stamp) = settled("again", "one");
        let told = Stamp { content: "as it was told".to_owned(), ..stamp };
        let of = |known: &Stamp| look(&path, [known].into_iter()).unwrap().content;
        assert_eq!(of(&told), "as it was told");
        let racy = Stamp { read: told.changed + 1_000_000_000, ..told.clone() };
        assert_eq!(of(&racy), digest_of(b"one"));
        // The same size and time, as a tool may leave them.
        fs::write(&path, "two").unwrap();
        let times = fs::FileTimes::new()
            .set_modified(UNIX_EPOCH + Duration::from_nanos(told.modified as u64));
        OpenOptions::new().write(true).open(&path).unwrap().set_times(times).unwrap();
        assert_eq!(of(&told), digest_of(b"two"));
        fs::remove_file(&path).unwrap();
        assert_eq!(look(&path, std::iter::empty()), None);
    }

    #[test]
    fn a_large_one_counts_by_its_size_and_time_and_a_folder_or_what_the_kernel_tells_not_at_all() {
        let (path, _) = settled("large", "");
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let content = || look(&path, std::iter::empty()).unwrap().content;
        file.set_len(READ).unwrap();
        assert!(content().starts_with("sha256:"));
        file.set_len(READ + 1).unwrap();
        let before = content();
        assert!(before.starts_with("size:8388609 modified:"), "{before}");
        file.set_times(fs::FileTimes::new().set_modified(UNIX_EPOCH)).unwrap();
        assert_ne!(content(), before);
        fs::remove_file(&path).unwrap();
        assert_eq!(look(&std::env::temp_dir(), std::iter::empty()), None);
        assert_eq!(look(Path::new("/proc/meminfo"), std::iter::empty()), None);
    }
}
