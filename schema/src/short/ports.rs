//! Ports in short: `127.0.0.1:8080-8081:80-81/tcp`.

use std::net::IpAddr;

use super::map_of;
use crate::tree::{Node, Value};
use crate::value::{self, Bad, bad};
use crate::walk::Walk;

/// `[[IP:]HOST:]CONTAINER[/PROTOCOL]`, ranges allowed.
pub fn port(walk: &mut Walk<'_>, node: Node) -> Vec<Node> {
    let text = match &node.value {
        Value::Text(text) => text.clone(),
        Value::Int(port) => port.to_string(),
        Value::Map(_) => return vec![node],
        _ => {
            walk.wrong(&node, "a port");
            return Vec::new();
        }
    };
    match ports(&text) {
        Ok(ports) => ports.into_iter().map(|port| port.node(&node)).collect(),
        Err(reason) => {
            walk.bad(&node, reason);
            Vec::new()
        }
    }
}

/// Whether a value is a port in short, `8080:80`.
pub fn port_text(value: &Value) -> Result<Value, Bad> {
    match value {
        Value::Text(text) => ports(text).map(|_| value.clone()),
        Value::Int(port) => ports(&port.to_string()).map(|_| value.clone()),
        _ => bad("is not a port", "write `[[IP:]HOST:]CONTAINER`"),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct ShortPort {
    host_ip: String,
    published: String,
    target: u16,
    protocol: String,
}

impl ShortPort {
    fn node(&self, at: &Node) -> Node {
        let mut node = map_of(at, &[("mode", "ingress"), ("protocol", &self.protocol)]);
        if let Some(map) = node.as_map_mut() {
            map.set("target", Node::new(at.span, Value::Int(i128::from(self.target))));
            if !self.published.is_empty() {
                map.set("published", Node::text(at.span, self.published.as_str()));
            }
            if !self.host_ip.is_empty() {
                map.set("host_ip", Node::text(at.span, self.host_ip.as_str()));
            }
        }
        node
    }
}

fn ports(text: &str) -> Result<Vec<ShortPort>, Bad> {
    const HELP: &str = "write `[[IP:]HOST:]CONTAINER[/tcp|udp|sctp]`, an IPv6 address in brackets";
    let (ports, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return bad(format!("has the protocol `{protocol}`"), "protocols are tcp, udp and sctp");
    }
    let mut parts = ports.rsplitn(3, ':');
    let container = parts.next().unwrap_or_default();
    let (host, ip) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']'));
    let host_ip = match bare.unwrap_or(ip).parse::<IpAddr>() {
        _ if ip.is_empty() => String::new(),
        Ok(IpAddr::V6(_)) if bare.is_none() => {
            return bad("has an IPv6 address without brackets", HELP);
        }
        Ok(_) => bare.unwrap_or(ip).to_owned(),
        Err(_) => return bad(format!("has the address `{ip}`, which is none"), HELP),
    };
    if container.is_empty() {
        return bad("has no container port", HELP);
    }
    let (first, last) = value::port_range(container)?;
    let port = |target, published| ShortPort {
        host_ip: host_ip.clone(),
        published,
        target,
        protocol: protocol.clone(),
    };
    if host.is_empty() {
        return Ok((first..=last).map(|target| port(target, String::new())).collect());
    }
    if host == "0" && first == last {
        return Ok(vec![port(first, host.to_owned())]);
    }
    let (low, high) = value::port_range(host)?;
    match (last - first, high - low) {
        (0, 0) => Ok(vec![port(first, low.to_string())]),
        (0, _) => Ok(vec![port(first, format!("{low}-{high}"))]),
        (targets, hosts) if targets == hosts => Ok((first..=last)
            .zip(low..=high)
            .map(|(target, published)| port(target, published.to_string()))
            .collect()),
        _ => bad("has ranges of different length", "give both sides as many ports"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        match ports(text) {
            Ok(ports) => ports
                .iter()
                .map(|p| format!("[{}]{}>{}/{} ", p.host_ip, p.published, p.target, p.protocol))
                .collect(),
            Err(bad) => bad.why,
        }
    }

    #[test]
    fn short_ports_are_read() {
        for (text, result) in [
            ("80", "[]>80/tcp "),
            ("8080:80", "[]8080>80/tcp "),
            ("127.0.0.1:8080:80/udp", "[127.0.0.1]8080>80/udp "),
            ("[::1]:8080:80", "[::1]8080>80/tcp "),
            ("127.0.0.1::80", "[127.0.0.1]>80/tcp "),
            ("3000-3001", "[]>3000/tcp []>3001/tcp "),
            ("90-91:80-81", "[]90>80/tcp []91>81/tcp "),
            ("90-99:80", "[]90-99>80/tcp "),
            ("90-99:80-81", "has ranges of different length"),
            ("::1:8080:80", "has an IPv6 address without brackets"),
            ("80/icmp", "has the protocol `icmp`"),
            ("70000", "is no port: ports are 1 to 65535"),
            ("a:b", "is not a port"),
            ("80:", "has no container port"),
        ] {
            assert_eq!(show(text), result, "{text}");
        }
    }
}
