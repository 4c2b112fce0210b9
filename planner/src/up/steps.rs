//! Fates → steps with their order.
//!
//! Stops come before removals, these before networks and volumes, these before changes of containers
//! as they are, these before new containers, these before starts and the gates between them. Only a
//! rollout keeps what it replaces until later steps, and who would wait for that does not roll.

mod batches;
mod beside;
mod claims;
mod holds;
mod inits;
mod live;
mod rollouts;
mod shared;

use std::collections::{BTreeMap, BTreeSet};

use berth_schema::stack::Condition;

use crate::action::Action;
use crate::cause::Cause;
use crate::desired::{ContainerSpec, DependencySpec};
use crate::down::{named_volumes, volumes_of};
use crate::gate::{Gates, Member};
use crate::ipam;
use crate::observed::{Addresses, ContainerRecord, Subnet};
use crate::pause::run_on_again;
use crate::plan::{Draft, Slot};
use crate::pull;

use super::containers::{Change, Fate, Part};
use super::records::Records;
use super::resources::{self, NetworkFate, VolumeFate};
use super::{Survey, is_active, notes};

/// Where what containers were made with and what the files say is the other way round, not all that
/// they wait for can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// Each container waits for all it needs.
    All,
    /// Not for one that would wait for it.
    NoCircle,
}

/// The steps for all fates.
pub(super) fn draft(
    survey: &Survey,
    (networks, volumes): (&BTreeMap<&str, NetworkFate>, &BTreeMap<&str, VolumeFate>),
    changes: &[Change],
    Records { made: records, updated }: Records,
    waits: Waits,
) -> Draft {
    let mut maker = Maker {
        survey,
        draft: Draft::default(),
        slots: vec![Slots::default(); changes.len()],
        changes,
        by_name: BTreeMap::new(),
        by_service: BTreeMap::new(),
        pulls: BTreeMap::new(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        gates: Gates::default(),
        given: vec![BTreeMap::new(); changes.len()],
    };
    for (index, change) in changes.iter().enumerate() {
        maker.by_name.insert(&change.name, index);
        if !change.oneoff {
            maker.by_service.entry(change.service).or_default().push(index);
        }
    }
    let first = crate::down::leftovers(survey.observed, &mut maker.draft);
    maker.draft.warnings.extend(notes::of_others(survey, networks, volumes));
    maker.draft.warnings.extend(notes::orphans(survey, &maker.by_name));
    maker.draft.warnings.extend(resources::overlapped(survey, networks));
    maker.draft.warnings.extend(notes::old_files(changes));
    maker.draft.notes.extend(notes::without_userns(survey.desired, &records));
    maker.draft.notes.extend(notes::without_nodes(&records));
    maker.draft.notes.extend(notes::without_effect(survey.desired, changes, &records));
    maker.draft.notes.extend(notes::gaps(changes, &updated));
    maker.pulls(&records);
    maker.networks(networks);
    maker.order_of_subnets(networks);
    maker.volumes(volumes);
    maker.order_of_pulls();
    maker.containers(records, updated);
    maker.order_of_stops();
    maker.order_of_volumes();
    maker.order_of_resources(networks, volumes);
    maker.unused_networks();
    maker.order_of_claims();
    maker.order_of_links(networks);
    maker.order_of_parents();
    maker.order_of_inits();
    maker.order_of_starts(waits);
    maker.order_of_choices();
    maker.order_of_rollouts();
    maker.holds();
    if let Some(first) = first {
        maker.draft.begin_with(first);
    }
    maker.draft
}

#[derive(Debug, Clone, Copy, Default)]
struct Slots {
    stop: Option<Slot>,
    remove: Option<Slot>,
    create: Option<Slot>,
    start: Option<Slot>,
    /// From here on it serves, if that is not from its start on.
    serve: Option<Slot>,
    /// From here on it is good, if a rollout looks at that.
    good: Option<Slot>,
    /// The wait for the end of connections to it.
    drain: Option<Slot>,
    adopt: Option<Slot>,
    /// The change of it as it is.
    update: Option<Slot>,
    /// The wait for its end, where others wait for that.
    end: Option<Slot>,
    /// Its removal after that.
    clear: Option<Slot>,
}

#[derive(Debug, Clone, Copy, Default)]
struct NetworkSlots {
    remove: Option<Slot>,
    /// Creation or repair.
    make: Option<Slot>,
    /// The containers on it end before it is made.
    reconnects: bool,
}

struct Maker<'a> {
    survey: &'a Survey<'a>,
    draft: Draft,
    changes: &'a [Change<'a>],
    /// Steps of each change.
    slots: Vec<Slots>,
    /// Which of the changes is of a container.
    by_name: BTreeMap<&'a str, usize>,
    by_service: BTreeMap<&'a str, Vec<usize>>,
    pulls: BTreeMap<String, Slot>,
    networks: BTreeMap<&'a str, NetworkSlots>,
    volumes: BTreeMap<&'a str, Slot>,
    gates: Gates,
    /// Addresses new containers get.
    given: Vec<BTreeMap<String, Addresses>>,
}

