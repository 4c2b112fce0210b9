//! Runs a container's probe: a process in it.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, pipe_with};

use super::life::exit_code;
use super::poll::{PollSet, Token};
use crate::bundle::{Bundle, Probe};
use crate::container::{self, ExecSpec, Stdio, Target};
use crate::sabotage::defence;
use crate::sys;

/// Bytes kept of what a probe writes.
const OUTPUT: usize = 4096;

/// A probe that runs.
pub(super) struct RunningProbe {
    target: Target,
    pidfd: OwnedFd,
    output: Option<File>,
    text: Vec<u8>,
    deadline: Instant,
    /// It took too long.
    killed: bool,
}

impl RunningProbe {
    /// Starts it.
    ///
    /// # Errors
    /// With words, for the health output.
    pub(super) fn start(
        target: &Target,
        bundle: &Bundle,
        probe: &Probe,
        now: Instant,
    ) -> Result<Self, String> {
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|e| format!("open a pipe: {e}"));
        let (reader, writer) = pipe()?;
        let null = File::open("/dev/null").map_err(|e| format!("open /dev/null: {e}"))?;
        rustix::io::ioctl_fionbio(&reader, true).map_err(|e| format!("set up a pipe: {e}"))?;
        let stdio =
            Stdio::Files { stdin: null.as_fd(), stdout: writer.as_fd(), stderr: writer.as_fd() };
        let spec = ExecSpec { argv: probe.argv.clone(), ..ExecSpec::default() };
        let child =
            container::exec(target, bundle, &spec, stdio).map_err(|error| error.to_string())?;
        Ok(RunningProbe {
            // Unknown when it has ended already; it is our child, so that does not matter.
            target: Target::of(child.pid).unwrap_or(Target { pid: child.pid, start: 0 }),
            pidfd: child.pidfd,
            output: Some(reader.into()),
            text: Vec::new(),
            deadline: now + Duration::from_millis(probe.times.timeout_ms.max(1)),
            killed: false,
        })
    }

    pub(super) fn poll<'a>(&'a self, set: &mut PollSet<'a>) {
        set.read(Token::ProbeExit, &self.pidfd);
        if let Some(output) = &self.output {
            set.read(Token::ProbeOutput, output);
        }
    }

    /// When it has taken too long.
    pub(super) fn due(&self) -> Option<Instant> {
        Some(self.deadline).filter(|_| !self.killed)
    }

    /// Gives it as much more time as it stood still.
    pub(super) fn prolong(&mut self, by: Duration) {
        self.deadline += by;
    }

    /// Reads what it wrote; keeps the beginning, and goes on reading so that it can go on.
    fn read(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(output) = &mut self.output {
            match output.read(&mut buffer) {
                Ok(n) if n > 0 => {
                    let room = defence!("probe.bounded", OUTPUT - self.text.len(), n);
                    self.text.extend_from_slice(&buffer[..n.min(room)]);
                    // One that writes without end is served once a turn.
                    if n == buffer.len() {
                        return;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => self.output = None,
            }
        }
    }

    /// Kills it when it takes too long.
    pub(super) fn give_up(&mut self, now: Instant) {
        if !self.killed && self.deadline <= now {
            self.kill();
        }
    }

    /// Reads what it wrote. When it has ended: whether it was good, and what it said.
    pub(super) fn serve(&mut self, token: Token) -> Option<(bool, String)> {
        self.read();
        (token == Token::ProbeExit).then(|| {
            let good = exit_code(&self.target, &self.pidfd) == 0 && !self.killed;
            (good, self.text())
        })
    }

    /// Kills it; its end is heard like any other.
    fn kill(&mut self) {
        // It may have ended by itself.
        let _ = sys::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        self.killed = true;
    }

    /// The container has ended, and with it every process in it: reaps it.
    pub(super) fn abandon(mut self) {
        self.kill();
        exit_code(&self.target, &self.pidfd);
    }

    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.text);
        if self.killed {
            format!("it took too long and was killed\n{text}")
        } else {
            text.into_owned()
        }
    }
}
