//! The life of a container under its monitor: start, end, start again, stop, adoption.

mod adopt;

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use berth_planner::desired::PidSpace;
use jiff::Timestamp;
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::checks::Checks;
use super::deaf::is_deaf;
use super::events::Happening;
use super::hooks::{Hooks, share};
use super::keep::{Monitor, first_health, read_status};
use super::pattern::Pattern;
use super::poll::{PollSet, Token};
use super::resolver::Resolver;
use super::{StartFailure, Step, clock, names, network, ports};
use crate::bundle::{Phase, StopStatus};
use crate::container::{self, Target};
use crate::sabotage::{defence, place};
use crate::sys;

/// How long the kernel may take from the last process of a container to its first.
const ENDING: Duration = Duration::from_millis(50);
/// Longer than any wait.
const AGES: Duration = Duration::from_secs(u32::MAX as u64);
/// Exit status of a process that SIGKILL ended.
pub(super) const KILLED: i32 = 128 + libc::SIGKILL;
/// How long the first client is waited for, see [`crate::bundle::Bundle::await_client`].
const CLIENT_PATIENCE: Duration = Duration::from_secs(10);
/// How long an adopted process may take between the end of its threads and the end of it all.
const REAPING: Duration = Duration::from_millis(500);

/// What a container does, with what is held for it.
pub(super) enum Life {
    /// Its process runs.
    Running(Box<Running>),
    /// It is started again then.
    Waiting {
        /// When.
        until: Instant,
    },
    /// It has ended; its output waits for the first client.
    Lingering,
    /// It has ended for good.
    Ended,
}

/// A process that runs.
pub(super) struct Running {
    pub(super) target: Target,
    pidfd: OwnedFd,
    /// Held so that the namespace lives as long as the monitor needs it.
    pub(super) netns: OwnedFd,
    since: Instant,
    /// OOM kills of its cgroup when it started.
    ooms: u64,
    /// It is being stopped: a hook, then its signal.
    pub(super) stopping: bool,
    kill_at: Option<Instant>,
    killed: bool,
    /// The stop signal, where SIGKILL does what its default action would have done.
    ends_by: Option<i32>,
    pub(super) resolver: Option<Resolver>,
    pub(super) checks: Checks,
    pub(super) hooks: Option<Hooks>,
}

impl Running {
    /// Whether its first process ends within a moment: the kernel ends all others before it.
    pub(super) fn is_ending(&self) -> bool {
        let mut set = PollSet::default();
        set.read(Token::Exit, &self.pidfd);
        set.until(Some(Instant::now() + ENDING));
        set.wait().is_ok_and(|ready| !ready.is_empty())
    }

    /// Adds what to wait for. No check and no hook is due while it stands still.
    pub(super) fn poll<'a>(&'a self, set: &mut PollSet<'a>, frozen: bool) {
        set.read(Token::Exit, &self.pidfd);
        set.until(self.kill_at.filter(|_| !self.killed));
        if let Some(resolver) = &self.resolver {
            resolver.poll(set);
        }
        if let Some(hooks) = &self.hooks {
            hooks.poll(set, frozen);
        }
        self.checks.poll(set, frozen, !self.stopping);
    }

    /// Sends a signal to the first process, never to one that has its number by now.
    fn send(&self, signal: i32) -> std::io::Result<()> {
        place!("signal.before");
        defence!(
            "signal.pidfd",
            sys::pidfd_send_signal(self.pidfd.as_fd(), signal),
            sys::kill(self.target.pid, signal)
        )
    }
}

/// How a life of the container ended.
struct End {
    code: i32,
    ran: Duration,
    /// It was ended because it was unhealthy; whether it had been healthy before.
    ill: Option<bool>,
}

impl End {
    /// One of which no more is known than its status.
    fn of(code: i32) -> End {
        End { code, ran: Duration::ZERO, ill: None }
    }
}

