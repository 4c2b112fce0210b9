//! In which order containers are replaced where the file does not say.

use std::collections::BTreeMap;
use std::str::FromStr;

use berth_schema::stack::{self, Condition, Device, RestartPolicy};
use serde::{Deserialize, Serialize};

use super::{Manner, Rollout, obstacle};
use crate::desired::{ContainerSpec, Desired, ServiceSpec, SourceSpec};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// The new one starts first where nothing stands in the way.
    Auto,
    /// The new one starts before the old one stops.
    StartFirst,
    /// The old one stops before the new one starts.
    StopFirst,
}

impl FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Order, String> {
        match text {
            "auto" => Ok(Order::Auto),
            "start-first" => Ok(Order::StartFirst),
            "stop-first" => Ok(Order::StopFirst),
            _ => Err(format!("`{text}` is no order: write `auto`, `start-first` or `stop-first`")),
        }
    }
}

/// An order that somebody chose in place of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// How it came to that.
    pub chosen: Chosen,
    /// How containers are replaced as the file has it.
    pub of_file: Option<Rollout>,
}

/// How a service came to its order, if not by the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chosen {
    /// Somebody said so.
    Asked,
    /// Nothing stands in the way of a start first.
    Free,
    /// This does.
    Blocked(String),
}

/// Gives the order to each service whose file says none; `scale` are numbers of containers that count
/// instead of the file's.
pub fn choose(desired: &mut Desired, order: Order, scale: &BTreeMap<String, u32>) {
    let says = |service: &ServiceSpec| service.rollout.is_some_and(|rollout| rollout.asked);
    let open = desired.services.iter().filter(|(_, service)| !says(service));
    let open: BTreeMap<String, Chosen> = open
        .map(|(name, service)| {
            let replicas = scale.get(name).copied().unwrap_or(service.replicas);
            let chosen = match order {
                Order::StartFirst | Order::StopFirst => Chosen::Asked,
                Order::Auto => match in_the_way(desired, (name, service), replicas) {
                    Some(why) => Chosen::Blocked(why),
                    None => Chosen::Free,
                },
            };
            (name.clone(), chosen)
        })
        .collect();
    for (name, chosen) in open {
        let Some(service) = desired.services.get_mut(&name) else { continue };
        let of_file = service.rollout;
        let start_first = order == Order::StartFirst || chosen == Chosen::Free;
        if start_first && service.rollout.is_none() {
            service.rollout = Some(Rollout::read(&stack::Rollout::default()));
        }
        for rollout in [&mut service.rollout, &mut service.rollback].into_iter().flatten() {
            if !rollout.asked {
                rollout.start_first = start_first;
            }
        }
        service.order = Some(Choice { chosen, of_file });
    }
}

/// Why a new container of a service had better not run beside the old one, in words that follow a colon.
fn in_the_way(
    desired: &Desired,
    (name, service): (&str, &ServiceSpec),
    replicas: u32,
) -> Option<String> {
    let spec = &service.container;
    let waits = |other: &ServiceSpec| {
        let on = other.depends_on.get(name);
        on.is_some_and(|on| on.condition == Condition::ServiceCompletedSuccessfully)
    };
    if let Some((other, _)) = desired.services.iter().find(|(_, other)| waits(other)) {
        return Some(format!("`{other}` waits for its end"));
    }
    let lasts = matches!(spec.restart, RestartPolicy::Always | RestartPolicy::UnlessStopped);
    let probed = spec.healthcheck.as_ref().is_some_and(|check| !check.disable);
    if !lasts && spec.ports.is_empty() && !probed && spec.ready.is_none() {
        return Some("it may end by itself: nothing restarts, checks or publishes it".to_owned());
    }
    if let Some(device) = spec.devices.iter().find_map(exclusive) {
        return Some(format!("both would have device `{device}`"));
    }
    // More than one replica writes to it already.
    let written = (replicas < 2).then(|| written(spec)).flatten();
    let written = written.map(|what| format!("both would write to {what}"));
    obstacle(desired, (name, service), Manner::Beside).or(written)
}

/// A device that may be one user's at a time, which only those are known not to be that many use at once.
fn exclusive(device: &Device) -> Option<&str> {
    const SHARED: [&str; 6] =
        ["/dev/dri", "/dev/fuse", "/dev/kvm", "/dev/net/tun", "/dev/nvidia", "/dev/null"];
    let Device::Node { source, .. } = device else { return None };
    let source = source.to_str()?;
    (!SHARED.iter().any(|shared| source.starts_with(shared))).then_some(source)
}

/// What of the host a container may write to.
fn written(spec: &ContainerSpec) -> Option<String> {
    let own = spec.mounts.values().filter(|mount| !mount.read_only);
    let mut own = own.filter_map(|mount| match &mount.source {
        SourceSpec::Volume { name, .. } => Some(format!("volume `{name}`")),
        // A socket is no data.
        SourceSpec::Bind { path, .. } if path.extension().is_some_and(|end| end == "sock") => None,
        SourceSpec::Bind { path, .. } => Some(format!("`{}`", path.display())),
        // One has them alone, and keeps them.
        SourceSpec::Anonymous { .. } | SourceSpec::Image { .. } => None,
    });
    let mut others = spec.volumes_from.iter().filter(|from| !from.read_only);
    own.next().or_else(|| Some(format!("the volumes of `{}`", others.next()?.container)))
}
