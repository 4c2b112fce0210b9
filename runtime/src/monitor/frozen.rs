//! A container that stands still.
//!
//! For a client (`commit`) its processes are frozen as long as it wants that, and run on when the
//! last one says so or is gone, for whatever reason; a monitor that goes on for a killed one lets
//! them run, as it knows of no clients. For the user (`pause`) they stand until `unpause`, whoever
//! is gone meanwhile; the status says so, and the next monitor goes by it. What is to end runs on
//! at once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::events::Happening;
use super::keep::Monitor;
use super::life::Life;
use crate::sabotage::without;

/// Between two attempts to let them run on.
const PAUSE: Duration = Duration::from_secs(1);

/// Processes that stand still.
pub(super) struct Frozen {
    since: Instant,
    /// The clients it is for; none, when the kernel did not let them run on.
    clients: BTreeSet<u64>,
    /// Somebody else had frozen them before, and they stay so.
    before: bool,
    /// The user wants it.
    paused: bool,
}

impl Frozen {
    /// When to try again to let them run on.
    pub(super) fn again(&self) -> Option<Instant> {
        self.is_unwanted().then(|| Instant::now() + PAUSE)
    }

    fn is_unwanted(&self) -> bool {
        self.clients.is_empty() && !self.paused
    }

    fn now(before: bool) -> Frozen {
        Frozen { since: Instant::now(), clients: BTreeSet::new(), before, paused: false }
    }
}

impl Monitor {
    /// Stops all processes for a client.
    ///
    /// # Errors
    /// With words: there is nothing to be stopped, or the kernel refuses.
    pub(super) fn freeze(&mut self, client: u64) -> Result<(), String> {
        self.halt()?.clients.insert(client);
        Ok(())
    }

    /// Stops all processes until the user lets them run on.
    ///
    /// # Errors
    /// With words: there is nothing to be stopped, or it is so already, or the kernel refuses.
    pub(super) fn pause(&mut self) -> Result<(), String> {
        if self.status.paused {
            return Err("it is paused already".to_owned());
        }
        let frozen = self.halt()?;
        (frozen.paused, frozen.before) = (true, false);
        self.status.paused = true;
        self.tell();
        self.events.add(Happening::Pause);
        Ok(())
    }

    /// Lets them run on for the user.
    ///
    /// # Errors
    /// With words, when it is not paused or the kernel refuses.
    pub(super) fn unpause(&mut self) -> Result<(), String> {
        if !std::mem::take(&mut self.status.paused) {
            return Err("it is not paused".to_owned());
        }
        if let Some(frozen) = &mut self.frozen {
            frozen.paused = false;
        }
        self.tick_frozen(Instant::now());
        if self.frozen.as_ref().is_some_and(Frozen::is_unwanted) {
            return Err("the kernel does not let its processes run on".to_owned());
        }
        self.tell();
        self.events.add(Happening::Unpause);
        Ok(())
    }

    /// Goes on with a container that the user had paused under the monitor before.
    pub(super) fn stand_still(&mut self) {
        // That one may have let it run on and been killed before it could say so.
        self.status.paused = self.group.is_frozen();
        if !self.status.paused {
            return;
        }
        self.frozen = Some(Frozen { paused: true, ..Frozen::now(false) });
    }

    /// Stops its processes, unless they stand already.
    fn halt(&mut self) -> Result<&mut Frozen, String> {
        match &self.life {
            Life::Running(_) if self.stopped => return Err("the container is to end".to_owned()),
            Life::Running(_) => {}
            Life::Waiting { .. } | Life::Lingering | Life::Ended => {
                return Err("the container does not run".to_owned());
            }
        }
        if self.frozen.is_none() {
            let before = self.group.is_frozen();
            self.group.freeze().map_err(|error| error.to_string())?;
            self.frozen = Some(Frozen::now(before));
        }
        self.frozen.as_mut().ok_or_else(|| "it does not stand".to_owned())
    }

    /// Lets them run on, as far as this client is concerned.
    ///
    /// # Errors
    /// With words, when they have done so before.
    pub(super) fn thaw(&mut self, client: u64) -> Result<(), String> {
        let removed = self.frozen.as_mut().is_some_and(|frozen| frozen.clients.remove(&client));
        self.tick_frozen(Instant::now());
        removed.then_some(()).ok_or_else(|| "the container was to end meanwhile".to_owned())
    }

    /// Lets them run on when the last client is gone.
    pub(super) fn tick_frozen(&mut self, now: Instant) {
        let Some(frozen) = &mut self.frozen else { return };
        frozen.clients.retain(|client| self.server.has(*client));
        if frozen.is_unwanted() {
            self.run_on_again(now);
        }
    }

    /// Lets them run on, whoever has frozen them: one that stands still heeds no signal, and
    /// nothing can be started in a frozen group.
    pub(super) fn run_free(&mut self, now: Instant) {
        without!("stop.thaws", return);
        self.status.paused = false;
        match &mut self.frozen {
            Some(frozen) => (frozen.before, frozen.paused) = (false, false),
            None if self.group.is_frozen() => self.frozen = Some(Frozen::now(false)),
            None => return,
        }
        self.run_on_again(now);
    }

    fn run_on_again(&mut self, now: Instant) {
        let Some(mut frozen) = self.frozen.take() else { return };
        if !frozen.before && self.group.thaw().is_err() {
            frozen.clients.clear();
            self.frozen = Some(frozen);
            return;
        }
        let stood = now.saturating_duration_since(frozen.since);
        if let Some(running) = self.running() {
            running.checks.prolong(stood);
            running.hooks.iter_mut().for_each(|hooks| hooks.prolong(stood));
        }
    }
}
