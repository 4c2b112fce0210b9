//! The order of replacements in which the new container starts first.

use std::collections::BTreeMap;

use super::{Maker, Slots};
use crate::action::Action;
use crate::plan::Slot;
use crate::rollout;
use crate::up::containers::{Change, Fate, Part};

/// Whether it has handed over to another one, and may have clients still.
fn has_served(change: &Change) -> bool {
    let goes = matches!(change.verdict.fate, Fate::Remove);
    goes && change.have.is_some_and(|have| have.beside && have.served)
}

impl Maker<'_> {
    /// The steps between the start of a new container and the end of the one that serves until then.
    pub(super) fn handover(&mut self, change: &Change, slots: &mut Slots) {
        let name = || change.name.clone();
        let causes = || change.verdict.causes.clone();
        match (change.part, change.have, slots.stop) {
            (Part::Heir(old), ..) => {
                let (checked, unchecked) = rollout::stable_for();
                let stable = Action::AwaitStable { name: name(), checked, unchecked };
                let stable = self.draft.add(stable, causes());
                let from = old.record.name.clone();
                let serve = self.draft.add(Action::TakeOver { name: name(), from }, causes());
                if let Some(start) = slots.start.or(slots.adopt) {
                    self.draft.after(stable, start);
                }
                self.draft.after(serve, stable);
                slots.serve = Some(serve);
            }
            // One whose heir serves already has what the run left that was broken off.
            (part, Some(old), Some(stop)) if matches!(part, Part::Old) || has_served(change) => {
                let patience = rollout::patience(&old.record.spec);
                let drain = self.draft.add(Action::Drain { name: name(), patience }, causes());
                self.draft.after(stop, drain);
                slots.drain = Some(drain);
            }
            (Part::Alone | Part::Old, ..) => {}
        }
    }

    /// One replica of a service after the other, and what is replaced goes when the last one serves:
    /// until then a failure leaves all that were there.
    pub(super) fn order_of_rollouts(&mut self) {
        let names = self.changes.iter().enumerate();
        let places: BTreeMap<&str, usize> =
            names.map(|(index, change)| (change.name.as_str(), index)).collect();
        let mut services: BTreeMap<&str, Vec<(Slots, Slots)>> = BTreeMap::new();
        for (index, change) in self.changes.iter().enumerate() {
            if let Part::Heir(old) = change.part
                && let Some(old) = places.get(old.record.name.as_str())
            {
                let pair = (self.slots[index], self.slots[*old]);
                services.entry(change.service).or_default().push(pair);
            }
        }
        for pairs in services.values() {
            self.order_of_rollout(pairs);
        }
        self.order_of_followers();
    }

    /// What restarts with a service runs on until the new container of that serves: one that does not
    /// become good takes nobody down. Not where the new one needs what they give up.
    fn order_of_followers(&mut self) {
        let mut waits = Vec::new();
        for (change, slots) in self.changes.iter().zip(&self.slots) {
            let Some(stop) = slots.stop.filter(|_| !matches!(change.part, Part::Old)) else {
                continue;
            };
            let followed = change.depends_on.iter().filter(|(_, on)| on.restart);
            for on in followed.filter_map(|(on, _)| self.by_service.get(on.as_str())).flatten() {
                waits.extend(self.slots[*on].serve.map(|serve| (stop, serve)));
            }
        }
        for (stop, serve) in waits {
            if !self.draft.waits(serve, stop) {
                self.draft.after(stop, serve);
            }
        }
    }

    /// That of one service: its new containers, each with the one that serves until then.
    fn order_of_rollout(&mut self, pairs: &[(Slots, Slots)]) {
        let mut before: Option<Slot> = None;
        for (heir, old) in pairs {
            let Some(serve) = heir.serve else { continue };
            if let Some(begins) = old.drain.or(old.stop).or(old.remove) {
                self.draft.after(begins, serve);
            }
            if let Some(before) = before {
                self.draft.after(heir.start.unwrap_or(serve), before);
            }
            before = old.stop.or(Some(serve));
        }
        for remove in pairs.iter().filter_map(|(_, old)| old.remove) {
            for serve in pairs.iter().filter_map(|(heir, _)| heir.serve) {
                self.draft.after(remove, serve);
            }
        }
    }
}
