//! The plan that makes a host equal to what the stack asks for.
//!
//! First the fate of every network, volume and container is decided, each by looking at its
//! description, its record and its state; then the fates become steps with their order.

mod claims;
mod containers;
mod hardware;
mod inits;
mod memory;
mod notes;
mod owners;
mod parents;
pub(crate) mod ports;
mod records;
mod renewals;
mod resources;
mod steps;
mod stranded;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use berth_schema::stack::Places;

use crate::desired::{ContainerSpec, DependencySpec, Desired, ServiceSpec};
use crate::observed::{ContainerRecord, ContainerState, Observed, ObservedContainer};
use crate::order::Order;
use crate::orphan;
use crate::plan::Plan;
use crate::problem::{PlanProblem, PlanProblems};

pub(crate) use self::containers::{PAUSED, UNMONITORED};
pub(crate) use self::ports::check_start;
pub(crate) use self::resources::drift;
pub(crate) use self::stranded::stop_before;

/// What `up` is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpOptions {
    /// These services, with what they depend on; empty means all.
    pub services: Vec<String>,
    /// Do not touch what the named services depend on.
    pub no_deps: bool,
    /// Replace containers even if nothing changed; with named services only theirs.
    pub force_recreate: bool,
    /// With `force_recreate` and named services: also what they depend on.
    pub always_recreate_deps: bool,
    /// Keep existing containers whatever changed.
    pub no_recreate: bool,
    /// Remove containers whose service is not in the stack.
    pub remove_orphans: bool,
    /// Numbers of containers that count instead of the file's.
    pub scale: BTreeMap<String, u32>,
    /// Containers that are made get new anonymous volumes, not those of the one before.
    pub renew_volumes: bool,
    /// Create containers, start none.
    pub no_start: bool,
    /// How long a stop may take; `None` takes what each container says.
    pub grace: Option<Duration>,
}

/// What makes the host equal to `desired`.
///
/// # Errors
/// Everything that forbids it, at once.
pub fn up(
    desired: &Desired,
    observed: &Observed,
    options: &UpOptions,
    places: &Places,
) -> Result<Plan, PlanProblems> {
    let scope = covered(desired, options)?;
    make(&Survey::new(desired, observed, options, places, scope, None))
}

/// A container of `run` that goes along with a plan.
pub(crate) struct OneOff<'a> {
    pub(crate) name: String,
    pub(crate) service: &'a str,
    pub(crate) spec: ContainerSpec,
    pub(crate) depends_on: &'a BTreeMap<String, DependencySpec>,
}

/// Plans for the services in `scope`, and the one-off container if there is one.
pub(crate) fn make(survey: &Survey) -> Result<Plan, PlanProblems> {
    let mut problems = PlanProblems::default();
    let networks = resources::networks(survey, &mut problems);
    let volumes = resources::volumes(survey, &mut problems);
    let changes = containers::decide(survey, &networks, &volumes, &mut problems);
    parents::check(survey, &networks, &changes, &mut problems);
    stranded::check(survey, &networks, &changes, &mut problems);
    owners::check(survey, &networks, &changes, &mut problems);
    ports::check(survey, &changes, &mut problems);
    memory::check(survey, &mut problems);
    let records = records::make(survey, &networks, &changes, &mut problems);
    problems.none()?;
    let draft = |records, waits| {
        let draft = steps::draft(survey, (&networks, &volumes), &changes, records, waits);
        draft.try_finish(&survey.desired.project)
    };
    let plan = draft(records, steps::Waits::All).or_else(|_| {
        let again = records::make(survey, &networks, &changes, &mut PlanProblems::default());
        draft(again, steps::Waits::NoCircle)
    });
    plan.map_err(|circle| PlanProblems(vec![circle]))
}

/// The services whose containers [`up`] makes as described.
///
/// # Errors
/// Names that the stack does not have.
pub fn covered<'a>(
    desired: &'a Desired,
    options: &UpOptions,
) -> Result<BTreeSet<&'a str>, PlanProblems> {
    let mut problems = PlanProblems::default();
    let mut roots = BTreeSet::new();
    for service in options.services.iter().chain(options.scale.keys()) {
        match desired.services.get_key_value(service) {
            Some((name, _)) if options.services.contains(service) => {
                roots.insert(name.as_str());
            }
            Some(_) => {}
            None => problems.add(PlanProblem::UnknownService { service: service.clone() }),
        }
    }
    problems.none()?;
    if options.services.is_empty() {
        return Ok(desired.services.keys().map(String::as_str).collect());
    }
    Ok(if options.no_deps { roots } else { order(desired).closure(roots) })
}

/// The services of the stack in the order of their dependencies.
pub(crate) fn order(desired: &Desired) -> Order<'_> {
    Order::of(needs(desired))
}

fn needs(desired: &Desired) -> BTreeMap<&str, BTreeSet<&str>> {
    let services = desired.services.iter();
    let needs = services.map(|(name, service)| {
        let needs: BTreeSet<&str> = service.depends_on.keys().map(String::as_str).collect();
        (name.as_str(), needs)
    });
    needs.collect()
}

