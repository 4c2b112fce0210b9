//! Children that did not end in time although they were killed.
//!
//! A container's first process does not end before every other one of its pid namespace is waited
//! for (pid_namespaces(7)), and those that their parent put there are waited for by nobody but it.
//! So none is forgotten: the monitor looks for their ends until the last has come.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{WaitId, WaitIdOptions, waitid};

thread_local! {
    /// Of the one thread that a monitor has.
    static LOST: RefCell<Vec<OwnedFd>> = const { RefCell::new(Vec::new()) };
}

/// Remembers one.
pub(crate) fn remember(pidfd: OwnedFd) {
    LOST.with_borrow_mut(|lost| lost.push(pidfd));
}

/// Waits for those that have ended. Whether there are more.
pub(crate) fn reap() -> bool {
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    LOST.with_borrow_mut(|lost| {
        // What is waited for already is no child any more.
        lost.retain(|pidfd| matches!(waitid(WaitId::PidFd(pidfd.as_fd()), ended), Ok(None)));
        !lost.is_empty()
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    #[test]
    fn a_child_that_was_left_is_waited_for_when_it_ends() {
        let mut child = Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        remember(pidfd_open(pid, PidfdFlags::empty()).unwrap());
        assert!(reap(), "it runs");
        drop(child.stdin.take());
        let until = Instant::now() + Duration::from_secs(30);
        while reap() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(!reap());
        assert!(child.wait().is_err(), "somebody has waited for it");
    }
}
