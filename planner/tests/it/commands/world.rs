//! Hosts on which a drawn stack is up and something has happened since, with what is not of it; and
//! commands.

use std::collections::BTreeSet;
use std::time::Duration;

use berth_planner::desired::Desired;
use berth_planner::observed::*;
use berth_planner::{DownOptions, Known, RestartOptions, RmOptions, UpOptions, up};
use berth_schema::stack::Places;
use proptest::prelude::*;

use super::Command;
use crate::host::FakeHost;
use crate::laws::{Drift, drifts};
use crate::stacks::{DrawnStack, Edit, desired, drawn, edits};

/// What is there that the stack does not explain, or explains no more.
#[derive(Debug, Clone)]
pub enum Stranger {
    /// Another project on the same networks, with the same volumes.
    Neighbour(usize),
    /// Made by `run`.
    Run(usize),
    /// Of other files of the project.
    OtherFiles(usize),
    /// The other container of a replica, which does not serve.
    Waiting(usize),
    /// One that has its pre_start before it.
    Unprepared(usize),
    /// One that mounts what leads elsewhere by now.
    Moved(usize),
    SharedNetwork(u8),
    ExternalNetwork(u8),
    ExternalVolume(u8),
    /// Nobody has it.
    LooseVolume(bool),
    LooseNetwork(bool),
}

fn strangers() -> impl Strategy<Value = Vec<Stranger>> {
    let at = || 0..20usize;
    let stranger = prop_oneof![
        at().prop_map(Stranger::Neighbour),
        at().prop_map(Stranger::Run),
        at().prop_map(Stranger::OtherFiles),
        at().prop_map(Stranger::Waiting),
        at().prop_map(Stranger::Unprepared),
        at().prop_map(Stranger::Moved),
        (0..3u8).prop_map(Stranger::SharedNetwork),
        (0..3u8).prop_map(Stranger::ExternalNetwork),
        (0..2u8).prop_map(Stranger::ExternalVolume),
        any::<bool>().prop_map(Stranger::LooseVolume),
        any::<bool>().prop_map(Stranger::LooseNetwork),
    ];
    prop::collection::vec(stranger, 0..5)
}

/// Stays of the drawing of a host, before it is one.
#[derive(Debug, Clone)]
pub struct Drawing {
    stack: DrawnStack,
    edits: Vec<Edit>,
    drifts: Vec<Drift>,
    strangers: Vec<Stranger>,
    stopped: Vec<usize>,
    /// Nothing runs, as after `stop`.
    still: bool,
    /// Who needed another is by now needed by it.
    turned: bool,
    seed: u64,
}

pub fn drawings() -> impl Strategy<Value = Drawing> {
    let stopped = prop::collection::vec(0..20usize, 0..3);
    let how = (prop::bool::weighted(0.25), prop::bool::weighted(0.15));
    (drawn(), edits(), drifts(), strangers(), stopped, how, any::<u64>()).prop_map(
        |(stack, edits, drifts, strangers, stopped, (still, turned), seed)| Drawing {
            stack,
            edits,
            drifts,
            strangers,
            stopped,
            still,
            turned,
            seed,
        },
    )
}

/// A host, and what the files of the project have by now.
pub struct World {
    pub observed: Observed,
    pub desired: Desired,
}

impl Drawing {
    pub fn world(&self) -> World {
        let mut host = FakeHost::new();
        let wanted = desired(&self.stack.stack());
        let plan = up(&wanted, &host.observed, &UpOptions::default(), &Places::default()).unwrap();
        host.apply_all(&plan, self.seed);
        lend(&mut host.observed);
        let names: Vec<String> = host.observed.containers.keys().cloned().collect();
        let stopped = self.stopped.iter().filter_map(|at| names.get(at % names.len().max(1)));
        let all = names.iter().filter(|_| self.still);
        for name in stopped.chain(all) {
            change(&mut host.observed, name, |have| {
                have.state = ContainerState::Exited { exit_code: 1, finished_at: 0 };
                (have.monitored, have.held) = (false, self.still);
            });
        }
        self.strangers.iter().for_each(|stranger| stranger.comes(&mut host.observed));
        self.drifts.iter().for_each(|drift| drift.happen(&mut host));
        let mut edited = self.stack.edited(&self.edits);
        edited.backwards ^= self.turned;
        World { observed: host.observed, desired: desired(&edited.stack()) }
    }
}

