//! The way back from a rollout that failed: another plan, in which a service is what it was.
//!
//! What a rollout replaces is kept until it is over, so the way back starts containers that are
//! there, of which the files, addresses and images are still the same, and makes none. It is one
//! plan more over what is observed then. That is never rolled back itself, and never goes to what the
//! file asks for already.

use std::collections::{BTreeMap, BTreeSet};

use berth_schema::stack::{FailureAction, Places};

use crate::action::{Action, Object};
use crate::cause::Cause;
use crate::desired::{ContainerSpec, Desired, ServiceSpec};
use crate::observed::{ContainerState, Observed, ObservedContainer};
use crate::plan::{Plan, Step, StepId};
use crate::problem::PlanProblems;
use crate::rollout::Rollout;
use crate::up::{UpOptions, order, up};

/// A run that did not come to its end.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// What the stack asks for.
    pub desired: &'a Desired,
    /// What there was before it.
    pub before: &'a Observed,
    /// What it was to do.
    pub plan: &'a Plan,
    /// The steps that failed.
    pub failed: &'a [StepId],
    /// Those that were not done for that.
    pub skipped: &'a [StepId],
}

/// The way back from rollouts that failed.
#[derive(Debug)]
pub struct Way {
    /// The plan by which services become what they were.
    pub plan: Plan,
    /// What serves then, by service. Where that is none there is nothing to do.
    pub back: BTreeMap<String, Serving>,
    /// What else has failed, or cannot go back: it stays as it is.
    pub stays: Vec<NoWay>,
}

/// What a service is when it was rolled back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// How many containers.
    pub replicas: u32,
    /// Their image, as the file had it.
    pub image: String,
}

/// Why a service stays as it is after a run that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoWay {
    /// There was nothing else before.
    #[error("`{service}` is not rolled back: it was nothing else before")]
    Same {
        /// The service.
        service: String,
    },
    /// A container could not be kept.
    #[error("`{service}` is not rolled back: nothing was kept of its container {number}{}", colon(.why.as_deref()))]
    NotKept {
        /// The service.
        service: String,
        /// The number of the replica.
        number: u32,
        /// Why, if the plan said so.
        why: Option<String>,
    },
    /// Its containers were of several versions.
    #[error("`{service}` is not rolled back: its containers were not all the same before")]
    Mixed {
        /// The service.
        service: String,
    },
    /// It has no rollout that could be rolled back.
    #[error("`{service}` failed as well, and is left as it is")]
    Other {
        /// The service.
        service: String,
    },
}

impl Way {
    /// Whether what goes back has done so though these steps were not done: they are about containers
    /// of other services, among those that were there.
    pub fn is_back(&self, there: &Observed, undone: impl IntoIterator<Item = StepId>) -> bool {
        let services = services(&self.plan, there);
        let service = |id: StepId| match &self.plan.step(id)?.action {
            Action::Conclude { service, .. } => Some(service.clone()),
            _ => services.get(container(&self.plan, id)?.as_str()).map(|of| (*of).to_owned()),
        };
        let mut services = undone.into_iter().map(service);
        services.all(|service| service.is_some_and(|of| !self.back.contains_key(&of)))
    }
}

fn colon(why: Option<&str>) -> String {
    why.map(|why| format!(": {why}")).unwrap_or_default()
}

