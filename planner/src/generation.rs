//! Generations: what a project was made as, or tried as, so that it can be told and gone back to.
//!
//! A run that comes to what the newest one is already makes none: what became of it is noted there. One
//! that is gone back from is marked. Nothing else of them changes. Beside the record of each are its
//! model, as a Compose file, and the files that the model names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::bound::BoundFiles;
use crate::desired::{ContainerSpec, Desired, ServiceSpec};
use crate::lock::Pins;
use crate::observed::{ContainerRecord, Observed, ObservedContainer};
use crate::plan::Plan;
use crate::pull;
use crate::resolve::digest;

mod choice;
mod rejected;

pub use choice::{NoTarget, base, is_applied, numbered, surplus, target, ways};
pub use rejected::{Rejected, Rest, made, rejected, rest};

/// How many generations of a project are kept, unless its file says so.
const KEPT: usize = 50;
/// Of how many good ones the images are kept then, the one that is applied among them.
const IMAGES_OF: usize = 3;
/// Things that the line about a change names.
const NAMED: usize = 4;

/// A generation of a project.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// Its project.
    pub project: String,
    /// Its number, from 1.
    pub number: u64,
    /// When it was applied, RFC 3339.
    pub at: String,
    /// Who did it.
    pub by: String,
    /// The words that did it.
    pub command: String,
    /// The version of berth.
    pub version: String,
    /// When the last run began that came to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// What became of it.
    pub standing: Standing,
    /// Why it failed, one text each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<String>,
    /// It was a way back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
    /// Services that were taken back without anybody's asking, as the new one of them did not become good.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub rejected: BTreeSet<String>,
    /// How many are kept with their images, as the file says (`x-berth.history`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<usize>,
    /// What was done, in a line.
    pub change: String,
    /// What it was made of.
    pub made_of: MadeOf,
}

/// What became of a generation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The run that applied it came to its end well.
    #[default]
    Stable,
    /// It did not.
    Failed,
    /// It was good, and was gone back from.
    RolledBack,
}

impl Standing {
    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Standing::Stable => "stable",
            Standing::Failed => "failed",
            Standing::RolledBack => "rolled back",
        }
    }
}

/// From which generation a rollback led, and to which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// The one that was left.
    pub of: u64,
    /// The one whose content this one has.
    pub to: u64,
}

/// What a generation was made of, besides the text of its model and the contents of its files.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MadeOf {
    /// Directory of the project.
    pub working_dir: PathBuf,
    /// The Compose files.
    pub files: Vec<PathBuf>,
    /// Digest of the text of the model.
    pub model: String,
    /// Services of the model.
    pub services: BTreeMap<String, Part>,
    /// Images that services mount, or that their `pre_start` runs, by the names in the model.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub other_images: BTreeMap<String, String>,
    /// What the lock said.
    #[serde(default, skip_serializing_if = "Pins::is_empty")]
    pub pins: Pins,
    /// Digests of the files that are kept with it: those of configs and profiles.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub contents: BTreeMap<PathBuf, String>,
    /// Variables that configs are made from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
}

/// A service of a generation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its image as the file had it.
    pub image: String,
    /// The id of that; `None` when it had no container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What registries call it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<String>,
    /// Digests of its secrets by where they are in it; the secrets themselves are not kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// Digest of the description of its containers, without the contents of files that they mount: these
    /// are not kept with it.
    pub spec: String,
    /// Digest of those contents.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bound: String,
    /// Digest of how they are replaced, and of what has to be before they start.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub manner: String,
}

impl Part {
    /// The image that has to be here for it: that of the host's own programs is made as it is needed.
    pub fn needed(&self) -> Option<&str> {
        self.id.as_deref().filter(|_| !pull::is_host(&self.image))
    }
}

impl MadeOf {
    /// Of these services of `desired`, whose containers are among `containers`.
    pub fn of(
        desired: &Desired,
        containers: &BTreeMap<String, ObservedContainer>,
        covered: &BTreeSet<&str>,
    ) -> MadeOf {
        let mut made = MadeOf {
            working_dir: desired.working_dir.clone(),
            files: desired.files.clone(),
            contents: desired.sources.iter().map(|(p, of)| (p.clone(), digest(&of.0))).collect(),
            ..MadeOf::default()
        };
        for (name, service) in desired.services.iter().filter(|(n, _)| covered.contains(n.as_str()))
        {
            let secrets = service.container.files.iter().filter(|file| file.secret);
            let part = Part {
                image: service.container.image.clone(),
                secrets: secrets.map(|file| (file.target.clone(), file.digest.clone())).collect(),
                spec: spec_digest(&service.container),
                bound: bound_digest(&service.container),
                manner: manner_digest(service),
                ..Part::default()
            };
            made.services.insert(name.clone(), part);
        }
        let own = containers.values().map(|container| &container.record);
        for record in own.filter(|record| record.project == desired.project && !record.oneoff) {
            let Some(part) = made.services.get_mut(&record.service) else { continue };
            if part.image == record.spec.image && !record.image_id.is_empty() {
                part.id = Some(record.image_id.clone());
            }
            let others = record.borrowed.images.iter();
            made.other_images.extend(others.map(|(name, id)| (name.clone(), id.clone())));
        }
        made
    }

    /// The same beside what was before and was not touched: services that are not `covered`.
    #[must_use]
    pub fn beside(mut self, before: &MadeOf, covered: &BTreeSet<&str>) -> MadeOf {
        let stays = before.services.iter().filter(|(name, _)| !covered.contains(name.as_str()));
        let stays: Vec<_> = stays.map(|(name, part)| (name.clone(), part.clone())).collect();
        self.services.extend(stays);
        keep(&mut self.other_images, &before.other_images);
        keep(&mut self.contents, &before.contents);
        keep(&mut self.variables, &before.variables);
        self.pins.keep(&before.pins);
        self
    }

