//! What a plan rests on, by digests: the model, what the host has of it, and the steps themselves.
//!
//! A saved plan keeps its basis. Made again from the same words it is the same plan if its basis is
//! the same; else [`Basis::moved`] tells what is not as it was. Values themselves are not kept, so
//! nothing of an environment or a secret is in it; the digest is the caller's, and should be keyed.

use std::collections::BTreeMap;

use berth_schema::stack::Places;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::desired::{Desired, ServiceSpec};
use crate::diff;
use crate::observed::{ContainerState, Observed, ObservedContainer, ObservedNetwork};
use crate::plan::Plan;

mod neighbours;

use neighbours::Neighbours;

/// How many things are told that moved; more are counted.
const TOLD: usize = 10;
/// How many values of one service, network or volume are told one by one.
const VALUES: usize = 4;

/// Gives the digest of some bytes, as text.
pub type Digest<'a> = &'a dyn Fn(&[u8]) -> String;

/// What a plan rests on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Basis {
    /// What the files come to: digests by path, in the words of the files.
    model: BTreeMap<String, String>,
    /// Images by their names; an image that is not here is not in it.
    images: BTreeMap<String, String>,
    /// What the policy says: digests by row, service and object.
    grants: BTreeMap<String, String>,
    /// What the host has of the project.
    things: BTreeMap<String, Thing>,
    /// When the last run began that changed something of the project.
    last_run: Option<String>,
    /// The steps in their order.
    steps: Vec<StepBasis>,
    /// Digest of the plan as people see it, places in the files left out.
    plan: String,
}

/// A container, network or volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Thing {
    /// Digest of what it was made from, and of which one it is.
    made: String,
    /// What it does, in a word.
    state: String,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepBasis {
    /// What is done to what, in words.
    what: String,
    /// Digest of all of it, descriptions included.
    digest: String,
}

impl Basis {
    /// Of `plan`, which was made from `desired` and `observed`; the last run of the project began
    /// at `last_run`.
    pub fn of(
        (desired, observed, plan): (&Desired, &Observed, &Plan),
        last_run: Option<String>,
        digest: Digest<'_>,
    ) -> Basis {
        let grants = plan.grants.iter().map(|grant| {
            let whom = grant.service.as_deref().unwrap_or(&plan.project);
            let name = format!("{} of `{whom}` ({})", grant.id, grant.object);
            let mut said = without_places(json(grant));
            // Whether the host has given it already, its containers tell.
            said.as_object_mut().map(|fields| fields.remove("standing"));
            (name, digest_of(&said, digest))
        });
        let steps = plan.steps.iter().map(|step| StepBasis {
            what: format!("{} `{}`", step.action.verb().replace('_', " "), step.action.target()),
            digest: digest_of(&json(&step.action), digest),
        });
        let images = observed.images.iter().map(|(name, image)| (name.clone(), image.id.clone()));
        Basis {
            model: model(desired, digest),
            images: images.collect(),
            grants: grants.collect(),
            things: things((desired, observed, plan), digest),
            last_run,
            steps: steps.collect(),
            plan: digest_of(&without_places(json(plan)), digest),
        }
    }

    /// What is not as it was any more, one text each; nothing when `now` is the same. `places` are
    /// those of the files now.
    pub fn moved(&self, now: &Basis, places: &Places) -> Vec<String> {
        if self == now {
            return Vec::new();
        }
        let mut told = Vec::new();
        if let Some(at) = now.last_run.as_ref().filter(|_| self.last_run != now.last_run) {
            told.push(format!("another run changed something, at {at}"));
        }
        told.extend(self.model_moved(now, places));
        told.extend(self.images_moved(now));
        for name in keys(&self.grants, &now.grants) {
            if self.grants.get(name) != now.grants.get(name) {
                told.push(format!("the policy says something else of {name}"));
            }
        }
        told.extend(self.things_moved(now));
        if told.is_empty() {
            told.push(self.steps_moved(now));
        }
        if told.len() > TOLD {
            let more = told.len() - TOLD;
            told.truncate(TOLD);
            told.push(format!("and {more} more"));
        }
        told
    }

