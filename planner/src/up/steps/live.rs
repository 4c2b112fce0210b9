//! Changes of containers as they are.

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
}
