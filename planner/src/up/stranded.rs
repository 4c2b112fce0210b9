//! Containers that would run on beside a bridge that is made anew: the old one took their links
//! along, and nobody would see it any more.

use std::collections::{BTreeMap, BTreeSet};

use super::containers::{Change, Fate};
use super::resources::{self, NetworkFate};
use super::{Survey, is_active};
use crate::problem::{PlanProblem, PlanProblems};

/// Refuses a bridge for which not all that run on its network end before: those of other stacks,
/// of `run`, and whatever else the plan does not touch.
pub(super) fn check(
    survey: &Survey,
    networks: &BTreeMap<&str, NetworkFate>,
    changes: &[Change],
    problems: &mut PlanProblems,
) {
    let ends = |fate| matches!(fate, Fate::Restart | Fate::Replace | Fate::Remove);
    let ending = changes.iter().filter(|change| ends(change.verdict.fate));
    let ending: BTreeSet<&str> = ending.map(|change| change.name.as_str()).collect();
    for (name, _) in networks.iter().filter(|(_, n)| n.fate == resources::Fate::Reconnect) {
        let on = survey.on_network.get(name).into_iter().flatten();
        let stay = on.filter(|have| is_active(have) && !ending.contains(have.record.name.as_str()));
        for record in stay.map(|have| &have.record) {
            problems.add(PlanProblem::Stranded {
                network: (*name).to_owned(),
                container: record.name.clone(),
                project: record.project.clone(),
            });
        }
    }
}
