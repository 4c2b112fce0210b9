//! Networks, and containers on them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use berth_schema::stack::{Beside, NetworkDriver};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::bridge::BridgeOptions;

/// A container on a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSpec {
    /// Names on this network besides the container's and the service's.
    pub aliases: Vec<String>,
    /// Fixed address.
    pub ipv4_address: Option<Ipv4Addr>,
    /// Fixed address.
    pub ipv6_address: Option<Ipv6Addr>,
    /// Fixed MAC.
    pub mac_address: Option<String>,
    /// Order of connecting; highest first.
    pub priority: i32,
    /// Who gives the default route; highest wins.
    pub gw_priority: i32,
    /// Name of the link in the container; `None` takes the next of `eth0`, `eth1`, ….
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface_name: Option<String>,
    /// Further addresses of the link alone, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub link_local_ips: Vec<IpAddr>,
    /// Settings of the link, `net.ipv4.conf.IFNAME.forwarding`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
}

impl EndpointSpec {
    /// Without what one container alone can have.
    pub fn without_fixed_addresses(&mut self) {
        (self.ipv4_address, self.ipv6_address, self.mac_address) = (None, None, None);
        self.link_local_ips.clear();
    }
}

/// A network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Must exist, is never created or removed.
    pub external: bool,
    /// Stacks share it: the first makes it, the last removes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// What kind of network.
    #[serde(default, skip_serializing_if = "NetworkDriver::is_bridge")]
    pub driver: NetworkDriver,
    /// How it stands beside a link of the host, of the drivers that do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<Beside>,
    /// No way out.
    pub internal: bool,
    /// No IPv4.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_ipv4: bool,
    /// Also IPv6.
    pub enable_ipv6: bool,
    /// Subnets asked for, of the families it has; of a family without one the planner chooses.
    pub pools: Vec<PoolSpec>,
    /// Options of a bridge.
    #[serde(default, skip_serializing_if = "BridgeOptions::is_default")]
    pub bridge: BridgeOptions,
    /// Options of another driver.
    pub driver_opts: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

impl NetworkSpec {
    /// Whether a default route may lead out by it.
    pub fn leads_out(&self) -> bool {
        !self.internal && (self.beside.is_none() || self.parent().is_some())
    }

    /// The link of the host that it stands beside, when that leads somewhere.
    pub fn parent(&self) -> Option<&str> {
        self.beside.as_ref()?.parent.as_deref()
    }

    /// Whether only one container at a time can be on it.
    pub fn is_for_one(&self) -> bool {
        self.beside.as_ref().is_some_and(|beside| beside.way.is_for_one())
    }

    /// Whether it stands beside the same link of the host in a way that the link cannot have with the other.
    pub fn excludes(&self, other: &NetworkSpec) -> bool {
        let (Some(one), Some(two)) = (&self.beside, &other.beside) else { return false };
        one.parent.is_some() && one.parent == two.parent && one.way.excludes(two.way)
    }
}

/// Addresses of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSpec {
    /// The subnet.
    pub subnet: IpNet,
    /// Addresses are given from here.
    pub ip_range: Option<IpNet>,
    /// The bridge's address; default the first.
    pub gateway: Option<IpAddr>,
    /// Never given.
    pub reserved: Vec<IpAddr>,
}

impl PoolSpec {
    /// Where addresses are given from.
    pub fn range(&self) -> IpNet {
        self.ip_range.unwrap_or(self.subnet)
    }
}
