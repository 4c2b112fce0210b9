//! A network comes to be, and what is missing of it comes back.

use berth_network::error::NetError;
use berth_network::firewall::Base;
use berth_network::{bridge, firewall, links, wall};
use berth_planner::observed::{NetworkRecord, Subnet};

use super::mend::{bridged, restore_rules};
use super::{ATTEMPTS, lock, read, records};
use crate::host::claims::private_folders;
use crate::host::{StepError, beside, names, perform};
use crate::paths::Roots;
use crate::record::{self, Durability};
use crate::sabotage::{defence, without};

/// Makes folder, bridge, rules and, last, the record.
pub(in crate::host) async fn create(
    roots: &Roots,
    network: &NetworkRecord,
) -> Result<(), StepError> {
    let dir = roots.network(&network.name);
    let _lock = lock(roots).await?;
    refuse_overlap(roots, network)?;
    let _working = perform::folder::new_folder("create network", &dir, &network.name)?;
    make_names(roots, &network.name)?;
    match network.spec.beside {
        Some(_) => beside::create(roots, network).await?,
        None => create_bridge(network).await?,
    }
    record::write(&dir.join("record.json"), network, Durability::Durable)
        .map_err(|e| StepError::refused("create network", &network.name, e))
}

async fn create_bridge(network: &NetworkRecord) -> Result<(), StepError> {
    let failed = |e| StepError::failed("create network", &network.name, e);
    let netlink = bridge::open().map_err(failed)?;
    bridge::create(&netlink, network).await.map_err(failed)?;
    build_wall(network).map_err(failed)?;
    add_rules(network).map_err(failed)?;
    without!("network.own_table", crate::sabotage::naive::accept_in_theirs());
    Ok(())
}

/// Adds the network to the table, and the table before it. Another state on this host may take the
/// table away in between, with its own last network.
fn add_rules(network: &NetworkRecord) -> Result<(), NetError> {
    for _ in 1..ATTEMPTS {
        firewall::create()?;
        match firewall::add_network(&network.into()) {
            Err(e) if e.is_missing() => {}
            added => return added,
        }
    }
    firewall::add_network(&network.into())
}

/// Gives whether it was not there.
pub(super) fn build_wall(network: &NetworkRecord) -> Result<bool, NetError> {
    defence!("network.second_wall", wall::build(&network.bridge), Ok(false))
}

fn make_names(roots: &Roots, network: &str) -> Result<(), StepError> {
    let names = roots.names(network);
    private_folders(&names).map_err(|e| StepError::refused("make folder", &names, e))
}

/// A network that another stack made since the plan was may have taken the subnet, or the link.
fn refuse_overlap(roots: &Roots, network: &NetworkRecord) -> Result<(), StepError> {
    // What a link of the host leads to is nobody's.
    let shared = |record: &NetworkRecord| record.spec.parent().is_some();
    for other in records(roots)? {
        if other.project != network.project && network.spec.excludes(&other.spec) {
            let why = format!("network `{}` has come to the same link", other.name);
            return Err(StepError::Stale(why));
        }
        if shared(&other) || shared(network) {
            continue;
        }
        let clash = other.subnets.iter().find(|theirs| {
            let overlap =
                |ours: &&Subnet| theirs.net.contains(&ours.net) || ours.net.contains(&theirs.net);
            network.subnets.iter().find(overlap).is_some()
        });
        if let Some(clash) = clash {
            let why = format!("network `{}` has taken {}", other.name, clash.net);
            return Err(StepError::Stale(why));
        }
    }
    Ok(())
}

/// Puts back what is missing of bridge and rules. Rules that others flushed come back whole, for
/// every network and every container that runs.
pub(in crate::host) async fn repair(
    roots: &Roots,
    network: &NetworkRecord,
) -> Result<(), StepError> {
    let failed = |e| StepError::failed("repair network", &network.name, e);
    let _lock = lock(roots).await?;
    make_names(roots, &network.name)?;
    names::reserve_all(roots, &network.name)?;
    write_if_changed(roots, network)
        .map_err(|e| StepError::refused("repair network", &network.name, e))?;
    if network.spec.beside.is_some() {
        return beside::repair(roots, network).await;
    }
    let netlink = bridge::open().map_err(failed)?;
    let bridges = bridge::among(&links::links().map_err(failed)?);
    let same_name = bridges.iter().find(|bridge| bridge.name == network.bridge);
    if same_name.is_some_and(|bridge| !bridge.is_as(network)) {
        bridge::remove(&netlink, &network.bridge).await.map_err(failed)?;
    }
    if !same_name.is_some_and(|bridge| bridge.is_as(network)) {
        bridge::create(&netlink, network).await.map_err(failed)?;
    }
    build_wall(network).map_err(failed)?;
    restore_rules(roots, &bridged(roots)?)?;
    let rules = firewall::observe().map_err(failed)?;
    if rules.base == Base::Newer && !rules.covers(network) {
        let why = "the packet rules are of a newer version of berth, which has to repair them";
        return Err(StepError::failed("repair network", &network.name, why));
    }
    Ok(())
}

/// Labels may have changed, which nothing but the record has.
fn write_if_changed(roots: &Roots, network: &NetworkRecord) -> std::io::Result<()> {
    if read(roots, &network.name)?.as_ref() == Some(network) {
        return Ok(());
    }
    let path = roots.network(&network.name).join("record.json");
    record::write(&path, network, Durability::Durable)
}
