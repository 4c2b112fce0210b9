//! Who runs in a network or a memory that its owner does not have any more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;

use berth_planner::desired::{ContainerSpec, IpcSpace, NetworkMode};
use berth_planner::observed::{ContainerState, ObservedContainer};

/// Notes those. Only processes of containers that share something are looked at.
pub(super) fn compare(containers: &mut BTreeMap<String, ObservedContainer>) {
    let left: BTreeSet<String> = containers
        .values()
        .filter(|sharer| {
            shared(&sharer.record.spec).any(|(owner, space)| {
                let pids = containers.get(owner).and_then(pid).zip(pid(sharer));
                pids.is_some_and(|(owner, sharer)| differ(owner, sharer, space))
            })
        })
        .map(|sharer| sharer.record.name.clone())
        .collect();
    for name in left {
        if let Some(sharer) = containers.get_mut(&name) {
            sharer.left_behind = true;
        }
    }
}

/// With whom it shares which namespace. The processes in one of processes end with its owner's.
fn shared(spec: &ContainerSpec) -> impl Iterator<Item = (&str, &'static str)> {
    let network = match &spec.network_mode {
        NetworkMode::Container(owner) => Some((owner.as_str(), "net")),
        NetworkMode::Bridge | NetworkMode::None | NetworkMode::Host => None,
    };
    let memory = match &spec.ipc {
        IpcSpace::Container(owner) => Some((owner.as_str(), "ipc")),
        IpcSpace::Own | IpcSpace::Shareable | IpcSpace::None | IpcSpace::Host => None,
    };
    network.into_iter().chain(memory)
}

fn pid(container: &ObservedContainer) -> Option<i32> {
    match container.state {
        ContainerState::Running { pid, .. } => Some(pid),
        _ => None,
    }
}

/// Whether both are there and in different namespaces (namespaces(7)).
fn differ(one: i32, other: i32, space: &str) -> bool {
    let of = |pid| fs::metadata(format!("/proc/{pid}/ns/{space}")).ok();
    let both = of(one).zip(of(other));
    both.is_some_and(|(one, other)| (one.dev(), one.ino()) != (other.dev(), other.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_one_namespace_are_together_and_who_is_gone_is_in_none() {
        let own = std::process::id() as i32;
        assert!(!differ(own, own, "net"));
        assert!(!differ(own, i32::MAX, "net"));
    }
}
