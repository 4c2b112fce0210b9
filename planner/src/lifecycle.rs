//! The plans of `start`, `stop`, `restart`, `kill` and `rm`: what records say is enough for
//! them, no file is needed.

mod follow;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::action::Action;
use crate::cause::Cause;
use crate::down::{of_project, own_volumes};
use crate::gate::{Gates, Member};
use crate::observed::{
    ContainerRecord, ContainerState, NetworkRecord, Observed, ObservedContainer,
};
use crate::order::Order;
use crate::pause::{adopted, run_on_again};
use crate::plan::{Draft, Plan, Slot};
use crate::problem::{PlanProblem, PlanProblems};
use crate::rollout::serving;
use crate::up::{check_start, drift, is_active, stop_before};

/// What `restart` is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestartOptions {
    /// Only these services; empty means all.
    pub services: Vec<String>,
    /// Leave dependents alone, even those that ask to be restarted along; not those that share
    /// namespaces, which would stay in ones that have ended.
    pub no_deps: bool,
    /// How long a stop may take; `None` takes what each container says.
    pub grace: Option<Duration>,
}

/// What `rm` is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RmOptions {
    /// Only these services; empty means all.
    pub services: Vec<String>,
    /// Stop what runs before; without it, what runs stays.
    pub stop: bool,
    /// Also remove anonymous volumes.
    pub volumes: bool,
    /// How long a stop may take; `None` takes what each container says.
    pub grace: Option<Duration>,
}

/// Starts containers that exist and do not run, dependencies first; who runs and shares namespaces of
/// one of them is started again, else it would stay in those of the life before. Of two of one replica it is the
/// one that serves: the other is not known to be good, and only `up` knows how to find that out.
///
/// # Errors
/// When a named service has no container, or a container cannot be started as it is.
pub fn start(
    project: &str,
    observed: &Observed,
    services: &[String],
) -> Result<Plan, PlanProblems> {
    let both = of_services(project, observed, services)?;
    let all = serving(&both);
    prepared(&all)?;
    let mut draft = Draft::default();
    draft.warnings.extend(waiting(&both, &all));
    let idle: Vec<_> = all.iter().copied().filter(|container| !is_active(container)).collect();
    let every = serving(&of_services(project, observed, &[])?);
    let sharers = follow::sharers(&idle, &every);
    let begun: Vec<_> =
        idle.iter().chain(sharers.values().map(|(sharer, _)| sharer)).copied().collect();
    as_judged(&begun)?;
    check_start(observed, &begun)?;
    let repairs = repairs(&begun, observed, &mut draft)?;
    let following: Vec<_> = sharers.values().map(|(sharer, _)| *sharer).collect();
    let how = Stopping { grace: None, hold: false };
    let stops = stops(&following, &of_project(project, observed), &mut draft, how);
    let missing = |c: &ObservedContainer| !all.iter().any(|one| one.record.name == c.record.name);
    let others = following.iter().copied().filter(|sharer| missing(sharer));
    let whole: Vec<_> = all.iter().copied().chain(others).collect();
    let begins =
        |c: &ObservedContainer| !is_active(c) || sharers.contains_key(c.record.name.as_str());
    let steps = starts(&whole, &mut draft, begins);
    for (name, (_, owner)) in &sharers {
        let (stop, start) = (stops[name], steps[name]);
        draft.after(start, stop);
        draft.cause(start, Cause::NamespaceParentReplaced { container: owner.to_string() });
    }
    connect((&stops, &steps), &repairs, observed, &mut draft);
    Ok(draft.finish(project))
}

/// Stops what runs, dependents first; it stays stopped until somebody starts it.
///
/// # Errors
/// When a named service has no container.
pub fn stop(
    project: &str,
    observed: &Observed,
    services: &[String],
    grace: Option<Duration>,
) -> Result<Plan, PlanProblems> {
    let mut all = of_services(project, observed, services)?;
    all.extend(one_offs(project, observed, services));
    Ok(halt(project, observed, &all, grace))
}

/// The same for what `up` made: containers of `run` go on.
///
/// # Errors
/// When a named service has no container.
pub fn stop_all_but_runs(
    project: &str,
    observed: &Observed,
    services: &[String],
    grace: Option<Duration>,
) -> Result<Plan, PlanProblems> {
    Ok(halt(project, observed, &of_services(project, observed, services)?, grace))
}

fn halt(
    project: &str,
    observed: &Observed,
    all: &[&ObservedContainer],
    grace: Option<Duration>,
) -> Plan {
    let mut draft = Draft::default();
    let how = Stopping { grace, hold: true };
    stops(all, &of_project(project, observed), &mut draft, how);
    draft.unchanged = all.iter().filter(|container| !is_active(container)).count();
    draft.finish(project)
}