impl<'a> Run<'a> {
    /// Services whose rollout is to be rolled back: it was cut off, and a new container of theirs
    /// failed, or something of them was taken out of service already.
    pub fn due(&self) -> BTreeSet<&'a str> {
        let asks = |service: &ServiceSpec| {
            let asks = |rollout: Rollout| rollout.on_failure == FailureAction::Rollback;
            service.rollout.is_some_and(asks) && !service.goes_back
        };
        let services = self.desired.services.iter().filter(|(_, service)| asks(service));
        let names = services.map(|(name, _)| name.as_str());
        let cut = names.filter(|name| {
            self.steps(self.skipped).any(
                |step| matches!(&step.action, Action::Conclude { service, .. } if service == name),
            )
        });
        cut.filter(|name| self.has_failed(name) || self.has_begun(name)).collect()
    }

    /// The way back of those that are due, from what there is now.
    ///
    /// # Errors
    /// What forbids the plan for it: then they stay as they are.
    pub fn way_back(&self, now: &Observed, places: &Places) -> Result<Way, PlanProblems> {
        let mut then = self.desired.clone();
        let (mut back, mut stays) = (BTreeMap::new(), Vec::new());
        for service in self.due() {
            let Some(wanted) = self.desired.services.get(service) else { continue };
            match self.before_it((service, wanted), now) {
                Ok(was) => {
                    let (replicas, image) = (was.replicas, was.container.image.clone());
                    back.insert(service.to_owned(), Serving { replicas, image });
                    then.services.insert(service.to_owned(), was);
                }
                Err(why) => stays.push(why),
            }
        }
        stays.extend(
            self.others().into_iter().map(|service| NoWay::Other { service: service.to_owned() }),
        );
        if back.is_empty() {
            return Ok(Way { plan: Plan::default(), back, stays });
        }
        let mut services: Vec<String> = back.keys().cloned().collect();
        for (service, replicas) in self.fallen(&back, now) {
            if let Some(falls) = then.services.get_mut(service) {
                falls.replicas = replicas;
                services.push(service.to_owned());
            }
        }
        let options = UpOptions { services, no_deps: true, ..UpOptions::default() };
        let plan = up(&then, now, &options, places)?;
        let made = plan.steps.iter().find_map(|step| match &step.action {
            Action::CreateContainer(record) if back.contains_key(&record.service) => Some(record),
            _ => None,
        });
        if let Some(record) = made {
            let (service, number) = (record.service.clone(), record.number);
            stays.push(NoWay::NotKept { service, number, why: None });
            return Ok(Way { plan: Plan::default(), back: BTreeMap::new(), stays });
        }
        Ok(Way { plan, back, stays })
    }

    fn steps(&self, ids: &'a [StepId]) -> impl Iterator<Item = &'a Step> {
        let plan = self.plan;
        ids.iter().filter_map(|id| plan.step(*id))
    }

    fn has_failed(&self, service: &str) -> bool {
        let new = new_containers(self.plan, service);
        self.failed
            .iter()
            .filter_map(|id| container(self.plan, *id))
            .any(|name| new.contains(&name))
    }

    /// Whether a container that served has been stopped, or has handed over.
    fn has_begun(&self, service: &str) -> bool {
        let undone = |id: &StepId| self.failed.contains(id) || self.skipped.contains(id);
        let mut done = self.plan.steps.iter().filter(|step| !undone(&step.id));
        done.any(|step| match &step.action {
            Action::StopContainer { name, .. } | Action::TakeOver { from: name, .. } => {
                let old = self.before.containers.get(name);
                old.is_some_and(|old| old.record.service == service && old.rank().0)
            }
            _ => false,
        })
    }

    /// Services of which a step failed, and that no rollback is about.
    fn others(&self) -> BTreeSet<&'a str> {
        let services = services(self.plan, self.before);
        let required = self.failed.iter().filter(|id| !is_passed(self.plan, **id));
        let names = required.filter_map(|id| container(self.plan, *id));
        let failed = names.filter_map(|name| services.get(name.as_str()).copied());
        let due = self.due();
        failed.filter(|service| !due.contains(service)).collect()
    }

    /// Services that ran before and do not now, as they waited for one that goes back: each with how
    /// many containers it has.
    fn fallen(&self, back: &BTreeMap<String, Serving>, now: &Observed) -> Vec<(&'a str, u32)> {
        let others = self.others();
        let serving = |observed: &Observed, service: &str| -> BTreeSet<u32> {
            let serves = own(observed, self.desired, service).filter(|have| have.rank().0);
            serves.map(|have| have.record.number).collect()
        };
        let order = order(self.desired);
        let names = self.desired.services.keys().map(String::as_str);
        let fallen = names.filter(|name| {
            let needs = order.closure(BTreeSet::from([*name]));
            let waits = needs.iter().any(|on| back.contains_key(*on));
            let stuck = needs.iter().any(|on| others.contains(on));
            let fell = !serving(self.before, name).is_subset(&serving(now, name));
            !back.contains_key(*name) && waits && !stuck && fell
        });
        let count = |service: &str| {
            let numbers: BTreeSet<u32> =
                own(now, self.desired, service).map(|have| have.record.number).collect();
            u32::try_from(numbers.len()).unwrap_or(u32::MAX).max(1)
        };
        fallen.map(|service| (service, count(service))).collect()
    }

    /// What a service was: as the oldest of its containers that are not what the file asks for.
    fn before_it(
        &self,
        (service, wanted): (&str, &ServiceSpec),
        now: &Observed,
    ) -> Result<ServiceSpec, NoWay> {
        let name = || service.to_owned();
        let has_served = |have: &&ObservedContainer| have.served || have.rank().0;
        let image = now.images.get(&wanted.image());
        let is_old = |have: &&ObservedContainer| {
            let record = &have.record;
            let moved = image.is_some_and(|image| image.id != record.image_id);
            let other = record.spec != wanted.container || moved;
            other && has_served(have) && have.state != ContainerState::Broken
        };
        let there = || own(now, self.desired, service);
        let old = there().filter(is_old).min_by_key(|have| (have.created_at, &have.record.name));
        let kept: BTreeSet<u32> = there()
            .filter(|have| old.is_some_and(|old| version(have) == version(old)))
            .map(|have| have.record.number)
            .collect();
        let before = || own(self.before, self.desired, service).filter(has_served);
        let lost = before().find(|have| match old {
            Some(_) => !kept.contains(&have.record.number),
            None => is_old(have),
        });
        match (old, lost) {
            (_, Some(lost)) if there().any(|have| have.id == lost.id) => {
                Err(NoWay::Mixed { service: name() })
            }
            (_, Some(lost)) => {
                let (number, why) = (lost.record.number, self.why_not_kept(service));
                Err(NoWay::NotKept { service: name(), number, why })
            }
            (None, None) => Err(NoWay::Same { service: name() }),
            (Some(ObservedContainer { record: old, .. }), None) => {
                let served: BTreeSet<u32> = before().map(|have| have.record.number).collect();
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
        }
    }

    /// Why a container of a service was not kept, as the plan said it.
    fn why_not_kept(&self, service: &str) -> Option<String> {
        let of_service = self.plan.steps.iter().filter(|step| match &step.action {
            Action::CreateContainer(record) => record.service == service,
            _ => false,
        });
        of_service.flat_map(|step| &step.causes).find_map(|cause| match cause {
            Cause::NotKept { why } | Cause::StopsFirst { why } => Some(why.to_string()),
            _ => None,
        })
    }
}

