//! Other limits and another restart policy for a container as it is.

use super::BUNDLE;
use super::backoff::Backoff;
use super::events::Happening;
use super::keep::Monitor;
use crate::bundle::{Bundle, Cgroup, Restart};
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
        let mut bundle = self.bundle.clone();
        // First of all: a monitor that comes after this one takes back what was half done.
        bundle.changing = Some(Box::new(after.clone()));
        write(&bundle)?;
        // Between two starts the group is there too, and the next start writes no defaults.
        let changed = match self.group.exists() {
            true => self.group.change_limits(before, &after).map_err(|error| error.to_string()),
            false => Ok(()),
        };
        bundle.cgroup = after;
        bundle.restart = restart;
        if let Err(error) =
            changed.and_then(|()| write(&Bundle { changing: None, ..bundle.clone() }))
        {
            self.bundle.changing = bundle.changing;
            self.take_back_limits();
            return Err(error);
        }
        bundle.changing = None;
        if restart != self.bundle.restart {
            self.backoff = Backoff::new(restart, self.bundle.pace)
                .resumed(self.status.restarts, self.backoff.attempts());
        }
        self.bundle = bundle;
        self.events.add(Happening::Update);
        Ok(())
    }

    /// Takes back limits that were to be changed, as far as that had come. Where the kernel refuses
    /// that, it has the new ones.
    pub(super) fn take_back_limits(&mut self) {
        let Some(changing) = self.bundle.changing.take() else { return };
        if self.group.exists()
            && self.group.change_limits(&changing, &self.bundle.cgroup).is_err()
            && self.group.change_limits(&self.bundle.cgroup, &changing).is_ok()
        {
            self.bundle.cgroup = *changing;
        }
        // If not, the next monitor does the same.
        let _ = write(&self.bundle);
    }
}

fn write(bundle: &Bundle) -> Result<(), String> {
    let path = bundle.run_dir.join(BUNDLE);
    record::write(&path, bundle, Durability::Volatile)
        .map_err(|error| format!("write `{}`: {error}", path.display()))
}
