//! Runs a container's probe and tells its health.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, pipe_with};

use super::events::Happening;
use super::keep::Monitor;
use super::life::{Life, exit_code};
use super::poll::{PollSet, Token};
use crate::bundle::{Bundle, Probe};
use crate::container::{self, ExecSpec, Stdio, Target};
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
    fn start(
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
            deadline: now + Duration::from_millis(probe.timeout_ms.max(1)),
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
                    let room = OUTPUT - self.text.len();
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

impl Monitor {
    /// Starts a probe that is due, or kills one that takes too long.
    pub(super) fn tick_probe(&mut self, now: Instant) {
        if self.frozen.is_some() {
            return;
        }
        if let Err(reason) = self.turn_probe(now) {
            self.probed(false, reason, now);
        }
    }

    fn turn_probe(&mut self, now: Instant) -> Result<(), String> {
        let (Some(probe), Life::Running(running)) = (&self.bundle.health, &mut self.life) else {
            return Ok(());
        };
        if let Some(late) = &mut running.probe {
            if !late.killed && late.deadline <= now {
                late.kill();
            }
            return Ok(());
        }
        let Some(health) = &mut running.health else { return Ok(()) };
        if self.stopped || health.due().is_none_or(|due| due > now) {
            return Ok(());
        }
        running.probe = Some(RunningProbe::start(&running.target, &self.bundle, probe, now)?);
        health.began();
        Ok(())
    }

    /// Serves a probe that has written or ended.
    pub(super) fn serve_probe(&mut self, token: Token, now: Instant) {
        let Life::Running(running) = &mut self.life else { return };
        let Some(probe) = &mut running.probe else { return };
        probe.read();
        if token == Token::ProbeExit {
            let good = exit_code(&probe.target, &probe.pidfd) == 0 && !probe.killed;
            let text = probe.text();
            running.probe = None;
            self.probed(good, text, now);
        }
    }

    fn probed(&mut self, good: bool, text: String, now: Instant) {
        let health = self.running().and_then(|running| running.health.as_mut());
        let Some(changed) = health.map(|health| health.ended(good, now)) else { return };
        let said = self.status.health_output != text;
        self.status.health_output = text;
        if let Some(health) = changed {
            self.status.health = health;
            self.events.add(Happening::HealthStatus { health });
        }
        if changed.is_some() || said {
            self.tell();
        }
    }
}
