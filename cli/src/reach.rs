//! Who reaches a published port, and what is in the way, for people.

use std::net::IpAddr;

use berth_network::firewall::{self, Published};
use berth_network::foreign::{self, Answer, Obstacle, Ruleset, Scope, Way};
use berth_network::links::{self, Link};
use berth_network::listening::Socket;
use berth_schema::stack::Protocol;

/// What of the host decides who reaches a port.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grounds {
    /// Our own rules.
    pub(crate) ours: firewall::Observed,
    /// Those of others.
    pub(crate) foreign: Ruleset,
    /// The links of the host.
    pub(crate) links: Vec<Link>,
    /// Tables of `iptables` without nftables that can stop packets. They are not read.
    pub(crate) unread: Vec<String>,
}

impl Grounds {
    /// Looks at the host.
    pub(crate) fn gather() -> Result<Grounds, berth_network::NetError> {
        Ok(Grounds {
            ours: firewall::observe()?,
            foreign: foreign::read()?,
            links: links::links()?,
            unread: unread(),
        })
    }

    /// What cannot be said, when there are rules that are not read.
    pub(crate) fn unsaid(&self) -> Option<String> {
        let tables = self.unread.join(", ");
        (!tables.is_empty())
            .then(|| format!("iptables-legacy has tables ({tables}), which are not read"))
    }

    /// The ways to a published port.
    pub(crate) fn ways(&self, port: &Published) -> Vec<Way> {
        foreign::reach(&self.foreign, &self.links, &self.ours.networks, port)
    }

    /// How a port is to those who come by `ways`, and what makes it so.
    pub(crate) fn state(&self, port: &Published, ways: &[Way]) -> (State, Vec<String>) {
        match ways {
            [] => (State::Unreachable, vec![self.absence(port)]),
            ways => state(ways),
        }
    }

    /// Why no link leads to a port.
    fn absence(&self, port: &Published) -> String {
        let family = if port.target.is_ipv4() { "IPv4" } else { "IPv6" };
        match Scope::of(port.host) {
            Scope::Address(address) if !port.is_own() => {
                let has = |link: &&Link| link.addresses.iter().any(|net| net.addr() == address);
                match self.links.iter().find(has) {
                    Some(link) => format!("link {} with {address} is down", link.name),
                    None => format!("no link of this host has {address}"),
                }
            }
            _ => format!("no link with an {family} address is up"),
        }
    }

    /// The network that a port leads into.
    pub(crate) fn network_of(&self, port: &Published) -> Option<&firewall::Network> {
        let leads_to = |network: &&firewall::Network| {
            network.subnets.iter().any(|subnet| subnet.contains(&port.target.ip()))
        };
        self.ours.networks.iter().find(leads_to)
    }
}

/// The old tables of this network namespace, as the kernel lists them.
fn unread() -> Vec<String> {
    let mut tables = Vec::new();
    for file in ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"] {
        let names = std::fs::read_to_string(file).unwrap_or_default();
        tables.extend(names.lines().filter(|name| *name != "nat").map(str::to_owned));
    }
    tables.sort();
    tables.dedup();
    tables
}

/// How a port is, from the worst to the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// No link leads to it.
    Unreachable,
    /// A rule of others stops what comes by every way, or by some.
    Blocked,
    /// Nothing in the container listens.
    Silent,
    /// A rule of others may stop it; what decides is not understood.
    Unclear,
    /// A rule of others lets only some senders pass.
    Partly,
    /// It is reached.
    Open,
}

impl State {
    /// For programs.
    pub(crate) fn word(self) -> &'static str {
        match self {
            State::Unreachable => "unreachable",
            State::Blocked => "blocked",
            State::Silent => "silent",
            State::Unclear => "unclear",
            State::Partly => "partly",
            State::Open => "open",
        }
    }
}

/// What the ways to a port come to: the state, and what makes it so.
fn state(ways: &[Way]) -> (State, Vec<String>) {
    let mut state = State::Open;
    let mut told: Vec<(String, Vec<String>)> = Vec::new();
    for way in ways {
        let (found, words) = match &way.answer {
            Answer::Passes => continue,
            Answer::Blocked(by) => (State::Blocked, format!("blocked{}", stopped(by))),
            Answer::Partly(by) => (State::Partly, format!("not for everybody{}", stopped(by))),
            Answer::Unclear(by) => (State::Unclear, format!("may be blocked{}", stopped(by))),
        };
        state = state.min(found);
        let link = way.link.clone().unwrap_or_else(|| "this host".to_owned());
        match told.iter_mut().find(|(same, _)| *same == words) {
            Some((_, from)) => from.push(link),
            None => told.push((words, vec![link])),
        }
    }
    let from = |(words, links): (String, Vec<String>)| match links.len() == ways.len() {
        true => words,
        false => format!("from {}: {words}", links.join(", ")),
    };
    (state, told.into_iter().map(from).collect())
}

fn stopped(by: &Obstacle) -> String {
    let answer = if by.of_answer { " on its way back" } else { "" };
    format!("{answer} by {by}")
}

/// What is wrong with who listens in the container; `None` when the port has a listener.
pub(crate) fn silence(sockets: &[Socket], protocol: Protocol, at: (IpAddr, u16)) -> Option<String> {
    let (address, port) = at;
    let on_port = || sockets.iter().filter(|s| (s.protocol, s.port) == (protocol, port));
    let takes = |socket: &Socket| {
        let same_family = socket.address.is_ipv4() == address.is_ipv4();
        socket.address == address || socket.both || (socket.address.is_unspecified() && same_family)
    };
    if on_port().any(takes) {
        return None;
    }
    match on_port().next() {
        Some(other) => Some(format!("listens on {} only", other.address)),
        None => Some(format!("nothing listens on port {port}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(address: &str) -> Socket {
        let address: IpAddr = address.parse().unwrap();
        let both = address == "::".parse::<IpAddr>().unwrap();
        Socket { protocol: Protocol::Tcp, port: 80, address, both, inode: 1 }
    }

    #[test]
    fn a_port_has_a_listener_only_where_its_packets_come_to() {
        let at = |address: &str| (address.parse().unwrap(), 80);
        let told = |own: &str| silence(&[socket(own)], Protocol::Tcp, at("10.0.0.2"));
        assert_eq!(told("0.0.0.0"), None);
        assert_eq!(told("::"), None);
        assert_eq!(told("10.0.0.2"), None);
        assert_eq!(told("127.0.0.1").as_deref(), Some("listens on 127.0.0.1 only"));
        let udp = silence(&[socket("::")], Protocol::Udp, at("10.0.0.2"));
        assert_eq!(udp.as_deref(), Some("nothing listens on port 80"));
    }
}