impl Monitor {
    /// Reserves ports and starts the container for the first time.
    ///
    /// # Errors
    /// [`StartFailure`]; everything is taken away again then, but the status and its reason.
    pub(super) fn begin(&mut self) -> Result<(), StartFailure> {
        if self.bundle.await_client {
            self.output.wait_for_client(Instant::now() + CLIENT_PATIENCE);
        }
        self.status.beside = self.bundle.beside;
        let (of_host, own) = match self.bundle.beside {
            true => Default::default(),
            false => network::own_ports(&self.bundle),
        };
        place!("ports.reserve");
        // The status is still that of the life before; without one there is nothing to keep.
        let last = read_status(&self.bundle.run_dir).ok().flatten().unwrap_or_default();
        let had = if last.published.is_empty() { last.had_ports } else { last.published };
        self.status.had_ports.clone_from(&had);
        let begun = ports::reserve(&of_host, had, &self.bundle.run_dir)
            .map_err(|taken| StartFailure::new("reserve port", &taken.port, &taken))
            .and_then(|reserved| {
                self.reserved = reserved;
                self.reserved.ports.extend(own);
                self.start(true)
            });
        if let Err(failure) = &begun {
            self.status.exit_code = failure.exit_code;
            self.status.error = Some(failure.to_string());
            self.leave();
        }
        begun
    }

    /// Starts its process, in fresh namespaces. Ports are published the first time only: they
    /// lead to the container's addresses, which stay.
    fn start(&mut self, first: bool) -> Result<(), StartFailure> {
        if !first {
            self.bundle.forget_objects();
        }
        // What nobody can see is not started.
        self.write_status().step("write the status of", &self.bundle.name)?;
        let streams = self.output.streams().step("open the streams of", &self.bundle.name)?;
        let published = if first { self.reserved.ports.clone() } else { Vec::new() };
        let pattern = self.pattern()?;
        self.output.look_for(pattern);
        let bundle = &self.bundle;
        let mut connection = None;
        let spawned = container::spawn(bundle, &self.group, streams.lend(), &mut |netns| {
            connection = Some(network::connect(bundle, netns, &published)?);
            Ok(())
        });
        // From here on they are ours to take away.
        if first && connection.is_some() {
            self.status.published = published;
        }
        let init = spawned?;
        self.output.note_hook(container::started(&self.bundle, init.pid));
        let resolver = connection.and_then(|connection| connection.resolver);
        if let Some(master) = init.terminal {
            self.output.take_terminal(master).step("take the terminal of", &self.bundle.name)?;
        }
        let target = Target::of(init.pid)
            .ok_or_else(|| StartFailure::new("find", &self.bundle.name, "its process is gone"))?;
        let now = Instant::now();
        self.status.resolver = resolver.as_ref().map(Resolver::ports);
        self.status.health = first_health(&self.bundle);
        self.status.checks.clear();
        self.status.recycling = false;
        if first {
            self.relay
                .follow(&self.bundle, &self.reserved)
                .step("listen on the ports of", &self.bundle.name)?;
        }
        self.run_on(target, init.pidfd, init.netns, now, resolver);
        self.status.started_ms = Timestamp::now().as_millisecond();
        self.status.error = None;
        self.begin_post_start(now);
        self.enter(Phase::Running);
        self.events.add(Happening::Start);
        Ok(())
    }

    /// What is looked for in its output.
    fn pattern(&self) -> Result<Option<Pattern>, StartFailure> {
        let pattern = Pattern::of(self.bundle.ready.as_ref());
        pattern.map_err(|why| StartFailure::new("read the pattern of", &self.bundle.name, why))
    }

    fn run_on(
        &mut self,
        target: Target,
        pidfd: OwnedFd,
        netns: OwnedFd,
        since: Instant,
        resolver: Option<Resolver>,
    ) {
        let checks = Checks::new(&self.bundle, since, &self.status.checks);
        self.status.pid = target.pid;
        self.status.pid_start = target.start;
        self.life = Life::Running(Box::new(Running {
            target,
            pidfd,
            netns,
            since,
            ooms: self.group.oom_kills(),
            stopping: false,
            kill_at: None,
            killed: false,
            ends_by: None,
            resolver,
            checks,
            hooks: None,
        }));
    }

