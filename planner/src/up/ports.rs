//! Published ports: who has them, who wants them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use berth_schema::stack::Protocol;

use crate::desired::PortSpec;
use crate::observed::ObservedContainer;
use crate::problem::{PlanProblem, PlanProblems};

use super::containers::{Change, Fate};
use super::{Survey, is_active};

/// A port that is one port, not the first free of a range.
pub(super) fn fixed(port: &PortSpec) -> Option<(Protocol, u16)> {
    let (first, last) = port.published?;
    (first == last && first != 0).then_some((port.protocol, first))
}

/// Ports a container really has, or has asked for.
pub(super) fn held(have: &ObservedContainer) -> &[PortSpec] {
    if have.published.is_empty() { &have.record.spec.ports } else { &have.published }
}

/// Whether two containers cannot have these at once.
fn clash(a: Option<IpAddr>, b: Option<IpAddr>) -> bool {
    let any = |ip: Option<IpAddr>| ip.is_none_or(|ip| ip.is_unspecified());
    any(a) || any(b) || a == b
}

/// A host address and the container that has a port on it.
type Owner<'a> = (Option<IpAddr>, &'a str);

/// Finds ports that two containers would have in the end.
pub(super) fn check(survey: &Survey, changes: &[Change], problems: &mut PlanProblems) {
    let starting: Vec<&Change> = changes.iter().filter(|change| change.verdict.starts).collect();
    if starting.iter().all(|change| change.want.is_none_or(|want| want.ports.is_empty())) {
        return;
    }
    let ending: BTreeSet<&str> = changes
        .iter()
        .filter(|change| {
            matches!(change.verdict.fate, Fate::Replace | Fate::Restart | Fate::Remove)
        })
        .map(|change| change.name.as_str())
        .collect();
    let mut claims: BTreeMap<(Protocol, u16), Vec<Owner>> = BTreeMap::new();
    for (name, have) in &survey.observed.containers {
        if is_active(have) && !ending.contains(name.as_str()) {
            for port in held(have) {
                if let Some(key) = fixed(port) {
                    claims.entry(key).or_default().push((port.host_ip, name));
                }
            }
        }
    }
    for change in starting {
        for port in change.want.iter().flat_map(|want| &want.ports) {
            let Some(key) = fixed(port) else { continue };
            let owners = claims.entry(key).or_default();
            if let Some((_, other)) = owners.iter().find(|(ip, _)| clash(*ip, port.host_ip)) {
                problems.add(PlanProblem::PortTaken {
                    port: format!("{}/{}", key.1, crate::text::protocol(key.0)),
                    container: change.name.clone(),
                    other: other.to_string(),
                });
            }
            owners.push((port.host_ip, &change.name));
        }
    }
}
