//! Addresses of links that nobody chooses: each is for one container of a network.

use std::collections::{BTreeMap, BTreeSet};

use super::Survey;
use super::containers::{Change, Fate};
use super::records::{made, updated};
use super::resources::NetworkFate;
use crate::desired::EndpointSpec;
use crate::problem::{PlanProblem, PlanProblems};

/// Notes MAC addresses, and addresses of the link only, that two containers of a network would
/// have: the bridge then sends what is for one to the other.
pub(super) fn check(
    survey: &Survey,
    networks: &BTreeMap<&str, NetworkFate>,
    changes: &[Change],
    problems: &mut PlanProblems,
) {
    let fates: BTreeMap<&str, Fate> =
        changes.iter().map(|change| (change.name.as_str(), change.verdict.fate)).collect();
    let as_they_are: BTreeSet<&str> =
        updated(changes).map(|(change, ..)| change.name.as_str()).collect();
    for network in networks.keys() {
        let mut taken: BTreeMap<String, &str> = BTreeMap::new();
        for have in survey.on_network.get(network).into_iter().flatten() {
            let name = have.record.name.as_str();
            let goes = as_they_are.contains(name)
                || matches!(fates.get(name), Some(Fate::Replace | Fate::Remove));
            if let Some(endpoint) = have.record.spec.networks.get(*network).filter(|_| !goes) {
                taken.extend(addresses(endpoint).map(|address| (address, name)));
            }
        }
        // Who is there comes before who is new.
        let changed = updated(changes).map(|(change, want, _)| (change, want));
        for (change, spec) in changed.chain(made(changes)) {
            for address in spec.networks.get(*network).into_iter().flat_map(addresses) {
                if let Some(other) = taken.insert(address.clone(), &change.name) {
                    problems.add(PlanProblem::Address {
                        network: (*network).to_owned(),
                        container: change.name.clone(),
                        address,
                        reason: format!("taken by `{other}`"),
                    });
                }
            }
        }
    }
}

fn addresses(endpoint: &EndpointSpec) -> impl Iterator<Item = String> {
    let mac = endpoint.mac_address.iter().map(|mac| mac.to_ascii_lowercase().replace('-', ":"));
    mac.chain(endpoint.link_local_ips.iter().map(ToString::to_string))
}
