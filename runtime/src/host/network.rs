//! Networks of the host: bridge, rules and record; and how one container is connected to them.

mod connect;
mod make;
pub(crate) mod mend;
mod remove;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::IpAddr;
use std::time::Duration;

use super::beside::{self, Besides};
use super::observe::{half_made, names_in};
use super::{HostError, StepError, perform, state};
use crate::paths::Roots;
use crate::record;
use berth_network::error::NetError;
use berth_network::firewall::Base;
use berth_network::links::{self, Link};
use berth_network::{bridge, firewall, group};
use berth_planner::ipam::bridge_name;
use berth_planner::observed::{Leftover, NetworkRecord, ObservedContainer, ObservedNetwork};

pub(super) use connect::{connection, names_of};
pub(super) use make::{create, repair};
pub(super) use remove::{remove, remove_half_made, remove_stray_bridge, remove_stray_rules};

/// How often rules are looked at again that somebody changes meanwhile.
const ATTEMPTS: usize = 8;

/// Every link, and the networks that have a record.
type Links = (Vec<Link>, Vec<NetworkRecord>);

/// Reads them: links first.
pub(super) fn links(roots: &Roots) -> Result<Links, HostError> {
    let links = links::links().map_err(failed)?;
    Ok((links, records(roots).map_err(|e| HostError::Network(e.to_string()))?))
}

/// Reads the rules.
pub(super) fn rules() -> Result<firewall::Observed, HostError> {
    firewall::observe().map_err(failed)
}

fn failed(error: NetError) -> HostError {
    HostError::Network(error.to_string())
}

/// What the kernel has of ours, without that of another state on this host.
pub(super) struct Kernel {
    /// Every link, ours or not.
    pub(super) links: Vec<Link>,
    bridges: Vec<bridge::Bridge>,
    besides: Besides,
    rules: firewall::Observed,
    /// Ports that another state on this host has published.
    pub(super) foreign: Vec<firewall::Published>,
}

impl Kernel {
    /// What is there now.
    fn read(roots: &Roots) -> Result<Kernel, HostError> {
        Ok(Kernel::of(roots, links(roots)?, rules()?))
    }

    /// Of what was read there.
    pub(super) fn of(roots: &Roots, (links, stored): Links, rules: firewall::Observed) -> Kernel {
        let mut bridges = bridge::among(&links);
        // Of one that was cut off before it had a mark nobody knows whose it is.
        bridges.retain(|bridge| {
            bridge.network.is_empty()
                || is_of(roots, &bridge.network, &bridge.name, bridge.realm.as_ref())
        });
        let besides = Besides::among(&links, roots, &stored);
        let (rules, foreign) = own(roots, rules);
        Kernel { links, bridges, besides, rules, foreign }
    }
}

/// What is in the table without the ports of another state on this host, their shares and holds; and
/// those ports.
fn own(
    roots: &Roots,
    mut rules: firewall::Observed,
) -> (firewall::Observed, Vec<firewall::Published>) {
    let (networks, foreign) = foreign(roots, &rules);
    let is_theirs = |share: &firewall::Share| leads_into(&networks, share.target.ip());
    rules.routes.weighted.retain(|port| !port.shares.iter().any(is_theirs));
    rules.routes.held.retain(|held| {
        let at = |port: &firewall::Published| (port.owner.clone(), port.host, port.port);
        !foreign.iter().any(|port| at(port) == (held.owner.clone(), held.host, held.port))
    });
    rules.published.retain(|port| !foreign.contains(port));
    (rules, foreign)
}

/// Networks and ports in the table that another state on this host has put there.
fn foreign(
    roots: &Roots,
    rules: &firewall::Observed,
) -> (Vec<firewall::Network>, Vec<firewall::Published>) {
    let mut networks = rules.networks.clone();
    networks.retain(|n| !is_of(roots, &n.name, &n.bridge, n.realm.as_ref()));
    let mut published = rules.published.clone();
    published.retain(|port| leads_into(&networks, port.target.ip()));
    (networks, published)
}

fn leads_into(networks: &[firewall::Network], target: IpAddr) -> bool {
    networks.iter().flat_map(|network| &network.subnets).any(|subnet| subnet.contains(&target))
}

/// Whether a network is of this state: its bridge has the name this state gives it, or its realm is
/// noted beside it.
fn is_of(roots: &Roots, network: &str, bridge: &str, realm: Option<&String>) -> bool {
    match realm {
        Some(realm) => *realm == roots.realm(),
        None => bridge == bridge_name(&roots.realm(), network),
    }
}

/// Networks with a record, and what has our mark and no record.
pub(super) fn observe(
    roots: &Roots,
    kernel: &Kernel,
    containers: &BTreeMap<String, ObservedContainer>,
    leftovers: &mut BTreeSet<Leftover>,
) -> Result<BTreeMap<String, ObservedNetwork>, HostError> {
    let Kernel { bridges, besides, rules, .. } = kernel;
    let (mut networks, mut making) = (BTreeMap::new(), false);
    for name in names_in(&roots.state.join("networks"))? {
        let path = roots.network(&name);
        let stored = read(roots, &name).map_err(|e| HostError::io("read network", &path, e))?;
        let Some(record) = stored else {
            // While another run makes a network, its bridge has no record yet. The lock of all of
            // them does not tell: whoever looks after them holds it too.
            making |= state::busy(&path) == Some(true);
            half_made(roots, format!("networks/{name}"), leftovers);
            continue;
        };
        let (bridge_up, rules_present) = match beside::parent(&record) {
            // All that such a network has besides are its names, which end with a boot.
            Some(parent) => (besides.has(parent), roots.names(&name).is_dir()),
            None => (bridges.iter().any(|b| b.is_as(&record)), are_present(kernel, &record)),
        };
        networks.insert(name, ObservedNetwork { record, bridge_up, rules_present });
    }
    for bridge in bridges.iter().filter(|_| !making) {
        if !networks.values().any(|n| n.record.bridge == bridge.name) {
            leftovers.insert(Leftover::Bridge(bridge.name.clone()));
        }
    }
    let needed: BTreeSet<String> =
        networks.values().filter_map(|n| beside::parent(&n.record)).map(str::to_owned).collect();
    if !making {
        leftovers.extend(besides.stray(&needed).map(|link| Leftover::Bridge(link.to_owned())));
    }
    for owner in owners(rules) {
        let runs = |container: &ObservedContainer| container.monitored || is_running(container);
        if !containers.get(owner).is_some_and(runs) {
            leftovers.insert(Leftover::PortRules(owner.to_owned()));
        }
    }
    Ok(networks)
}

