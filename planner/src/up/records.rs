//! The records of containers to be made: their images, addresses and ranges of ids.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use berth_schema::stack::PullPolicy;

use crate::desired::{ContainerSpec, EndpointSpec};
use crate::ipam::{AddressBook, IdRanges, Request};
use crate::observed::{Addresses, Borrowed, ContainerRecord, ObservedContainer};
use crate::policy;
use crate::problem::{PlanProblem, PlanProblems};
use crate::pull;

use super::containers::{Change, Fate, Part};
use super::resources::{self, NetworkFate};
use super::{Survey, hardware, inits};

/// Records by container name.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Of every container the plan makes.
    pub(super) made: BTreeMap<String, ContainerRecord>,
    /// Of those it changes as they are.
    pub(super) updated: BTreeMap<String, ContainerRecord>,
}

/// The records of all containers the plan makes or changes.
pub(super) fn make(
    survey: &Survey,
    networks: &BTreeMap<&str, NetworkFate>,
    changes: &[Change],
    problems: &mut PlanProblems,
) -> Records {
    let mut addresses = addresses(survey, networks, changes, problems);
    hardware::check(survey, networks, changes, problems);
    let mut bases = id_bases(survey, changes, problems);
    let mut projects = layer_projects(survey, changes, problems);
    let mut records = Records::default();
    for (change, want, have) in updated(changes) {
        let given = addresses.remove(change.name.as_str()).unwrap_or_default();
        let record = changed_record(survey, change, (want, have), given);
        records.updated.insert(change.name.clone(), record);
    }
    for (change, spec) in made(changes) {
        check_image(survey, change, spec, problems);
        let image = survey.observed.images.get(&survey.image(change.service, spec));
        let record = ContainerRecord {
            name: change.name.clone(),
            project: survey.desired.project.clone(),
            service: change.service.to_string(),
            number: change.number,
            succession: succession(change),
            oneoff: change.oneoff,
            init: change.init.as_ref().map(|init| init.step),
            prepared: inits::is_prepared_then(change, spec),
            spec: spec.clone(),
            image_id: image.map(|image| image.id.clone()).unwrap_or_default(),
            borrowed: borrowed(survey, spec),
            locked: survey.locked_image(change.service, spec).map(str::to_owned),
            addresses: addresses.remove(change.name.as_str()).unwrap_or_default(),
            id_base: bases.remove(change.name.as_str()),
            layer_project: projects.remove(change.name.as_str()),
            depends_on: change.depends_on.clone(),
            working_dir: survey.desired.working_dir.display().to_string(),
            config_files: survey.desired.files.iter().map(|f| f.display().to_string()).collect(),
            grants: survey.grants(change.service),
            judged: judged(survey, spec),
        };
        records.made.insert(change.name.clone(), record);
    }
    records
}

/// Images it mounts that are here: when it is made they have to be the same.
fn borrowed(survey: &Survey, spec: &ContainerSpec) -> Borrowed {
    let here = |reference: &str| survey.observed.images.get(reference);
    let images = spec.other_images();
    let images = images
        .filter_map(|reference| Some((reference.to_owned(), here(reference)?.id.clone())))
        .collect();
    Borrowed { images, ..Borrowed::default() }
}

/// How many containers have handed over to one that is made.
fn succession(change: &Change) -> u32 {
    match (change.part, change.have) {
        (Part::Heir(old) | Part::Successor(old), _) => old.record.succession.saturating_add(1),
        (Part::Alone | Part::Old | Part::Kept | Part::Untried(_), have) => {
            have.map_or(0, |have| have.record.succession)
        }
    }
}

/// The record of a container that is changed as it is; `given` has the addresses that are new.
fn changed_record(
    survey: &Survey,
    change: &Change,
    (want, have): (&ContainerSpec, &ObservedContainer),
    given: BTreeMap<String, Addresses>,
) -> ContainerRecord {
    let mut addresses = have.record.addresses.clone();
    addresses.retain(|network, _| want.networks.contains_key(network));
    addresses.extend(given);
    if survey.options.no_recreate {
        return ContainerRecord { addresses, ..have.record.clone() };
    }
    let (spec, depends_on) = (want.clone(), change.depends_on.clone());
    let grants = survey.grants(change.service);
    ContainerRecord { spec, depends_on, grants, addresses, ..have.record.clone() }
}

/// What the host paths of a container led to when the policy judged them.
fn judged(survey: &Survey, spec: &ContainerSpec) -> BTreeMap<PathBuf, PathBuf> {
    let known = &survey.desired.judged.paths;
    let paths = policy::given(survey.desired, survey.observed, spec).into_iter();
    paths.filter_map(|path| known.get(&path).cloned().map(|real| (path, real))).collect()
}

