//! Volumes that are memory: each container would have one of its own, so nobody else may have them.

use crate::backing::Backing;
use crate::desired::{MountSpec, SourceSpec, VolumeSpec};
use crate::problem::{PlanProblem, PlanProblems};

use super::Survey;

/// What the files do not show: numbers of containers given by hand, and containers of others.
pub(super) fn check(survey: &Survey, problems: &mut PlanProblems) {
    let services = survey.desired.services.iter();
    for (name, service) in services.filter(|(name, _)| survey.scope.contains(name.as_str())) {
        let replicas = survey.replicas(name);
        let mut mounts = service.container.mounts.values();
        if replicas > 1
            && let Some(volume) = mounts.find_map(|mount| memory(survey, mount))
        {
            let (volume, service) = (volume.to_owned(), name.clone());
            problems.add(PlanProblem::SharedMemory { volume, service, replicas });
        }
        for from in &service.container.volumes_from {
            let Some(other) = survey.observed.containers.get(&from.container) else { continue };
            // Those of the stack were looked at as the files have them.
            let record = &other.record;
            if record.project == survey.desired.project && !record.oneoff {
                continue;
            }
            let mut mounts = record.spec.mounts.values().chain(record.borrowed.mounts.values());
            if let Some(volume) = mounts.find_map(|mount| memory(survey, mount)) {
                let (container, volume) = (name.clone(), volume.to_owned());
                let other = from.container.clone();
                problems.add(PlanProblem::OthersMemory { container, other, volume });
            }
        }
    }
}

/// The volume of a mount, if it is memory.
fn memory<'a>(survey: &Survey, mount: &'a MountSpec) -> Option<&'a str> {
    let SourceSpec::Volume { name, .. } = &mount.source else { return None };
    let observed = survey.observed.volumes.get(name).map(|volume| &volume.record.spec);
    let wanted = survey.desired.volumes.get(name).filter(|volume| !volume.external);
    let is_memory = |volume: &VolumeSpec| {
        matches!(Backing::of(&volume.driver_opts), Ok(Backing::Memory { .. }))
    };
    wanted.or(observed).is_some_and(is_memory).then_some(name.as_str())
}
