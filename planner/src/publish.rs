//! Published ports, as the networks they lead to have them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::bridge::{BridgeOptions, GatewayMode};
use crate::desired::{EndpointSpec, Inert, NetworkSpec, PortSpec};
use crate::links::{self, Entrance};
use crate::text;

/// The ports of a container on `endpoints`, with what the networks say of them; and what of them
/// has no effect.
pub(crate) fn published(
    mut ports: Vec<PortSpec>,
    endpoints: &BTreeMap<String, EndpointSpec>,
    networks: &BTreeMap<String, NetworkSpec>,
) -> (Vec<PortSpec>, Vec<Inert>) {
    let mut notes = Vec::new();
    let ways = [true, false].map(|v4| (v4, way_in(endpoints, networks, v4)));
    let binding = ways.iter().find_map(|(_, options)| *options).and_then(|o| o.host_binding);
    let binding = binding.filter(|ip| *ip != IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    for port in &mut ports {
        let asked = port.clone();
        port.host_ip = port.host_ip.or(binding);
        let is_for = |v4: bool| port.host_ip.is_none_or(|ip| ip.is_ipv4() == v4);
        let ways = ways.iter().filter(|(v4, _)| is_for(*v4));
        let mut modes = ways.filter_map(|(v4, options)| Some((*options)?.mode(*v4)));
        let routed = modes
            .next()
            .is_some_and(|first| first == GatewayMode::Routed && modes.all(|mode| mode == first));
        if !routed {
            continue;
        }
        port.published = None;
        port.host_ip = asked.host_ip.map(|ip| match ip {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        });
        if *port != asked {
            let why = format!(
                "the host's part of `{}` has no effect: its network is routed, and port {} is \
                 opened at the container's own address",
                text::port(&asked),
                asked.target
            );
            notes.push(Inert { attribute: "ports".to_owned(), why });
        }
    }
    ports.sort();
    ports.dedup();
    (ports, notes)
}

/// The options of the network that published ports of a family lead to.
fn way_in<'a>(
    endpoints: &BTreeMap<String, EndpointSpec>,
    networks: &'a BTreeMap<String, NetworkSpec>,
    v4: bool,
) -> Option<&'a BridgeOptions> {
    let has = |spec: &NetworkSpec, v4| if v4 { !spec.without_ipv4 } else { spec.enable_ipv6 };
    // Which hop it is does not matter here.
    let hop = |v4| -> IpAddr {
        if v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
    };
    let gateways = |network: &str| -> Vec<IpAddr> {
        let spec = networks.get(network).filter(|spec| spec.leads_out());
        let families = [true, false].into_iter();
        families.filter(|v4| spec.is_some_and(|spec| has(spec, *v4))).map(hop).collect()
    };
    let out = links::ways_out(endpoints, gateways).into_iter().find(|(_, to)| to.is_ipv4() == v4);
    let links = links::in_order(endpoints, |_| links::LINK.to_owned());
    let entrances = links.iter().filter_map(|joined| {
        let spec = networks.get(joined.network)?;
        let entrance = Entrance {
            bridged: spec.driver.is_bridge(),
            addressed: has(spec, v4),
            way_out: out.is_some_and(|(network, _)| network == joined.network),
            internal: spec.internal,
        };
        Some((&spec.bridge, entrance))
    });
    links::way_in(entrances)
}
