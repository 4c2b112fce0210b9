//! Replicas are replaced in groups, and what was replaced goes when all is over.

use std::collections::BTreeMap;

use berth_schema::stack::FailureAction;

use super::{Maker, Slots};
use crate::action::Action;
use crate::cause::Cause;
use crate::plan::Slot;
use crate::rollout::Rollout;
use crate::up::containers::Part;

/// The replicas of a service that are replaced, in order.
struct Batches<'a> {
    service: &'a str,
    rollout: Rollout,
    replicas: Vec<Replica<'a>>,
    /// Ends of what nobody needs any more once the rollout is over.
    spare: Vec<Slot>,
}

/// A replica that is replaced.
struct Replica<'a> {
    /// Name of the new container.
    name: &'a str,
    /// The step that takes it out of service, or brings the new container beside it.
    begins: Slot,
    /// The step that says that the new container is good.
    good: Slot,
    /// Steps of the new container.
    new: Slots,
    /// Steps of the container that is replaced, if that is another one.
    old: Option<Slots>,
    /// It has still to come: those that are there have their turn before.
    is_new: bool,
}

impl<'a> Batches<'a> {
    fn new(service: &'a str, rollout: Rollout) -> Batches<'a> {
        Batches { service, rollout, replicas: Vec::new(), spare: Vec::new() }
    }
}

impl<'a> Maker<'a> {
    /// Brings the replicas of each service in groups.
    pub(super) fn order_of_rollouts(&mut self) {
        let all = self.batches();
        // All ends come first: what a group may wait for hangs on those of other services too.
        for batches in &all {
            batches.replicas.iter().for_each(|replica| self.end_of_old(replica, batches.rollout));
        }
        for batches in &all {
            self.order_of_groups(batches);
            self.conclude(batches);
        }
        self.order_of_followers();
    }

    /// When the one that is replaced ends.
    fn end_of_old(&mut self, replica: &Replica, rollout: Rollout) {
        let Some(ends) = replica.old.and_then(|old| old.drain.or(old.stop)) else { return };
        let Slots { serve, create, start, .. } = replica.new;
        // Who may have to take over again runs on beside the new one while that is looked at.
        let goes_back = rollout.on_failure == FailureAction::Rollback;
        if goes_back && (serve.is_some() || !replica.is_new && start.is_none()) {
            self.draft.after(ends, replica.good);
            return;
        }
        if let Some(serve) = serve {
            self.draft.after(ends, serve);
            return;
        }
        // What is kept stops when the other one is made, unless that waits for its end, and before
        // that starts.
        let made = create.filter(|made| !self.draft.waits(*made, ends));
        made.into_iter().for_each(|made| self.draft.after(ends, made));
        start.into_iter().for_each(|start| self.draft.after(start, ends));
    }

    fn batches(&self) -> Vec<Batches<'a>> {
        let places = &self.by_name;
        let mut batches: BTreeMap<&str, Batches> = BTreeMap::new();
        for (change, slots) in self.changes.iter().zip(&self.slots) {
            let (Some(rollout), Some(good)) = (self.rollout(change), slots.good) else { continue };
            let old = match change.part {
                Part::Heir(old) | Part::Successor(old) => places.get(old.record.name.as_str()),
                Part::Untried(old) => old.and_then(|old| places.get(old.record.name.as_str())),
                Part::Alone | Part::Old | Part::Kept => None,
            };
            let old = old.map(|old| self.slots[*old]);
            let begins = match (change.part, old) {
                (Part::Successor(_), Some(old)) => old.stop.or(slots.start),
                (Part::Heir(_), Some(_)) => slots.start.or(slots.serve),
                _ => slots.stop.or(slots.remove).or(slots.create).or(slots.start),
            };
            let begins = begins.unwrap_or(good);
            let is_new = !matches!(change.part, Part::Untried(_));
            let replica = Replica { name: &change.name, begins, good, new: *slots, old, is_new };
            let service = change.service;
            let of_service = batches.entry(service);
            let of_service = of_service.or_insert_with(|| Batches::new(service, rollout));
            of_service.replicas.push(replica);
        }
        for (change, slots) in self.changes.iter().zip(&self.slots) {
            let Some(batches) = batches.get_mut(change.service) else { continue };
            let goes_back = batches.rollout.on_failure == FailureAction::Rollback;
            let spare = match change.verdict.causes.as_slice() {
                [Cause::Superseded] if matches!(change.part, Part::Alone) => slots.remove,
                [Cause::Scale] if change.want.is_none() && goes_back => slots.stop.or(slots.remove),
                _ => None,
            };
            batches.spare.extend(spare);
        }
        let mut batches: Vec<Batches> = batches.into_values().collect();
        for batch in &mut batches {
            batch.replicas.sort_by_key(|replica| replica.is_new);
        }
        batches
    }

    /// A group comes when those before it are good, and those they replaced have ended.
    fn order_of_groups(&mut self, Batches { service, rollout, replicas, .. }: &Batches) {
        let may_fail = rollout.may_fail(replicas.len());
        let mut knotted = false;
        let mut done = 0;
        let mut last: &[Replica] = &[];
        for group in rollout.groups(replicas) {
            let before = &replicas[..done];
            done += group.len();
            let waits = |replica: &Replica| {
                let mut begins = group.iter().map(|next| next.begins);
                let stop = replica.old.and_then(|old| old.stop).unwrap_or(replica.good);
                begins.any(|begins| {
                    [replica.good, stop].iter().any(|done| self.draft.waits(*done, begins))
                })
            };
            // Those before the last ones are waited for through these.
            knotted |= last.iter().any(waits);
            let stops = last.iter().filter_map(|replica| replica.old?.stop);
            let stops: Vec<Slot> = stops.collect();
            last = group;
            if before.is_empty() || knotted {
                continue;
            }
            let name = group[0].name.to_owned();
            let admit = Action::Admit { name, delay: rollout.delay, may_fail };
            let cause = Cause::NeededBy { service: (*service).to_owned() };
            let admit = self.draft.add(admit, vec![cause]);
            before.iter().for_each(|replica| self.draft.after_tried(admit, replica.good));
            for next in group {
                self.draft.after(next.begins, admit);
                stops.iter().for_each(|stop| self.draft.after_tried(next.begins, *stop));
            }
        }
        if knotted {
            let note = "its containers are replaced at once, as what they need is made anew";
            self.draft.notes.push(format!("{service}: {note}"));
        }
    }

    /// Until the last of them is good, what was replaced is kept; and it is told whether enough are.
    fn conclude(&mut self, Batches { service, rollout, replicas, spare }: &Batches) {
        let kept = replicas.iter().filter_map(|replica| Some((replica, replica.old?.remove?)));
        let may_fail = rollout.may_fail(replicas.len());
        let service = (*service).to_owned();
        let cause = Cause::NeededBy { service: service.clone() };
        let conclude = self.draft.add(Action::Conclude { service, may_fail }, vec![cause]);
        replicas.iter().for_each(|replica| self.draft.after_tried(conclude, replica.good));
        for (replica, remove) in kept {
            self.draft.after(remove, conclude);
            self.draft.after(remove, replica.good);
        }
        for remove in spare {
            if !self.draft.waits(conclude, *remove) {
                self.draft.after(*remove, conclude);
            }
        }
    }
}
