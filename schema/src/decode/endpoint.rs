//! A service on a network.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::read::{Reader, texts};
use crate::stack::ServiceNetwork;
use crate::tree::Node;
use crate::value::{self, Bad, bad};
use crate::words::mac_address;

/// The option with settings of the link, as Docker 28 has it.
const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";
/// The option with the name of the link; `interface_name` is the same.
const IFNAME: &str = "com.docker.network.endpoint.ifname";
/// Stands for the name of the link in a setting.
const ANY_NAME: &str = "IFNAME";

impl Reader<'_> {
    pub(super) fn endpoint(&mut self, node: &Node) -> ServiceNetwork {
        if node.is_null() {
            return ServiceNetwork::default();
        }
        let priorities = i32::MIN..=i32::MAX;
        let mut endpoint = ServiceNetwork {
            aliases: texts(node, "aliases"),
            ipv4_address: self.parse(node, "ipv4_address", "an IPv4 address"),
            ipv6_address: self.parse(node, "ipv6_address", "an IPv6 address"),
            priority: self.within(node, "priority", priorities.clone(), "").unwrap_or_default(),
            gw_priority: self.within(node, "gw_priority", priorities, "").unwrap_or_default(),
            mac_address: self.read(node, "mac_address", mac_address),
            link_local_ips: self.each(node, "link_local_ips", link_local),
            interface_name: self.read(node, "interface_name", interface_name),
            sysctls: BTreeMap::new(),
        };
        self.entries(node, "driver_opts", |reader, name, option| {
            reader.connection_option(&mut endpoint, name, option);
            Some(())
        });
        endpoint
    }

    fn connection_option(&mut self, endpoint: &mut ServiceNetwork, name: &str, option: &Node) {
        match name {
            SYSCTLS => {
                endpoint.sysctls = self.value(option, link_sysctls).unwrap_or_default();
            }
            IFNAME => {
                let Some(named) = self.value(option, interface_name) else { return };
                match endpoint.interface_name.replace(named.clone()) {
                    Some(other) if other != named => {
                        let why = format!("`interface_name` calls the link `{other}`");
                        self.wrong(option, &why, "keep one of them".to_owned());
                    }
                    _ => {}
                }
            }
            _ => {
                let near = value::nearest(name, [SYSCTLS, IFNAME]);
                let help = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("take it away; there are `{SYSCTLS}` and `{IFNAME}`"),
                };
                self.wrong(option, "a connection has no such option", help);
            }
        }
    }
}

/// `169.254.0.0/16` without its first and last address, and `fe80::/10`.
fn link_local(text: &str) -> Result<IpAddr, Bad> {
    let Ok(address) = text.parse::<IpAddr>() else {
        return bad("is not an address", "write one like `169.254.8.8` or `fe80::8`");
    };
    let fits = match address {
        IpAddr::V4(v4) => v4.is_link_local() && !matches!(v4.octets(), [.., 0, 0] | [.., 255, 255]),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    match fits {
        true => Ok(address),
        false => bad(
            "is not an address of a link",
            "take one of 169.254.0.0/16 or fe80::/10; others are given by `ipv4_address` and \
             `ipv6_address`",
        ),
    }
}

/// `net.ipv4.conf.IFNAME.log_martians=1`, several with commas between them.
fn link_sysctls(text: &str) -> Result<BTreeMap<String, String>, Bad> {
    let mut settings = BTreeMap::new();
    for setting in text.split(',') {
        let (name, value) = link_sysctl(setting.trim())?;
        if settings.insert(name.clone(), value).is_some() {
            return bad(format!("sets `{name}` twice"), "keep one of them");
        }
    }
    Ok(settings)
}

fn link_sysctl(setting: &str) -> Result<(String, String), Bad> {
    let expected = "write `net.ipv4.conf.IFNAME.NAME=VALUE`: `ipv4`, `ipv6` or `mpls`, `conf` or \
                    `neigh`, and `IFNAME` for the name of the link; other settings belong to \
                    `sysctls` of the service";
    let Some((name, value)) = setting.split_once('=') else {
        return bad(format!("sets nothing with `{setting}`"), expected);
    };
    let value = value.trim();
    if value.is_empty() || value.len() > 256 || value.chars().any(char::is_control) {
        return bad(format!("has no value for `{name}`"), "a value is one line of 1 to 256 bytes");
    }
    let parts: Vec<&str> = name.trim().split('.').collect();
    let word = |part: &str| {
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        !part.is_empty() && part.chars().all(known)
    };
    match parts[..] {
        ["net", of @ ("ipv4" | "ipv6" | "mpls"), table @ ("conf" | "neigh"), link, last]
            if link.eq_ignore_ascii_case(ANY_NAME) && word(last) =>
        {
            Ok((format!("net.{of}.{table}.{ANY_NAME}.{last}"), value.to_owned()))
        }
        _ => bad(format!("sets `{name}`, which is not a setting of the link"), expected),
    }
}

/// What the kernel takes as the name of a link: in names with `%` it puts a number, and `all` and
/// `default` are for settings of all links.
pub(super) fn interface_name(text: &str) -> Result<String, Bad> {
    let wrong = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '%');
    let taken = matches!(text, "." | ".." | "lo" | "all" | "default");
    if text.is_empty() || text.len() > 15 || text.contains(wrong) || taken {
        return bad(
            "is not a name for a link",
            "names of links have 1 to 15 letters, digits, `.`, `_` and `-`, and `lo`, `all` and \
             `default` are taken",
        );
    }
    Ok(text.to_owned())
}
