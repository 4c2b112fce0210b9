//! What takes room on the disk, and how much of it could be had back.
//!
//! All figures are bytes on the disk as `du` counts them: each file once, whatever its names.

use std::collections::{BTreeMap, BTreeSet};

use crate::generation::{Kept, keeper};
use crate::images::{Images, users};
use crate::observed::{ContainerState, Observed, ObservedContainer};
use crate::prune::{Prune, Reach, ThingKind, mounts, prunable};

/// What each thing of the state takes on the disk; measured by the runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// All of the state, so that nothing is left out.
    pub total: u64,
    /// Parts of the image store by their path in it.
    pub parts: BTreeMap<String, u64>,
    /// Containers by name.
    pub containers: BTreeMap<String, ContainerUsage>,
    /// Volumes by name.
    pub volumes: BTreeMap<String, u64>,
    /// What was begun and not finished, and what is half removed, by path in the state.
    pub unfinished: BTreeMap<String, Unfinished>,
    /// When each network was made, in seconds since the epoch.
    pub networks: BTreeMap<String, i64>,
}

/// Something begun and not finished.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// What it takes.
    pub bytes: u64,
    /// Another run is just at it.
    pub busy: bool,
}

/// What a container takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContainerUsage {
    /// What it wrote, its record and its files.
    pub files: u64,
    /// Its logs.
    pub logs: u64,
}

/// The host as it is looked at for room.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// The host.
    pub observed: &'a Observed,
    /// The image store.
    pub images: &'a Images,
    /// What everything takes.
    pub usage: &'a Usage,
    /// Images that a way back needs.
    pub kept: &'a Kept,
}

/// A kind of things and what it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// In the words of `docker system df`.
    pub kind: &'static str,
    /// How many there are.
    pub total: usize,
    /// How many are in use.
    pub active: usize,
    /// Bytes they take together; what they share counts once.
    pub bytes: u64,
    /// Bytes that `prune` would free.
    pub reclaimable: u64,
}

/// What an image takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImageRoom {
    /// What other images need too.
    pub shared: u64,
    /// What goes with it.
    pub unique: u64,
    /// Containers made from it.
    pub containers: usize,
}

/// Every kind with what it takes. The bytes of all rows together are [`Usage::total`].
pub fn rooms(found: &Found<'_>) -> Vec<Room> {
    let mut rooms = vec![images(found), containers(found), volumes(found), logs(found)];
    rooms.push(unfinished(found));
    let told: u64 = rooms.iter().map(|room| room.bytes).sum();
    let networks = found.observed.networks.len();
    rooms.push(Room {
        kind: "Records",
        total: networks,
        active: networks,
        bytes: found.usage.total.saturating_sub(told),
        reclaimable: 0,
    });
    rooms
}

fn images(found: &Found<'_>) -> Room {
    let Found { observed, images, usage, kept } = found;
    let users = users(&observed.containers);
    let needed_later = |id: &str| keeper(kept, id, observed, &|_| true).is_some();
    let needed = holders(images).into_keys();
    let prune = Prune { images: Some(Reach::Named), ..Prune::default() };
    Room {
        kind: "Images",
        total: images.len(),
        active: images
            .keys()
            .filter(|id| users.contains_key(id.as_str()) || needed_later(id))
            .count(),
        bytes: needed.filter_map(|part| usage.parts.get(part)).sum(),
        reclaimable: freed(found, &prune),
    }
}

fn containers(found: &Found<'_>) -> Room {
    let all = found.observed.containers.values();
    let files = |c: &ObservedContainer| usage_of(found.usage, c).files;
    let going = going(found);
    Room {
        kind: "Containers",
        total: all.len(),
        active: all.clone().filter(|c| !is_stopped(c)).count(),
        bytes: all.clone().map(files).sum(),
        reclaimable: all.filter(|c| going.contains(&c.record.name)).map(files).sum(),
    }
}

