//! `Stack` → [`Desired`]: real names instead of keys, content instead of paths, and what the
//! host's abilities decide.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use berth_schema::stack::{
    CgroupMode, Condition, FileContent, OnUnhealthy, Service, Stack, VolumesSource,
};
use sha2::{Digest, Sha256};

use crate::bound::Stamp;
use crate::cdi::Library;
use crate::desired::{
    ContainerSpec, DependencySpec, Desired, Inert, NetworkSpec, OwnerSpec, ServiceSpec,
};
use crate::observed::{self, HostFacts, ObservedNetwork};
use crate::policy::Judged;
use crate::publish::published;
use crate::rollout::Rollout;
use crate::unfit::{Abilities, unfit};

mod devices;
mod inits;
mod life;
mod mounts;
mod networks;
mod problem;
mod runtime;
pub(crate) use runtime::is_runtime;
mod spaces;
pub(crate) use spaces::parents;

pub use devices::{HostDevice, wanted_devices, wants_cdi};
pub use mounts::{BindSource, bind_sources};
pub use problem::ResolveProblem;

/// What the stack refers to and somebody else has read.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// Bytes of the files of configs, secrets and profiles, see [`wanted`].
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    /// Files that could not be read, with the reason.
    pub unreadable: BTreeMap<PathBuf, String>,
    /// Who may have asked.
    pub invoker: Invoker,
    /// Sources of binds that have to be there, see [`must_exist`](crate::unfit::must_exist), and are
    /// not.
    pub missing: BTreeSet<PathBuf>,
    /// Those of [`bind_sources`] where mounts cannot map ids.
    pub unmapped: BTreeSet<BindSource>,
    /// What the host has at the paths of [`wanted_devices`].
    pub devices: BTreeMap<PathBuf, HostDevice>,
    /// Devices that the makers of them describe, when [`wants_cdi`].
    pub cdi: Library,
    /// What this host can; nothing is held against it when nobody has looked.
    pub abilities: Option<Abilities>,
    /// What containers of the project may write, see [`written`](crate::bound::written).
    pub written: BTreeSet<PathBuf>,
    /// What is in the regular files among [`counted`](crate::bound::counted).
    pub bound_files: BTreeMap<PathBuf, Stamp>,
    /// Networks of berth that are there, by name.
    pub networks: BTreeMap<String, ObservedNetwork>,
}

/// Those of the host who may be meant by `owner: host`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Invoker {
    /// Who became root by sudo (`SUDO_UID`, `SUDO_GID`).
    pub sudo: Option<OwnerSpec>,
    /// Whose the folder of the project is.
    pub folder: Option<OwnerSpec>,
}

/// Files [`resolve`] needs the bytes of.
pub fn wanted(stack: &Stack) -> BTreeSet<PathBuf> {
    let objects = stack.configs.values().chain(stack.secrets.values());
    let contents = objects.filter_map(|object| match &object.content {
        FileContent::File(path) => Some(path.clone()),
        FileContent::Environment(..) | FileContent::Inline(_) | FileContent::External => None,
    });
    contents.chain(spaces::profiles(stack).cloned()).collect()
}

/// What the stack asks of a host with these abilities.
///
/// # Errors
/// All problems at once, sorted.
pub fn resolve(
    stack: &Stack,
    inputs: &Inputs,
    facts: &HostFacts,
) -> Result<Desired, Vec<ResolveProblem>> {
    let (networks, problems) = (BTreeMap::new(), BTreeSet::new());
    let mut resolver = Resolver { stack, inputs, facts, networks, problems };
    resolver.networks =
        stack.networks.iter().map(|(key, network)| resolver.network(key, network)).collect();
    let mut desired = Desired {
        project: stack.name.clone(),
        working_dir: stack.working_dir.clone(),
        files: stack.files.clone(),
        services: resolver.services(),
        networks: std::mem::take(&mut resolver.networks),
        volumes: resolver.volumes(),
        inactive: stack.inactive.clone(),
        judged: Judged::default(),
        sources: BTreeMap::new(),
        stamps: inputs.bound_files.clone(),
    };
    resolver.fit(&mut desired);
    if resolver.problems.is_empty() {
        Ok(desired)
    } else {
        Err(resolver.problems.into_iter().collect())
    }
}

