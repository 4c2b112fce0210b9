//! What the rules of others do to connections that containers open: with each other, and outward.

use berth_network::foreign::{self, Answer, Obstacle};
use berth_network::links::{self, Link, Route};
use berth_planner::observed::NetworkRecord;
use berth_runtime::paths::Roots;
use ipnet::IpNet;

use super::advice;
use super::judge::{Finding, warn};
use super::network::{is_bridged, records, setting};
use crate::reach::Grounds;

/// Whether the kernel shows packets inside a network to the rules for what is forwarded.
pub(super) fn bridged() -> (bool, bool) {
    let on = |key| setting(key) == Some(true);
    (on("bridge/bridge-nf-call-iptables"), on("bridge/bridge-nf-call-ip6tables"))
}

/// What stops containers of a project's networks on this host, for who just started them. It says
/// nothing where the rules cannot be read.
pub(crate) fn hindrances(roots: &Roots, project: &str) -> Vec<Finding> {
    let mut networks = records(roots);
    networks.retain(|network| network.project == project);
    let Ok(grounds) = Grounds::gather() else { return Vec::new() };
    networks.retain(|network| is_bridged(network, &grounds.links));
    judge(&grounds, &links::routes().unwrap_or_default(), &networks, bridged())
}

/// Networks whose containers do not reach each other, or nobody outside, each with the rule.
pub(super) fn judge(
    grounds: &Grounds,
    routes: &[Route],
    networks: &[NetworkRecord],
    bridged: (bool, bool),
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for network in networks {
        let Some(bridge) = grounds.links.iter().find(|link| link.name == network.bridge) else {
            continue;
        };
        let subnets: Vec<IpNet> = network.subnets.iter().map(|subnet| subnet.net).collect();
        let found = |what: &str, by: &Obstacle, next: String| {
            let text = format!("containers of {} do not reach {what}: {by}", network.name);
            warn("network", text, next)
        };
        let inside = subnets.iter().find_map(|subnet| {
            let seen = if subnet.addr().is_ipv4() { bridged.0 } else { bridged.1 };
            let asked = seen && network.spec.bridge.icc;
            asked.then(|| stopped(foreign::within(&grounds.foreign, bridge, *subnet)))?
        });
        if let Some(by) = &inside {
            let next = advice::inside(&grounds.foreign, by, &network.bridge);
            findings.push(found("each other", by, next));
        }
        let ways = |subnet: &IpNet| uplink(grounds, routes, *subnet).map(|link| (*subnet, link));
        let outside = subnets.iter().filter(|_| !network.spec.internal).filter_map(ways);
        let out = outside.into_iter().find_map(|(subnet, link)| {
            stopped(foreign::outward(&grounds.foreign, bridge, subnet, link))
        });
        if let Some(by) = &out {
            let next = advice::outward(&grounds.foreign, by, &network.bridge);
            findings.push(found("anybody outside", by, next));
        }
    }
    findings
}

/// The link by which the host gets anywhere.
fn uplink<'a>(grounds: &'a Grounds, routes: &[Route], subnet: IpNet) -> Option<&'a Link> {
    let leads = |route: &&Route| {
        route.net.prefix_len() <= 1 && route.net.addr().is_ipv4() == subnet.addr().is_ipv4()
    };
    let out = routes.iter().find(leads)?.out;
    grounds.links.iter().find(|link| link.index == out)
}

/// What certainly stops it: of what hangs on the packet, its owner knows.
fn stopped(answer: Answer) -> Option<Obstacle> {
    match answer {
        Answer::Blocked(by) => Some(by),
        Answer::Passes | Answer::Partly(_) | Answer::Unclear(_) => None,
    }
}
