//! The steps of `pre_start`, and their order among the others.

use berth_schema::stack::Condition;

use super::{Maker, Slots};
use crate::action::Action;
use crate::cause::Cause;
use crate::plan::Slot;
use crate::up::containers::Change;

impl Maker<'_> {
    /// The wait for the end of a container of `pre_start`, and its removal after that.
    pub(super) fn end_of_init(&mut self, change: &Change, slots: &mut Slots) {
        let Some(init) = &change.init else { return };
        let name = || change.name.clone();
        if !init.done {
            let condition = Condition::ServiceCompletedSuccessfully;
            let await_end = Action::AwaitContainer { name: name(), condition, deadline: None };
            let cause = Cause::NeededBy { service: change.service.to_owned() };
            slots.end = Some(self.draft.add(await_end, vec![cause]));
        }
        let clear = Action::RemoveContainer { name: name() };
        slots.clear = Some(self.draft.add(clear, vec![Cause::Unused]));
    }

    /// The containers of `pre_start` run one after the other, when those that are replaced have
    /// gone and before new ones are made; then nobody needs them.
    pub(super) fn order_of_inits(&mut self) {
        for (index, change) in self.changes.iter().enumerate() {
            let Some(init) = &change.init else { continue };
            let slots = self.slots[index];
            let pulls = change.want.map(|want| self.pulls_of(change, want)).unwrap_or_default();
            for (other, theirs) in self.changes.iter().zip(self.slots.clone()) {
                if init.before.contains(&other.name) {
                    self.order_of_init(slots, theirs, &pulls);
                }
                let same = other.service == change.service;
                let earlier = other.init.as_ref().filter(|other| same && other.step < init.step);
                // What is made for one container alone does not wait for another one's.
                let related =
                    |other: &crate::up::inits::Init| !other.before.is_disjoint(&init.before);
                if earlier.is_some_and(related)
                    && let (Some(begins), Some(end)) = (begins(slots), theirs.end)
                {
                    self.draft.after(begins, end);
                }
            }
        }
    }

    /// The steps of one container of `pre_start` among those of one that waits for it.
    fn order_of_init(&mut self, init: Slots, waiting: Slots, pulls: &[Slot]) {
        if let Some(stop) = waiting.stop.or(waiting.remove) {
            pulls.iter().for_each(|pull| self.draft.after(stop, *pull));
        }
        if let (Some(begins), Some(gone)) = (begins(init), waiting.remove) {
            self.draft.after(begins, gone);
        }
        if let (Some(create), Some(end)) = (waiting.create, init.end) {
            self.draft.after(create, end);
        }
        if let (Some(clear), Some(create)) = (init.clear, waiting.create) {
            self.draft.after(clear, create);
        }
    }
}

fn begins(slots: Slots) -> Option<Slot> {
    slots.start.or(slots.adopt).or(slots.end)
}
