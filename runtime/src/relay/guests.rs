//! Whose connections there are, and which one goes when there is no room.
//!
//! Of whoever has most, that which was silent longest: nobody keeps others out with many
//! connections, and who is alone may have all.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

/// Connections by source, each with the second it was last heard of.
pub(super) struct Guests {
    began: Instant,
    by_source: BTreeMap<IpAddr, BTreeSet<(u64, u32)>>,
    by_number: BTreeMap<u32, (IpAddr, u64)>,
}

impl Guests {
    pub(super) fn new(now: Instant) -> Guests {
        Guests { began: now, by_source: BTreeMap::new(), by_number: BTreeMap::new() }
    }

    /// One more.
    pub(super) fn enter(&mut self, number: u32, from: IpAddr, now: Instant) {
        let (source, second) = (source(from), self.second(now));
        self.by_number.insert(number, (source, second));
        self.by_source.entry(source).or_default().insert((second, number));
    }

    /// One has gone.
    pub(super) fn leave(&mut self, number: u32) {
        let Some((source, second)) = self.by_number.remove(&number) else { return };
        let Some(all) = self.by_source.get_mut(&source) else { return };
        all.remove(&(second, number));
        if all.is_empty() {
            self.by_source.remove(&source);
        }
    }

    /// Something was carried.
    pub(super) fn heard(&mut self, number: u32, now: Instant) {
        let now = self.second(now);
        let Some((source, second)) = self.by_number.get_mut(&number) else { return };
        if *second != now
            && let Some(all) = self.by_source.get_mut(source)
        {
            all.remove(&(*second, number));
            all.insert((now, number));
            *second = now;
        }
    }

    /// Who goes first.
    pub(super) fn first(&self) -> Option<u32> {
        let most = self.by_source.values().max_by_key(|all| (all.len(), Reverse(all.first())))?;
        most.first().map(|(_, number)| *number)
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs()
    }
}

/// Who counts as one: with IPv6 a network, all of whose addresses a single machine can have.
fn source(from: IpAddr) -> IpAddr {
    match from {
        IpAddr::V4(_) => from,
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            if network == 0 { from } else { Ipv6Addr::from(network).into() }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn of_who_has_most_the_one_that_was_silent_longest_goes() {
        let began = Instant::now();
        let at = |second| began + Duration::from_secs(second);
        let mut guests = Guests::new(began);
        let addresses = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "::1", "2001:db8::3"];
        for (number, address) in (0..).zip(addresses) {
            guests.enter(number, address.parse().unwrap(), at(u64::from(number)));
        }
        guests.heard(0, at(10));
        assert_eq!(guests.first(), Some(1));
        guests.leave(1);
        assert_eq!(guests.first(), Some(4));
        guests.leave(4);
        // All have one.
        assert_eq!(guests.first(), Some(2));
        guests.leave(2);
        guests.leave(3);
        guests.leave(0);
        assert_eq!((guests.first(), guests.by_source.len()), (None, 0));
    }
}
