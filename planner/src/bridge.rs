//! What a bridge is told besides its addresses, as Docker names it in `driver_opts`.
//!
//! Read once, here; a description carries it typed, and by the same names where it is written
//! down, so that a change is told in the words of the file.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Options of a bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BridgeOptions {
    /// Name of its link on the host.
    #[serde(rename = "com.docker.network.bridge.name", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Containers on it reach each other.
    #[serde(rename = "com.docker.network.bridge.enable_icc", skip_serializing_if = "is_on")]
    pub icc: bool,
    /// What leaves has an address of the host.
    #[serde(
        rename = "com.docker.network.bridge.enable_ip_masquerade",
        skip_serializing_if = "is_on"
    )]
    pub masquerade: bool,
    /// Address of the host for ports that name none.
    #[serde(
        rename = "com.docker.network.bridge.host_binding_ipv4",
        skip_serializing_if = "Option::is_none"
    )]
    pub host_binding: Option<IpAddr>,
    /// The bridge has no IPv4 address.
    #[serde(
        rename = "com.docker.network.bridge.inhibit_ipv4",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub inhibit_ipv4: bool,
    /// How containers are reached by IPv4.
    #[serde(
        rename = "com.docker.network.bridge.gateway_mode_ipv4",
        skip_serializing_if = "GatewayMode::is_nat"
    )]
    pub gateway_mode_ipv4: GatewayMode,
    /// How containers are reached by IPv6.
    #[serde(
        rename = "com.docker.network.bridge.gateway_mode_ipv6",
        skip_serializing_if = "GatewayMode::is_nat"
    )]
    pub gateway_mode_ipv6: GatewayMode,
    /// Links of the host by which published ports are reached at the containers' own addresses.
    #[serde(
        rename = "com.docker.network.bridge.trusted_host_interfaces",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub trusted: Vec<String>,
    /// Bytes of the largest packet.
    #[serde(rename = "com.docker.network.driver.mtu", skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// What the names of links in containers begin with.
    #[serde(
        rename = "com.docker.network.container_iface_prefix",
        skip_serializing_if = "Option::is_none"
    )]
    pub prefix: Option<String>,
}

impl Default for BridgeOptions {
    fn default() -> Self {
        BridgeOptions {
            name: None,
            icc: true,
            masquerade: true,
            host_binding: None,
            inhibit_ipv4: false,
            gateway_mode_ipv4: GatewayMode::Nat,
            gateway_mode_ipv6: GatewayMode::Nat,
            trusted: Vec::new(),
            mtu: None,
            prefix: None,
        }
    }
}

/// How containers of a network are reached from outside, in one family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GatewayMode {
    /// By published ports of the host.
    #[default]
    Nat,
    /// By published ports at their own addresses, which need a route.
    Routed,
    /// As with `Nat`, and by every port at their own addresses.
    NatUnprotected,
    /// Not at all, not even from the host: the bridge has no address.
    Isolated,
}

impl GatewayMode {
    /// Whether it is what a network normally has.
    pub fn is_nat(&self) -> bool {
        *self == GatewayMode::Nat
    }
}

impl BridgeOptions {
    /// Whether nothing is other than normal.
    pub fn is_default(&self) -> bool {
        *self == BridgeOptions::default()
    }

    /// How containers are reached in the family of an address.
    pub fn mode(&self, v4: bool) -> GatewayMode {
        if v4 { self.gateway_mode_ipv4 } else { self.gateway_mode_ipv6 }
    }

    /// Whether the bridge has an address of this family, where the network has one.
    pub fn has_address(&self, v4: bool) -> bool {
        self.mode(v4) != GatewayMode::Isolated && !(v4 && self.inhibit_ipv4)
    }

    /// What the options say, and what is wrong with which.
    pub(crate) fn read(options: &BTreeMap<String, String>) -> (BridgeOptions, Vec<Wrong>) {
        let mut read = BridgeOptions::default();
        let mut wrong = Vec::new();
        for (name, value) in options {
            if let Err(why) = read.set(name, value) {
                wrong.push(Wrong { option: name.clone(), why });
            }
        }
        (read, wrong)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        const BRIDGE: &str = "com.docker.network.bridge.";
        match name.strip_prefix(BRIDGE).unwrap_or(name) {
            "name" => self.name = Some(link_name(value)?),
            "enable_icc" => self.icc = switch(value)?,
            "enable_ip_masquerade" => self.masquerade = switch(value)?,
            "host_binding_ipv4" => self.host_binding = Some(host_address(value)?),
            "inhibit_ipv4" => self.inhibit_ipv4 = switch(value)?,
            "gateway_mode_ipv4" => self.gateway_mode_ipv4 = mode(value)?,
            "gateway_mode_ipv6" => self.gateway_mode_ipv6 = mode(value)?,
            "trusted_host_interfaces" => {
                self.trusted = value.split(':').map(link_name).collect::<Result<_, _>>()?;
                self.trusted.sort();
                self.trusted.dedup();
            }
            "com.docker.network.driver.mtu" => self.mtu = mtu(value)?,
            "com.docker.network.container_iface_prefix" => self.prefix = Some(prefix(value)?),
            _ => return Err(unknown(name)),
        }
        Ok(())
    }
}

/// An option that cannot be met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Its name.
    pub(crate) option: String,
    /// What is wrong, and the next move.
    pub(crate) why: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_on(switch: &bool) -> bool {
    *switch
}

/// As Go reads it, which Docker is written in.
fn switch(value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("`{value}` is neither `true` nor `false`")),
    }
}

