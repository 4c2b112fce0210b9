//! Runs a container's probe: a process in it.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, pipe_with};

use super::checks::Outcome;
use super::errand::{Errand, Stuck, Tokens};
use super::poll::{PollSet, Token};
use crate::bundle::{Bundle, Probe};
use crate::container::{ExecSpec, Stdio, Target};
use crate::sabotage::defence;

/// Bytes kept of what a probe writes.
const OUTPUT: usize = 4096;

/// A probe that runs.
pub(super) struct RunningProbe {
    errand: Errand,
    output: Option<File>,
    text: Vec<u8>,
    deadline: Instant,
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
        let mut errand =
            Errand::begin(target, bundle, &spec, stdio, now).map_err(|error| error.to_string())?;
        errand.let_go();
        let deadline = now + Duration::from_millis(probe.times.timeout_ms.max(1));
        Ok(RunningProbe { errand, output: Some(reader.into()), text: Vec::new(), deadline })
    }

    pub(super) fn poll<'a>(&'a self, set: &mut PollSet<'a>) {
        self.errand.poll(set, Tokens { exit: Token::ProbeExit, news: Token::ProbeOutput });
        if let Some(output) = &self.output {
            set.read(Token::ProbeOutput, output);
        }
    }

    /// When it has taken too long.
    pub(super) fn due(&self) -> Instant {
        self.errand.due(self.deadline)
    }

    /// Gives it as much more time as it stood still.
    pub(super) fn prolong(&mut self, by: Duration) {
        self.deadline += by;
        self.errand.prolong(by);
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

    /// Kills it when it takes too long. Whether it does not even end by that.
    pub(super) fn turn(&mut self, now: Instant) -> bool {
        self.errand.turn(now, self.deadline);
        self.errand.is_stuck(now)
    }

    /// Reads what it wrote. When it has ended: what came of it.
    pub(super) fn serve(&mut self, token: Token) -> Option<Outcome> {
        self.read();
        if token != Token::ProbeExit {
            self.errand.hear();
            return None;
        }
        let failure = self.errand.failure();
        let good = self.errand.exit_code() == 0 && !self.errand.is_killed();
        Some(match (failure, good) {
            (Some(error), _) if self.errand.hangs() => Outcome::Hung(error.to_string()),
            (Some(error), _) => Outcome::Bad(error.to_string()),
            (None, true) => Outcome::Good(self.text()),
            (None, false) => Outcome::Bad(self.text()),
        })
    }

    /// The container has ended, and with it every process in it: reaps it.
    pub(super) fn abandon(self) {
        self.errand.end();
    }

    /// Kills it and waits for it no more.
    pub(super) fn give_up(mut self, now: Instant) -> Stuck {
        self.errand.kill(now);
        self.leave_behind()
    }

    /// Waits for it no more.
    pub(super) fn leave_behind(self) -> Stuck {
        self.errand.leave_behind()
    }

    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.text);
        if self.errand.is_killed() {
            format!("it took too long and was killed\n{text}")
        } else {
            text.into_owned()
        }
    }
}
