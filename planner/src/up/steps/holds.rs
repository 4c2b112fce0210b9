//! New connections wait while a container is replaced by one that starts when it has stopped.

use super::Maker;
use crate::action::Action;
use crate::cause::{Cause, Gap, OrderWhy};
use crate::hold::{self, HeldPort};
use crate::observed::ObservedContainer;
use crate::plan::Slot;
use crate::rollout::Chosen;
use crate::up::containers::{Change, Fate, Part};

impl Maker<'_> {
    /// The steps that hold ports, when all others have their order; and which order it is.
    pub(super) fn holds(&mut self) {
        for index in 0..self.changes.len() {
            let (change, slots) = (&self.changes[index], self.slots[index]);
            match (change.part, slots.stop, slots.start) {
                (Part::Alone | Part::Untried(_), Some(stop), Some(start)) => {
                    let replaced = change.verdict.fate == Fate::Replace;
                    if let Some(have) = change.have {
                        self.gap(change, (have, replaced), (stop, start));
                    }
                }
                (Part::Successor(old), _, Some(start)) => {
                    let at = self.by_name.get(old.record.name.as_str());
                    if let Some(stop) = at.and_then(|at| self.slots[*at].stop) {
                        self.gap(change, (old, true), (stop, start));
                    }
                }
                (Part::Heir(_), _, _) => {
                    let (why, obstacle) = self.order_why(change, true);
                    let order = Cause::Order { start_first: true, why, obstacle, gap: Gap::None };
                    slots
                        .serve
                        .into_iter()
                        .for_each(|serve| self.draft.cause(serve, order.clone()));
                }
                (Part::Alone | Part::Untried(_), ..) => {}
                (Part::Old | Part::Successor(_) | Part::Kept, ..) => {}
            }
        }
    }

    fn gap(
        &mut self,
        change: &Change,
        (have, replaced): (&ObservedContainer, bool),
        (stop, start): (Slot, Slot),
    ) {
        let Some(becomes) = change.becomes() else { return };
        let ports = hold::of(have, becomes);
        if replaced {
            let gap = match &ports {
                Ok(ports) => Gap::Held { ports: ports.iter().map(|port| port.port).collect() },
                Err(why) => Gap::Open { why },
            };
            // Where nobody comes from outside and nobody asked, it is as ever.
            let (why, obstacle) = self.order_why(change, false);
            if ports != Err(hold::NO_PORT) || why != OrderWhy::Default {
                let order = Cause::Order { start_first: false, why, obstacle, gap };
                self.draft.cause(stop, order);
            }
        }
        if let Ok(ports) = ports {
            self.hold(change, have, (stop, start), ports);
        }
    }

    /// Why this order, and what stands in the way of a start first.
    fn order_why(&self, change: &Change, start_first: bool) -> (OrderWhy, Option<String>) {
        let Some(service) = self.survey.desired.services.get(change.service) else {
            return (OrderWhy::Default, None);
        };
        let chosen = service.order.as_ref().map(|choice| &choice.chosen);
        let why = match (service.rollout, chosen) {
            (Some(rollout), _) if rollout.start_first && !start_first => OrderWhy::Once,
            (Some(rollout), _) if rollout.asked => OrderWhy::File,
            (_, Some(Chosen::Asked)) => OrderWhy::Asked,
            (_, Some(Chosen::Free)) => OrderWhy::Free,
            (_, Some(Chosen::Blocked(why))) => return (OrderWhy::Blocked, Some(why.clone())),
            (Some(_) | None, None) => OrderWhy::Default,
        };
        (why, None)
    }

    /// Held is what leads nowhere else: right before the stop, when the rules are as they should be.
    fn hold(
        &mut self,
        change: &Change,
        have: &ObservedContainer,
        (stop, start): (Slot, Slot),
        ports: Vec<HeldPort>,
    ) {
        let causes = || change.verdict.causes.clone();
        let (limit, drain) = (hold::LIMIT, hold::DRAIN);
        let (name, of) = (change.name.clone(), have.record.name.clone());
        let hold = Action::HoldPorts { name: of, ports: ports.clone(), limit, drain };
        let hold = self.draft.add(hold, causes());
        let networks = have.record.spec.networks.keys();
        let repairs: Vec<Slot> =
            networks.filter_map(|network| self.networks.get(network.as_str())?.make).collect();
        self.draft.insert_before(stop, hold);
        for repair in repairs {
            if !self.draft.waits(repair, stop) {
                self.draft.after(hold, repair);
            }
        }
        let release = Action::ReleasePorts { name, ports, patience: limit };
        let release = self.draft.add(release, causes());
        self.draft.after(release, hold);
        self.draft.after_tried(release, start);
    }
}
