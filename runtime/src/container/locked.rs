//! Mounts that a container cannot take apart, whatever it may do in its user namespace.
//!
//! Who has CAP_SYS_ADMIN over a mount namespace may take off what covers something, and make
//! writable what is read-only. Mounts that came from a namespace with another owner are the
//! exception: they are locked, as one thing (mount_namespaces(7)). So the mounts of such a container
//! are put together in a workshop, a mount namespace that belongs to a user namespace below that of
//! the container: nobody lives there, and the container's first process has every right over it. The
//! container's own mount namespace is a copy of the workshop, which is gone with that.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sched::{CloneFlags, unshare};
use rustix::process::{DumpableBehavior, Pid, WaitOptions, set_dumpable_behavior, waitpid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::channel::{Channel, Packet};
use super::error::{Context, SetupError};
use super::{process, spawn};
use crate::bundle::Bundle;
use crate::sabotage::defence;
use crate::sys::{self, Cloned};

const STEP: &str = "lock mounts";

/// Whether somebody in the container has the right to take mounts apart. Who executes a privileged
/// process in it later may still do so.
pub(super) fn is_needed(bundle: &Bundle) -> bool {
    let caps = &bundle.process.capabilities;
    let mut hooks = bundle.hooks.post_start.iter().chain(&bundle.hooks.pre_stop);
    let may = caps.iter().any(|name| name == "SYS_ADMIN") || hooks.any(|hook| hook.privileged);
    !bundle.held && bundle.id_base.is_some() && defence!("mounts.locked", may, false)
}

/// Makes the workshop for a container with this user namespace: a copy of our own mounts.
pub(super) fn workshop(user: BorrowedFd<'_>) -> Result<OwnedFd, SetupError> {
    let (ours, theirs) = Channel::pair().step(STEP, "socket pair")?;
    let pid = match sys::clone_process(0, None).step(STEP, "clone")? {
        Cloned::Child => {
            drop(ours);
            let sent = make(user).and_then(|own| theirs.send_fds(&[own]).step(STEP, "workshop"));
            if let Err(error) = sent {
                drop(theirs.send_failure(&error)); // the parent sees the end at least
            }
            sys::exit_now(0)
        }
        Cloned::Parent { pid, .. } => pid,
    };
    drop(theirs);
    let answer = ours.receive();
    let _ = waitpid(Pid::from_raw(pid), WaitOptions::empty());
    let ended = || SetupError::refused(STEP, "workshop", "its process ended");
    match answer.step(STEP, "workshop")? {
        Packet::Fds(mut own, _) => own.pop().ok_or_else(ended),
        Packet::Failed(error) => Err(error),
        _ => Err(ended()),
    }
}

/// The same, in a process of its own.
fn make(user: BorrowedFd<'_>) -> Result<OwnedFd, SetupError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).step("protect", "process")?;
    move_into_link_name_space(user, Some(LinkNameSpaceType::User)).step(STEP, "user namespace")?;
    // The owner of a user namespace has to be somebody in the one above.
    process::become_user(0, 0, &[])?;
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).map_err(|error| {
        let reason = format!(
            "this host gives no user namespace within another ({error}), and without one the \
             container could take off what covers `/proc` and `/sys`: look at \
             `user.max_user_namespaces` and `kernel.unprivileged_userns_clone`, or leave out the \
             capability SYS_ADMIN"
        );
        SetupError::refused(STEP, "user namespace", reason)
    })?;
    spawn::open("/proc/self/ns/mnt")
}

/// Goes to work there.
pub(super) fn enter(workshop: &OwnedFd) -> Result<(), SetupError> {
    move_into_link_name_space(workshop.as_fd(), Some(LinkNameSpaceType::Mount))
        .step(STEP, "workshop")
}

/// Leaves the workshop for a copy of it, in which everything is locked. Descriptors of before lead
/// to the workshop still; root and working folder lead to the copy.
pub(super) fn leave() -> Result<(), SetupError> {
    unshare(CloneFlags::CLONE_NEWNS).step(STEP, "mount namespace")
}