/// Containers the plan makes, with their descriptions.
pub(super) fn made<'a>(
    changes: &'a [Change],
) -> impl Iterator<Item = (&'a Change<'a>, &'a ContainerSpec)> {
    let made = |change: &&Change| matches!(change.verdict.fate, Fate::Create | Fate::Replace);
    changes.iter().filter(made).filter_map(|change| Some((change, change.want?)))
}

/// Containers the plan changes as they are, with what they shall be.
pub(super) fn updated<'a>(
    changes: &'a [Change],
) -> impl Iterator<Item = (&'a Change<'a>, &'a ContainerSpec, &'a ObservedContainer)> {
    let updated = changes.iter().filter(|change| change.verdict.is_update());
    updated.filter_map(|change| Some((change, change.want?, change.have?)))
}

/// Whether a container that stays on a network keeps the addresses it has there. One that was named
/// and is not any more is given to whoever names it now.
fn keeps(have: &ObservedContainer, network: &str, then: &EndpointSpec) -> bool {
    let Some(has) = have.record.addresses.get(network) else { return false };
    let Some(was) = have.record.spec.networks.get(network) else { return false };
    let v4 = then.ipv4_address.map_or(was.ipv4_address.is_none(), |to| has.ipv4 == Some(to));
    let v6 = then.ipv6_address.map_or(was.ipv6_address.is_none(), |to| has.ipv6 == Some(to));
    v4 && v6
}

fn check_image(
    survey: &Survey,
    change: &Change,
    spec: &ContainerSpec,
    problems: &mut PlanProblems,
) {
    let policy = survey.desired.services.get(change.service).map(|service| service.pull_policy);
    let image = survey.image(change.service, spec);
    let here = survey.observed.images.contains_key(&image) || pull::is_host(&spec.image);
    if !here && policy == Some(PullPolicy::Never) {
        let service = change.service.to_string();
        problems.add(PlanProblem::ImageMissing { service, image });
    }
    for image in spec.other_images().filter(|_| policy == Some(PullPolicy::Never)) {
        if !pull::is_host(image) && !survey.observed.images.contains_key(image) {
            let (service, image) = (change.service.to_owned(), image.to_owned());
            problems.add(PlanProblem::ImageMissing { service, image });
        }
    }
}

/// One that cannot be replaced by one beside it, because a network has no address for that.
pub(super) fn crowded<'a>(
    survey: &Survey,
    networks: &BTreeMap<&str, NetworkFate>,
    changes: &'a [Change<'a>],
) -> Option<&'a str> {
    let heirs = || {
        changes.iter().filter_map(|change| match change.part {
            Part::Heir(old) | Part::Successor(old) => {
                Some((change.want?, old.record.name.as_str()))
            }
            Part::Alone | Part::Old | Part::Kept | Part::Untried(_) => None,
        })
    };
    heirs().next()?;
    let mut problems = PlanProblems::default();
    addresses(survey, networks, changes, &mut problems);
    problems.0.iter().find_map(|problem| match problem {
        PlanProblem::AddressesExhausted { network, .. } => {
            let mut on = heirs().filter(|(want, _)| want.networks.contains_key(network));
            on.next_back().map(|(_, old)| old)
        }
        _ => None,
    })
}

/// Addresses by container and network.
fn addresses<'a>(
    survey: &Survey,
    networks: &BTreeMap<&str, NetworkFate>,
    changes: &'a [Change],
    problems: &mut PlanProblems,
) -> BTreeMap<&'a str, BTreeMap<String, Addresses>> {
    // The address of one that serves while others are made is not free for them.
    let leaves = changes.iter().filter(|change| !matches!(change.part, Part::Old | Part::Kept));
    let leaves = leaves.filter(|c| matches!(c.verdict.fate, Fate::Replace | Fate::Remove));
    let leaves: BTreeSet<&str> = leaves.map(|change| change.name.as_str()).collect();
    let mut requests: BTreeMap<&str, Vec<Request>> = BTreeMap::new();
    for (change, spec) in made(changes) {
        for (network, endpoint) in &spec.networks {
            let before = change.have.and_then(|have| have.record.addresses.get(network).copied());
            let request = Request { container: &change.name, endpoint, before };
            requests.entry(network).or_default().push(request);
        }
    }
    let mut leaving = BTreeSet::new();
    let keeps = |have: &ObservedContainer, network: &str, then: &EndpointSpec| {
        let has = have.record.addresses.get(network);
        let fate = networks.get(network);
        let fits = fate.is_none_or(|fate| has.is_none_or(|has| resources::has(&fate.record, has)));
        fits && keeps(have, network, then)
    };
    for (change, want, have) in updated(changes) {
        for network in have.record.addresses.keys() {
            if !want.networks.get(network).is_some_and(|then| keeps(have, network, then)) {
                leaving.insert((change.name.as_str(), network.as_str()));
            }
        }
        for (network, endpoint) in &want.networks {
            let before = have.record.addresses.get(network).copied();
            if !keeps(have, network, endpoint) {
                let request = Request { container: &change.name, endpoint, before };
                requests.entry(network).or_default().push(request);
            }
        }
    }
    let mut given: BTreeMap<&str, BTreeMap<String, Addresses>> = BTreeMap::new();
    for (network, fate) in networks {
        let mut book = AddressBook::new(&fate.record);
        for have in survey.on_network.get(network).into_iter().flatten() {
            let name = have.record.name.as_str();
            match have.record.addresses.get(*network) {
                Some(has) if leaves.contains(name) => book.leave(has, name),
                Some(has) if leaving.contains(&(name, *network)) => book.leave(has, name),
                Some(has) => book.occupy(has, name),
                None => {}
            }
        }
        for (container, result) in book.give(requests.get(network).map_or(&[], Vec::as_slice)) {
            match result {
                Ok(addresses) => {
                    let of_container = given.entry(container).or_default();
                    of_container.insert(network.to_string(), addresses);
                }
                Err(problem) => problems.add(problem),
            }
        }
    }
    given
}

