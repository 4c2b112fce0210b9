//! A host that is a plain value: an action happens to it, or is refused.

use std::collections::{BTreeMap, BTreeSet};

use berth_planner::action::Action;
use berth_planner::desired::{ContainerSpec, MountSpec, NetworkMode, PortSpec, SourceSpec};
use berth_planner::down::volumes_of;
use berth_planner::lock;
use berth_planner::observed::*;
use berth_planner::{Plan, StepId, Walk};
use berth_schema::stack::Condition;

/// The host, and what a real one would know besides.
#[derive(Debug, Clone, Default)]
pub struct FakeHost {
    pub observed: Observed,
    /// Times each network was made, so that a container on an older one is found out.
    networks: BTreeMap<String, u32>,
    volumes: BTreeMap<String, u32>,
    /// Times each container got a network namespace.
    namespaces: BTreeMap<String, u32>,
    /// What each running container is connected to.
    links: BTreeMap<String, BTreeMap<String, u32>>,
    /// Containers at whose ports new connections wait; the kernel lets them in when a run is over.
    pub held: BTreeSet<String>,
    count: u32,
}

/// How a run over a plan is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// The n-th action is refused, the rest goes on.
    Fails(usize),
    /// This step is refused, the rest goes on.
    At(StepId),
    /// After n actions the program is gone; a container being created stays half made.
    Dies(usize),
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Ran {
    pub order: Vec<StepId>,
    pub errors: Vec<String>,
    /// Steps that were not done because another had failed.
    pub skipped: Vec<StepId>,
}

impl FakeHost {
    pub fn new() -> FakeHost {
        let mut host = FakeHost::default();
        host.observed.host.userns = true;
        host.observed.host.routes = vec!["172.18.0.0/16".parse().unwrap()];
        host
    }

    /// A host that is so, and what runs there is connected as its description says.
    pub fn at(observed: &Observed) -> FakeHost {
        let once = |names: Vec<&String>| names.into_iter().map(|name| (name.clone(), 1)).collect();
        let mut host = FakeHost {
            networks: once(observed.networks.keys().collect()),
            volumes: once(observed.volumes.keys().collect()),
            namespaces: once(observed.containers.keys().collect()),
            observed: observed.clone(),
            // No process has the id of one that runs already.
            count: 1 << 20,
            ..FakeHost::default()
        };
        for (name, container) in observed.containers.iter().filter(|(_, have)| active(have)) {
            if let Ok(links) = host.links_of(container) {
                host.links.insert(name.clone(), links);
            }
        }
        host
    }

    /// Does a plan in an order drawn from `seed` among those it allows.
    pub fn apply(&mut self, plan: &Plan, seed: u64, broken: Option<Break>) -> Ran {
        self.apply_watched(plan, seed, broken, |_, _| {})
    }

    /// The same, with a look at the host after each action.
    pub fn apply_watched(
        &mut self,
        plan: &Plan,
        mut seed: u64,
        broken: Option<Break>,
        mut look: impl FnMut(&FakeHost, &Action),
    ) -> Ran {
        self.held.clear();
        let mut walk = Walk::new(plan);
        let mut ready: Vec<StepId> = Vec::new();
        let mut ran = Ran::default();
        loop {
            ready.extend(walk.ready());
            if ready.is_empty() {
                assert!(walk.is_done(), "the walk stands still");
                ran.skipped = walk.skipped().keys().copied().collect();
                return ran;
            }
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let id = ready.swap_remove((seed >> 33) as usize % ready.len());
            let action = &plan.step(id).unwrap().action;
            match broken {
                Some(Break::Dies(n)) if n == ran.order.len() => {
                    if let Action::CreateContainer(record) = action {
                        self.half_made(record);
                    }
                    return ran;
                }
                Some(broken)
                    if broken == Break::Fails(ran.order.len()) || broken == Break::At(id) =>
                {
                    ran.order.push(id);
                    if let Action::AwaitStable { name, .. } = action {
                        self.is_not_good(name);
                    }
                    walk.finished(id, false);
                    continue;
                }
                Some(_) | None => {}
            }
            ran.order.push(id);
            let done = self.perform(action);
            look(self, action);
            walk.finished(id, done.is_ok());
            if let Err(error) = done {
                ran.errors.push(format!("{} {}: {error}", action.verb(), action.target()));
            }
        }
    }

