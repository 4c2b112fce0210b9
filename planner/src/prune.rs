//! What nobody needs: what `prune` takes of each kind, how much room that gives, and the plan.
//!
//! A named thing is taken only when it was asked for, data of a volume with a name never but by
//! `volume prune --all`. What a container needs is kept, unless that container goes too, and so are the
//! images that a way back needs.

use std::collections::{BTreeMap, BTreeSet};

use crate::action::Action;
use crate::cause::Cause;
use crate::down::{leftovers, volumes_of};
use crate::generation::{Keeper, Kept, keeper};
use crate::images::{StoredImage, users};
use crate::observed::{Observed, ObservedContainer};
use crate::plan::{Draft, Plan, Slot};
use crate::room::{Found, holders, is_stopped, orphans};

/// What is asked to go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prune {
    /// Containers that do not run.
    pub containers: bool,
    /// Networks without a container.
    pub networks: bool,
    /// Volumes without a container.
    pub volumes: Option<Reach>,
    /// Images without a container.
    pub images: Option<Reach>,
    /// What was begun and not finished, and what a crash left.
    pub unfinished: bool,
    /// Only what was made before, in seconds since the epoch.
    pub until: Option<i64>,
    /// Only what has (or has not) these labels; all of them must hold.
    pub labels: Vec<LabelFilter>,
}

/// How far a prune goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Anonymous volumes, images without a tag.
    Nameless,
    /// Those with a name too.
    Named,
}

/// A condition on labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelFilter {
    /// The label.
    pub key: String,
    /// Its value; `None` for any.
    pub value: Option<String>,
    /// Whether it must be there, or must not.
    pub wanted: bool,
}

/// A kind of thing, in the order in which they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ThingKind {
    /// A container with what it wrote and logged.
    Container,
    /// A network.
    Network,
    /// A volume with its data.
    Volume,
    /// An image with all its names.
    Image,
    /// What was begun and not finished.
    Unfinished,
}

/// Something that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thing {
    /// What it is.
    pub kind: ThingKind,
    /// Its name on the host; the id of an image.
    pub name: String,
    /// The project it belongs to.
    pub project: Option<String>,
    /// Names of an image.
    pub names: Vec<String>,
    /// Bytes on the disk that go with it; what others need too is not counted.
    pub bytes: u64,
}

impl Thing {
    fn new(kind: ThingKind, name: &str, project: Option<&String>, bytes: u64) -> Thing {
        let name = name.to_owned();
        Thing { kind, name, project: project.cloned(), names: Vec::new(), bytes }
    }

    /// Whether it is the same thing, whatever it takes by now.
    fn is(&self, other: &Thing) -> bool {
        (self.kind, &self.name, &self.names) == (other.kind, &other.name, &other.names)
    }
}

/// What goes, by kind and name. The bytes of all of them are what the disk gets back.
pub fn prunable(found: &Found<'_>, prune: &Prune) -> Vec<Thing> {
    prunable_with(found, prune, &|_| true)
}

/// The same where of the containers only these may go.
fn prunable_with(found: &Found<'_>, prune: &Prune, may_go: &dyn Fn(&str) -> bool) -> Vec<Thing> {
    let observed = found.observed;
    let all = observed.containers.values().filter(|_| prune.containers);
    let all = all.filter(|c| may_go(&c.record.name));
    let going: Vec<&ObservedContainer> =
        all.filter(|c| container_goes(c, observed, prune)).collect();
    let gone: BTreeSet<&str> = going.iter().map(|c| c.record.name.as_str()).collect();
    let staying = |name: &str| !gone.contains(name);
    let mut things: Vec<Thing> = going
        .iter()
        .map(|c| {
            let usage = found.usage.containers.get(&c.record.name).copied().unwrap_or_default();
            let bytes = usage.files + usage.logs;
            Thing::new(ThingKind::Container, &c.record.name, Some(&c.record.project), bytes)
        })
        .collect();
    if prune.networks {
        things.extend(networks(found, prune, &staying));
    }
    if let Some(reach) = prune.volumes {
        things.extend(volumes(found, prune, reach, &staying));
    }
    if let Some(reach) = prune.images {
        things.extend(images(found, prune, reach, &staying));
    }
    if prune.unfinished && prune.until.is_none() && prune.labels.is_empty() {
        things.extend(unfinished(found, prune));
    }
    things
}

