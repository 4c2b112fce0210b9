//! `Stack` → [`Desired`]: real names instead of keys, content instead of paths, and what the
//! host's abilities decide.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use berth_schema::stack::{
    self, Condition, FileContent, FileMount, FileObject, IpamPool, MountSource, Network, Service,
    Stack, UsernsMode,
};
use ipnet::IpNet;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::desired::{
    ContainerSpec, Content, DependencySpec, Desired, EndpointSpec, FileSpec, MountSpec,
    NetworkMode, NetworkSpec, PoolSpec, PortSpec, ServiceSpec, SourceSpec, VolumeSpec,
};
use crate::observed::HostFacts;

/// What the stack refers to and somebody else has read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Bytes of the files of configs and secrets, see [`wanted`].
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    /// Files that could not be read, with the reason.
    pub unreadable: BTreeMap<PathBuf, String>,
}

/// Files [`resolve`] needs the bytes of.
pub fn wanted(stack: &Stack) -> BTreeSet<PathBuf> {
    let objects = stack.configs.values().chain(stack.secrets.values());
    objects
        .filter_map(|object| match &object.content {
            FileContent::File(path) => Some(path.clone()),
            FileContent::Environment(..) | FileContent::Inline(_) | FileContent::External => None,
        })
        .collect()
}