impl<'a> Maker<'a> {
    fn pulls(&mut self, records: &BTreeMap<String, ContainerRecord>) {
        let own =
            records.values().map(|record| (record.spec.image.as_str(), record.locked.as_deref()));
        let mounted = records.values().flat_map(|record| record.spec.other_images());
        let wanted: BTreeSet<(&str, Option<&str>)> =
            own.chain(mounted.map(|image| (image, None))).collect();
        for (reference, locked) in wanted {
            let image = pull::image(reference, locked);
            if !self.survey.observed.images.contains_key(&image) && !pull::is_host(reference) {
                let (action, cause) = pull::step(reference, locked, Cause::Missing);
                let slot = self.draft.add(action, vec![cause]);
                self.pulls.insert(image, slot);
            }
        }
    }

    fn networks(&mut self, networks: &BTreeMap<&'a str, NetworkFate>) {
        for (name, fate) in networks {
            let causes = resources::network_causes(fate);
            let mut slots = NetworkSlots::default();
            let record = || fate.record.clone();
            match fate.fate {
                resources::Fate::Keep => self.draft.unchanged += 1,
                resources::Fate::Create => {
                    slots.make = Some(self.draft.add(Action::CreateNetwork(record()), causes));
                }
                resources::Fate::Reconnect
                | resources::Fate::Repair
                | resources::Fate::Describe => {
                    let make = self.draft.add(Action::RepairNetwork(record()), causes);
                    self.draft.changes(make, fate.changes.clone());
                    slots.make = Some(make);
                }
                resources::Fate::Replace => {
                    let remove = Action::RemoveNetwork { name: name.to_string() };
                    let remove = self.draft.add(remove, causes.clone());
                    let make = self.draft.add(Action::CreateNetwork(record()), causes);
                    self.draft.changes(make, fate.changes.clone());
                    self.draft.after(make, remove);
                    (slots.remove, slots.make) = (Some(remove), Some(make));
                }
            }
            slots.reconnects =
                !matches!(fate.fate, resources::Fate::Repair | resources::Fate::Describe);
            self.networks.insert(name, slots);
        }
    }

    /// Networks and volumes are touched only when every image is here: a registry that does not
    /// answer leaves everything as it was.
    fn order_of_pulls(&mut self) {
        let networks = self.networks.values().filter_map(|slots| slots.remove.or(slots.make));
        for touched in networks.chain(self.volumes.values().copied()) {
            for pull in self.pulls.values() {
                self.draft.after(touched, *pull);
            }
        }
    }

    /// A new network may get a subnet that another one gives up.
    fn order_of_subnets(&mut self, networks: &BTreeMap<&str, NetworkFate>) {
        let removed: Vec<(Slot, &[Subnet])> = self
            .networks
            .iter()
            .filter_map(|(name, slots)| {
                let have = self.survey.observed.networks.get(*name)?;
                Some((slots.remove?, have.record.subnets.as_slice()))
            })
            .collect();
        for (name, fate) in networks {
            let made = self.networks.get(name).filter(|_| fate.makes());
            let Some(make) = made.and_then(|slots| slots.make) else { continue };
            for (remove, old) in &removed {
                let mut new = fate.record.subnets.iter();
                if new.any(|new| old.iter().any(|old| ipam::overlap(&new.net, &old.net))) {
                    self.draft.after(make, *remove);
                }
            }
        }
    }

    fn volumes(&mut self, volumes: &BTreeMap<&'a str, VolumeFate>) {
        for (name, fate) in volumes {
            if fate.fate == resources::Fate::Create {
                let action = Action::CreateVolume(fate.record.clone());
                self.volumes.insert(name, self.draft.add(action, vec![Cause::Missing]));
            } else {
                self.draft.unchanged += 1;
            }
        }
    }

    fn containers(
        &mut self,
        mut records: BTreeMap<String, ContainerRecord>,
        mut updated: BTreeMap<String, ContainerRecord>,
    ) {
        for index in 0..self.changes.len() {
            let change = &self.changes[index];
            let record = records.remove(&change.name);
            let updated = updated.remove(&change.name);
            if let Some(record) = record.as_ref().or(updated.as_ref()) {
                self.given[index] = record.addresses.clone();
            }
            self.slots[index] = self.container(change, record, updated);
        }
    }

