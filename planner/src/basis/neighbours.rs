//! Containers of other projects that a plan has to do with: whose namespaces or volumes its own share, and who
//! have the same ports of the host, or the same names or addresses on a network of both.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::action::Action;
use crate::desired::{ContainerSpec, Desired, PortSpec};
use crate::observed::{Addresses, ContainerRecord};
use crate::plan::Plan;

/// What of the project others may have as well.
#[derive(Debug, Default)]
pub(super) struct Neighbours<'a> {
    /// Containers that descriptions name.
    named: BTreeSet<&'a str>,
    ports: Vec<&'a PortSpec>,
    /// Names and addresses of its containers by network.
    on: BTreeMap<&'a str, OnNetwork<'a>>,
}

#[derive(Debug, Default)]
struct OnNetwork<'a> {
    names: BTreeSet<&'a str>,
    addresses: BTreeSet<IpAddr>,
}

impl<'a> Neighbours<'a> {
    pub(super) fn of(desired: &'a Desired, plan: &'a Plan) -> Neighbours<'a> {
        let mut all = Neighbours::default();
        for (name, service) in &desired.services {
            let inits = service.pre_start.iter().map(|init| &init.container);
            for spec in inits.chain([&service.container]) {
                all.add(spec, [Some(name.as_str()), service.container_name.as_deref()]);
            }
        }
        for step in &plan.steps {
            let (Action::CreateContainer(record) | Action::UpdateContainer(record)) = &step.action
            else {
                continue;
            };
            all.add(&record.spec, [Some(record.service.as_str()), Some(record.name.as_str())]);
            for (network, addresses) in &record.addresses {
                all.on.entry(network).or_default().addresses.extend(addresses.iter());
            }
        }
        all
    }

    fn add(&mut self, spec: &'a ContainerSpec, names: [Option<&'a str>; 2]) {
        self.named.extend(spec.parents());
        self.named.extend(spec.volumes_from.iter().map(|from| from.container.as_str()));
        self.ports.extend(&spec.ports);
        for (network, endpoint) in &spec.networks {
            let on = self.on.entry(network).or_default();
            on.names.extend(names.into_iter().flatten());
            on.names.extend(endpoint.aliases.iter().map(String::as_str));
            on.addresses.extend(endpoint.ipv4_address.map(IpAddr::V4));
            on.addresses.extend(endpoint.ipv6_address.map(IpAddr::V6));
        }
    }

    /// Whether a container of another project is one.
    pub(super) fn has(&self, record: &ContainerRecord) -> bool {
        self.named.contains(record.name.as_str())
            || record.spec.ports.iter().any(|port| self.ports.iter().any(|own| meet(own, port)))
            || self.on.iter().any(|(network, own)| own.meets(record, network))
    }
}

impl OnNetwork<'_> {
    fn meets(&self, record: &ContainerRecord, network: &str) -> bool {
        let addresses = record.addresses.get(network);
        let mut addresses = addresses.into_iter().flat_map(Addresses::iter);
        let Some(endpoint) = record.spec.networks.get(network) else { return false };
        let mut names = endpoint.aliases.iter().chain([&record.name, &record.service]);
        names.any(|name| self.names.contains(name.as_str()))
            || addresses.any(|address| self.addresses.contains(&address))
    }
}

/// Whether two may want the same port of the host. On which address does not matter: whoever takes it
/// on all of them may be in the way of one.
fn meet(one: &PortSpec, other: &PortSpec) -> bool {
    let (Some(a), Some(b)) = (one.published, other.published) else { return false };
    one.protocol == other.protocol && a.0 <= b.1 && b.0 <= a.1
}