    /// Does a plan that must go through.
    pub fn apply_all(&mut self, plan: &Plan, seed: u64) {
        let ran = self.apply(plan, seed, None);
        assert!(ran.errors.is_empty(), "{:#?}\n{plan}\n{plan:#?}", ran.errors);
        assert_eq!(ran.order.len(), plan.steps.len());
        assert!(self.held.is_empty(), "{:?} are held", self.held);
    }

    /// Who cannot take over is stopped, and stays.
    fn is_not_good(&mut self, name: &str) {
        let container = self.observed.containers.get_mut(name).filter(|c| active(c) && c.beside);
        let Some(container) = container else { return };
        container.state = ContainerState::Exited { exit_code: 143, finished_at: 0 };
        (container.monitored, container.beside, container.health) = (false, false, Health::None);
        self.links.remove(name);
    }

    fn half_made(&mut self, record: &ContainerRecord) {
        if !self.observed.containers.contains_key(&record.name) {
            let mut container = self.container(record);
            container.state = ContainerState::Broken;
            self.observed.containers.insert(record.name.clone(), container);
        }
    }

    fn container(&mut self, record: &ContainerRecord) -> ObservedContainer {
        self.count += 1;
        let id = format!("{:064}", self.count);
        ObservedContainer { id, ..ObservedContainer::made(record.clone()) }
    }

