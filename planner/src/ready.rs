//! What is to become of each container of a stack that is up: the state that its file declares.

use std::collections::{BTreeMap, BTreeSet};

use berth_schema::stack::{Condition, RestartPolicy};

use crate::observed::{Health, ObservedContainer};

/// The state that a container is to reach, and with that is as its stack wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndState {
    /// Its checks say that it is well.
    Healthy,
    /// It runs, or has ended well if nobody would start it again.
    Running {
        /// An end with status 0 is none that its policy puts right.
        may_end: bool,
    },
    /// It has ended well, as others wait for.
    Completed,
}

/// What each container of these services and of what they need is to reach; no service means all
/// of the project.
pub fn end_states(
    project: &str,
    containers: &BTreeMap<String, ObservedContainer>,
    services: &[String],
) -> BTreeMap<String, EndState> {
    let own = |have: &&ObservedContainer| have.record.project == project && !have.record.oneoff;
    let own: Vec<&ObservedContainer> = containers.values().filter(own).collect();
    let covered = covered(&own, services);
    let awaited = own.iter().flat_map(|have| &have.record.depends_on);
    let completes = |on: Condition| on == Condition::ServiceCompletedSuccessfully;
    let completed: BTreeSet<&str> = awaited
        .filter(|(_, on)| completes(on.condition))
        .map(|(service, _)| service.as_str())
        .collect();
    let wanted = own.iter().filter(|have| covered.contains(have.record.service.as_str()));
    wanted.map(|have| (have.record.name.clone(), end_state(have, &completed))).collect()
}

fn end_state(have: &ObservedContainer, completed: &BTreeSet<&str>) -> EndState {
    match (completed.contains(have.record.service.as_str()), have.health) {
        (true, _) => EndState::Completed,
        (false, Health::None) => EndState::Running {
            may_end: match have.record.spec.restart {
                RestartPolicy::No | RestartPolicy::OnFailure(_) => true,
                RestartPolicy::Always | RestartPolicy::UnlessStopped => false,
            },
        },
        (false, Health::Starting | Health::Healthy | Health::Unhealthy) => EndState::Healthy,
    }
}

/// Those services and all that their containers were made to need.
fn covered<'a>(own: &[&'a ObservedContainer], services: &'a [String]) -> BTreeSet<&'a str> {
    if services.is_empty() {
        return own.iter().map(|have| have.record.service.as_str()).collect();
    }
    let mut covered = BTreeSet::new();
    let mut open: Vec<&str> = services.iter().map(String::as_str).collect();
    while let Some(service) = open.pop() {
        if covered.insert(service) {
            let members = own.iter().filter(|have| have.record.service == service);
            open.extend(members.flat_map(|have| have.record.depends_on.keys()).map(String::as_str));
        }
    }
    covered
}
