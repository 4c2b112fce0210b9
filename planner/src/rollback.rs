//! The way back from a rollout that failed: another plan, in which a service is what it was.
//!
//! What a rollout replaces is kept until it is over, so the way back starts containers that are
//! there, of which the files, addresses and images are still the same, and makes none. It is one
//! plan more over what is observed then. That is never rolled back itself, and never goes to what the
//! file asks for already.

use std::collections::{BTreeMap, BTreeSet};

use berth_schema::stack::{FailureAction, Places};

use crate::action::Action;
use crate::desired::{Desired, ServiceSpec};
use crate::observed::{ContainerRecord, ContainerState, Observed, ObservedContainer};
use crate::plan::{Plan, StepId};
use crate::problem::PlanProblems;
use crate::rollout::Rollout;
use crate::up::{UpOptions, up};

/// The way back from rollouts that failed.
#[derive(Debug)]
pub struct Way {
    /// The plan by which services become what they were.
    pub plan: Plan,
    /// What serves then, by service.
    pub back: BTreeMap<String, Serving>,
}

/// What a service is when it was rolled back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// How many containers.
    pub replicas: u32,
    /// Their image, as the file had it.
    pub image: String,
}

/// Why a service stays as it is after a rollout that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoWay {
    /// There was nothing else before.
    #[error("`{service}` is not rolled back: it was nothing else before")]
    Same {
        /// The service.
        service: String,
    },
    /// A container could not be kept.
    #[error("`{service}` is not rolled back: nothing was kept of its container {number}")]
    NotKept {
        /// The service.
        service: String,
        /// The number of the replica.
        number: u32,
    },
    /// The plan for it cannot be made.
    #[error(transparent)]
    Forbidden(#[from] PlanProblems),
}

/// Services whose rollout failed and that are to be rolled back: `failed` are the steps of the plan
/// that failed, `skipped` those that were not done for that.
pub fn due<'a>(
    desired: &'a Desired,
    plan: &Plan,
    failed: &[StepId],
    skipped: &[StepId],
) -> BTreeSet<&'a str> {
    let asks = |service: &ServiceSpec| {
        let asks = |rollout: Rollout| rollout.on_failure == FailureAction::Rollback;
        service.rollout.is_some_and(asks) && !service.goes_back
    };
    let is_cut = |service: &str| {
        let mut steps = skipped.iter().filter_map(|id| plan.step(*id));
        steps.any(
            |step| matches!(&step.action, Action::Conclude { service: of, .. } if of == service),
        )
    };
    let has_failed = |service: &str| {
        let new = new_containers(plan, service);
        let mut steps = failed.iter().filter_map(|id| plan.step(*id));
        steps.any(|step| new.contains(step.action.target().as_str()))
    };
    let services = desired.services.iter().filter(|(_, service)| asks(service));
    let names = services.map(|(name, _)| name.as_str());
    names.filter(|name| is_cut(name) && has_failed(name)).collect()
}

/// The containers that the rollout of a service brings.
fn new_containers<'a>(plan: &'a Plan, service: &str) -> BTreeSet<&'a str> {
    let ends = plan.steps.iter().filter(
        |step| matches!(&step.action, Action::Conclude { service: of, .. } if of == service),
    );
    let names =
        ends.flat_map(|end| &end.after_tried).filter_map(|id| match &plan.step(*id)?.action {
            Action::AwaitStable { name, .. }
            | Action::TakeOver { name, .. }
            | Action::Watch { name, .. } => Some(name.as_str()),
            _ => None,
        });
    names.collect()
}

/// Whether a plan came to its end though containers failed: all that was skipped is that these take
/// over from others.
pub fn is_through(plan: &Plan, skipped: &[StepId]) -> bool {
    let of_them = |id: &StepId| {
        let action = plan.step(*id).map(|step| &step.action);
        matches!(
            action,
            Some(
                Action::TakeOver { .. }
                    | Action::Watch { .. }
                    | Action::Drain { .. }
                    | Action::StopContainer { .. }
                    | Action::RemoveContainer { .. }
            )
        )
    };
    skipped.iter().all(of_them)
}

/// The way back of these services, from what there was `before` the rollout and what there is `now`.
///
/// # Errors
/// [`NoWay`]: then they stay as they are.
pub fn way_back(
    desired: &Desired,
    services: &BTreeSet<&str>,
    (before, now): (&Observed, &Observed),
    places: &Places,
) -> Result<Way, NoWay> {
    let mut then = desired.clone();
    let mut back = BTreeMap::new();
    for service in services {
        let Some(wanted) = desired.services.get(*service) else { continue };
        let was = before_it(desired, (service, wanted), (before, now))?;
        let serving = Serving { replicas: was.replicas, image: was.container.image.clone() };
        back.insert((*service).to_owned(), serving);
        then.services.insert((*service).to_owned(), was);
    }
    let options = UpOptions {
        services: services.iter().map(|service| (*service).to_owned()).collect(),
        no_deps: true,
        ..UpOptions::default()
    };
    let plan = up(&then, now, &options, places)?;
    for step in &plan.steps {
        if let Action::CreateContainer(record) = &step.action
            && services.contains(record.service.as_str())
        {
            let (service, number) = (record.service.clone(), record.number);
            return Err(NoWay::NotKept { service, number });
        }
    }
    Ok(Way { plan, back })
}

/// What a service was: as the oldest of its containers that are not what the file asks for.
fn before_it(
    desired: &Desired,
    (service, wanted): (&str, &ServiceSpec),
    (before, now): (&Observed, &Observed),
) -> Result<ServiceSpec, NoWay> {
    let of = |observed: &'_ Observed| -> Vec<ObservedContainer> {
        let own = observed.containers.values().filter(|have| {
            let record = &have.record;
            record.project == desired.project && record.service == service && !record.oneoff
        });
        own.cloned().collect()
    };
    let has_served = |have: &ObservedContainer| have.served || have.rank().0;
    let is_old = |have: &&ObservedContainer| {
        let record = &have.record;
        let image = now.images.get(&wanted.image()).is_some_and(|at| at.id != record.image_id);
        let other = record.spec != wanted.container || image;
        other && has_served(have) && have.state != ContainerState::Broken
    };
    let there = of(now);
    let old = there.iter().filter(is_old).min_by_key(|have| (have.created_at, &have.record.name));
    let Some(ObservedContainer { record: old, .. }) = old else {
        return Err(NoWay::Same { service: service.to_owned() });
    };
    let is_same =
        |record: &ContainerRecord| (&record.spec, &record.image_id) == (&old.spec, &old.image_id);
    let kept = there.iter().filter(|have| is_same(&have.record)).map(|have| have.record.number);
    let kept: BTreeSet<u32> = kept.collect();
    let served: BTreeSet<u32> =
        of(before).iter().filter(|have| has_served(have)).map(|have| have.record.number).collect();
    if let Some(number) = served.difference(&kept).next() {
        return Err(NoWay::NotKept { service: service.to_owned(), number: *number });
    }
    Ok(ServiceSpec {
        replicas: u32::try_from(served.len()).unwrap_or(u32::MAX),
        container: old.spec.clone(),
        locked: old.locked.clone(),
        pinned: Some(old.image_id.clone()),
        depends_on: old.depends_on.clone(),
        rollout: wanted.rollback,
        goes_back: true,
        pre_start: Vec::new(),
        ..wanted.clone()
    })
}
