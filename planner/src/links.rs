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
}