    /// Whether a rollback to either would come to the same.
    pub fn is_like(&self, other: &MadeOf) -> bool {
        let same = |(name, part): (&String, &Part)| {
            let other = other.services.get(name);
            other.is_some_and(|other| (&part.id, &part.secrets) == (&other.id, &other.secrets))
        };
        self.model == other.model
            && self.working_dir == other.working_dir
            && self.contents == other.contents
            && self.variables == other.variables
            && self.pins == other.pins
            && self.other_images == other.other_images
            && self.services.len() == other.services.len()
            && self.services.iter().all(same)
    }

    /// Ids of all images that have to be here to go back to it.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        let others = self.other_images.iter().filter(|(name, _)| !pull::is_host(name));
        let others = others.map(|(_, id)| id.as_str());
        self.services.values().filter_map(Part::needed).chain(others)
    }
}

/// What is not there yet.
fn keep<K: Ord + Clone, V: Clone>(into: &mut BTreeMap<K, V>, before: &BTreeMap<K, V>) {
    for (key, value) in before {
        into.entry(key.clone()).or_insert_with(|| value.clone());
    }
}

/// Digest of a text or a file, `sha256:…`.
pub fn digest_of(bytes: &[u8]) -> String {
    digest(bytes)
}

/// Digest of the description of a container, without the contents of files that it mounts.
fn spec_digest(spec: &ContainerSpec) -> String {
    let of = |spec| digest(serde_json::to_string(spec).unwrap_or_default().as_bytes());
    match spec.bound_files.is_empty() {
        true => of(spec),
        false => of(&ContainerSpec { bound_files: BoundFiles::default(), ..spec.clone() }),
    }
}

/// Digest of the contents of files that a container mounts; empty where none counts.
fn bound_digest(spec: &ContainerSpec) -> String {
    match spec.bound_files.is_empty() {
        true => String::new(),
        false => digest(serde_json::to_string(&spec.bound_files).unwrap_or_default().as_bytes()),
    }
}

/// Digest of what decides besides that description whether they become good. An order that was chosen
/// for a run is no part of it.
fn manner_digest(service: &ServiceSpec) -> String {
    let rollout = service.order.as_ref().map_or(&service.rollout, |choice| &choice.of_file);
    let manner = (rollout, &service.deadline, &service.depends_on);
    digest(serde_json::to_string(&manner).unwrap_or_default().as_bytes())
}

/// Of the services that were to be made as described, those whose containers are so: one that was
/// kept as it was, whatever the file says, is not.
pub fn applied<'a>(
    desired: &'a Desired,
    containers: &BTreeMap<String, ObservedContainer>,
    covered: &BTreeSet<&'a str>,
) -> BTreeSet<&'a str> {
    let differs = |record: &ContainerRecord| {
        record.project == desired.project
            && !record.oneoff
            && desired.services.get(&record.service).is_some_and(|s| s.container != record.spec)
    };
    let differing = containers.values().filter(|container| differs(&container.record));
    let differing: BTreeSet<&str> = differing.map(|c| c.record.service.as_str()).collect();
    covered.iter().copied().filter(|name| !differing.contains(name)).collect()
}

/// The containers that a plan leaves, as far as a generation has anything of them.
pub fn left(
    plan: &Plan,
    containers: &BTreeMap<String, ObservedContainer>,
) -> BTreeMap<String, ObservedContainer> {
    let mut left = containers.clone();
    for step in &plan.steps {
        match &step.action {
            Action::CreateContainer(record) | Action::UpdateContainer(record) => {
                let made = ObservedContainer::made(ContainerRecord::clone(record));
                left.insert(record.name.clone(), made);
            }
            Action::RemoveContainer { name } => drop(left.remove(name)),
            _ => {}
        }
    }
    left
}

/// What a plan does, in a line.
pub fn change(plan: &Plan) -> String {
    let lines = plan.lines();
    let words = lines.iter().map(|line| format!("{} {}", line.kind.word(), line.subject));
    let mut text = words.take(NAMED).collect::<Vec<_>>().join(", ");
    if lines.len() > NAMED {
        text += &format!(" and {} more", lines.len() - NAMED);
    }
    text
}

/// Whose way back needs an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeper {
    /// The project.
    pub project: String,
    /// The newest of its generations that needs it.
    pub generation: u64,
}

/// Images that ways back need, by id, with one keeper for each project.
pub type Kept = BTreeMap<String, Vec<Keeper>>;

/// Who needs an image for a way back. What is down needs none: only a project with containers of
/// which `is_there` is true.
pub fn keeper<'a>(
    kept: &'a Kept,
    image: &str,
    observed: &Observed,
    is_there: &dyn Fn(&str) -> bool,
) -> Option<&'a Keeper> {
    let has_containers = |project: &str| {
        let mut containers = observed.containers.values();
        containers.any(|c| c.record.project == project && is_there(&c.record.name))
    };
    kept.get(image)?.iter().find(|keeper| has_containers(&keeper.project))
}

/// Adds the images that ways back of one project need. `all` are by number.
pub fn keep_images(kept: &mut Kept, all: &[Generation]) {
    for generation in ways(all) {
        for id in generation.made_of.images() {
            let Generation { project, number, .. } = generation;
            let keepers = kept.entry(id.to_owned()).or_default();
            if keepers.iter().all(|keeper| keeper.project != *project) {
                keepers.push(Keeper { project: project.clone(), generation: *number });
            }
        }
    }
}

#[cfg(test)]
mod tests;
