//! Containers of services that a run leaves out, because others were named or profiles switch them
//! off. Of what the files say of these nothing is known, so they only follow, as they were made.

use super::{Change, Fate, Judge, Part, Verdict};
use crate::up::is_active;

impl<'a> Judge<'a, '_> {
    /// Those of a service that run and have to be restarted with what they depend on, or with whose
    /// namespace they share.
    pub(super) fn left_out(&mut self, name: &'a str) -> Vec<Change<'a>> {
        let survey = self.survey;
        if survey.options.no_start || !survey.desired.inactive.iter().any(|known| known == name) {
            return Vec::new();
        }
        let mut changes = Vec::new();
        for have in survey.own.get(name).into_iter().flatten().filter(|have| is_active(have)) {
            let record = &have.record;
            let causes = self.shaken(&record.depends_on, have);
            if causes.is_empty() {
                continue;
            }
            self.remember(&record.name, name, Fate::Restart);
            changes.push(Change {
                name: record.name.clone(),
                service: name,
                number: record.number,
                oneoff: false,
                init: None,
                want: Some(&record.spec),
                depends_on: &record.depends_on,
                have: Some(*have),
                part: Part::Alone,
                verdict: Verdict::of(Fate::Restart, causes),
            });
        }
        changes
    }
}
