//! Links of the host that networks stand beside.

use std::collections::{BTreeMap, BTreeSet};

use super::containers::{Change, Fate, Part};
use super::resources::NetworkFate;
use super::{Survey, is_active};
use crate::desired::NetworkSpec;
use crate::problem::{PlanProblem, PlanProblems};

/// Notes links that are to be there and are not, and those that two networks, or two containers,
/// cannot have both.
pub(super) fn check(
    survey: &Survey,
    networks: &BTreeMap<&str, NetworkFate>,
    changes: &[Change],
    problems: &mut PlanProblems,
) {
    let mut there = as_they_stay(survey, networks, changes);
    for (name, fate) in networks {
        let spec = &fate.record.spec;
        let needed =
            fate.makes() || (fate.reconnects() && starters(changes, name).next().is_some());
        let made = || {
            let mut others = networks.values();
            others.any(|other| makes(other, spec) && missing(survey, &other.record.spec).is_none())
        };
        if let Some(link) = missing(survey, spec).filter(|_| needed && !made()) {
            let (network, link) = ((*name).to_owned(), link.to_owned());
            problems.add(PlanProblem::NoLink { network, link });
        }
        if fate.makes() {
            problems.0.extend(excluded(name, spec, &there));
            there.push((name, spec));
        }
        if spec.is_for_one() {
            alone(survey, name, changes, problems);
        }
    }
}

/// The networks that stay as they are. One that nobody describes and everybody leaves does not count.
fn as_they_stay<'a>(
    survey: &'a Survey,
    networks: &BTreeMap<&str, NetworkFate>,
    changes: &[Change],
) -> Vec<(&'a str, &'a NetworkSpec)> {
    // One that hands over is there until the other one is good.
    let leaves = |change: &Change, network: &str| match change.verdict.fate {
        Fate::Remove => matches!(change.part, Part::Alone),
        Fate::Replace => change.becomes().is_some_and(|s| !s.networks.contains_key(network)),
        _ => false,
    };
    let stays = |name: &str, project: &str| {
        if networks.get(name).is_some_and(NetworkFate::makes) {
            return false;
        }
        let known = survey.desired.networks.contains_key(name);
        let mut on = survey.on_network.get(name).into_iter().flatten();
        known
            || project != survey.desired.project
            || on.any(|have| {
                let own = changes.iter().find(|change| change.name == have.record.name);
                own.is_none_or(|change| !leaves(change, name))
            })
    };
    let have = survey.observed.networks.iter();
    let have = have.filter(|(name, have)| stays(name, &have.record.project));
    have.map(|(name, have)| (name.as_str(), &have.record.spec)).collect()
}

/// The first network that this one cannot stand beside a link with.
fn excluded(name: &str, spec: &NetworkSpec, there: &[(&str, &NetworkSpec)]) -> Option<PlanProblem> {
    let (other, theirs) = there.iter().find(|(_, theirs)| spec.excludes(theirs))?;
    let (way, theirs) = (spec.beside.as_ref()?.way, theirs.beside.as_ref()?.way);
    Some(PlanProblem::LinkShared {
        network: name.to_owned(),
        link: spec.parent()?.to_owned(),
        way,
        other: (*other).to_owned(),
        theirs,
    })
}

/// Whether a network of the plan makes the link that another stands beside, a bridge, or what its
/// VLAN is on.
pub(super) fn makes(fate: &NetworkFate, spec: &NetworkSpec) -> bool {
    let Some(beside) = &spec.beside else { return false };
    let base = beside.vlan().map(|(base, _)| base);
    let made = match &fate.record.spec.beside {
        None => [beside.parent.as_deref(), base].contains(&Some(&fate.record.bridge)),
        Some(theirs) => theirs.vlan().is_some() && theirs.parent.as_deref() == base,
    };
    made && fate.reconnects()
}

/// The link that is to be there and is not. A VLAN is made where its link is.
fn missing<'a>(survey: &Survey, spec: &'a NetworkSpec) -> Option<&'a str> {
    let (beside, link) = (spec.beside.as_ref()?, spec.parent()?);
    let there = |link: &str| survey.observed.host.links.contains(link);
    let base = beside.vlan().map_or(link, |(base, _)| base);
    // Every host has its loopback: where there is no link at all, nobody looked.
    let looked = !survey.observed.host.links.is_empty();
    (looked && !there(link) && !there(base)).then_some(base)
}

/// Notes those that would start where another one has the link alone.
fn alone(survey: &Survey, network: &str, changes: &[Change], problems: &mut PlanProblems) {
    let starting: Vec<&str> = starters(changes, network).collect();
    let ends = |change: &&Change| {
        matches!(change.verdict.fate, Fate::Replace | Fate::Restart | Fate::Remove)
            || change.verdict.is_update()
    };
    let ending: BTreeSet<&str> = changes.iter().filter(ends).map(|c| c.name.as_str()).collect();
    let have = survey.on_network.get(network).into_iter().flatten();
    // What prepares a container ends before that starts.
    let have = have.filter(|have| is_active(have) && have.record.init.is_none());
    let have = have.map(|have| have.record.name.as_str());
    let have = have.filter(|name| !ending.contains(name) && !starting.contains(name));
    let mut on = have.chain(starting.iter().copied());
    let Some(other) = on.next() else { return };
    for container in on {
        problems.add(PlanProblem::LinkAlone {
            network: network.to_owned(),
            container: container.to_owned(),
            other: other.to_owned(),
        });
    }
}

/// Containers that will run on a network, and did not, or not as they will.
fn starters<'a>(changes: &'a [Change], network: &str) -> impl Iterator<Item = &'a str> {
    let runs = |change: &&Change| {
        let as_it_is = change.verdict.is_update() && change.have.is_some_and(is_active);
        change.init.is_none() && (change.verdict.starts || as_it_is)
    };
    let on = move |change: &&Change| {
        change.becomes().is_some_and(|spec| spec.networks.contains_key(network))
    };
    changes.iter().filter(runs).filter(on).map(|change| change.name.as_str())
}
