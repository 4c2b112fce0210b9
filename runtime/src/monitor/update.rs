//! Other limits, another restart policy and another wiring for a container as it is.

use std::fs;
use std::path::Path;

use super::backoff::Backoff;
use super::events::Happening;
use super::keep::Monitor;
use super::{BUNDLE, WIRING};
use crate::bundle::{Bundle, Cgroup, Restart, Wiring};
use crate::record::{self, Durability};

impl Monitor {
    /// Writes limits and wiring to the kernel, and writes down what counts at the next start.
    ///
    /// # Errors
    /// With words: the kernel or the disk refuses, and everything is as before.
    pub(super) fn update(
        &mut self,
        wanted: Cgroup,
        restart: Restart,
        rewire: bool,
    ) -> Result<(), String> {
        let wanted_wiring = rewire.then(|| take_wiring(&self.bundle.run_dir)).transpose()?;
        let before = &self.bundle.cgroup;
        let after = Cgroup {
            path: before.path.clone(),
            host_view: before.host_view,
            devices: before.devices.clone(),
            ..wanted
        };
        let wiring = wanted_wiring.and_then(|wanted| self.other_wiring(wanted));
        // First of all: a monitor that comes after this one takes back what was half done.
        let begun = Bundle {
            changing: Some(Box::new(after.clone())),
            rewiring: wiring.clone().map(Box::new),
            ..self.bundle.clone()
        };
        write(&begun)?;
        self.bundle = begun;
        if let Err(error) = self.change(after, restart, wiring) {
            self.bundle.rewiring = None;
            self.take_back_limits();
            return Err(error);
        }
        self.events.add(Happening::Update);
        Ok(())
    }

    fn change(
        &mut self,
        after: Cgroup,
        restart: Restart,
        wiring: Option<Wiring>,
    ) -> Result<(), String> {
        // Between two starts the group is there too, and the next start writes no defaults.
        if self.group.exists() {
            let changed = self.group.change_limits(&self.bundle.cgroup, &after);
            changed.map_err(|error| error.to_string())?;
        }
        let before = wiring.is_some().then(|| Wiring::of(&self.bundle));
        wiring.map_or(Ok(()), |wiring| self.rewire(wiring))?;
        let bundle = Bundle {
            cgroup: after,
            restart,
            changing: None,
            rewiring: None,
            ..self.bundle.clone()
        };
        if let Err(error) = write(&bundle) {
            // What the host refuses of it as well is missing, and the next plan repeats all.
            let _ = before.map_or(Ok(()), |before| self.rewire(before));
            return Err(error);
        }
        if restart != self.bundle.restart {
            self.backoff = Backoff::new(restart, self.bundle.pace)
                .resumed(self.status.restarts, self.backoff.attempts());
        }
        self.bundle = bundle;
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

/// What the command has left beside the socket for it.
fn take_wiring(run_dir: &Path) -> Result<Wiring, String> {
    let path = run_dir.join(WIRING);
    let failed = |why: String| format!("read `{}`: {why}", path.display());
    let wiring = record::read(&path).map_err(|error| failed(error.to_string()))?;
    // One that stays is never read: each command leaves its own.
    let _ = fs::remove_file(&path);
    wiring.ok_or_else(|| failed("there is no such file".to_owned()))
}

pub(super) fn write(bundle: &Bundle) -> Result<(), String> {
    let path = bundle.run_dir.join(BUNDLE);
    record::write(&path, bundle, Durability::Volatile)
        .map_err(|error| format!("write `{}`: {error}", path.display()))
}
