//! Who runs without its link to a network.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsFd;

use berth_network::endpoint::is_near_end;
use berth_network::links::{self, Link};
use berth_planner::desired::NetworkMode;
use berth_planner::observed::{ContainerState, ObservedContainer, ObservedNetwork};

use super::HostError;
use crate::host::beside;

/// Notes those. Into a container is looked only where a bridge has fewer links than containers.
///
/// # Errors
/// The kernel does not tell its links.
pub(super) fn compare(
    seen: &[Link],
    networks: &BTreeMap<String, ObservedNetwork>,
    containers: &mut BTreeMap<String, ObservedContainer>,
) -> Result<(), HostError> {
    let mut lost = Vec::new();
    let mut now = None;
    for (network, observed) in networks {
        let record = &observed.record;
        let bridge = seen.iter().find(|link| link.name == record.bridge);
        let Some(bridge) = bridge.filter(|_| beside::parent(record).is_none()) else { continue };
        let joined = || containers.values().filter(|one| is_on(one, network));
        if plugs(seen, bridge).count() >= joined().count() {
            continue;
        }
        // Some may have come since they were listed.
        let now = match &now {
            Some(now) => now,
            None => now.insert(links::links().map_err(|e| HostError::Network(e.to_string()))?),
        };
        // Of one that is just being changed nobody knows.
        for container in joined().filter(|one| !one.updating) {
            if let ContainerState::Running { pid, .. } = container.state
                && is_unplugged(pid, now, bridge)
            {
                lost.push((container.record.name.clone(), network.clone()));
            }
        }
    }
    for (name, network) in lost {
        if let Some(container) = containers.get_mut(&name) {
            container.unplugged.get_or_insert(network);
        }
    }
    Ok(())
}

/// Whether a container runs and is to have a link to the network.
fn is_on(container: &ObservedContainer, network: &str) -> bool {
    let spec = &container.record.spec;
    let runs = matches!(container.state, ContainerState::Running { .. });
    runs && spec.network_mode == NetworkMode::Bridge && spec.networks.contains_key(network)
}

/// The host's ends of links into a bridge.
fn plugs<'a>(links: &'a [Link], bridge: &Link) -> impl Iterator<Item = &'a Link> {
    let index = bridge.index;
    links
        .iter()
        .filter(move |link| link.master == Some(index) && link.up && is_near_end(&link.name))
}

/// Whether no link of this process's network ends at the bridge. Of one that is gone nobody knows.
fn is_unplugged(pid: i32, links: &[Link], bridge: &Link) -> bool {
    let Ok(netns) = File::open(format!("/proc/{pid}/ns/net")) else { return false };
    let own = std::thread::scope(|scope| scope.spawn(|| links::links_in(netns.as_fd())).join());
    let Ok(Ok(own)) = own else { return false };
    let leads = |link: &Link| plugs(links, bridge).any(|plug| link.peer == Some(plug.index));
    !own.iter().any(leads)
}
