//! Published ports for people, and the mark on those that are open to everybody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use berth_planner::desired::PortSpec;
use berth_schema::stack::Protocol;

/// The mark of a port that is published on every address of the host.
pub(crate) const PUBLIC: &str = "PUBLIC";

/// Whether a port is open on every address of the host.
pub(crate) fn is_public(port: &PortSpec) -> bool {
    port.host_ip.is_none_or(|address| address.is_unspecified())
}

/// Host addresses of a port: both families when the file names none.
pub(crate) fn addresses(port: &PortSpec) -> Vec<IpAddr> {
    match port.host_ip {
        Some(address) => vec![address],
        None => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
    }
}

/// `0.0.0.0:8080->80/tcp`, once for each address.
pub(crate) fn lines(port: &PortSpec) -> Vec<String> {
    let line = |address: IpAddr| match port.published {
        Some(range) => {
            format!("{}->{}/{}", socket(address, range), port.target, protocol(port.protocol))
        }
        None => format!("{}/{}", port.target, protocol(port.protocol)),
    };
    addresses(port).into_iter().map(line).collect()
}

/// All ports of a container in one cell, public ones marked.
pub(crate) fn cell(ports: &[PortSpec]) -> String {
    let mut parts = Vec::new();
    for port in ports {
        parts.extend(lines(port));
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

    #[test]
    fn a_port_on_every_address_is_marked() {
        let all = port(None, Some((8080, 8080)));
        assert_eq!(cell(&[all]), "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp PUBLIC");
        let v4 = port(Some("0.0.0.0"), Some((8080, 8080)));
        assert_eq!(cell(&[v4]), "0.0.0.0:8080->80/tcp PUBLIC");
    }

    #[test]
    fn a_port_on_one_address_is_not() {
        let own = port(Some("127.0.0.1"), Some((8000, 8010)));
        assert_eq!(cell(&[own]), "127.0.0.1:8000-8010->80/tcp");
        assert_eq!(cell(&[]), "");
    }
}
