//! Links of the host that networks stand beside.

use std::collections::{BTreeMap, BTreeSet};

use berth_schema::stack::{Beside, Way};

use super::containers::{Change, Fate};
use super::records::{made, updated};
use super::resources::NetworkFate;
use super::{Survey, is_active};
use crate::problem::{PlanProblem, PlanProblems};

/// Notes links that the host does not have, and those that two networks would stand beside in ways
/// that exclude each other.
pub(super) fn check(
    survey: &Survey,
    networks: &BTreeMap<&str, NetworkFate>,
    problems: &mut PlanProblems,
) {
    let mut there = as_they_stay(survey, networks);
    for (name, fate) in networks.iter().filter(|(_, fate)| fate.reconnects()) {
        let Some((beside, link)) = parent(fate.record.spec.beside.as_ref()) else { continue };
        if let Some(link) = missing(survey, beside, link) {
            let (network, link) = ((*name).to_owned(), link.to_owned());
            problems.add(PlanProblem::NoLink { network, link });
            continue;
        }
        if !fate.makes() {
            continue;
        }
        let others = there.entry(link).or_default();
        if let Some((other, theirs)) = others.iter().find(|(_, way)| beside.way.excludes(*way)) {
            problems.add(PlanProblem::LinkShared {
                network: (*name).to_owned(),
                link: link.to_owned(),
                way: beside.way.to_string(),
                other: (*other).to_owned(),
                theirs: theirs.to_string(),
            });
        }
        others.push((name, beside.way));
    }
}

/// The networks that stay beside each link, and how they stand there.
fn as_they_stay<'a>(
    survey: &'a Survey,
    networks: &BTreeMap<&str, NetworkFate>,
) -> BTreeMap<&'a str, Vec<(&'a str, Way)>> {
    let mut there: BTreeMap<&str, Vec<(&str, Way)>> = BTreeMap::new();
    for (name, have) in &survey.observed.networks {
        let stays = networks.get(name.as_str()).is_none_or(|fate| !fate.makes());
        if let Some((beside, link)) = parent(have.record.spec.beside.as_ref()).filter(|_| stays) {
            there.entry(link).or_default().push((name, beside.way));
        }
    }
    there
}

fn parent(beside: Option<&Beside>) -> Option<(&Beside, &str)> {
    beside.and_then(|beside| Some((beside, beside.parent.as_deref()?)))
}

/// The link that is to be there and is not. A VLAN is made where its link is.
fn missing<'a>(survey: &Survey, beside: &'a Beside, link: &'a str) -> Option<&'a str> {
    let there = |link: &str| survey.observed.host.links.contains(link);
    let base = beside.vlan().map_or(link, |(base, _)| base);
    // Every host has its loopback: where there is no link at all, nobody looked.
    let looked = !survey.observed.host.links.is_empty();
    (looked && !there(link) && !there(base)).then_some(base)
}

/// Notes containers that would start where another one has the link alone.
pub(super) fn check_alone(
    survey: &Survey,
    networks: &BTreeMap<&str, NetworkFate>,
    changes: &[Change],
    problems: &mut PlanProblems,
) {
    let alone = |fate: &NetworkFate| {
        fate.record.spec.beside.as_ref().is_some_and(|beside| beside.way.is_for_one())
    };
    for (network, _) in networks.iter().filter(|(_, fate)| alone(fate)) {
        let mut on = staying(survey, network, changes);
        // What prepares a container ends before that starts.
        let whole = changes.iter().filter(|change| change.init.is_none());
        let later = made(changes).chain(updated(changes).map(|(change, want, _)| (change, want)));
        let later = later.filter(|(_, spec)| spec.networks.contains_key(*network));
        let later: BTreeSet<&str> = later.map(|(change, _)| change.name.as_str()).collect();
        on.extend(whole.map(|change| change.name.as_str()).filter(|name| later.contains(name)));
        let mut on = on.into_iter();
        let Some(other) = on.next() else { continue };
        for container in on {
            problems.add(PlanProblem::LinkAlone {
                network: (*network).to_owned(),
                container: container.to_owned(),
                other: other.to_owned(),
            });
        }
    }
}

/// Those on a network that run, or will, as they are.
fn staying<'a>(survey: &'a Survey, network: &str, changes: &'a [Change]) -> Vec<&'a str> {
    let fates: BTreeMap<&str, Fate> =
        changes.iter().map(|change| (change.name.as_str(), change.verdict.fate)).collect();
    let updated: BTreeSet<&str> =
        updated(changes).map(|(change, ..)| change.name.as_str()).collect();
    let on = survey.on_network.get(network).into_iter().flatten();
    let on = on.filter(|have| match fates.get(have.record.name.as_str()) {
        Some(Fate::Replace | Fate::Remove) => false,
        Some(Fate::Start | Fate::Restart) => true,
        _ => is_active(have),
    });
    on.map(|have| have.record.name.as_str()).filter(|name| !updated.contains(name)).collect()
}