/// Stops and starts, with the dependents that ask to be restarted along; of two of one replica the
/// one that serves.
///
/// # Errors
/// When a named service has no container, or a container cannot be started as it is.
pub fn restart(
    project: &str,
    observed: &Observed,
    options: &RestartOptions,
) -> Result<Plan, PlanProblems> {
    let both = of_services(project, observed, &options.services)?;
    let named = serving(&both);
    prepared(&named)?;
    let every = serving(&of_services(project, observed, &[])?);
    let dragged = follow::dragged(&named, &every, options.no_deps);
    let is_named =
        |c: &ObservedContainer| named.iter().any(|n| n.record.service == c.record.service);
    let all: Vec<&ObservedContainer> = every
        .into_iter()
        .filter(|c| {
            is_named(c) || (is_active(c) && dragged.contains_key(c.record.service.as_str()))
        })
        .collect();
    as_judged(&all)?;
    check_start(observed, &all)?;
    let mut draft = Draft::default();
    draft.warnings.extend(waiting(&both, &named));
    let repairs = repairs(&all, observed, &mut draft)?;
    let how = Stopping { grace: options.grace, hold: false };
    let stops = stops(&all, &of_project(project, observed), &mut draft, how);
    let starts = starts(&all, &mut draft, |_| true);
    connect((&stops, &starts), &repairs, observed, &mut draft);
    for (name, start) in starts {
        if let Some(stop) = stops.get(name) {
            draft.after(start, *stop);
        }
        let service = observed.containers.get(name).map(|c| c.record.service.as_str());
        if let Some(on) = service.and_then(|service| dragged.get(service)) {
            draft.cause(start, Cause::DependencyRestart { service: on.to_string() });
        }
    }
    Ok(draft.finish(project))
}

/// Sends a signal to what runs.
///
/// # Errors
/// When a named service has no container.
pub fn kill(
    project: &str,
    observed: &Observed,
    services: &[String],
    signal: &str,
) -> Result<Plan, PlanProblems> {
    let mut all = of_services(project, observed, services)?;
    all.extend(one_offs(project, observed, services));
    let mut draft = Draft::default();
    let running = |c: &&ObservedContainer| matches!(c.state, ContainerState::Running { .. });
    for container in all.into_iter().filter(running) {
        let name = container.record.name.clone();
        let action = Action::SignalContainer { name, signal: signal.to_string() };
        draft.add(action, vec![Cause::Requested]);
    }
    Ok(draft.finish(project))
}

/// Removes containers that do not run, those of `run` included.
///
/// # Errors
/// When a named service has no container.
pub fn rm(project: &str, observed: &Observed, options: &RmOptions) -> Result<Plan, PlanProblems> {
    let mut all = of_services(project, observed, &options.services)?;
    all.extend(one_offs(project, observed, &options.services));
    let mut draft = Draft::default();
    if !options.stop {
        draft.unchanged = all.iter().filter(|container| is_active(container)).count();
        all.retain(|container| !is_active(container));
    }
    let how = Stopping { grace: options.grace, hold: false };
    let stops = stops(&all, &of_project(project, observed), &mut draft, how);
    let removed = removals(&all, &stops, &mut draft);
    if options.volumes {
        own_volumes(observed, &removed, &mut draft);
    }
    Ok(draft.finish(project))
}

/// Only `up` knows how to run the `pre_start` of a container that `create` made.
fn prepared(all: &[&ObservedContainer]) -> Result<(), PlanProblems> {
    let mut problems = PlanProblems::default();
    for container in all.iter().filter(|container| container.record.is_unprepared()) {
        problems.add(PlanProblem::Unprepared { container: container.record.name.clone() });
    }
    problems.none()
}

/// Only `up` judges where the paths lead that a container mounts; with another place there it would
/// not start, so it is not stopped either.
fn as_judged(all: &[&ObservedContainer]) -> Result<(), PlanProblems> {
    let mut problems = PlanProblems::default();
    for container in all {
        for (path, now) in &container.moved {
            let (container, path) = (container.record.name.clone(), path.clone());
            problems.add(PlanProblem::PathMoved { container, path, now: now.clone() });
        }
    }
    problems.none()
}

