//! Networks of a container, and the names on them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use berth_schema::stack::Way;
use serde::{Deserialize, Serialize};

/// Where the network namespace comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// A namespace of its own with these links (none: loopback only).
    Own(Vec<Link>),
    /// The host's.
    #[default]
    Host,
    /// That of another container of this host, by name.
    Container(String),
}

/// A link into a bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Network by name on the host.
    pub network: String,
    /// Its bridge, or the link of the host that it stands beside.
    pub bridge: String,
    /// How it stands beside that; `None` is a link into a bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<Way>,
    /// Name inside (`eth0`).
    pub name: String,
    /// Fixed MAC; else made from the first address.
    pub mac: Option<[u8; 6]>,
    /// IPv4 address with prefix length.
    pub ipv4: Option<(Ipv4Addr, u8)>,
    /// IPv6 address with prefix length.
    pub ipv6: Option<(Ipv6Addr, u8)>,
    /// Further addresses, of the link only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub link_local: Vec<IpAddr>,
    /// Settings of the link, `net.ipv4.conf.IFNAME.forwarding`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Next hops of the default route of each family that leads out by this link; `0.0.0.0` and
    /// `::` are the link itself.
    pub gateways: Vec<IpAddr>,
    /// Names of the container on this network.
    pub names: Vec<String>,
    /// Bytes of its largest packet; else as links normally have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Nothing leads out of the network.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub internal: bool,
    /// Others on the network are not reached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub apart: bool,
    /// How IPv4 ports are published.
    #[serde(default, skip_serializing_if = "Publishing::is_normal")]
    pub ipv4_ports: Publishing,
    /// How IPv6 ports are published.
    #[serde(default, skip_serializing_if = "Publishing::is_normal")]
    pub ipv6_ports: Publishing,
}

/// Where the ports of a container are reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Publishing {
    /// At the host.
    #[default]
    Host,
    /// At the container's own address.
    Own,
    /// At both.
    Both,
}

impl Publishing {
    /// Whether it is as usual.
    pub fn is_normal(&self) -> bool {
        *self == Publishing::Host
    }
}

/// What the container's resolver knows besides its networks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// `/run/berth/names/NETWORK` of each network it is on: name → folder of [`NameRecord`]s.
    pub networks: BTreeMap<String, PathBuf>,
    /// Servers for other names, asked from the container's network; empty follows the host's
    /// resolv.conf.
    pub servers: Vec<IpAddr>,
    /// Search domains, its own or the host's.
    pub search: Vec<String>,
    /// Options, its own or the host's.
    pub options: Vec<String>,
    /// Names for others that this container alone knows.
    #[serde(default)]
    pub links: Vec<NameLink>,
    /// Addresses of the host as the container reaches it.
    #[serde(default)]
    pub host: Vec<IpAddr>,
    /// Lines of `/etc/hosts`: name, address.
    pub hosts: Vec<(String, IpAddr)>,
    /// Other names are not asked of the host's servers (all its networks are internal).
    pub internal: bool,
}

/// One container on one network, as the file `names/NETWORK/CONTAINER` holds it. Without an
/// address it does not run, and the names are nobody else's all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameRecord {
    /// Its IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// Every name it answers to on this network; the first is the one a reverse lookup gives.
    pub names: Vec<String>,
}

/// A name that one container alone has for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameLink {
    /// A name of the other on a network they share.
    pub name: String,
    /// What it is called here.
    pub alias: String,
    /// What stands before the number in names of the other's containers; they are `name-1` here.
    pub numbered: Option<String>,
}

impl NameLink {
    /// What somebody of these names is called besides.
    pub fn names_for(&self, names: &[String]) -> Vec<String> {
        if !names.iter().any(|name| name.eq_ignore_ascii_case(&self.name)) {
            return Vec::new();
        }
        let number = self.numbered.as_deref().and_then(|prefix| {
            let number = names.first()?.strip_prefix(prefix)?;
            number.parse::<u32>().is_ok().then(|| format!("{}-{number}", self.name))
        });
        std::iter::once(self.alias.clone()).chain(number).collect()
    }
}