    /// Its process has ended: what now?
    pub(super) fn ended(&mut self, now: Instant) {
        self.run_free(now);
        let Life::Running(running) = std::mem::replace(&mut self.life, Life::Ended) else { return };
        let code = match (exit_code(&running.target, &running.pidfd), running.ends_by) {
            (KILLED, Some(signal)) => 128 + signal,
            (code, _) => code,
        };
        let ran = now.saturating_duration_since(running.since);
        self.note_oom(self.group.oom_kills().saturating_sub(running.ooms));
        network::disconnect(&self.bundle, running.netns.as_fd());
        self.output.note_hook(container::ended(&self.bundle));
        self.abandon_hooks(running.hooks, "the container ended meanwhile");
        let ill = self.status.recycling.then_some(running.checks.was_healthy);
        running.checks.abandon();
        if self.bundle.pid != PidSpace::Own {
            // The end of its first process has ended nobody else. A group that was killed goes as
            // well, see `catch_up`.
            let _ = self.group.kill_all().and_then(|()| self.group.remove());
        } else if ill.is_some() {
            // It may have been killed, see there.
            let _ = self.group.remove();
        }
        container::forget(&self.bundle);
        self.reckon(End { code, ran, ill });
    }

    /// Notes an end and decides by the restart policy.
    fn reckon(&mut self, end: End) {
        let End { code, ran, ill } = end;
        names::rest(&self.bundle);
        self.status.pid = 0;
        self.status.pid_start = 0;
        self.status.stop = None;
        self.status.resolver = None;
        self.status.exit_code = code;
        self.status.finished_ms = Timestamp::now().as_millisecond();
        if self.status.phase == Phase::Stopping {
            self.events.add(Happening::Stop);
        }
        self.events.add(Happening::Die { exit_code: code });
        if self.output.gate().is_some() {
            self.life = Life::Lingering;
            return;
        }
        self.output.drain(&mut self.server);
        let delay = match (self.stopped, ill) {
            (true, _) => None,
            (false, Some(was_healthy)) => Some(self.backoff.after_illness(was_healthy, ran)),
            (false, None) => self.backoff.after_exit(code, ran),
        };
        self.status.attempts = self.backoff.attempts();
        // It counts from what people are told of the end. One beyond the end of the clock is never.
        let until = delay.and_then(|delay| Instant::now().checked_add(delay));
        match (delay, until) {
            (Some(delay), Some(until)) => {
                let delay = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
                self.status.next_start_ms = self.status.finished_ms.saturating_add(delay);
                self.life = Life::Waiting { until };
                self.enter(Phase::Waiting);
            }
            (None, _) | (_, None) => self.life = Life::Ended,
        }
    }

    /// The delay is over: starts it again.
    pub(super) fn restart(&mut self) {
        self.status.restarts = self.backoff.restarts();
        self.status.next_start_ms = 0;
        self.status.phase = Phase::Starting;
        let why = match self.status.recycling {
            true => "it was unhealthy".to_owned(),
            false => format!("it exited with {}", self.status.exit_code),
        };
        let restarts = self.status.restarts;
        self.events.add(Happening::Restart { restarts, why: Some(why) });
        if let Err(failure) = self.start(false) {
            self.status.error = Some(failure.to_string());
            // A program that is not there will not come by waiting; a network may.
            self.stopped |= failure.exit_code != 125;
            self.reckon(End::of(failure.exit_code));
        }
    }

    /// Ends the container for good: its hooks and the stop signal now, SIGKILL to all of it after
    /// `grace`, or at once when the signal would be lost.
    pub(super) fn stop(&mut self, grace: Option<Duration>, hold: bool) {
        self.stopped = true;
        self.status.held |= hold;
        self.status.recycling = false;
        self.output.open_gate();
        self.end(grace);
    }

    /// Ends a container that is unhealthy, to start it again.
    pub(super) fn recycle(&mut self) {
        if !self.stopped && !self.status.recycling {
            self.status.recycling = true;
            self.end(None);
        }
    }

    fn end(&mut self, grace: Option<Duration>) {
        let now = Instant::now();
        self.run_free(now);
        let grace = grace.unwrap_or(Duration::from_millis(self.bundle.stop_grace_ms));
        match &mut self.life {
            Life::Running(running) => {
                let first = !std::mem::replace(&mut running.stopping, true);
                let until = now.checked_add(grace);
                running.kill_at = [running.kill_at, until].into_iter().flatten().min();
                let hooks_until = now.checked_add(share(grace)).unwrap_or(now + AGES);
                let mut hooks = !first;
                if first {
                    hooks = !grace.is_zero() && self.begin_pre_stop(hooks_until);
                } else {
                    self.hurry_hooks(hooks_until);
                }
                self.note_stop();
                self.enter(Phase::Stopping);
                if !hooks {
                    self.ask_to_end(now);
                }
            }
            Life::Waiting { .. } if self.stopped => {
                self.events.add(Happening::Stop);
                self.life = Life::Ended;
            }
            Life::Waiting { .. } | Life::Lingering | Life::Ended => {}
        }
    }

