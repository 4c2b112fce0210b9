//! A replacement in which the new container starts first: what it is made of, and what it needs.
//!
//! A replica has two names, its usual one and [`other_name`]; a new container takes the one that is
//! free, and keeps it. No name is given up to another container: groups of the kernel cannot be renamed
//! (cgroup v2), and a name that always means the same container leaves nothing to finish after a
//! crash. On its networks it has the usual name as well.
//!
//! ```text
//! create new ─▶ start beside ─▶ await stable ─▶ take over ─▶ drain old ─▶ stop old ─▶ remove old
//!                                                   └─▶ watch ─▶ admit the next ones
//! ```
//!
//! Where the file wants a rollback, the old one is drained when the watch is over.
//!
//! Replicas are replaced in groups. A group is admitted when those before it are good, but for as
//! many as may fail, and what was replaced goes when the rollout is over.
//!
//! A container that runs beside has no ports of the host and answers to no name; it is seen on the
//! host ([`ObservedContainer::beside`]) which of the two that is. So from wherever a run broke off, the
//! next plan knows who serves, and what is left to do.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use berth_schema::stack::{self, FailureAction, RolloutOrder, Service};
use serde::{Deserialize, Serialize};

use crate::backing::Backing;
use crate::desired::{ContainerSpec, Desired, NetworkMode, NetworkSpec, ServiceSpec};
use crate::down::named_volumes;
use crate::observed::{ContainerState, Health, ObservedContainer};

mod choice;

pub use choice::{Choice, Chosen, Order, choose};

/// What is added to the usual name of a replica.
const OTHER: &str = "-b";
/// How long one that nothing checks has to run before it counts as good.
const UNCHECKED: Duration = Duration::from_secs(5);
/// The longest wait for connections to end.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a container has to end unless it says so itself.
const GRACE: Duration = Duration::from_secs(10);
/// What [`Rollout::tolerance`] is a part of.
const MILLION: u32 = 1_000_000;

/// How the containers of a service are replaced (`deploy.update_config` of the Compose
/// Specification). Where the file has none, they are replaced all at once, and nobody looks whether
/// they are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// The new one starts before the old one stops.
    pub start_first: bool,
    /// The file says the order.
    pub asked: bool,
    /// How many at a time; `None` is all of them.
    pub parallelism: Option<NonZeroU32>,
    /// Time between two groups.
    pub delay: Duration,
    /// How long each is looked at when it serves; `None` where the file does not say.
    pub monitor: Option<Duration>,
    /// What happens when more fail than may.
    pub on_failure: FailureAction,
    /// How many of a million may fail.
    pub tolerance: u32,
}

impl Rollout {
    /// What the file says of a service.
    pub(crate) fn of(service: &Service) -> Option<Rollout> {
        service.deploy.as_ref()?.update.as_ref().map(Rollout::read)
    }

    /// What the file says of the way back; normally it is like the way there, and ends where that
    /// fails.
    pub(crate) fn back(service: &Service) -> Option<Rollout> {
        let deploy = service.deploy.as_ref()?;
        let update = deploy.update.as_ref()?;
        let rollback = Rollout::read(deploy.rollback.as_ref().unwrap_or(update));
        let on_failure = match rollback.on_failure {
            FailureAction::Continue => FailureAction::Continue,
            FailureAction::Pause | FailureAction::Rollback => FailureAction::Pause,
        };
        Some(Rollout { on_failure, ..rollback })
    }

    fn read(config: &stack::Rollout) -> Rollout {
        let ratio = config.max_failure_ratio.unwrap_or(0.0).clamp(0.0, 1.0);
        Rollout {
            start_first: config.order == Some(RolloutOrder::StartFirst),
            asked: config.order.is_some(),
            parallelism: NonZeroU32::new(config.parallelism.unwrap_or(1)),
            delay: config.delay.unwrap_or_default(),
            monitor: config.monitor,
            on_failure: config.on_failure.unwrap_or(FailureAction::Pause),
            tolerance: (ratio * f64::from(MILLION)).round() as u32,
        }
    }

