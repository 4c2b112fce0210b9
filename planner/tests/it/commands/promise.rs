//! What a command promises, said without the planner: what becomes of each thing on the host.

use std::collections::{BTreeMap, BTreeSet};

use berth_planner::Plan;
use berth_planner::action::Action;
use berth_planner::observed::{ContainerState, Health, Observed, ObservedContainer};
use berth_schema::stack::Condition;

use super::Command;
use super::order::{has_volume, parents};
use crate::host::{Break, FakeHost, Ran, active};

/// What becomes of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    /// It gets a monitor again.
    IsWatched,
    Ends,
    /// In a new life, whether it ran before or not.
    Begins,
    StandsStill,
    RunsOn,
    Goes,
}

type Fates<'a> = BTreeMap<&'a str, Fate>;

/// Whether the command is about a container, running or not.
pub fn is_about(command: &Command, project: &str, have: &ObservedContainer) -> bool {
    let record = &have.record;
    let services = command.services();
    let named = services.is_empty() || services.contains(&record.service);
    let runs = match command {
        Command::Down(_) | Command::Kill(..) | Command::Rm(_) => true,
        Command::Stop { runs, .. } => *runs,
        Command::Start(_) | Command::Restart(_) | Command::Pause(_) | Command::Unpause(_) => false,
        Command::RemoveVolumes(_) => return false,
        Command::RemoveContainer(name) => return record.name == *name,
    };
    record.project == project && named && (runs || !record.oneoff)
}

/// Does the plan; what shares namespaces with one that does not run cannot begin.
pub fn perform(host: &mut FakeHost, plan: &Plan, seed: u64, broken: Option<Break>) -> Ran {
    let no_parent = |error: &&String| {
        error.ends_with("parent does not run") || error.ends_with("parent missing")
    };
    let ran = host.apply(plan, seed, broken);
    let errors: Vec<_> = ran.errors.iter().filter(|error| !no_parent(error)).collect();
    assert!(errors.is_empty(), "{errors:?}\n{plan}\n{plan:#?}");
    ran
}

/// Fails when the host is not as the command promises, or anything else has changed.
pub fn judge_end(command: &Command, plan: &Plan, before: &Observed, after: &Observed) {
    let promised = fates(command, &plan.project, before);
    for (name, was) in &before.containers {
        let promised = promised.get(name.as_str()).copied().unwrap_or(Fate::Stays);
        let came = fate(plan, was, after.containers.get(name));
        assert_eq!(came, promised, "{name} after {command:?}\n{plan}\n{was:#?}");
    }
    let new = after.containers.keys().find(|name| !before.containers.contains_key(*name));
    assert_eq!(new, None, "it came with {command:?}");
    if let Command::Kill(_, signal) = command {
        let signalled = plan.steps.iter().map(|step| match &step.action {
            Action::SignalContainer { name, signal: sent } if sent == signal => name.as_str(),
            other => panic!("{other:?}"),
        });
        let running = before.containers.values().filter(|have| {
            is_about(command, &plan.project, have)
                && matches!(have.state, ContainerState::Running { .. })
        });
        let running: BTreeSet<&str> = running.map(|have| have.record.name.as_str()).collect();
        assert_eq!(signalled.collect::<BTreeSet<_>>(), running);
    }
    judge_things(command, &plan.project, before, after, &promised);
}

