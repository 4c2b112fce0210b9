//! All that a plan has about one service, each cause followed to where it comes from.

use std::collections::{BTreeMap, BTreeSet};

use berth_schema::stack::Places;

use super::{ops, staying};
use crate::cause::{Cause, FieldChange, Sort};
use crate::class::Class;
use crate::desired::{ContainerSpec, Desired};
use crate::down::named_volumes;
use crate::observed::Observed;
use crate::plan::{Plan, Step};
use crate::policy::Grant;
use crate::text::{self, Kind};

/// A plan and what it was made from.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// What the files ask for; `None` when no file was read.
    pub desired: Option<&'a Desired>,
    /// What the host had.
    pub observed: &'a Observed,
    /// Where the files say it.
    pub places: &'a Places,
}

/// What happens to a service and why: what it follows is told down to where that comes from, and
/// fields that differ with their places and with how they take effect (`meta`, `live` or `replace`). What
/// stays is told with what was compared.
pub fn why(service: &str, scene: &Scene) -> String {
    let teller = Teller::of(scene);
    let mut lines = Vec::new();
    let mut told = BTreeSet::new();
    teller.service(service, 0, &mut told, &mut lines);
    teller.used(service, &mut told, &mut lines);
    teller.steps(service, &mut lines);
    lines.extend(staying::lines(service, scene, &teller.names(service)));
    let grants = scene.plan.grants.iter();
    let own: Vec<Grant> =
        grants.filter(|grant| grant.service.as_deref() == Some(service)).cloned().collect();
    lines.extend(text::grants(&own));
    lines.join("\n") + "\n"
}

/// A kind of thing, and its name: `("network", "shop_back")`.
type Key = (&'static str, String);

struct Teller<'a> {
    plan: &'a Plan,
    desired: Option<&'a Desired>,
    things: BTreeMap<Key, Vec<&'a Step>>,
    /// Containers of each service, those of the plan and those of the host.
    services: BTreeMap<String, BTreeSet<String>>,
}

