//! Where published ports lead, changed while clients use them.
//!
//! A port is an element of a map, so a change of it is a change of elements, and all of it is one
//! transaction: a packet meets the state before or the state after, never a port without a target.
//! Connections that are there go on to where they led; only new ones are led anew.
//!
//! A replacement without an error is made of these: start the new one, [`change`] the ports from
//! the old to it (or [`weigh`] them, a part of the clients first), let the old one finish what it
//! has ([`crate::conntrack::drain`]), stop it. Where both cannot run at once: [`hold`] the ports,
//! stop the old one, start the new one, [`release`].
//!
//! Weights and holds are kept in the table alone, for they last as long as a replacement. When somebody
//! flushes it, the published ports come back and these do not: each port leads to where it is published, and
//! nobody waits. Who shares out has to look with [`observe`] before the next step, which names
//! what is there and is refused where it is not. A hold has an end that the kernel keeps, whoever is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use berth_schema::stack::Protocol;

use super::rules::TABLE;
use super::{Published, elements, observe};
use crate::conntrack;
use crate::error::{NetError, Result};
use crate::nft::{Batch, COMMENT_MAX, Element, PERCENTS};

/// How often ports are looked at again that somebody else changes meanwhile.
const ATTEMPTS: usize = 8;

/// A port of the host whose clients are shared out.
///
/// The port has to be [`Published`] as well: that is what arbitrates between containers, and where
/// it leads once nobody weighs it any more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weighted {
    /// Address of the host; `None` is every address of the targets' family.
    pub host: Option<IpAddr>,
    /// Port of the host.
    pub port: u16,
    /// Transport.
    pub protocol: Protocol,
    /// Who gets how many of a hundred new connections; together a hundred, all of one family.
    pub shares: Vec<Share>,
}

/// A part of a port's clients.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    /// The container's name.
    pub owner: String,
    /// Where they are led.
    pub target: SocketAddr,
    /// Of a hundred.
    pub percent: u32,
}

/// A TCP port of the host at which new connections wait.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// Whose port it is: the container's name.
    pub owner: String,
    /// Address of the host; `None` is every address.
    pub host: Option<IpAddr>,
    /// Port of the host.
    pub port: u16,
    /// How long they wait from now on, at most.
    pub left: Duration,
}

/// What is done to published ports beyond leading each to one target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes {
    /// Ports whose clients are shared out, in order.
    pub weighted: Vec<Weighted>,
    /// Ports at which new connections wait, in order.
    pub held: Vec<Held>,
}

/// Takes `remove` away and publishes `add`, all of it at once or nothing. A port in both gets
/// another target, and no connection to it fails. One of `remove` that is not there any more is as
/// well taken away.
///
/// UDP has no connections: what a client sends on is led anew from its next datagram on.
///
/// # Errors
/// [`NetError::PortTaken`] when another container has one of `add`, or one of `remove` leads to
/// another target by now, with the name of whoever has it; the kernel refuses. Nothing has changed
/// then.
pub fn change(remove: &[Published], add: &[Published]) -> Result<()> {
    if remove.is_empty() && add.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::new(TABLE);
    let mut steps = Vec::new();
    for port in remove {
        let (map, element) = elements::of_published(port)?;
        steps.push((batch.delete_just(map, &element), port));
    }
    for port in add {
        check_owner(&port.owner)?;
        let (map, element) = elements::of_published(port)?;
        steps.push((batch.add_element(map, &element), port));
    }
    if let Err(failure) = batch.commit() {
        let refused = steps.iter().find(|(step, _)| Some(*step) == failure.step);
        return Err(match refused {
            Some((_, port)) if failure.error.already_exists() => taken(port),
            _ => failure.error,
        });
    }
    #[cfg(feature = "sabotage")]
    if crate::sabotage::is_removed("net.new_flows") {
        return Ok(());
    }
    // It has happened. Where the kernel does not let go of flows, they end when they fall silent.
    let _ = conntrack::forget(remove.iter().chain(add));
    Ok(())
}

/// Publishes ports: all of them, or none.
///
/// # Errors
/// As [`change`].
pub fn publish(ports: &[Published]) -> Result<()> {
    change(&[], ports)
}

/// Takes away those of these ports that still lead where they are said to lead: one that another
/// container has by now stays.
///
/// # Errors
/// The kernel refuses, or others change these ports again and again.
pub fn unpublish(ports: &[Published]) -> Result<()> {
    let mut ports = ports.to_vec();
    for _ in 0..ATTEMPTS {
        match change(&ports, &[]) {
            Err(NetError::PortTaken { .. }) => {}
            outcome => return outcome,
        }
        let there = observe()?.published;
        ports.retain(|port| there.contains(port));
    }
    change(&ports, &[])
}