    pub fn perform(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::PullImage { reference, locked } => {
                let id = format!("sha256:{}", locked.as_ref().unwrap_or(reference));
                let image = ObservedImage { id, pulled_at: 0, repo_digests: Vec::new() };
                if let Some(digest) = locked {
                    let by_digest = lock::reference(reference, digest);
                    self.observed.images.insert(by_digest, image.clone());
                }
                self.observed.images.insert(reference.clone(), image);
                Ok(())
            }
            Action::CreateNetwork(record) => self.create_network(record),
            Action::RepairNetwork(record) => {
                let network = self.observed.networks.get_mut(&record.name).ok_or("missing")?;
                (network.bridge_up, network.rules_present) = (true, true);
                network.record = record.clone();
                Ok(())
            }
            Action::RemoveNetwork { name } => self.remove_network(name),
            Action::CreateVolume(record) => self.create_volume(record),
            Action::RemoveVolume { name } => {
                let uses = |has: &ContainerRecord| volumes_of(has).any(|volume| volume == name);
                let mut all = self.observed.containers.values();
                refuse(all.any(|container| uses(&container.record)), "in use")?;
                self.observed.volumes.remove(name).map(drop).ok_or("missing".into())
            }
            Action::CreateContainer(record) => self.create_container(record),
            Action::UpdateContainer(record) => {
                self.claim(record)?;
                let running = active(self.get(&record.name)?);
                refuse(running && self.port_taken(record), "port taken")?;
                let container = self.get(&record.name)?;
                let unseen = active(container) && !container.monitored;
                let same = container.record.spec == record.spec
                    && container.record.depends_on == record.depends_on
                    && container.record.addresses == record.addresses;
                let moved = container.content_moved || !container.moved_limits.is_empty();
                let asked = !same || container.updating || moved;
                refuse(unseen || !asked, "is not to be updated")?;
                (container.updating, container.content_moved) = (false, false);
                container.moved_limits.clear();
                container.record = (**record).clone();
                let container = container.clone();
                self.relink(&container)
            }
            Action::StartContainer { name } => {
                self.start(name)?;
                self.get(name)?.served = true;
                Ok(())
            }
            Action::StartBeside { name } => {
                let ports = std::mem::take(&mut self.get(name)?.record.spec.ports);
                let started = self.start(name);
                let container = self.get(name)?;
                container.record.spec.ports = ports;
                container.beside = started.is_ok();
                started
            }
            Action::AwaitStable { name, .. } => {
                let container = self.get(name)?;
                refuse(!active(container), "does not run")?;
                refuse(container.restarts > 0, "was restarted")?;
                refuse(container.health == Health::Unhealthy, "is unhealthy")?;
                if container.health == Health::Starting {
                    container.health = Health::Healthy;
                }
                Ok(())
            }
            Action::TakeOver { name, from } => {
                let old = self.get(from)?;
                refuse(!active(old) || old.beside, "does not serve")?;
                old.beside = true;
                let new = self.get(name)?;
                refuse(!active(new) || !new.beside, "does not run beside")?;
                (new.beside, new.served) = (false, true);
                let record = new.record.clone();
                refuse(self.port_taken(&record), "port taken")
            }
            Action::Watch { name, .. } => {
                let container = self.get(name)?;
                refuse(!active(container) || container.beside, "does not serve")
            }
            Action::Admit { .. } | Action::Conclude { .. } => Ok(()),
            Action::Drain { name, .. } => {
                let container = self.get(name)?;
                refuse(!active(container) || !container.beside, "is not to be drained")
            }
            Action::HoldPorts { name, ports, .. } => {
                let container = self.get(name)?;
                refuse(!active(container) || container.beside, "serves nobody")?;
                refuse(ports.is_empty(), "no port to hold")?;
                self.held.insert(replica(name));
                Ok(())
            }
            Action::ReleasePorts { name, .. } => {
                refuse(!self.held.remove(&replica(name)), "not held")
            }
            Action::AdoptContainer { name } => {
                let container = self.get(name)?;
                let running = matches!(container.state, ContainerState::Running { .. });
                refuse(!running || container.monitored, "not to be adopted")?;
                container.monitored = true;
                Ok(())
            }
            Action::AwaitContainer { name, condition, .. } => self.wait(name, *condition),
            Action::StopContainer { name, hold, .. } => {
                let container = self.get(name)?;
                refuse(!active(container), "does not run")?;
                container.state = ContainerState::Exited { exit_code: 143, finished_at: 0 };
                (container.held, container.monitored) = (*hold, false);
                container.beside = false;
                has_ended(container);
                (container.health, container.paused) = (Health::None, false);
                self.links.remove(name);
                Ok(())
            }
            Action::SignalContainer { name, .. } => {
                let container = self.get(name)?;
                refuse(!active(container), "does not run")
            }
            Action::PauseContainer { name } | Action::UnpauseContainer { name } => {
                let pauses = matches!(action, Action::PauseContainer { .. });
                let container = self.get(name)?;
                let running = matches!(container.state, ContainerState::Running { .. });
                refuse(!running || !container.monitored, "does not run under a monitor")?;
                refuse(container.paused == pauses, "is so already")?;
                container.paused = pauses;
                Ok(())
            }
            Action::RemoveContainer { name } => {
                refuse(active(self.get(name)?), "runs")?;
                self.observed.containers.remove(name);
                Ok(())
            }
            Action::UntagImage { .. } | Action::RemoveImage { .. } | Action::SweepStore => Ok(()),
            Action::RemoveLeftover(leftover) => {
                refuse(!self.observed.leftovers.remove(leftover), "missing")
            }
        }
    }

    fn get(&mut self, name: &str) -> Result<&mut ObservedContainer, String> {
        self.observed.containers.get_mut(name).ok_or("missing".into())
    }

    fn create_network(&mut self, record: &NetworkRecord) -> Result<(), String> {
        refuse(self.observed.networks.contains_key(&record.name), "exists")?;
        for (other, have) in &self.observed.networks {
            let excluded = record.spec.excludes(&have.record.spec);
            refuse(excluded && self.running_on(other).next().is_some(), "link excluded")?;
        }
        // Where a link of the host leads, the route is the host's own.
        let own = record.subnets.iter().filter(|_| record.spec.parent().is_none());
        for subnet in own.clone() {
            let mut routes = self.observed.host.routes.iter();
            let net = subnet.net;
            refuse(routes.any(|route| route.contains(&net) || net.contains(route)), "overlaps")?;
        }
        self.observed.host.routes.extend(own.map(|subnet| subnet.net));
        *self.networks.entry(record.name.clone()).or_default() += 1;
        let network =
            ObservedNetwork { record: record.clone(), bridge_up: true, rules_present: true };
        self.observed.networks.insert(record.name.clone(), network);
        Ok(())
    }

    pub fn remove_network(&mut self, name: &str) -> Result<(), String> {
        let mut all = self.observed.containers.values();
        refuse(all.any(|c| c.record.spec.networks.contains_key(name)), "in use")?;
        self.drop_network(name)
    }

    /// The network goes, whoever is on it.
    pub fn drop_network(&mut self, name: &str) -> Result<(), String> {
        let network = self.observed.networks.remove(name).ok_or("missing")?;
        let nets: Vec<_> = network.record.subnets.iter().map(|subnet| subnet.net).collect();
        self.observed.host.routes.retain(|route| !nets.contains(route));
        Ok(())
    }

    fn create_volume(&mut self, record: &VolumeRecord) -> Result<(), String> {
        refuse(self.observed.volumes.contains_key(&record.name), "exists")?;
        *self.volumes.entry(record.name.clone()).or_default() += 1;
        let volume = ObservedVolume { record: record.clone() };
        self.observed.volumes.insert(record.name.clone(), volume);
        Ok(())
    }

    fn create_container(&mut self, record: &ContainerRecord) -> Result<(), String> {
        self.claim(record)?;
        let here = &self.observed;
        refuse(here.containers.contains_key(&record.name), "exists")?;
        for network in record.spec.networks.keys() {
            let network = here.networks.get(network).ok_or("network missing")?;
            let v4 = record.addresses.get(&network.record.name).and_then(|has| has.ipv4);
            let v4 = std::net::IpAddr::V4(v4.ok_or("no address")?);
            let subnet = &network.record.subnets[0];
            refuse(!subnet.net.contains(&v4) || subnet.gateway == v4, "foreign address")?;
        }
        for volume in volumes(&record.spec) {
            refuse(!here.volumes.contains_key(volume), "volume missing")?;
        }
        let image = here.images.get(&record.image()).ok_or("image missing")?;
        let image_id = image.id.clone();
        let borrowed = self.borrowed(record)?;
        let mut container = self.container(record);
        container.record.image_id = image_id;
        container.record.borrowed.mounts = borrowed;
        let anonymous = record.spec.mounts.iter();
        let anonymous =
            anonymous.filter(|(_, mount)| matches!(mount.source, SourceSpec::Anonymous { .. }));
        for (target, _) in anonymous {
            let name = anonymous_name(&record.name, target);
            let (project, owner) = (record.project.clone(), Some(record.name.clone()));
            let spec = Default::default();
            let volume = VolumeRecord { name: name.clone(), project, spec, container: owner };
            self.observed.volumes.entry(name).or_insert(ObservedVolume { record: volume });
        }
        self.observed.containers.insert(record.name.clone(), container);
        Ok(())
    }

    /// The mounts it has of others, as these are now.
    fn borrowed(&self, record: &ContainerRecord) -> Result<BTreeMap<String, MountSpec>, String> {
        let mut borrowed = BTreeMap::new();
        for from in &record.spec.volumes_from {
            let other = self.observed.containers.get(&from.container).ok_or("lender missing")?;
            let other = &other.record;
            for (target, mount) in other.spec.mounts.iter().chain(&other.borrowed.mounts) {
                let mut mount = mount.clone();
                if let SourceSpec::Anonymous { .. } = mount.source {
                    let name = anonymous_name(&other.name, target);
                    mount.source = SourceSpec::Volume { name, nocopy: true, subpath: None };
                }
                borrowed.entry(target.clone()).or_insert(mount);
            }
        }
        Ok(borrowed)
    }

    /// A container that changes while it runs gets links to what is new, and keeps the others.
    fn relink(&mut self, container: &ObservedContainer) -> Result<(), String> {
        let has = self.links.get(&container.record.name).filter(|_| active(container));
        if let Some(mut has) = has.cloned() {
            let wanted = self.links_of(container)?;
            has.retain(|to, _| wanted.contains_key(to));
            let all = wanted.into_iter().chain(has).collect();
            self.links.insert(container.record.name.clone(), all);
        }
        Ok(())
    }

    /// Another container that is there has none of these addresses.
    fn claim(&self, record: &ContainerRecord) -> Result<(), String> {
        for (other, have) in self.observed.containers.iter().filter(|(o, _)| **o != record.name) {
            let same =
                |(network, has): (&String, &Addresses)| record.addresses.get(network) == Some(has);
            refuse(have.record.addresses.iter().any(same), &format!("address of {other}"))?;
        }
        Ok(())
    }

    /// Whether another container that runs has one of its ports.
    fn port_taken(&self, record: &ContainerRecord) -> bool {
        let key = |port: &PortSpec| (port.protocol, port.published, port.host_ip);
        let mut others = self.observed.containers.values().filter(|c| active(c) && !c.beside);
        others.any(|other| {
            let ports = || other.record.spec.ports.iter().map(key);
            let mine = |port: &PortSpec| ports().any(|taken| taken == key(port));
            other.record.name != record.name && record.spec.ports.iter().any(mine)
        })
    }

    fn start(&mut self, name: &str) -> Result<(), String> {
        let container = self.get(name)?.clone();
        refuse(active(&container), "runs already")?;
        refuse(container.state == ContainerState::Broken, "is broken")?;
        refuse(self.port_taken(&container.record), "port taken")?;
        let links = self.links_of(&container)?;
        self.count += 1;
        let pid = self.count as i32;
        *self.namespaces.entry(name.to_string()).or_default() += 1;
        let container = self.get(name)?;
        container.state = ContainerState::Running { pid, started_at: 0 };
        (container.monitored, container.held) = (true, false);
        container.restarts = 0;
        container.health = match container.record.spec.healthcheck {
            Some(_) => Health::Starting,
            None => Health::None,
        };
        self.links.insert(name.to_string(), links);
        Ok(())
    }

    fn running_on<'a>(&'a self, network: &'a str) -> impl Iterator<Item = &'a str> {
        let on = self.observed.containers.values().filter(|c| active(c));
        let on = on.filter(move |c| c.record.spec.networks.contains_key(network));
        on.map(|c| c.record.name.as_str())
    }

    /// What a container would be connected to if it started now.
    fn links_of(&self, container: &ObservedContainer) -> Result<BTreeMap<String, u32>, String> {
        let spec = &container.record.spec;
        let mut links = BTreeMap::new();
        for network in spec.networks.keys() {
            let here = self.observed.networks.get(network).ok_or("network missing")?;
            let others = self.running_on(network).filter(|name| *name != container.record.name);
            refuse(here.record.spec.is_for_one() && others.count() > 0, "link taken")?;
            refuse(!here.bridge_up, "bridge is down")?;
            links.insert(format!("network {network}"), self.networks[network]);
        }
        for volume in volumes(spec) {
            refuse(!self.observed.volumes.contains_key(volume), "volume missing")?;
            links.insert(format!("volume {volume}"), self.volumes[volume]);
        }
        if let NetworkMode::Container(parent) = &spec.network_mode {
            let here = self.observed.containers.get(parent).ok_or("parent missing")?;
            refuse(!active(here), "parent does not run")?;
            links.insert(format!("container {parent}"), self.namespaces[parent]);
        }
        Ok(links)
    }

    fn wait(&mut self, name: &str, condition: Condition) -> Result<(), String> {
        let container = self.get(name)?;
        match condition {
            Condition::ServiceStarted => refuse(!active(container), "does not run"),
            Condition::ServiceHealthy => {
                refuse(!active(container), "does not run")?;
                refuse(container.health == Health::None, "has no probe")?;
                container.health = Health::Healthy;
                Ok(())
            }
            Condition::ServiceCompletedSuccessfully => {
                let done = ContainerState::Exited { exit_code: 0, finished_at: 0 };
                refuse(!active(container) && container.state != done, "failed")?;
                container.state = done;
                container.monitored = false;
                self.links.remove(name);
                Ok(())
            }
        }
    }

    /// Running containers that are connected to what is not there any more.
    pub fn stale(&self) -> Vec<String> {
        let running = self.observed.containers.iter().filter(|(_, container)| active(container));
        let stale = running.filter(|(name, container)| {
            self.links_of(container).ok().as_ref() != self.links.get(*name)
        });
        stale.map(|(name, _)| name.clone()).collect()
    }
}

