//! Networks of the host: bridge, rules and record; and how one container is connected to them.

pub(crate) mod mend;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use berth_network::error::NetError;
use berth_network::{bridge, firewall, wall};
use berth_planner::bridge::GatewayMode;
use berth_planner::desired::{EndpointSpec, NetworkMode};
use berth_planner::ipam::bridge_name;
use berth_planner::links::{self, Joined};
use berth_planner::observed::{
    ContainerRecord, Leftover, NetworkRecord, ObservedContainer, ObservedNetwork, Subnet,
};
use berth_schema::stack::Way;
use ipnet::IpNet;

use super::beside::{self, Besides};
use super::claims::private_folders;
use super::observe::{half_made, names_in};
use super::{HostError, StepError, names, perform, state};
use crate::bundle::{Bundle, Link, Network, Publishing};
use crate::monitor::published;
use crate::paths::Roots;
use crate::record::{self, Durability};
use crate::sabotage::{defence, without};

/// What the kernel has of ours, without that of another state on this host.
pub(super) struct Kernel {
    bridges: Vec<bridge::Bridge>,
    besides: Besides,
    rules: firewall::Observed,
    /// Ports that another state on this host has published.
    pub(super) foreign: Vec<firewall::Published>,
}

impl Kernel {
    pub(super) async fn read(roots: &Roots) -> Result<Kernel, HostError> {
        let failed = |e: NetError| HostError::Network(e.to_string());
        let netlink = bridge::open().map_err(failed)?;
        let mut bridges = bridge::observe(&netlink).await.map_err(failed)?;
        // Of one that was cut off before it had a mark nobody knows whose it is.
        bridges.retain(|bridge| {
            bridge.network.is_empty()
                || is_of(roots, &bridge.network, &bridge.name, bridge.realm.as_ref())
        });
        let stored = records(roots).map_err(|e| HostError::Network(e.to_string()))?;
        let besides = Besides::read(roots, &stored).await.map_err(failed)?;
        let mut rules = firewall::observe().map_err(failed)?;
        let (_, foreign) = foreign(roots, &rules);
        rules.published.retain(|port| !foreign.contains(port));
        Ok(Kernel { bridges, besides, rules, foreign })
    }
}

