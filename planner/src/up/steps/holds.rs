//! New connections wait while a container is replaced by one that starts when it has stopped.

use super::Maker;
use crate::action::Action;
use crate::cause::{Cause, Gap, OrderWhy};
use crate::hold::{self, HeldPort};
use crate::plan::Slot;
use crate::up::containers::{Change, Fate, Part};

impl Maker<'_> {
    /// The steps that hold ports, when all others have their order; and which order it is.
    pub(super) fn holds(&mut self) {
        for index in 0..self.changes.len() {
            let (change, slots) = (&self.changes[index], self.slots[index]);
            match (change.part, slots.stop, slots.start) {
                (Part::Alone, Some(stop), Some(start)) => self.gap(change, (stop, start)),
                (Part::Heir(_), _, _) => {
                    let why = OrderWhy::File;
                    let order = Cause::Order { start_first: true, why, gap: Gap::None };
                    slots
                        .serve
                        .into_iter()
                        .for_each(|serve| self.draft.cause(serve, order.clone()));
                }
                (Part::Alone | Part::Old, ..) => {}
            }
        }
    }

    fn gap(&mut self, change: &Change, (stop, start): (Slot, Slot)) {
        let (Some(have), Some(becomes)) = (change.have, change.becomes()) else { return };
        let ports = hold::of(have, becomes);
        if change.verdict.fate == Fate::Replace {
            let gap = match &ports {
                Ok(ports) => Gap::Held { ports: ports.iter().map(|port| port.port).collect() },
                Err(why) => Gap::Open { why },
            };
            // Where nobody comes from outside and nobody asked, it is as ever.
            let why = self.order_why(change);
            if ports != Err(hold::NO_PORT) || why != OrderWhy::Default {
                self.draft.cause(stop, Cause::Order { start_first: false, why, gap });
            }
        }
        if let Ok(ports) = ports {
            self.hold(change, (stop, start), ports);
        }
    }

    fn order_why(&self, change: &Change) -> OrderWhy {
        let rollout = self.survey.desired.services.get(change.service).map(|s| s.rollout);
        match rollout {
            Some(rollout) if rollout.start_first => OrderWhy::Once,
            Some(rollout) if rollout.asked => OrderWhy::File,
            Some(_) | None => OrderWhy::Default,
        }
    }

    /// Held is what leads nowhere else: right before the stop, when the rules are as they should be.
    fn hold(&mut self, change: &Change, (stop, start): (Slot, Slot), ports: Vec<HeldPort>) {
        let causes = || change.verdict.causes.clone();
        let (limit, drain) = (hold::LIMIT, hold::DRAIN);
        let name = change.name.clone();
        let hold = Action::HoldPorts { name: name.clone(), ports: ports.clone(), limit, drain };
        let hold = self.draft.add(hold, causes());
        let networks = change.have.into_iter().flat_map(|have| have.record.spec.networks.keys());
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
