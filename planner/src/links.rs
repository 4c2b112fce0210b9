//! The links of a container: their order, their names, and which of them lead out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::desired::EndpointSpec;

/// What the names of links begin with, where a network says nothing else.
pub const LINK: &str = "eth";

/// A container on one of its networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined<'a> {
    /// Network by name on the host.
    pub network: &'a str,
    /// How it is there.
    pub endpoint: &'a EndpointSpec,
    /// Name of the link in the container.
    pub name: String,
}

/// All links in the order they are made: the highest `priority` first, then by network.
///
/// One that has no name of its own gets the next that nobody asked for: what names begin with on its
/// network, and a number from 0.
pub fn in_order(
    endpoints: &BTreeMap<String, EndpointSpec>,
    prefix: impl Fn(&str) -> String,
) -> Vec<Joined<'_>> {
    let mut order: Vec<(&String, &EndpointSpec)> = endpoints.iter().collect();
    order.sort_by_key(|(network, endpoint)| (-i64::from(endpoint.priority), network.as_str()));
    let mut used: BTreeSet<String> =
        endpoints.values().filter_map(|endpoint| endpoint.interface_name.clone()).collect();
    let mut joined = Vec::new();
    for (network, endpoint) in order {
        let free = || {
            let prefix = prefix(network);
            let mut names = (0..=used.len()).map(|number| format!("{prefix}{number}"));
            names.find(|name| !used.contains(name)).unwrap_or(prefix)
        };
        let name = endpoint.interface_name.clone().unwrap_or_else(free);
        used.insert(name.clone());
        joined.push(Joined { network, endpoint, name });
    }
    joined
}

/// Which network of each family leads out: of those that `gateways` has one for, the one with the
/// highest `gw_priority`, then the first by name.
pub fn ways_out(
    endpoints: &BTreeMap<String, EndpointSpec>,
    gateways: impl Fn(&str) -> Vec<IpAddr>,
) -> Vec<(&str, IpAddr)> {
    let mut order: Vec<(&String, &EndpointSpec)> = endpoints.iter().collect();
    order.sort_by_key(|(network, endpoint)| (-i64::from(endpoint.gw_priority), network.as_str()));
    let all: Vec<(&str, IpAddr)> = order
        .into_iter()
        .flat_map(|(network, _)| {
            gateways(network).into_iter().map(move |to| (network.as_str(), to))
        })
        .collect();
    let best = |v4: bool| all.iter().find(|(_, gateway)| gateway.is_ipv4() == v4).copied();
    [best(true), best(false)].into_iter().flatten().collect()
}

/// What a link is to the published ports of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entrance {
    /// It is on a bridge. What is for one beside a link of the host does not come by here.
    pub bridged: bool,
    /// It has an address of the family.
    pub addressed: bool,
    /// The default route of the family leads out by it.
    pub way_out: bool,
    /// Nothing leads out of its network.
    pub internal: bool,
}

/// The link that published ports of a family lead to, of all in the order they are made: on a
/// bridge, the one with the default route, or else the first whose network has a way out.
pub fn way_in<T>(links: impl IntoIterator<Item = (T, Entrance)>) -> Option<T> {
    let can = |(_, link): &(T, Entrance)| link.bridged && link.addressed;
    let best = links.into_iter().filter(can).min_by_key(|(_, link)| (!link.way_out, link.internal));
    best.map(|(link, _)| link)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(change: impl Fn(&mut EndpointSpec)) -> EndpointSpec {
        let mut endpoint = EndpointSpec::default();
        change(&mut endpoint);
        endpoint
    }

    fn networks(of: Vec<(&str, EndpointSpec)>) -> BTreeMap<String, EndpointSpec> {
        of.into_iter().map(|(name, endpoint)| (name.to_owned(), endpoint)).collect()
    }

    fn names(of: &BTreeMap<String, EndpointSpec>) -> Vec<(&str, String)> {
        in_order(of, |_| LINK.to_owned())
            .into_iter()
            .map(|joined| (joined.network, joined.name))
            .collect()
    }

    #[test]
    fn links_are_made_by_priority_and_take_names_that_nobody_asked_for() {
        let all = networks(vec![
            ("a", EndpointSpec::default()),
            ("b", on(|e| e.interface_name = Some("eth0".into()))),
            ("c", on(|e| e.priority = i32::MAX)),
            ("d", on(|e| e.priority = i32::MIN)),
        ]);
        let expected = [("c", "eth1"), ("a", "eth2"), ("b", "eth0"), ("d", "eth3")];
        assert_eq!(names(&all), expected.map(|(network, name)| (network, name.to_owned())));
    }

    #[test]
    fn each_family_leaves_by_the_best_network_that_has_it() {
        let all = networks(vec![
            ("both", EndpointSpec::default()),
            ("four", on(|e| e.gw_priority = 5)),
            ("inner", on(|e| e.gw_priority = 9)),
            ("last", on(|e| e.gw_priority = i32::MIN)),
        ]);
        let gateways = |network: &str| -> Vec<IpAddr> {
            let texts: &[&str] = match network {
                "both" => &["10.1.0.1", "fd01::1"],
                "four" => &["10.4.0.1"],
                "last" => &["10.9.0.1", "fd09::1"],
                _ => &[],
            };
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let out = ways_out(&all, gateways);
        let expected = [("four", "10.4.0.1"), ("both", "fd01::1")];
        assert_eq!(out, expected.map(|(network, to)| (network, to.parse().unwrap())));
        assert_eq!(ways_out(&all, |_| Vec::new()), []);
    }

    #[test]
    fn published_ports_lead_to_a_bridge_though_the_way_out_is_beside_a_link() {
        let link = |text: &str| Entrance {
            bridged: !text.contains("beside"),
            addressed: !text.contains("bare"),
            way_out: text.contains("out"),
            internal: text.contains("internal"),
        };
        for (links, to) in [
            (&["beside out", "internal", "web"][..], Some("web")),
            (&["web", "other", "wan out"], Some("wan out")),
            (&["web", "bare out"], Some("web")),
            (&["internal", "internal too"], Some("internal")),
            (&["beside out", "beside"], None),
        ] {
            assert_eq!(way_in(links.iter().map(|text| (*text, link(text)))), to);
        }
    }
}
