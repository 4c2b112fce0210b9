//! The names of containers, as far as they are settled before one runs: what its resolver knows,
//! and the names that are its own while it does not run.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use berth_network::dns::ResolvConf;
use berth_planner::desired::{LinkSpec, NetworkMode};
use berth_planner::observed::{ContainerRecord, NetworkRecord};
use berth_schema::stack::NetworkDriver;

use super::claims::private_folders;
use super::observe::names_in;
use super::{StepError, Stored, network};
use crate::bundle::{Dns, Link, NameLink, NameRecord, Network};
use crate::paths::Roots;
use crate::record::{self, Durability};

/// The host's own file.
pub(super) const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What the container's resolver knows.
pub(super) fn dns(
    roots: &Roots,
    container: &ContainerRecord,
    network: &Network,
) -> Result<Dns, StepError> {
    let links: &[Link] = if let Network::Own(links) = network { links } else { &[] };
    let spec = &container.spec;
    let host = host_addresses(roots, links);
    let mut hosts = Vec::new();
    for (name, address) in &spec.extra_hosts {
        let addresses = match address.as_str() {
            "host-gateway" => host.clone(),
            address => address.parse().into_iter().collect(),
        };
        if addresses.is_empty() {
            let why = format!("extra host `{name}` has no address here");
            return Err(StepError::failed("connect", &container.name, why));
        }
        hosts.extend(addresses.into_iter().map(|address| (name.clone(), address)));
    }
    let resolv_conf = match links.is_empty() {
        true => ResolvConf::default(),
        false => ResolvConf::parse(&fs::read_to_string(RESOLV_CONF).unwrap_or_default()),
    };
    let resolv_conf = ResolvConf::for_container(&resolv_conf, &spec.dns_search, &spec.dns_opt);
    Ok(Dns {
        networks: links.iter().map(|l| (l.network.clone(), roots.names(&l.network))).collect(),
        servers: spec.dns.clone(),
        search: resolv_conf.search,
        options: resolv_conf.options,
        links: spec.links.iter().map(|link| name_link(container, link)).collect(),
        host: if links.is_empty() { Vec::new() } else { host },
        hosts,
        internal: links.iter().all(|link| link.gateways.is_empty()),
    })
}

fn name_link(container: &ContainerRecord, link: &LinkSpec) -> NameLink {
    NameLink {
        name: link.name.clone(),
        alias: link.alias.clone(),
        numbered: link.service.then(|| format!("{}-{}-", container.project, link.name)),
    }
}

/// The host's own addresses as the container sees them: those of the bridge that its packets go
/// out by, or of its first one.
fn host_addresses(roots: &Roots, links: &[Link]) -> Vec<IpAddr> {
    if links.is_empty() {
        return vec![Ipv4Addr::LOCALHOST.into()];
    }
    let mut links: Vec<&Link> = links.iter().collect();
    links.sort_by_key(|link| link.gateways.is_empty());
    let has = |link: &Link, address: &IpAddr| match address {
        IpAddr::V4(_) => link.ipv4.is_some(),
        IpAddr::V6(_) => link.ipv6.is_some(),
    };
    let of = |link: &Link| -> Vec<IpAddr> {
        let record = network::read(roots, &link.network).ok().flatten();
        let record = record.filter(|record| record.spec.driver == NetworkDriver::Bridge);
        let gateways = |record: NetworkRecord| record.subnets.into_iter().map(|it| it.gateway);
        record.into_iter().flat_map(gateways).filter(|address| has(link, address)).collect()
    };
    links.into_iter().map(of).find(|addresses| !addresses.is_empty()).unwrap_or_default()
}

/// Keeps the names of a container from other servers until it runs, and whenever it does not.
///
/// # Errors
/// What the host answers.
pub(super) fn reserve(roots: &Roots, stored: &Stored) -> Result<(), StepError> {
    for network in networks(&stored.record) {
        reserve_on(roots, stored, network)
            .map_err(|e| StepError::refused("keep the names of", &stored.record.name, e))?;
    }
    Ok(())
}

/// The same for every container on a network whose names were lost, as at a reboot.
///
/// # Errors
/// What the host answers.
pub(super) fn reserve_all(roots: &Roots, network: &str) -> Result<(), StepError> {
    let refused = |e| StepError::refused("keep the names on", network, e);
    let containers = names_in(&roots.state.join("containers"))
        .map_err(|e| StepError::failed("list", "the containers", e))?;
    for name in containers {
        // Without a record it is not whole, and has no names.
        let Ok(Some(stored)) = Stored::read(roots, &name) else { continue };
        if networks(&stored.record).any(|on| on == network) {
            reserve_on(roots, &stored, network).map_err(refused)?;
        }
    }
    Ok(())
}

/// Gives a container that does not run the names of its new description instead of those `before`.
///
/// # Errors
/// What the host answers.
pub(super) fn move_on(
    roots: &Roots,
    before: &ContainerRecord,
    stored: &Stored,
) -> Result<(), StepError> {
    let name = &stored.record.name;
    for network in networks(&stored.record) {
        let folder = roots.names(network);
        let path = folder.join(name);
        let made = private_folders(&folder);
        made.and_then(|()| record::write(&path, &resting(stored, network), Durability::Volatile))
            .map_err(|e| StepError::refused("keep the names of", name, e))?;
    }
    let stays = |network: &&str| networks(&stored.record).any(|on| on == *network);
    for network in networks(before).filter(|network| !stays(network)) {
        // As below.
        let _ = fs::remove_file(roots.names(network).join(name));
    }
    Ok(())
}

/// Lets the names of a container go that is removed.
pub(super) fn forget(roots: &Roots, container: &ContainerRecord) {
    for network in networks(container) {
        // It may have gone with its network.
        let _ = fs::remove_file(roots.names(network).join(&container.name));
    }
}

fn networks(container: &ContainerRecord) -> impl Iterator<Item = &str> {
    let own = container.spec.network_mode == NetworkMode::Bridge;
    container.spec.networks.keys().filter(move |_| own).map(String::as_str)
}

/// Its names there, without an address.
fn resting(stored: &Stored, network: &str) -> NameRecord {
    let endpoint = &stored.record.spec.networks[network];
    let names = network::names_of(&stored.record, &stored.id, endpoint);
    NameRecord { ipv4: None, ipv6: None, names }
}

/// Writes the names unless there are some: those of a container that runs.
fn reserve_on(roots: &Roots, stored: &Stored, network: &str) -> io::Result<()> {
    let record = resting(stored, network);
    let name = &stored.record.name;
    let beside = roots.names(network).join(format!(".{name}.{}.kept", std::process::id()));
    record::write(&beside, &record, Durability::Volatile)?;
    let linked = fs::hard_link(&beside, roots.names(network).join(name));
    fs::remove_file(&beside)?;
    match linked {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}
