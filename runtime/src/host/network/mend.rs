//! Puts back what others took of our networks while containers run: packet rules, addresses,
//! settings of the host.
//!
//! What is missing comes back as the records and the running containers say, and nothing else is
//! touched: a bridge that is gone altogether has taken its containers' links along, so that is for
//! `up`, and the host's own firewall goes before our rules as ever.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use berth_network::firewall::Base;
use berth_network::{bridge, firewall, group, links};
use berth_planner::observed::{ContainerState, NetworkRecord, ObservedContainer};

use super::make::build_wall;
use super::{ATTEMPTS, foreign, is_running, lock, records};
use crate::bundle::Bundle;
use crate::host::StepError;
use crate::host::observe::names_in;
use crate::host::state::{self, Folders};
use crate::monitor::{events, published};
use crate::paths::Roots;
use crate::record;

/// What was put back, by network, in words.
pub(super) type Restored = BTreeMap<String, Vec<String>>;

/// How it was found and left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mended {
    /// Nothing was missing.
    Whole,
    /// What was missing is back.
    Restored,
    /// So it is, but for ports of a container that is just being rewired: look again.
    Unsettled,
}

/// Restores what is missing and writes an event about each network of which something was.
pub(crate) async fn mend(roots: &Roots) -> Result<Mended, StepError> {
    let _lock = lock(roots).await?;
    // Beside a link of the host there is nothing that others could take away.
    let records = bridged(roots)?;
    if records.is_empty() {
        return Ok(Mended::Whole);
    }
    let (mut restored, settled) = restore_rules(roots, &records)?;
    let links = restore_links(&records, &mut restored).await;
    let any = restored.values().any(|parts| !parts.is_empty());
    restored.retain(|_, parts| !parts.is_empty());
    for record in &records {
        if let Some(parts) = restored.remove(&record.name) {
            events::add_network_repair(roots, record, parts);
        }
    }
    links.map(|()| match (settled, any) {
        (false, _) => Mended::Unsettled,
        (true, true) => Mended::Restored,
        (true, false) => Mended::Whole,
    })
}

/// Addresses, settings and links that were switched off.
async fn restore_links(
    records: &[NetworkRecord],
    restored: &mut Restored,
) -> Result<(), StepError> {
    let failed = |e| StepError::failed("look at", "the bridges", e);
    let netlink = bridge::open().map_err(failed)?;
    let bridges = bridge::among(&links::links().map_err(failed)?);
    let mut result = Ok(());
    for record in records {
        let whole = |b: &&bridge::Bridge| b.name == record.bridge && b.mark == bridge::mark(record);
        let Some(found) = bridges.iter().find(whole) else { continue };
        let parts = match bridge::restore(&netlink, record, found).await {
            Ok(mut parts) => build_wall(record).map(|built| {
                parts.extend(built.then(|| "second wall".to_owned()));
                parts
            }),
            Err(e) => Err(e),
        };
        match parts {
            Ok(parts) => restored.entry(record.name.clone()).or_default().extend(parts),
            // The others are restored all the same.
            Err(e) => result = Err(StepError::failed("repair network", &record.name, e)),
        }
    }
    result
}

/// Networks that have a bridge.
pub(super) fn bridged(roots: &Roots) -> Result<Vec<NetworkRecord>, StepError> {
    let mut records = records(roots)?;
    records.retain(|record| record.spec.beside.is_none());
    Ok(records)
}

/// The table with every network and every port that has to be in it. Changes of others, and of
/// containers that start meanwhile, are not lost: then everything is looked at again. One of a newer
/// version of berth is left as it is. Gives as well whether no container was just being rewired.
///
/// Before the table the groups of all bridges, another state's too: older rules knew none.
pub(super) fn restore_rules(
    roots: &Roots,
    records: &[NetworkRecord],
) -> Result<(Restored, bool), StepError> {
    let failed = |e| StepError::failed("repair", "the packet rules", e);
    let mut grouped = Vec::new();
    for _ in 0..ATTEMPTS {
        let generation = firewall::generation().map_err(failed)?;
        let seen = firewall::observe().map_err(failed)?;
        if seen.base == Base::Newer {
            return Ok((Restored::new(), true));
        }
        let containers = containers(roots)?;
        let wanted = Wanted::of(roots, records, &containers, &seen);
        grouped.extend(group::restore(&wanted.networks).map_err(failed)?);
        let mut missing = wanted.missing(records, &seen);
        let is_whole = missing.is_empty();
        for record in records.iter().filter(|record| grouped.contains(&record.bridge)) {
            missing.entry(record.name.clone()).or_default().push("link group".to_owned());
        }
        if is_whole {
            firewall::unpublish(&wanted.stray).map_err(failed)?;
            return Ok((missing, wanted.settled));
        }
        let published: Vec<_> = wanted.published.into_values().collect();
        let (networks, routes) = (&wanted.networks, &seen.routes);
        if firewall::replace_after(generation, networks, &published, routes).map_err(failed)? {
            return Ok((missing, wanted.settled));
        }
    }
    Err(StepError::failed("repair", "the packet rules", "they change all the time"))
}

