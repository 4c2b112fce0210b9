//! What is to become of each container of a stack that is up: the state that its file declares.

use std::collections::{BTreeMap, BTreeSet};

use berth_schema::stack::{Condition, RestartPolicy};

use crate::observed::{Health, ObservedContainer};
use crate::rollout::serving;

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

/// What each container of these services is to reach, of two of one replica the one that serves; no
/// service means all of the project.
pub fn end_states(
    project: &str,
    containers: &BTreeMap<String, ObservedContainer>,
    services: &BTreeSet<String>,
) -> BTreeMap<String, EndState> {
    let own = |have: &&ObservedContainer| have.record.project == project && !have.record.oneoff;
    let own: Vec<&ObservedContainer> = containers.values().filter(own).collect();
    let awaited = own.iter().flat_map(|have| &have.record.depends_on);
    let completes = |on: Condition| on == Condition::ServiceCompletedSuccessfully;
    let completed: BTreeSet<&str> = awaited
        .filter(|(_, on)| completes(on.condition))
        .map(|(service, _)| service.as_str())
        .collect();
    let about = |service: &String| services.is_empty() || services.contains(service);
    let wanted = serving(&own).into_iter().filter(|have| about(&have.record.service));
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