/// Networks and ports in the table that another state on this host has put there.
fn foreign(
    roots: &Roots,
    rules: &firewall::Observed,
) -> (Vec<firewall::Network>, Vec<firewall::Published>) {
    let mut networks = rules.networks.clone();
    networks.retain(|n| !is_of(roots, &n.name, &n.bridge, n.realm.as_ref()));
    let mut published = rules.published.clone();
    published.retain(|port| {
        let leads_to = |subnet: &IpNet| subnet.contains(&port.target.ip());
        networks.iter().flat_map(|network| &network.subnets).any(leads_to)
    });
    (networks, published)
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
    let mut networks = BTreeMap::new();
    for name in names_in(&roots.state.join("networks"))? {
        let path = roots.network(&name);
        let stored = read(roots, &name).map_err(|e| HostError::io("read network", path, e))?;
        let Some(record) = stored else {
            half_made(roots, format!("networks/{name}"), leftovers);
            continue;
        };
        let (bridge_up, rules_present) = match beside::parent(&record) {
            Some(parent) => (besides.has(parent), true),
            None => (bridges.iter().any(|b| b.is_as(&record)), rules.covers(&record)),
        };
        networks.insert(name, ObservedNetwork { record, bridge_up, rules_present });
    }
    // While another run makes a network, its bridge has no record yet.
    let making = state::busy(&roots.state.join("networks")) == Some(true);
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

/// Who has ports, a share of one, or clients that wait at one.
fn owners(rules: &firewall::Observed) -> BTreeSet<&str> {
    let shares = rules.routes.weighted.iter().flat_map(|port| &port.shares);
    let published = rules.published.iter().map(|port| port.owner.as_str());
    let held = rules.routes.held.iter().map(|port| port.owner.as_str());
    published.chain(shares.map(|share| share.owner.as_str())).chain(held).collect()
}

fn is_running(container: &ObservedContainer) -> bool {
    matches!(container.state, berth_planner::observed::ContainerState::Running { .. })
}

pub(super) fn read(roots: &Roots, name: &str) -> std::io::Result<Option<NetworkRecord>> {
    record::read(&roots.network(name).join("record.json"))
}

/// Makes folder, bridge, rules and, last, the record.
pub(super) async fn create(roots: &Roots, network: &NetworkRecord) -> Result<(), StepError> {
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
    firewall::create().map_err(failed)?;
    without!("network.own_table", crate::sabotage::naive::accept_in_theirs());
    firewall::add_network(&network.into()).map_err(failed)
}

/// Gives whether it was not there.
fn build_wall(network: &NetworkRecord) -> Result<bool, NetError> {
    defence!("network.second_wall", wall::build(&network.bridge), Ok(false))
}

fn make_names(roots: &Roots, network: &str) -> Result<(), StepError> {
    let names = roots.names(network);
    private_folders(&names).map_err(|e| StepError::refused("make folder", &names, e))
}

/// Runs that make or remove networks at once do it one after the other.
async fn lock(roots: &Roots) -> Result<File, StepError> {
    let path = roots.state.join("networks");
    perform::blocking(move || {
        let refused = |e: std::io::Error| StepError::refused("lock", &path, e);
        let folder = File::open(&path).map_err(refused)?;
        rustix::fs::flock(&folder, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|e| refused(e.into()))?;
        Ok(folder)
    })
    .await
}

/// A network that another stack made since the plan was may have taken the subnet.
fn refuse_overlap(roots: &Roots, network: &NetworkRecord) -> Result<(), StepError> {
    // What a link of the host leads to is nobody's.
    let shared = |record: &NetworkRecord| record.spec.parent().is_some();
    for other in records(roots)?.into_iter().filter(|other| !shared(other) && !shared(network)) {
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

/// Every network that is whole.
fn records(roots: &Roots) -> Result<Vec<NetworkRecord>, StepError> {
    let failed = |e: HostError| StepError::failed("list", "the networks", e);
    let names = names_in(&roots.state.join("networks")).map_err(failed)?;
    Ok(names.iter().filter_map(|name| read(roots, name).ok()?).collect())
}

/// Puts back what is missing of bridge and rules. Rules that others flushed come back whole, for
/// every network and every container that runs.
pub(super) async fn repair(
    roots: &Roots,
    network: &NetworkRecord,
    containers: &BTreeMap<String, ObservedContainer>,
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
    let bridges = bridge::observe(&netlink).await.map_err(failed)?;
    let same_name = bridges.iter().find(|bridge| bridge.name == network.bridge);
    if same_name.is_some_and(|bridge| !bridge.is_as(network)) {
        bridge::remove(&netlink, &network.bridge).await.map_err(failed)?;
    }
    if !same_name.is_some_and(|bridge| bridge.is_as(network)) {
        bridge::create(&netlink, network).await.map_err(failed)?;
    }
    build_wall(network).map_err(failed)?;
    let rules = firewall::observe().map_err(failed)?;
    if rules.covers(network) {
        return Ok(());
    }
    let (mut networks, mut published) = foreign(roots, &rules);
    let stored = records(roots)?;
    let bridged = stored.iter().filter(|network| network.spec.beside.is_none());
    networks.extend(bridged.map(firewall::Network::from));
    let running = containers.values().filter(|container| is_running(container));
    published.extend(running.flat_map(|c| published_by(roots, c)));
    firewall::replace(&networks, &published, &rules.routes).map_err(failed)
}

/// Labels may have changed, which nothing but the record has.
fn write_if_changed(roots: &Roots, network: &NetworkRecord) -> std::io::Result<()> {
    if read(roots, &network.name)?.as_ref() == Some(network) {
        return Ok(());
    }
    let path = roots.network(&network.name).join("record.json");
    record::write(&path, network, Durability::Durable)
}

/// The ports of a running container, as its monitor published them.
fn published_by(roots: &Roots, container: &ObservedContainer) -> Vec<firewall::Published> {
    let bundle = roots.container_run(&container.record.name).join("bundle.json");
    match record::read::<Bundle>(&bundle) {
        Ok(Some(bundle)) => published(&bundle, &container.published).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// Takes rules, bridge and record away; the table too when it was the last network.
pub(super) async fn remove(roots: &Roots, name: &str) -> Result<(), StepError> {
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
pub(super) async fn remove_half_made(roots: &Roots, name: &str) -> Result<(), StepError> {
    let _lock = lock(roots).await?;
    perform::folder::remove_folder(&roots.network(name))?;
    forget_names(roots, name);
    Ok(())
}

/// Removes the folder of names, with whatever names are still in it.
pub(super) fn forget_names(roots: &Roots, network: &str) {
    // What stays is empty, or replaced by the next network of that name.
    let _ = fs::remove_dir_all(roots.names(network));
}

/// Removes what the table has for a bridge, and the table with the last network.
fn remove_rules(bridge: &str) -> Result<(), NetError> {
    let rules = firewall::observe()?;
    let (ours, others): (Vec<_>, Vec<_>) =
        rules.networks.iter().partition(|network| network.bridge == bridge);
    for network in ours {
        firewall::remove_network(network)?;
    }
    if others.is_empty() && rules.published.is_empty() && rules.base != firewall::Base::Absent {
        firewall::remove()?;
    }
    Ok(())
}

/// Removes a bridge with our mark that no record explains, and its rules.
pub(super) async fn remove_stray_bridge(roots: &Roots, name: &str) -> Result<(), StepError> {
    let failed = |e| StepError::failed("remove bridge", name, e);
    let _lock = lock(roots).await?;
    let stored = records(roots)?;
    if stored.iter().any(|n| beside::parent(n).unwrap_or(&n.bridge) == name) {
        return Err(StepError::Stale(format!("bridge `{name}` has become a network's")));
    }
    let kernel = Kernel::read(roots).await.map_err(|e| StepError::failed("look at", name, e))?;
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
pub(super) fn remove_stray_rules(container: &str) -> Result<(), StepError> {
    let failed = |e| StepError::failed("remove port rules of", container, e);
    let mut rules = firewall::observe().map_err(failed)?;
    let has_share = |port: &firewall::Weighted| port.shares.iter().any(|s| s.owner == container);
    rules.routes.weighted.retain(has_share);
    firewall::weigh(&rules.routes.weighted, &[]).map_err(failed)?;
    rules.routes.held.retain(|port| port.owner == container);
    firewall::release(&rules.routes.held).map_err(failed)?;
    rules.published.retain(|port| port.owner == container);
    firewall::unpublish(&rules.published).map_err(failed)
}

/// How the container is connected, its links in the order of their names.
pub(super) fn connection(
    roots: &Roots,
    container: &ContainerRecord,
    id: &str,
) -> Result<Network, StepError> {
    let spec = &container.spec;
    match &spec.network_mode {
        NetworkMode::Host => return Ok(Network::Host),
        NetworkMode::None => return Ok(Network::Own(Vec::new())),
        NetworkMode::Container(other) => return Ok(Network::Container(other.clone())),
        NetworkMode::Bridge => {}
    }
    let mut records = BTreeMap::new();
    for network in spec.networks.keys() {
        let record = read(roots, network)
            .map_err(|e| StepError::refused("read network", network, e))?
            .ok_or_else(|| StepError::Stale(format!("network `{network}` is not there")))?;
        records.insert(network.as_str(), record);
    }
    let prefix = |network: &str| {
        let asked = records.get(network).and_then(|record| record.spec.bridge.prefix.clone());
        asked.unwrap_or_else(|| links::LINK.to_owned())
    };
    let mut links = Vec::new();
    for joined in &links::in_order(&spec.networks, prefix) {
        links.push(link(&records[joined.network], container, id, joined)?);
    }
    let all: BTreeMap<String, Vec<IpAddr>> = links
        .iter_mut()
        .map(|link| (link.network.clone(), std::mem::take(&mut link.gateways)))
        .collect();
    for (network, gateway) in links::ways_out(&spec.networks, |network| all[network].clone()) {
        let out = links.iter_mut().find(|link| link.network == network);
        out.into_iter().for_each(|link| link.gateways.push(gateway));
    }
    Ok(Network::Own(links))
}

/// The link, with every gateway of its network.
fn link(
    record: &NetworkRecord,
    container: &ContainerRecord,
    id: &str,
    joined: &Joined<'_>,
) -> Result<Link, StepError> {
    let Joined { network, endpoint, name } = joined;
    let addresses = container.addresses.get(*network).copied();
    let ipv4 = addresses.and_then(|a| a.ipv4);
    let ipv6 = addresses.and_then(|a| a.ipv6);
    let subnet = |address: IpAddr| record.subnets.iter().find(|s| s.net.contains(&address));
    let prefix = |address: IpAddr| subnet(address).map_or(0, |s| s.net.prefix_len());
    let mac = endpoint.mac_address.as_deref().map(|text| {
        parse_mac(text).ok_or_else(|| {
            StepError::failed("connect", &container.name, format!("`{text}` is no MAC address"))
        })
    });
    let way = record.spec.beside.as_ref().map(|beside| beside.way);
    let leads_out = way.is_none() || record.spec.parent().is_some();
    let gateways = match record.spec.internal || !leads_out {
        true => Vec::new(),
        false => {
            let own = ipv4.map(IpAddr::V4).into_iter().chain(ipv6.map(IpAddr::V6));
            let hops = own.filter_map(subnet).map(|subnet| subnet.gateway);
            hops.map(|hop| if way.is_some_and(Way::routes) { any(hop) } else { hop }).collect()
        }
    };
    let options = &record.spec.bridge;
    let publishing = |v4: bool| match options.mode(v4) {
        GatewayMode::Routed => Publishing::Own,
        _ if options.trusted.is_empty() => Publishing::Host,
        _ => Publishing::Both,
    };
    Ok(Link {
        network: (*network).to_owned(),
        bridge: beside::parent(record).unwrap_or(&record.bridge).to_owned(),
        beside: way,
        name: name.clone(),
        mac: mac.transpose()?,
        ipv4: ipv4.map(|address| (address, prefix(address.into()))),
        ipv6: ipv6.map(|address| (address, prefix(address.into()))),
        link_local: endpoint.link_local_ips.clone(),
        sysctls: endpoint.sysctls.clone(),
        gateways,
        names: names_of(container, id, endpoint),
        mtu: options.mtu,
        apart: !options.icc,
        ipv4_ports: publishing(true),
        ipv6_ports: publishing(false),
    })
}

/// The address of its family that stands for the link itself.
fn any(hop: IpAddr) -> IpAddr {
    match hop {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The names a container answers to: its own first, then its service's (unless it is a one-off),
/// its aliases, and its short id.
pub(super) fn names_of(
    container: &ContainerRecord,
    id: &str,
    endpoint: &EndpointSpec,
) -> Vec<String> {
    let mut names = vec![container.name.clone()];
    if !container.oneoff {
        names.push(container.service.clone());
    }
    names.extend(endpoint.aliases.iter().cloned());
    names.push(id[..12].to_owned());
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_has_six_bytes() {
        assert_eq!(parse_mac("02:42:ac:11:00:02"), Some([2, 0x42, 0xac, 0x11, 0, 2]));
        assert_eq!(parse_mac("02:42"), None);
        assert_eq!(parse_mac("02:42:ac:11:00:02:03"), None);
    }

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
    }
}
