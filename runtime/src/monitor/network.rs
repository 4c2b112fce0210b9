//! A container's network, as far as its monitor makes it: links, resolver, published ports.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::BorrowedFd;

use berth_network::endpoint::{self, LinkSpec};
use berth_network::firewall::{self, Published};
use berth_planner::desired::PortSpec;
use berth_planner::links::{Entrance, way_in};
use berth_schema::stack::Protocol;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::names;
use super::resolver::Resolver;
use crate::bundle::{Bundle, Link, Network, Publishing};
use crate::sabotage::defence;

/// Lengths of the prefixes of addresses that are of the link only (RFC 3927, RFC 4291).
const LINK_LOCAL_V4: u8 = 16;
const LINK_LOCAL_V6: u8 = 64;

/// What a connected container needs served.
#[derive(Default)]
pub(super) struct Connection {
    /// Answers its questions for names.
    pub(super) resolver: Option<Resolver>,
}

/// The ports that are published for it: those that need one of the host, and those that are only
/// opened at its own addresses. A container in the host's network, or in another's, has its ports
/// there.
pub(super) fn own_ports(bundle: &Bundle) -> (Vec<PortSpec>, Vec<PortSpec>) {
    let Network::Own(links) = &bundle.network else { return Default::default() };
    let ends = main_ends(links);
    let at_host = |spec: &&PortSpec| {
        let mut ends = ends.iter().filter(|(ip, _)| is_for(spec, ip));
        // Without any it is told when it is published.
        ends.clone().next().is_none() || ends.any(|(_, way)| *way != Publishing::Own)
    };
    let (of_host, own): (Vec<&PortSpec>, Vec<&PortSpec>) = bundle.ports.iter().partition(at_host);
    let alone = |spec: &PortSpec| PortSpec { published: None, ..spec.clone() };
    (of_host.into_iter().cloned().collect(), own.into_iter().map(alone).collect())
}

fn is_for(spec: &PortSpec, ip: &IpAddr) -> bool {
    spec.host_ip.is_none_or(|host| host.is_ipv4() == ip.is_ipv4())
}

/// Connects a container that is about to run, and publishes `ports`.
///
/// # Errors
/// With words. Closing the namespace takes links and resolver away; a failure to publish leaves
/// nothing published.
pub(super) fn connect(
    bundle: &Bundle,
    netns: BorrowedFd<'_>,
    ports: &[PortSpec],
) -> Result<Connection, String> {
    let Network::Own(links) = &bundle.network else {
        return Ok(Connection::default());
    };
    let specs: Vec<LinkSpec> = links.iter().map(spec).collect();
    endpoint::connect(netns, &specs).map_err(|e| e.to_string())?;
    let resolver = match bundle.dns.networks.is_empty() {
        true => None,
        false => Some(Resolver::open(bundle, netns, None).map_err(|e| format!("resolver: {e}"))?),
    };
    if !bundle.beside {
        names::write(bundle).map_err(|e| format!("write names: {e}"))?;
    }
    firewall::publish(&published(bundle, ports)?).map_err(|e| e.to_string())?;
    Ok(Connection { resolver })
}

/// Switches the links of a container that has ended off, so that nothing of it answers for its
/// addresses while the kernel cleans up.
pub(super) fn disconnect(bundle: &Bundle, netns: BorrowedFd<'_>) {
    let Network::Own(links) = &bundle.network else { return };
    let specs: Vec<LinkSpec> = links.iter().map(spec).collect();
    // They go with the namespace in any case.
    let _ = endpoint::disconnect(netns, &specs);
}

/// Answers for names again after a monitor was lost, on the ports it had if they are free.
pub(super) fn resume(
    bundle: &Bundle,
    netns: BorrowedFd<'_>,
    ports: Option<(u16, u16)>,
) -> Option<Resolver> {
    // Without it the container's own lookups fail, which is no reason to leave it unmonitored.
    Resolver::open(bundle, netns, Some(ports?)).ok()
}

/// Takes published ports away.
///
/// # Errors
/// With words.
pub(super) fn unpublish(bundle: &Bundle, ports: &[PortSpec]) -> Result<(), String> {
    let Ok(published) = published(bundle, ports) else { return Ok(()) };
    // A table that somebody flushed is not there.
    match firewall::unpublish(&published) {
        Err(error) if !error.is_missing() => Err(error.to_string()),
        Ok(()) | Err(_) => Ok(()),
    }
}

pub(super) fn spec(link: &Link) -> LinkSpec {
    let v4 = link.ipv4.and_then(|(ip, length)| Ipv4Net::new(ip, length).ok()).map(IpNet::V4);
    let v6 = link.ipv6.and_then(|(ip, length)| Ipv6Net::new(ip, length).ok()).map(IpNet::V6);
    let of_link = link.link_local.iter().filter_map(|ip| match ip {
        IpAddr::V4(ip) => Ipv4Net::new(*ip, LINK_LOCAL_V4).ok().map(IpNet::V4),
        IpAddr::V6(ip) => Ipv6Net::new(*ip, LINK_LOCAL_V6).ok().map(IpNet::V6),
    });
    LinkSpec {
        bridge: link.bridge.clone(),
        beside: link.beside,
        name: link.name.clone(),
        mac: link.mac,
        addresses: v4.into_iter().chain(v6).chain(of_link).collect(),
        sysctls: link.sysctls.iter().map(|(key, to)| (setting(link, key), to.clone())).collect(),
        gateways: link.gateways.clone(),
        mtu: link.mtu,
        apart: link.apart,
    }
}

/// Where below `/proc/sys/net` a setting of the link is.
fn setting(link: &Link, key: &str) -> String {
    let of_link = |part| if part == "IFNAME" { link.name.as_str() } else { part };
    key.split('.').skip(1).map(of_link).collect::<Vec<_>>().join("/")
}

