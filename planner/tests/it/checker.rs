//! Judges a plan by what it says, not by how it was made.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use berth_planner::action::Action;
use berth_planner::cause::Cause;
use berth_planner::desired::{DependencySpec, Desired, NetworkMode, SourceSpec};
use berth_planner::hold::HeldPort;
use berth_planner::observed::{ContainerRecord, Observed, ObservedContainer};
use berth_planner::{Plan, StepId};
use berth_schema::stack::{Condition, Protocol};

use crate::host::active;

type Needs = BTreeMap<String, DependencySpec>;

/// A plan with what comes before each of its steps.
struct Judged<'a> {
    plan: &'a Plan,
    desired: Option<&'a Desired>,
    observed: &'a Observed,
    /// All steps that end before a step begins.
    before: Vec<BTreeSet<StepId>>,
    at: BTreeMap<(&'static str, String), StepId>,
}

/// Fails with the reason when a plan is not sound. What services depend on is what `desired`
/// says, and for those it does not know what their records say.
pub fn judge(plan: &Plan, desired: Option<&Desired>, observed: &Observed) {
    let judged = Judged::of(plan, desired, observed);
    assert!(petgraph::algo::toposort(&plan.graph(), None).is_ok(), "a circle");
    for step in &plan.steps {
        assert!(!step.causes.is_empty(), "no cause for {}", step.action.target());
        judged.action(step.id, &step.action);
    }
    // Else they are as somebody else gave them.
    let gives =
        |action: &Action| matches!(action, Action::CreateContainer(_) | Action::UpdateContainer(_));
    if plan.steps.iter().any(|step| gives(&step.action)) {
        judged.addresses();
    }
}

/// Of each step all steps that end before it begins.
pub fn steps_before(plan: &Plan) -> Vec<BTreeSet<StepId>> {
    let mut before: Vec<BTreeSet<StepId>> = Vec::new();
    for (index, step) in plan.steps.iter().enumerate() {
        assert_eq!(step.id.index(), index);
        let mut mine = BTreeSet::new();
        for first in step.after.iter().chain(&step.after_tried) {
            assert!(*first < step.id, "a step waits for a later one");
            mine.extend(before[first.index()].iter().copied());
            mine.insert(*first);
        }
        before.push(mine);
    }
    before
}

