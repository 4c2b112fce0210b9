//! A network goes, and so does what no network explains.

use std::collections::BTreeSet;
use std::fs;

use berth_network::error::NetError;
use berth_network::firewall::Base;
use berth_network::{bridge, firewall};

use super::{ATTEMPTS, Kernel, lock, own, read, records};
use crate::host::{StepError, beside, perform};
use crate::paths::Roots;

/// Takes rules, bridge and record away; the table too when it was the last network.
pub(in crate::host) async fn remove(roots: &Roots, name: &str) -> Result<(), StepError> {
    let failed = |e| StepError::failed("remove network", name, e);
    let _lock = lock(roots).await?;
    let stored = read(roots, name).map_err(|e| StepError::refused("read network", name, e))?;
    let Some(network) = stored else {
        return Err(StepError::Stale(format!("network `{name}` is already gone")));
    };
    if let Some(user) = user_of(roots, name) {
        return Err(StepError::Stale(format!("container `{user}` has joined network `{name}`")));
    }
    match network.spec.beside {
        Some(_) => beside::remove(roots, &network, &records(roots)?).await?,
        None => remove_bridge(&network.bridge).await.map_err(failed)?,
    }
    forget_names(roots, name);
    perform::folder::discard(roots, &roots.network(name), "remove network", name)
}

/// A container whose addresses on a network are claimed.
fn user_of(roots: &Roots, network: &str) -> Option<String> {
    let claims = fs::read_dir(roots.network(network).join("addresses")).into_iter().flatten();
    let owners = claims.flatten().filter_map(|claim| fs::read_link(claim.path()).ok());
    let mut names = owners.map(|owner| owner.to_string_lossy().into_owned());
    names.find(|name| roots.container(name).exists())
}

async fn remove_bridge(name: &str) -> Result<(), NetError> {
    remove_rules(name)?;
    let netlink = bridge::open()?;
    match bridge::remove(&netlink, name).await {
        // It may be lost already; the record still has to go.
        Err(e) if e.is_missing() => Ok(()),
        removed => removed,
    }
}

/// Removes the folder of a network that was cut off before it had a record.
pub(in crate::host) async fn remove_half_made(roots: &Roots, name: &str) -> Result<(), StepError> {
    let _lock = lock(roots).await?;
    perform::folder::remove_folder(&roots.network(name))?;
    forget_names(roots, name);
    Ok(())
}

/// Removes the folder of names, with whatever names are still in it.
fn forget_names(roots: &Roots, network: &str) {
    // What stays is empty, or replaced by the next network of that name.
    let _ = fs::remove_dir_all(roots.names(network));
}

/// Removes what the table has for a bridge, and the table with the last network. Another state on
/// this host may add one of its own, or remove it, at any time: then it is looked at again.
fn remove_rules(bridge: &str) -> Result<(), NetError> {
    for _ in 0..ATTEMPTS {
        let generation = firewall::generation()?;
        let rules = firewall::observe()?;
        let (ours, others): (Vec<_>, Vec<_>) =
            rules.networks.iter().partition(|network| network.bridge == bridge);
        let is_last = others.is_empty() && rules.published.is_empty();
        match rules.base {
            Base::Absent => return Ok(()),
            // Of what a newer version has there may be more.
            Base::Current | Base::Different if is_last => {
                if firewall::remove_after(generation)? {
                    return Ok(());
                }
            }
            _ if ours.is_empty() => return Ok(()),
            _ => ours.into_iter().try_for_each(firewall::remove_network)?,
        }
    }
    let busy = std::io::Error::from_raw_os_error(libc::EBUSY);
    let (step, object) = ("remove", "packet rules".to_owned());
    Err(NetError::Refused { step, object, source: busy, detail: None })
}

/// Removes a bridge with our mark that no record explains, and its rules.
pub(in crate::host) async fn remove_stray_bridge(
    roots: &Roots,
    name: &str,
) -> Result<(), StepError> {
    let failed = |e| StepError::failed("remove bridge", name, e);
    let _lock = lock(roots).await?;
    let stored = records(roots)?;
    if stored.iter().any(|n| beside::parent(n).unwrap_or(&n.bridge) == name) {
        return Err(StepError::Stale(format!("bridge `{name}` has become a network's")));
    }
    let kernel = Kernel::read(roots).map_err(|e| StepError::failed("look at", name, e))?;
    let none = BTreeSet::new();
    let stray = kernel.besides.stray(&none).any(|link| link == name);
    if !stray && !kernel.bridges.iter().any(|bridge| bridge.name == name) {
        return Err(StepError::Stale(format!("bridge `{name}` is gone, or another state's")));
    }
    remove_rules(name).map_err(failed)?;
    let netlink = bridge::open().map_err(failed)?;
    bridge::remove(&netlink, name).await.map_err(failed)
}

/// Removes the port rules of a container that does not run.
pub(in crate::host) fn remove_stray_rules(roots: &Roots, container: &str) -> Result<(), StepError> {
    let failed = |e| StepError::failed("remove port rules of", container, e);
    // A container of another state may have the same name, and run.
    let (mut rules, _) = own(roots, firewall::observe().map_err(failed)?);
    let has_share = |port: &firewall::Weighted| port.shares.iter().any(|s| s.owner == container);
    rules.routes.weighted.retain(has_share);
    firewall::weigh(&rules.routes.weighted, &[]).map_err(failed)?;
    rules.published.retain(|port| port.owner == container);
    firewall::unpublish(&rules.published).map_err(failed)
}
