//! Containers that would be without the one whose namespaces or volumes they have.

use std::collections::{BTreeMap, BTreeSet};

use super::containers::{Change, Fate};
use super::resources::NetworkFate;
use super::{Survey, is_active};
use crate::cause::Cause;
use crate::desired::{ContainerSpec, IpcSpace, NetworkMode, PidSpace, ServiceSpec};
use crate::problem::{PlanProblem, PlanProblems};

/// Refuses to take a container away from under those that would run or be made without it, and to
/// make or start one that is to have what nobody has and nobody makes.
pub(super) fn check(
    survey: &Survey,
    networks: &BTreeMap<&str, NetworkFate>,
    changes: &[Change],
    problems: &mut PlanProblems,
) {
    let going = changes.iter().filter(|change| change.verdict.fate == Fate::Remove);
    let going: BTreeMap<&str, &Change> =
        going.map(|change| (change.name.as_str(), change)).collect();
    let known: BTreeSet<&str> = changes.iter().map(|change| change.name.as_str()).collect();
    for change in changes {
        let Some(spec) = change.becomes() else { continue };
        let is_made = change.verdict.fate.makes();
        let runs = change.verdict.starts
            || change.verdict.fate != Fate::Restart && change.have.is_some_and(is_active);
        for owner in owners(spec, runs || is_made, is_made) {
            if let Some(gone) = going.get(owner) {
                let service = Some(change.service);
                problems.add(problem(survey, (&change.name, service, spec), gone));
            }
        }
        missing(survey, (change, spec), &known, problems);
        if change.verdict.starts && !is_made && survey.scope.contains(change.service) {
            unlinked(survey, (&change.name, spec), networks, problems);
        }
    }
    circles(survey, changes, problems);
    if going.is_empty() {
        return;
    }
    let others = survey.own.values().flatten().map(|have| (&have.record, is_active(have)));
    for (record, _) in others.filter(|(record, runs)| *runs && !known.contains(&*record.name)) {
        for gone in record.spec.parents().into_iter().filter_map(|owner| going.get(owner)) {
            problems.add(problem(survey, (&record.name, None, &record.spec), gone));
        }
    }
}

/// The containers that one needs to run, and those it needs to be made.
fn owners(spec: &ContainerSpec, runs: bool, is_made: bool) -> BTreeSet<&str> {
    let shared = spec.parents().into_iter().filter(|_| runs);
    let lenders = spec.volumes_from.iter().map(|from| from.container.as_str());
    shared.chain(lenders.filter(|_| is_made)).collect()
}

/// Owners of which nothing is there and nothing is made. What is made anew has to find what it is
/// made with, also where it only follows others; not for the sake of one that is to go back.
fn missing(
    survey: &Survey,
    (change, spec): (&Change, &ContainerSpec),
    known: &BTreeSet<&str>,
    problems: &mut PlanProblems,
) {
    // A step before the start needs no more than the container it belongs to.
    if change.init.is_some() {
        return;
    }
    let verdict = &change.verdict;
    let in_scope = change.oneoff || survey.scope.contains(change.service);
    let goes_back = || survey.desired.services.values().any(|service| service.goes_back);
    let is_made = verdict.fate.makes() && (in_scope || !goes_back());
    let as_it_is = !verdict.fate.makes() && verdict.starts && in_scope;
    let is_nowhere =
        |owner: &&str| !known.contains(*owner) && !survey.observed.containers.contains_key(*owner);
    let is_made_to_run = is_made && (in_scope || verdict.starts);
    let parents = spec.parents().into_iter().filter(|_| is_made_to_run || as_it_is);
    for parent in parents.filter(is_nowhere) {
        // What it was made with is not always what its file says by now.
        let says = |service: &ServiceSpec| service.container.parents().contains(&parent);
        let wanted = survey.desired.services.get(change.service).is_some_and(says);
        let next = match wanted || !as_it_is {
            true => "bring that one up first",
            false => "leave `--no-recreate` out, so that it is made anew as its service says",
        };
        let (container, parent) = (change.name.clone(), parent.to_owned());
        problems.add(PlanProblem::NoParent { container, parent, next });
    }
    if is_made_to_run
        && let IpcSpace::Container(parent) = &spec.ipc
        && let Some(have) = survey.observed.containers.get(parent)
        && have.record.project != survey.desired.project
        && !have.record.spec.ipc.is_open()
    {
        let (container, parent) = (change.name.clone(), parent.clone());
        problems.add(PlanProblem::NotShareable { container, parent });
    }
    let lenders = spec.volumes_from.iter().filter(|_| is_made);
    for other in lenders.map(|from| from.container.as_str()).filter(is_nowhere) {
        let (container, other) = (change.name.clone(), other.to_owned());
        problems.add(PlanProblem::NoVolumesOf { container, other });
    }
}

