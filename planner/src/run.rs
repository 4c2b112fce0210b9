//! The plan of `run`: one container of a service, once, with its own words.

use std::collections::{BTreeMap, BTreeSet};

use berth_schema::stack::{OnChange, Places, RestartPolicy};

use crate::desired::{
    ContainerSpec, Desired, Inert, MountSpec, PortSpec, RestartPace, ServiceSpec,
};
use crate::observed::Observed;
use crate::plan::Plan;
use crate::problem::{PlanProblem, PlanProblems};
use crate::publish::published;
use crate::up::{OneOff, Survey, UpOptions, make, order};

/// What `run` is asked for. What is `None` or empty stays as the service has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// The service.
    pub service: String,
    /// What makes the name one of its own, twelve hexadecimal digits.
    pub slug: String,
    /// Name instead of `PROJECT-SERVICE-run-SLUG`.
    pub name: Option<String>,
    /// Arguments instead of the service's.
    pub command: Option<Vec<String>>,
    /// Program instead of the service's; the service's command is then dropped.
    pub entrypoint: Option<Vec<String>>,
    /// Further variables.
    pub environment: BTreeMap<String, Option<String>>,
    /// Remove containers of services that are not in the stack.
    pub remove_orphans: bool,
    /// Further labels.
    pub labels: BTreeMap<String, String>,
    /// Further mounts by target.
    pub mounts: BTreeMap<String, MountSpec>,
    /// User instead of the service's.
    pub user: Option<String>,
    /// Directory instead of the service's.
    pub working_dir: Option<String>,
    /// Also capabilities.
    pub cap_add: Vec<String>,
    /// Not these capabilities.
    pub cap_drop: Vec<String>,
    /// Publish the service's ports.
    pub service_ports: bool,
    /// Further published ports.
    pub ports: Vec<PortSpec>,
    /// Answer to the service's names, too.
    pub use_aliases: bool,
    /// Give it a terminal.
    pub tty: bool,
    /// Keep its standard input open.
    pub stdin_open: bool,
    /// Do not start what the service depends on.
    pub no_deps: bool,
}

/// Name of the container `run` makes.
pub fn name(project: &str, options: &RunOptions) -> String {
    options
        .name
        .clone()
        .unwrap_or_else(|| format!("{project}-{}-run-{}", options.service, options.slug))
}

/// What starts one container of a service, after what it depends on.
///
/// # Errors
/// Everything that forbids it, at once.
pub fn run(
    desired: &Desired,
    observed: &Observed,
    options: &RunOptions,
    places: &Places,
) -> Result<Plan, PlanProblems> {
    let (service, wanted) = chosen(desired, options)?;
    let scope = dependencies(desired, options);
    let (spec, no_effect) = spec(desired, (service, wanted), options);
    let one_off = OneOff {
        name: name(&desired.project, options),
        service,
        spec,
        depends_on: &wanted.depends_on,
    };
    let up = UpOptions { remove_orphans: options.remove_orphans, ..UpOptions::default() };
    let mut plan = make(&Survey::new(desired, observed, &up, places, scope, Some(one_off)))?;
    plan.notes.extend(no_effect.into_iter().map(|inert| format!("{service}: {}", inert.why)));
    Ok(plan)
}

/// The services that [`run`] makes containers of: the one that is asked for, and unless it is to
/// run alone those it depends on.
///
/// # Errors
/// The stack does not have it.
pub fn covered<'a>(
    desired: &'a Desired,
    options: &RunOptions,
) -> Result<BTreeSet<&'a str>, PlanProblems> {
    let (service, _) = chosen(desired, options)?;
    let mut covered = dependencies(desired, options);
    covered.insert(service);
    Ok(covered)
}

/// The description of the container that [`run`] makes.
///
/// # Errors
/// The stack does not have the service.
pub fn description(desired: &Desired, options: &RunOptions) -> Result<ContainerSpec, PlanProblems> {
    let (service, wanted) = chosen(desired, options)?;
    Ok(spec(desired, (service, wanted), options).0)
}

fn chosen<'a>(
    desired: &'a Desired,
    options: &RunOptions,
) -> Result<(&'a str, &'a ServiceSpec), PlanProblems> {
    let found = desired.services.get_key_value(&options.service);
    found.map(|(name, wanted)| (name.as_str(), wanted)).ok_or_else(|| {
        let service = options.service.clone();
        PlanProblems(vec![PlanProblem::UnknownService { service }])
    })
}

/// What the service depends on, unless it is to run alone.
fn dependencies<'a>(desired: &'a Desired, options: &RunOptions) -> BTreeSet<&'a str> {
    if options.no_deps {
        return BTreeSet::new();
    }
    let order = order(desired);
    order.closure(order.needs(&options.service))
}

/// The service's description with what was asked for, and what of that has no effect.
fn spec(
    desired: &Desired,
    (service, wanted): (&str, &ServiceSpec),
    options: &RunOptions,
) -> (ContainerSpec, Vec<Inert>) {
    let mut spec = wanted.container.clone();
    spec.restart = RestartPolicy::No;
    spec.restart_pace = RestartPace::default();
    // They are for the service's own program, and nobody waits for this one.
    (spec.post_start, spec.pre_stop, spec.pre_start) = (Vec::new(), Vec::new(), Vec::new());
    (spec.ready, spec.restart_unhealthy) = (None, false);
    spec.on_change = OnChange::default();
    if let Some(entrypoint) = &options.entrypoint {
        spec.entrypoint = Some(entrypoint.clone());
        spec.command = None;
    }
    if let Some(command) = &options.command {
        spec.command = Some(command.clone());
    }
    spec.environment.extend(options.environment.clone());
    spec.labels.extend(options.labels.clone());
    spec.mounts.extend(options.mounts.clone());
    spec.user = options.user.clone().or(spec.user);
    spec.working_dir = options.working_dir.clone().or(spec.working_dir);
    spec.cap_add.extend(options.cap_add.iter().cloned());
    spec.cap_drop.extend(options.cap_drop.iter().cloned());
    if !options.service_ports {
        spec.ports.clear();
    }
    let (ports, no_effect) = published(options.ports.clone(), &spec.networks, &desired.networks);
    spec.ports.extend(ports);
    (spec.tty, spec.stdin_open) = (options.tty, options.stdin_open);
    for endpoint in spec.networks.values_mut() {
        // A fixed address is the service's own container's.
        endpoint.without_fixed_addresses();
        match options.use_aliases {
            true => endpoint.aliases.push(service.to_string()),
            false => endpoint.aliases.clear(),
        }
    }
    (spec, no_effect)
}
