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
/// anybody: what hangs on the sender is told as such. Without any, nobody outside reaches it.
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
    let gone = || Link { name: bridge.to_owned(), ..Link::default() };
    let bridge = links.iter().find(|l| l.name == bridge).cloned().unwrap_or_else(gone);
    let story = |from: Option<&Link>, address: IpAddr| Story {
        from: from.cloned(),
        bridge: bridge.clone(),
        source: from.is_none().then_some(address),
        host: SocketAddr::new(address, port.port),
        target: port.target,
        protocol: port.protocol,
    };
    let way = |from: Option<&Link>, address: IpAddr| Way {
        link: from.map(|link| link.name.clone()),
        answer: judge(ruleset, &story(from, address)),
    };
    let scope = Scope::of(port.host);
    if scope == Scope::Host {
        let loopback = if port.target.is_ipv4() {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        } else {
            IpAddr::V6(Ipv6Addr::LOCALHOST)
        };
        return vec![way(None, port.host.unwrap_or(loopback))];
    }
    let is_ours = |link: &Link| networks.iter().any(|network| network.bridge == link.name);
    let outside = |link: &Link| !link.loopback && link.master.is_none() && !is_ours(link);
    let at = |link: &Link| {
        let mut addresses = link.addresses.iter().map(|net| net.addr());
        let of_family = |address: &IpAddr| {
            address.is_ipv4() == port.target.is_ipv4() && !is_link_local(*address)
        };
        match scope {
            // Whoever has a route to the network comes by any of them.
            _ if port.is_own() => addresses.find(of_family).map(|_| port.target.ip()),
            Scope::Address(wanted) => addresses.find(|address| *address == wanted),
            Scope::Public | Scope::Host => addresses.find(of_family),
        }
    };
    let for_one = matches!(scope, Scope::Address(_)) && !port.is_own();
    let up = links.iter().filter(|link| link.up);
    let ways = up.filter_map(|link| match (at(link)?, outside(link)) {
        (address, true) => Some(way(Some(link), address)),
        // Of one on an inner link this much is sure: this host itself gets there.
        (address, false) => for_one.then(|| way(None, address)),
    });
    ways.collect()
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use berth_schema::stack::Protocol;

    use super::*;

    fn link(index: u32, name: &str, address: &str) -> Link {
        let addresses = vec![address.parse().unwrap()];
        Link { index, name: name.into(), up: true, addresses, ..Link::default() }
    }

    fn links() -> Vec<Link> {
        let loopback = Link { loopback: true, ..link(1, "lo", "127.0.0.1/8") };
        let down = Link { up: false, ..link(3, "eth1", "198.51.100.1/24") };
        vec![loopback, link(2, "eth0", "192.0.2.1/24"), down, link(4, "br-web", "10.0.0.1/24")]
    }

    /// The links by which a port at `host` is reached; `this host` where nobody else is sure.
    fn ways(host: Option<&str>, port: u16) -> Vec<String> {
        let port = Published {
            owner: "web-1".into(),
            host: host.map(|host| host.parse().unwrap()),
            port,
            protocol: Protocol::Tcp,
            target: "10.0.0.2:80".parse().unwrap(),
        };
        let network = Network {
            bridge: "br-web".into(),
            subnets: vec!["10.0.0.0/24".parse().unwrap()],
            ..Network::default()
        };
        let ways = reach(&Ruleset::default(), &links(), &[network], &port).into_iter();
        ways.map(|way| way.link.unwrap_or_else(|| "this host".into())).collect()
    }

    #[test]
    fn a_port_is_reached_by_the_links_that_lead_to_its_address() {
        assert_eq!(ways(None, 8080), ["eth0"]);
        assert_eq!(ways(Some("192.0.2.1"), 8080), ["eth0"]);
        for inner in ["127.0.0.1", "10.0.0.1"] {
            assert_eq!(ways(Some(inner), 8080), ["this host"], "{inner}");
        }
        for lost in ["198.51.100.1", "192.0.2.9"] {
            assert_eq!(ways(Some(lost), 8080), [""; 0], "{lost}");
        }
        assert_eq!(ways(Some("10.0.0.2"), 80), ["eth0"], "at the container's own address");
    }
}