/// Refuses to make or start who would share with itself, by way of others.
fn circles(survey: &Survey, changes: &[Change], problems: &mut PlanProblems) {
    let planned: BTreeMap<&str, &ContainerSpec> = changes
        .iter()
        .filter_map(|change| Some((change.name.as_str(), change.becomes()?)))
        .collect();
    // One that is left as it is needs what its record says only if it runs.
    let runs = |name: &str| survey.observed.containers.get(name).filter(|have| is_active(have));
    let in_plan = |name: &str| planned.get(name).copied();
    let at_all = |name: &str| in_plan(name).or_else(|| Some(&runs(name)?.record.spec));
    let begins = |change: &&Change| change.verdict.fate.makes() || change.verdict.starts;
    for change in changes.iter().filter(begins) {
        let name = change.name.as_str();
        if leads_back(name, at_all) {
            let next = match leads_back(name, in_plan) {
                true => "give one of them its own",
                false => "bring those up too, which makes them anew as their files say",
            };
            problems.add(PlanProblem::SharesItself { container: name.to_owned(), next });
        }
    }
}

/// Whether a container shares with itself, given what each is.
fn leads_back<'a>(container: &str, spec_of: impl Fn(&str) -> Option<&'a ContainerSpec>) -> bool {
    let of = |name: &str| spec_of(name).map(ContainerSpec::parents).unwrap_or_default();
    let mut seen = BTreeSet::new();
    let mut next = Vec::from_iter(of(container));
    while let Some(name) = next.pop() {
        if seen.insert(name) {
            next.extend(of(name));
        }
    }
    seen.contains(container)
}

/// Networks that only its record names, and that are not there any more. Of one that the file has
/// and that is not made it was told why.
fn unlinked(
    survey: &Survey,
    (container, spec): (&str, &ContainerSpec),
    networks: &BTreeMap<&str, NetworkFate>,
    problems: &mut PlanProblems,
) {
    for network in spec.networks.keys() {
        let here = survey.observed.networks.contains_key(network);
        let described = survey.desired.networks.contains_key(network);
        if !here && !described && !networks.contains_key(network.as_str()) {
            let (network, container) = (network.clone(), container.to_owned());
            problems.add(PlanProblem::NetworkNotDescribed { network, container });
        }
    }
}

fn problem(
    survey: &Survey,
    (container, service, spec): (&str, Option<&str>, &ContainerSpec),
    gone: &Change,
) -> PlanProblem {
    let owner = gone.name.as_str();
    let (attribute, what) = shared(spec, owner).unwrap_or(VOLUMES);
    // What it was made with is not what the file says of it.
    let says = service.filter(|service| {
        let wanted = survey.desired.services.get(*service);
        wanted.is_some_and(|wanted| shared(&wanted.container, owner) == Some((attribute, what)))
    });
    let place = says.and_then(|service| {
        let path = format!("services.{service}.{attribute}");
        survey.places.find(&path).map(|place| place.to_string())
    });
    PlanProblem::OwnerGoes {
        container: container.to_owned(),
        what,
        owner: owner.to_owned(),
        place,
        next: next(survey, (service, says), gone),
    }
}

/// An attribute, and what it shares.
type Sharing = (&'static str, &'static str);

const VOLUMES: Sharing = ("volumes_from", "volumes");

/// By which attribute it has what of the other one.
fn shared(spec: &ContainerSpec, owner: &str) -> Option<Sharing> {
    match (&spec.network_mode, &spec.pid, &spec.ipc) {
        (NetworkMode::Container(name), ..) if name == owner => Some(("network_mode", "network")),
        (_, PidSpace::Container(name), _) if name == owner => Some(("pid", "processes")),
        (.., IpcSpace::Container(name)) if name == owner => Some(("ipc", "shared memory")),
        _ => spec.volumes_from.iter().any(|from| from.container == owner).then_some(VOLUMES),
    }
}

/// What keeps both, or takes both away, given the service of the one that shares, and whether the
/// file says that it does.
fn next(survey: &Survey, (service, says): (Option<&str>, Option<&str>), gone: &Change) -> String {
    let scaled = gone.verdict.causes.contains(&Cause::Scale);
    let knows = |service: &str| survey.desired.services.contains_key(service);
    let left_out = |service: &&str| {
        let open = says.is_none() && (knows(service) || !scaled);
        open && !survey.scope.contains(*service)
    };
    if let Some(service) = service.filter(left_out) {
        let anew = "which makes it anew as the file has it";
        return match knows(service) {
            true if survey.options.no_recreate => {
                format!("leave `--no-recreate` out and bring `{service}` up too, {anew}")
            }
            true => format!("bring `{service}` up too, {anew}"),
            // Nobody has read what its file says.
            false => format!("bring `{service}` up too, without it if its file still says that"),
        };
    }
    match says {
        Some(service) if scaled => format!(
            "keep a container of `{}`, or scale `{service}` to 0 too (`--scale {service}=0`)",
            gone.service
        ),
        _ if scaled => format!("keep a container of `{}`", gone.service),
        _ if survey.options.no_recreate => "leave `--no-recreate` out, so that it is made anew as \
             its service says"
            .to_owned(),
        _ => "take that out of its service first, or leave `--remove-orphans` out".to_owned(),
    }
}
