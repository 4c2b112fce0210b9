//! Networks, what joins them, and published ports.

use std::collections::BTreeMap;

use berth_schema::stack::{IpamPool, Link, Network, Service};
use ipnet::IpNet;

use super::{ResolveProblem, Resolver};
use crate::bridge::{BridgeOptions, GatewayMode, Wrong};
use crate::desired::{EndpointSpec, LinkSpec, NetworkSpec, PoolSpec, PortSpec};
use crate::links;

impl Resolver<'_> {
    pub(super) fn endpoints(
        &mut self,
        name: &str,
        service: &Service,
    ) -> BTreeMap<String, EndpointSpec> {
        let mut endpoints = BTreeMap::new();
        for (key, on) in &service.networks {
            let Some(network) = self.stack.networks.get(key) else {
                self.dangling(name, "network", key);
                continue;
            };
            let mut link_local_ips = on.link_local_ips.clone();
            link_local_ips.sort();
            let endpoint = EndpointSpec {
                aliases: on.aliases.clone(),
                ipv4_address: on.ipv4_address,
                ipv6_address: on.ipv6_address,
                mac_address: on.mac_address.clone(),
                priority: on.priority,
                gw_priority: on.gw_priority,
                interface_name: on.interface_name.clone(),
                link_local_ips,
                sysctls: on.sysctls.clone(),
            };
            endpoints.insert(network.name.clone(), endpoint);
        }
        if let Some(address) = &service.mac_address {
            self.hardware(name, address, &mut endpoints);
        }
        self.shared_hardware(name, service, &endpoints);
        endpoints
    }

    /// Refuses MAC addresses where a container has that of a link of the host.
    fn shared_hardware(
        &mut self,
        service: &str,
        asked: &Service,
        endpoints: &BTreeMap<String, EndpointSpec>,
    ) {
        for (key, on) in &asked.networks {
            let Some(network) = self.stack.networks.get(key) else { continue };
            let address = endpoints.get(&network.name).and_then(|on| on.mac_address.clone());
            let spec = self.networks.get(&network.name).and_then(|spec| spec.beside.as_ref());
            let (Some(address), Some(beside)) = (address, spec) else { continue };
            if beside.way.shares_hardware() {
                let at = match on.mac_address {
                    Some(_) => format!("networks.{key}.mac_address"),
                    None => "mac_address".to_owned(),
                };
                let why = format!(
                    "on network `{key}` it has that of the host's link: take it away, or use the \
                     driver `macvlan` in another mode than `passthru`"
                );
                let service = service.to_owned();
                self.problems.insert(ResolveProblem::Mac { service, address, why, at });
            }
        }
    }

    /// Gives the service's own MAC address to the link that is made first.
    fn hardware(
        &mut self,
        service: &str,
        address: &str,
        endpoints: &mut BTreeMap<String, EndpointSpec>,
    ) {
        let first = links::in_order(endpoints, |_| links::LINK.to_owned())
            .first()
            .map(|joined| joined.network.to_owned());
        let first = first.and_then(|name| endpoints.get_mut(&name).map(|on| (name, on)));
        let plain = |text: &str| text.to_ascii_lowercase().replace('-', ":");
        let why = match first {
            None => "no network of its own to have it on".to_owned(),
            Some((network, on)) => match &on.mac_address {
                Some(other) if plain(other) != plain(address) => {
                    format!("network `{network}`, which it is for, gives it {other}")
                }
                _ => {
                    on.mac_address = Some(address.to_owned());
                    return;
                }
            },
        };
        let (service, address) = (service.to_owned(), address.to_owned());
        let at = "mac_address".to_owned();
        self.problems.insert(ResolveProblem::Mac { service, address, why, at });
    }

    pub(super) fn network(&mut self, key: &str, network: &Network) -> (String, NetworkSpec) {
        let mut pools: Vec<_> =
            network.ipam.iter().filter_map(|pool| self.pool(key, pool)).collect();
        // One of a family that the network does not have is noted where it stands.
        pools.retain(|pool| match pool.subnet {
            IpNet::V4(_) => !network.without_ipv4,
            IpNet::V6(_) => network.enable_ipv6,
        });
        let (bridge, driver_opts) = match network.driver.is_bridge() {
            true => (self.bridge(key, network), BTreeMap::new()),
            false => (BridgeOptions::default(), network.driver_opts.clone()),
        };
        let spec = NetworkSpec {
            external: network.external,
            shared: network.shared,
            driver: network.driver,
            beside: network.beside.clone(),
            internal: network.internal,
            without_ipv4: network.without_ipv4,
            enable_ipv6: network.enable_ipv6,
            pools,
            bridge,
            driver_opts,
            labels: network.labels.clone(),
        };
        // That of others is as they made it.
        let there = self.inputs.networks.get(&network.name).map(|there| &there.record);
        let others = there.filter(|record| {
            network.external || (record.project != self.stack.name && !network.shared)
        });
        let spec = match others {
            Some(record) => NetworkSpec {
                external: network.external,
                shared: network.shared,
                ..record.spec.clone()
            },
            None => spec,
        };
        (network.name.clone(), spec)
    }

    /// What the options of a bridge say.
    fn bridge(&mut self, key: &str, network: &Network) -> BridgeOptions {
        let (bridge, mut wrong) = BridgeOptions::read(&network.driver_opts);
        let mut refuse = |option: &str, why: &str| {
            let (option, why) = (option.to_owned(), why.to_owned());
            wrong.push(Wrong { option, why });
        };
        for (option, mode) in [
            ("com.docker.network.bridge.gateway_mode_ipv4", bridge.gateway_mode_ipv4),
            ("com.docker.network.bridge.gateway_mode_ipv6", bridge.gateway_mode_ipv6),
        ] {
            if mode == GatewayMode::Isolated && !network.internal {
                refuse(option, "only an internal network can be isolated: add `internal: true`");
            }
        }
        // What IPv6 needs (RFC 8200).
        if network.enable_ipv6 && bridge.mtu.is_some_and(|mtu| mtu < 1280) {
            refuse("com.docker.network.driver.mtu", "IPv6 needs 1280: write that or more");
        }
        for Wrong { option, why } in wrong {
            let network = key.to_owned();
            self.problems.insert(ResolveProblem::DriverOption { network, option, why });
        }
        bridge
    }

    /// A pool; one without a subnet asks for nothing that is not the default.
    fn pool(&mut self, key: &str, pool: &IpamPool) -> Option<PoolSpec> {
        let subnet = self.subnet(key, pool.subnet.as_deref()?)?;
        let ip_range = match pool.ip_range.as_deref() {
            Some(range) => Some(self.subnet(key, range)?),
            None => None,
        };
        if let Some(range) = ip_range.filter(|range| !subnet.contains(range)) {
            self.problems.insert(ResolveProblem::Pool {
                network: key.to_string(),
                value: range.to_string(),
                expected: "a part of its subnet",
            });
        }
        let mut reserved: Vec<_> = pool.aux_addresses.values().copied().collect();
        reserved.sort_unstable();
        Some(PoolSpec { subnet, ip_range, gateway: pool.gateway, reserved })
    }

    fn subnet(&mut self, key: &str, text: &str) -> Option<IpNet> {
        let net = text.parse::<IpNet>().ok().map(|net| net.trunc());
        if net.is_none() {
            self.problems.insert(ResolveProblem::Pool {
                network: key.to_string(),
                value: text.to_string(),
                expected: "a subnet like `10.1.0.0/24`",
            });
        }
        net
    }
}

/// Names for others that this service alone knows.
pub(super) fn links(service: &Service) -> Vec<LinkSpec> {
    let of = |link: &Link, service| {
        let (name, alias) = (link.name.clone(), link.alias.clone());
        LinkSpec { name, alias, service }
    };
    let own = service.links.iter().map(|link| of(link, true));
    own.chain(service.external_links.iter().map(|link| of(link, false))).collect()
}

/// Published ports as they are asked for.
pub(super) fn ports(service: &Service) -> Vec<PortSpec> {
    let ports = service.ports.iter().map(|port| PortSpec {
        host_ip: port.host_ip,
        published: port.published,
        target: port.target,
        protocol: port.protocol,
    });
    ports.collect()
}
