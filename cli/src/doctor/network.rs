//! The network part: what keeps containers and those who want them apart.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use berth_network::firewall::{self, Base};
use berth_network::foreign::Answer;
use berth_network::links::{self, Link, Route};
use berth_planner::observed::NetworkRecord;
use berth_runtime::paths::Roots;
use berth_runtime::record;

use super::advice;
use super::judge::{Finding, fail, ok, warn};
use super::traffic;
use crate::reach::{Grounds, State};

/// How long a name server may think.
const PATIENCE: Duration = Duration::from_secs(2);
/// Name servers that are asked, as the resolver of the host does (resolv.conf(5)).
const SERVERS: usize = 3;

/// What of the host's network decides who reaches whom.
#[derive(Debug, Clone)]
pub(crate) struct NetworkFacts {
    /// Rules and links; what the kernel says instead when it does not tell.
    pub(crate) grounds: Result<Grounds, String>,
    /// Routes of the host.
    pub(crate) routes: Vec<Route>,
    /// Networks of berth whose bridge is there.
    pub(crate) networks: Vec<NetworkRecord>,
    /// The part of the packet rules that the kernel does not know.
    pub(crate) missing: Option<String>,
    /// `net.ipv4.ip_forward`.
    pub(crate) ip_forward: Option<bool>,
    /// `net.ipv6.conf.all.forwarding`.
    pub(crate) ip6_forward: Option<bool>,
    /// Packets inside a network pass the rules for what is forwarded: of IPv4, of IPv6.
    pub(crate) bridged: (bool, bool),
    /// Name servers that were asked, and whether they answered.
    pub(crate) servers: Vec<(IpAddr, bool)>,
}

impl NetworkFacts {
    /// Looks at the host.
    pub(crate) fn gather(roots: &Roots, servers: &[IpAddr]) -> NetworkFacts {
        let links = links::links().unwrap_or_default();
        let mut networks = records(roots);
        networks.retain(|network| is_bridged(network, &links));
        NetworkFacts {
            grounds: Grounds::gather().map_err(|e| e.to_string()),
            routes: links::routes().unwrap_or_default(),
            networks,
            missing: firewall::probe().err().map(|e| e.to_string()),
            ip_forward: setting("ipv4/ip_forward"),
            ip6_forward: setting("ipv6/conf/all/forwarding"),
            bridged: traffic::bridged(),
            servers: answering(servers),
        }
    }
}

/// Whether a network is a bridge of this host. One beside a link has no rules, and forwards nothing.
pub(super) fn is_bridged(network: &NetworkRecord, links: &[Link]) -> bool {
    network.spec.beside.is_none() && links.iter().any(|link| link.name == network.bridge)
}

pub(super) fn setting(key: &str) -> Option<bool> {
    let text = std::fs::read_to_string(format!("/proc/sys/net/{key}")).ok()?;
    Some(text.trim() != "0")
}

pub(super) fn records(roots: &Roots) -> Vec<NetworkRecord> {
    let entries = std::fs::read_dir(roots.state.join("networks")).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    let read = |name: &String| record::read(&roots.network(name).join("record.json")).ok()?;
    names.iter().filter_map(read).collect()
}

/// Asks all of them at once.
fn answering(servers: &[IpAddr]) -> Vec<(IpAddr, bool)> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = servers
            .iter()
            .take(SERVERS)
            .map(|server| (*server, scope.spawn(|| answers(*server))))
            .collect();
        asked.into_iter().map(|(server, asked)| (server, asked.join().unwrap_or(false))).collect()
    })
}

