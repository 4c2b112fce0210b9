//! Network namespaces, as descriptors only: nothing is ever mounted or named.
//!
//! Entering one changes the calling thread and nothing else, so these functions belong in
//! single-threaded programs, or on a thread that does nothing else meanwhile.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{Result, refused};

/// The calling thread's network namespace.
///
/// # Errors
/// `/proc` is not there.
pub fn current() -> Result<OwnedFd> {
    let path = "/proc/thread-self/ns/net";
    Ok(File::open(path).map_err(refused("open", path))?.into())
}

/// Runs `work` with the calling thread inside `netns`, and brings the thread back.
///
/// # Errors
/// The namespace cannot be entered, `work` fails, or the way back is barred; in that last case
/// the thread is still inside and must end.
pub fn inside<T>(netns: BorrowedFd<'_>, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let home = current()?;
    enter(netns, "setns into the network namespace of the container")?;
    let result = work();
    enter(home.as_fd(), "setns back to the network namespace of the host")?;
    result
}

fn enter(netns: BorrowedFd<'_>, step: &'static str) -> Result<()> {
    use std::os::fd::AsRawFd;
    let object = || format!("descriptor {}", netns.as_raw_fd());
    move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))
        .map_err(|errno| refused(step, object())(errno))
}
