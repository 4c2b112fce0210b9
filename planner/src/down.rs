//! The plan that takes a project away.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::action::Action;
use crate::cause::Cause;
use crate::desired::{ContainerSpec, Desired, SourceSpec};
use crate::lifecycle::{self, Stopping};
use crate::observed::{ContainerRecord, Observed, ObservedContainer};
use crate::orphan::{notice, other_files};
use crate::plan::{Draft, Plan, Slot};
use crate::problem::{PlanProblem, PlanProblems};

/// What `down` is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DownOptions {
    /// Only these services; empty means all.
    pub services: Vec<String>,
    /// What the files know; `None` when there is no file, so that all of the project goes.
    pub known: Option<Known>,
    /// Remove containers whose service is not in the stack.
    pub remove_orphans: bool,
    /// Remove the project's volumes with their data.
    pub volumes: bool,
    /// How long a stop may take; `None` takes what each container says.
    pub grace: Option<Duration>,
}

/// Services the files of a project have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Those that are switched on.
    pub active: BTreeSet<String>,
    /// Those that profiles switch off: they stay.
    pub inactive: BTreeSet<String>,
    /// The files, as records have them.
    pub files: BTreeSet<String>,
}

impl Known {
    /// What a stack knows.
    pub fn of(desired: &Desired) -> Known {
        Known {
            active: desired.services.keys().cloned().collect(),
            inactive: desired.inactive.iter().cloned().collect(),
            files: desired.files.iter().map(|file| file.display().to_string()).collect(),
        }
    }
}

/// What removes the containers and networks of `project`, and with `volumes` its volumes.
///
/// # Errors
/// When a named service does not exist.
pub fn down(
    project: &str,
    observed: &Observed,
    options: &DownOptions,
) -> Result<Plan, PlanProblems> {
    let mut problems = PlanProblems::default();
    let known = options.known.as_ref();
    for service in &options.services {
        if known.is_some_and(|known| !known.active.contains(service)) {
            problems.add(PlanProblem::UnknownService { service: service.clone() });
        }
    }
    problems.none()?;
    let mut draft = Draft::default();
    let first = leftovers(observed, &mut draft);
    let all = of_project(project, observed);
    let (going, staying): (Vec<_>, Vec<_>) =
        all.iter().copied().partition(|c| goes(c, observed, options));
    for container in &staying {
        if let Some(warning) = why_it_stays(container, observed, options) {
            draft.warnings.push(warning);
        }
    }
    let how = Stopping { grace: options.grace, hold: false };
    let stops = lifecycle::stops(&going, &all, &mut draft, how);
    let removed = lifecycle::removals(&going, &stops, &mut draft);
    resources(project, observed, options, &removed, &mut draft);
    if let Some(first) = first {
        draft.begin_with(first);
    }
    Ok(draft.finish(project))
}

/// Removal of what a crash left, one after the other; gives the last one.
pub(crate) fn leftovers(observed: &Observed, draft: &mut Draft) -> Option<Slot> {
    let mut last = None;
    for leftover in &observed.leftovers {
        let action = Action::RemoveLeftover(leftover.clone());
        let step = draft.add(action, vec![Cause::CrashLeftover]);
        if let Some(last) = last {
            draft.after_tried(step, last);
        }
        last = Some(step);
    }
    last
}

/// All containers of a project, by name.
pub(crate) fn of_project<'a>(project: &str, observed: &'a Observed) -> Vec<&'a ObservedContainer> {
    let all = observed.containers.values();
    all.filter(|container| container.record.project == project).collect()
}

fn goes(container: &ObservedContainer, observed: &Observed, options: &DownOptions) -> bool {
    let record = &container.record;
    if !options.services.is_empty() {
        return options.services.contains(&record.service);
    }
    match &options.known {
        None => true,
        Some(known) if known.active.contains(&record.service) => true,
        Some(known) if known.inactive.contains(&record.service) => record.oneoff,
        Some(known) if !other_files(record, &known.files, observed).is_empty() => false,
        Some(_) => options.remove_orphans || record.oneoff,
    }
}

fn why_it_stays(
    container: &ObservedContainer,
    observed: &Observed,
    options: &DownOptions,
) -> Option<String> {
    let record = &container.record;
    let known = options.known.as_ref().filter(|_| options.services.is_empty())?;
    Some(match known.inactive.contains(&record.service) {
        true => format!(
            "container `{}` stays: the profile of service `{}` is not active",
            record.name, record.service
        ),
        false => notice(record, &other_files(record, &known.files, observed)),
    })
}