    fn container(
        &mut self,
        change: &Change,
        record: Option<ContainerRecord>,
        updated: Option<ContainerRecord>,
    ) -> Slots {
        let verdict = &change.verdict;
        let (fate, causes) = (verdict.fate, || verdict.causes.clone());
        let name = || change.name.clone();
        let mut slots = Slots::default();
        match fate {
            Fate::Keep if verdict.is_update() => {}
            Fate::Keep if matches!(change.part, Part::Heir(_) | Part::Successor(_)) => {}
            Fate::Keep if matches!(change.part, Part::Untried(_)) => {}
            Fate::Keep => self.draft.unchanged += usize::from(!change.oneoff),
            Fate::Adopt => {
                let adopt = Action::AdoptContainer { name: name() };
                slots.adopt = Some(self.draft.add(adopt, causes()));
            }
            Fate::Unpause => {
                slots.adopt = change.have.map(|have| run_on_again(&mut self.draft, have));
            }
            Fate::Create | Fate::Start | Fate::Restart | Fate::Replace | Fate::Remove => {}
        }
        let ends = matches!(fate, Fate::Replace | Fate::Restart | Fate::Remove);
        if ends && change.have.is_some_and(is_active) {
            let grace = self.survey.options.grace;
            let action = Action::StopContainer { name: name(), grace, hold: false };
            slots.stop = Some(self.draft.add(action, causes()));
        }
        if matches!(fate, Fate::Replace | Fate::Remove) {
            slots.remove = Some(self.draft.add(Action::RemoveContainer { name: name() }, causes()));
        }
        if let Some(record) = record {
            let create = self.draft.add(Action::CreateContainer(Box::new(record)), causes());
            self.draft.changes(create, verdict.changes.clone());
            slots.create = Some(create);
        }
        slots.update = updated.map(|record| self.update(change, record));
        if let (Some(update), Some(adopt)) = (slots.update, slots.adopt) {
            self.draft.after(update, adopt);
        }
        if verdict.starts {
            let start = match change.part {
                Part::Heir(_) => Action::StartBeside { name: name() },
                Part::Alone | Part::Old | Part::Successor(_) | Part::Kept | Part::Untried(_) => {
                    Action::StartContainer { name: name() }
                }
            };
            slots.start = Some(self.draft.add(start, causes()));
        }
        self.handover(change, &mut slots);
        self.end_of_init(change, &mut slots);
        let begins = slots.start.or(slots.adopt.filter(|_| slots.end.is_some()));
        let in_order =
            [slots.stop, slots.remove, slots.create, slots.update, begins, slots.end, slots.clear];
        let in_order: Vec<Slot> = in_order.into_iter().flatten().collect();
        for pair in in_order.windows(2) {
            self.draft.after(pair[1], pair[0]);
        }
        slots
    }

    /// A dependent stops before what it depends on, and a container that is replaced only when
    /// its image is here.
    fn order_of_stops(&mut self) {
        for (index, change) in self.changes.iter().enumerate() {
            let Some(stop) = self.slots[index].stop else { continue };
            // The one that serves goes when its heir has come, which waits for all it needs.
            if matches!(change.part, Part::Old) {
                continue;
            }
            if let (Some(want), Some(_)) = (change.want, self.slots[index].create) {
                for pull in self.pulls_of(change, want) {
                    self.draft.after(stop, pull);
                }
            }
            let order = &self.survey.order;
            // Over a service of which none stops, such as a migration that has ended, others still
            // need what that needs.
            let stops = |service: &str| self.replaced(service).any(|on| on.stop.is_some());
            let needed: Vec<Slot> = order
                .needs_over(change.service, stops)
                .into_iter()
                .flat_map(|service| self.replaced(service).filter_map(|on| on.stop))
                .collect();
            // One that only starts does so when those that have to follow it have ended: if the work
            // is broken off between, the next run still sees them stopped.
            let follows =
                |service: &&str| change.depends_on.get(*service).is_some_and(|on| on.restart);
            let followed = order.needs(change.service).filter(follows);
            let starting: Vec<Slot> = followed
                .flat_map(|service| self.replaced(service).filter(|on| on.stop.is_none()))
                .filter_map(|on| on.start)
                .collect();
            for step in needed.into_iter().chain(starting) {
                self.draft.after(step, stop);
            }
        }
    }

    /// The steps of the containers of a service, but for those that come beside others.
    fn replaced(&self, service: &str) -> impl Iterator<Item = Slots> {
        let of_service = self.by_service.get(service).into_iter().flatten();
        let here = of_service.filter(|on| !matches!(self.changes[**on].part, Part::Heir(_)));
        here.map(|on| self.slots[*on])
    }