impl<'a> Teller<'a> {
    fn of(scene: &Scene<'a>) -> Teller<'a> {
        let mut things = BTreeMap::new();
        let mut services: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for have in scene.observed.containers.values() {
            let record = &have.record;
            if record.project == scene.plan.project && !record.oneoff {
                services.entry(record.service.clone()).or_default().insert(record.name.clone());
            }
        }
        for steps in scene.plan.things() {
            for step in &steps {
                if let Some(record) = step.action.record() {
                    let names = services.entry(record.service.clone()).or_default();
                    names.insert(record.name.clone());
                }
            }
            if let Some(first) = steps.first() {
                things.insert(key(first), steps);
            }
        }
        Teller { plan: scene.plan, desired: scene.desired, things, services }
    }

    /// Containers of a service that something happens to.
    fn names(&self, service: &str) -> BTreeSet<&str> {
        let names = self.services.get(service).into_iter().flatten();
        names.filter(|name| self.container(name).is_some()).map(String::as_str).collect()
    }

    fn container(&self, name: &str) -> Option<&[&'a Step]> {
        self.things.get(&("container", name.to_owned())).map(Vec::as_slice)
    }

    /// What happens to the containers of a service; those with the same story have one.
    fn service(
        &self,
        service: &str,
        depth: usize,
        told: &mut BTreeSet<Key>,
        lines: &mut Vec<String>,
    ) {
        let mut stories: Vec<(Story, Vec<String>)> = Vec::new();
        for name in self.names(service) {
            if !told.insert(("container", name.to_owned())) {
                continue;
            }
            let Some(story) = self.container(name).and_then(|steps| self.story(steps)) else {
                continue;
            };
            let subject = story.subject.clone();
            match stories.iter_mut().find(|(other, _)| other.is_like(&story)) {
                Some((_, subjects)) => subjects.push(subject),
                None => stories.push((story, vec![subject])),
            }
        }
        for (story, subjects) in stories {
            self.tell(&story, &subjects.join(", "), depth, told, lines);
        }
    }

    fn thing(&self, key: Key, depth: usize, told: &mut BTreeSet<Key>, lines: &mut Vec<String>) {
        let story = self.things.get(&key).and_then(|steps| self.story(steps));
        let Some(story) = story.filter(|_| told.insert(key)) else { return };
        self.tell(&story, &story.subject, depth, told, lines);
    }

    fn story(&self, steps: &[&'a Step]) -> Option<Story<'a>> {
        let line = self.plan.line(steps)?;
        let mut causes: Vec<&Cause> = Vec::new();
        for cause in steps.iter().flat_map(|step| &step.causes) {
            if !causes.contains(&cause) {
                causes.push(cause);
            }
        }
        causes.sort_by_key(|cause| cause.sort());
        let changes = steps.iter().flat_map(|step| &step.changes).collect();
        let container = key(steps.first()?).0 == "container";
        Some(Story { kind: line.kind, subject: line.subject, causes, changes, container })
    }

    /// A story with those it comes from below it.
    fn tell(
        &self,
        story: &Story,
        subjects: &str,
        depth: usize,
        told: &mut BTreeSet<Key>,
        lines: &mut Vec<String>,
    ) {
        let indent = "  ".repeat(depth);
        lines.push(format!("{indent}{} {subjects}", story.kind.word()));
        let mut fields = story.fields();
        for cause in &story.causes {
            let text = cause.to_string();
            lines.push(match cause {
                // Whether it is new in the file or was taken away, nobody knows.
                Cause::Missing => format!("{indent}  ← {text}"),
                _ => {
                    let text = text.trim_start_matches("drift: ");
                    format!("{indent}  ← {}: {text}", cause.sort().word())
                }
            });
            match cause {
                Cause::DependencyRestart { service } | Cause::NeededBy { service } => {
                    self.service(service, depth + 2, told, lines);
                }
                Cause::NetworkReplaced { network } => {
                    self.thing(("network", network.clone()), depth + 2, told, lines);
                }
                Cause::VolumeReplaced { volume } => {
                    self.thing(("volume", volume.clone()), depth + 2, told, lines);
                }
                Cause::NamespaceParentReplaced { container }
                | Cause::VolumesReplaced { container } => {
                    self.thing(("container", container.clone()), depth + 2, told, lines);
                }
                Cause::Changed | Cause::ContentChanged => {
                    lines.extend(fields.drain(..).map(|field| format!("{indent}    {field}")));
                }
                _ => {}
            }
        }
        lines.extend(fields.iter().map(|field| format!("{indent}    {field}")));
    }

    /// The images, networks and volumes that it has and something happens to, if that is not told.
    fn used(&self, service: &str, told: &mut BTreeSet<Key>, lines: &mut Vec<String>) {
        let wanted = self.desired.and_then(|desired| desired.services.get(service));
        let Some(spec) = wanted.map(|wanted| &wanted.container) else { return };
        for image in std::iter::once(spec.image.as_str()).chain(spec.other_images()) {
            self.thing(("image", image.to_owned()), 0, told, lines);
        }
        for network in spec.networks.keys() {
            self.thing(("network", network.clone()), 0, told, lines);
        }
        for volume in volumes(spec) {
            self.thing(("volume", volume.to_owned()), 0, told, lines);
        }
    }

    /// Its steps by number, waits for it among them.
    fn steps(&self, service: &str, lines: &mut Vec<String>) {
        let Some(names) = self.services.get(service) else { return };
        let own = self.plan.steps.iter();
        let own =
            own.filter(|step| key(step).0 == "container" && names.contains(&step.action.target()));
        let own: Vec<String> =
            own.map(|step| format!("  {} {}", step.id, ops::what(self.plan, step))).collect();
        if !own.is_empty() {
            lines.push(format!("steps ({} of {})", own.len(), self.plan.steps.len()));
            lines.extend(own);
        }
    }
}

fn volumes(spec: &ContainerSpec) -> BTreeSet<&str> {
    named_volumes(spec).collect()
}

/// What a step is done to.
fn key(step: &Step) -> Key {
    let kind = step.action.verb().split_once('_').map_or("", |(_, kind)| kind);
    (kind, step.action.target())
}

/// What becomes of one thing.
struct Story<'a> {
    kind: Kind,
    subject: String,
    causes: Vec<&'a Cause>,
    changes: Vec<&'a FieldChange>,
    container: bool,
}

impl Story<'_> {
    fn is_like(&self, other: &Story) -> bool {
        (self.kind, &self.causes, &self.changes) == (other.kind, &other.causes, &other.changes)
    }

    /// The fields that differ, and how each takes effect.
    fn fields(&self) -> Vec<String> {
        let line = |change: &&FieldChange| match change.class {
            Some(class) => format!("{change}: {}", class.word()),
            None => change.to_string(),
        };
        let mut lines: Vec<String> = self.changes.iter().map(line).collect();
        let live = !lines.is_empty() && self.changes.iter().all(|c| c.class < Some(Class::Replace));
        let edited = self.causes.iter().all(|cause| cause.sort() == Sort::Edit);
        if self.container && live && edited && self.kind == Kind::Replace {
            lines.push("live alone, but together they would move its links".to_owned());
        }
        lines
    }
}