    /// How many of so many replicas may fail without an end to the rollout.
    pub(crate) fn may_fail(&self, replicas: usize) -> u32 {
        let replicas = u32::try_from(replicas).unwrap_or(u32::MAX);
        let part = u64::from(replicas) * u64::from(self.tolerance) / u64::from(MILLION);
        match self.on_failure {
            FailureAction::Continue => replicas,
            FailureAction::Pause | FailureAction::Rollback => part as u32,
        }
    }

    /// So many replicas in groups of those that are replaced at once.
    pub(crate) fn groups<'a, T>(&self, replicas: &'a [T]) -> std::slice::Chunks<'a, T> {
        let all = replicas.len().max(1);
        replicas.chunks(self.parallelism.map_or(all, |many| many.get() as usize))
    }

    /// How long a new container has to run well before it counts as good: one that is checked, once
    /// that says it is well, and one that is not. One that starts beside another is looked at
    /// again when it serves.
    pub(crate) fn stable_for(&self) -> (Duration, Duration) {
        let monitor = self.monitor.unwrap_or(UNCHECKED);
        match self.start_first {
            true => (Duration::ZERO, monitor.min(UNCHECKED)),
            false => (self.monitor.unwrap_or_default(), monitor),
        }
    }

    /// How long one that has taken over is looked at; `None` is not at all.
    pub(crate) fn watched_for(&self) -> Option<Duration> {
        self.monitor.filter(|monitor| self.start_first && !monitor.is_zero())
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

/// Whether one that was made to take over from `old`, or was there before it, may do so now. What was
/// there before may however it ran.
pub(crate) fn is_promising(new: &ObservedContainer, old: &ObservedContainer) -> bool {
    let was_before = new.record.succession < old.record.succession;
    match new.state {
        ContainerState::Created => true,
        ContainerState::Exited { .. } => was_before,
        ContainerState::Running { .. } => {
            new.beside && (was_before && new.served || !new.paused && !has_failed(new))
        }
        ContainerState::Restarting { .. } => was_before && new.served,
        ContainerState::Broken => false,
    }
}

/// Whether a container has not run well in this life.
pub(crate) fn has_failed(have: &ObservedContainer) -> bool {
    let ended = matches!(have.state, ContainerState::Restarting { .. });
    ended || have.restarts > 0 || have.health == Health::Unhealthy || have.hook_failed
}

/// How a container makes room for the one that replaces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It goes before the other is made.
    InPlace,
    /// It stops before the other starts, and is kept until the rollout is over.
    Kept,
    /// It stops when the other serves, and is kept as well.
    Beside,
}

impl Manner {
    /// What the file asks for.
    pub(crate) fn of(service: &ServiceSpec) -> Manner {
        match service.rollout {
            Some(rollout) if rollout.start_first => Manner::Beside,
            Some(Rollout { on_failure: FailureAction::Rollback, .. }) => Manner::Kept,
            Some(_) if service.goes_back => Manner::Kept,
            Some(_) | None => Manner::InPlace,
        }
    }

    /// The same for one that does not run, so that nobody has to wait for another.
    pub(crate) fn of_stopped(self, service: &ServiceSpec) -> Manner {
        let rolls_back = |rollout: Rollout| rollout.on_failure == FailureAction::Rollback;
        match self {
            Manner::Beside if service.goes_back => Manner::Kept,
            Manner::Beside if service.rollout.is_some_and(rolls_back) => Manner::Kept,
            Manner::Beside | Manner::InPlace => Manner::InPlace,
            Manner::Kept => Manner::Kept,
        }
    }
}

/// Why two containers of a service can never be there, or run, at once, in words that follow a colon.
pub(crate) fn obstacle(
    desired: &Desired,
    (name, service): (&str, &ServiceSpec),
    manner: Manner,
) -> Option<String> {
    let spec = &service.container;
    if let Some(name) = &service.container_name {
        return Some(format!("there can be only one of the name `{name}`"));
    }
    if spec.network_mode == NetworkMode::Host && manner == Manner::Beside {
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
        // The old one has left it when the new one starts, but not when what prepares that does.
        let together = manner == Manner::Beside || !service.pre_start.is_empty();
        let for_one = desired.networks.get(network).is_some_and(NetworkSpec::is_for_one);
        if for_one && together {
            return Some(format!("both would have the link of network `{network}` alone"));
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
