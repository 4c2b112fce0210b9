//! Real-time processor time on v1: a group has none that the one above does not have, and what
//! the groups below have together is never more than that.

use std::fs;
use std::path::{Path, PathBuf};

use super::settings::{RT_PERIOD, RT_RUNTIME};
use super::{Group, Version, put};
use crate::bundle::Cgroup;
use crate::container::error::SetupError;

/// A share of the time, in billionths, rounded up.
type Share = u64;

impl Group {
    /// Gives berth's groups above this one what it is to have, beside what the others in them
    /// have. Those of somebody else stay as they are.
    pub(super) fn make_room_for_real_time(&self, limits: &Cgroup) -> Result<(), SetupError> {
        let Some(member) = self.legacy.iter().find(|member| member.has("cpu")) else {
            return Ok(()); // v2 has no such setting, which the plan tells
        };
        debug_assert_eq!(member.version, Version::V1);
        let period = limits.cpu_rt_period.unwrap_or(1_000_000);
        let mut below = (member.folder.clone(), share(limits.cpu_rt_runtime.unwrap_or(0), period));
        let mut above: Vec<(PathBuf, Share)> = Vec::new();
        for folder in member.folder.ancestors().skip(1) {
            if folder == member.mount || !member.is_ours(folder) {
                break;
            }
            let needed = sum_below(folder, &below.0) + below.1;
            above.push((folder.to_owned(), needed));
            below = (folder.to_owned(), needed);
        }
        above.iter().rev().try_for_each(|(folder, needed)| raise(folder, *needed))
    }
}

fn share(runtime: u64, period: u64) -> Share {
    runtime.saturating_mul(1_000_000_000).div_ceil(period.max(1))
}

/// What a group has.
fn share_of(folder: &Path) -> Share {
    let number = |file| {
        let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
        text.trim().parse::<u64>().unwrap_or(0)
    };
    share(number(RT_RUNTIME), number(RT_PERIOD))
}

/// What the groups in `folder` have together, but one.
fn sum_below(folder: &Path, but: &Path) -> Share {
    let below = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    below.filter(|path| path != but && path.is_dir()).map(|path| share_of(&path)).sum()
}

fn raise(folder: &Path, needed: Share) -> Result<(), SetupError> {
    if share_of(folder) >= needed {
        return Ok(());
    }
    let period = fs::read_to_string(folder.join(RT_PERIOD)).unwrap_or_default();
    let period: u64 = period.trim().parse().unwrap_or(1_000_000);
    let runtime = needed.saturating_mul(period).div_ceil(1_000_000_000);
    put(&folder.join(RT_RUNTIME), &runtime.to_string()).map_err(|error| {
        let object = format!("cpu_rt_runtime = {runtime} of {}", folder.display());
        match error.raw_os_error() {
            Some(libc::EINVAL) => {
                let reason = "the groups above and beside it leave no more real-time time (EINVAL)";
                SetupError::refused("set limit", object, reason)
            }
            _ => SetupError::kernel("set limit", object, &error),
        }
    })
}
