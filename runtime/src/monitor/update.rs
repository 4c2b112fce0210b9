//! Other limits, another restart policy, another wiring and another upkeep for a container as it is.

use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::backoff::Backoff;
use super::events::Happening;
use super::keep::Monitor;
use super::pattern::Pattern;
use super::{BUNDLE, UPKEEP, WIRING};
use crate::bundle::{Bundle, Cgroup, Restart, Settings, Upkeep, Wiring};
use crate::record::{self, Durability};

impl Monitor {
    /// Writes limits, wiring and settings to the kernel, and writes down what counts at the next start.
    ///
    /// # Errors
    /// With words: the kernel or the disk refuses, and everything is as before.
    pub(super) fn update(
        &mut self,
        (wanted, restart): (Cgroup, Restart),
        rewire: bool,
        keep: bool,
    ) -> Result<(), String> {
        let run_dir = &self.bundle.run_dir;
        let wanted_wiring: Option<Wiring> = rewire.then(|| take(run_dir, WIRING)).transpose()?;
        let upkeep: Option<Upkeep> = keep.then(|| take(run_dir, UPKEEP)).transpose()?;
        let ready = upkeep.as_ref().map_or(&self.bundle.ready, |upkeep| &upkeep.ready);
        let pattern = Pattern::of(ready.as_ref())?;
        let settings = upkeep.as_ref().map(|upkeep| upkeep.settings.clone());
        let had = settings.as_ref().map(|wanted| self.settings_before(wanted)).transpose()?;
        let before = &self.bundle.cgroup;
        let after = Cgroup {
            path: before.path.clone(),
            host_view: before.host_view,
            devices: before.devices.clone(),
            ..wanted
        };
        let wiring = wanted_wiring.and_then(|wanted| self.other_wiring(wanted));
        // First of all: a monitor that comes after this one takes back what was half done.
        let own = self.bundle.clone();
        let begun = Bundle {
            changing: Some(Box::new(after.clone())),
            rewiring: wiring.clone().map(Box::new),
            settling: settings.map(Box::new),
            ..had.map_or_else(|| own.clone(), |had| had.in_place(&own))
        };
        write(&begun)?;
        self.bundle = begun;
        if let Err(error) = self.change(after, restart, wiring, upkeep) {
            self.bundle.rewiring = None;
            self.take_back_settings();
            self.bundle.sysctls = own.sysctls;
            self.take_back_limits();
            return Err(error);
        }
        self.keep_otherwise(&own, pattern);
        self.events.add(Happening::Update);
        Ok(())
    }

    fn change(
        &mut self,
        after: Cgroup,
        restart: Restart,
        wiring: Option<Wiring>,
        upkeep: Option<Upkeep>,
    ) -> Result<(), String> {
        // Between two starts the group is there too, and the next start writes no defaults.
        if self.group.exists() {
            let changed = self.group.change_limits(&self.bundle.cgroup, &after);
            changed.map_err(|error| error.to_string())?;
        }
        let settings = upkeep.as_ref().map(|upkeep| &upkeep.settings);
        settings.map_or(Ok(()), |to| self.settle(&Settings::of(&self.bundle), to))?;
        let before = wiring.is_some().then(|| Wiring::of(&self.bundle));
        wiring.map_or(Ok(()), |wiring| self.rewire(wiring))?;
        let bundle = Bundle {
            cgroup: after,
            restart,
            changing: None,
            rewiring: None,
            settling: None,
            ..self.bundle.clone()
        };
        let bundle = match upkeep {
            Some(upkeep) => upkeep.in_place(&bundle),
            None => bundle,
        };
        if let Err(error) = write(&bundle) {
            // What the host refuses of it as well is missing, and the next plan repeats all.
            let _ = before.map_or(Ok(()), |before| self.rewire(before));
            return Err(error);
        }
        if (restart, bundle.pace) != (self.bundle.restart, self.bundle.pace) {
            self.backoff = Backoff::new(restart, bundle.pace)
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
fn take<T: DeserializeOwned>(run_dir: &Path, name: &str) -> Result<T, String> {
    let path = run_dir.join(name);
    let failed = |why: String| format!("read `{}`: {why}", path.display());
    let left = record::read(&path).map_err(|error| failed(error.to_string()))?;
    // One that stays is never read: each command leaves its own.
    let _ = fs::remove_file(&path);
    left.ok_or_else(|| failed("there is no such file".to_owned()))
}

pub(super) fn write(bundle: &Bundle) -> Result<(), String> {
    let path = bundle.run_dir.join(BUNDLE);
    record::write(&path, bundle, Durability::Volatile)
        .map_err(|error| format!("write `{}`: {error}", path.display()))
}
