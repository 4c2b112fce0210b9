//! What was applied beside what is wanted, for each thing that a plan changes.

use std::collections::{BTreeMap, BTreeSet};

use berth_schema::stack::Places;
use serde_json::Value;

use super::hunks::hunks;
use super::rows::{Source, rows};
use crate::action::Action;
use crate::cause::Cause;
use crate::diff::{DEPENDS_ON, container_view, network_view, root, view};
use crate::observed::{ContainerRecord, Observed};
use crate::plan::{Plan, Step};
use crate::text::Kind;

/// A unified diff of the descriptions, in text like YAML: of every network, volume and service that
/// is made, changed or removed. Containers of a service that differ alike are one. What the plan
/// hides is hidden here, what differs has its place in the file, and contents of configs are told
/// by their digests.
///
/// What is made anew for another reason than its description has a line without a hunk.
pub fn diff(plan: &Plan, observed: &Observed, places: &Places) -> String {
    let mut text = String::new();
    for thing in things(plan, observed, places) {
        text.push_str(&thing.text(places));
    }
    text
}

/// Things that become the same from the same.
struct Thing {
    /// How each is called.
    subjects: Vec<String>,
    /// What happens to each.
    word: &'static str,
    /// Why, besides its description.
    why: Vec<String>,
    /// The path in the file.
    root: Option<String>,
    before: Option<Value>,
    after: Option<Value>,
}

impl Thing {
    fn is_like(&self, other: &Thing) -> bool {
        self.root.is_some()
            && self.root == other.root
            && (self.word, &self.why) == (other.word, &other.why)
            && (&self.before, &self.after) == (&other.before, &other.after)
    }

    fn text(&self, places: &Places) -> String {
        let mut text = format!("{} {}", self.word, self.subjects.join(", "));
        if !self.why.is_empty() {
            text += &format!(": {}", self.why.join("; "));
        }
        text.push('\n');
        let source = Source { root: self.root.as_deref(), places };
        let hunks = hunks(&rows(self.before.as_ref(), self.after.as_ref(), source));
        if !hunks.is_empty() {
            let name = self.root.as_deref().or(self.subjects.first().map(String::as_str));
            let side = |value: &Option<Value>, as_what: &str| match (value, name) {
                (Some(_), Some(name)) => format!("{name} ({as_what})"),
                _ => "/dev/null".to_owned(),
            };
            text += &format!("--- {}\n", side(&self.before, "applied"));
            text += &format!("+++ {}\n", side(&self.after, "wanted"));
            text += &hunks;
        }
        text
    }
}

fn things(plan: &Plan, observed: &Observed, places: &Places) -> Vec<Thing> {
    let mut things: Vec<Thing> = Vec::new();
    let mut by_root: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for steps in plan.things() {
        let Some(thing) = thing(plan, &steps, observed, places) else { continue };
        let alike = thing.root.as_ref().and_then(|root| by_root.get(root));
        let alike = alike.into_iter().flatten().find(|at| things[**at].is_like(&thing)).copied();
        match alike {
            Some(at) => things[at].subjects.extend(thing.subjects),
            None => {
                if let Some(root) = &thing.root {
                    by_root.entry(root.clone()).or_default().push(things.len());
                }
                things.push(thing);
            }
        }
    }
    things
}

/// What all steps on one thing make of it; `None` when they touch no description, or when it is shown
/// with what takes over from it.
fn thing(plan: &Plan, steps: &[&Step], observed: &Observed, places: &Places) -> Option<Thing> {
    let line = plan.line(steps)?;
    let going = steps.iter().any(|step| matches!(step.action, Action::RemoveContainer { .. }));
    let heir = |step: &Step| predecessor(step) == Some(steps[0].action.target().as_str());
    if going && plan.steps.iter().any(heir) {
        return None;
    }
    let before_name = steps.iter().find_map(|step| predecessor(step)).map(str::to_owned);
    let (mut before, mut after, mut path) = (None, None, None);
    let mut touched = false;
    for step in steps {
        let target = step.action.target();
        let network = || observed.networks.get(&target).map(|have| network_view(&have.record.spec));
        let volume = || observed.volumes.get(&target).map(|have| view(&have.record.spec));
        let served = before_name.as_ref().unwrap_or(&target);
        let container = || observed.containers.get(served).map(|have| &have.record);
        match &step.action {
            Action::CreateNetwork(record) | Action::RepairNetwork(record) => {
                (before, after) = (network(), Some(network_view(&record.spec)));
                path = root("networks", &target, places);
            }
            Action::RemoveNetwork { .. } => before = network(),
            Action::CreateVolume(record) => {
                (before, after) = (volume(), Some(view(&record.spec)));
                path = root("volumes", &target, places);
            }
            Action::RemoveVolume { .. } => before = volume(),
            Action::CreateContainer(record) | Action::UpdateContainer(record) => {
                before = container().map(described);
                (after, path) = (Some(described(record)), of_service(record));
            }
            Action::RemoveContainer { .. } => {
                let have = container();
                before = before.or(have.map(described));
                path = path.or(have.and_then(of_service));
            }
            _ => continue,
        }
        touched = true;
    }
    let why = steps.iter().flat_map(|step| &step.causes).filter(|cause| !cause.is_of_description());
    let why: BTreeSet<String> = why.map(ToString::to_string).collect();
    let kind = if before_name.is_some() { Kind::Replace } else { line.kind };
    let (subjects, word) = (vec![line.subject], kind.word());
    let why = why.into_iter().collect();
    touched.then_some(Thing { subjects, word, why, root: path, before, after })
}

/// A container with what it waits for, which stands beside its description.
fn described(record: &ContainerRecord) -> Value {
    let mut whole = container_view(&record.spec);
    if let (Value::Object(fields), false) = (&mut whole, record.depends_on.is_empty()) {
        fields.insert(DEPENDS_ON.to_owned(), view(&record.depends_on));
    }
    whole
}

/// The container that a new one takes over from.
fn predecessor(step: &Step) -> Option<&str> {
    let made = matches!(step.action, Action::CreateContainer(_));
    let mut causes = step.causes.iter().filter(|_| made);
    causes.find_map(|cause| match cause {
        Cause::TakesOver { from } => Some(from.as_str()),
        _ => None,
    })
}

/// Where the description of a container is in the file; that of a step of `pre_start` is of several
/// places.
fn of_service(record: &ContainerRecord) -> Option<String> {
    record.init.is_none().then(|| format!("services.{}", record.service))
}