fn host_address(value: &str) -> Result<IpAddr, String> {
    value.parse().map_err(|_| format!("`{value}` is no address: write one of this host"))
}

fn mode(value: &str) -> Result<GatewayMode, String> {
    match value {
        "nat" => Ok(GatewayMode::Nat),
        "routed" => Ok(GatewayMode::Routed),
        "nat-unprotected" => Ok(GatewayMode::NatUnprotected),
        "isolated" => Ok(GatewayMode::Isolated),
        _ => Err(format!("`{value}` is none of `nat`, `routed`, `nat-unprotected`, `isolated`")),
    }
}

/// `0` is what links normally have, as with Docker.
fn mtu(value: &str) -> Result<Option<u32>, String> {
    match value.parse() {
        Ok(0) => Ok(None),
        // What IPv4 needs (RFC 791), and what the length of a packet can say.
        Ok(mtu @ 68..=65_535) => Ok(Some(mtu)),
        _ => Err(format!("`{value}` is no size of packets: write 68 to 65535")),
    }
}

/// What the kernel takes as the name of a link (`dev_valid_name`), those left out that mean
/// something else where settings of links are.
fn link_name(value: &str) -> Result<String, String> {
    let wrong = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':');
    if value.is_empty() || value.len() > 15 || value.contains(wrong) {
        return Err(format!(
            "`{value}` is no name of a link: 1 to 15 letters, digits, `.`, `_`, `-`"
        ));
    }
    match value {
        "." | ".." | "lo" | "all" | "default" => {
            Err(format!("`{value}` is taken: choose another name"))
        }
        _ => Ok(value.to_owned()),
    }
}

/// With room for a number behind it.
fn prefix(value: &str) -> Result<String, String> {
    match link_name(value) {
        Ok(prefix) if prefix.len() <= 12 => Ok(prefix),
        Ok(_) => Err(format!("`{value}` leaves no room for a number: at most 12 letters")),
        Err(why) => Err(why),
    }
}

fn unknown(name: &str) -> String {
    let instead = match name {
        "com.docker.network.enable_ipv6" => "write `enable_ipv6` beside `driver_opts`",
        "com.docker.network.enable_ipv4" => "write `enable_ipv4` beside `driver_opts`",
        "com.docker.network.internal" => "write `internal` beside `driver_opts`",
        "com.docker.network.host_ipv4" | "com.docker.network.host_ipv6" => {
            "what leaves has the address that the kernel chooses; take it away"
        }
        _ => "it is no option of a bridge; take it away",
    };
    instead.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> BTreeMap<String, String> {
        let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn what_is_written_down_has_the_names_of_the_file_and_is_read_back() {
        let (read, wrong) = BridgeOptions::read(&options(
            "com.docker.network.bridge.name=shop0 com.docker.network.bridge.enable_icc=false \
             com.docker.network.bridge.enable_ip_masquerade=true \
             com.docker.network.bridge.gateway_mode_ipv6=nat-unprotected \
             com.docker.network.bridge.trusted_host_interfaces=wg0:eth1 \
             com.docker.network.driver.mtu=1400",
        ));
        assert_eq!(wrong, []);
        let text = serde_json::to_string(&read).unwrap();
        insta::assert_snapshot!(text, @r#"{"com.docker.network.bridge.name":"shop0","com.docker.network.bridge.enable_icc":false,"com.docker.network.bridge.gateway_mode_ipv6":"nat-unprotected","com.docker.network.bridge.trusted_host_interfaces":["eth1","wg0"],"com.docker.network.driver.mtu":1400}"#);
        assert_eq!(serde_json::from_str::<BridgeOptions>(&text).unwrap(), read);
    }

    #[test]
    fn options_that_say_what_is_normal_say_nothing() {
        let (read, _) = BridgeOptions::read(&options(
            "com.docker.network.bridge.enable_icc=1 com.docker.network.driver.mtu=0 \
             com.docker.network.bridge.gateway_mode_ipv4=nat",
        ));
        assert!(read.is_default());
        assert_eq!(serde_json::to_string(&read).unwrap(), "{}");
    }

    #[test]
    fn each_wrong_option_is_told_with_what_to_do() {
        let (_, wrong) = BridgeOptions::read(&options(
            "com.docker.network.bridge.name=a/b com.docker.network.bridge.enable_icc=maybe \
             com.docker.network.bridge.gateway_mode_ipv4=bridged \
             com.docker.network.bridge.host_binding_ipv4=eth0 com.docker.network.driver.mtu=67 \
             com.docker.network.container_iface_prefix=averylongprefix \
             com.docker.network.enable_ipv6=true com.example.color=blue",
        ));
        let lines: Vec<String> = wrong.iter().map(|w| format!("{}: {}", w.option, w.why)).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        com.docker.network.bridge.enable_icc: `maybe` is neither `true` nor `false`
        com.docker.network.bridge.gateway_mode_ipv4: `bridged` is none of `nat`, `routed`, `nat-unprotected`, `isolated`
        com.docker.network.bridge.host_binding_ipv4: `eth0` is no address: write one of this host
        com.docker.network.bridge.name: `a/b` is no name of a link: 1 to 15 letters, digits, `.`, `_`, `-`
        com.docker.network.container_iface_prefix: `averylongprefix` leaves no room for a number: at most 12 letters
        com.docker.network.driver.mtu: `67` is no size of packets: write 68 to 65535
        com.docker.network.enable_ipv6: write `enable_ipv6` beside `driver_opts`
        com.example.color: it is no option of a bridge; take it away
        ");
    }
}