/// Writes down whose volumes a container has too, as the runtime does when it makes one.
fn lend(observed: &mut Observed) {
    let others = observed.clone();
    for have in observed.containers.values_mut() {
        for from in &have.record.spec.volumes_from {
            let lender = &others.containers[&from.container].record;
            let mut mounts = lender.spec.mounts.clone();
            for (target, mount) in &mut mounts {
                let own = others.volumes.iter().find(|(name, volume)| {
                    volume.record.container.as_ref() == Some(&lender.name)
                        && name.ends_with(&target.replace('/', "-"))
                });
                if let Some((name, _)) = own {
                    let source = berth_planner::desired::SourceSpec::Volume {
                        name: name.clone(),
                        nocopy: false,
                        subpath: None,
                    };
                    mount.source = source;
                }
            }
            have.record.borrowed.mounts.extend(mounts);
        }
    }
}

impl Stranger {
    fn comes(&self, observed: &mut Observed) {
        let names: Vec<String> = observed.containers.keys().cloned().collect();
        let pick = |at: &usize| names.get(at % names.len().max(1)).cloned().unwrap_or_default();
        match self {
            Stranger::Neighbour(at) => copy(observed, &pick(at), |copy| {
                copy.record.project = "other".into();
                copy.record.name = copy.record.name.replacen("shop", "other", 1);
                copy.record.spec.ports.clear();
            }),
            Stranger::Run(at) => copy(observed, &pick(at), |copy| {
                copy.record.oneoff = true;
                copy.record.name = format!("shop-{}-run-0123456789ab", copy.record.service);
                copy.record.spec.ports.clear();
            }),
            Stranger::Waiting(at) => copy(observed, &pick(at), |copy| {
                copy.record.succession += 1;
                copy.record.name.push_str("-b");
                (copy.beside, copy.served) = (copy.monitored, false);
            }),
            Stranger::OtherFiles(at) => copy(observed, &pick(at), |copy| {
                copy.record.service = "elsewhere".into();
                // A name is of one replica.
                copy.record.number = u32::try_from(*at).unwrap() + 1;
                copy.record.name = format!("shop-elsewhere-{}", at + 1);
                copy.record.config_files = vec!["/srv/shop/other.yaml".into()];
                copy.record.spec.ports.clear();
            }),
            Stranger::Unprepared(at) => change(observed, &pick(at), |have| {
                have.record.prepared = false;
            }),
            Stranger::Moved(at) => change(observed, &pick(at), |have| {
                have.moved = [("/srv/cur".into(), "/srv/2".into())].into();
            }),
            Stranger::SharedNetwork(at) => {
                let network = observed.networks.get_mut(&format!("shop_n{at}"));
                let spec = network.map(|network| &mut network.record.spec);
                spec.into_iter().for_each(|spec| (spec.shared, spec.external) = (true, false));
            }
            Stranger::ExternalNetwork(at) => {
                let network = observed.networks.get_mut(&format!("shop_n{at}"));
                let spec = network.map(|network| &mut network.record.spec);
                spec.into_iter().for_each(|spec| (spec.shared, spec.external) = (false, true));
            }
            Stranger::ExternalVolume(at) => {
                let volume = observed.volumes.get_mut(&format!("shop_v{at}"));
                volume.into_iter().for_each(|volume| volume.record.spec.external = true);
            }
            Stranger::LooseVolume(own) => {
                let project = if *own { "shop" } else { "other" }.to_owned();
                let name = format!("{project}_loose");
                let record = VolumeRecord {
                    name: name.clone(),
                    project,
                    spec: Default::default(),
                    container: None,
                };
                observed.volumes.insert(name, ObservedVolume { record });
            }
            Stranger::LooseNetwork(own) => {
                let project = if *own { "shop" } else { "other" }.to_owned();
                let Some(network) = observed.networks.values().next().cloned() else { return };
                let mut network = network;
                network.record.name = format!("{project}_loose");
                network.record.project = project;
                network.record.spec.external = false;
                observed.networks.insert(network.record.name.clone(), network);
            }
        }
    }
}