/// Networks, volumes, images, leftovers and the host itself.
fn judge_things(
    command: &Command,
    project: &str,
    before: &Observed,
    after: &Observed,
    promised: &Fates,
) {
    let goes =
        |have: &&ObservedContainer| promised.get(have.record.name.as_str()) == Some(&Fate::Goes);
    let (going, staying): (Vec<_>, Vec<_>) = before.containers.values().partition(goes);
    let mut networks = before.networks.clone();
    networks.retain(|name, network| {
        let Command::Down(options) = command else { return true };
        let on = |have: &&ObservedContainer| have.record.spec.networks.contains_key(name);
        let was_used = going.iter().any(on);
        let own = network.record.project == project && !network.record.spec.external;
        let ours = own || network.record.spec.shared && was_used;
        let asked = options.services.is_empty() || was_used;
        !ours || !asked || staying.iter().any(on)
    });
    let begins = |name: &str| {
        let mut all = before.containers.values();
        all.any(|have| {
            promised.get(have.record.name.as_str()) == Some(&Fate::Begins)
                && have.record.spec.networks.contains_key(name)
        })
    };
    for (name, network) in networks.iter_mut().filter(|(name, _)| begins(name)) {
        (network.bridge_up, network.rules_present) = (true, true);
        assert!(after.networks.contains_key(name));
    }
    assert_eq!(after.networks, networks, "networks after {command:?}");
    let mut volumes = before.volumes.clone();
    volumes.retain(|name, volume| {
        let has = |have: &&ObservedContainer| has_volume(have, name, before);
        let used = staying.iter().any(has);
        let owner = volume.record.container.as_deref();
        let owner_goes = owner.is_some_and(|owner| promised.get(owner) == Some(&Fate::Goes));
        let gone = match command {
            Command::Down(options) => {
                let asked = options.services.is_empty() || going.iter().any(has);
                let ours = volume.record.project == project && !volume.record.spec.external;
                options.volumes && asked && ours
            }
            Command::Rm(options) => options.volumes && owner_goes,
            Command::RemoveContainer(_) => owner_goes,
            Command::RemoveVolumes(names) => names.contains(name),
            _ => false,
        };
        !gone || used
    });
    assert_eq!(after.volumes, volumes, "volumes after {command:?}");
    match command {
        Command::Down(_) => assert_eq!(after.leftovers, BTreeSet::new()),
        _ => assert_eq!(after.leftovers, before.leftovers),
    }
    assert_eq!((&after.images, &after.gone), (&before.images, &before.gone));
}

/// Nothing is left to do. What ends by itself is started again, with those who share its namespaces.
pub fn judge_rest(command: &Command, plan: &Plan, after: &Observed) {
    match command {
        Command::Restart(_) | Command::Kill(..) | Command::RemoveVolumes(_) => return,
        _ => {}
    }
    let Ok(rest) = command.made(&plan.project, after) else {
        let refusals = refusals(command, &plan.project, after);
        let gone = matches!(command, Command::Rm(_)) && !refusals.is_empty();
        assert!(gone, "{command:?} is refused when it is done");
        return;
    };
    let ended = |name: &str| {
        let done = ContainerState::Exited { exit_code: 0, finished_at: 0 };
        let have = after.containers.get(name);
        have.is_some_and(|have| have.state == done) && is_awaited(plan, name)
    };
    for step in &rest.steps {
        let name = step.action.target();
        let starts = matches!(command, Command::Start(_));
        let mut around = after.containers.get(&name).map(|have| parents(&have.record));
        let shares = around
            .get_or_insert_default()
            .iter()
            .any(|parent| ended(parent) || !after.containers.get(*parent).is_some_and(active));
        assert!(
            starts && (shares || ended(&name)),
            "{command:?} is not done:\n{plan}\nthen\n{rest}"
        );
    }
}

fn is_awaited(plan: &Plan, name: &str) -> bool {
    let ends = |action: &Action| {
        let end = Condition::ServiceCompletedSuccessfully;
        matches!(action, Action::AwaitContainer { name: of, condition, .. } if of == name && *condition == end)
    };
    plan.steps.iter().any(|step| ends(&step.action))
}

/// What has become of a container.
fn fate(plan: &Plan, was: &ObservedContainer, is: Option<&ObservedContainer>) -> Fate {
    let Some(is) = is else { return Fate::Goes };
    assert_eq!(is.record, was.record);
    let name = &was.record.name;
    let starts =
        |action: &Action| matches!(action, Action::StartContainer { name: of } if of == name);
    let started = plan.steps.iter().any(|step| starts(&step.action));
    let done = is.state == ContainerState::Exited { exit_code: 0, finished_at: 0 };
    match (active(was), active(is)) {
        (_, false) if started && done && is_awaited(plan, name) => return Fate::Begins,
        (true, false) if done && is_awaited(plan, name) => return Fate::Stays,
        (true, false) => return Fate::Ends,
        (false, true) => return Fate::Begins,
        (true, true) if was.state != is.state => return Fate::Begins,
        (true, true) | (false, false) => {}
    }
    match (was.paused, is.paused) {
        (false, true) => return Fate::StandsStill,
        (true, false) => return Fate::RunsOn,
        (true, true) | (false, false) => {}
    }
    if was.monitored != is.monitored {
        return Fate::IsWatched;
    }
    // Who was waited for has become healthy.
    let plain =
        |have: &ObservedContainer| ObservedContainer { health: Health::None, ..have.clone() };
    assert_eq!(plain(is), plain(was));
    Fate::Stays
}