    /// Values that are others, those of a thing with many in one text.
    fn model_moved(&self, now: &Basis, places: &Places) -> Vec<String> {
        let moved = keys(&self.model, &now.model).into_iter();
        let moved = moved.filter(|path| self.model.get(*path) != now.model.get(*path));
        let mut by_thing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for path in moved {
            by_thing.entry(thing_of(path, places)).or_default().push(path);
        }
        let told = by_thing.into_iter().flat_map(|(thing, paths)| match paths.len() {
            0..=VALUES => {
                paths.into_iter().map(|path| self.value_moved(path, now, places)).collect()
            }
            many => {
                let below =
                    |path: &&str| format!("`{}`", path[thing.len()..].trim_start_matches('.'));
                let first: Vec<String> = paths[..VALUES - 1].iter().map(below).collect();
                let (at, more) = (at(thing, places), many - first.len());
                vec![format!(
                    "`{thing}` is not what it was in {}, and {more} more{at}",
                    first.join(", ")
                )]
            }
        });
        told.collect()
    }

    fn value_moved(&self, path: &str, now: &Basis, places: &Places) -> String {
        let at = at(path, places);
        match (self.model.contains_key(path), now.model.contains_key(path)) {
            (true, false) => format!("`{path}` is not in the files any more"),
            (false, true) => format!("`{path}` is new in the files{at}"),
            _ => format!("`{path}` is not what it was{at}"),
        }
    }

    fn images_moved(&self, now: &Basis) -> Vec<String> {
        let told = keys(&self.images, &now.images).into_iter().filter_map(|name| {
            match (self.images.get(name), now.images.get(name)) {
                (Some(before), Some(after)) if before == after => None,
                (Some(_), Some(_)) => Some(format!("image `{name}` is another one now")),
                (Some(_), None) => Some(format!("image `{name}` is gone")),
                (None, _) => Some(format!("image `{name}` has come")),
            }
        });
        told.collect()
    }

    fn things_moved(&self, now: &Basis) -> Vec<String> {
        let told = keys(&self.things, &now.things).into_iter().filter_map(|name| {
            match (self.things.get(name), now.things.get(name)) {
                (Some(_), None) => Some(format!("{name} is gone")),
                (None, _) => Some(format!("{name} has come")),
                (Some(before), Some(after)) if before.made != after.made => {
                    Some(format!("{name} was made anew or changed"))
                }
                (Some(before), Some(after)) if before.state != after.state => {
                    Some(format!("{name} was {} and is {}", before.state, after.state))
                }
                _ => None,
            }
        });
        told.collect()
    }

    /// The plan is another one, though nothing it rests on moved: the host around it did, or
    /// another version of berth plans otherwise.
    fn steps_moved(&self, now: &Basis) -> String {
        let pairs = self.steps.iter().zip(&now.steps).enumerate();
        let differs = pairs.into_iter().find(|(_, (before, after))| before != after);
        match differs {
            Some((at, (before, after))) if before.what != after.what => {
                format!("step {at} was to {} and is to {} now", before.what, after.what)
            }
            Some((at, (step, _))) => {
                format!("step {at}, {}, comes out otherwise on this host now", step.what)
            }
            None if self.steps.len() != now.steps.len() => {
                format!("it had {} steps and has {} now", self.steps.len(), now.steps.len())
            }
            None => "what it says beside its steps is something else now".to_owned(),
        }
    }
}

/// The names in either, in order.
fn keys<'a, T>(before: &'a BTreeMap<String, T>, now: &'a BTreeMap<String, T>) -> Vec<&'a str> {
    let mut all: Vec<&str> = before.keys().chain(now.keys()).map(String::as_str).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The service, network or volume that a path of the model is of. Their names may have dots in them.
fn thing_of<'a>(path: &'a str, places: &Places) -> &'a str {
    let ends: Vec<usize> = path.match_indices('.').map(|(at, _)| at).skip(1).collect();
    let known = ends.iter().find(|at| places.has(&path[..**at]));
    known.or(ends.first()).map_or(path, |at| &path[..*at])
}

/// ` (compose.yaml:3:5)`, if it is known.
fn at(path: &str, places: &Places) -> String {
    place(path, places).map_or(String::new(), |place| format!(" ({place})"))
}

/// Where the value at a path of the model is written.
fn place(path: &str, places: &Places) -> Option<berth_schema::stack::Place> {
    // Names of services may have dots in them.
    let ends = path.match_indices('.').map(|(at, _)| at).skip(1);
    let mut roots = ends.map(|at| path.split_at(at)).filter(|(root, _)| places.has(root));
    let (root, rest) = roots.next()?;
    diff::place(root, rest.trim_start_matches('.'), places)
}

