//! Settings that the kernel has for a container that runs, changed: limits of its processes, how
//! readily they are ended, settings of its network, the size of what it has mounted of memory.
//!
//! A process that has given itself another limit keeps that.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{OFlags, fstatfs};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::cgroup::Group;
use super::error::{Context, SetupError};
use super::{fs as mounts, inside, process, rlimits, sysctl};
use crate::bundle::{Bundle, Settings};

/// Rounds over the processes, as long as one is found that was born of one not changed yet.
const ROUNDS: u32 = 32;
/// tmpfs (statfs(2)).
const TMPFS_MAGIC: u32 = 0x0102_1994;
/// Where shared memory is.
const SHM: &str = "/dev/shm";

pub(crate) use super::sysctl::read_in as sysctls;

/// Gives a container the settings of `bundle`, where it has those of `from`. When the kernel refuses
/// one, others are changed already: the caller goes back the same way.
pub(crate) fn change(
    bundle: &Bundle,
    (group, first): (&Group, i32),
    netns: BorrowedFd<'_>,
    from: &Settings,
) -> Result<(), SetupError> {
    let to = Settings::of(bundle);
    resize(first, from, &to)?;
    sysctl::change_in(netns, bundle, &from.sysctls)?;
    if (&from.rlimits, score(from)) == (&to.rlimits, score(&to)) {
        return Ok(());
    }
    let limits = differing(&from.rlimits, &to.rlimits)?;
    for _ in 0..ROUNDS {
        let mut changed = false;
        for pid in group.processes()?.into_iter().chain([first]) {
            changed |= change_limits(pid, &limits)?;
            changed |= change_score(pid, score(from), score(&to))?;
        }
        if !changed {
            return Ok(());
        }
    }
    let reason = "its processes start others faster than they can be given limits";
    Err(SetupError::refused("change limits", "processes", reason))
}

fn score(settings: &Settings) -> i32 {
    settings.oom_score_adj.unwrap_or(0)
}

type Limit = (Resource, Rlimit, Rlimit);

/// Limits that both have, and that are not the same.
fn differing(
    from: &BTreeMap<String, (u64, u64)>,
    to: &BTreeMap<String, (u64, u64)>,
) -> Result<Vec<Limit>, SetupError> {
    let (from, to) = (rlimits::parse(from)?, rlimits::parse(to)?);
    let both = from.asked().filter_map(|(resource, old)| {
        let (_, new) = to.asked().find(|(other, _)| *other == resource)?;
        Some((resource, old, new))
    });
    Ok(both.filter(|(_, old, new)| old != new).collect())
}

/// Whether something of the process was changed. One that is gone needs nothing.
fn change_limits(pid: i32, limits: &[Limit]) -> Result<bool, SetupError> {
    let Some(text) = read(pid, "limits")? else { return Ok(false) };
    let mut changed = false;
    for (resource, old, new) in limits {
        let Some(has) = rlimits::listed(&text, *resource) else { continue };
        let current = if has.current == old.current { new.current } else { has.current };
        let maximum = if has.maximum == old.maximum { new.maximum } else { has.maximum };
        let wanted = Rlimit { current: least(current, maximum), maximum };
        if wanted == has {
            continue;
        }
        changed = true;
        match prlimit(Pid::from_raw(pid), *resource, wanted) {
            Err(Errno::SRCH) => {}
            set => set.map(drop).step("set rlimit", rlimits::name(*resource))?,
        }
    }
    Ok(changed)
}

/// A limit within another; `None` is no limit.
fn least(limit: Option<u64>, most: Option<u64>) -> Option<u64> {
    limit.into_iter().chain(most).min()
}

fn change_score(pid: i32, from: i32, to: i32) -> Result<bool, SetupError> {
    if from == to {
        return Ok(false);
    }
    let Some(text) = read(pid, "oom_score_adj")? else { return Ok(false) };
    if text.trim() != from.to_string() {
        return Ok(false);
    }
    let path = format!("/proc/{pid}/oom_score_adj");
    match fs::write(&path, to.to_string()) {
        Err(error) if is_gone(&error) => Ok(false),
        written => written.map(|()| true).step("write", format!("{path} = {to}")),
    }
}

/// A file of a process; `None` when that is gone.
fn read(pid: i32, name: &str) -> Result<Option<String>, SetupError> {
    let path = format!("/proc/{pid}/{name}");
    match fs::read_to_string(&path) {
        Err(error) if is_gone(&error) => Ok(None),
        text => text.map(Some).step("read", path),
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// Changes the sizes of memory that is mounted.
fn resize(first: i32, from: &Settings, to: &Settings) -> Result<(), SetupError> {
    let shm = (from.shm_size != to.shm_size).then_some((SHM, to.shm_size));
    let differs = |(target, bytes): &(&String, &u64)| {
        from.tmpfs.get(*target).is_some_and(|old| old != *bytes)
    };
    let others = to.tmpfs.iter().filter(differs).map(|(target, bytes)| (target.as_str(), *bytes));
    let sizes: Vec<(&str, u64)> = shm.into_iter().chain(others).collect();
    if sizes.is_empty() {
        return Ok(());
    }
    let root = format!("/proc/{first}/root");
    let root = process::folder(&root).step("open", &root)?;
    for (target, bytes) in sizes {
        let told = |error: SetupError| SetupError { object: target.to_owned(), ..error };
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let path = Path::new(target).strip_prefix("/").unwrap_or(Path::new(target));
        let place = inside::open(root.as_fd(), path, flags).step("open", target)?;
        let kind = fstatfs(&place).step("look at", target)?.f_type;
        if kind as u64 != u64::from(TMPFS_MAGIC) {
            let reason = "the container has mounted something else there";
            return Err(SetupError::refused("change mount", target, reason));
        }
        mounts::reconfigure(&place, "size", &bytes.to_string()).map_err(told)?;
    }
    Ok(())
}
