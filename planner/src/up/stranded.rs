//! Containers that would run on beside a bridge that is made anew: the old one took their links
//! along, and nobody would see it any more.

use std::collections::{BTreeMap, BTreeSet};

use super::containers::{Change, Fate};
use super::resources::{self, NetworkFate};
use super::{Survey, is_active};
use crate::observed::ContainerRecord;
use crate::problem::{PlanProblem, PlanProblems};

/// Refuses a bridge for which not all that run on its network end before: those of other stacks,
/// of `run`, and whatever else the plan does not touch.
pub(super) fn check(
    survey: &Survey,
    networks: &BTreeMap<&str, NetworkFate>,
    changes: &[Change],
    problems: &mut PlanProblems,
) {
    removed(survey, networks, changes, problems);
    let ends = |fate| matches!(fate, Fate::Restart | Fate::Replace | Fate::Remove);
    let ending = changes.iter().filter(|change| ends(change.verdict.fate));
    let ending: BTreeSet<&str> = ending.map(|change| change.name.as_str()).collect();
    for (name, _) in networks.iter().filter(|(_, n)| n.fate == resources::Fate::Reconnect) {
        let on = survey.on_network.get(name).into_iter().flatten();
        let stay = on.filter(|have| is_active(have) && !ending.contains(have.record.name.as_str()));
        for record in stay.map(|have| &have.record) {
            let lost = survey.observed.networks.get(*name).map_or("bridge", |n| n.record.has());
            problems.add(PlanProblem::Stranded {
                network: (*name).to_owned(),
                lost,
                container: record.name.clone(),
                next: next(survey, record),
            });
        }
    }
}

/// Refuses a network made anew that a container of a known service would stay on: one that is left
/// out, and is no replica that goes along.
fn removed(
    survey: &Survey,
    networks: &BTreeMap<&str, NetworkFate>,
    changes: &[Change],
    problems: &mut PlanProblems,
) {
    for (name, _) in networks.iter().filter(|(_, n)| n.fate == resources::Fate::Replace) {
        let leaves = |change: &&Change| match change.verdict.fate {
            Fate::Replace | Fate::Remove => true,
            _ => {
                let leaves = change.want.is_some_and(|want| !want.networks.contains_key(*name));
                leaves && change.verdict.is_update()
            }
        };
        let leaving = changes.iter().filter(leaves).map(|change| change.name.as_str());
        let leaving: BTreeSet<&str> = leaving.collect();
        for have in survey.on_network.get(name).into_iter().flatten() {
            let ContainerRecord { name: container, service, project, oneoff, .. } = &have.record;
            let known = survey.desired.services.contains_key(service);
            let ours = *project == survey.desired.project && !oneoff && known;
            if ours && !leaving.contains(container.as_str()) {
                problems.add(PlanProblem::NetworkInUse {
                    network: (*name).to_owned(),
                    container: container.clone(),
                    owner: format!("of service `{service}`, which is left as it is"),
                });
            }
        }
    }
}

/// What takes the container along, or out of the way.
fn next(survey: &Survey, record: &ContainerRecord) -> String {
    match record.project == survey.desired.project {
        false => stop_before(&record.project),
        true if record.oneoff => "end it before (it was made by `run`)".to_owned(),
        true if survey.desired.services.contains_key(&record.service) => {
            format!("bring `{}` up too", record.service)
        }
        true if !survey.other_files(record).is_empty() => {
            let ContainerRecord { project, service, .. } = record;
            format!("it is of other files: stop it before (`berth -p {project} stop {service}`)")
        }
        true => "its service is not in the file, `--remove-orphans` removes it".to_owned(),
    }
}

/// The move that takes what another project runs out of the way.
pub(crate) fn stop_before(project: &str) -> String {
    format!("stop it before (`berth -p {project} stop`)")
}