/// What the command promises for each container that does not stay as it is.
fn fates<'a>(command: &Command, project: &str, observed: &'a Observed) -> Fates<'a> {
    let about = |have: &&ObservedContainer| is_about(command, project, have);
    let all: Vec<&ObservedContainer> = observed.containers.values().filter(about).collect();
    let become_so = |fate: Fate, fits: &dyn Fn(&ObservedContainer) -> bool| -> Fates<'a> {
        let fitting = all.iter().filter(|have| fits(have));
        fitting.map(|have| (have.record.name.as_str(), fate)).collect()
    };
    let running = |have: &ObservedContainer| matches!(have.state, ContainerState::Running { .. });
    match command {
        Command::Down(options) => become_so(Fate::Goes, &|have| {
            let known = options.known.as_ref().filter(|_| options.services.is_empty());
            let Some(known) = known else { return true };
            let record = &have.record;
            let foreign =
                |file: &String| !known.files.contains(file) && !observed.gone.contains(file);
            if known.active.contains(&record.service) {
                true
            } else if known.inactive.contains(&record.service) {
                record.oneoff
            } else {
                let theirs = record.config_files.iter().any(foreign);
                !theirs && (options.remove_orphans || record.oneoff)
            }
        }),
        Command::Stop { .. } => become_so(Fate::Ends, &active),
        Command::Rm(options) => become_so(Fate::Goes, &|have| options.stop || !active(have)),
        Command::RemoveContainer(_) => become_so(Fate::Goes, &|_| true),
        Command::Pause(_) => become_so(Fate::StandsStill, &|have| running(have) && !have.paused),
        Command::Unpause(_) => become_so(Fate::RunsOn, &|have| have.paused),
        Command::Kill(..) | Command::RemoveVolumes(_) => Fates::new(),
        Command::Start(_) => {
            let mut fates = become_so(Fate::RunsOn, &|have| have.paused && serves(have, observed));
            fates.extend(become_so(Fate::IsWatched, &|have| {
                active(have) && !have.monitored && !have.paused && serves(have, observed)
            }));
            fates.extend(beginning(command, project, observed, true));
            fates
        }
        Command::Restart(_) => beginning(command, project, observed, true),
    }
}

/// Whether it is of the containers of its replica the one that serves, or would.
fn serves(have: &ObservedContainer, observed: &Observed) -> bool {
    let replica = |have: &ObservedContainer| {
        let record = &have.record;
        (record.project.clone(), record.service.clone(), record.number, record.init, record.oneoff)
    };
    let good = |have: &ObservedContainer| {
        let whole = have.state != ContainerState::Broken;
        (active(have) && !have.beside, have.served, whole, have.record.succession)
    };
    let mut others = observed.containers.values().filter(|other| replica(other) == replica(have));
    !others.any(|other| good(other) > good(have))
}

/// What begins by `start` or `restart`; without those, if `can`, that share namespaces with one that
/// will not run.
fn beginning<'a>(command: &Command, project: &str, observed: &'a Observed, can: bool) -> Fates<'a> {
    let serving: Vec<&ObservedContainer> = observed
        .containers
        .values()
        .filter(|have| have.record.project == project && !have.record.oneoff)
        .filter(|have| serves(have, observed))
        .collect();
    let mut begins: BTreeSet<&str> = BTreeSet::new();
    let mut services: BTreeSet<&str> = BTreeSet::new();
    for have in serving.iter().filter(|have| is_about(command, project, have)) {
        if matches!(command, Command::Restart(_)) || !active(have) {
            begins.insert(&have.record.name);
            services.insert(&have.record.service);
        }
    }
    let named = services.clone();
    // Until nobody follows any more.
    for _ in 0..=serving.len() {
        for have in serving.iter().filter(|have| active(have)) {
            let record = &have.record;
            let parents = parents(record);
            let follows = match command {
                Command::Restart(options) => {
                    let asks = record.depends_on.iter();
                    let mut asks = asks.filter(|(_, on)| on.restart && !options.no_deps);
                    let along = asks.any(|(on, _)| services.contains(on.as_str()))
                        || serving.iter().any(|other| {
                            let other = &other.record;
                            parents.contains(other.name.as_str())
                                && services.contains(other.service.as_str())
                        });
                    along && !named.contains(record.service.as_str())
                }
                _ => parents.iter().any(|parent| begins.contains(parent)),
            };
            if follows {
                begins.insert(&record.name);
                services.insert(&record.service);
            }
        }
        if matches!(command, Command::Restart(_)) {
            // All that run of a service go along with one of them.
            let along = serving.iter().filter(|have| active(have));
            let along = along.filter(|have| services.contains(have.record.service.as_str()));
            begins.extend(along.map(|have| have.record.name.as_str()));
        }
    }
    let mut fates: Fates = begins.iter().map(|name| (*name, Fate::Begins)).collect();
    for _ in 0..=begins.len() {
        for name in begins.iter().filter(|_| can) {
            let have = &observed.containers[*name];
            let runs = |parent: &&str| match fates.get(parent) {
                Some(fate) => *fate == Fate::Begins,
                None => observed.containers.get(*parent).is_some_and(active),
            };
            let fails = |on: &str| {
                let mut of_service = serving.iter().map(|other| &other.record);
                of_service.any(|other| {
                    let fate = fates.get(other.name.as_str());
                    other.service == on && fate.is_some_and(|fate| *fate != Fate::Begins)
                })
            };
            let mut required = have.record.depends_on.iter().filter(|(_, on)| on.required);
            let lacks = required.any(|(on, _)| fails(on));
            if lacks || !parents(&have.record).iter().all(runs) {
                let ends = if active(have) { Fate::Ends } else { Fate::Stays };
                fates.insert(name, ends);
            }
        }
    }
    fates
}

