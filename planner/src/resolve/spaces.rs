//! What confines a container, and what it shares with the host or another container.

use std::path::PathBuf;

use berth_schema::stack::{self, Condition, IpcMode, PidMode, Service, Stack, UsernsMode, UtsMode};

use super::{ResolveProblem, Resolver, container_name, digest};
use crate::desired::{ContainerSpec, DependencySpec, IpcSpace, NetworkMode, PidSpace};
use crate::desired::{Seccomp, Security};
use crate::seccomp;
use crate::unfit::profile_of;

/// Files of profiles that services name.
pub(super) fn profiles(stack: &Stack) -> impl Iterator<Item = &PathBuf> {
    stack.services.values().filter_map(|service| match &service.security.seccomp {
        stack::Seccomp::Profile(path) => Some(path),
        stack::Seccomp::Builtin | stack::Seccomp::Unconfined => None,
    })
}

/// What it is to a service that another one is there before it, though it does not say so.
pub(super) const IMPLIED: DependencySpec =
    DependencySpec { condition: Condition::ServiceStarted, restart: true, required: true };

/// The services whose namespaces this one shares, each with the attribute that says so.
pub(crate) fn parents(service: &Service) -> impl Iterator<Item = (&'static str, &str)> {
    let network = match &service.network_mode {
        Some(stack::NetworkMode::Service(parent)) => Some(parent),
        _ => None,
    };
    let pid = match &service.pid {
        PidMode::Service(parent) => Some(parent),
        _ => None,
    };
    let ipc = match &service.ipc {
        IpcMode::Service(parent) => Some(parent),
        _ => None,
    };
    let all = [("network_mode", network), ("pid", pid), ("ipc", ipc)];
    all.into_iter().filter_map(|(attribute, parent)| Some((attribute, parent?.as_str())))
}

impl Resolver<'_> {
    /// Adds what the service says of its namespaces and of what confines it.
    pub(super) fn spaces(&mut self, name: &str, service: &Service, spec: &mut ContainerSpec) {
        spec.network_mode = self.network_mode(name, service);
        spec.pid = self.pid(name, service);
        spec.ipc = self.ipc(name, service);
        spec.host_names = service.uts == UtsMode::Host;
        spec.hostname.clone_from(&service.hostname);
        spec.domainname.clone_from(&service.domainname);
        spec.security = self.security(name, service);
        // The lesser of two wins: other tools read the one, berth the other.
        spec.contained = service.berth.contained;
        spec.privileged = service.privileged && !spec.contained;
        let without = self.no_userns(service, 0);
        if let (true, Some(why)) = (spec.contained, &without) {
            let (service, why) = (name.to_owned(), why.clone());
            self.problems.insert(ResolveProblem::Contained { service, why });
        }
        spec.userns = without.is_none();
    }

    /// Why a service, or one whose namespaces it shares, has no user namespace.
    pub(super) fn no_userns(&self, service: &Service, depth: usize) -> Option<String> {
        let privileged = service.privileged && !service.berth.contained;
        let own = [
            (privileged, "privileged"),
            (service.network_mode == Some(stack::NetworkMode::Host), "network_mode host"),
            // What is shared there has owners that no namespace maps.
            (service.ipc == IpcMode::Host, "ipc host"),
            (service.userns_mode == UsernsMode::Host, "userns_mode host"),
            (!self.facts.userns, "this host cannot map the ids of its files"),
        ];
        let own = own.into_iter().find(|(holds, _)| *holds);
        let own = own.map(|(_, why)| why.to_owned());
        own.or_else(|| self.unmapped_bind(service)).or_else(|| {
            // A chain of sharers is no longer than the stack; the loader refuses circles.
            let deep = depth > self.stack.services.len();
            parents(service).filter(|_| !deep).find_map(|(attribute, parent)| {
                self.no_userns(self.stack.services.get(parent)?, depth + 1)?;
                Some(format!("{attribute} service:{parent}, which has none"))
            })
        })
    }

    fn network_mode(&mut self, name: &str, service: &Service) -> NetworkMode {
        match &service.network_mode {
            None => NetworkMode::Bridge,
            Some(stack::NetworkMode::None) => NetworkMode::None,
            Some(stack::NetworkMode::Host) => NetworkMode::Host,
            Some(stack::NetworkMode::Container(other)) => NetworkMode::Container(other.clone()),
            Some(stack::NetworkMode::Service(parent)) => self
                .parent(name, "network_mode", parent)
                .map_or(NetworkMode::None, NetworkMode::Container),
        }
    }

    fn pid(&mut self, name: &str, service: &Service) -> PidSpace {
        match &service.pid {
            PidMode::Private => PidSpace::Own,
            PidMode::Host => PidSpace::Host,
            PidMode::Container(other) => PidSpace::Container(other.clone()),
            PidMode::Service(parent) => {
                self.parent(name, "pid", parent).map_or(PidSpace::Own, PidSpace::Container)
            }
        }
    }

    fn ipc(&mut self, name: &str, service: &Service) -> IpcSpace {
        match &service.ipc {
            IpcMode::Private => IpcSpace::Own,
            IpcMode::Shareable => IpcSpace::Shareable,
            IpcMode::None => IpcSpace::None,
            IpcMode::Host => IpcSpace::Host,
            IpcMode::Container(other) => IpcSpace::Container(other.clone()),
            IpcMode::Service(parent) => {
                let other = self.stack.services.get(parent);
                if other.is_some_and(|o| matches!(o.ipc, IpcMode::Private | IpcMode::None)) {
                    let (service, parent) = (name.to_owned(), parent.clone());
                    self.problems.insert(ResolveProblem::NotShareable { service, parent });
                }
                self.parent(name, "ipc", parent).map_or(IpcSpace::Own, IpcSpace::Container)
            }
        }
    }

    /// The container of a service whose namespace is shared.
    fn parent(&mut self, name: &str, attribute: &'static str, parent: &str) -> Option<String> {
        match self.stack.services.get(parent) {
            Some(service) if service.replicas > 0 => {
                let fixed = service.container_name.as_deref();
                Some(container_name(&self.stack.name, parent, fixed, 1))
            }
            _ => {
                let (service, parent) = (name.to_owned(), parent.to_owned());
                let problem = ResolveProblem::NoParent { service, attribute, parent };
                self.problems.insert(problem);
                None
            }
        }
    }

    fn security(&mut self, name: &str, service: &Service) -> Security {
        let options = &service.security;
        let seccomp = match &options.seccomp {
            stack::Seccomp::Builtin => Seccomp::Builtin,
            stack::Seccomp::Unconfined => Seccomp::Unconfined,
            stack::Seccomp::Profile(path) => self.profile(name, path),
        };
        Security {
            no_new_privileges: options.no_new_privileges,
            seccomp,
            apparmor: profile_of(options).map(str::to_owned),
            unconfined_paths: options.unconfined_paths,
        }
    }

    fn profile(&mut self, name: &str, path: &PathBuf) -> Seccomp {
        let parsed = match (self.inputs.files.get(path), self.inputs.unreadable.get(path)) {
            (Some(bytes), _) => seccomp::parse(bytes).map(|profile| (digest(bytes), profile)),
            (None, Some(reason)) => Err(reason.clone()),
            (None, None) => Err("it was not read".to_owned()),
        };
        match parsed {
            Ok((digest, profile)) => Seccomp::Profile { digest, profile: Box::new(profile) },
            Err(reason) => {
                let (service, path) = (name.to_owned(), path.display().to_string());
                self.problems.insert(ResolveProblem::Profile { service, path, reason });
                Seccomp::Builtin
            }
        }
    }
}