/// All that a plan is made from, with what is looked up again and again.
pub(crate) struct Survey<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    options: &'a UpOptions,
    places: &'a Places,
    /// Services to be made as described.
    scope: BTreeSet<&'a str>,
    one_off: Option<OneOff<'a>>,
    /// Of the services of the stack, and of those that only have containers.
    order: Order<'a>,
    /// Containers of the project that `up` made, by service.
    own: BTreeMap<&'a str, Vec<&'a ObservedContainer>>,
    /// Those that steps of `pre_start` ran in, by service.
    inits: BTreeMap<&'a str, Vec<&'a ObservedContainer>>,
    /// All containers of the host by the networks in their records.
    on_network: BTreeMap<&'a str, Vec<&'a ObservedContainer>>,
    /// The files of the stack, as records have them.
    files: BTreeSet<String>,
}

impl<'a> Survey<'a> {
    pub(crate) fn new(
        desired: &'a Desired,
        observed: &'a Observed,
        options: &'a UpOptions,
        places: &'a Places,
        scope: BTreeSet<&'a str>,
        one_off: Option<OneOff<'a>>,
    ) -> Survey<'a> {
        let mut own: BTreeMap<&str, Vec<&ObservedContainer>> = BTreeMap::new();
        let mut inits: BTreeMap<&str, Vec<&ObservedContainer>> = BTreeMap::new();
        let mut on_network: BTreeMap<&str, Vec<&ObservedContainer>> = BTreeMap::new();
        for container in observed.containers.values() {
            let record = &container.record;
            if record.project == desired.project && !record.oneoff {
                own.entry(&record.service).or_default().push(container);
            }
            if record.project == desired.project && record.init.is_some() {
                inits.entry(&record.service).or_default().push(container);
            }
            for network in record.spec.networks.keys() {
                on_network.entry(network).or_default().push(container);
            }
        }
        let mut needs = needs(desired);
        for (service, containers) in &own {
            let recorded = containers.iter().flat_map(|have| have.record.depends_on.keys());
            needs.entry(service).or_insert_with(|| recorded.map(String::as_str).collect());
        }
        let order = Order::of(needs);
        let files = desired.files.iter().map(|file| file.display().to_string()).collect();
        Survey {
            desired,
            observed,
            options,
            places,
            scope,
            one_off,
            order,
            own,
            inits,
            on_network,
            files,
        }
    }

    /// Containers of the project whose service left the files, those of its `pre_start` among them.
    fn orphans(&self) -> impl Iterator<Item = &'a ObservedContainer> {
        self.unexplained().filter(move |have| self.other_files(&have.record).is_empty())
    }

    /// Those of the files of a container that the stack does not have.
    fn other_files(&self, record: &'a ContainerRecord) -> Vec<&'a str> {
        orphan::other_files(record, &self.files, self.observed)
    }

    /// Containers of the project whose service is not in the stack.
    fn unexplained(&self) -> impl Iterator<Item = &'a ObservedContainer> {
        let known = |service: &String| {
            self.desired.inactive.contains(service) || self.desired.services.contains_key(service)
        };
        self.observed.containers.values().filter(move |container| {
            let record = &container.record;
            let made_by_up = !record.oneoff || record.init.is_some();
            record.project == self.desired.project && made_by_up && !known(&record.service)
        })
    }

    /// Descriptions of the containers this plan may be about: those of the services in scope,
    /// and of others that have containers and may have to follow.
    fn specs(&self) -> impl Iterator<Item = &ContainerSpec> {
        let services = self.desired.services.iter().filter(|(name, _)| {
            self.scope.contains(name.as_str()) || self.own.contains_key(name.as_str())
        });
        let services = services.map(|(_, service)| service);
        let all = services.flat_map(|service| {
            let inits = service.pre_start.iter().map(|init| &init.container);
            inits.chain([&service.container])
        });
        all.chain(self.one_off.iter().map(|one| &one.spec))
    }

    /// What the store is asked for when the image of a service is looked for.
    fn image(&self, service: &str, spec: &ContainerSpec) -> String {
        let service = self.desired.services.get(service);
        let same = service.filter(|service| service.container.image == spec.image);
        same.map_or(spec.image.clone(), ServiceSpec::image)
    }

    /// The digest that the lock gives to the image of a service.
    fn locked(&self, service: &str) -> Option<&str> {
        self.desired.services.get(service)?.locked.as_deref()
    }

    /// The digest that the lock gives to the image of a container of a service, if that is the
    /// image of the service.
    fn locked_image(&self, service: &str, spec: &ContainerSpec) -> Option<&str> {
        let same = self.desired.services.get(service)?.container.image == spec.image;
        self.locked(service).filter(|_| same)
    }

    /// What the policy judged the containers of a service to be given.
    fn grants(&self, service: &str) -> BTreeSet<String> {
        self.desired.judged.grants.get(service).cloned().unwrap_or_default()
    }

    /// How many containers of a service there shall be.
    fn replicas(&self, service: &str) -> u32 {
        let file = self.desired.services.get(service).map_or(0, |service| service.replicas);
        self.options.scale.get(service).copied().unwrap_or(file)
    }

    /// Whether containers of this service are replaced without a reason of their own.
    fn forced(&self, service: &str) -> bool {
        let named = &self.options.services;
        self.options.force_recreate
            && (named.is_empty()
                || self.options.always_recreate_deps
                || named.iter().any(|name| name == service))
    }
}

/// Whether processes or a monitor of it are there, so that a removal needs a stop before.
pub(crate) fn is_active(container: &ObservedContainer) -> bool {
    match container.state {
        ContainerState::Running { .. } => true,
        ContainerState::Restarting { .. } => container.monitored,
        ContainerState::Created | ContainerState::Exited { .. } | ContainerState::Broken => false,
    }
}
