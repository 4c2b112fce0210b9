//! How one container is connected to its networks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use berth_planner::bridge::GatewayMode;
use berth_planner::desired::{EndpointSpec, NetworkMode};
use berth_planner::links::{self, Joined};
use berth_planner::observed::{ContainerRecord, NetworkRecord};
use berth_schema::stack::Way;

use super::read;
use crate::bundle::{Link, Network, Publishing};
use crate::host::{StepError, beside};
use crate::paths::Roots;

/// How the container is connected, its links in the order of their names.
pub(in crate::host) fn connection(
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
    let gateways = match record.spec.leads_out() {
        false => Vec::new(),
        true => {
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
        internal: record.spec.internal,
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
pub(in crate::host) fn names_of(
    container: &ContainerRecord,
    id: &str,
    endpoint: &EndpointSpec,
) -> Vec<String> {
    // The first is that of its replica: names of others for it are made of that.
    let mut names = vec![container.usual_name().to_owned(), container.name.clone()];
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
}