/// Shares the clients of ports out as in `after` in place of `before`, in one transaction.
///
/// `before` is what [`observe`] tells of these ports. Nothing in `before` begins it, nothing in `after` ends it: then each port leads again to where
/// it is published.
///
/// # Errors
/// The shares of a port are not a hundred, what `before` has is not there or what only `after` has
/// is, or the kernel refuses. Nothing has changed then.
pub fn weigh(before: &[Weighted], after: &[Weighted]) -> Result<()> {
    let (old, new) = (percents(before)?, percents(after)?);
    let mut batch = Batch::new(TABLE);
    let mut steps = 0;
    for ((map, _), element) in old.iter().filter(|(key, old)| new.get(*key) != Some(*old)) {
        batch.delete_element(map, element);
        steps += 1;
    }
    for ((map, _), element) in new.iter().filter(|(key, new)| old.get(*key) != Some(*new)) {
        batch.add_element(map, element);
        steps += 1;
    }
    if steps > 0 {
        batch.commit()?;
    }
    Ok(())
}

/// Lets new connections to these ports wait: their first packets are dropped, which the client's
/// kernel takes for loss and sends again after one second, two, four. Those that are there go on.
/// The kernel ends it when the time of a port is over; a port that is held gets its time anew.
///
/// There is no such thing for UDP and SCTP.
///
/// # Errors
/// The kernel refuses. Nothing has changed then.
pub fn hold(ports: &[Held]) -> Result<()> {
    on_held(ports, |batch, set, element| {
        batch.delete_just(set, element);
        batch.add_element(set, element);
    })
}

/// Lets new connections to these ports pass again, where they do not already.
///
/// # Errors
/// The kernel refuses. Nothing has changed then.
pub fn release(ports: &[Held]) -> Result<()> {
    on_held(ports, |batch, set, element| {
        batch.delete_just(set, element);
    })
}

fn on_held(ports: &[Held], mut step: impl FnMut(&mut Batch, &'static str, &Element)) -> Result<()> {
    if ports.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::new(TABLE);
    for port in ports {
        check_owner(&port.owner)?;
        let (set, element) = elements::of_held(port);
        step(&mut batch, set, &element);
    }
    Ok(batch.commit()?)
}

/// All elements of ports that are weighed, by map and key.
fn percents(ports: &[Weighted]) -> Result<BTreeMap<(&'static str, Vec<u8>), Element>> {
    let mut all = BTreeMap::new();
    for port in ports {
        let sum: u32 = port.shares.iter().map(|share| share.percent).sum();
        if sum != PERCENTS {
            let words = format!("the shares of port {} are {sum} of {PERCENTS}", port.port);
            return Err(NetError::Invalid(words));
        }
        let families: BTreeSet<bool> = port.shares.iter().map(|s| s.target.is_ipv4()).collect();
        if families.len() > 1 {
            let words = format!("the shares of port {} are of two families", port.port);
            return Err(NetError::Invalid(words));
        }
        for (map, element) in elements::of_weighted(port)? {
            all.insert((map, element.key.clone()), element);
        }
    }
    Ok(all)
}

/// All elements of `routes`, with the sets and maps they are in.
pub(super) fn all(routes: &Routes) -> Result<Vec<(&'static str, Element)>> {
    let percents = percents(&routes.weighted)?;
    let weighted = percents.into_iter().map(|((map, _), element)| (map, element));
    Ok(weighted.chain(routes.held.iter().map(elements::of_held)).collect())
}

/// A comment keeps only so much of a name.
fn check_owner(owner: &str) -> Result<()> {
    match owner.len() > COMMENT_MAX {
        true => Err(NetError::Invalid(format!("the name `{owner}` is too long"))),
        false => Ok(()),
    }
}

/// The error for a port that is taken, with its owner if that can still be seen.
fn taken(port: &Published) -> NetError {
    let same = |other: &&Published| {
        (other.host, other.port, other.protocol) == (port.host, port.port, port.protocol)
            && other.target.is_ipv4() == port.target.is_ipv4()
    };
    let seen = observe().unwrap_or_default();
    let owner = seen.published.iter().find(same).map(|other| other.owner.clone());
    NetError::PortTaken { port: port.to_string(), owner }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weighted(shares: &[(&str, u32)]) -> Weighted {
        let share = |(target, percent): &(&str, u32)| Share {
            owner: "web-1".into(),
            target: target.parse().unwrap(),
            percent: *percent,
        };
        let shares = shares.iter().map(share).collect();
        Weighted { host: None, port: 80, protocol: Protocol::Tcp, shares }
    }

    #[test]
    fn shares_are_a_hundred_and_of_one_family() {
        let refusal = |shares: &[(&str, u32)]| percents(&[weighted(shares)]).unwrap_err();

        let few = refusal(&[("10.0.0.2:80", 90), ("10.0.0.3:80", 9)]);
        insta::assert_snapshot!(few, @"the shares of port 80 are 99 of 100");
        let mixed = refusal(&[("10.0.0.2:80", 90), ("[fd00::3]:80", 10)]);
        insta::assert_snapshot!(mixed, @"the shares of port 80 are of two families");
        let whole = weighted(&[("10.0.0.2:80", 90), ("10.0.0.3:80", 10)]);
        assert_eq!(percents(&[whole]).unwrap().len(), 100);
    }
}
