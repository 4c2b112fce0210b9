//! Keeps the terminal of a process that its user has left: with its master the terminal would end,
//! and the process with it. A small process of our own reads what comes and forgets it, until
//! nobody has the terminal open any more.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, read};

/// Word that makes our program the keeper of its standard input.
pub(crate) const WORD: &str = "keep-terminal";

/// Starts a keeper of this master.
///
/// # Errors
/// What the host answers.
pub(crate) fn spawn(master: OwnedFd) -> io::Result<()> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("berth").arg(WORD).stdin(master).stdout(Stdio::null()).stderr(Stdio::null());
    // In a group of its own: the end of the user's terminal is told to that of its programs alone.
    command.current_dir("/").env_clear().process_group(0);
    // Nobody waits for it: it outlives us.
    command.spawn().map(drop)
}

/// The keeper, entered at the top of `main`.
pub(crate) fn main() -> ! {
    std::process::exit(i32::from(forget(&io::stdin()).is_err()))
}

fn forget(master: &io::Stdin) -> io::Result<()> {
    let mut piece = [0; 4096];
    loop {
        match poll(&mut [PollFd::new(master, PollFlags::IN)], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        match read(master, &mut piece) {
            // A terminal answers EIO when its last user has closed it.
            Ok(0) | Err(Errno::IO) => return Ok(()),
            Ok(_) | Err(Errno::INTR | Errno::AGAIN) => {}
            Err(e) => return Err(e.into()),
        }
    }
}