/// The address of the container to which a relay carries what reaches a port on this address of
/// the host, where the kernel cannot lead it there: to the other family, and from `::1`. Not into
/// an internal network, and not for a family in which the port is at the container's own address.
pub(super) fn relayed(bundle: &Bundle, spec: &PortSpec, host: IpAddr) -> Option<IpAddr> {
    let Network::Own(links) = &bundle.network else { return None };
    if spec.protocol == Protocol::Sctp || links.iter().all(|link| link.gateways.is_empty()) {
        return None;
    }
    let ends = main_ends(links);
    let loopback = host == Ipv6Addr::LOCALHOST || host == Ipv6Addr::UNSPECIFIED;
    match ends.iter().find(|(ip, _)| ip.is_ipv4() == host.is_ipv4()) {
        Some((_, Publishing::Own)) => None,
        Some((ip, _)) => loopback.then_some(*ip),
        None => ends.iter().find(|(_, way)| *way != Publishing::Own).map(|(ip, _)| *ip),
    }
}

/// Where each port leads: to the link with the default route of its family, or else the first.
/// Where the kernel cannot lead it, a relay does.
pub(crate) fn published(bundle: &Bundle, ports: &[PortSpec]) -> Result<Vec<Published>, String> {
    let Network::Own(links) = &bundle.network else { return Ok(Vec::new()) };
    let mut published = Vec::new();
    for spec in ports {
        let mut ends = main_ends(links);
        ends.retain(|(ip, _)| is_for(spec, ip));
        let carried = |host: IpAddr| relayed(bundle, spec, host).is_some();
        if ends.is_empty() && !spec.host_ip.is_some_and(carried) {
            let port = spec.published.map_or(spec.target, |(port, _)| port);
            return Err(format!("port {port} has no address in the container to lead to"));
        }
        for (ip, way) in ends {
            let target = SocketAddr::new(ip, spec.target);
            let at = |host, port| {
                let owner = bundle.name.clone();
                Published { owner, host, port, protocol: spec.protocol, target }
            };
            let led = way != Publishing::Own && spec.host_ip != Some(Ipv6Addr::LOCALHOST.into());
            if let Some((port, _)) = spec.published.filter(|_| led) {
                // All addresses of a family are not one of them.
                let one = spec.host_ip.filter(|ip| !ip.is_unspecified());
                published.push(at(defence!("ports.one_address", one, None), port));
            }
            let own = at(Some(ip), spec.target);
            if way != Publishing::Host && !published.contains(&own) {
                published.push(own);
            }
        }
    }
    Ok(published)
}

/// The address of each family that ports lead to, and where they are reached.
fn main_ends(links: &[Link]) -> Vec<(IpAddr, Publishing)> {
    let to = |v4: bool| {
        way_in(links.iter().map(|link| {
            let entrance = Entrance {
                bridged: link.beside.is_none(),
                addressed: if v4 { link.ipv4.is_some() } else { link.ipv6.is_some() },
                way_out: link.gateways.iter().any(|to| to.is_ipv4() == v4),
                internal: link.internal,
            };
            (link, entrance)
        }))
    };
    let v4 = to(true).and_then(|l| Some((IpAddr::V4(l.ipv4?.0), l.ipv4_ports)));
    let v6 = to(false).and_then(|l| Some((IpAddr::V6(l.ipv6?.0), l.ipv6_ports)));
    v4.into_iter().chain(v6).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(ipv4: &str, gateway: Option<&str>) -> Link {
        Link {
            network: "n".into(),
            bridge: "br".into(),
            name: "eth0".into(),
            ipv4: Some((ipv4.parse().unwrap(), 24)),
            gateways: gateway.map(|g| g.parse().unwrap()).into_iter().collect(),
            ..Link::default()
        }
    }

    #[test]
    fn ports_lead_to_the_link_with_the_default_route() {
        let links = vec![link("10.1.0.2", None), link("10.2.0.2", Some("10.2.0.1"))];
        let bundle =
            Bundle { name: "shop-web-1".into(), network: Network::Own(links), ..Bundle::default() };
        let mut spec = PortSpec {
            host_ip: None,
            published: Some((8080, 8080)),
            target: 80,
            protocol: Protocol::Tcp,
        };
        let ports = published(&bundle, &[spec.clone()]).unwrap();
        assert_eq!(ports.len(), 1);
        assert_eq!(ports[0].target, "10.2.0.2:80".parse().unwrap());

        for host in ["::", "::1", "2001:db8::1"] {
            spec.host_ip = Some(host.parse().unwrap());
            assert_eq!(published(&bundle, &[spec.clone()]).unwrap(), []);
            let to = relayed(&bundle, &spec, spec.host_ip.unwrap());
            assert_eq!(to, Some("10.2.0.2".parse().unwrap()), "{host}");
        }
        assert_eq!(relayed(&bundle, &spec, "0.0.0.0".parse().unwrap()), None);
        spec.protocol = Protocol::Sctp;
        let refusal = published(&bundle, &[spec]).unwrap_err();
        assert_eq!(refusal, "port 8080 has no address in the container to lead to");
    }

    #[test]
    fn nothing_is_carried_into_an_internal_network() {
        let network = Network::Own(vec![link("10.1.0.2", None)]);
        let bundle = Bundle { network, ..Bundle::default() };
        let (protocol, target) = (Protocol::Tcp, 80);
        let spec = PortSpec { host_ip: None, published: Some((80, 80)), target, protocol };
        assert_eq!(relayed(&bundle, &spec, "::".parse().unwrap()), None);
    }
}