/// What is seen of one that runs is not seen of it any more.
pub fn has_ended(container: &mut ObservedContainer) {
    container.moved_limits.clear();
    (container.left_behind, container.unplugged) = (false, None);
}

pub fn active(container: &ObservedContainer) -> bool {
    match container.state {
        ContainerState::Running { .. } => true,
        // It waits for its monitor to start it again.
        ContainerState::Restarting { .. } => container.monitored,
        ContainerState::Created | ContainerState::Exited { .. } | ContainerState::Broken => false,
    }
}

fn anonymous_name(container: &str, target: &str) -> String {
    format!("{container}{}", target.replace('/', "-"))
}

fn volumes(spec: &ContainerSpec) -> impl Iterator<Item = &str> {
    spec.mounts.values().filter_map(|mount| match &mount.source {
        SourceSpec::Volume { name, .. } => Some(name.as_str()),
        SourceSpec::Anonymous { .. } | SourceSpec::Image { .. } | SourceSpec::Bind { .. } => None,
    })
}

fn refuse(condition: bool, why: &str) -> Result<(), String> {
    if condition { Err(why.to_string()) } else { Ok(()) }
}

/// What both containers of a replica are called here.
fn replica(name: &str) -> String {
    name.strip_suffix("-b").unwrap_or(name).to_owned()
}