/// Every container of these roots, by name, with what its monitor has written down of it.
///
/// That is read before the status: who rewires a container says so there, changes the rules, then
/// the status, and then says that it is over. So who reads that nothing is under way either reads
/// the status of afterwards, or the rules change after he has asked for their generation.
fn containers(roots: &Roots) -> Result<Containers, StepError> {
    let failed = |e| StepError::failed("list", "the containers", e);
    let mut containers = BTreeMap::new();
    let names = names_in(&roots.state.join("containers")).map_err(failed)?;
    if names.is_empty() {
        return Ok(containers);
    }
    let folders = Folders::open(roots)
        .map_err(|e| StepError::refused("open", "the folders of the containers", e))?;
    for name in names {
        let refused = |e| StepError::refused("read container", &name, e);
        if let Some(stored) = folders.read(&name).map_err(refused)? {
            let bundle = roots.container_run(&name).join("bundle.json");
            let bundle = record::read(&bundle).ok().flatten();
            let seen = state::observe(&folders, stored).map_err(refused)?;
            containers.insert(name, (seen, bundle));
        }
    }
    Ok(containers)
}

type Containers = BTreeMap<String, (ObservedContainer, Option<Bundle>)>;

/// An address of the host, a port, a transport and a family have one element at most.
type Key = (Option<std::net::IpAddr>, u16, String, bool);

fn key(port: &firewall::Published) -> Key {
    (port.host, port.port, port.to_string(), port.target.is_ipv4())
}

/// What has to be in the table.
struct Wanted {
    networks: Vec<firewall::Network>,
    published: BTreeMap<Key, firewall::Published>,
    /// Those of them that are not in the table.
    lost: Vec<firewall::Published>,
    /// Ports in the table that lead to nobody.
    stray: Vec<firewall::Published>,
    /// No container is just being rewired.
    settled: bool,
}

impl Wanted {
    fn of(
        roots: &Roots,
        records: &[NetworkRecord],
        containers: &Containers,
        seen: &firewall::Observed,
    ) -> Wanted {
        let (mut networks, foreign) = foreign(roots, seen);
        networks.extend(records.iter().map(firewall::Network::from));
        // One that is about to start has published its ports and not said so yet, and a port may
        // have been led from one container to another: what is in the table counts first.
        let alive =
            |owner: &str| containers.get(owner).is_some_and(|(c, _)| c.monitored || is_running(c));
        let there = seen.published.iter().cloned();
        let (there, stray): (Vec<_>, Vec<_>) =
            there.partition(|port| foreign.contains(port) || alive(&port.owner));
        let mut published: BTreeMap<Key, _> =
            there.into_iter().map(|port| (key(&port), port)).collect();
        let (mut lost, mut settled) = (Vec::new(), true);
        for (container, bundle) in containers.values().filter(|(container, _)| has_ports(container))
        {
            let ports = bundle.as_ref().map(|bundle| published_by(bundle, container));
            // What of one that is being rewired is not in the table may be just what has to go.
            settled &= !matches!(ports, Some(None));
            for port in ports.flatten().unwrap_or_default() {
                if let Entry::Vacant(vacant) = published.entry(key(&port)) {
                    lost.push(vacant.insert(port).clone());
                }
            }
        }
        Wanted { networks, published, lost, stray, settled }
    }

    /// What of this is not in the table, by network.
    fn missing(&self, records: &[NetworkRecord], seen: &firewall::Observed) -> Restored {
        let mut missing = Restored::new();
        for record in records.iter().filter(|record| !seen.covers(record)) {
            missing.insert(record.name.clone(), vec!["packet rules".to_owned()]);
        }
        for port in &self.lost {
            let home = |record: &&NetworkRecord| {
                record.subnets.iter().any(|subnet| subnet.net.contains(&port.target.ip()))
            };
            if let Some(record) = records.iter().find(home) {
                let parts = missing.entry(record.name.clone()).or_default();
                parts.push(format!("port {port}"));
            }
        }
        missing
    }
}

/// Whether its ports lead to it: it runs, or will again.
fn has_ports(container: &ObservedContainer) -> bool {
    let waits = matches!(container.state, ContainerState::Restarting { .. });
    is_running(container) || (container.monitored && waits)
}

/// The ports of a running container, as its monitor published them. `None` while the monitor is
/// about to publish others.
fn published_by(
    bundle: &Bundle,
    container: &ObservedContainer,
) -> Option<Vec<firewall::Published>> {
    let settled = bundle.rewiring.is_none() || !container.monitored;
    settled.then(|| published(bundle, &container.published).unwrap_or_default())
}
