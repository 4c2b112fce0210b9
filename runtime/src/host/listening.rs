//! Who has ports of the host that a plan may want.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use berth_network::firewall::Published;
use berth_network::listening::{self, Socket};
use berth_planner::desired::PortSpec;
use berth_planner::observed::{Listener, ObservedContainer, PORTS_BEYOND, PortOwner};

use super::observe::Wanted;
use super::{Host, HostError};
use crate::holders;

/// Ports that other states of berth publish, then those of sockets that are none of our running
/// containers. Nothing is asked when no port is wanted.
pub(super) fn read(
    host: &Host,
    wanted: &Wanted,
    containers: &BTreeMap<String, ObservedContainer>,
    foreign: &[Published],
) -> Result<Vec<Listener>, HostError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let is_within = |protocol, port, beyond: fn(&(u16, u16)) -> u16| {
        let mut of = wanted.iter().filter(|(of, _)| *of == protocol);
        of.any(|(_, range)| (range.0..=beyond(range)).contains(&port))
    };
    let is_wanted = |protocol, port| is_within(protocol, port, |range| range.1);
    let is_near = |protocol, port| is_within(protocol, port, last_near);
    let foreign = foreign.iter().filter(|port| is_near(port.protocol, port.port));
    let mut found: Vec<Listener> = foreign.map(published).collect();
    let own: BTreeSet<_> = containers.values().filter(|c| c.monitored).flat_map(reserved).collect();
    let mut sockets = listening::sockets(is_near)
        .map_err(|e| HostError::io("list the sockets of", "/proc/net", e))?;
    sockets.retain(|socket| {
        let key = (socket.protocol, socket.port, socket.address);
        !own.contains(&key) && !found.iter().any(|other| is_of(socket, other))
    });
    let asked_for = sockets.iter().filter(|socket| is_wanted(socket.protocol, socket.port));
    let inodes = asked_for.map(|socket| socket.inode).collect();
    let holders = holders::of(&inodes, &host.roots.run);
    found.extend(sockets.into_iter().map(|socket| Listener {
        protocol: socket.protocol,
        port: socket.port,
        address: socket.address,
        both: socket.both,
        owner: holders.get(&socket.inode).cloned().unwrap_or(PortOwner::Unknown),
    }));
    Ok(found)
}

/// The last port that is of interest where these are wanted.
fn last_near((first, last): &(u16, u16)) -> u16 {
    if first == last { last.saturating_add(PORTS_BEYOND) } else { *last }
}

/// Where the monitor of a container holds its ports.
fn reserved(
    container: &ObservedContainer,
) -> impl Iterator<Item = (berth_schema::stack::Protocol, u16, IpAddr)> {
    let all = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    container.published.iter().flat_map(move |port: &PortSpec| {
        let addresses = port.host_ip.map_or(all.to_vec(), |ip| vec![ip]);
        let number = port.published.map_or(0, |(first, _)| first);
        addresses.into_iter().map(move |address| (port.protocol, number, address))
    })
}

fn published(port: &Published) -> Listener {
    let all: IpAddr = match port.target {
        std::net::SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        std::net::SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    Listener {
        protocol: port.protocol,
        port: port.port,
        address: port.host.unwrap_or(all),
        both: false,
        owner: PortOwner::Foreign { name: port.owner.clone() },
    }
}

/// Whether a socket is what reserves a port that is published.
fn is_of(socket: &Socket, published: &Listener) -> bool {
    (socket.protocol, socket.port, socket.address)
        == (published.protocol, published.port, published.address)
}
