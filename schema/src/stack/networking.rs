//! Networks, how services stand on them, and published ports.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// Port in the container.
    pub target: u16,
    /// First and last host port; `None` asks for a free one. More than one means "the first free".
    pub published: Option<(u16, u16)>,
    /// Host address; `None` means all, IPv4 and IPv6.
    pub host_ip: Option<IpAddr>,
    /// Transport.
    pub protocol: Protocol,
}

/// Transport of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A service on a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceNetwork {
    /// Further names on this network.
    pub aliases: Vec<String>,
    /// Fixed IPv4 address.
    pub ipv4_address: Option<std::net::Ipv4Addr>,
    /// Fixed IPv6 address.
    pub ipv6_address: Option<std::net::Ipv6Addr>,
    /// Order of connecting; highest is first.
    pub priority: i32,
    /// Who gives the default route; highest wins.
    pub gw_priority: i32,
    /// MAC address as written.
    pub mac_address: Option<String>,
}

/// A top-level network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Name on the host (`PROJECT_KEY` unless given).
    pub name: String,
    /// Must exist already, never created or removed.
    pub external: bool,
    /// No way out, nothing published.
    pub internal: bool,
    /// `bridge` here.
    pub driver: Option<String>,
    /// Options of the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// Also IPv6.
    pub enable_ipv6: bool,
    /// Address pools asked for.
    pub ipam: Vec<IpamPool>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// One pool of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpamPool {
    /// `10.1.0.0/24`.
    pub subnet: Option<String>,
    /// Part of the subnet that addresses are given from.
    pub ip_range: Option<String>,
    /// The bridge's own address.
    pub gateway: Option<IpAddr>,
    /// Addresses never given.
    pub aux_addresses: BTreeMap<String, IpAddr>,
}