/// Containers of a service that `up` made.
fn own<'a>(
    observed: &'a Observed,
    desired: &Desired,
    service: &str,
) -> impl Iterator<Item = &'a ObservedContainer> {
    observed.containers.values().filter(move |have| {
        let record = &have.record;
        record.project == desired.project && record.service == service && !record.oneoff
    })
}

/// What tells two versions of a container apart.
pub(crate) fn version(have: &ObservedContainer) -> (&ContainerSpec, &str) {
    (&have.record.spec, &have.record.image_id)
}

/// The services of containers that are there, and of those that a plan makes.
fn services<'a>(plan: &'a Plan, there: &'a Observed) -> BTreeMap<&'a str, &'a str> {
    let made = plan.steps.iter().filter_map(|step| match &step.action {
        Action::CreateContainer(record) => Some((record.name.as_str(), record.service.as_str())),
        _ => None,
    });
    let there = there.containers.iter();
    there.map(|(name, have)| (name.as_str(), have.record.service.as_str())).chain(made).collect()
}

/// The container that a step is about.
fn container(plan: &Plan, id: StepId) -> Option<String> {
    let action = &plan.step(id)?.action;
    (action.object() == Object::Container).then(|| action.target())
}

/// The containers that the rollout of a service brings.
fn new_containers(plan: &Plan, service: &str) -> BTreeSet<String> {
    let ends = plan.steps.iter().filter(
        |step| matches!(&step.action, Action::Conclude { service: of, .. } if of == service),
    );
    let good = ends.flat_map(|end| &end.after_tried);
    good.filter_map(|id| container(plan, *id)).collect()
}

/// Whether a plan came to its end though containers failed: all that was skipped is what would have
/// come of these, and every rollout was concluded.
pub fn is_through(plan: &Plan, skipped: &[StepId]) -> bool {
    let of_them = |id: &StepId| {
        let action = plan.step(*id).map(|step| &step.action);
        matches!(
            action,
            Some(
                Action::AwaitStable { .. }
                    | Action::TakeOver { .. }
                    | Action::Watch { .. }
                    | Action::Drain { .. }
                    | Action::StopContainer { .. }
                    | Action::RemoveContainer { .. }
            )
        )
    };
    skipped.iter().all(of_them)
}

/// Whether a step is about a new container of a rollout, which counts what fails.
pub fn is_counted(plan: &Plan, id: StepId) -> bool {
    let mut ends = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Conclude { service, .. } => Some(new_containers(plan, service)),
        _ => None,
    });
    container(plan, id).is_some_and(|name| ends.any(|new| new.contains(&name)))
}

/// Whether others go on without a step, as if it was not required.
pub fn is_passed(plan: &Plan, id: StepId) -> bool {
    let goes_on = |step: &Step| step.action.may_fail().is_none() && step.after_tried.contains(&id);
    plan.steps.iter().any(goes_on)
}
