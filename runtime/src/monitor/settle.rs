//! Another upkeep for a container as it is: what the kernel has for it, and what its monitor does.

use std::os::fd::AsFd;
use std::time::Instant;

use berth_planner::observed::Health;

use super::keep::Monitor;
use super::life::Life;
use super::pattern::Pattern;
use super::update::write;
use crate::bundle::{Bundle, Settings};
use crate::container::settings;

impl Monitor {
    /// Its settings, and what the kernel has where `wanted` sets what it does not: so that a way
    /// back leads there.
    pub(super) fn settings_before(&self, wanted: &Settings) -> Result<Settings, String> {
        let mut own = Settings::of(&self.bundle);
        let Life::Running(running) = &self.life else { return Ok(own) };
        let new = wanted.sysctls.keys().filter(|key| !own.sysctls.contains_key(*key));
        let new: Vec<&String> = new.collect();
        let known = settings::sysctls(running.netns.as_fd(), &new).map_err(|e| e.to_string())?;
        own.sysctls.extend(known);
        Ok(own)
    }

    /// Gives the container that runs other settings than those of `from`. Between two starts
    /// nothing has them.
    pub(super) fn settle(&self, from: &Settings, to: &Settings) -> Result<(), String> {
        let Life::Running(running) = &self.life else { return Ok(()) };
        let after = to.in_place(&self.bundle);
        settings::change(&after, (&self.group, running.target.pid), running.netns.as_fd(), from)
            .map_err(|e| e.to_string())
    }

    /// Takes back settings that were to be changed, as far as that had come.
    pub(super) fn take_back_settings(&mut self) {
        let Some(settling) = self.bundle.settling.take() else { return };
        // What the kernel refuses of it as well is repeated by the next plan.
        let _ = self.settle(&settling, &Settings::of(&self.bundle));
        // If not, the next monitor does the same.
        let _ = write(&self.bundle);
    }

    /// Does from now on what its bundle says, where `before` said something else.
    pub(super) fn keep_otherwise(&mut self, before: &Bundle, pattern: Option<Pattern>) {
        let bundle = &self.bundle;
        self.output.keep_log(&bundle.log);
        if before.ready != bundle.ready {
            self.output.look_for_since(pattern, self.status.started_ms);
        }
        if before.health == bundle.health && before.ready == bundle.ready {
            return;
        }
        if let Life::Running(running) = &mut self.life {
            running.checks.renew(before, bundle, Instant::now());
            self.note_checks();
        } else {
            self.status.health = Health::None;
            self.status.checks.clear();
            self.tell();
        }
    }
}
