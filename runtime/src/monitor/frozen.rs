//! A container that stands still: its processes are frozen as long as a client wants it, and run on
//! when the last one says so or is gone, for whatever reason. What is to end runs on at once. A
//! monitor that goes on for a killed one lets them run: it knows of no clients.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::keep::Monitor;
use super::life::Life;

/// Between two attempts to let them run on.
const PAUSE: Duration = Duration::from_secs(1);

/// Processes that stand still.
pub(super) struct Frozen {
    since: Instant,
    /// The clients it is for; none, when the kernel did not let them run on.
    clients: BTreeSet<u64>,
    /// Somebody else had frozen them before, and they stay so.
    before: bool,
}

impl Frozen {
    /// When to try again to let them run on.
    pub(super) fn again(&self) -> Option<Instant> {
        self.clients.is_empty().then(|| Instant::now() + PAUSE)
    }
}

impl Monitor {
    /// Stops all processes for a client.
    ///
    /// # Errors
    /// With words: there is nothing to be stopped, or the kernel refuses.
    pub(super) fn freeze(&mut self, client: u64) -> Result<(), String> {
        match &self.life {
            Life::Running(_) if self.stopped => return Err("the container is to end".to_owned()),
            Life::Running(_) => {}
            Life::Waiting { .. } | Life::Lingering | Life::Ended => {
                return Err("the container does not run".to_owned());
            }
        }
        let mut frozen = match self.frozen.take() {
            Some(frozen) => frozen,
            None => {
                let before = self.group.is_frozen();
                self.group.freeze().map_err(|error| error.to_string())?;
                Frozen { since: Instant::now(), clients: BTreeSet::new(), before }
            }
        };
        frozen.clients.insert(client);
        self.frozen = Some(frozen);
        Ok(())
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
        if frozen.clients.is_empty() {
            self.run_on_again(now);
        }
    }

    /// Lets them run on, whoever has frozen them: one that stands still heeds no signal, and
    /// nothing can be started in a frozen group.
    pub(super) fn run_free(&mut self, now: Instant) {
        match &mut self.frozen {
            Some(frozen) => frozen.before = false,
            None if self.group.is_frozen() => {
                let clients = BTreeSet::new();
                self.frozen = Some(Frozen { since: now, clients, before: false });
            }
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
        if let Some(probe) = self.running().and_then(|running| running.probe.as_mut()) {
            probe.prolong(stood);
        }
    }
}
