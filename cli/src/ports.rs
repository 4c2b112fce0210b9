//! Published ports for people, and the mark on those that are open to everybody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use berth_network::firewall::Published;
use berth_planner::desired::PortSpec;
use berth_planner::observed::ContainerRecord;
use berth_schema::stack::Protocol;

/// The mark of a port that is published on every address of the host.
pub(crate) const PUBLIC: &str = "PUBLIC";

/// Whether a port is open on every address of the host.
pub(crate) fn is_public(port: &PortSpec) -> bool {
    port.host_ip.is_none_or(|address| address.is_unspecified())
}

/// The IP families a container has an address of, and the host. Of SCTP a port leads nowhere in
/// the other; anything else a relay carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Families {
    v4: bool,
    v6: bool,
    host_has_v6: bool,
}

impl Families {
    /// Those of a container on this host.
    pub(crate) fn of(record: &ContainerRecord) -> Families {
        let addresses = || record.addresses.values();
        Families {
            v4: addresses().any(|on| on.ipv4.is_some()),
            v6: addresses().any(|on| on.ipv6.is_some()),
            host_has_v6: std::path::Path::new("/proc/net/if_inet6").exists(),
        }
    }
}

/// Host addresses of a port: when the file names none, all of every family it is reached in.
pub(crate) fn addresses(port: &PortSpec, families: Families) -> Vec<IpAddr> {
    let carried = port.protocol != Protocol::Sctp;
    let v4 = families.v4 || families.v6 && carried;
    let v6 = (families.v6 || families.v4 && carried) && families.host_has_v6;
    let v4 = v4.then_some(Ipv4Addr::UNSPECIFIED.into());
    let v6 = v6.then_some(Ipv6Addr::UNSPECIFIED.into());
    match port.host_ip {
        Some(address) => vec![address],
        None => v4.into_iter().chain(v6).collect(),
    }
}

/// Where a port is to be reached, with the rule that makes it so.
pub(crate) struct Place<'a> {
    /// At the host or at the container; `None` when the rule that says where is missing.
    pub(crate) at: Option<SocketAddr>,
    pub(crate) rule: Option<&'a Published>,
}

/// The places of a port of a container that runs: addresses of the host, or the container's own in
/// the families in which its network is routed.
pub(crate) fn places<'a>(
    container: &ContainerRecord,
    port: &PortSpec,
    rules: &'a [Published],
) -> Vec<Place<'a>> {
    let place = |rule: &'a Published| Place { at: Some(rule.target), rule: Some(rule) };
    let of_it = |rule: &&Published| {
        (&rule.owner, rule.protocol, rule.port) == (&container.name, port.protocol, port.target)
    };
    let own: Vec<&Published> = rules.iter().filter(|r| r.is_own()).filter(of_it).collect();
    let Some((number, _)) = port.published else {
        return match own.is_empty() {
            true => vec![Place { at: None, rule: None }],
            false => own.into_iter().map(place).collect(),
        };
    };
    let at_host = |address: IpAddr| {
        let leads_here = |rule: &&Published| {
            let host = rule.host.filter(|host| !host.is_unspecified());
            (rule.protocol, rule.port) == (port.protocol, number)
                && rule.target.is_ipv4() == address.is_ipv4()
                && host == Some(address).filter(|address| !address.is_unspecified())
        };
        let own = own.iter().find(|rule| rule.target.is_ipv4() == address.is_ipv4());
        match (rules.iter().find(leads_here), own) {
            (None, Some(rule)) => place(rule),
            (rule, _) => Place { at: Some(SocketAddr::new(address, number)), rule },
        }
    };
    addresses(port, Families::of(container)).into_iter().map(at_host).collect()
}

/// `0.0.0.0:8080->80/tcp`, once for each address; `80/tcp` when none of the host leads there.
pub(crate) fn lines(port: &PortSpec, families: Families) -> Vec<String> {
    let target = format!("{}/{}", port.target, protocol(port.protocol));
    let Some(range) = port.published else { return vec![target] };
    let line = |address| format!("{}->{target}", socket(address, range));
    addresses(port, families).into_iter().map(line).collect()
}

