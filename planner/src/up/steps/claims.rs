//! Who gives up ports and addresses, who takes them, and in which order.

use std::collections::BTreeMap;

use berth_schema::stack::Protocol;

use super::Maker;
use crate::desired::PortSpec;
use crate::plan::Slot;
use crate::up::claims::{self, Claim, Claims};
use crate::up::containers::Part;
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
            // Only its heir gets what it has, and does not wait for it.
            if matches!(self.changes[index].part, Part::Old) {
                continue;
            }
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
                // One that runs beside another already has its ports when it takes over.
                let start = slots.start.or(slots.serve);
                for step in [update, create, start].into_iter().flatten() {
                    givers.before(index, &claim).for_each(|first| self.draft.after(step, first));
                }
            }
        }
    }

    /// Who may choose a port begins after those who may not, unless those wait for it.
    pub(super) fn order_of_choices(&mut self) {
        let choices: Vec<(usize, Vec<Choice>)> = (0..self.changes.len())
            .filter(|index| self.slots[*index].start.is_some())
            .map(|index| (index, self.choices(index)))
            .filter(|(_, choices)| !choices.is_empty())
            .collect();
        if choices.is_empty() {
            return;
        }
        let mut takers: BTreeMap<(Protocol, u16), Vec<(usize, Place)>> = BTreeMap::new();
        for index in 0..self.changes.len() {
            for (claim, place) in self.takes(index) {
                if let Claim::Port(protocol, number) = claim {
                    takers.entry((protocol, number)).or_default().push((index, place));
                }
            }
        }
        for (index, choices) in choices {
            for choice in choices {
                let (first, last) = choice.between;
                let within = (choice.protocol, first)..=(choice.protocol, last);
                let takers = takers.range(within).flat_map(|(_, takers)| takers);
                for (taker, _) in takers.filter(|(_, place)| place.meets(choice.place)) {
                    self.choose_after(index, *taker);
                }
            }
        }
    }

    fn choose_after(&mut self, index: usize, taker: usize) {
        let Some(start) = self.slots[index].start else { return };
        let slots = self.slots[taker];
        let steps = slots.update.into_iter().chain(slots.start).filter(|_| taker != index);
        for step in steps {
            if !self.draft.waits(step, start) {
                self.draft.after_tried(start, step);
            }
        }
    }

    /// The ports of which a container that starts may take any: of a range each, and otherwise the
    /// one it had before, which it takes again.
    fn choices(&self, index: usize) -> Vec<Choice> {
        let change = &self.changes[index];
        let had = change.have.map_or(&[][..], |have| &have.published);
        let wanted = change.becomes().map_or(&[][..], ports::wanted);
        let of = |port: &PortSpec| {
            let (protocol, target) = (port.protocol, port.target);
            let again =
                had.iter().filter(move |had| (had.protocol, had.target) == (protocol, target));
            let between = match port.published {
                Some((first, last)) if first < last => vec![(first, last)],
                Some((_, 1..)) => Vec::new(),
                _ => again.filter_map(|had| had.published).collect(),
            };
            let place = Place::of(port);
            between.into_iter().map(move |between| Choice { protocol, between, place })
        };
        wanted.iter().flat_map(of).collect()
    }
}

/// A port of the host that a container may take among others.
struct Choice {
    protocol: Protocol,
    between: (u16, u16),
    place: Place,
}
