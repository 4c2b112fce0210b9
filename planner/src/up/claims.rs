//! What one container has at a time: ports of the host, and addresses of its networks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use berth_schema::stack::Protocol;

use super::containers::{Change, Part};
use super::is_active;
use super::ports::{self, Place};
use crate::desired::{ContainerSpec, PortSpec};
use crate::observed::{Addresses, ObservedContainer};

/// Something one container has at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// Of the host.
    Port(Protocol, u16),
    /// On a network.
    Address(String, IpAddr),
}

/// Several, a port on the addresses of the host that it is on.
pub(super) type Claims = BTreeSet<(Claim, Place)>;

/// What a container has now.
pub(super) fn now(have: &ObservedContainer) -> Claims {
    let ports = if is_active(have) { ports::held(have) } else { &[] };
    of_ports(ports).chain(of_addresses(&have.record.addresses)).collect()
}

/// One port each; of a range nobody knows which it will be.
pub(super) fn of_ports(ports: &[PortSpec]) -> impl Iterator<Item = (Claim, Place)> {
    ports.iter().filter_map(|port| {
        let (protocol, number) = ports::fixed(port)?;
        Some((Claim::Port(protocol, number), Place::of(port)))
    })
}

/// Addresses by network.
pub(super) fn of_addresses(
    given: &BTreeMap<String, Addresses>,
) -> impl Iterator<Item = (Claim, Place)> {
    given.iter().flat_map(|(network, addresses)| {
        let claim = |address| Claim::Address(network.clone(), address);
        addresses.iter().map(move |address| (claim(address), Place::All))
    })
}

/// What a description names. An address that is chosen is never one that somebody gives up.
fn named(spec: &ContainerSpec) -> impl Iterator<Item = (Claim, Place)> {
    let addresses = spec.networks.iter().flat_map(|(network, on)| {
        let fixed = Addresses { ipv4: on.ipv4_address, ipv6: on.ipv6_address };
        fixed.iter().map(|address| (Claim::Address(network.clone(), address), Place::All))
    });
    of_ports(ports::wanted(spec)).chain(addresses)
}

/// One of the containers that change as they are which waits, over others maybe, for itself: each
/// can have what it takes over only when the next has given it up.
pub(super) fn knot<'a>(changes: &'a [Change]) -> Option<&'a str> {
    let live = changes.iter().enumerate().filter(|(_, change)| change.verdict.is_update());
    let live: Vec<(usize, &Change, Claims)> =
        live.filter_map(|(index, change)| Some((index, change, now(change.have?)))).collect();
    let mut holders: BTreeMap<&Claim, Vec<(usize, Place)>> = BTreeMap::new();
    for (index, _, has) in &live {
        has.iter().for_each(|(claim, at)| holders.entry(claim).or_default().push((*index, *at)));
    }
    let mut waits: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (index, change, has) in &live {
        let named = change.want.into_iter().flat_map(named).filter(|claim| !has.contains(claim));
        for (claim, place) in named {
            let holders = holders.get(&claim).into_iter().flatten();
            let others = holders.filter(|(who, at)| who != index && at.meets(place));
            waits.entry(*index).or_default().extend(others.map(|(who, _)| *who));
        }
    }
    let knotted = live.iter().find(|(index, ..)| reaches_itself(&waits, *index));
    knotted.map(|(_, change, _)| change.name.as_str())
}

/// One of the containers that serve until another takes over of which a third one gets a port or an
/// address: to wait for that would be to wait for the other, which may wait for the third.
pub(super) fn contested<'a>(changes: &[Change<'a>]) -> Option<&'a str> {
    let mut held = BTreeMap::<Claim, Vec<(usize, Place, &str)>>::new();
    for (index, change) in changes.iter().enumerate() {
        let (Part::Heir(old) | Part::Successor(old)) = change.part else { continue };
        for (claim, place) in now(old) {
            held.entry(claim).or_default().push((index, place, &old.record.name));
        }
    }
    changes.iter().enumerate().find_map(|(index, change)| {
        change.becomes().into_iter().flat_map(named).find_map(|(claim, place)| {
            let mut holders = held.get(&claim)?.iter();
            let other = holders.find(|(heir, at, _)| *heir != index && at.meets(place));
            other.map(|(.., name)| *name)
        })
    })
}

fn reaches_itself(waits: &BTreeMap<usize, BTreeSet<usize>>, index: usize) -> bool {
    let next = |of: usize| waits.get(&of).into_iter().flatten().copied();
    let mut seen = BTreeSet::new();
    let mut open: Vec<usize> = next(index).collect();
    while let Some(one) = open.pop() {
        if seen.insert(one) {
            open.extend(next(one));
        }
    }
    seen.contains(&index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_seen_over_several() {
        let waits = [(0, [1].into()), (1, [2].into()), (2, [1].into())].into();
        assert!(!reaches_itself(&waits, 0) && reaches_itself(&waits, 1));
        assert!(reaches_itself(&waits, 2) && !reaches_itself(&waits, 3));
    }
}