/// Ports a service listens on for those who share a network with it: `80/tcp`, `3000-3005/udp`.
/// What is published too is not told again.
pub(crate) fn exposed(expose: &[String], ports: &[PortSpec]) -> Vec<String> {
    let full = |text: &String| match text.contains('/') {
        true => text.clone(),
        false => format!("{text}/tcp"),
    };
    let published = |text: &String| {
        ports.iter().any(|p| *text == format!("{}/{}", p.target, protocol(p.protocol)))
    };
    expose.iter().map(full).filter(|text| !published(text)).collect()
}

/// All ports of a container in one cell, public ones marked.
pub(crate) fn cell(expose: &[String], ports: &[PortSpec], families: Families) -> String {
    let mut parts = exposed(expose, ports);
    for port in ports {
        parts.extend(lines(port, families));
    }
    let mark = if ports.iter().any(is_public) { format!(" {PUBLIC}") } else { String::new() };
    format!("{}{mark}", parts.join(", "))
}

/// `0.0.0.0:8080`, `[::]:8080`, `127.0.0.1:8000-8010`.
pub(crate) fn socket(address: IpAddr, (first, last): (u16, u16)) -> String {
    let address = match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    };
    if first == last { format!("{address}:{first}") } else { format!("{address}:{first}-{last}") }
}

/// `tcp`, `udp`, `sctp`.
pub(crate) fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(host_ip: Option<&str>, published: Option<(u16, u16)>) -> PortSpec {
        let host_ip = host_ip.map(|text| text.parse().unwrap());
        PortSpec { host_ip, published, target: 80, protocol: Protocol::Tcp }
    }

    const BOTH: Families = Families { v4: true, v6: true, host_has_v6: true };

    #[test]
    fn a_port_on_every_address_is_marked() {
        let all = port(None, Some((8080, 8080)));
        assert_eq!(cell(&[], &[all], BOTH), "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp PUBLIC");
        let v4 = port(Some("0.0.0.0"), Some((8080, 8080)));
        assert_eq!(cell(&[], &[v4], BOTH), "0.0.0.0:8080->80/tcp PUBLIC");
    }

    #[test]
    fn a_port_is_not_shown_where_it_leads_nowhere() {
        let all = port(None, Some((8080, 8080)));
        let only_v4 = Families { v4: true, v6: false, host_has_v6: true };
        let sctp = PortSpec { protocol: Protocol::Sctp, ..all.clone() };
        assert_eq!(cell(&[], &[sctp], only_v4), "0.0.0.0:8080->80/sctp PUBLIC");
        let carried = "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp PUBLIC";
        assert_eq!(cell(&[], std::slice::from_ref(&all), only_v4), carried);
        let without = Families { host_has_v6: false, ..only_v4 };
        assert_eq!(cell(&[], &[all], without), "0.0.0.0:8080->80/tcp PUBLIC");
    }

    #[test]
    fn a_port_for_the_networks_alone_comes_first_and_no_port_twice() {
        let expose = ["80", "53/udp", "3000-3005"].map(str::to_owned);
        let own = port(Some("127.0.0.1"), Some((8000, 8000)));
        let told = cell(&expose, &[own], BOTH);
        assert_eq!(told, "53/udp, 3000-3005/tcp, 127.0.0.1:8000->80/tcp");
    }

    #[test]
    fn a_port_at_the_containers_own_addresses_is_told_once() {
        assert_eq!(lines(&port(None, None), BOTH), ["80/tcp"]);
    }

    #[test]
    fn a_port_on_one_address_is_not() {
        let own = port(Some("127.0.0.1"), Some((8000, 8010)));
        assert_eq!(cell(&[], &[own], BOTH), "127.0.0.1:8000-8010->80/tcp");
        assert_eq!(cell(&[], &[], BOTH), "");
    }
}