/// What may forbid the command.
pub fn refusals(command: &Command, project: &str, observed: &Observed) -> Vec<String> {
    let mut refusals = Vec::new();
    let of_project = || observed.containers.values().filter(|have| have.record.project == project);
    for service in command.services() {
        let known = match command {
            Command::Down(options) => {
                options.known.as_ref().is_none_or(|known| known.active.contains(&service))
            }
            _ => of_project().any(|have| !have.record.oneoff && have.record.service == *service),
        };
        if !known {
            refusals.push(format!("no service {service}"));
        }
    }
    if let Command::RemoveVolumes(names) = command {
        for name in names {
            let used = observed.containers.values().any(|have| has_volume(have, name, observed));
            if used || !observed.volumes.contains_key(name) {
                refusals.push(format!("volume {name}"));
            }
        }
    }
    if !matches!(command, Command::Start(_) | Command::Restart(_)) {
        return refusals;
    }
    for have in of_project().filter(|have| is_about(command, project, have)) {
        let record = &have.record;
        if serves(have, observed) && !record.spec.pre_start.is_empty() && !record.prepared {
            refusals.push(format!("{} is not prepared", record.name));
        }
    }
    let begins = beginning(command, project, observed, false);
    for name in begins.keys() {
        let have = &observed.containers[*name];
        if have.state == ContainerState::Broken || !have.moved.is_empty() {
            refusals.push(format!("{name} cannot start as it is"));
        }
        for network in have.record.spec.networks.keys() {
            let stranded = observed.containers.iter().any(|(other, on)| {
                active(on)
                    && !begins.contains_key(other.as_str())
                    && on.record.spec.networks.contains_key(network)
            });
            let bridge = observed.networks.get(network).map(|here| here.bridge_up);
            if bridge.is_none() || bridge == Some(false) && stranded {
                refusals.push(format!("network {network} of {name}"));
            }
        }
        for (other, there) in &observed.containers {
            let begins_too = begins.contains_key(other.as_str());
            let has = begins_too || active(there) && !there.beside;
            if other != name && has && ports_meet(have, there) {
                refusals.push(format!("{name} and {other} have the same port"));
            }
        }
        let ports = have.record.spec.ports.iter().filter_map(|port| port.published);
        let listening = &observed.host.listening;
        for (first, last) in ports {
            if listening.iter().any(|listener| (first..=last).contains(&listener.port)) {
                refusals.push(format!("somebody listens at a port of {name}"));
            }
        }
    }
    refusals
}

fn ports_meet(one: &ObservedContainer, other: &ObservedContainer) -> bool {
    one.record.spec.ports.iter().any(|a| {
        other.record.spec.ports.iter().any(|b| {
            let anywhere = a.host_ip.is_none() || b.host_ip.is_none();
            a.protocol == b.protocol
                && a.published.is_some()
                && a.published == b.published
                && (anywhere || a.host_ip == b.host_ip)
        })
    })
}
