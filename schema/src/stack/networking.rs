//! Networks, how services stand on them, and published ports.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::beside::Beside;

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
    /// Further addresses, of the link only.
    pub link_local_ips: Vec<IpAddr>,
    /// Name of the link in the container.
    pub interface_name: Option<String>,
    /// Settings of the link, `net.ipv4.conf.IFNAME.forwarding` with `IFNAME` for its name.
    pub sysctls: BTreeMap<String, String>,
}

/// A name for another container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The service, or the container of another project.
    pub name: String,
    /// How it is called here.
    pub alias: String,
}

/// A top-level network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Name on the host (`PROJECT_KEY` unless given).
    pub name: String,
    /// Must exist already, never created or removed.
    pub external: bool,
    /// Stacks share it: the first makes it, the last removes it.
    pub shared: bool,
    /// No way out, nothing published.
    pub internal: bool,
    /// What kind of network.
    pub driver: NetworkDriver,
    /// How it stands beside a link of the host, of the drivers that do.
    pub beside: Option<Beside>,
    /// Options of the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// Also IPv6.
    pub enable_ipv6: bool,
    /// No IPv4.
    pub without_ipv4: bool,
    /// Containers of other projects may join.
    pub attachable: bool,
    /// Address pools asked for.
    pub ipam: Vec<IpamPool>,
    /// Options of whatever gives the addresses.
    pub ipam_options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// What kind of network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkDriver {
    /// A bridge of the host's kernel.
    #[default]
    Bridge,
    /// The host's own network.
    Host,
    /// None: loopback only.
    None,
    /// A link beside one of the host's, with a MAC address of its own.
    Macvlan,
    /// A link beside one of the host's, with the same MAC address.
    Ipvlan,
}

impl NetworkDriver {
    /// Whether it is what a network normally is.
    pub fn is_bridge(&self) -> bool {
        *self == NetworkDriver::Bridge
    }
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