/// First ids of user namespaces by container. One that is made anew keeps its range.
fn id_bases<'a>(
    survey: &Survey,
    changes: &'a [Change],
    problems: &mut PlanProblems,
) -> BTreeMap<&'a str, u32> {
    let taken: BTreeSet<u32> =
        survey.observed.containers.values().filter_map(|have| have.record.id_base).collect();
    let mut ranges = IdRanges::of_users(taken);
    let mut bases = BTreeMap::new();
    let separate = made(changes).filter(|(_, spec)| spec.userns);
    let names: BTreeSet<&str> = made(changes).map(|(change, _)| change.name.as_str()).collect();
    // Who shares with who is not known cannot start, and is not made with the ids of the host.
    let nowhere =
        |kin: &&str| !survey.observed.containers.contains_key(*kin) && !names.contains(kin);
    let (own, mut sharing): (Vec<_>, Vec<_>) =
        separate.partition(|(_, spec)| spec.kin().is_empty() || spec.kin().iter().any(nowhere));
    for (change, _) in own {
        // What it shared with others stays theirs.
        let before = change.have.map(|have| &have.record).filter(|have| have.spec.kin().is_empty());
        let before = before.and_then(|have| have.id_base);
        match before.or_else(|| ranges.take()) {
            Some(base) => drop(bases.insert(change.name.as_str(), base)),
            None => problems.add(PlanProblem::IdsExhausted { container: change.name.clone() }),
        }
    }
    // A container is known before those that share its ids; who shares with itself is refused.
    while !sharing.is_empty() {
        let names: BTreeSet<&str> =
            sharing.iter().map(|(change, _)| change.name.as_str()).collect();
        let waits = |(_, spec): &(&Change, &ContainerSpec)| !spec.kin().is_disjoint(&names);
        let (later, now): (Vec<_>, Vec<_>) = sharing.into_iter().partition(waits);
        if now.is_empty() {
            break;
        }
        for (change, spec) in now {
            let base = kin_base(survey, (change, spec), &bases, problems);
            bases.extend(base.map(|base| (change.name.as_str(), base)));
        }
        sharing = later;
    }
    bases
}

/// Quota projects by container, for those whose writable layer has a limit. One that is made anew
/// gets another, as files of the one before may still count to the old.
fn layer_projects<'a>(
    survey: &Survey,
    changes: &'a [Change],
    problems: &mut PlanProblems,
) -> BTreeMap<&'a str, u32> {
    let mut limited = made(changes).filter(|(_, spec)| spec.storage_size.is_some()).peekable();
    if limited.peek().is_none() {
        return BTreeMap::new();
    }
    let known = survey.observed.containers.values().filter_map(|have| have.record.layer_project);
    let counted = survey.observed.host.storage.iter().flat_map(|storage| &storage.projects);
    let mut free = IdRanges::of_projects(known.chain(counted.copied()).collect());
    let mut projects = BTreeMap::new();
    for (change, _) in limited {
        match free.take() {
            Some(project) => drop(projects.insert(change.name.as_str(), project)),
            None => problems.add(PlanProblem::ProjectsExhausted { container: change.name.clone() }),
        }
    }
    projects
}

/// First id of the containers whose user namespace a description shares.
fn kin_base(
    survey: &Survey,
    (change, spec): (&Change, &ContainerSpec),
    given: &BTreeMap<&str, u32>,
    problems: &mut PlanProblems,
) -> Option<u32> {
    let recorded = |name: &str| survey.observed.containers.get(name)?.record.id_base;
    let base = |name: &&str| given.get(*name).copied().or_else(|| recorded(name));
    let kin: Vec<&str> = spec.kin().into_iter().collect();
    match kin.as_slice() {
        [first, second] if base(first) != base(second) => {
            problems.add(PlanProblem::TwoUserNamespaces {
                container: change.name.clone(),
                first: (*first).to_owned(),
                second: (*second).to_owned(),
            });
            None
        }
        all => all.first().and_then(base),
    }
}
