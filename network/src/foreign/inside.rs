//! What rules of others do to connections that containers of a network open.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use berth_schema::stack::Protocol;
use ipnet::IpNet;

use super::{Answer, Ruleset, Story, judge};
use crate::links::Link;

/// Addresses that are nobody's (RFC 5737, RFC 3849): one outside, anywhere.
const SOMEBODY4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SOMEBODY6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// What most connections are for.
const HTTPS: u16 = 443;

/// A connection of one container to another on the same bridge, where the kernel shows such packets
/// to the rules for what is forwarded (`bridge-nf-call-iptables`).
#[must_use]
pub fn within(ruleset: &Ruleset, bridge: &Link, subnet: IpNet) -> Answer {
    judge(ruleset, &story((bridge, nth(subnet, 2)), (bridge, nth(subnet, 3))))
}

/// A connection of a container to somebody outside, by a link of the host.
#[must_use]
pub fn outward(ruleset: &Ruleset, bridge: &Link, subnet: IpNet, uplink: &Link) -> Answer {
    let somebody = match subnet {
        IpNet::V4(_) => IpAddr::V4(SOMEBODY4),
        IpNet::V6(_) => IpAddr::V6(SOMEBODY6),
    };
    judge(ruleset, &story((bridge, nth(subnet, 2)), (uplink, somebody)))
}

/// Packets by which one end asks the other; nobody translates what our table has no port for.
fn story((from, source): (&Link, IpAddr), (to, target): (&Link, IpAddr)) -> Story {
    let target = SocketAddr::new(target, HTTPS);
    Story {
        from: Some(from.clone()),
        bridge: to.clone(),
        source: Some(source),
        host: target,
        target,
        protocol: Protocol::Tcp,
    }
}

/// One of the addresses that containers have.
fn nth(subnet: IpNet, n: u8) -> IpAddr {
    match subnet.network() {
        IpAddr::V4(net) => IpAddr::V4((u32::from(net).saturating_add(n.into())).into()),
        IpAddr::V6(net) => IpAddr::V6((u128::from(net).saturating_add(n.into())).into()),
    }
}
