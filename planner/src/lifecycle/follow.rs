//! Who goes along when others end and begin again.

use std::collections::{BTreeMap, BTreeSet};

use crate::observed::ObservedContainer;
use crate::up::is_active;

/// Containers that run and share namespaces of those that are started, directly or not, each with the
/// one that it shares them with.
pub(super) fn sharers<'a>(
    started: &[&'a ObservedContainer],
    every: &[&'a ObservedContainer],
) -> BTreeMap<&'a str, (&'a ObservedContainer, &'a str)> {
    let mut open: Vec<&str> = started.iter().map(|c| c.record.name.as_str()).collect();
    let mut sharers = BTreeMap::new();
    while let Some(owner) = open.pop() {
        for sharer in every.iter().copied().filter(|c| is_active(c)) {
            let name = sharer.record.name.as_str();
            let shares = sharer.record.spec.parents().contains(owner);
            if shares && sharers.insert(name, (sharer, owner)).is_none() {
                open.push(name);
            }
        }
    }
    sharers
}

/// Services that are restarted along, directly or not, each with the one that is the reason; with
/// `no_deps` only those that share namespaces.
pub(super) fn dragged<'a>(
    named: &[&'a ObservedContainer],
    every: &[&'a ObservedContainer],
    no_deps: bool,
) -> BTreeMap<&'a str, &'a str> {
    let mut follows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let services: BTreeMap<&str, &str> =
        every.iter().map(|c| (c.record.name.as_str(), c.record.service.as_str())).collect();
    // One that has ended does not begin, so nothing follows it.
    for container in every.iter().filter(|container| is_active(container)) {
        let record = &container.record;
        let restarting = record.depends_on.iter().filter(|(_, on)| on.restart && !no_deps);
        let on = restarting.map(|(on, _)| on.as_str());
        let parents = record.spec.parents().into_iter();
        let shared = parents.filter_map(|parent| services.get(parent).copied());
        for on in on.chain(shared) {
            follows.entry(on).or_default().insert(&record.service);
        }
    }
    let mut open: Vec<&str> = named.iter().map(|c| c.record.service.as_str()).collect();
    let roots: BTreeSet<&str> = open.iter().copied().collect();
    let mut dragged = BTreeMap::new();
    while let Some(on) = open.pop() {
        for service in follows.get(on).into_iter().flatten() {
            if !roots.contains(service) && dragged.insert(*service, on).is_none() {
                open.push(service);
            }
        }
    }
    dragged
}
