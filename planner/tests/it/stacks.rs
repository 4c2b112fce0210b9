//! Stacks for tests: written by hand in a few words, or drawn at random.

use std::collections::{BTreeMap, BTreeSet};

use berth_planner::desired::Desired;
use berth_planner::observed::HostFacts;
use berth_planner::{Inputs, resolve};
use berth_schema::stack::*;
use proptest::prelude::*;

/// An empty stack named `shop`.
pub fn stack() -> Stack {
    Stack {
        name: "shop".into(),
        working_dir: "/srv/shop".into(),
        files: vec!["/srv/shop/shop.yaml".into()],
        ..Stack::default()
    }
}

/// A service of one container on the network `default`.
pub fn service(image: &str) -> Service {
    Service {
        image: Some(image.into()),
        replicas: 1,
        attach: true,
        networks: BTreeMap::from([("default".into(), ServiceNetwork::default())]),
        ..Service::default()
    }
}

pub fn dependency(condition: Condition) -> Dependency {
    Dependency { condition, restart: false, required: true }
}

pub fn network(key: &str) -> Network {
    Network { name: format!("shop_{key}"), ..Network::default() }
}

/// A stack of these services, with the networks and volumes they use.
pub fn with(services: impl IntoIterator<Item = (&'static str, Service)>) -> Stack {
    let mut stack = stack();
    for (name, service) in services {
        for key in service.networks.keys() {
            stack.networks.insert(key.clone(), network(key));
        }
        for mount in &service.volumes {
            if let MountSource::Volume { name, .. } = &mount.source {
                let volume = Volume { name: format!("shop_{name}"), ..Volume::default() };
                stack.volumes.insert(name.clone(), volume);
            }
        }
        stack.services.insert(name.into(), service);
    }
    stack
}

pub fn desired(stack: &Stack) -> Desired {
    let facts = HostFacts { userns: true, ..HostFacts::default() };
    resolve(stack, &Inputs::default(), &facts).expect("the stack resolves")
}

/// What a service is to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Plain,
    Probed,
    OneShot,
}

/// A drawn service; numbers refer to what comes before it.
#[derive(Debug, Clone)]
pub struct Drawn {
    pub part: Part,
    pub image: u8,
    pub value: u8,
    pub replicas: u32,
    pub needs: Vec<(usize, bool, bool, bool)>,
    pub networks: BTreeSet<u8>,
    pub volumes: BTreeSet<u8>,
    pub anonymous: bool,
    /// Which port of the host it publishes and which fixed address it has, if nobody before it has them.
    pub slot: u8,
    pub port: bool,
    /// Its port is on one address of the host.
    pub local: bool,
    pub fixed: bool,
    /// Its new containers start before the old ones stop, where that can be.
    pub rolls: bool,
    pub shares: Option<usize>,
    /// Whose volumes it has too.
    pub borrows: Option<usize>,
    /// What can change while it runs.
    pub live: u8,
    pub config: Option<u8>,
    /// Whether each of its steps of `pre_start` is for each replica.
    pub steps: Vec<bool>,
}

/// A drawn stack. `None` is a service that was taken out of the file.
#[derive(Debug, Clone)]
pub struct DrawnStack {
    pub services: Vec<Option<Drawn>>,
    /// Which of the networks ask for a subnet, and which one.
    pub pools: [Option<u8>; 3],
    /// By its name each service comes before those that it needs.
    pub backwards: bool,
}

prop_compose! {
    fn drawn_service()(
        part in prop_oneof![Just(Part::Plain), Just(Part::Probed), Just(Part::OneShot)],
        (image, value, replicas) in (0..3u8, 0..3u8, prop_oneof![3 => Just(1u32), 1 => 0..4u32]),
        needs in prop::collection::vec((0..8usize, any::<bool>(), any::<bool>(), any::<bool>()), 0..3),
        networks in prop::collection::btree_set(0..3u8, 0..3),
        volumes in prop::collection::btree_set(0..2u8, 0..2),
        (anonymous, port, local, fixed) in any::<(bool, bool, bool, bool)>(),
        (slot, live, rolls) in (0..4u8, 0..3u8, any::<bool>()),
        (shares, borrows) in (prop::option::weighted(0.15, 0..8usize), prop::option::weighted(0.2, 0..8usize)),
        config in prop::option::weighted(0.2, 0..2u8),
        steps in prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(any::<bool>(), 1..3)],
    ) -> Drawn {
        Drawn {
            part, image, value, replicas, needs, networks, volumes, anonymous, slot, port, local, fixed, rolls, shares,
            borrows, live, config, steps,
        }
    }
}

/// Stacks of up to seven services.
pub fn drawn() -> impl Strategy<Value = DrawnStack> {
    let services = prop::collection::vec(prop::option::weighted(0.9, drawn_service()), 1..7);
    let pools = prop::array::uniform3(prop::option::weighted(0.4, 0..2u8));
    (services, pools, any::<bool>()).prop_map(|(services, pools, backwards)| DrawnStack {
        services,
        pools,
        backwards,
    })
}

