//! What comes before what in the plan of a command.

use std::collections::{BTreeMap, BTreeSet};

use berth_planner::action::Action;
use berth_planner::desired::{IpcSpace, NetworkMode, PidSpace, SourceSpec};
use berth_planner::observed::{ContainerRecord, Observed, ObservedContainer};
use berth_planner::{Plan, StepId};

use super::Command;
use crate::checker::steps_before;

/// Fails when a step comes too early, or stops otherwise than it was asked to.
pub fn judge_order(command: &Command, plan: &Plan, observed: &Observed) {
    let before = steps_before(plan);
    let order = Order { plan, observed, before, project: &plan.project };
    order.of_stops();
    order.of_starts();
    order.of_repairs();
    order.of_volumes();
    order.of_leftovers();
    for step in &plan.steps {
        if let Action::StopContainer { grace, hold, .. } = &step.action {
            let (asked, stays) = match command {
                Command::Stop { grace, .. } => (*grace, true),
                Command::Down(options) => (options.grace, false),
                Command::Restart(options) => (options.grace, false),
                Command::Rm(options) => (options.grace, false),
                _ => (None, false),
            };
            assert_eq!((*grace, *hold), (asked, stays), "{command:?} stops otherwise");
        }
    }
}

struct Order<'a> {
    plan: &'a Plan,
    observed: &'a Observed,
    before: Vec<BTreeSet<StepId>>,
    project: &'a str,
}

impl<'a> Order<'a> {
    fn steps(&self, verbs: &[&str]) -> BTreeMap<String, StepId> {
        let steps = self.plan.steps.iter().filter(|step| verbs.contains(&step.action.verb()));
        steps.map(|step| (step.action.target(), step.id)).collect()
    }

    fn comes_before(&self, first: StepId, then: StepId) {
        let what = |id: StepId| {
            let action = &self.plan.steps[id.index()].action;
            format!("{} {}", action.verb(), action.target())
        };
        let ordered = self.before[then.index()].contains(&first);
        assert!(ordered, "{} before {}\n{}", what(then), what(first), self.plan);
    }

    /// Dependents stop before what they need, directly or over others of the project.
    fn of_stops(&self) {
        let records = self.observed.containers.values().map(|have| &have.record);
        let all: Vec<&ContainerRecord> =
            records.filter(|record| record.project == self.project).collect();
        let stops = self.steps(&["stop_container"]);
        let needs = Needs::of(&all);
        for (name, stop) in &stops {
            let service = &self.observed.containers[name].record.service;
            for (other, earlier) in &stops {
                let dependent = &self.observed.containers[other].record.service;
                if needs.reach(dependent, service) && !needs.reach(service, dependent) {
                    self.comes_before(*earlier, *stop);
                }
            }
        }
    }

    /// What begins does so when what it needs runs, and each it shares namespaces with.
    fn of_starts(&self) {
        let starts = self.steps(&["start_container"]);
        let runs = self.steps(&["start_container", "unpause_container"]);
        let watched = self.steps(&["adopt_container"]);
        for (name, start) in &starts {
            let record = &self.observed.containers[name].record;
            let all: Vec<&ContainerRecord> =
                self.observed.containers.values().map(|have| &have.record).collect();
            let needs = Needs::of(&all);
            for (other, first) in watched.iter().chain(&runs) {
                let needed = &self.observed.containers[other].record;
                let needs_it = record.depends_on.contains_key(&needed.service)
                    && !needs.reach(&needed.service, &record.service);
                if needs_it || parents(record).contains(other.as_str()) {
                    self.comes_before(*first, *start);
                }
            }
        }
    }

    /// A network is put right when those have ended that lose their links, before others get theirs.
    fn of_repairs(&self) {
        let on = |name: &str, network: &str| {
            self.observed.containers[name].record.spec.networks.contains_key(network)
        };
        for (network, repair) in self.steps(&["repair_network"]) {
            for (name, start) in self.steps(&["start_container"]) {
                if on(&name, &network) {
                    self.comes_before(repair, start);
                }
            }
            for (name, stop) in self.steps(&["stop_container"]) {
                if on(&name, &network) {
                    self.comes_before(stop, repair);
                }
            }
        }
    }

    /// A volume goes when those are gone that have it.
    fn of_volumes(&self) {
        for (volume, remove) in self.steps(&["remove_volume"]) {
            for (name, gone) in self.steps(&["remove_container"]) {
                if has_volume(&self.observed.containers[&name], &volume, self.observed) {
                    self.comes_before(gone, remove);
                }
            }
        }
    }

    /// What a crash left is out of the way first.
    fn of_leftovers(&self) {
        for (_, leftover) in self.steps(&["remove_leftover"]) {
            for step in &self.plan.steps {
                if !matches!(step.action, Action::RemoveLeftover(_)) {
                    self.comes_before(leftover, step.id);
                }
            }
        }
    }
}

/// Whether a container has a volume, by its description, of another container, or as its own.
pub fn has_volume(have: &ObservedContainer, volume: &str, observed: &Observed) -> bool {
    let record = &have.record;
    let mounts = record.spec.mounts.values().chain(record.borrowed.mounts.values());
    let mut named = mounts.filter_map(|mount| match &mount.source {
        SourceSpec::Volume { name, .. } => Some(name),
        _ => None,
    });
    let owner = observed.volumes.get(volume).and_then(|found| found.record.container.as_ref());
    owner == Some(&record.name) || named.any(|name| name == volume)
}

/// The containers whose namespaces a container shares.
pub fn parents(record: &ContainerRecord) -> BTreeSet<&str> {
    let mut parents = BTreeSet::new();
    if let NetworkMode::Container(parent) = &record.spec.network_mode {
        parents.insert(parent.as_str());
    }
    if let PidSpace::Container(parent) = &record.spec.pid {
        parents.insert(parent);
    }
    if let IpcSpace::Container(parent) = &record.spec.ipc {
        parents.insert(parent);
    }
    parents
}

/// Which services need which others, directly or not.
struct Needs<'a>(BTreeMap<&'a str, BTreeSet<&'a str>>);

impl<'a> Needs<'a> {
    fn of(all: &[&'a ContainerRecord]) -> Needs<'a> {
        let mut needs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for record in all {
            let own = needs.entry(&record.service).or_default();
            own.extend(record.depends_on.keys().map(String::as_str));
            let parents = parents(record);
            let shared = all.iter().filter(|other| parents.contains(other.name.as_str()));
            own.extend(shared.map(|other| other.service.as_str()));
        }
        Needs(needs)
    }

    fn reach(&self, from: &str, to: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&str> = self.0.get(from).into_iter().flatten().copied().collect();
        while let Some(at) = open.pop() {
            if at == to {
                return true;
            }
            if seen.insert(at) {
                open.extend(self.0.get(at).into_iter().flatten());
            }
        }
        false
    }
}