fn volumes(found: &Found<'_>) -> Room {
    let Found { observed, usage, .. } = found;
    let containers = observed.containers.values();
    let mounted: BTreeSet<&str> = containers.flat_map(|c| mounts(c, observed)).collect();
    let names = observed.volumes.keys();
    let prune = Prune { volumes: Some(Reach::Named), ..Prune::default() };
    Room {
        kind: "Local Volumes",
        total: names.len(),
        active: names.clone().filter(|name| mounted.contains(name.as_str())).count(),
        bytes: names.filter_map(|name| usage.volumes.get(name)).sum(),
        reclaimable: freed(found, &prune),
    }
}

fn logs(found: &Found<'_>) -> Room {
    let logs = |c: &&ObservedContainer| usage_of(found.usage, c).logs;
    let all = found.observed.containers.values().filter(|c| logs(c) > 0);
    let stopped = all.clone().filter(|c| is_stopped(c)).count();
    let going = going(found);
    Room {
        kind: "Logs",
        total: all.clone().count(),
        active: all.clone().count() - stopped,
        bytes: all.clone().map(|c| logs(&c)).sum(),
        reclaimable: all.filter(|c| going.contains(&c.record.name)).map(|c| logs(&c)).sum(),
    }
}

/// Names of the containers that a prune takes: of those that have stopped, one may be kept for
/// another that shares its network.
fn going(found: &Found<'_>) -> BTreeSet<String> {
    let prune = Prune { containers: true, ..Prune::default() };
    prunable(found, &prune).into_iter().map(|thing| thing.name).collect()
}

fn unfinished(found: &Found<'_>) -> Room {
    let orphans = orphans(found.images, found.usage);
    let begun = found.usage.unfinished.values();
    // Only a prune of everything takes what is not in the image store.
    let prune = Prune { containers: true, unfinished: true, ..Prune::default() };
    let freed = prunable(found, &prune);
    let freed = freed.iter().filter(|thing| thing.kind == ThingKind::Unfinished);
    Room {
        kind: "Unfinished",
        total: begun.len() + orphans.len(),
        active: begun.clone().filter(|unfinished| unfinished.busy).count(),
        bytes: begun.map(|unfinished| unfinished.bytes).sum::<u64>()
            + orphans.values().sum::<u64>(),
        reclaimable: freed.map(|thing| thing.bytes).sum(),
    }
}

/// What a prune would give back.
fn freed(found: &Found<'_>, prune: &Prune) -> u64 {
    prunable(found, prune).iter().map(|thing| thing.bytes).sum()
}

/// What each image takes, by id.
pub fn image_rooms<'a>(found: &Found<'a>) -> BTreeMap<&'a str, ImageRoom> {
    let holders = holders(found.images);
    let users = users(&found.observed.containers);
    let room = |(id, image): (&'a String, &'a crate::images::StoredImage)| {
        let mut room = ImageRoom {
            containers: users.get(id.as_str()).map_or(0, Vec::len),
            ..ImageRoom::default()
        };
        for part in image.parts.iter().collect::<BTreeSet<_>>() {
            let bytes = found.usage.parts.get(part).copied().unwrap_or(0);
            match holders.get(part.as_str()) {
                Some(1) => room.unique += bytes,
                _ => room.shared += bytes,
            }
        }
        (id.as_str(), room)
    };
    found.images.iter().map(room).collect()
}

/// Parts of the store that no image has.
pub(crate) fn orphans<'a>(images: &Images, usage: &'a Usage) -> BTreeMap<&'a str, u64> {
    let needed = holders(images);
    let parts = usage.parts.iter().map(|(part, bytes)| (part.as_str(), *bytes));
    parts.filter(|(part, _)| !needed.contains_key(part)).collect()
}

/// How many images have each part.
pub(crate) fn holders(images: &Images) -> BTreeMap<&str, usize> {
    let mut holders = BTreeMap::new();
    for image in images.values() {
        for part in image.parts.iter().collect::<BTreeSet<_>>() {
            *holders.entry(part.as_str()).or_default() += 1;
        }
    }
    holders
}

/// Whether a container neither runs nor is about to.
pub fn is_stopped(container: &ObservedContainer) -> bool {
    use ContainerState::{Broken, Created, Exited};
    matches!(container.state, Created | Exited { .. } | Broken) && !container.monitored
}

fn usage_of(usage: &Usage, container: &ObservedContainer) -> ContainerUsage {
    usage.containers.get(&container.record.name).copied().unwrap_or_default()
}
