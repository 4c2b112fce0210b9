//! The order of containers that have the volumes of others, of volumes that are renewed, and of the
//! images that a container needs.

use super::Maker;
use crate::action::Action;
use crate::cause::Cause;
use crate::desired::ContainerSpec;
use crate::down::volumes_of;
use crate::plan::Slot;
use crate::up::containers::Change;
use crate::up::renewals::{self, Renewal};

impl Maker<'_> {
    /// Who has the volumes of another is made after it, and ends before those are renewed.
    pub(super) fn order_of_volumes(&mut self) {
        for (change, slots) in self.changes.iter().zip(&self.slots) {
            // Whose volumes one had before is no matter: the other may have those of this one now.
            let (Some(create), Some(want)) = (slots.create, change.want) else { continue };
            for from in &want.volumes_from {
                let lender = self.by_name.get(from.container.as_str());
                let made = lender.and_then(|lender| self.slots[*lender].create);
                made.into_iter().for_each(|made| self.draft.after(create, made));
            }
        }
        let renewals = renewals::of(self.survey, self.changes);
        self.draft.warnings.extend(renewals::notices(&renewals));
        let going = renewals.into_iter().filter(|(_, renewal)| renewal.user.is_none());
        for (volume, Renewal { owner, .. }) in going {
            let remove = Action::RemoveVolume { name: volume.to_owned() };
            let remove = self.draft.add(remove, vec![Cause::Requested]);
            for (change, slots) in self.changes.iter().zip(&self.slots) {
                let record = change.have.map(|have| &have.record);
                let mut has = record.into_iter().flat_map(volumes_of);
                if change.name == owner || has.any(|has| has == volume) {
                    slots.remove.into_iter().for_each(|gone| self.draft.after(remove, gone));
                }
                if let Some(create) = slots.create.filter(|_| change.name == owner) {
                    self.draft.after(create, remove);
                }
            }
        }
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