/// The model by its values, in the words of the files.
fn model(desired: &Desired, digest: Digest<'_>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (name, service) in &desired.services {
        flatten(&format!("services.{name}"), &service_view(service), digest, &mut all);
    }
    for (name, network) in &desired.networks {
        flatten(&format!("networks.{name}"), &diff::network_view(network), digest, &mut all);
    }
    for (name, volume) in &desired.volumes {
        flatten(&format!("volumes.{name}"), &json(volume), digest, &mut all);
    }
    let around = [
        ("name", json(&desired.project)),
        ("project directory", json(&desired.working_dir)),
        ("files", json(&desired.files)),
        ("profiles", json(&desired.inactive)),
    ];
    for (name, value) in around {
        all.insert(name.to_owned(), digest_of(&value, digest));
    }
    all
}

/// A service as one map: what its containers are made from, and what else decides about them.
fn service_view(service: &ServiceSpec) -> Value {
    let mut all = json(service);
    let view = diff::container_view(&service.container);
    if let (Some(fields), Value::Object(container)) = (all.as_object_mut(), view) {
        fields.remove("container");
        // It decides what `up` follows, not what it does.
        fields.remove("attach");
        fields.extend(container);
    }
    all
}

/// One digest for each value that is no map; an empty map counts as one.
fn flatten(path: &str, value: &Value, digest: Digest<'_>, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                flatten(&format!("{path}.{name}"), value, digest, into);
            }
        }
        // What is not there and what is nothing are the same.
        Value::Null => {}
        other => {
            into.insert(path.to_owned(), digest_of(other, digest));
        }
    }
}

/// What the host has of the project, of the networks and volumes that the files name, and of
/// containers of others that the plan has to do with.
fn things(
    (desired, observed, plan): (&Desired, &Observed, &Plan),
    digest: Digest<'_>,
) -> BTreeMap<String, Thing> {
    let project = &desired.project;
    let mut all = BTreeMap::new();
    let neighbours = Neighbours::of(desired, plan);
    for (name, seen) in &observed.containers {
        if seen.record.project == *project || neighbours.has(&seen.record) {
            let made = digest_of(&json(&(&seen.id, seen.created_at, &seen.record)), digest);
            let state = container_state(seen).to_owned();
            all.insert(format!("container `{name}`"), Thing { made, state });
        }
    }
    for (name, seen) in &observed.networks {
        if seen.record.project == *project || desired.networks.contains_key(name) {
            let (made, state) = (digest_of(&json(&seen.record), digest), network_state(seen));
            all.insert(format!("network `{name}`"), Thing { made, state: state.to_owned() });
        }
    }
    for (name, seen) in &observed.volumes {
        if seen.record.project == *project || desired.volumes.contains_key(name) {
            let made = digest_of(&json(&seen.record), digest);
            all.insert(format!("volume `{name}`"), Thing { made, state: "there".to_owned() });
        }
    }
    all
}

/// What a container does. One that is started again and again is running: a plan that minds the
/// difference has other steps.
fn container_state(seen: &ObservedContainer) -> &'static str {
    match seen.state {
        _ if seen.updating => "half changed",
        _ if seen.content_moved => "with another content of a config or secret",
        _ if !seen.swapped.is_empty() => "with a file mounted that is not the one at its path",
        _ if !seen.moved_limits.is_empty() => "with other limits than it was given",
        _ if seen.left_behind => "in a network or memory that has ended",
        _ if seen.unplugged.is_some() => "without its link to a network",
        ContainerState::Broken => "half made",
        ContainerState::Running { .. } if !seen.monitored => "without its monitor",
        ContainerState::Running { .. } if seen.paused => "paused",
        ContainerState::Running { .. } | ContainerState::Restarting { .. } => "running",
        ContainerState::Created => "created",
        ContainerState::Exited { .. } if seen.held => "stopped by the user",
        ContainerState::Exited { .. } => "ended",
    }
}

fn network_state(seen: &ObservedNetwork) -> &'static str {
    match (seen.bridge_up, seen.rules_present) {
        (true, true) => "whole",
        (false, _) => "without its link",
        (true, false) => "without its rules",
    }
}

/// A line that moved in its file is no change.
fn without_places(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.remove("place");
            for below in fields.values_mut() {
                *below = without_places(below.take());
            }
        }
        Value::Array(items) => {
            for below in items {
                *below = without_places(below.take());
            }
        }
        _ => {}
    }
    value
}

fn json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

fn digest_of(value: &Value, digest: Digest<'_>) -> String {
    digest(value.to_string().as_bytes())
}