/// Whether anything comes back from a name server that is asked for the servers of the root.
fn answers(server: IpAddr) -> bool {
    const QUESTION: [u8; 17] = [0x62, 0x74, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
    let any: IpAddr = match server {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let ask = || -> std::io::Result<usize> {
        let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        socket.connect(SocketAddr::new(server, 53))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(&QUESTION)?;
        socket.recv(&mut [0; 512])
    };
    ask().is_ok()
}

/// Every check of the network, in the order of reading.
pub(crate) fn judge(facts: &NetworkFacts) -> Vec<Finding> {
    let mut findings = vec![kernel_parts(facts), forwarding(facts)];
    findings.extend(name_servers(facts));
    findings.extend(own_rules(facts));
    findings.extend(overlaps(facts));
    findings.extend(sizes(facts));
    findings.extend(hindered(facts));
    findings.extend(blocked_ports(facts));
    findings
}

fn kernel_parts(facts: &NetworkFacts) -> Finding {
    match &facts.missing {
        None => ok("packet rules", "sets, nat, fib, masquerade and conntrack are in the kernel"),
        Some(why) => fail(
            "packet rules",
            format!("the kernel refuses a part of them: {why}"),
            "load `nft_nat`, `nft_masq`, `nft_fib_inet`, `nft_ct` and `nf_conntrack`, or use a \
             kernel that has them",
        ),
    }
}

fn forwarding(facts: &NetworkFacts) -> Finding {
    let v6 = facts.networks.iter().any(|n| n.subnets.iter().any(|s| s.gateway.is_ipv6()));
    let (four, six) = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding");
    let off = match (facts.ip_forward, facts.ip6_forward) {
        _ if facts.networks.is_empty() => None,
        (Some(false), _) => Some(four),
        (_, Some(false)) if v6 => Some(six),
        _ => None,
    };
    match (off, facts.ip_forward) {
        (Some(key), _) => fail(
            "forwarding",
            format!("{key} is off: no packet gets into a network or out of it"),
            format!("`sysctl {key}=1`, and look what switched it off (/etc/sysctl.d)"),
        ),
        (None, None) => fail("forwarding", "cannot be read", "mount /proc"),
        (None, Some(true)) => ok("forwarding", "on"),
        (None, Some(false)) => ok("forwarding", "off; berth turns it on with the first network"),
    }
}

fn name_servers(facts: &NetworkFacts) -> Option<Finding> {
    let silent: Vec<String> =
        facts.servers.iter().filter(|(_, answers)| !answers).map(|(a, _)| a.to_string()).collect();
    if silent.is_empty() {
        return None;
    }
    let nobody = silent.len() == facts.servers.len();
    let found = format!("no answer from {}", silent.join(", "));
    let next = match nobody {
        true => {
            "containers find no name outside; put a name server that answers in /etc/resolv.conf"
        }
        false => "names outside are found late; take it out of /etc/resolv.conf",
    };
    Some(warn("names outside", found, next))
}

fn own_rules(facts: &NetworkFacts) -> Option<Finding> {
    let grounds = facts.grounds.as_ref().ok()?;
    if facts.networks.is_empty() {
        return None;
    }
    Some(match grounds.ours.base {
        Base::Current => ok("table inet berth", format!("{} networks", facts.networks.len())),
        Base::Absent => fail(
            "table inet berth",
            "is gone, though there are networks",
            "`berth up` makes it again; look what flushes the rules of others",
        ),
        Base::Different => warn(
            "table inet berth",
            "is of an older version of berth, or somebody changed it",
            "`berth up` makes it anew",
        ),
        Base::Newer => warn(
            "table inet berth",
            "is of a newer version of berth, which this one leaves alone",
            "use the newer one for everything on this host",
        ),
    })
}

/// Routes that came after a network, by a VPN perhaps, and want its addresses.
fn overlaps(facts: &NetworkFacts) -> Vec<Finding> {
    let Ok(grounds) = &facts.grounds else { return Vec::new() };
    let name = |index: u32| {
        let link = grounds.links.iter().find(|link| link.index == index);
        link.map_or("another link", |link| link.name.as_str())
    };
    let mut findings = Vec::new();
    for network in &facts.networks {
        for subnet in &network.subnets {
            let net = subnet.net.trunc();
            let clash = |route: &&Route| {
                let meets = route.net.contains(&net) || net.contains(&route.net);
                meets && route.net.prefix_len() > 1 && name(route.out) != network.bridge
            };
            let Some(route) = facts.routes.iter().find(clash) else { continue };
            let what = match route.net.prefix_len() > net.prefix_len() {
                true => "a part of the network cannot be reached",
                false => "hosts there cannot be reached",
            };
            findings.push(warn(
                "overlap",
                format!(
                    "{net} of network {} and the route {} by {}: {what}",
                    network.name,
                    route.net,
                    name(route.out)
                ),
                "`berth down` and `berth up` choose another subnet, or name one in `ipam`",
            ));
        }
    }
    findings
}

/// Ways out that carry smaller packets than a network.
fn sizes(facts: &NetworkFacts) -> Vec<Finding> {
    let Ok(grounds) = &facts.grounds else { return Vec::new() };
    let link = |wanted: &dyn Fn(&&Link) -> bool| grounds.links.iter().find(wanted);
    let ways = facts.routes.iter().filter(|route| route.net.prefix_len() <= 1);
    let narrowest = ways
        .filter_map(|route| {
            let out = link(&|link: &&Link| link.index == route.out)?;
            Some((route.mtu.unwrap_or(out.mtu).min(out.mtu), out.name.as_str()))
        })
        .min();
    let Some((most, out)) = narrowest else { return Vec::new() };
    let outside = facts.networks.iter().filter(|network| !network.spec.internal);
    outside
        .filter_map(|network| {
            let bridge = link(&|link: &&Link| link.name == network.bridge)?;
            (bridge.mtu > most).then(|| {
                warn(
                    "packet size",
                    format!(
                        "network {} carries packets of {} bytes, {out} only {most}: large \
                         answers from outside may hang",
                        network.name, bridge.mtu
                    ),
                    format!("`driver_opts: {{ com.docker.network.driver.mtu: {most} }}`"),
                )
            })
        })
        .collect()
}

/// What rules of others stop of what containers open.
fn hindered(facts: &NetworkFacts) -> Vec<Finding> {
    let Ok(grounds) = &facts.grounds else { return Vec::new() };
    traffic::judge(grounds, &facts.routes, &facts.networks, facts.bridged)
}

/// Published ports that rules of others close, each with the rule and the owner's next move.
fn blocked_ports(facts: &NetworkFacts) -> Vec<Finding> {
    let grounds = match &facts.grounds {
        Ok(grounds) => grounds,
        Err(why) => {
            let next = "without them nobody can say whether a published port is blocked";
            return vec![warn("published ports", format!("rules cannot be read: {why}"), next)];
        }
    };
    let mut findings = Vec::new();
    if let Some(unsaid) = grounds.unsaid().filter(|_| !grounds.ours.published.is_empty()) {
        let next = "`iptables-legacy -S` shows them; look whether they drop what is forwarded";
        findings.push(warn("old packet rules", unsaid, next));
    }
    for port in &grounds.ours.published {
        let ways = grounds.ways(port);
        let (state, details) = grounds.state(port, &ways);
        let by = ways.iter().find_map(|way| match &way.answer {
            Answer::Passes => None,
            Answer::Blocked(by) | Answer::Partly(by) | Answer::Unclear(by) => Some(by),
        });
        let found = format!("{port} of {}: {}", port.owner, details.join("; "));
        // A host without a link for the time being is no fault of the port.
        if state == State::Unreachable && port.host.is_some() && !port.is_own() {
            let next = "give the address to a link that is up, or publish at another one";
            findings.push(warn("published port", found, next));
            continue;
        }
        let Some(by) = by else { continue };
        let bridge = grounds.network_of(port).map_or("", |network| network.bridge.as_str());
        let next = advice::against(&grounds.foreign, by, bridge, port);
        findings.push(match state {
            // Perhaps it is meant so; what is only for some certainly is.
            State::Partly => ok("published port", found),
            _ => warn("published port", found, next),
        });
    }
    let blocked = findings.iter().any(|finding| finding.next.is_some());
    if !blocked && !grounds.ours.published.is_empty() {
        let count = grounds.ours.published.len();
        let found = format!("{count}; no rule of others stops what is meant to get in");
        findings.insert(0, ok("published ports", found));
    }
    findings
}

#[cfg(test)]
pub(super) mod tests {
    use berth_planner::desired::NetworkSpec;
    use berth_schema::stack::{Beside, MacvlanMode, Way};

    use super::*;

    fn network(name: &str, net: &str) -> NetworkRecord {
        let subnet = serde_json::json!({ "net": net, "gateway": "10.1.0.1" });
        NetworkRecord {
            name: name.into(),
            project: "shop".into(),
            realm: Default::default(),
            spec: NetworkSpec::default(),
            bridge: format!("br-{name}"),
            subnets: vec![serde_json::from_value(subnet).unwrap()],
        }
    }

    fn link(index: u32, name: &str, mtu: u32) -> Link {
        Link { index, name: name.into(), up: true, mtu, ..Link::default() }
    }

    /// Of a host where there is nothing yet.
    pub(in crate::doctor) fn bare() -> NetworkFacts {
        NetworkFacts {
            grounds: Ok(Grounds::default()),
            routes: vec![],
            networks: vec![],
            missing: None,
            ip_forward: Some(false),
            ip6_forward: None,
            bridged: (false, false),
            servers: vec![],
        }
    }

    fn told(facts: &NetworkFacts) -> String {
        let line = |f: Finding| {
            let next = f.next.map(|next| format!("\n     {next}")).unwrap_or_default();
            format!("{:?} {}: {}{next}\n", f.verdict, f.check, f.found)
        };
        judge(facts).into_iter().map(line).collect()
    }

    #[test]
    fn every_trap_of_the_network_is_told_with_a_next_move() {
        let route = |net: &str, out, mtu| Route { net: net.parse().unwrap(), out, mtu };
        let facts = NetworkFacts {
            grounds: Ok(Grounds {
                links: vec![
                    link(2, "eth0", 1500),
                    link(3, "tun0", 1420),
                    link(4, "br-front", 1500),
                ],
                ..Grounds::default()
            }),
            routes: vec![
                route("0.0.0.0/0", 2, None),
                route("0.0.0.0/1", 3, None),
                route("10.0.0.0/8", 3, None),
                route("10.1.0.0/24", 4, None),
            ],
            networks: vec![network("front", "10.1.0.0/24")],
            missing: Some("add rule to `berth leaving`: Operation not supported".into()),
            ip_forward: Some(false),
            ip6_forward: None,
            bridged: (false, false),
            servers: vec![("10.0.0.53".parse().unwrap(), false)],
        };
        insta::assert_snapshot!(told(&facts), @r"
        Fail packet rules: the kernel refuses a part of them: add rule to `berth leaving`: Operation not supported
             load `nft_nat`, `nft_masq`, `nft_fib_inet`, `nft_ct` and `nf_conntrack`, or use a kernel that has them
        Fail forwarding: net.ipv4.ip_forward is off: no packet gets into a network or out of it
             `sysctl net.ipv4.ip_forward=1`, and look what switched it off (/etc/sysctl.d)
        Warn names outside: no answer from 10.0.0.53
             containers find no name outside; put a name server that answers in /etc/resolv.conf
        Fail table inet berth: is gone, though there are networks
             `berth up` makes it again; look what flushes the rules of others
        Warn overlap: 10.1.0.0/24 of network front and the route 10.0.0.0/8 by tun0: hosts there cannot be reached
             `berth down` and `berth up` choose another subnet, or name one in `ipam`
        Warn packet size: network front carries packets of 1500 bytes, tun0 only 1420: large answers from outside may hang
             `driver_opts: { com.docker.network.driver.mtu: 1420 }`
        ");
    }

    #[test]
    fn a_network_beside_a_link_needs_neither_rules_nor_forwarding() {
        let links = [link(2, "br-wire", 1500)];
        let mut wire = network("wire", "10.1.0.0/24");
        assert!(is_bridged(&wire, &links));
        wire.spec.beside = Some(Beside { parent: None, way: Way::Macvlan(MacvlanMode::Bridge) });
        assert!(!is_bridged(&wire, &links));
    }

    #[test]
    fn a_host_without_networks_has_nothing_to_mend() {
        assert!(judge(&bare()).iter().all(|finding| finding.next.is_none()));
    }
}
