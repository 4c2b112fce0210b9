//! A replacement in which the new container starts first: what it is made of, and what it needs.
//!
//! A replica has two names, its usual one and [`other_name`]; a new container takes the one that is
//! free, and keeps it. No name is given up to another container: groups of the kernel cannot be renamed
//! (cgroup v2), and a name that always means the same container leaves nothing to finish after a
//! crash. On its networks it has the usual name as well.
//!
//! ```text
//! create new ─▶ start beside ─▶ await stable ─▶ take over ─▶ drain old ─▶ stop old ─▶ remove old
//! ```
//!
//! A container that runs beside has no ports of the host and answers to no name; it is seen on the
//! host ([`ObservedContainer::beside`]) which of the two that is. So from wherever a run broke off, the
//! next plan knows who serves, and what is left to do.

use std::collections::BTreeMap;
use std::time::Duration;

use berth_schema::stack::{RolloutOrder, Service};
use serde::{Deserialize, Serialize};

use crate::backing::Backing;
use crate::desired::{ContainerSpec, Desired, NetworkMode, ServiceSpec};
use crate::down::named_volumes;
use crate::observed::{ContainerState, Health, ObservedContainer};

/// What is added to the usual name of a replica.
const OTHER: &str = "-b";
/// How long one that nothing checks has to run before it counts as good.
const UNCHECKED: Duration = Duration::from_secs(5);
/// The longest wait for connections to end.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a container has to end unless it says so itself.
const GRACE: Duration = Duration::from_secs(10);

/// How the containers of a service are replaced (`deploy.update_config` of the Compose
/// Specification).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// The new one starts before the old one stops.
    pub start_first: bool,
    /// The file says the order.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asked: bool,
}

impl Rollout {
    /// What the file says of a service.
    pub(crate) fn of(service: &Service) -> Rollout {
        let update = service.deploy.as_ref().and_then(|deploy| deploy.update.as_ref());
        let order = update.and_then(|update| update.order);
        let start_first = order == Some(RolloutOrder::StartFirst);
        Rollout { start_first, asked: order.is_some() }
    }

    /// Whether it is as if the file said nothing.
    pub fn is_default(&self) -> bool {
        *self == Rollout::default()
    }
}

/// The second name of a replica.
pub(crate) fn other_name(usual: &str) -> String {
    format!("{usual}{OTHER}")
}

/// The usual name of the replica that a container of this name is.
pub(crate) fn usual_name<'a>(name: &'a str, project: &str, service: &str, number: u32) -> &'a str {
    match name.strip_suffix(OTHER) {
        Some(usual) if usual == format!("{project}-{service}-{number}") => usual,
        _ => name,
    }
}

/// Of the containers of one replica the one that serves or would, by its
/// [rank](ObservedContainer::rank), and the other.
pub(crate) fn pair<'a>(
    one: Option<&'a ObservedContainer>,
    two: Option<&'a ObservedContainer>,
) -> (Option<&'a ObservedContainer>, Option<&'a ObservedContainer>) {
    let (Some(one), Some(two)) = (one, two) else { return (one.or(two), None) };
    match one.rank() > two.rank() {
        true => (Some(one), Some(two)),
        false => (Some(two), Some(one)),
    }
}

/// Of these containers those that are to serve: of two of one replica the one, see [`pair`].
pub(crate) fn serving<'a>(all: &[&'a ObservedContainer]) -> Vec<&'a ObservedContainer> {
    let mut replicas: BTreeMap<&str, &ObservedContainer> = BTreeMap::new();
    for &container in all {
        let known = replicas.entry(container.record.usual_name()).or_insert(container);
        *known = pair(Some(*known), Some(container)).0.unwrap_or(container);
    }
    let serves = |container: &&&ObservedContainer| {
        let of_replica = replicas.get(container.record.usual_name());
        of_replica.is_some_and(|serving| serving.record.name == container.record.name)
    };
    all.iter().filter(serves).copied().collect()
}

/// Whether one that was made to take over may still do so.
pub(crate) fn is_promising(new: &ObservedContainer) -> bool {
    match new.state {
        ContainerState::Created => true,
        ContainerState::Running { .. } => {
            let well = new.restarts == 0 && new.health != Health::Unhealthy;
            new.beside && !new.paused && !new.hook_failed && well
        }
        ContainerState::Restarting { .. }
        | ContainerState::Exited { .. }
        | ContainerState::Broken => false,
    }
}

/// Why two containers of a service can never run at once, in words that follow a colon.
pub(crate) fn obstacle(desired: &Desired, name: &str, service: &ServiceSpec) -> Option<String> {
    let spec = &service.container;
    if let Some(name) = &service.container_name {
        return Some(format!("there can be only one of the name `{name}`"));
    }
    if spec.network_mode == NetworkMode::Host {
        return Some("both would listen on the same ports of the host's network".to_owned());
    }
    if let Some(parent) = spec.parents().first() {
        return Some(format!("both would be in a namespace of `{parent}`"));
    }
    for (network, on) in &spec.networks {
        let fixed = on.ipv4_address.is_some() || on.ipv6_address.is_some();
        if fixed || on.mac_address.is_some() || !on.link_local_ips.is_empty() {
            return Some(format!("both would have the same address on network `{network}`"));
        }
    }
    let memory = |volume: &&str| {
        let volume = desired.volumes.get(*volume).filter(|volume| !volume.external);
        let backing = volume.map(|volume| Backing::of(&volume.driver_opts));
        matches!(backing, Some(Ok(Backing::Memory { .. })))
    };
    if let Some(volume) = named_volumes(spec).find(memory) {
        return Some(format!("both would need volume `{volume}`, which is memory of one of them"));
    }
    let follower = follower(desired, name)?;
    Some(format!("`{follower}` shares what one container of it has"))
}

/// The service that names a container of this one, which then has to keep its usual name.
pub(crate) fn follower<'a>(desired: &'a Desired, service: &str) -> Option<&'a str> {
    let usual = format!("{}-{service}-", desired.project);
    let is_of = |name: &str| name.strip_prefix(&usual).is_some_and(|n| n.parse::<u32>().is_ok());
    let names = |spec: &ContainerSpec| {
        let volumes = spec.volumes_from.iter().map(|from| from.container.as_str());
        spec.parents().into_iter().chain(volumes).any(is_of)
    };
    let found = desired.services.iter().find(|(_, other)| names(&other.container));
    found.map(|(name, _)| name.as_str())
}

/// How long a container has to run well before it takes over: one that is checked, once that says it
/// is well, and one that is not.
pub(crate) fn stable_for() -> (Duration, Duration) {
    (Duration::ZERO, UNCHECKED)
}

/// How long connections to a container may take to their end before it is stopped.
pub(crate) fn patience(spec: &ContainerSpec) -> Duration {
    spec.stop_grace_period.unwrap_or(GRACE).min(DRAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_second_name_of_a_replica_is_another_name_of_it() {
        assert_eq!(usual_name(&other_name("shop-web-1"), "shop", "web", 1), "shop-web-1");
        assert_eq!(usual_name("shop-web-1", "shop", "web", 1), "shop-web-1");
        assert_eq!(usual_name("web-b", "shop", "web", 1), "web-b");
    }
}