/// Containers `up` made, of these services or of all.
pub(crate) fn of_services<'a>(
    project: &str,
    observed: &'a Observed,
    services: &[String],
) -> Result<Vec<&'a ObservedContainer>, PlanProblems> {
    let mut all = of_project(project, observed);
    all.retain(|container| !container.record.oneoff);
    let have: BTreeSet<&str> = all.iter().map(|c| c.record.service.as_str()).collect();
    let mut problems = PlanProblems::default();
    for service in services.iter().filter(|service| !have.contains(service.as_str())) {
        problems.add(PlanProblem::NoContainer { service: service.clone() });
    }
    problems.none()?;
    if !services.is_empty() {
        all.retain(|container| services.contains(&container.record.service));
    }
    Ok(all)
}

/// Says which containers are left alone because another one of their replica serves.
fn waiting(both: &[&ObservedContainer], serving: &[&ObservedContainer]) -> Vec<String> {
    let serves = |name: &str| serving.iter().any(|container| container.record.name == name);
    let left = both.iter().map(|container| container.record.name.as_str());
    let line = |name: &str| {
        format!(
            "container `{name}` is left as it is, another one serves in its place: `berth up` \
             replaces that one, or removes this one"
        )
    };
    left.filter(|name| !serves(name)).map(line).collect()
}

fn one_offs<'a>(
    project: &str,
    observed: &'a Observed,
    services: &[String],
) -> Vec<&'a ObservedContainer> {
    let mut all = of_project(project, observed);
    all.retain(|c| {
        c.record.oneoff && (services.is_empty() || services.contains(&c.record.service))
    });
    all
}

/// A container that would run on without its link; `up` of its own stack takes it along.
fn without_link(
    network: &NetworkRecord,
    container: &ContainerRecord,
    project: &str,
) -> PlanProblem {
    let (lost, name) = (network.has(), network.name.clone());
    let (container, of) = (container.name.clone(), container.project.clone());
    match of == project {
        true => PlanProblem::LinkGone { network: name, lost, container },
        false => PlanProblem::Stranded { network: name, lost, container, next: stop_before(&of) },
    }
}

/// Puts the networks right that containers need to start; gives the steps by network.
fn repairs<'a>(
    starting: &[&'a ObservedContainer],
    observed: &Observed,
    draft: &mut Draft,
) -> Result<BTreeMap<&'a str, Slot>, PlanProblems> {
    let mut problems = PlanProblems::default();
    let mut steps = BTreeMap::new();
    let known: BTreeSet<&str> = starting.iter().map(|c| c.record.name.as_str()).collect();
    let others = observed.containers.iter().filter(|(_, container)| is_active(container));
    let stranded: BTreeMap<&str, &ContainerRecord> = others
        .filter(|(name, _)| !known.contains(name.as_str()))
        .flat_map(|(_, other)| {
            other.record.spec.networks.keys().map(move |network| (network.as_str(), &other.record))
        })
        .collect();
    for container in starting {
        let record = &container.record;
        if container.state == ContainerState::Broken {
            problems.add(PlanProblem::HalfMade { container: record.name.clone() });
        }
        for name in record.spec.networks.keys() {
            match observed.networks.get(name) {
                None => {
                    let (network, container) = (name.clone(), record.name.clone());
                    problems.add(PlanProblem::NetworkGone { network, container });
                }
                Some(here) if here.bridge_up && here.rules_present => {}
                Some(here) => {
                    let left = stranded.get(name.as_str()).filter(|_| !here.bridge_up);
                    if let Some(left) = left {
                        problems.add(without_link(&here.record, left, &record.project));
                    }
                    steps.entry(name.as_str()).or_insert_with(|| {
                        let repair = Action::RepairNetwork(here.record.clone());
                        draft.add(repair, vec![drift(&here.record, here.bridge_up)])
                    });
                }
            }
        }
    }
    problems.none()?;
    Ok(steps)
}

/// Lets starts wait for the networks they need, and a network for those that lose their links.
fn connect(
    (stops, starts): (&BTreeMap<&str, Slot>, &BTreeMap<&str, Slot>),
    repairs: &BTreeMap<&str, Slot>,
    observed: &Observed,
    draft: &mut Draft,
) {
    for (name, start) in starts {
        let networks = observed.containers.get(*name).map(|here| &here.record.spec.networks);
        for network in networks.into_iter().flat_map(BTreeMap::keys) {
            let Some(repair) = repairs.get(network.as_str()) else { continue };
            draft.after(*start, *repair);
            if let Some(stop) = stops.get(name) {
                draft.after(*repair, *stop);
            }
        }
    }
}

/// How containers are stopped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopping {
    pub(crate) grace: Option<Duration>,
    pub(crate) hold: bool,
}

