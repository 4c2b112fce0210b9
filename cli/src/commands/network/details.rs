//! A network as `docker network inspect` shows it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use berth_network::endpoint::mac_of;
use berth_planner::observed::{
    NetworkRecord, Observed, ObservedContainer, ObservedNetwork, Subnet,
};
use serde::Serialize;
use serde_json::Value;

use super::driver;

/// A network with what it was made from and who is on it; Docker's names in its order, then ours.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Inspected {
    name: String,
    scope: &'static str,
    driver: &'static str,
    #[serde(rename = "EnableIPv4")]
    enable_ipv4: bool,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: bool,
    #[serde(rename = "IPAM")]
    ipam: Ipam,
    internal: bool,
    attachable: bool,
    /// By the containers' ids.
    containers: BTreeMap<String, Endpoint>,
    options: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    project: String,
    bridge: String,
    up: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Ipam {
    driver: &'static str,
    config: Vec<Pool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Pool {
    subnet: String,
    #[serde(rename = "IPRange", skip_serializing_if = "Option::is_none")]
    ip_range: Option<String>,
    gateway: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    name: String,
    mac_address: String,
    #[serde(rename = "IPv4Address")]
    ipv4_address: String,
    #[serde(rename = "IPv6Address")]
    ipv6_address: String,
}

impl Inspected {
    pub(super) fn of(observed: &Observed, network: &ObservedNetwork) -> Inspected {
        let (record, spec) = (&network.record, &network.record.spec);
        let on = observed.containers.values();
        let on = on.filter_map(|c| Some((c.id.clone(), Endpoint::of(c, record)?)));
        Inspected {
            name: record.name.clone(),
            scope: "local",
            driver: driver(record),
            enable_ipv4: !spec.without_ipv4,
            enable_ipv6: spec.enable_ipv6,
            ipam: Ipam {
                driver: "default",
                config: record.subnets.iter().map(|subnet| Pool::of(subnet, record)).collect(),
            },
            internal: spec.internal,
            attachable: true,
            containers: on.collect(),
            options: options(record),
            labels: spec.labels.clone(),
            project: record.project.clone(),
            bridge: spec.parent().unwrap_or(&record.bridge).to_owned(),
            up: network.bridge_up,
        }
    }
}

impl Pool {
    fn of(subnet: &Subnet, record: &NetworkRecord) -> Pool {
        let asked = record.spec.pools.iter().find(|pool| pool.subnet == subnet.net);
        Pool {
            subnet: subnet.net.to_string(),
            ip_range: asked.and_then(|pool| pool.ip_range).map(|range| range.to_string()),
            gateway: subnet.gateway.to_string(),
        }
    }
}

impl Endpoint {
    /// `None` when the container is not on the network.
    fn of(container: &ObservedContainer, network: &NetworkRecord) -> Option<Endpoint> {
        let record = &container.record;
        let on = record.addresses.get(&network.name)?;
        let (v4, v6) = (on.ipv4.map(IpAddr::from), on.ipv6.map(IpAddr::from));
        let asked = record.spec.networks.get(&network.name);
        let asked = asked.and_then(|endpoint| endpoint.mac_address.as_deref());
        // The file may part the bytes by dashes.
        let asked = asked.map(|text| text.replace('-', ":").to_lowercase());
        let shared =
            network.spec.beside.as_ref().is_some_and(|beside| beside.way.shares_hardware());
        let mac = match v4.or(v6) {
            // It is that of the link they are beside.
            _ if shared => None,
            first => asked.or_else(|| first.map(|address| hardware(mac_of(address)))),
        };
        let with_length = |address: Option<IpAddr>| {
            let within = |subnet: &&Subnet| address.is_some_and(|a| subnet.net.contains(&a));
            let subnet = network.subnets.iter().find(within)?;
            Some(format!("{}/{}", address?, subnet.net.prefix_len()))
        };
        Some(Endpoint {
            name: record.name.clone(),
            mac_address: mac.unwrap_or_default(),
            ipv4_address: with_length(v4).unwrap_or_default(),
            ipv6_address: with_length(v6).unwrap_or_default(),
        })
    }
}

fn hardware(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

/// `driver_opts` as text: those of a bridge are recorded by their names.
fn options(record: &NetworkRecord) -> BTreeMap<String, String> {
    let mut options = record.spec.driver_opts.clone();
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            list.iter().filter_map(Value::as_str).collect::<Vec<&str>>().join(":")
        }
        other => other.to_string(),
    };
    if let Ok(Value::Object(bridge)) = serde_json::to_value(&record.spec.bridge) {
        options.extend(bridge.iter().map(|(name, value)| (name.clone(), text(value))));
    }
    options
}