/// A small change of a file.
#[derive(Debug, Clone)]
pub enum Edit {
    Value(usize, u8),
    Live(usize, u8),
    Slot(usize, u8),
    Image(usize, u8),
    Scale(usize, u32),
    Config(usize, u8),
    TakeOut(usize),
    Put(usize, Drawn),
    Pool(usize, Option<u8>),
}

pub fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let at = 0..7usize;
    let edit = prop_oneof![
        (at.clone(), 0..3u8).prop_map(|(at, value)| Edit::Value(at, value)),
        live(),
        (at.clone(), 0..4u8).prop_map(|(at, slot)| Edit::Slot(at, slot)),
        (at.clone(), 0..3u8).prop_map(|(at, image)| Edit::Image(at, image)),
        (at.clone(), 0..4u32).prop_map(|(at, scale)| Edit::Scale(at, scale)),
        (at.clone(), 0..2u8).prop_map(|(at, config)| Edit::Config(at, config)),
        at.clone().prop_map(Edit::TakeOut),
        (at, drawn_service()).prop_map(|(at, service)| Edit::Put(at, service)),
        (0..3usize, prop::option::of(0..2u8)).prop_map(|(at, pool)| Edit::Pool(at, pool)),
    ];
    prop::collection::vec(edit, 0..4)
}

/// A change that no container is made anew for.
pub fn live() -> impl Strategy<Value = Edit> {
    (0..7usize, 0..3u8).prop_map(|(at, live)| Edit::Live(at, live))
}

fn step(per_replica: bool) -> InitStep {
    InitStep {
        image: None,
        command: None,
        environment: BTreeMap::new(),
        user: None,
        working_dir: None,
        privileged: false,
        per_replica,
    }
}

impl DrawnStack {
    pub fn edited(&self, edits: &[Edit]) -> DrawnStack {
        let mut stack = self.clone();
        for edit in edits {
            let count = stack.services.len();
            match edit {
                Edit::Pool(at, pool) => stack.pools[*at] = *pool,
                Edit::TakeOut(at) => stack.services[at % count] = None,
                Edit::Put(at, service) => stack.services[at % count] = Some(service.clone()),
                Edit::Value(at, value) => stack.edit(*at, |service| service.value = *value),
                Edit::Live(at, live) => stack.edit(*at, |service| service.live = *live),
                Edit::Slot(at, slot) => stack.edit(*at, |service| service.slot = *slot),
                Edit::Image(at, image) => stack.edit(*at, |service| service.image = *image),
                Edit::Scale(at, scale) => stack.edit(*at, |service| service.replicas = *scale),
                Edit::Config(at, config) => {
                    stack.edit(*at, |service| service.config = Some(*config));
                }
            }
        }
        stack
    }

    fn edit(&mut self, at: usize, edit: impl FnOnce(&mut Drawn)) {
        let count = self.services.len();
        if let Some(service) = &mut self.services[at % count] {
            edit(service);
        }
    }

    fn name(&self, at: usize) -> String {
        format!("s{}", if self.backwards { 9 - at } else { at })
    }

    fn get(&self, at: usize) -> Option<&Drawn> {
        self.services.get(at)?.as_ref()
    }

    /// The service whose network it shares: one before it that has a network of its own.
    fn parent(&self, at: usize) -> Option<usize> {
        let parent = self.get(at)?.shares?;
        let fits = |drawn: &Drawn| {
            drawn.replicas > 0 && drawn.part != Part::OneShot && self.parent(parent).is_none()
        };
        (parent < at && self.get(parent).is_some_and(fits)).then_some(parent)
    }

    /// The service whose volumes it has too: one before it.
    fn lender(&self, at: usize) -> Option<usize> {
        let lender = self.get(at)?.borrows?;
        let fits = |drawn: &Drawn| drawn.replicas > 0 && drawn.part != Part::OneShot;
        (lender < at && self.get(lender).is_some_and(fits)).then_some(lender)
    }

    /// Whether a service has what one alone can have, and is the first that wants this one.
    fn is_first(&self, at: usize, wants: impl Fn(&Drawn) -> bool) -> bool {
        let wants = |at: usize| {
            let fits = |drawn: &Drawn| wants(drawn) && drawn.replicas <= 1;
            self.get(at).is_some_and(fits) && self.parent(at).is_none()
        };
        let slot = |at: usize| self.get(at).map(|drawn| drawn.slot);
        wants(at) && !(0..at).any(|before| wants(before) && slot(before) == slot(at))
    }

    /// Names of services that end by themselves.
    pub fn one_shots(&self) -> BTreeSet<String> {
        let shots = self.services.iter().enumerate();
        let shots =
            shots.filter(|(_, drawn)| drawn.as_ref().is_some_and(|d| d.part == Part::OneShot));
        shots.map(|(at, _)| self.name(at)).collect()
    }

