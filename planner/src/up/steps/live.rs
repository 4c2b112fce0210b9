//! Changes of containers as they are.

use super::Maker;
use crate::action::Action;
use crate::cause::{Cause, FieldChange};
use crate::diff;
use crate::observed::ContainerRecord;
use crate::plan::Slot;
use crate::up::containers::{CONTENT, Change};

impl Maker<'_> {
    /// The step that gives a container what takes effect in it as it is.
    pub(super) fn update(&mut self, change: &Change, record: ContainerRecord) -> Slot {
        let updates = &change.verdict.updates;
        let is_updating = change.have.is_some_and(|have| have.updating);
        let has_moved = change.have.is_some_and(|have| have.content_moved);
        let mut causes = match (updates.is_empty(), is_updating) {
            (false, _) => causes(updates),
            (true, true) => vec![Cause::Drift { what: "a change of it was cut short" }],
            (true, false) => has_moved.then_some(CONTENT).into_iter().collect(),
        };
        let limits = change.have.into_iter().flat_map(|have| &have.moved_limits);
        causes.extend(limits.cloned().map(Cause::LimitMoved));
        let rewires = |cause: &&Cause| matches!(cause, Cause::NetworkReplaced { .. });
        causes.extend(change.verdict.causes.iter().filter(rewires).cloned());
        let update = self.draft.add(Action::UpdateContainer(Box::new(record)), causes);
        self.draft.changes(update, updates.clone());
        update
    }
}

/// What differs, in general.
fn causes(updates: &[FieldChange]) -> Vec<Cause> {
    let content = updates.iter().filter(|change| diff::is_content(change)).count();
    let fields = (content < updates.len()).then_some(Cause::Changed);
    fields.into_iter().chain((content > 0).then_some(Cause::ContentChanged)).collect()
}
