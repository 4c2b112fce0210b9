//! Networks beside a link of the host, macvlan and ipvlan: what there is of them, made and removed.
//!
//! They have no bridge and no rules: what passes them never passes this host.

use std::collections::BTreeSet;

use berth_network::error::NetError;
use berth_network::links::{self, Link};
use berth_network::{beside, bridge};
use berth_planner::ipam::bridge_name;
use berth_planner::observed::NetworkRecord;

use super::StepError;
use crate::paths::Roots;

/// The link that containers of this network stand beside, when they do.
pub(super) fn parent(record: &NetworkRecord) -> Option<&str> {
    let beside = record.spec.beside.as_ref()?;
    Some(beside.parent.as_deref().unwrap_or(&record.bridge))
}

/// The links of these networks, and those of ours that none of them stands beside.
pub(super) struct Besides {
    links: beside::Links,
}

impl Besides {
    /// Looks among all links of the host.
    pub(super) fn among(seen: &[Link], roots: &Roots, records: &[NetworkRecord]) -> Self {
        let asked: BTreeSet<String> =
            records.iter().filter_map(parent).map(str::to_owned).collect();
        let mut links = beside::among(seen, &asked);
        // Of one that was cut off before it had a mark nobody knows whose it is.
        let realm = roots.realm();
        links.ours.retain(|(name, id)| id.is_empty() || *id == bridge_name(&realm, name));
        Besides { links }
    }

    fn read(roots: &Roots, records: &[NetworkRecord]) -> Result<Self, NetError> {
        Ok(Besides::among(&links::links()?, roots, records))
    }

    /// Whether the link of this network is there.
    pub(super) fn has(&self, parent: &str) -> bool {
        self.links.there.contains(parent)
    }

    /// Links of ours that nobody needs.
    pub(super) fn stray<'a>(
        &'a self,
        needed: &'a BTreeSet<String>,
    ) -> impl Iterator<Item = &'a str> + 'a {
        let names = self.links.ours.iter().map(|(name, _)| name.as_str());
        names.filter(|name| !needed.contains(*name))
    }

    fn is_ours(&self, name: &str) -> bool {
        self.links.ours.iter().any(|(ours, _)| ours == name)
    }
}

/// Makes what is missing of the link of a network; nothing for a network with a bridge.
pub(super) async fn create(roots: &Roots, network: &NetworkRecord) -> Result<(), StepError> {
    let (Some(beside), Some(parent)) = (&network.spec.beside, parent(network)) else {
        return Ok(());
    };
    let failed = |e| StepError::failed("create network", &network.name, e);
    let netlink = bridge::open().map_err(failed)?;
    let id = bridge_name(&roots.realm(), parent);
    beside::create(&netlink, beside, &network.bridge, &id).await.map_err(failed)
}

/// Makes the link anew if it is gone.
pub(super) async fn repair(roots: &Roots, network: &NetworkRecord) -> Result<(), StepError> {
    let failed = |e| StepError::failed("repair network", &network.name, e);
    let there = Besides::read(roots, std::slice::from_ref(network)).map_err(failed)?;
    match parent(network) {
        Some(parent) if !there.has(parent) => create(roots, network).await,
        Some(_) | None => Ok(()),
    }
}

/// Takes the link of a network away if it is ours, and no other of `networks` stands beside it.
pub(super) async fn remove(
    roots: &Roots,
    network: &NetworkRecord,
    networks: &[NetworkRecord],
) -> Result<(), StepError> {
    let Some(link) = parent(network) else { return Ok(()) };
    let others = networks.iter().filter(|other| other.name != network.name);
    if others.filter_map(parent).any(|theirs| theirs == link) {
        return Ok(());
    }
    let failed = |e| StepError::failed("remove network", &network.name, e);
    let there = Besides::read(roots, &[]).map_err(failed)?;
    if !there.is_ours(link) {
        return Ok(());
    }
    let netlink = bridge::open().map_err(failed)?;
    match bridge::remove(&netlink, link).await {
        Err(e) if e.is_missing() => Ok(()),
        removed => removed.map_err(failed),
    }
}