/// The plan that takes away those of `chosen` that still nobody needs; what has come since they
/// were shown stays.
pub fn removal(chosen: &[Thing], prune: &Prune, found: &Found<'_>) -> Plan {
    let observed = found.observed;
    let was_shown = |name: &str| {
        chosen.iter().any(|shown| shown.kind == ThingKind::Container && shown.name == name)
    };
    let things = prunable_with(found, prune, &was_shown);
    let things = things.iter().filter(|thing| chosen.iter().any(|shown| shown.is(thing)));
    let mut draft = Draft::default();
    let mut containers: BTreeMap<&str, Slot> = BTreeMap::new();
    let mut last_image: Option<Slot> = None;
    for thing in things {
        let name = thing.name.clone();
        let action = match thing.kind {
            ThingKind::Container => Action::RemoveContainer { name },
            ThingKind::Network => Action::RemoveNetwork { name },
            ThingKind::Volume => Action::RemoveVolume { name },
            ThingKind::Image => Action::RemoveImage { id: name, names: thing.names.clone() },
            ThingKind::Unfinished => {
                if prune.containers
                    && let Some(leftovers) = leftovers(observed, &mut draft)
                {
                    last_image.iter().for_each(|before| draft.after_tried(leftovers, *before));
                }
                Action::SweepStore
            }
        };
        let slot = draft.add(action, vec![Cause::Unused]);
        for (name, before) in &containers {
            if observed.containers.get(*name).is_some_and(|c| needs(c, thing, found)) {
                draft.after(slot, *before);
            }
        }
        match thing.kind {
            ThingKind::Container => drop(containers.insert(&thing.name, slot)),
            // The store is open to one at a time.
            ThingKind::Image | ThingKind::Unfinished => {
                last_image.iter().for_each(|before| draft.after(slot, *before));
                last_image = Some(slot);
            }
            ThingKind::Network | ThingKind::Volume => {}
        }
    }
    draft.finish("")
}

/// Whether a thing is there for a container, or for the way back of its project.
fn needs(container: &ObservedContainer, thing: &Thing, found: &Found<'_>) -> bool {
    match thing.kind {
        ThingKind::Network => container.record.spec.networks.contains_key(&thing.name),
        ThingKind::Volume => mounts(container, found.observed).any(|volume| volume == thing.name),
        ThingKind::Image => {
            let record = &container.record;
            let mut keepers = found.kept.get(&thing.name).into_iter().flatten();
            record.image_id == thing.name
                || record.borrowed.images.values().any(|id| *id == thing.name)
                || keepers.any(|keeper| keeper.project == record.project)
        }
        ThingKind::Container | ThingKind::Unfinished => false,
    }
}

fn container_goes(container: &ObservedContainer, observed: &Observed, prune: &Prune) -> bool {
    let record = &container.record;
    let mut labels = with_project(&record.spec.labels, &record.project);
    labels.insert(SERVICE_LABEL.into(), record.service.clone());
    let shares = |other: &ObservedContainer| {
        other.record.spec.parents().contains(record.name.as_str()) && !is_stopped(other)
    };
    is_stopped(container)
        && fits(prune, Some(container.created_at), &labels)
        && !observed.containers.values().any(shares)
}

fn networks<'a>(found: &Found<'a>, prune: &Prune, staying: &dyn Fn(&str) -> bool) -> Vec<Thing> {
    let containers = found.observed.containers.values();
    let containers = containers.filter(|c| staying(&c.record.name));
    let used: BTreeSet<&String> = containers.flat_map(|c| c.record.spec.networks.keys()).collect();
    let all = found.observed.networks.iter();
    let free = all.filter(|(name, network)| {
        let made = found.usage.networks.get(*name).copied();
        let (spec, project) = (&network.record.spec, &network.record.project);
        let labels = with_project(&spec.labels, project);
        !used.contains(name) && !spec.external && fits(prune, made, &labels)
    });
    free.map(|(name, n)| Thing::new(ThingKind::Network, name, Some(&n.record.project), 0)).collect()
}

fn volumes(
    found: &Found<'_>,
    prune: &Prune,
    reach: Reach,
    staying: &dyn Fn(&str) -> bool,
) -> Vec<Thing> {
    let observed = found.observed;
    let containers = observed.containers.values().filter(|c| staying(&c.record.name));
    let used: BTreeSet<&str> = containers.flat_map(|c| mounts(c, observed)).collect();
    let free = observed.volumes.iter().filter(|(name, volume)| {
        let record = &volume.record;
        let reached = reach == Reach::Named || record.container.is_some();
        let fits = labels_fit(prune, &with_project(&record.spec.labels, &record.project));
        reached && fits && !record.spec.external && !used.contains(name.as_str())
    });
    free.map(|(name, volume)| {
        let bytes = found.usage.volumes.get(name).copied().unwrap_or(0);
        Thing::new(ThingKind::Volume, name, Some(&volume.record.project), bytes)
    })
    .collect()
}

