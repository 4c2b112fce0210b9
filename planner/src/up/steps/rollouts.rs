//! The steps of replacements that somebody looks at, and of those in which the new container starts first.

use super::{Maker, Slots};
use crate::action::Action;
use crate::plan::Slot;
use crate::rollout::{self, Rollout};
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
                let Some(rollout) = self.rollout(change) else { return };
                let stable = self.stable(change, rollout);
                let from = old.record.name.clone();
                let serve = self.draft.add(Action::TakeOver { name: name(), from }, causes());
                if let Some(start) = slots.start.or(slots.adopt) {
                    self.draft.after(stable, start);
                }
                self.draft.after(serve, stable);
                slots.serve = Some(serve);
                slots.good = Some(self.watch(change, rollout, serve).unwrap_or(serve));
            }
            // One whose heir serves already has what the run left that was broken off.
            (part, Some(old), Some(stop)) if matches!(part, Part::Old) || has_served(change) => {
                let patience = rollout::patience(&old.record.spec);
                let drain = self.draft.add(Action::Drain { name: name(), patience }, causes());
                self.draft.after(stop, drain);
                slots.drain = Some(drain);
            }
            (Part::Successor(_) | Part::Untried(_), ..) => self.prove(change, slots),
            (Part::Alone, ..) if change.verdict.fate == Fate::Replace => self.prove(change, slots),
            (Part::Alone | Part::Old | Part::Kept, ..) => {}
        }
    }

    /// The look at one that starts when the one before it has stopped, or is there already.
    fn prove(&mut self, change: &Change, slots: &mut Slots) {
        let looks = slots.start.is_some() || matches!(change.part, Part::Untried(_));
        let Some(rollout) = self.rollout(change).filter(|_| looks) else { return };
        let stable = self.stable(change, rollout);
        let before = [slots.start, slots.adopt, slots.update];
        before.into_iter().flatten().for_each(|before| self.draft.after(stable, before));
        slots.good = Some(stable);
    }

    /// How the containers of a service are replaced, if the file says so and it is about them.
    pub(super) fn rollout(&self, change: &Change) -> Option<Rollout> {
        let in_scope = self.survey.scope.contains(change.service);
        let usual = in_scope && !change.oneoff && change.want.is_some();
        self.survey.desired.services.get(change.service).filter(|_| usual)?.rollout
    }

    fn stable(&mut self, change: &Change, rollout: Rollout) -> Slot {
        let (checked, unchecked) = rollout.stable_for();
        let service = self.survey.desired.services.get(change.service);
        let deadline = service.and_then(|service| service.deadline);
        let stable =
            Action::AwaitStable { name: change.name.clone(), checked, unchecked, deadline };
        self.draft.add(stable, change.verdict.causes.clone())
    }

    /// The look at one that has taken over, if there is to be one.
    fn watch(&mut self, change: &Change, rollout: Rollout, serve: Slot) -> Option<Slot> {
        let watch = Action::Watch { name: change.name.clone(), span: rollout.watched_for()? };
        let watch = self.draft.add(watch, change.verdict.causes.clone());
        self.draft.after(watch, serve);
        Some(watch)
    }

    /// What restarts with a service runs on until the new container of that serves: one that does not
    /// become good takes nobody down. Not where the new one needs what they give up.
    pub(super) fn order_of_followers(&mut self) {
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
}