    /// Puts into the status when it is killed, for a monitor that may have to go on with that.
    fn note_stop(&mut self) {
        let Life::Running(running) = &self.life else { return };
        let kill_at_ms = running.kill_at.map_or(i64::MAX, clock::written);
        let asked = self.status.stop.is_some_and(|stop| stop.asked);
        self.status.stop = Some(StopStatus { kill_at_ms, asked });
    }

    /// Sends the stop signal, or has the process killed where the kernel would drop it.
    ///
    /// That it was sent is written down afterwards: rather twice than never, should the monitor be
    /// killed in between.
    pub(super) fn ask_to_end(&mut self, now: Instant) {
        let signal = self.bundle.stop_signal;
        let over = |running: &mut Running| running.kill_at.is_some_and(|at| at <= now);
        let over = self.running().is_none_or(over);
        self.kill_if_deaf(now);
        if let Some(running) = self.running().filter(|_| !over) {
            // It may have ended just now, which the next wait tells.
            let _ = running.send(signal);
            self.events.add(Happening::Kill { signal });
        }
        self.status.stop = self.status.stop.map(|stop| StopStatus { asked: true, ..stop });
        self.note_status();
    }

    /// Has the process killed at once where the kernel would drop its signal.
    fn kill_if_deaf(&mut self, now: Instant) {
        let signal = self.bundle.stop_signal;
        // Only the first process of a pid namespace is deaf: others heed what they are sent. Our init
        // passes it on, though waiting for signals it looks as if it had left them.
        let alone = self.bundle.pid == PidSpace::Own && !self.bundle.init;
        let Some(running) = self.running() else { return };
        if alone && is_deaf(running.target.pid, signal) {
            running.ends_by = Some(signal);
            running.kill_at = Some(now);
        }
    }

    /// Kills what did not end in time.
    pub(super) fn tick_stop(&mut self, now: Instant) {
        let Some(running) = self.running() else { return };
        if running.killed || running.kill_at.is_none_or(|at| at > now) {
            return;
        }
        running.killed = true;
        let _ = running.send(libc::SIGKILL);
        self.events.add(Happening::Kill { signal: libc::SIGKILL });
        // The first process takes its pid namespace with it; this reaches a frozen group too.
        let _ = self.group.kill_all();
    }

    /// Sends a signal to its first process. One that is meant to end it also ends its policy.
    pub(super) fn signal(&mut self, number: i32) -> Result<(), String> {
        let ends = [libc::SIGKILL, self.bundle.stop_signal].contains(&number);
        let Life::Running(running) = &self.life else {
            return Err("the container does not run".to_owned());
        };
        running.send(number).map_err(|error| format!("send signal {number}: {error}"))?;
        if ends {
            self.run_free(Instant::now());
        }
        self.stopped |= ends;
        self.events.add(Happening::Kill { signal: number });
        Ok(())
    }
}

/// Exit status of a process that has ended: its own, 128 + n for signal n, −1 if nobody knows.
pub(super) fn exit_code(target: &Target, pidfd: &OwnedFd) -> i32 {
    match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
        Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => code,
            (None, Some(signal)) => 128 + signal,
            (None, None) => -1,
        },
        // Not our child.
        Ok(None) | Err(_) => foreign_exit_code(target, pidfd).unwrap_or(-1),
    }
}

/// That of a process with another parent: in `/proc` until it is reaped, then the kernel tells it
/// to who has a handle (since 6.15).
fn foreign_exit_code(target: &Target, pidfd: &OwnedFd) -> Option<i32> {
    let end = Instant::now() + REAPING;
    loop {
        if let Some(status) =
            target.zombie_status().or_else(|| sys::pidfd_exit_status(pidfd.as_fd()))
        {
            return Some(match libc::WIFSIGNALED(status) {
                true => 128 + libc::WTERMSIG(status),
                false => libc::WEXITSTATUS(status),
            });
        }
        if Instant::now() > end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
