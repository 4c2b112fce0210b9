//! Who gives up ports and addresses, who takes them, and in which order.

use std::collections::BTreeMap;

use super::Maker;
use crate::plan::Slot;
use crate::up::claims::{self, Claim, Claims};
use crate::up::ports::{self, Place};

/// Who gives up what, and the step after which it is free.
pub(super) struct Givers(BTreeMap<Claim, Vec<(usize, Place, Slot)>>);

impl Givers {
    /// The steps of others after which one of the changes can have a claim.
    pub(super) fn before(
        &self,
        index: usize,
        (claim, place): &(Claim, Place),
    ) -> impl Iterator<Item = Slot> {
        let all = self.0.get(claim).into_iter().flatten();
        let others = all.filter(move |(who, at, _)| *who != index && at.meets(*place));
        others.map(|(.., step)| *step)
    }
}

impl Maker<'_> {
    /// Containers that stop give up their ports, those that go their addresses too, and those that
    /// change as they are what they do not have any more.
    pub(super) fn givers(&self) -> Givers {
        let mut givers: BTreeMap<Claim, Vec<(usize, Place, Slot)>> = BTreeMap::new();
        for (index, slots) in self.slots.iter().enumerate() {
            let kept = self.takes(index);
            for (claim, place) in self.has(index) {
                let gone = match claim {
                    Claim::Port(..) => slots.stop,
                    Claim::Address(..) => slots.remove,
                };
                let left = slots.update.filter(|_| !kept.contains(&(claim.clone(), place)));
                let steps = gone.into_iter().chain(left);
                let steps = steps.map(|step| (index, place, step));
                givers.entry(claim).or_default().extend(steps);
            }
        }
        Givers(givers)
    }

    /// What a container has now.
    fn has(&self, index: usize) -> Claims {
        self.changes[index].have.map(claims::now).unwrap_or_default()
    }

    /// What it has in the end.
    pub(super) fn takes(&self, index: usize) -> Claims {
        let change = &self.changes[index];
        let ports = change.becomes().map_or(&[][..], ports::wanted);
        let record = change.have.map(|have| &have.record.addresses);
        let given = self.slots[index].create.is_some() || self.slots[index].update.is_some();
        let addresses = record.filter(|_| !given).unwrap_or(&self.given[index]);
        claims::of_ports(ports).chain(claims::of_addresses(addresses)).collect()
    }

    /// What a container takes over has to be given up before: an address when it is made, a port
    /// when it starts, and both where it changes as it is.
    pub(super) fn order_of_claims(&mut self) {
        let givers = self.givers();
        for index in 0..self.changes.len() {
            let (slots, has) = (self.slots[index], self.has(index));
            for claim in self.takes(index) {
                let is_address = matches!(claim.0, Claim::Address(..));
                let update = slots.update.filter(|_| !has.contains(&claim));
                let create = slots.create.filter(|_| is_address);
                for step in [update, create, slots.start].into_iter().flatten() {
                    givers.before(index, &claim).for_each(|first| self.draft.after(step, first));
                }
            }
        }
    }
}