/// Why a stack cannot be what it asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum ResolveProblem {
    #[error("{kind} `{name}` is read from `{path}`: {reason}")]
    Unreadable { kind: &'static str, name: String, path: String, reason: String },
    #[error("{kind} `{name}` is taken from the variable `{variable}`, which is not set")]
    VariableMissing { kind: &'static str, name: String, variable: String },
    #[error("service `{service}` shares the network of `{parent}`, which has no container")]
    NoParent { service: String, parent: String },
    #[error("service `{service}` mounts the image `{image}`, which berth does not do yet")]
    ImageMount { service: String, image: String },
    #[error("{kind} `{name}` is external, which berth does not do yet")]
    External { kind: &'static str, name: String },
    #[error("service `{service}` is for {wanted}, and this host runs {here}")]
    Platform { service: String, wanted: String, here: String },
    #[error("network `{network}`: `{value}` is not {expected}")]
    Pool { network: String, value: String, expected: &'static str },
    #[error("service `{service}` refers to {kind} `{name}`, which is not in the stack")]
    Dangling { service: String, kind: &'static str, name: String },
}

impl ResolveProblem {
    /// Where in the model the problem is, to be looked up in `Stack::places`.
    pub fn path(&self) -> String {
        match self {
            ResolveProblem::Unreadable { kind, name, .. }
            | ResolveProblem::External { kind, name }
            | ResolveProblem::VariableMissing { kind, name, .. } => format!("{kind}s.{name}"),
            ResolveProblem::NoParent { service, .. } => format!("services.{service}.network_mode"),
            ResolveProblem::Platform { service, .. } => format!("services.{service}.platform"),
            ResolveProblem::ImageMount { service, .. } => format!("services.{service}.volumes"),
            ResolveProblem::Pool { network, .. } => format!("networks.{network}.ipam"),
            ResolveProblem::Dangling { service, kind, .. } => format!("services.{service}.{kind}s"),
        }
    }
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
    let mut resolver = Resolver { stack, inputs, facts, problems: BTreeSet::new() };
    let networks = stack.networks.iter().map(|(key, net)| resolver.network(key, net)).collect();
    let desired = Desired {
        project: stack.name.clone(),
        working_dir: stack.working_dir.clone(),
        files: stack.files.clone(),
        services: resolver.services(),
        networks,
        volumes: volumes(stack),
        inactive: stack.inactive.clone(),
    };
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
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn volumes(stack: &Stack) -> BTreeMap<String, VolumeSpec> {
    let volume = |volume: &berth_schema::stack::Volume| {
        let spec = VolumeSpec {
            external: volume.external,
            driver_opts: volume.driver_opts.clone(),
            labels: volume.labels.clone(),
        };
        (volume.name.clone(), spec)
    };
    stack.volumes.values().map(volume).collect()
}

struct Resolver<'a> {
    stack: &'a Stack,
    inputs: &'a Inputs,
    facts: &'a HostFacts,
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
        if let Some(parent) = shared(service) {
            let implied = DependencySpec {
                condition: Condition::ServiceStarted,
                restart: true,
                required: true,
            };
            depends_on.entry(parent.to_string()).or_insert(implied);
        }
        self.check_platform(name, service);
        ServiceSpec {
            replicas: service.replicas,
            container: self.container(name, service),
            pull_policy: service.pull_policy,
            locked: None,
            container_name: service.container_name.clone(),
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
        ContainerSpec {
            image: image.unwrap_or_else(|| format!("{}-{name}", self.stack.name)),
            command: service.command.clone(),
            entrypoint: service.entrypoint.clone(),
            environment: service.environment.clone(),
            ports: ports(service),
            expose: service.expose.clone(),
            mounts,
            tmpfs,
            files: self.files(name, service),
            networks: self.endpoints(name, service),
            network_mode: self.network_mode(name, service),
            healthcheck: service.healthcheck.clone(),
            restart: service.restart,
            labels: service.labels.clone(),
            user: service.user.clone(),
            group_add: service.group_add.clone(),
            working_dir: service.working_dir.clone(),
            hostname: service.hostname.clone(),
            stop_signal: service.stop_signal.clone(),
            stop_grace_period: service.stop_grace_period,
            read_only: service.read_only,
            init: service.init,
            tty: service.tty,
            stdin_open: service.stdin_open,
            privileged: service.privileged,
            userns: self.userns(service),
            cap_add: service.cap_add.clone(),
            cap_drop: service.cap_drop.clone(),
            extra_hosts: service.extra_hosts.clone(),
            dns: service.dns.clone(),
            dns_search: service.dns_search.clone(),
            dns_opt: service.dns_opt.clone(),
            limits: service.limits.clone(),
            shm_size: service.shm_size,
            ulimits: service.ulimits.clone(),
            sysctls: service.sysctls.clone(),
            logging: service.logging.clone(),
        }
    }

    /// Whether the service, and all it shares a network namespace with, can have a user namespace.
    fn userns(&self, service: &Service) -> bool {
        let mut service = service;
        // A chain of sharers is no longer than the stack; the loader refuses circles.
        for _ in 0..=self.stack.services.len() {
            let host = service.network_mode == Some(stack::NetworkMode::Host);
            let off = service.privileged || host || service.userns_mode == UsernsMode::Host;
            if !self.facts.userns || off {
                return false;
            }
            match shared(service).and_then(|parent| self.stack.services.get(parent)) {
                Some(parent) => service = parent,
                None => return true,
            }
        }
        false
    }

    fn network_mode(&mut self, name: &str, service: &Service) -> NetworkMode {
        let parent = match &service.network_mode {
            None => return NetworkMode::Bridge,
            Some(stack::NetworkMode::None) => return NetworkMode::None,
            Some(stack::NetworkMode::Host) => return NetworkMode::Host,
            Some(stack::NetworkMode::Container(name)) => {
                return NetworkMode::Container(name.clone());
            }
            Some(stack::NetworkMode::Service(parent)) => parent,
        };
        match self.stack.services.get(parent) {
            Some(spec) if spec.replicas > 0 => {
                let fixed = spec.container_name.as_deref();
                NetworkMode::Container(container_name(&self.stack.name, parent, fixed, 1))
            }
            _ => {
                let problem =
                    ResolveProblem::NoParent { service: name.into(), parent: parent.to_string() };
                self.problems.insert(problem);
                NetworkMode::None
            }
        }
    }

    fn endpoints(&mut self, name: &str, service: &Service) -> BTreeMap<String, EndpointSpec> {
        let mut endpoints = BTreeMap::new();
        for (key, on) in &service.networks {
            let Some(network) = self.stack.networks.get(key) else {
                self.dangling(name, "network", key);
                continue;
            };
            let endpoint = EndpointSpec {
                aliases: on.aliases.clone(),
                ipv4_address: on.ipv4_address,
                ipv6_address: on.ipv6_address,
                mac_address: on.mac_address.clone(),
                priority: on.priority,
                gw_priority: on.gw_priority,
            };
            endpoints.insert(network.name.clone(), endpoint);
        }
        endpoints
    }

    fn mounts(
        &mut self,
        name: &str,
        service: &Service,
    ) -> (BTreeMap<String, MountSpec>, Vec<berth_schema::stack::Tmpfs>) {
        let (mut mounts, mut tmpfs) = (BTreeMap::new(), Vec::new());
        for mount in &service.volumes {
            let source = match &mount.source {
                MountSource::Tmpfs(memory) => {
                    tmpfs.push(memory.clone());
                    continue;
                }
                MountSource::Anonymous { nocopy, .. } => SourceSpec::Anonymous { nocopy: *nocopy },
                MountSource::Bind { path, create_host_path, propagation, .. } => SourceSpec::Bind {
                    path: path.clone(),
                    create_host_path: *create_host_path,
                    propagation: propagation.map(|word| word.as_str().to_owned()),
                },
                MountSource::Image { reference, .. } => {
                    let image = reference.clone();
                    let service = name.to_string();
                    self.problems.insert(ResolveProblem::ImageMount { service, image });
                    continue;
                }
                MountSource::Volume { name: key, nocopy, subpath } => {
                    let Some(volume) = self.stack.volumes.get(key) else {
                        self.dangling(name, "volume", key);
                        continue;
                    };
                    SourceSpec::Volume {
                        name: volume.name.clone(),
                        nocopy: *nocopy,
                        subpath: subpath.clone(),
                    }
                }
            };
            mounts.insert(mount.target.clone(), MountSpec { source, read_only: mount.read_only });
        }
        (mounts, tmpfs)
    }

    fn files(&mut self, name: &str, service: &Service) -> Vec<FileSpec> {
        let stack = self.stack;
        let configs = service.configs.iter().map(|mount| (mount, "config", &stack.configs));
        let secrets = service.secrets.iter().map(|mount| (mount, "secret", &stack.secrets));
        let mut files: Vec<FileSpec> = configs
            .chain(secrets)
            .filter_map(|(mount, kind, objects)| match objects.get(&mount.source) {
                Some(object) => self.file(mount, kind, object),
                None => {
                    self.dangling(name, kind, &mount.source);
                    None
                }
            })
            .collect();
        files.sort_by(|a, b| a.target.cmp(&b.target));
        files
    }

    fn file(
        &mut self,
        mount: &FileMount,
        kind: &'static str,
        object: &FileObject,
    ) -> Option<FileSpec> {
        match content(kind, &mount.source, object, self.inputs) {
            Ok(bytes) => Some(FileSpec {
                target: mount.target.clone(),
                uid: mount.uid.unwrap_or(0),
                gid: mount.gid.unwrap_or(0),
                mode: mount.mode.unwrap_or(0o444),
                secret: kind == "secret",
                digest: digest(&bytes),
                content: Content(Arc::new(bytes)),
            }),
            Err(problem) => {
                self.problems.insert(problem);
                None
            }
        }
    }

    fn dangling(&mut self, service: &str, kind: &'static str, name: &str) {
        self.problems.insert(ResolveProblem::Dangling {
            service: service.to_string(),
            kind,
            name: name.to_string(),
        });
    }

    fn network(&mut self, key: &str, network: &Network) -> (String, NetworkSpec) {
        let pools = network.ipam.iter().filter_map(|pool| self.pool(key, pool)).collect();
        let spec = NetworkSpec {
            external: network.external,
            internal: network.internal,
            enable_ipv6: network.enable_ipv6,
            pools,
            driver_opts: network.driver_opts.clone(),
            labels: network.labels.clone(),
        };
        (network.name.clone(), spec)
    }

    /// A pool; one without a subnet asks for nothing that is not the default.
    fn pool(&mut self, key: &str, pool: &IpamPool) -> Option<PoolSpec> {
        let subnet = self.subnet(key, pool.subnet.as_deref()?)?;
        let ip_range = match pool.ip_range.as_deref() {
            Some(range) => Some(self.subnet(key, range)?),
            None => None,
        };
        if let Some(range) = ip_range.filter(|range| !subnet.contains(range)) {
            self.problems.insert(ResolveProblem::Pool {
                network: key.to_string(),
                value: range.to_string(),
                expected: "a part of its subnet",
            });
        }
        let mut reserved: Vec<_> = pool.aux_addresses.values().copied().collect();
        reserved.sort_unstable();
        Some(PoolSpec { subnet, ip_range, gateway: pool.gateway, reserved })
    }

    fn subnet(&mut self, key: &str, text: &str) -> Option<IpNet> {
        let net = text.parse::<IpNet>().ok().map(|net| net.trunc());
        if net.is_none() {
            self.problems.insert(ResolveProblem::Pool {
                network: key.to_string(),
                value: text.to_string(),
                expected: "a subnet like `10.1.0.0/24`",
            });
        }
        net
    }
}

/// The service whose network namespace this one shares.
fn shared(service: &Service) -> Option<&str> {
    match &service.network_mode {
        Some(stack::NetworkMode::Service(parent)) => Some(parent),
        _ => None,
    }
}

fn ports(service: &Service) -> Vec<PortSpec> {
    let mut ports: Vec<PortSpec> = service
        .ports
        .iter()
        .map(|port| PortSpec {
            host_ip: port.host_ip,
            published: port.published,
            target: port.target,
            protocol: port.protocol,
        })
        .collect();
    ports.sort();
    ports.dedup();
    ports
}

fn content(
    kind: &'static str,
    name: &str,
    object: &FileObject,
    inputs: &Inputs,
) -> Result<Vec<u8>, ResolveProblem> {
    match &object.content {
        FileContent::Inline(text) => Ok(text.clone().into_bytes()),
        FileContent::Environment(_, Some(value)) => Ok(value.clone().into_bytes()),
        FileContent::Environment(variable, None) => Err(ResolveProblem::VariableMissing {
            kind,
            name: name.to_string(),
            variable: variable.clone(),
        }),
        FileContent::External => Err(ResolveProblem::External { kind, name: name.to_string() }),
        FileContent::File(path) => inputs.files.get(path).cloned().ok_or_else(|| {
            let reason = inputs.unreadable.get(path).map_or("it was not read", String::as_str);
            ResolveProblem::Unreadable {
                kind,
                name: name.to_string(),
                path: path.display().to_string(),
                reason: reason.to_string(),
            }
        }),
    }
}
