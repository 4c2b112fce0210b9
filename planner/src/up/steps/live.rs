//! Changes of containers as they are, and their order among the other steps.

use std::collections::BTreeSet;

use super::Maker;
use crate::action::Action;
use crate::cause::Cause;
use crate::observed::ContainerRecord;
use crate::plan::Slot;
use crate::up::containers::Change;

impl Maker<'_> {
    /// The step that gives a container what takes effect in it as it is.
    pub(super) fn update(&mut self, change: &Change, record: ContainerRecord) -> Slot {
        let updates = &change.verdict.updates;
        let cause = match updates.is_empty() {
            false => Cause::Changed,
            true => Cause::Drift { what: "a change of it was cut short" },
        };
        let update = self.draft.add(Action::UpdateContainer(Box::new(record)), vec![cause]);
        self.draft.changes(update, updates.clone());
        update
    }

    /// What a container takes over has to be given up before. Of several that would wait for each
    /// other in a circle one does not, and is refused what is not free yet.
    pub(super) fn order_of_updates(&mut self) {
        let (freed, left) = (self.freed(), self.left());
        let mut waits: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); self.changes.len()];
        for index in 0..self.changes.len() {
            let Some(update) = self.slots[index].update else { continue };
            let has = self.has(index);
            for claim in self.takes(index).into_iter().filter(|claim| !has.contains(claim)) {
                let stops = freed.get(&claim).into_iter().flatten();
                for stop in stops.filter(|stop| Some(**stop) != self.slots[index].stop) {
                    self.draft.after(update, *stop);
                }
                for giver in left.get(&claim).into_iter().flatten() {
                    if let Some(before) = self.slots[*giver].update
                        && !reaches(&waits, *giver, index)
                    {
                        waits[index].insert(*giver);
                        self.draft.after(update, before);
                    }
                }
            }
        }
    }
}

/// Whether one waits for another, over others maybe.
fn reaches(waits: &[BTreeSet<usize>], from: usize, to: usize) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(next) = open.pop() {
        if next == to {
            return true;
        }
        if seen.insert(next) {
            open.extend(&waits[next]);
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_seen_over_several() {
        let waits = [[1].into(), [2].into(), BTreeSet::new()];
        assert!(reaches(&waits, 0, 2) && reaches(&waits, 1, 1));
        assert!(!reaches(&waits, 2, 0));
    }
}
