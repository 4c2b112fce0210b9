//! Networks, how services stand on them, and published ports.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::read::{Reader, is_on, number, text, text_map, texts};
use crate::resources::is_bridged;
use crate::stack::{
    IpamPool, Link, Network, NetworkDriver, Port, Protocol, Service, ServiceNetwork,
};
use crate::tree::{Node, Value};
use crate::value::{self, Bad, bad};
use crate::words::{mac_address, subnet};

/// Where a container asks for names, in its own network.
const RESOLVER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));

impl Reader<'_> {
    pub(super) fn networking(&mut self, node: &Node, service: &mut Service) {
        service.ports = self.list(node, "ports", Self::port);
        service.expose = texts(node, "expose");
        service.networks =
            self.entries(node, "networks", |reader, _, node| Some(reader.endpoint(node)));
        if is_bridged(node) {
            service.networks.insert("default".into(), ServiceNetwork::default());
        }
        service.links = self.each(node, "links", link);
        service.external_links = self.each(node, "external_links", link);
        service.hostname = self.read(node, "hostname", host_name);
        service.domainname = self.read(node, "domainname", host_name);
        service.mac_address = self.read(node, "mac_address", mac_address);
        service.extra_hosts = self.list(node, "extra_hosts", Self::extra_host);
        let host = node.get_text("network_mode") == Some("host");
        service.dns = self.list(node, "dns", |reader, at| reader.name_server(at, host));
        service.dns_search = texts(node, "dns_search");
        service.dns_opt = texts(node, "dns_opt");
    }

    fn port(&mut self, node: &Node) -> Option<Port> {
        let host_ip = self.parse(node, "host_ip", "an address");
        let protocol = self.read(node, "protocol", protocol);
        let published = match node.get_text("published") {
            None | Some("0") => None,
            Some(text) => value::port_range(text).ok(),
        };
        let target = number(node, "target")?;
        Some(Port { target, published, host_ip, protocol: protocol.unwrap_or(Protocol::Tcp) })
    }

    /// `NAME=ADDRESS`, as all lines for `/etc/hosts` are written by now.
    pub(super) fn extra_host(&mut self, node: &Node) -> Option<(String, String)> {
        let (name, address) = node.as_text()?.split_once('=')?;
        if address != "host-gateway" && address.parse::<IpAddr>().is_err() {
            let why = "does not end in an address";
            self.refuse(node, why, "write an IPv4 or IPv6 address, or `host-gateway`");
            return None;
        }
        Some((name.to_owned(), address.to_owned()))
    }

    /// A name server. That at [`RESOLVER`] would ask itself; on the host's network it is the
    /// host's.
    fn name_server(&mut self, node: &Node, host: bool) -> Option<IpAddr> {
        let address = self.address(node)?;
        if address.to_canonical() == RESOLVER && !host {
            let why = "is where the container asks for names, and would ask itself";
            let help = "leave it out, for the servers the host uses, or name another server";
            self.refuse(node, why, help);
            return None;
        }
        Some(address)
    }

    fn address(&mut self, node: &Node) -> Option<IpAddr> {
        let address = node.as_text()?.parse().ok();
        if address.is_none() {
            self.bad(node, Bad { why: "is not an address".into(), help: None });
        }
        address
    }

    pub(super) fn network(&mut self, node: &Node) -> Network {
        let ipam = node.get("ipam");
        let driver = self.network_driver(node);
        Network {
            name: text(node, "name").unwrap_or_default(),
            external: is_on(node, "external"),
            shared: node.get("x-berth").is_some_and(|berth| is_on(berth, "shared")),
            internal: is_on(node, "internal"),
            driver,
            beside: self.beside(node, driver),
            driver_opts: text_map(node, "driver_opts"),
            enable_ipv6: is_on(node, "enable_ipv6"),
            without_ipv4: self.without_ipv4(node),
            attachable: is_on(node, "attachable"),
            ipam: self
                .get(node, "ipam", |reader, ipam| Some(reader.pools(ipam)))
                .unwrap_or_default(),
            ipam_options: ipam.map(|ipam| text_map(ipam, "options")).unwrap_or_default(),
            labels: text_map(node, "labels"),
        }
    }

    /// What kind of network; those that are not done are refused, and read all the same.
    fn network_driver(&mut self, node: &Node) -> NetworkDriver {
        let Some((at, name)) = node.get("driver").and_then(|at| Some((at, at.as_text()?))) else {
            return NetworkDriver::Bridge;
        };
        let driver = match name {
            "" | "bridge" | "default" => return NetworkDriver::Bridge,
            "host" => NetworkDriver::Host,
            "none" => NetworkDriver::None,
            "macvlan" => return NetworkDriver::Macvlan,
            "ipvlan" => return NetworkDriver::Ipvlan,
            _ => NetworkDriver::Bridge,
        };
        self.not_yet(at, &format!("the network driver `{name}`"), "use bridge, macvlan or ipvlan");
        driver
    }

    fn without_ipv4(&mut self, node: &Node) -> bool {
        let Some(at) = node.get("enable_ipv4").filter(|at| at.value == Value::Bool(false)) else {
            return false;
        };
        if !is_on(node, "enable_ipv6") {
            let why = "without IPv4 and IPv6 there are no addresses at all";
            self.wrong(at, why, "add `enable_ipv6: true`, or take `enable_ipv4` away".to_owned());
        }
        true
    }

    fn pools(&mut self, ipam: &Node) -> Vec<IpamPool> {
        if let Some(name) = ipam.get_text("driver").filter(|name| !["", "default"].contains(name))
            && let Some(at) = ipam.get("driver")
        {
            let what = format!("the address management `{name}`");
            self.not_yet(at, &what, "use `default`, or take it away");
        }
        self.list(ipam, "config", |reader, pool| Some(reader.pool(pool)))
    }

    fn pool(&mut self, node: &Node) -> IpamPool {
        let aux_addresses: BTreeMap<String, IpAddr> =
            self.entries(node, "aux_addresses", |reader, _, address| reader.address(address));
        IpamPool {
            subnet: self.read(node, "subnet", subnet),
            ip_range: self.read(node, "ip_range", subnet),
            gateway: self.parse(node, "gateway", "an address"),
            aux_addresses,
        }
    }
}

fn protocol(text: &str) -> Result<Protocol, Bad> {
    match text {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Ok(Protocol::Sctp),
        _ => bad("is not a protocol", "protocols are tcp, udp and sctp"),
    }
}

/// `NAME[:ALIAS]`.
fn link(text: &str) -> Result<Link, Bad> {
    let (name, alias) = text.split_once(':').unwrap_or((text, text));
    if name.is_empty() || alias.is_empty() || alias.contains(':') {
        return bad("is not a link", "write `NAME` or `NAME:ALIAS`");
    }
    Ok(Link { name: name.to_owned(), alias: alias.to_owned() })
}

/// What the kernel takes as the name of a host or a domain.
fn host_name(text: &str) -> Result<String, Bad> {
    if text.len() > 64 {
        return bad("is longer than the 64 bytes that the kernel takes", "shorten it");
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
        return bad("is not a name of a host", "names have letters, digits, `.` and `-`");
    }
    Ok(text.to_owned())
}
