//! What a container has through others: their mounts, and the namespaces it shares with them.

use std::collections::BTreeSet;

use berth_schema::stack::{Service, Stack, UsernsMode};

use super::Scene;
use crate::desired::{
    ContainerSpec, Desired, IpcSpace, MountSpec, NetworkMode, PidSpace, ServiceSpec,
};
use crate::observed::{Borrowed, Observed};
use crate::resolve::{container_name, parents};

/// A container another one takes something of: as the stack wants it, or as it is.
struct Other<'a> {
    spec: &'a ContainerSpec,
    borrowed: Option<&'a Borrowed>,
}

/// A mount that a container has of another one.
#[derive(Debug, Clone)]
pub(super) struct Lent<'a> {
    /// Path of the attribute by which it has it.
    pub(super) at: String,
    /// The mount.
    pub(super) mount: &'a MountSpec,
    /// It cannot write to it.
    pub(super) read_only: bool,
}

/// One container that another one takes mounts of.
struct Lender {
    at: String,
    name: String,
    read_only: bool,
}

/// The containers of that name: one may be there and be wanted otherwise.
fn called<'a>(desired: &'a Desired, observed: &'a Observed, name: &str) -> Vec<Other<'a>> {
    let wanted = service_of(desired, name).map(|(_, service)| &service.container);
    let wanted = wanted.map(|spec| Other { spec, borrowed: None });
    let there = observed.containers.get(name).map(|container| &container.record);
    let there = there.map(|record| Other { spec: &record.spec, borrowed: Some(&record.borrowed) });
    wanted.into_iter().chain(there).collect()
}

/// The service a container of this name is, or will be, one of.
pub(super) fn service_of<'a>(
    desired: &'a Desired,
    name: &str,
) -> Option<(&'a str, &'a ServiceSpec)> {
    let found = desired.services.iter().find(|(service, spec)| {
        let fixed = spec.container_name.as_deref();
        let mut names =
            (1..=spec.replicas).map(|n| container_name(&desired.project, service, fixed, n));
        names.any(|own| own == name)
    });
    found.map(|(service, spec)| (service.as_str(), spec))
}

/// Every mount a container has of others: by `volumes_from`, and of those whose processes it sees,
/// whose root is in `/proc`.
pub(super) fn lent<'a>(
    desired: &'a Desired,
    observed: &'a Observed,
    spec: &ContainerSpec,
) -> Vec<Lent<'a>> {
    let (mut lent, mut known, mut open) = (Vec::new(), BTreeSet::new(), lenders(spec));
    while let Some(lender) = open.pop() {
        if !known.insert((lender.name.clone(), lender.read_only)) {
            continue;
        }
        for other in called(desired, observed, &lender.name) {
            let borrowed = other.borrowed.into_iter().flat_map(|borrowed| borrowed.mounts.values());
            lent.extend(other.spec.mounts.values().chain(borrowed).map(|mount| Lent {
                at: lender.at.clone(),
                mount,
                read_only: mount.read_only || lender.read_only,
            }));
            open.extend(lenders(other.spec).into_iter().map(|next| Lender {
                at: lender.at.clone(),
                read_only: next.read_only || lender.read_only,
                ..next
            }));
        }
    }
    lent
}

fn lenders(spec: &ContainerSpec) -> Vec<Lender> {
    let from = spec.volumes_from.iter().enumerate().map(|(index, from)| Lender {
        at: format!("volumes_from.{index}"),
        name: from.container.clone(),
        read_only: from.read_only,
    });
    let seen = Shared::Processes.parent(spec).map(|name| Lender {
        at: "pid".to_owned(),
        name: name.to_owned(),
        read_only: false,
    });
    from.chain(seen).collect()
}

/// A namespace that containers share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shared {
    /// `network_mode`.
    Network,
    /// `pid`.
    Processes,
    /// `ipc`.
    Memory,
}

impl Shared {
    /// Whose a container has.
    fn parent(self, spec: &ContainerSpec) -> Option<&str> {
        match (self, &spec.network_mode, &spec.pid, &spec.ipc) {
            (Shared::Network, NetworkMode::Container(name), ..)
            | (Shared::Processes, _, PidSpace::Container(name), _)
            | (Shared::Memory, .., IpcSpace::Container(name)) => Some(name),
            _ => None,
        }
    }

    fn is_host(self, spec: &ContainerSpec) -> bool {
        match self {
            Shared::Network => spec.network_mode == NetworkMode::Host,
            Shared::Processes => spec.pid == PidSpace::Host,
            Shared::Memory => spec.ipc == IpcSpace::Host,
        }
    }

    /// Whether a container has that of the host, itself or through those it shares it with, and
    /// the names of those.
    pub(super) fn reach(self, scene: &Scene<'_>, spec: &ContainerSpec) -> (bool, BTreeSet<String>) {
        let mut host = self.is_host(spec);
        let mut names = BTreeSet::new();
        let mut open: Vec<String> = self.parent(spec).map(str::to_owned).into_iter().collect();
        while let Some(name) = open.pop() {
            for other in called(scene.desired, scene.observed, &name) {
                host |= self.is_host(other.spec);
                let next = self.parent(other.spec).filter(|next| !names.contains(*next));
                open.extend(next.map(str::to_owned));
            }
            names.insert(name);
        }
        (host, names)
    }
}

/// Whether a service has the user ids of the host, itself or because one has them whose namespaces
/// it shares.
pub(super) fn has_host_ids(stack: &Stack, service: &Service) -> bool {
    let (mut known, mut open) = (BTreeSet::new(), vec![service]);
    while let Some(service) = open.pop() {
        if service.userns_mode == UsernsMode::Host {
            return true;
        }
        let new = parents(service).filter(|(_, parent)| known.insert(*parent));
        open.extend(new.filter_map(|(_, parent)| stack.services.get(parent)));
    }
    false
}
