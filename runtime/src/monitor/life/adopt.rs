//! A new monitor goes on where a killed one stopped.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::super::backoff::Backoff;
use super::super::keep::{Monitor, read_status};
use super::super::resolver::Resolver;
use super::super::{StartFailure, Step, clock, network, ports};
use super::{AGES, End, Life};
use crate::bundle::{HookStage, Phase, Status};
use crate::container::{self, Target};
use crate::monitor::events::Happening;

impl Monitor {
    /// Goes on where a killed monitor stopped.
    ///
    /// # Errors
    /// [`StartFailure`] when there is nothing that could be adopted.
    pub(in crate::monitor) fn adopt(&mut self) -> Result<(), StartFailure> {
        let last = read_status(&self.bundle.run_dir)?;
        let gone = || StartFailure::new("adopt", &self.bundle.name, "it was not started");
        let last = last.filter(|last| last.phase != Phase::Exited).ok_or_else(gone)?;
        self.status = Status {
            monitor: self.status.monitor,
            monitor_start: self.status.monitor_start,
            ..last.clone()
        };
        let begun = u32::from(last.phase == Phase::Waiting);
        self.backoff = Backoff::new(self.bundle.restart, self.bundle.pace)
            .resumed(last.restarts + begun, last.attempts);
        self.take_back_limits();
        self.stopped = last.held || (last.phase == Phase::Stopping && !last.recycling);
        // They lead to the container as before; if one was taken meanwhile, that program cannot
        // be reached, the container can.
        self.reserved = ports::reserve_free(&last.published, &self.bundle.run_dir);
        // The same: what else it serves is as it was.
        let _ = self.relay.follow(&self.bundle, &self.reserved);
        let alive = Target::from_status(&last).and_then(|t| Some((t, t.open().ok()?)));
        match alive {
            Some((target, pidfd)) => self.go_on(target, pidfd, &last)?,
            None => self.catch_up(&last),
        }
        self.take_back_settings();
        self.take_back_wiring();
        self.events.add(Happening::Adopt);
        Ok(())
    }

    /// The container runs.
    fn go_on(&mut self, target: Target, pidfd: OwnedFd, last: &Status) -> Result<(), StartFailure> {
        let path = format!("/proc/{}/ns/net", target.pid);
        let netns = std::fs::File::open(&path).map(OwnedFd::from).step("open", &path)?;
        match last.paused && last.phase == Phase::Running {
            true => self.stand_still(),
            // It may stand still for clients of the monitor before.
            false => self.run_free(Instant::now()),
        }
        let ran = Timestamp::now().as_millisecond().saturating_sub(last.started_ms);
        let ran = Duration::from_millis(u64::try_from(ran).unwrap_or_default());
        let now = Instant::now();
        let resolver = network::resume(&self.bundle, netns.as_fd(), last.resolver);
        self.status.resolver = resolver.as_ref().map(Resolver::ports).or(last.resolver);
        self.output.reopen_input();
        self.run_on(target, pidfd, netns, now.checked_sub(ran).unwrap_or(now), resolver);
        if self.awaits_line() {
            let pattern = self.pattern()?;
            self.output.look_for_since(pattern, last.started_ms);
        }
        if last.phase == Phase::Stopping {
            self.go_on_stopping(last, now);
        } else {
            self.resume_hooks(last, HookStage::PostStart, now);
            self.enter(Phase::Running);
        }
        Ok(())
    }

    fn awaits_line(&mut self) -> bool {
        self.running().is_some_and(|running| running.checks.awaits_line())
    }

    /// A stop was under way: it goes on where it was, for as long as it has left.
    fn go_on_stopping(&mut self, last: &Status, now: Instant) {
        // Without one it began under a monitor that did not write that down.
        let whole = Duration::from_millis(self.bundle.stop_grace_ms);
        let left = last.stop.map_or(whole, |stop| clock::left(stop.kill_at_ms));
        let stop = last.stop.unwrap_or_default();
        if let Some(running) = self.running() {
            running.stopping = true;
            running.kill_at = now.checked_add(left);
        }
        let hooks = self.resume_hooks(last, HookStage::PreStop, now);
        self.enter(Phase::Stopping);
        match (hooks, stop.asked) {
            (true, _) => {}
            (false, true) => self.kill_if_deaf(now),
            (false, false) => self.ask_to_end(now),
        }
    }

    /// The container ended while nobody looked, or waited to be started again.
    fn catch_up(&mut self, last: &Status) {
        // A start may have been cut short. A group that was killed goes too: the kernel (6.18)
        // kills everything that is born in it later.
        let _ = self.group.kill_all().and_then(|()| self.group.remove());
        container::forget(&self.bundle);
        if last.phase == Phase::Waiting {
            self.life = Life::Waiting { until: Instant::now() + left(last) };
            self.enter(Phase::Waiting);
        } else {
            self.output.note_hook(container::ended(&self.bundle));
            let ill = last.recycling.then_some(false);
            self.reckon(End { ill, ..End::of(-1) });
        }
    }
}

/// What is left of the wait for the next start. A clock that was set back does not prolong it.
fn left(last: &Status) -> Duration {
    let now = Timestamp::now().as_millisecond();
    let whole = last.next_start_ms.saturating_sub(last.finished_ms).max(0);
    let left = last.next_start_ms.saturating_sub(now).clamp(0, whole);
    // No wait is longer than the clock: what is added to it must not go beyond its end.
    Duration::from_millis(u64::try_from(left).unwrap_or_default()).min(AGES)
}
