//! The order of containers that have the volumes of others, of volumes that are renewed, and of the
//! images that a container needs.

use std::collections::{BTreeMap, BTreeSet};

use super::Maker;
use crate::action::Action;
use crate::cause::Cause;
use crate::desired::ContainerSpec;
use crate::plan::Slot;
use crate::up::containers::Change;

impl Maker<'_> {
    /// Who has the volumes of another is made after it, and ends before those are renewed.
    pub(super) fn order_of_volumes(&mut self) {
        let mut all: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        for (index, change) in self.changes.iter().enumerate() {
            let of = change.want.into_iter().chain(change.have.map(|have| &have.record.spec));
            for from in of.flat_map(|spec| &spec.volumes_from) {
                all.entry(&from.container).or_default().insert(index);
            }
        }
        for index in 0..self.changes.len() {
            let (change, slots) = (&self.changes[index], self.slots[index]);
            let Some(create) = slots.create else { continue };
            let members = all.get(change.name.as_str()).into_iter().flatten();
            let made: Vec<Slot> = members.filter_map(|member| self.slots[*member].create).collect();
            made.into_iter().for_each(|made| self.draft.after(made, create));
            let renewed = self.renewed(change);
            if renewed.is_empty() {
                continue;
            }
            let borrowers = self.borrowers(&all, &change.name);
            let borrowers = borrowers.into_iter().map(|borrower| self.slots[borrower]);
            let gone: Vec<Slot> = borrowers.chain([slots]).filter_map(|s| s.remove).collect();
            for volume in renewed {
                let remove = Action::RemoveVolume { name: volume };
                let remove = self.draft.add(remove, vec![Cause::Requested]);
                gone.iter().for_each(|gone| self.draft.after(remove, *gone));
                self.draft.after(create, remove);
            }
        }
    }

    /// Who has the volumes of a container, also by way of others.
    fn borrowers(&self, all: &BTreeMap<&str, BTreeSet<usize>>, lender: &str) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut open = vec![lender];
        while let Some(name) = open.pop() {
            for borrower in all.get(name).into_iter().flatten() {
                if found.insert(*borrower) {
                    open.push(&self.changes[*borrower].name);
                }
            }
        }
        found
    }

    /// Anonymous volumes that a container leaves, when the next of its name shall have new ones.
    fn renewed(&self, change: &Change) -> Vec<String> {
        if !self.survey.options.renew_volumes || change.oneoff {
            return Vec::new();
        }
        let all = self.survey.observed.volumes.iter();
        let own = all.filter(|(_, v)| v.record.container.as_deref() == Some(change.name.as_str()));
        own.map(|(name, _)| name.clone()).collect()
    }

    /// The steps that bring the image of a container and those it mounts.
    pub(super) fn pulls_of(&self, change: &Change, want: &ContainerSpec) -> Vec<Slot> {
        let own = self.pulls.get(&self.survey.image(change.service, want));
        own.into_iter()
            .chain(want.other_images().filter_map(|i| self.pulls.get(i)))
            .copied()
            .collect()
    }
}