    fn order_of_resources(
        &mut self,
        networks: &BTreeMap<&str, NetworkFate>,
        volumes: &BTreeMap<&str, VolumeFate>,
    ) {
        for (index, change) in self.changes.iter().enumerate() {
            let slots = self.slots[index];
            let gone = slots.remove.or(slots.stop);
            if let (Some(gone), Some(have)) = (gone, change.have) {
                for network in have.record.spec.networks.keys() {
                    let of_network = self.networks.get(network.as_str());
                    let Some(of_network) = of_network.filter(|slots| slots.reconnects) else {
                        continue;
                    };
                    if let Some(after) = of_network.remove.or(of_network.make) {
                        self.draft.after(after, gone);
                    }
                }
                for volume in volumes_of(&have.record) {
                    if let Some(make) = self.volumes.get(volume) {
                        self.draft.after(*make, gone);
                    }
                }
            }
            let Some(want) = change.want else { continue };
            let made = want.networks.keys().filter(|name| networks.contains_key(name.as_str()));
            let made = made.filter_map(|name| self.networks[name.as_str()].make);
            let volumes = named_volumes(want).filter(|name| volumes.contains_key(name));
            let volumes = volumes.filter_map(|name| self.volumes.get(name).copied());
            let pulls = slots.create.map(|_| self.pulls_of(change, want)).unwrap_or_default();
            if let Some(step) = slots.create.or(slots.update).or(slots.start) {
                for before in made.chain(volumes).chain(pulls) {
                    self.draft.after(step, before);
                }
            }
        }
    }

    /// Networks of the project that the stack does not have and nobody will be on go with the
    /// orphans.
    fn unused_networks(&mut self) {
        let (desired, observed) = (self.survey.desired, self.survey.observed);
        if !self.survey.options.remove_orphans {
            return;
        }
        for (name, network) in &observed.networks {
            let ours = network.record.project == desired.project && !network.record.spec.external;
            if !ours || desired.networks.contains_key(name) {
                continue;
            }
            let users = self.survey.on_network.get(name.as_str()).into_iter().flatten();
            let removals = users.map(|have| {
                let index = *self.by_name.get(have.record.name.as_str())?;
                let stays = self.changes[index].want.is_some_and(|w| w.networks.contains_key(name));
                self.slots[index].remove.or(self.slots[index].update).filter(|_| !stays)
            });
            let Some(removals) = removals.collect::<Option<Vec<Slot>>>() else { continue };
            let remove = Action::RemoveNetwork { name: name.clone() };
            let remove = self.draft.add(remove, vec![Cause::NotInStack]);
            removals.into_iter().for_each(|first| self.draft.after(remove, first));
        }
    }

    /// A container starts after those whose network it shares.
    fn order_of_parents(&mut self) {
        for (index, change) in self.changes.iter().enumerate() {
            let Some(start) = self.slots[index].start else { continue };
            let parents = change.becomes().map(ContainerSpec::parents).unwrap_or_default();
            let parents =
                parents.into_iter().filter_map(|parent| self.by_name.get(parent).copied());
            for parent in parents.filter_map(|parent| self.slots[parent].start) {
                self.draft.after(start, parent);
                if let Some(stop) = self.slots[index].stop {
                    self.draft.after(parent, stop);
                }
            }
        }
    }

    /// A container starts after what it depends on. Where not all can be, what waits for an end or
    /// for health goes before what only waits for a start, and what is not required comes last.
    fn order_of_starts(&mut self, waits: Waits) {
        let weight = |on: &DependencySpec| match (on.required, on.condition) {
            _ if waits == Waits::All => 0,
            (true, Condition::ServiceStarted) => 1,
            (true, _) => 0,
            (false, _) => 2,
        };
        for now in 0..=2 {
            for (index, change) in self.changes.iter().enumerate() {
                let Some(start) = self.slots[index].start else { continue };
                for (service, on) in change.depends_on.iter().filter(|(_, on)| weight(on) == now) {
                    self.gate((start, waits), change, service, *on);
                }
            }
        }
    }

    /// Lets a start wait for those of a service.
    fn gate(
        &mut self,
        (start, waits): (Slot, Waits),
        change: &Change,
        service: &str,
        on: DependencySpec,
    ) {
        let in_scope = self.survey.scope.contains(service);
        for index in self.by_service.get(service).into_iter().flatten() {
            let (needed, slots) = (&self.changes[*index], self.slots[*index]);
            let start_of = slots.serve.or(slots.start).or(slots.adopt);
            let counts = in_scope || start_of.is_some();
            let closes = |of: Slot| self.draft.waits(of, start);
            if waits == Waits::NoCircle && start_of.is_some_and(closes) {
                let (name, other) = (&change.name, &needed.name);
                let note = format!("it does not wait for `{other}`, which can only start after it");
                self.draft.notes.push(format!("{name}: {note}"));
                continue;
            }
            if counts && needed.verdict.fate != Fate::Remove {
                let deadline = self.survey.desired.services.get(service).and_then(|s| s.deadline);
                let (name, have) = (needed.name.as_str(), needed.have);
                let member = Member { name, have, start: start_of, deadline };
                self.gates.connect(&mut self.draft, start, (change.service, on), member);
            }
        }
    }
}
