//! A process of ours on the host that talks with anybody gives up its rights first.

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use super::error::{Context, SetupError};
use super::process::become_user;
use super::seccomp::Filter;
use crate::sys;

/// `nobody`: owns nothing.
const NOBODY: u32 = 65534;

/// Becomes nobody, without capabilities, with no system calls but these and socket(2) for IP, and
/// ends with its parent.
///
/// # Errors
/// The kernel refuses one of these, or the parent is gone.
pub(crate) fn confine(calls: &[libc::c_long]) -> Result<(), SetupError> {
    const STEP: &str = "give up rights";
    // As likely to go as others when memory is short, unlike the monitor it comes from.
    let _ = std::fs::write("/proc/self/oom_score_adj", "0");
    let parent = getppid();
    become_user(NOBODY, NOBODY, &[])?;
    // Another user is told of nothing any more, so this comes after.
    set_parent_process_death_signal(Some(Signal::KILL)).step(STEP, "parent")?;
    if getppid() != parent {
        return Err(SetupError::refused(STEP, "parent", "it has ended"));
    }
    rustix::thread::set_no_new_privs(true).step(STEP, "no_new_privs")?;
    let filter = Filter::of_calls(calls);
    sys::seccomp_filter(&filter.program, filter.flags).step(STEP, "seccomp")
}