impl<'a> Judged<'a> {
    fn of(plan: &'a Plan, desired: Option<&'a Desired>, observed: &'a Observed) -> Judged<'a> {
        let before = steps_before(plan);
        let mut at = BTreeMap::new();
        for step in &plan.steps {
            let mut target = step.action.target();
            if let Action::AwaitContainer { condition, .. } = &step.action {
                target.push_str(&format!(" {condition:?}"));
            }
            if let Action::RemoveLeftover(leftover) = &step.action {
                target = format!("{leftover:?}");
            }
            let mut verb = step.action.verb();
            // A container of `pre_start` goes when it has ended.
            let made = at.contains_key(&("create_container", target.clone()));
            if made && verb == "remove_container" {
                verb = "clear_container";
            }
            let twice = at.insert((verb, target.clone()), step.id);
            assert_eq!(twice, None, "{verb} {target} twice");
        }
        Judged { plan, desired, observed, before, at }
    }

    fn find(&self, verb: &'static str, name: &str) -> Option<StepId> {
        self.at.get(&(verb, name.to_string())).copied()
    }

    /// If there is such a step, it comes before.
    fn after(&self, id: StepId, verb: &'static str, name: &str) {
        if let Some(first) = self.find(verb, name) {
            let what = &self.plan.steps[id.index()].action;
            let here = (what.verb(), what.target());
            assert!(self.before[id.index()].contains(&first), "{here:?} before {verb} {name}");
        }
    }

    /// The record of a container while the plan runs and after it.
    fn record(&self, name: &str) -> Option<&ContainerRecord> {
        let find = |verb| self.find(verb, name);
        let made = find("create_container").or_else(|| find("update_container"));
        match made.map(|id| &self.plan.steps[id.index()].action) {
            Some(Action::CreateContainer(record) | Action::UpdateContainer(record)) => Some(record),
            _ => self.observed.containers.get(name).map(|container| &container.record),
        }
    }

    fn depends_on<'b>(&'b self, record: &'b ContainerRecord) -> &'b Needs {
        let service = self.desired.and_then(|desired| desired.services.get(&record.service));
        service.map_or(&record.depends_on, |service| &service.depends_on)
    }

    fn action(&self, id: StepId, action: &Action) {
        match action {
            Action::CreateContainer(record) => self.create(id, record),
            Action::StartContainer { name } | Action::StartBeside { name } => self.start(id, name),
            Action::AwaitStable { name, .. } => {
                self.after(id, "launch_container", name);
                self.after(id, "start_container", name);
            }
            Action::Watch { name, .. } => self.after(id, "promote_container", name),
            Action::Admit { name, .. } => self.admit(id, name),
            Action::Conclude { service, .. } => {
                let waits = &self.plan.steps[id.index()].after_tried;
                assert!(!waits.is_empty(), "the rollout of {service} is over at once");
            }
            Action::TakeOver { name, from } => self.take_over(id, name, from),
            Action::Drain { name, .. } => match self.heir(name) {
                Some(serves) => {
                    let before = &self.before[id.index()];
                    assert!(before.contains(&serves), "{name} is drained too early");
                }
                None => {
                    let gave_up = |c: &ObservedContainer| c.beside && c.served;
                    let have = self.observed.containers.get(name);
                    assert!(have.is_some_and(gave_up), "nobody takes over from {name}");
                }
            },
            Action::HoldPorts { name, ports, .. } => self.hold(id, name, ports),
            Action::ReleasePorts { name, .. } => {
                let other = other_name(name);
                let holds = [name, &other].iter().any(|n| self.find("hold_container", n).is_some());
                assert!(holds, "{name} is not held");
                self.after(id, "hold_container", name);
                self.after(id, "start_container", name);
            }
            Action::StopContainer { name, .. } => self.stop(id, name),
            Action::RemoveContainer { name } if self.find("clear_container", name) == Some(id) => {
                assert!(self.record(name).is_some_and(|record| record.init.is_some()));
                self.after_end(id, name);
            }
            Action::RemoveContainer { name } => {
                self.after(id, "stop_container", name);
                let container = &self.observed.containers[name];
                let stopped = self.find("stop_container", name).is_some();
                let init = container.record.init.is_some();
                let clears = init && self.find("clear_container", name).is_none();
                let ends = clears && self.after_end(id, name);
                assert!(stopped || ends || !active(container), "{name} is removed while it runs");
            }
            Action::RemoveNetwork { name } => {
                for (container, have) in &self.observed.containers {
                    if have.record.spec.networks.contains_key(name) {
                        let gone = ["remove_container", "update_container"]
                            .into_iter()
                            .find(|verb| self.find(verb, container).is_some());
                        assert!(gone.is_some(), "{name} is removed under {container}");
                        self.after(id, gone.unwrap(), container);
                    }
                }
            }
            Action::CreateNetwork(record) => self.after(id, "remove_network", &record.name),
            Action::UpdateContainer(record) => {
                self.after(id, "stop_container", &record.name);
                self.after(id, "adopt_container", &record.name);
                let there = self.observed.containers.contains_key(&record.name);
                assert!(there, "{} is to be updated and is not there", record.name);
                for network in record.spec.networks.keys() {
                    self.after(id, "create_network", network);
                    let given = record.addresses.contains_key(network);
                    assert!(given, "{} gets no address on {network}", record.name);
                }
                let left = record.addresses.keys().find(|n| !record.spec.networks.contains_key(*n));
                assert_eq!(left, None, "{} keeps an address", record.name);
            }
            Action::AwaitContainer { name, .. } => self.after(id, "start_container", name),
            Action::RemoveVolume { name } => {
                let volume = &self.observed.volumes[name].record;
                // `up` removes at most what it was asked to make anew, and nothing that has a name.
                let asked = self.plan.steps[id.index()].causes.contains(&Cause::Requested);
                let renewed = asked && volume.container.is_some();
                assert!(self.desired.is_none() || renewed, "{name} is removed");
                assert!(!volume.spec.external, "{name} is external");
            }
            Action::RepairNetwork(_)
            | Action::PullImage { .. }
            | Action::CreateVolume(_)
            | Action::AdoptContainer { .. }
            | Action::SignalContainer { .. }
            | Action::PauseContainer { .. }
            | Action::UnpauseContainer { .. }
            | Action::UntagImage { .. }
            | Action::RemoveImage { .. }
            | Action::SweepStore
            | Action::RemoveLeftover(_) => {}
        }
    }

    /// Whether the end of a container of `pre_start` comes before, if it is waited for.
    fn after_end(&self, id: StepId, name: &str) -> bool {
        let target = format!("{name} {:?}", Condition::ServiceCompletedSuccessfully);
        self.after(id, "await_container", &target);
        self.find("await_container", &target).is_some()
    }

    /// What waits for `pre_start` is made when that has ended.
    fn steps(&self, id: StepId, record: &ContainerRecord) {
        for step in &self.plan.steps {
            if let Action::CreateContainer(init) = &step.action
                && init.init.is_some()
                && init.service == record.service
                && (init.number == record.number
                    || !init.name.ends_with(&format!("-{}", init.number)))
                && record.init.is_none()
                && !record.oneoff
                // One that is not to run yet has it before it some other time.
                && record.prepared
            {
                self.after_end(id, &init.name);
                let start = self.find("start_container", &init.name).expect("it is started");
                self.after(start, "remove_container", &record.name);
            }
        }
    }

    fn create(&self, id: StepId, record: &ContainerRecord) {
        let name = &record.name;
        self.steps(id, record);
        let there = self.observed.containers.contains_key(name);
        assert_eq!(there, self.find("remove_container", name).is_some(), "{name} is there");
        self.after(id, "remove_container", name);
        for network in record.spec.networks.keys() {
            let made = self.find("create_network", network).is_some();
            assert!(made || self.observed.networks.contains_key(network), "{network} is missing");
            self.after(id, "create_network", network);
        }
        for mount in record.spec.mounts.values() {
            if let SourceSpec::Volume { name: volume, .. } = &mount.source {
                let made = self.find("create_volume", volume).is_some();
                assert!(made || self.observed.volumes.contains_key(volume), "{volume} is missing");
                self.after(id, "create_volume", volume);
            }
        }
        let image = &record.spec.image;
        let pulled = self.find("pull_image", image).is_some();
        assert!(pulled || self.observed.images.contains_key(image), "{image} is missing");
        self.after(id, "pull_image", image);
    }

    fn start(&self, id: StepId, name: &str) {
        self.after(id, "create_container", name);
        self.after(id, "stop_container", name);
        let record = self.record(name).expect("a container that starts is there");
        if let NetworkMode::Container(parent) = &record.spec.network_mode {
            self.after(id, "start_container", parent);
        }
        for (service, on) in self.depends_on(record) {
            for needed in self.members(&record.project, service) {
                // One that was made to share its namespaces comes after it, whatever the file says,
                // and after what goes before it.
                let goes_before = |parent: &&str| {
                    let before = record.init.is_some().then(|| self.record(parent)).flatten();
                    *parent == name || before.is_some_and(|of| of.service == record.service)
                };
                if self.record(&needed).is_some_and(|of| of.spec.parents().iter().any(goes_before))
                {
                    continue;
                }
                self.after(id, "start_container", &needed);
                self.after(id, "promote_container", &needed);
                self.gate(id, &needed, on);
            }
        }
    }

    /// A container is not started before its turn has come.
    fn admit(&self, id: StepId, name: &str) {
        let begins =
            ["launch_container", "start_container", "promote_container", "prove_container"];
        let begins = begins.into_iter().find_map(|verb| self.find(verb, name));
        let begins = begins.expect("what is admitted begins");
        assert!(self.before[begins.index()].contains(&id), "{name} does not wait for its turn");
    }

    /// Who takes over is good by then and serves before the other ends.
    fn take_over(&self, id: StepId, name: &str, from: &str) {
        assert!(self.find("prove_container", name).is_some(), "{name} takes over unseen");
        self.after(id, "prove_container", name);
        let (new, old) = (self.record(name).unwrap(), &self.observed.containers[from].record);
        assert_eq!((&new.service, new.number), (&old.service, old.number));
        // It is newer, unless it goes back to one that was kept.
        assert_ne!(new.succession, old.succession, "{name} is as new as {from}");
        assert!(active(&self.observed.containers[from]), "{from} does not serve");
        let stop = self.find("stop_container", from).expect("the old one ends");
        assert!(self.before[stop.index()].contains(&id), "{from} ends before another serves");
        assert!(self.find("remove_container", from).is_some(), "{from} stays");
    }

    /// The step by which another container takes over from this one.
    fn heir(&self, name: &str) -> Option<StepId> {
        let takes =
            |action: &Action| matches!(action, Action::TakeOver { from, .. } if from == name);
        self.plan.steps.iter().find(|step| takes(&step.action)).map(|step| step.id)
    }

    fn gate(&self, id: StepId, needed: &str, on: &DependencySpec) {
        if on.condition != Condition::ServiceStarted
            && ["start_container", "promote_container"]
                .iter()
                .any(|v| self.find(v, needed).is_some())
        {
            let target = format!("{needed} {:?}", on.condition);
            assert!(self.find("await_container", &target).is_some(), "no gate for {target}");
            self.after(id, "await_container", &target);
        }
    }

    /// Containers of a service that are there in the end.
    fn members(&self, project: &str, service: &str) -> Vec<String> {
        let made = self.plan.steps.iter().filter_map(|step| match &step.action {
            Action::CreateContainer(record) => Some(record.name.clone()),
            _ => None,
        });
        let have = self.observed.containers.keys().cloned();
        let all: BTreeSet<String> = made.chain(have).collect();
        let of_service = all.into_iter().filter(|name| {
            let gone = self.find("remove_container", name).is_some()
                && self.find("create_container", name).is_none();
            let record = self.record(name);
            let fits =
                record.is_some_and(|r| r.project == project && r.service == service && !r.oneoff);
            fits && !gone
        });
        of_service.collect()
    }

    /// What is held is stopped next, starts again, and is let in then.
    fn hold(&self, id: StepId, name: &str, ports: &[HeldPort]) {
        let stop = self.find("stop_container", name).expect("what is held stops");
        let before = &self.before[stop.index()];
        assert!(before.contains(&id), "{name} stops before it is held");
        let others =
            before.iter().all(|step| *step == id || self.before[id.index()].contains(step));
        assert!(others, "{name} is held, and something else comes before it stops");
        // One that is kept gives its ports to the other one of its replica.
        let other = other_name(name);
        let lets_in = |name: &&str| self.find("release_container", name).is_some();
        let next = [name, &other].into_iter().find(lets_in).expect("it is released");
        assert!(self.find("start_container", next).is_some(), "{name} is held for ever");
        let published = |record: &ContainerRecord| -> BTreeSet<u16> {
            let tcp = record.spec.ports.iter().filter(|port| port.protocol == Protocol::Tcp);
            tcp.filter_map(|port| Some(port.published?.0)).collect()
        };
        let (old, new) = (&self.observed.containers[name].record, self.record(next).unwrap());
        for port in ports {
            assert!(published(old).contains(&port.port) && published(new).contains(&port.port));
        }
    }

    /// What stops and starts again with the same TCP ports is held meanwhile.
    fn is_held(&self, name: &str) {
        let tcp = |record: &ContainerRecord| -> BTreeSet<(Option<IpAddr>, (u16, u16))> {
            let on_host = record.spec.network_mode == NetworkMode::Bridge;
            let ports =
                record.spec.ports.iter().filter(|port| on_host && port.protocol == Protocol::Tcp);
            let one = ports.filter_map(|port| Some((port.host_ip, port.published?)));
            one.filter(|(_, (first, last))| first == last && *first != 0).collect()
        };
        let (old, new) = (&self.observed.containers[name], self.record(name));
        let starts = self.find("start_container", name).is_some();
        let Some(new) = new.filter(|_| starts && old.published.is_empty() && !old.beside) else {
            return;
        };
        let both = !tcp(&old.record).is_disjoint(&tcp(new));
        assert!(!both || self.find("hold_container", name).is_some(), "nobody waits for {name}");
    }

    /// A container that stops has no dependent that stops later.
    fn stop(&self, id: StepId, name: &str) {
        let record = &self.observed.containers[name].record;
        assert!(active(&self.observed.containers[name]), "{name} does not run");
        // One that runs beside another serves nobody.
        let serves = !self.observed.containers[name].beside;
        if self.desired.is_some() {
            self.is_held(name);
        }
        for (other, have) in &self.observed.containers {
            let here = &have.record;
            let depends = here.project == record.project
                && self.needs(here, &record.service)
                && !self.needs(record, &here.service);
            // One that serves until another takes over is without it for a while.
            let stays = self.heir(other).is_some();
            if serves && depends && !stays && !here.oneoff && !record.oneoff {
                self.after(id, "stop_container", other);
            }
        }
    }

    /// Whether a container needs a service, where the stack is known also over services of which no
    /// container stops.
    fn needs(&self, record: &ContainerRecord, service: &str) -> bool {
        let own = |have: &&ObservedContainer| {
            let here = &have.record;
            here.project == record.project && !here.oneoff
        };
        let own: Vec<&ObservedContainer> = self.observed.containers.values().filter(own).collect();
        let (mut seen, mut open) = (BTreeSet::new(), vec![self.depends_on(record)]);
        while let Some(needs) = open.pop() {
            if needs.contains_key(service) {
                return true;
            }
            let Some(desired) = self.desired else { continue };
            for on in needs.keys().filter(|on| seen.insert(*on)) {
                let of_service: Vec<_> = own.iter().filter(|c| c.record.service == *on).collect();
                let stops = |name: &str| self.find("stop_container", name).is_some();
                if of_service.iter().any(|have| stops(&have.record.name)) {
                    continue;
                }
                open.extend(desired.services.get(on).map(|service| &service.depends_on));
                open.extend(of_service.iter().map(|have| self.depends_on(&have.record)));
            }
        }
        false
    }

    fn addresses(&self) {
        let mut all: BTreeMap<(String, std::net::Ipv4Addr), String> = BTreeMap::new();
        let mut ids: BTreeMap<u32, String> = BTreeMap::new();
        let observed = self.observed.containers.values().map(|have| have.record.name.clone());
        let made = self.plan.steps.iter().filter_map(|step| match &step.action {
            Action::CreateContainer(record) => Some(record.name.clone()),
            _ => None,
        });
        let names: BTreeSet<String> = observed.chain(made).collect();
        for name in names {
            let gone = self.find("remove_container", &name).is_some()
                && self.find("create_container", &name).is_none();
            let Some(record) = self.record(&name).filter(|_| !gone) else { continue };
            for (network, has) in &record.addresses {
                let v4 = has.ipv4.expect("every network here has IPv4");
                let other = all.insert((network.clone(), v4), name.clone());
                assert_eq!(other, None, "{name} has the same address {v4} on {network}");
            }
            if let Some(base) = record.id_base.filter(|_| record.spec.kin().is_empty()) {
                assert!((1_879_048_192..=(1 << 31) - 65_536).contains(&base));
                assert_eq!(ids.insert(base, name.clone()), None, "{name} has the same ids");
            }
        }
    }
}

/// The other name of a replica.
fn other_name(name: &str) -> String {
    name.strip_suffix("-b").map_or_else(|| format!("{name}-b"), str::to_owned)
}
