//! Other limits and another restart policy for a container as it is.

use super::BUNDLE;
use super::backoff::Backoff;
use super::events::Happening;
use super::keep::Monitor;
use crate::bundle::{Cgroup, Restart};
use crate::record::{self, Durability};

impl Monitor {
    /// Writes the limits to the group, and writes down what counts at the next start.
    ///
    /// # Errors
    /// With words: the kernel or the disk refuses, and everything is as before.
    pub(super) fn update(&mut self, wanted: Cgroup, restart: Restart) -> Result<(), String> {
        let before = &self.bundle.cgroup;
        let after = Cgroup {
            path: before.path.clone(),
            host_view: before.host_view,
            devices: before.devices.clone(),
            ..wanted
        };
        // Between two starts the group is there too, and the next start writes no defaults.
        let in_use = self.group.exists();
        if in_use {
            self.group.change_limits(before, &after).map_err(|error| error.to_string())?;
        }
        let mut bundle = self.bundle.clone();
        bundle.cgroup = after;
        bundle.restart = restart;
        let path = bundle.run_dir.join(BUNDLE);
        if let Err(error) = record::write(&path, &bundle, Durability::Volatile) {
            if in_use {
                // What it was a moment ago; if that fails too, the first error says what matters.
                let _ = self.group.change_limits(&bundle.cgroup, &self.bundle.cgroup);
            }
            return Err(format!("write `{}`: {error}", path.display()));
        }
        if restart != self.bundle.restart {
            self.backoff = Backoff::new(restart, self.bundle.pace)
                .resumed(self.status.restarts, self.backoff.attempts());
        }
        self.bundle = bundle;
        self.events.add(Happening::Update);
        Ok(())
    }
}
