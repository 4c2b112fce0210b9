//! `berth exec`: our own program once more, as the parent of a process in a container.
//!
//! The command line has threads, and a process with threads must not clone into namespaces. So
//! it executes itself as a small process, passes it one end of a channel as descriptor 3, and
//! gets the terminal, the start or the failure back. The helper ends with the process's status
//! and passes every signal on to it.

use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio as ProcessStdio};

use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use super::channel::{Channel, Packet};
use super::error::{Context, SetupError};
use super::exec::{ExecSpec, exec_in};
use super::init;
use super::process::Stdio;
use crate::sabotage;
use crate::starter::{NAME, sealed_program};
use crate::sys;

/// Hidden word on the command line that makes the program a helper.
pub const WORD: &str = "exec-helper";
/// Number under which the helper finds its end of the channel.
const NUMBER: i32 = 3;

/// What the helper shall do. It travels in a file of memory: an environment has no small bound,
/// and the arguments of a process can be read by others.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    run_dir: PathBuf,
    spec: ExecSpec,
}

/// A helper whose process runs in the container.
#[derive(Debug)]
pub struct Helper {
    /// The helper itself; it ends with the status of the process, 128 + n for signal n.
    pub process: Child,
    /// The master of the process's terminal, if it asked for one.
    pub terminal: Option<OwnedFd>,
}

/// Starts a process in the container of this run folder, with the standard streams of the
/// caller unless it has a terminal of its own. Returns when its program runs.
///
/// For any process of the berth program, also one with threads.
pub fn start_helper(run_dir: &Path, spec: &ExecSpec) -> Result<Helper, SetupError> {
    const STEP: &str = "start helper";
    let (ours, theirs) = Channel::pair().step(STEP, "socket pair")?;
    let program = sealed_program().step(STEP, "program")?;
    // Not under a number that the channel takes.
    let program = rustix::io::fcntl_dupfd_cloexec(&program, NUMBER + 1).step(STEP, "program")?;
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    command.arg0("berth").arg(WORD);
    if spec.tty {
        command.stdin(ProcessStdio::null()).stdout(ProcessStdio::null());
    }
    sys::pass_as(&mut command, theirs.into_fd(), NUMBER);
    let mut process = command.spawn().step(STEP, WORD)?;
    drop(command); // and with it the other end of the channel
    let asked = ask(&ours, run_dir, spec).and_then(|()| answer(&ours));
    match asked {
        Ok(terminal) => Ok(Helper { process, terminal }),
        Err(error) => {
            // It ends by itself, as its channel does.
            drop(ours);
            let _ = process.wait();
            Err(error)
        }
    }
}

fn ask(channel: &Channel, run_dir: &Path, spec: &ExecSpec) -> Result<(), SetupError> {
    const STEP: &str = "ask helper";
    let request = Request { run_dir: run_dir.to_owned(), spec: spec.clone() };
    let text = serde_json::to_vec(&request).map_err(std::io::Error::from).step(STEP, "request")?;
    let memory = memfd_create("request", MemfdFlags::CLOEXEC).step(STEP, "request")?;
    let mut file = std::fs::File::from(memory);
    file.write_all(&text).step(STEP, "request")?;
    channel.send_fds(&[file]).step(STEP, "request")
}

/// Waits until the program runs.
fn answer(channel: &Channel) -> Result<Option<OwnedFd>, SetupError> {
    let mut terminal = None;
    loop {
        match channel.receive().step("ask helper", "answer")? {
            Packet::Terminal(master) => terminal = Some(master),
            Packet::Executing => return Ok(terminal),
            Packet::Failed(error) => return Err(error),
            Packet::Closed => {
                return Err(SetupError::refused("start", "process", "its helper ended"));
            }
            Packet::Fds(..) | Packet::Network | Packet::Entered | Packet::Mounted => {}
        }
    }
}

/// The helper, entered at the top of `main` when [`WORD`] is the first argument.
pub fn helper_main() -> ! {
    sabotage::read();
    // Cosmetic: in a list of processes it is not called by the number of a descriptor.
    let _ = rustix::thread::set_name(NAME);
    match sys::passed_as(NUMBER) {
        Ok(fd) => serve(&Channel::from_fd(fd)),
        Err(_) => sys::exit_now(125), // not started by us: nobody to tell
    }
}

pub(super) fn serve(channel: &Channel) -> ! {
    match start(channel) {
        Ok(pid) => sys::exit_now(init::serve(pid)),
        Err(error) => {
            let _ = channel.send_failure(&error);
            sys::exit_now(error.exit_code)
        }
    }
}

/// Starts the process; its id.
fn start(channel: &Channel) -> Result<i32, SetupError> {
    const STEP: &str = "read request";
    let fds = match channel.receive().step(STEP, "channel")? {
        Packet::Fds(fds, _) => fds,
        _ => Vec::new(),
    };
    let file = fds.into_iter().next();
    let mut file = file.map(std::fs::File::from).ok_or(rustix::io::Errno::BADF).step(STEP, "")?;
    let mut text = Vec::new();
    file.rewind().step(STEP, "request")?;
    file.read_to_end(&mut text).step(STEP, "request")?;
    let request: Request =
        serde_json::from_slice(&text).map_err(std::io::Error::from).step(STEP, "request")?;
    // From here on they wait: the end of the process must not be missed.
    sys::block_signals().step("block signals", "helper")?;
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let stdio = if request.spec.tty {
        Stdio::Terminal
    } else {
        Stdio::Files { stdin: stdin.as_fd(), stdout: stdout.as_fd(), stderr: stderr.as_fd() }
    };
    let child = exec_in(&request.run_dir, &request.spec, stdio)?;
    if let Some(master) = &child.terminal {
        channel.send_terminal(master.as_fd()).step("send terminal", "master")?;
    }
    channel.send_executing().step("report", "start")?;
    Ok(child.pid)
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// The other side of [`serve`], without a program to execute.
    pub(crate) fn ask_and_wait(
        channel: &Channel,
        run_dir: &Path,
        spec: &ExecSpec,
    ) -> Result<Option<OwnedFd>, SetupError> {
        ask(channel, run_dir, spec)?;
        answer(channel)
    }
}
