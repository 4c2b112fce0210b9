//! What takes room on the disk, and how much of it could be had back.
//!
//! All figures are bytes on the disk as `du` counts them: each file once, whatever its names.

use std::collections::{BTreeMap, BTreeSet};

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
    let Found { observed, images, usage } = found;
    let runs = |c: &&ObservedContainer| !is_stopped(c);
    let all = observed.containers.values();
    let logged = |c: &&ObservedContainer| usage_of(usage, c).logs > 0;
    let mounted: BTreeSet<&str> = all.clone().flat_map(|c| mounts(c, observed)).collect();
    let everything = Prune {
        containers: true,
        volumes: Some(Reach::Named),
        images: Some(Reach::Named),
        unfinished: true,
        ..Prune::default()
    };
    // A kind's own prune tells what it would free; the containers stay in that.
    let freed = |kind, prune: Prune| -> u64 {
        prunable(found, &prune).iter().filter(|t| t.kind == kind).map(|t| t.bytes).sum()
    };
    let only = |prune: Prune| Prune { containers: false, ..prune };
    let stopped = all.clone().filter(|c| is_stopped(c));
    let part = |path: &String| usage.parts.get(path).copied().unwrap_or(0);
    let needed: BTreeSet<&String> = images.values().flat_map(|image| &image.parts).collect();
    let users = users(&observed.containers);
    let orphans = orphans(images, usage);
    let begun: u64 = usage.unfinished.values().map(|unfinished| unfinished.bytes).sum();
    let mut rooms = vec![
        Room {
            kind: "Images",
            total: images.len(),
            active: images.keys().filter(|id| users.contains_key(id.as_str())).count(),
            bytes: needed.into_iter().map(part).sum(),
            reclaimable: freed(ThingKind::Image, only(everything.clone())),
        },
        Room {
            kind: "Containers",
            total: observed.containers.len(),
            active: all.clone().filter(runs).count(),
            bytes: all.clone().map(|c| usage_of(usage, c).files).sum(),
            reclaimable: stopped.clone().map(|c| usage_of(usage, c).files).sum(),
        },
        Room {
            kind: "Local Volumes",
            total: observed.volumes.len(),
            active: observed.volumes.keys().filter(|name| mounted.contains(name.as_str())).count(),
            bytes: observed.volumes.keys().filter_map(|name| usage.volumes.get(name)).sum(),
            reclaimable: freed(ThingKind::Volume, only(everything.clone())),
        },
        Room {
            kind: "Logs",
            total: all.clone().filter(logged).count(),
            active: all.clone().filter(logged).filter(runs).count(),
            bytes: all.map(|c| usage_of(usage, c).logs).sum(),
            reclaimable: stopped.map(|c| usage_of(usage, c).logs).sum(),
        },
        Room {
            kind: "Unfinished",
            total: usage.unfinished.len() + orphans.len(),
            active: usage.unfinished.values().filter(|u| u.busy).count(),
            bytes: begun + orphans.values().sum::<u64>(),
            reclaimable: freed(ThingKind::Unfinished, only(everything.clone())),
        },
    ];
    let told: u64 = rooms.iter().map(|room| room.bytes).sum();
    rooms.push(Room {
        kind: "Records",
        total: observed.networks.len(),
        active: observed.networks.len(),
        bytes: usage.total.saturating_sub(told),
        reclaimable: 0,
    });
    rooms
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