    pub fn stack(&self) -> Stack {
        let mut stack = stack();
        for key in 0..3u8 {
            let subnet = self.pools[usize::from(key)].map(|pool| format!("10.{key}.{pool}.0/24"));
            let ipam =
                subnet.map(|subnet| IpamPool { subnet: Some(subnet), ..IpamPool::default() });
            let network =
                Network { ipam: ipam.into_iter().collect(), ..network(&format!("n{key}")) };
            stack.networks.insert(format!("n{key}"), network);
        }
        for key in 0..2u8 {
            let volume = Volume { name: format!("shop_v{key}"), ..Volume::default() };
            stack.volumes.insert(format!("v{key}"), volume);
            let content = FileContent::Inline(format!("content {key}"));
            stack.configs.insert(
                format!("c{key}"),
                FileObject { name: format!("c{key}"), content, ..FileObject::default() },
            );
        }
        for at in 0..self.services.len() {
            if let Some(drawn) = self.get(at) {
                stack.services.insert(self.name(at), self.service(at, drawn));
            }
        }
        stack
    }

    fn service(&self, at: usize, drawn: &Drawn) -> Service {
        let mut service = service(&format!("image:{}", drawn.image));
        service.replicas = drawn.replicas;
        service.environment.insert("VALUE".into(), Some(drawn.value.to_string()));
        service.depends_on = self.needs(at, drawn);
        if drawn.part == Part::Probed {
            service.healthcheck = Some(Healthcheck::default());
        }
        service.volumes = volumes(drawn);
        service.pre_start = drawn.steps.iter().map(|each| step(*each)).collect();
        if let Some(config) = drawn.config {
            service.configs = vec![FileMount {
                source: format!("c{config}"),
                target: "/etc/config".into(),
                uid: None,
                gid: None,
                mode: None,
            }];
        }
        service.limits.memory = Some((64 + u64::from(drawn.live)) << 20);
        service.extra_hosts = vec![("host".into(), format!("192.0.2.{}", drawn.live))];
        if let Some(lender) = self.lender(at) {
            let source = VolumesSource::Service(self.name(lender));
            service.volumes_from = vec![VolumesFrom { source, read_only: false }];
        }
        service.networks.clear();
        if let Some(parent) = self.parent(at) {
            service.network_mode = Some(NetworkMode::Service(self.name(parent)));
            return service;
        }
        for key in &drawn.networks {
            let mut on = ServiceNetwork::default();
            let fixed = self.is_first(at, |drawn| drawn.fixed);
            if let Some(pool) = self.pools[usize::from(*key)].filter(|_| fixed) {
                on.ipv4_address = format!("10.{key}.{pool}.{}", 100 + drawn.slot).parse().ok();
            }
            service.networks.insert(format!("n{key}"), on);
        }
        if self.is_first(at, |drawn| drawn.port) {
            let number = 8000 + u16::from(drawn.slot);
            let (published, protocol) = (Some((number, number)), Protocol::Tcp);
            let host_ip = drawn.local.then(|| "127.0.0.1".parse().unwrap());
            service.ports = vec![Port { target: 80, published, host_ip, protocol }];
        }
        let named = (0..self.services.len())
            .any(|other| self.parent(other) == Some(at) || self.lender(other) == Some(at));
        let fixed = service.networks.values().any(|on| on.ipv4_address.is_some());
        if drawn.rolls && drawn.part != Part::OneShot && !named && !fixed {
            let (order, on_failure) = match drawn.slot % 4 {
                0 => (RolloutOrder::StartFirst, FailureAction::Continue),
                1 => (RolloutOrder::StopFirst, FailureAction::Pause),
                2 => (RolloutOrder::StartFirst, FailureAction::Rollback),
                _ => (RolloutOrder::StopFirst, FailureAction::Rollback),
            };
            let (order, on_failure) = (Some(order), Some(on_failure));
            let parallelism = Some(u32::from(drawn.live));
            let update = Rollout { order, on_failure, parallelism, ..Rollout::default() };
            let update = Some(update);
            service.deploy = Some(Box::new(Deploy { update, ..Deploy::default() }));
        }
        service
    }

    fn needs(&self, at: usize, drawn: &Drawn) -> BTreeMap<String, Dependency> {
        let mut needs = BTreeMap::new();
        for (on, strict, restart, required) in &drawn.needs {
            let Some(needed) = self.get(*on).filter(|_| *on < at) else { continue };
            let condition = match (needed.part, strict) {
                (Part::Probed, true) => Condition::ServiceHealthy,
                (Part::OneShot, true) => Condition::ServiceCompletedSuccessfully,
                _ => Condition::ServiceStarted,
            };
            let dependency = Dependency { condition, restart: *restart, required: *required };
            needs.insert(self.name(*on), dependency);
        }
        needs
    }
}

fn volumes(drawn: &Drawn) -> Vec<Mount> {
    let named = drawn.volumes.iter().map(|key| Mount {
        target: format!("/v{key}"),
        source: MountSource::Volume { name: format!("v{key}"), nocopy: false, subpath: None },
        read_only: false,
    });
    let anonymous = drawn.anonymous.then(|| Mount {
        target: "/cache".into(),
        source: MountSource::Anonymous { nocopy: false, labels: BTreeMap::new() },
        read_only: false,
    });
    named.chain(anonymous).collect()
}