/// Removes networks nothing is on any more, and volumes if they were asked for.
fn resources(
    project: &str,
    observed: &Observed,
    options: &DownOptions,
    removed: &BTreeMap<&str, Slot>,
    draft: &mut Draft,
) {
    let users = Users::of(observed, removed);
    let selected = !options.services.is_empty();
    for (name, network) in &observed.networks {
        let removers = users.removers(&users.going_networks, name);
        let own = network.record.project == project && !network.record.spec.external;
        // Whoever leaves a shared one last takes it away.
        let ours = own || (network.record.spec.shared && !removers.is_empty());
        if !ours || (selected && removers.is_empty()) {
            continue;
        }
        if let Some(user) = users.staying_networks.get(name.as_str()) {
            let other = observed.containers.get(*user).map(|user| &user.record.project);
            let other = other.filter(|other| *other != project);
            let of = other.map(|other| format!(" of project `{other}`")).unwrap_or_default();
            draft.warnings.push(format!("network `{name}` stays: container `{user}`{of} is on it"));
            continue;
        }
        let remove = Action::RemoveNetwork { name: name.clone() };
        let remove = draft.add(remove, vec![Cause::Requested]);
        removers.iter().for_each(|before| draft.after(remove, *before));
    }
    let volumes = observed.volumes.iter().filter(|_| options.volumes);
    for (name, volume) in volumes {
        let owner = volume.record.container.as_deref().and_then(|owner| removed.get(owner));
        let mut removers = users.removers(&users.going_volumes, name);
        removers.extend(owner);
        let ours = volume.record.project == project && !volume.record.spec.external;
        if !ours || (selected && removers.is_empty()) {
            continue;
        }
        if let Some(user) = users.staying_volumes.get(name.as_str()) {
            draft.warnings.push(format!("volume `{name}` stays: container `{user}` has it"));
            continue;
        }
        let remove = Action::RemoveVolume { name: name.clone() };
        let remove = draft.add(remove, vec![Cause::Requested]);
        removers.iter().for_each(|before| draft.after(remove, *before));
    }
}

/// Removes the anonymous volumes of these containers, but for those that others have too.
pub(crate) fn own_volumes(observed: &Observed, removed: &BTreeMap<&str, Slot>, draft: &mut Draft) {
    let users = Users::of(observed, removed);
    for (name, volume) in &observed.volumes {
        let owner = volume.record.container.as_deref().and_then(|owner| removed.get(owner));
        let Some(owner) = owner else { continue };
        if let Some(user) = users.staying_volumes.get(name.as_str()) {
            draft.warnings.push(format!("volume `{name}` stays: container `{user}` has it"));
            continue;
        }
        let remove = Action::RemoveVolume { name: name.clone() };
        let remove = draft.add(remove, vec![Cause::Requested]);
        draft.after(remove, *owner);
        let others = users.removers(&users.going_volumes, name);
        others.into_iter().for_each(|before| draft.after(remove, before));
    }
}

/// Who uses networks and volumes: containers that go, and containers that stay.
#[derive(Default)]
struct Users<'a> {
    going_networks: BTreeMap<&'a str, Vec<Slot>>,
    going_volumes: BTreeMap<&'a str, Vec<Slot>>,
    staying_networks: BTreeMap<&'a str, &'a str>,
    staying_volumes: BTreeMap<&'a str, &'a str>,
}

impl<'a> Users<'a> {
    fn of(observed: &'a Observed, removed: &BTreeMap<&str, Slot>) -> Users<'a> {
        let mut users = Users::default();
        for (name, container) in &observed.containers {
            let spec = &container.record.spec;
            let gone = removed.get(name.as_str());
            for network in spec.networks.keys() {
                match gone {
                    Some(step) => users.going_networks.entry(network).or_default().push(*step),
                    None => drop(users.staying_networks.entry(network).or_insert(name)),
                }
            }
            for volume in volumes_of(&container.record) {
                match gone {
                    Some(step) => users.going_volumes.entry(volume).or_default().push(*step),
                    None => drop(users.staying_volumes.entry(volume).or_insert(name)),
                }
            }
        }
        // An anonymous volume of a container that stays is not named in its description.
        for (name, volume) in &observed.volumes {
            let owner = volume.record.container.as_deref();
            let owner = owner.and_then(|owner| observed.containers.get_key_value(owner));
            if let Some((owner, _)) =
                owner.filter(|(owner, _)| !removed.contains_key(owner.as_str()))
            {
                users.staying_volumes.entry(name).or_insert(owner);
            }
        }
        users
    }

    fn removers(&self, going: &BTreeMap<&str, Vec<Slot>>, name: &str) -> Vec<Slot> {
        going.get(name).cloned().unwrap_or_default()
    }
}

/// Named volumes of a description.
pub fn named_volumes(spec: &ContainerSpec) -> impl Iterator<Item = &str> {
    spec.mounts.values().filter_map(|mount| match &mount.source {
        SourceSpec::Volume { name, .. } => Some(name.as_str()),
        SourceSpec::Anonymous { .. } | SourceSpec::Image { .. } | SourceSpec::Bind { .. } => None,
    })
}

/// Volumes of a container that have a name for it: those of its description, and those it has of
/// other containers.
pub fn volumes_of(record: &ContainerRecord) -> impl Iterator<Item = &str> {
    let found = record.borrowed.mounts.values().filter_map(|mount| match &mount.source {
        SourceSpec::Volume { name, .. } => Some(name.as_str()),
        SourceSpec::Anonymous { .. } | SourceSpec::Image { .. } | SourceSpec::Bind { .. } => None,
    });
    named_volumes(&record.spec).chain(found)
}
