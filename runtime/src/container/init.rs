//! The small init: process 1 of a container with `init: true`.
//!
//! It passes every signal on to the program, reaps what is orphaned, and ends with the
//! program's status. It stays in our own code, so no helper binary is needed in the image.

use rustix::process::{WaitOptions, wait};
use rustix::thread::CapabilitySet;

use super::error::{Context, SetupError};
use super::process::{self, Rights};
use crate::bundle::Process;
use crate::sys;

/// Forks. The new process returns and becomes the program; this one stays as the init and never
/// returns.
pub(crate) fn stay_as_init(process: &Process, rights: &Rights) -> Result<(), SetupError> {
    let own = rights.of_init()?;
    sys::block_signals().step("block signals", "init")?;
    let program = sys::fork().step("fork", "program")?;
    if program == 0 {
        return Ok(());
    }
    // The name is for people only; becoming the user has already made it undumpable.
    let _ = rustix::thread::set_name(c"berth-init");
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let confined = confine(process, &own);
    // The parent's channel is among what closes here: the program's copy alone tells it when
    // the program runs.
    let closed = sys::close_from(0);
    sys::exit_now(if closed.is_ok() && confined.is_ok() { serve(program) } else { 125 })
}

/// Reaps what is orphaned, also where somebody else is process 1, with the rights of the program.
fn confine(process: &Process, rights: &Rights) -> Result<(), SetupError> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .step("become the reaper", "init")?;
    rights.confine()?;
    process::set_capabilities(process, rights.capabilities, CapabilitySet::empty())?;
    rights.enter_profile()
}

/// Passes signals on and reaps, until the program ends: its status. Signals must be blocked.
pub(crate) fn serve(program: i32) -> i32 {
    loop {
        match sys::next_signal() {
            Ok(libc::SIGCHLD) => {
                if let Some(status) = reap(program) {
                    return status;
                }
            }
            // It may have ended just now; then SIGCHLD comes next.
            Ok(signal) => drop(sys::kill(program, signal)),
            Err(_) => {}
        }
    }
}

/// Collects all that ended; the status of the program if it is among them.
fn reap(program: i32) -> Option<i32> {
    let mut ended = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid.as_raw_pid() == program {
            let killed = status.terminating_signal().map(|signal| 128 + signal);
            ended = status.exit_status().or(killed).or(ended);
        }
    }
    ended
}
