//! Networks, how services stand on them, and published ports.

use std::collections::BTreeMap;

use super::read::{Reader, entries, flag, number, text, text_map, texts};
use crate::problem::{Code, Finding};
use crate::stack::{IpamPool, Network, Port, Protocol, ServiceNetwork};
use crate::tree::Node;
use crate::value::{self, bad};
use crate::words::{mac_address, subnet};

impl Reader<'_> {
    pub(super) fn port(&mut self, node: &Node, path: &str) -> Option<Port> {
        let host_ip = self.parse(node, "host_ip", path, "an address");
        let protocol = self.read(node, "protocol", path, |text| match text {
            "tcp" => Ok(Protocol::Tcp),
            "udp" => Ok(Protocol::Udp),
            "sctp" => Ok(Protocol::Sctp),
            _ => bad("is not a protocol", "protocols are tcp, udp and sctp"),
        });
        let published = match node.get_text("published") {
            None | Some("0") => None,
            Some(text) => value::port_range(text).ok(),
        };
        let target = number(node, "target")?;
        Some(Port { target, published, host_ip, protocol: protocol.unwrap_or(Protocol::Tcp) })
    }

    pub(super) fn networks(&mut self, node: &Node, path: &str) -> BTreeMap<String, ServiceNetwork> {
        entries(node, "networks", |key, node| {
            let path = format!("{path}.networks.{key}");
            ServiceNetwork {
                aliases: texts(node, "aliases"),
                ipv4_address: self.parse(node, "ipv4_address", &path, "an IPv4 address"),
                ipv6_address: self.parse(node, "ipv6_address", &path, "an IPv6 address"),
                priority: number(node, "priority").unwrap_or_default(),
                gw_priority: number(node, "gw_priority").unwrap_or_default(),
                mac_address: self.read(node, "mac_address", &path, mac_address),
            }
        })
    }

    pub(super) fn network_mode(&mut self, node: &Node, path: &str) -> Option<String> {
        let mode = self.read(node, "network_mode", path, |text| match text.split_once(':') {
            None if matches!(text, "none" | "host") => Ok(text.to_owned()),
            Some(("service" | "container", name)) if !name.is_empty() => Ok(text.to_owned()),
            _ => bad("is not a network mode here", "use none, host, service:NAME or `networks:`"),
        })?;
        if let (true, Some(ports)) = (mode == "host" || mode == "none", node.get("ports"))
            && !ports.items().is_empty()
        {
            let message = format!("`{path}` publishes ports and has `network_mode: {mode}`");
            let at = node.get("network_mode").map_or(node.span, |node| node.span);
            let help = match mode.as_str() {
                "host" => "with `host` the ports are open already: take `ports` away",
                _ => "nobody reaches a service without a network: take one of both away",
            };
            self.found.push(
                Finding::at(Code::Conflict, ports.span, "these ports", message)
                    .also(at, "this mode")
                    .help(help),
            );
        }
        Some(mode)
    }

    pub(super) fn network(&mut self, key: &str, node: &Node) -> Network {
        let path = format!("networks.{key}");
        let driver = text(node, "driver");
        if let Some(driver) =
            driver.as_deref().filter(|driver| *driver != "bridge" && *driver != "default")
        {
            let at = node.get("driver").unwrap_or(node);
            self.not_yet(at, &path, &format!("the network driver `{driver}`"), "use bridge");
        }
        let pools = node.at(&["ipam", "config"]).map(Node::items).unwrap_or_default();
        Network {
            name: text(node, "name").unwrap_or_default(),
            external: flag(node, "external").unwrap_or_default(),
            internal: flag(node, "internal").unwrap_or_default(),
            driver,
            driver_opts: text_map(node.get("driver_opts")),
            enable_ipv6: flag(node, "enable_ipv6").unwrap_or_default(),
            ipam: pools
                .iter()
                .enumerate()
                .map(|(index, pool)| self.pool(pool, &format!("{path}.ipam.config.{index}")))
                .collect(),
            labels: text_map(node.get("labels")),
        }
    }

    pub(super) fn pool(&mut self, node: &Node, path: &str) -> IpamPool {
        let mut aux_addresses = BTreeMap::new();
        for (name, address) in
            node.get("aux_addresses").and_then(Node::as_map).iter().flat_map(|map| map.iter())
        {
            match self.address(address, &format!("{path}.aux_addresses.{name}")) {
                Some(parsed) => aux_addresses.insert(name.to_owned(), parsed),
                None => None,
            };
        }
        IpamPool {
            subnet: self.read(node, "subnet", path, subnet),
            ip_range: self.read(node, "ip_range", path, subnet),
            gateway: self.parse(node, "gateway", path, "an address"),
            aux_addresses,
        }
    }
}
