//! From which links a published port can be reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Answer, Ruleset, Story, judge};
use crate::firewall::{Network, Published};
use crate::links::Link;

/// Who a published port is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everybody, on every address of the host.
    Public,
    /// This host.
    Host,
    /// Those who reach this address of the host.
    Address(IpAddr),
}

impl Scope {
    /// Of a port that is published at an address of the host, or at all of them.
    #[must_use]
    pub fn of(host: Option<IpAddr>) -> Scope {
        match host {
            Some(address) if address.is_loopback() => Scope::Host,
            Some(address) if !address.is_unspecified() => Scope::Address(address),
            _ => Scope::Public,
        }
    }
}

/// One way to a published port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Name of the link where packets arrive; `None` is this host itself.
    pub link: Option<String>,
    /// What the rules of others say.
    pub answer: Answer,
}

/// The ways to a port that its publisher meant, with what becomes of packets there. Packets of
/// anybody: what hangs on the sender is told as such.
#[must_use]
pub fn reach(
    ruleset: &Ruleset,
    links: &[Link],
    networks: &[Network],
    port: &Published,
) -> Vec<Way> {
    let leads_to = |network: &&Network| {
        network.subnets.iter().any(|subnet| subnet.contains(&port.target.ip()))
    };
    let bridge = networks.iter().find(leads_to).map_or("", |network| network.bridge.as_str());
    let index = |name: &str| links.iter().find(|l| l.name == name).map_or(0, |link| link.index);
    let story = |from: Option<&Link>, address: IpAddr| Story {
        from: from.map(|link| (link.index, link.name.clone())),
        bridge: (index(bridge), bridge.to_owned()),
        source: from.is_none().then_some(address),
        host: SocketAddr::new(address, port.port),
        target: port.target,
        protocol: port.protocol,
    };
    let way = |from: Option<&Link>, address: IpAddr| Way {
        link: from.map(|link| link.name.clone()),
        answer: judge(ruleset, &story(from, address)),
    };
    if Scope::of(port.host) == Scope::Host {
        let loopback = if port.target.is_ipv4() {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        } else {
            IpAddr::V6(Ipv6Addr::LOCALHOST)
        };
        return vec![way(None, port.host.unwrap_or(loopback))];
    }
    let is_ours = |link: &Link| networks.iter().any(|network| network.bridge == link.name);
    let outside = |link: &&Link| link.up && !link.loopback && !link.enslaved && !is_ours(link);
    let at = |link: &Link| {
        let mut addresses = link.addresses.iter().map(|net| net.addr());
        addresses.find(|address| match Scope::of(port.host) {
            Scope::Address(wanted) => *address == wanted,
            Scope::Public | Scope::Host => {
                address.is_ipv4() == port.target.is_ipv4() && !is_link_local(*address)
            }
        })
    };
    let reached = links.iter().filter(outside).filter_map(|link| Some((link, at(link)?)));
    reached.map(|(link, address)| way(Some(link), address)).collect()
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
