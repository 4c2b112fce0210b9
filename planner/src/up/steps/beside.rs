//! Links of the host, which not all networks and containers beside them can have at a time.

use std::collections::BTreeMap;

use super::Maker;
use crate::desired::ContainerSpec;
use crate::plan::Slot;
use crate::up::containers::Part;
use crate::up::resources::NetworkFate;
use crate::up::{is_active, parents};

impl Maker<'_> {
    /// A network comes to a link when those are gone that exclude it there, or all who are on them;
    /// a container to a link that is one container's when the one before has left.
    pub(super) fn order_of_links(&mut self, networks: &BTreeMap<&str, NetworkFate>) {
        for (name, fate) in networks {
            let make =
                self.networks.get(name).filter(|_| fate.makes()).and_then(|slots| slots.make);
            if let Some(make) = make {
                let makers = self.makers_of_parent(name, fate, networks);
                for before in self.who_excludes(name, fate).into_iter().chain(makers) {
                    self.draft.after(make, before);
                }
            }
            if fate.record.spec.is_for_one() {
                self.order_of_lone_link(name);
            }
        }
    }

    /// The networks of the plan that make the link this one stands beside, or that its VLAN is on.
    fn makers_of_parent(
        &self,
        name: &str,
        fate: &NetworkFate,
        networks: &BTreeMap<&str, NetworkFate>,
    ) -> Vec<Slot> {
        let others = networks
            .iter()
            .filter(|(other, theirs)| **other != name && parents::makes(theirs, &fate.record.spec));
        others.filter_map(|(other, _)| self.networks.get(other)?.make).collect()
    }

    fn who_excludes(&self, name: &str, fate: &NetworkFate) -> Vec<Slot> {
        let others = self.survey.observed.networks.iter();
        let others = others.filter(|(other, have)| {
            other.as_str() != name && fate.record.spec.excludes(&have.record.spec)
        });
        let mut slots = Vec::new();
        for (other, _) in others {
            if let Some(remove) = self.networks.get(other.as_str()).and_then(|slots| slots.remove) {
                slots.push(remove);
                continue;
            }
            let on = self.survey.on_network.get(other.as_str()).into_iter().flatten();
            let on = on.filter_map(|have| self.by_name.get(have.record.name.as_str()));
            slots.extend(on.filter_map(|index| self.slots[*index].remove));
        }
        slots
    }

    /// One that changes as it is leaves and comes at once, and a start tries for a moment: to wait for
    /// each other could be a circle there, and with one that serves until another has come.
    fn order_of_lone_link(&mut self, network: &str) {
        let (mut leave, mut come) = (Vec::new(), Vec::new());
        for (index, (change, slots)) in self.changes.iter().zip(&self.slots).enumerate() {
            let has = |spec: &ContainerSpec| spec.networks.contains_key(network);
            let had = change.have.is_some_and(|have| is_active(have) && has(&have.record.spec));
            if had && !matches!(change.part, Part::Old) {
                leave.extend(slots.stop.map(|step| (index, step)));
            }
            if change.becomes().is_some_and(has) {
                come.extend(slots.start.map(|step| (index, step)));
            }
        }
        for (taker, step) in &come {
            for (_, before) in leave.iter().filter(|(giver, _)| giver != taker) {
                self.draft.after(*step, *before);
            }
        }
    }
}