/// Whether the rules of a network are there, and its bridge is in the group by which they know it.
/// A newer version may have other groups.
fn are_present(kernel: &Kernel, record: &NetworkRecord) -> bool {
    let bridge = kernel.bridges.iter().find(|bridge| bridge.name == record.bridge);
    let grouped = bridge.is_none_or(|bridge| bridge.group == group::of(record.spec.internal));
    kernel.rules.covers(record) && (grouped || kernel.rules.base == Base::Newer)
}

/// Who has ports, or a share of one. That clients wait at one ends by itself.
fn owners(rules: &firewall::Observed) -> BTreeSet<&str> {
    let shares = rules.routes.weighted.iter().flat_map(|port| &port.shares);
    let published = rules.published.iter().map(|port| port.owner.as_str());
    published.chain(shares.map(|share| share.owner.as_str())).collect()
}

fn is_running(container: &ObservedContainer) -> bool {
    matches!(container.state, berth_planner::observed::ContainerState::Running { .. })
}

pub(super) fn read(roots: &Roots, name: &str) -> std::io::Result<Option<NetworkRecord>> {
    record::read(&roots.network(name).join("record.json"))
}

/// How long others who make or remove networks are waited for.
const OTHERS: Duration = Duration::from_secs(60);

/// Runs that make or remove networks at once do it one after the other.
async fn lock(roots: &Roots) -> Result<File, StepError> {
    let path = roots.state.join("networks");
    perform::blocking(move || {
        let refused = |e: std::io::Error| StepError::refused("lock", &path, e);
        let folder = File::open(&path).map_err(refused)?;
        state::lock_within(folder, OTHERS).map_err(refused)
    })
    .await
}

/// Every network that is whole.
fn records(roots: &Roots) -> Result<Vec<NetworkRecord>, StepError> {
    let failed = |e: HostError| StepError::failed("list", "the networks", e);
    let names = names_in(&roots.state.join("networks")).map_err(failed)?;
    Ok(names.iter().filter_map(|name| read(roots, name).ok()?).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_state_has_in_the_table_is_told_from_ours() {
        let roots = Roots::below(std::path::Path::new("/a"));
        let network = |realm: &str, subnet: &str| firewall::Network {
            name: "shop_back".to_owned(),
            bridge: bridge_name(realm, "shop_back"),
            subnets: vec![subnet.parse().unwrap()],
            ..firewall::Network::default()
        };
        let port = |target: &str| firewall::Published {
            owner: "shop-web-1".to_owned(),
            host: None,
            port: 80,
            protocol: berth_schema::stack::Protocol::Tcp,
            target: target.parse().unwrap(),
        };
        let theirs = network("", "10.2.0.0/24");
        let rules = firewall::Observed {
            networks: vec![network(&roots.realm(), "10.1.0.0/24"), theirs.clone()],
            published: vec![port("10.1.0.2:80"), port("10.2.0.2:80")],
            ..firewall::Observed::default()
        };
        assert_eq!(foreign(&roots, &rules), (vec![theirs], vec![port("10.2.0.2:80")]));
        assert_eq!(own(&roots, rules).0.published, [port("10.1.0.2:80")]);
    }

    #[test]
    fn shares_and_holds_of_another_states_container_of_the_same_name_are_not_ours() {
        let roots = Roots::below(std::path::Path::new("/a"));
        let owner = || "shop-web-1".to_owned();
        let theirs = firewall::Network {
            name: "shop_back".to_owned(),
            bridge: bridge_name("", "shop_back"),
            subnets: vec!["10.2.0.0/24".parse().unwrap()],
            ..firewall::Network::default()
        };
        let protocol = berth_schema::stack::Protocol::Tcp;
        let port = |number, target: &str| {
            let (host, target) = (None, target.parse().unwrap());
            firewall::Published { owner: owner(), host, port: number, protocol, target }
        };
        let weighted = |number, target: &str| {
            let share =
                firewall::Share { owner: owner(), target: target.parse().unwrap(), percent: 100 };
            firewall::Weighted { host: None, port: number, protocol, shares: vec![share] }
        };
        let left = std::time::Duration::from_secs(3);
        let held = |number| firewall::Held { owner: owner(), host: None, port: number, left };
        let both = firewall::Observed {
            networks: vec![theirs],
            published: vec![port(80, "10.1.0.2:80"), port(81, "10.2.0.2:80")],
            routes: firewall::Routes {
                weighted: vec![weighted(80, "10.1.0.2:80"), weighted(81, "10.2.0.2:80")],
                held: vec![held(80), held(81)],
            },
            ..firewall::Observed::default()
        };

        let ours = own(&roots, both).0;

        assert_eq!(ours.routes.weighted, [weighted(80, "10.1.0.2:80")]);
        assert_eq!(ours.routes.held, [held(80)]);
    }
}