/// Stops what runs, in the order that `every` container of the project gives; gives the steps by
/// container.
///
/// A stop that fails does not keep the others from being stopped.
pub(crate) fn stops<'a>(
    containers: &[&'a ObservedContainer],
    every: &[&'a ObservedContainer],
    draft: &mut Draft,
    how: Stopping,
) -> BTreeMap<&'a str, Slot> {
    let groups = Groups::of(every);
    let running = containers.iter().filter(|container| is_active(container));
    let ending: BTreeSet<&str> = running.map(|c| c.record.name.as_str()).collect();
    let mut steps = BTreeMap::new();
    let mut of_service: BTreeMap<&str, Vec<Slot>> = BTreeMap::new();
    for service in groups.order.names().iter().rev() {
        let all = groups.members(service);
        for container in all.filter(|c| ending.contains(c.record.name.as_str())) {
            let name = container.record.name.clone();
            let action = Action::StopContainer { name, grace: how.grace, hold: how.hold };
            let step = draft.add(action, vec![Cause::Requested]);
            of_service.entry(service).or_default().push(step);
            steps.insert(container.record.name.as_str(), step);
        }
    }
    // Over a service that stays, or has ended as a migration does, others still need what that needs.
    for (service, firsts) in &of_service {
        for on in groups.order.needs_over(service, |on| of_service.contains_key(on)) {
            for first in firsts {
                for then in of_service.get(on).into_iter().flatten() {
                    draft.after_tried(*then, *first);
                }
            }
        }
    }
    steps
}

/// Removes containers, each after its stop; gives the steps by container.
pub(crate) fn removals<'a>(
    containers: &[&'a ObservedContainer],
    stops: &BTreeMap<&'a str, Slot>,
    draft: &mut Draft,
) -> BTreeMap<&'a str, Slot> {
    let mut steps = BTreeMap::new();
    for container in containers {
        let name = container.record.name.as_str();
        let action = Action::RemoveContainer { name: name.to_string() };
        let step = draft.add(action, vec![Cause::Requested]);
        if let Some(stop) = stops.get(name) {
            draft.after(step, *stop);
        }
        steps.insert(name, step);
    }
    steps
}

/// Starts containers, dependencies first and as these are needed; gives the steps.
fn starts<'a>(
    containers: &[&'a ObservedContainer],
    draft: &mut Draft,
    begins: impl Fn(&ObservedContainer) -> bool,
) -> BTreeMap<&'a str, Slot> {
    let groups = Groups::of(containers);
    let mut steps: BTreeMap<&str, Slot> = BTreeMap::new();
    let mut gates = Gates::default();
    for service in groups.order.names() {
        let needs: BTreeSet<&str> = groups.order.needs(service).collect();
        for container in groups.members(service) {
            if !begins(container) {
                let name = container.record.name.as_str();
                let step = match container.paused {
                    true => Some(run_on_again(draft, container)),
                    false => adopted(draft, container),
                };
                match step {
                    Some(step) => drop(steps.insert(name, step)),
                    None => draft.unchanged += 1,
                }
                continue;
            }
            let name = container.record.name.as_str();
            let action = Action::StartContainer { name: name.to_string() };
            let start = draft.add(action, vec![Cause::Requested]);
            steps.insert(name, start);
            for (on, how) in &container.record.depends_on {
                for member in groups.members(on).filter(|_| needs.contains(on.as_str())) {
                    let name = member.record.name.as_str();
                    let start_of = steps.get(name).copied();
                    let member =
                        Member { name, have: Some(member), start: start_of, deadline: None };
                    gates.connect(draft, start, (service, *how), member);
                }
            }
            for parent in container.record.spec.parents() {
                if let Some(shared) = steps.get(parent) {
                    draft.after(start, *shared);
                }
            }
        }
    }
    steps
}

/// Containers by service, with the order their records give.
struct Groups<'a> {
    order: Order<'a>,
    members: BTreeMap<&'a str, Vec<&'a ObservedContainer>>,
}

impl<'a> Groups<'a> {
    fn of(containers: &[&'a ObservedContainer]) -> Groups<'a> {
        let services: BTreeMap<&str, &str> = containers
            .iter()
            .map(|c| (c.record.name.as_str(), c.record.service.as_str()))
            .collect();
        let mut members: BTreeMap<&str, Vec<&ObservedContainer>> = BTreeMap::new();
        let mut needs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for container in containers {
            let record = &container.record;
            members.entry(&record.service).or_default().push(container);
            let needs = needs.entry(&record.service).or_default();
            needs.extend(record.depends_on.keys().map(String::as_str));
            let parents = record.spec.parents().into_iter();
            needs.extend(parents.filter_map(|parent| services.get(parent)));
        }
        Groups { order: Order::of(needs), members }
    }

    fn members(&self, service: &str) -> impl Iterator<Item = &'a ObservedContainer> {
        self.members.get(service).into_iter().flatten().copied()
    }
}