/// Name of a container of a service.
pub(crate) fn container_name(
    project: &str,
    service: &str,
    fixed: Option<&str>,
    number: u32,
) -> String {
    match fixed {
        Some(fixed) if number == 1 => fixed.to_string(),
        _ => format!("{project}-{service}-{number}"),
    }
}

/// `sha256:…` of some bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |four: u8| char::from_digit(u32::from(four), 16).unwrap_or_default();
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

struct Resolver<'a> {
    stack: &'a Stack,
    inputs: &'a Inputs,
    facts: &'a HostFacts,
    /// Networks of the stack by their names on the host; they come first.
    networks: BTreeMap<String, NetworkSpec>,
    problems: BTreeSet<ResolveProblem>,
}

impl Resolver<'_> {
    fn services(&mut self) -> BTreeMap<String, ServiceSpec> {
        let stack = self.stack;
        stack
            .services
            .iter()
            .map(|(name, service)| (name.clone(), self.service(name, service)))
            .collect()
    }

    /// What this host cannot give is refused, or noted beside the service.
    fn fit(&mut self, desired: &mut Desired) {
        let Some(abilities) = &self.inputs.abilities else { return };
        for unfit in unfit(self.stack, abilities) {
            if unfit.fails {
                let (path, why) = (unfit.path, unfit.why);
                self.problems.insert(ResolveProblem::Unfit { path, why });
            } else if let Some(service) = unfit.service
                && let Some(spec) = desired.services.get_mut(&service)
            {
                let attribute = unfit.path.trim_start_matches(&format!("services.{service}."));
                let why = format!("`{attribute}` has no effect on this host: {}", unfit.why);
                spec.no_effect.push(Inert { attribute: attribute.to_owned(), why });
            }
        }
    }

    fn service(&mut self, name: &str, service: &Service) -> ServiceSpec {
        let mut depends_on: BTreeMap<String, DependencySpec> = service
            .depends_on
            .iter()
            .map(|(on, dependency)| {
                let spec = DependencySpec {
                    condition: dependency.condition,
                    restart: dependency.restart,
                    required: dependency.required,
                };
                (on.clone(), spec)
            })
            .collect();
        for (_, parent) in spaces::parents(service) {
            depends_on.entry(parent.to_string()).or_insert(spaces::IMPLIED);
        }
        for (other, restart) in implied(service) {
            let started =
                DependencySpec { condition: Condition::ServiceStarted, restart, required: true };
            depends_on.entry(other.to_owned()).or_insert(started);
        }
        self.check_platform(name, service);
        self.check_targets(name, service);
        let mut container = self.container(name, service);
        let (ports, no_effect) =
            published(networks::ports(service), &container.networks, &self.networks);
        container.ports = ports;
        ServiceSpec {
            replicas: service.replicas,
            pre_start: inits::steps(service, &container),
            container,
            pull_policy: service.pull_policy,
            locked: None,
            pinned: None,
            no_userns: self.no_userns(service, 0),
            no_effect,
            container_name: service.container_name.clone(),
            rollout: Rollout::of(service),
            order: None,
            rollback: Rollout::back(service),
            deadline: service.berth.deadline,
            goes_back: false,
            depends_on,
            attach: service.attach,
        }
    }

    fn check_platform(&mut self, name: &str, service: &Service) {
        if let (Some(wanted), Some(here)) = (&service.platform, &self.facts.platform)
            && !wanted.runs_on(here)
        {
            let (wanted, here) = (wanted.to_string(), here.to_string());
            let service = name.to_owned();
            self.problems.insert(ResolveProblem::Platform { service, wanted, here });
        }
    }

    fn container(&mut self, name: &str, service: &Service) -> ContainerSpec {
        let image = service.image.clone();
        let (mounts, mut tmpfs) = self.mounts(name, service);
        tmpfs.splice(0..0, service.tmpfs.iter().cloned());
        let mut spec = ContainerSpec {
            image: image.unwrap_or_else(|| format!("{}-{name}", self.stack.name)),
            command: service.command.clone(),
            entrypoint: service.entrypoint.clone(),
            environment: service.environment.clone(),
            expose: service.expose.clone(),
            mounts,
            tmpfs,
            volumes_from: self.volumes_from(name, service),
            owner: self.owner(name, service),
            files: self.files(name, service),
            bound_files: self.bound_files(service),
            networks: self.endpoints(name, service),
            healthcheck: service.healthcheck.clone(),
            ready: service.berth.ready.clone(),
            on_change: service.berth.on_change.clone(),
            restart_unhealthy: service.berth.on_unhealthy == OnUnhealthy::Restart,
            restart: service.restart,
            restart_pace: life::pace(service),
            post_start: service.post_start.clone(),
            pre_start: service.pre_start.clone(),
            pre_stop: service.pre_stop.clone(),
            labels: service.labels.clone(),
            annotations: service.annotations.clone(),
            runtime: self.runtime(name, service),
            user: service.user.clone(),
            group_add: service.group_add.clone(),
            working_dir: service.working_dir.clone(),
            stop_signal: service.stop_signal.clone(),
            stop_grace_period: service.stop_grace_period,
            read_only: service.read_only,
            init: service.init,
            tty: service.tty,
            stdin_open: service.stdin_open,
            cap_add: service.cap_add.clone(),
            cap_drop: service.cap_drop.clone(),
            links: networks::links(service),
            extra_hosts: service.extra_hosts.clone(),
            dns: service.dns.clone(),
            dns_search: service.dns_search.clone(),
            dns_opt: service.dns_opt.clone(),
            limits: service.limits.clone(),
            blkio_config: self.block_io(name, service),
            mem_swappiness: service.mem_swappiness,
            oom_kill_disable: service.oom_kill_disable,
            cpu_rt_period: service.cpu_rt_period.map(micros),
            cpu_rt_runtime: service.cpu_rt_runtime.map(micros),
            devices: self.devices(name, service),
            device_cgroup_rules: service.device_rules.clone(),
            cgroup_host: service.cgroup == Some(CgroupMode::Host),
            cgroup_parent: self.cgroup_parent(name, service),
            shm_size: service.shm_size,
            // As with Docker, 0 is no limit.
            storage_size: service.storage_size.filter(|size| *size > 0),
            ulimits: service.ulimits.clone(),
            sysctls: service.sysctls.clone(),
            logging: service.logging.clone(),
            ..ContainerSpec::default()
        };
        self.spaces(name, service, &mut spec);
        spec
    }

    /// Below one of our own groups nothing else may be: it would go with that container.
    fn cgroup_parent(&mut self, name: &str, service: &Service) -> Option<String> {
        let parent = service.cgroup_parent.as_deref()?;
        let first = parent.split('/').next().unwrap_or(parent);
        if first == observed::cgroups(&self.facts.realm) {
            let (service, parent) = (name.to_owned(), parent.to_owned());
            self.problems.insert(ResolveProblem::OwnCgroup { service, parent });
        }
        Some(parent.to_owned())
    }

    /// Name of the first container of a service of the stack that has one.
    fn first_container(&self, service: &str) -> Option<String> {
        let spec = self.stack.services.get(service).filter(|spec| spec.replicas > 0)?;
        Some(container_name(&self.stack.name, service, spec.container_name.as_deref(), 1))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Services that `links` and `volumes_from` ask to be started before, and whether a restart of them
/// is one of the service.
fn implied(service: &Service) -> impl Iterator<Item = (&str, bool)> {
    let links = service.links.iter().map(|link| (link.name.as_str(), true));
    let volumes = service.volumes_from.iter().filter_map(|from| match &from.source {
        VolumesSource::Service(other) => Some((other.as_str(), false)),
        VolumesSource::Container(_) => None,
    });
    links.chain(volumes)
}
