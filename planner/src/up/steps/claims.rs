//! What one container has at a time, who gives it up, and who takes it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use berth_schema::stack::Protocol;

use super::Maker;
use crate::desired::PortSpec;
use crate::observed::Addresses;
use crate::plan::Slot;
use crate::up::ports;

/// Something one container has at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    Port(Protocol, u16),
    Address(String, IpAddr),
}

impl Maker<'_> {
    /// What containers that stop give up, and when.
    pub(super) fn freed(&self) -> BTreeMap<Claim, Vec<Slot>> {
        let mut freed: BTreeMap<Claim, Vec<Slot>> = BTreeMap::new();
        for index in 0..self.changes.len() {
            let Some(stop) = self.slots[index].stop else { continue };
            for claim in self.has(index) {
                freed.entry(claim).or_default().push(stop);
            }
        }
        freed
    }

    /// What containers that change as they are give up, and who.
    pub(super) fn left(&self) -> BTreeMap<Claim, Vec<usize>> {
        let mut left: BTreeMap<Claim, Vec<usize>> = BTreeMap::new();
        for index in (0..self.changes.len()).filter(|index| self.slots[*index].update.is_some()) {
            let kept = self.takes(index);
            for claim in self.has(index).into_iter().filter(|claim| !kept.contains(claim)) {
                left.entry(claim).or_default().push(index);
            }
        }
        left
    }

    /// What a container has now.
    pub(super) fn has(&self, index: usize) -> BTreeSet<Claim> {
        let Some(have) = self.changes[index].have else { return BTreeSet::new() };
        of_ports(ports::held(have)).chain(of_addresses(&have.record.addresses)).collect()
    }

    /// What it has in the end.
    pub(super) fn takes(&self, index: usize) -> BTreeSet<Claim> {
        let change = &self.changes[index];
        let ports = change.want.map_or(&[][..], |want| &want.ports);
        let record = change.have.map(|have| &have.record.addresses);
        let given = self.slots[index].create.is_some() || self.slots[index].update.is_some();
        let addresses = record.filter(|_| !given).unwrap_or(&self.given[index]);
        of_ports(ports).chain(of_addresses(addresses)).collect()
    }
}

fn of_ports(ports: &[PortSpec]) -> impl Iterator<Item = Claim> {
    let fixed = ports.iter().filter_map(ports::fixed);
    fixed.map(|(protocol, port)| Claim::Port(protocol, port))
}

fn of_addresses(given: &BTreeMap<String, Addresses>) -> impl Iterator<Item = Claim> {
    given.iter().flat_map(|(network, addresses)| {
        addresses.iter().map(|address| Claim::Address(network.clone(), address))
    })
}