fn images(
    found: &Found<'_>,
    prune: &Prune,
    reach: Reach,
    staying: &dyn Fn(&str) -> bool,
) -> Vec<Thing> {
    let users = users(&found.observed.containers);
    let used = |id: &str| {
        let mut users = users.get(id).into_iter().flatten();
        users.any(|container| staying(&container.record.name))
    };
    let free = found.images.values().filter(|image| {
        let reached = reach == Reach::Named || image.tags.is_empty();
        let needed = || used(&image.id) || is_kept(found, &image.id, staying);
        reached && !needed() && fits(prune, image.created, &image.labels)
    });
    let mut holders = holders(found.images);
    free.map(|image| {
        let bytes = freed_with(&image.parts, &mut holders, &found.usage.parts);
        let thing = Thing::new(ThingKind::Image, &image.id, None, bytes);
        Thing { names: image.names(), ..thing }
    })
    .collect()
}

fn is_kept(found: &Found<'_>, id: &str, staying: &dyn Fn(&str) -> bool) -> bool {
    keeper(found.kept, id, found.observed, staying).is_some()
}

/// Images that would go if no way back needed them, each with who does.
pub fn spared<'a>(found: &Found<'a>, prune: &Prune) -> Vec<(&'a StoredImage, &'a Keeper)> {
    let nobody = Kept::new();
    let open = prunable(&Found { kept: &nobody, ..*found }, prune);
    let going = |name: &str| {
        open.iter().any(|thing| thing.kind == ThingKind::Container && thing.name == name)
    };
    let images = open.iter().filter(|thing| thing.kind == ThingKind::Image);
    let spared = images.filter_map(|thing| {
        let keeper = keeper(found.kept, &thing.name, found.observed, &|name| !going(name))?;
        Some((found.images.get(&thing.name)?, keeper))
    });
    spared.collect()
}

/// Bytes of the parts that nobody holds any more once this image has let go.
fn freed_with(
    parts: &[String],
    holders: &mut BTreeMap<&str, usize>,
    bytes: &BTreeMap<String, u64>,
) -> u64 {
    let mut freed = 0;
    for part in parts.iter().collect::<BTreeSet<_>>() {
        if let Some(left) = holders.get_mut(part.as_str()) {
            *left -= 1;
            freed += if *left == 0 { bytes.get(part).copied().unwrap_or(0) } else { 0 };
        }
    }
    freed
}

/// Nothing while another run is at work there: what it makes looks unfinished too. What a crash
/// left outside of the image store goes with a prune of containers.
fn unfinished(found: &Found<'_>, prune: &Prune) -> Option<Thing> {
    let begun = found.usage.unfinished.iter();
    let begun = begun.filter(|(path, _)| prune.containers || path.starts_with("images/"));
    let orphans = orphans(found.images, found.usage);
    let leftovers = prune.containers && !found.observed.leftovers.is_empty();
    let nothing = begun.clone().next().is_none() && orphans.is_empty() && !leftovers;
    if nothing || begun.clone().any(|(_, unfinished)| unfinished.busy) {
        return None;
    }
    let begun: u64 = begun.map(|(_, unfinished)| unfinished.bytes).sum();
    let bytes = begun + orphans.values().sum::<u64>();
    Some(Thing::new(ThingKind::Unfinished, UNFINISHED, None, bytes))
}

/// Name of all that is unfinished, for people.
pub const UNFINISHED: &str = "unfinished work";

/// Volumes of a container, with and without a name.
pub fn mounts<'a>(
    container: &'a ObservedContainer,
    observed: &'a Observed,
) -> impl Iterator<Item = &'a str> {
    let name = container.record.name.as_str();
    let own = observed.volumes.iter();
    let own = own.filter(move |(_, v)| v.record.container.as_deref() == Some(name));
    volumes_of(&container.record).chain(own.map(|(name, _)| name.as_str()))
}

const PROJECT_LABEL: &str = "com.docker.compose.project";
const SERVICE_LABEL: &str = "com.docker.compose.service";

/// The labels with the one that Compose tools put on everything of a project.
fn with_project(labels: &BTreeMap<String, String>, project: &str) -> BTreeMap<String, String> {
    let mut labels = labels.clone();
    labels.insert(PROJECT_LABEL.into(), project.to_owned());
    labels
}

fn fits(prune: &Prune, made: Option<i64>, labels: &BTreeMap<String, String>) -> bool {
    let old = prune.until.is_none_or(|until| made.is_some_and(|made| made <= until));
    old && labels_fit(prune, labels)
}

fn labels_fit(prune: &Prune, labels: &BTreeMap<String, String>) -> bool {
    prune.labels.iter().all(|filter| filter.fits(labels))
}

impl LabelFilter {
    /// Reads `KEY` or `KEY=VALUE`.
    pub fn new(text: &str, wanted: bool) -> LabelFilter {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (text, None),
        };
        LabelFilter { key: key.to_owned(), value, wanted }
    }

    /// Whether labels are as it says.
    pub fn fits(&self, labels: &BTreeMap<String, String>) -> bool {
        let there = match (&self.value, labels.get(&self.key)) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(wanted), Some(value)) => wanted == value,
        };
        there == self.wanted
    }
}

#[cfg(test)]
pub(crate) mod tests;