fn change(observed: &mut Observed, name: &str, how: impl Fn(&mut ObservedContainer)) {
    observed.containers.get_mut(name).into_iter().for_each(how);
}

fn copy(observed: &mut Observed, name: &str, how: impl Fn(&mut ObservedContainer)) {
    let Some(mut copy) = observed.containers.get(name).cloned() else { return };
    if copy.record.oneoff || copy.record.project != "shop" || name.ends_with("-b") {
        return;
    }
    copy.record.addresses.clear();
    copy.record.id_base = None;
    if let ContainerState::Running { pid, .. } = &mut copy.state {
        *pid += 1 << 16;
    }
    how(&mut copy);
    observed.containers.entry(copy.record.name.clone()).or_insert(copy);
}

/// A command of which only the services are still to be chosen: numbers among those there are.
#[derive(Debug, Clone)]
pub struct Asked {
    kind: u8,
    services: Vec<usize>,
    flags: [bool; 4],
    grace: Option<Duration>,
}

pub fn asked() -> impl Strategy<Value = Asked> {
    let grace = prop::option::of((0..5u64).prop_map(Duration::from_secs));
    let services = prop_oneof![Just(Vec::new()), prop::collection::vec(0..30usize, 1..4),];
    let kind = prop_oneof![2 => 0..5u8, 1 => 5..10u8];
    (kind, services, any::<[bool; 4]>(), grace).prop_map(|(kind, services, flags, grace)| Asked {
        kind,
        services,
        flags,
        grace,
    })
}

impl Asked {
    pub fn command(&self, world: &World) -> Command {
        let World { observed, desired } = world;
        let there = observed.containers.values().map(|have| &have.record.service);
        let mut names: Vec<&String> = there.chain(desired.services.keys()).collect();
        names.sort();
        names.dedup();
        let chosen = self.services.iter().filter_map(|at| names.get(at % names.len().max(1)));
        let services: Vec<String> = chosen.map(|name| name.to_string()).collect();
        let (grace, [one, two, three, four]) = (self.grace, self.flags);
        let at = self.services.first().copied().unwrap_or_default();
        match self.kind {
            0 | 1 => {
                let mut known = Known::of(desired);
                if four && let Some(service) = known.active.pop_first() {
                    known.inactive.insert(service);
                }
                let known = three.then_some(known);
                let options =
                    DownOptions { services, known, remove_orphans: one, volumes: two, grace };
                Command::Down(options)
            }
            2 => Command::Start(services),
            3 => Command::Stop { services, grace, runs: one },
            4 => Command::Restart(RestartOptions { services, no_deps: one, grace }),
            5 => Command::Kill(services, if one { "SIGKILL" } else { "SIGHUP" }.to_owned()),
            6 => Command::Rm(RmOptions { services, stop: one, volumes: two, grace }),
            7 if one => Command::Pause(services),
            7 => Command::Unpause(services),
            8 => {
                let all = observed.volumes.iter();
                let own = all.filter(|(_, volume)| !volume.record.spec.external);
                let volumes: Vec<&String> = own.map(|(name, _)| name).collect();
                let chosen =
                    self.services.iter().filter_map(|at| volumes.get(at % volumes.len().max(1)));
                Command::RemoveVolumes(chosen.map(|name| name.to_string()).collect::<BTreeSet<_>>())
            }
            _ => {
                let idle = observed.containers.values().filter(|have| !crate::host::active(have));
                let idle: Vec<&String> = idle.map(|have| &have.record.name).collect();
                let name = idle.get(at % idle.len().max(1)).map(|name| name.to_string());
                Command::RemoveContainer(name.unwrap_or("shop-nobody-1".into()))
            }
        }
    }
}
