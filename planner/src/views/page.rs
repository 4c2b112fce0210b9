//! The page that `plan` shows: the stack in a line, what happens by where it comes from, what it costs, and
//! the next move.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::action::Action;
use crate::cause::{Cause, Sort};
use crate::loss::lost;
use crate::observed::{ContainerState, Observed, ObservedVolume};
use crate::plan::{Plan, Step, StepId};
use crate::text::{Line, columns, grants};

/// How long a container may take to stop if nobody says.
const USUAL_GRACE: Duration = Duration::from_secs(10);

/// A plan with what stands around it.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// What the host had.
    pub observed: &'a Observed,
    /// The files of the stack, as people call them here.
    pub files: &'a [String],
    /// Number of the newest generation, and of the one that the plan leads to; `None` when there is
    /// none.
    pub generation: Option<(u64, u64)>,
    /// The words that do it; `None` when nobody may.
    pub next: Option<&'a str>,
}

/// Where what happens comes from, as the three sides tell that are compared: what the files say, what was
/// applied last, and what the host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    /// The files have it, and the host has neither it nor a record of it.
    Missing,
    /// The files say something else than was applied.
    Edit,
    /// The host has something else than was applied.
    Drift,
    Follows,
    Asked,
}

impl Group {
    fn title(self) -> &'static str {
        match self {
            Group::Missing => "Not on this host yet:",
            Group::Edit => "Edited since it was applied:",
            Group::Drift => "Drifted since it was applied:",
            Group::Follows => "Follows from that:",
            Group::Asked => "As asked:",
        }
    }

    fn of(steps: &[&Step]) -> Group {
        let causes = || steps.iter().flat_map(|step| &step.causes);
        let group = |cause: &Cause| match (cause, cause.sort()) {
            (Cause::Missing, _) => Group::Missing,
            (_, Sort::Edit) => Group::Edit,
            (_, Sort::Drift) => Group::Drift,
            (_, Sort::Follows) => Group::Follows,
            (_, Sort::Asked) => Group::Asked,
        };
        // What is edited is looked for there, whatever else happened to it.
        let edited = causes().any(|cause| group(cause) == Group::Edit);
        let first = || causes().map(group).min();
        if edited { Group::Edit } else { first().unwrap_or(Group::Asked) }
    }
}

/// The text of a page. What the plan hides is hidden.
pub fn page(page: &Page) -> String {
    let plan = page.plan;
    let mut text = vec![head(page)];
    let (groups, lines): (Vec<Group>, Vec<Line>) = lines(plan).into_iter().unzip();
    let columns = columns(&lines);
    for (at, (group, line)) in groups.iter().zip(columns).enumerate() {
        if at == 0 || groups[at - 1] != *group {
            text.push(group.title().to_owned());
        }
        text.extend(line.lines().map(|line| format!("  {line}")));
    }
    text.extend(plan.notes.iter().map(|note| format!("note: {note}")));
    text.extend(plan.warnings.iter().map(|warning| format!("warning: {warning}")));
    text.push(plan.summary().to_string());
    text.extend(gap(plan, page.observed));
    text.extend(loss(plan, page.observed));
    text.extend(grants(&plan.grants));
    if let Some(next) = page.next.filter(|_| !plan.is_empty()) {
        text.push(format!("Next: {next}"));
    }
    text.join("\n") + "\n"
}

/// `Stack shop: 2 of 3 containers run, generation 17 → 18; compose.yaml`.
fn head(page: &Page) -> String {
    let Page { plan, observed, files, .. } = page;
    let own = observed.containers.values().filter(|have| {
        have.record.project == plan.project && !have.record.oneoff && have.record.init.is_none()
    });
    let (mut all, mut running) = (0, 0);
    for have in own {
        all += 1;
        running += usize::from(matches!(have.state, ContainerState::Running { .. }));
    }
    let mut text = format!("Stack {}: ", plan.project);
    text += &match (running, all) {
        (_, 0) => "no containers yet".to_owned(),
        (1, 1) => "1 container runs".to_owned(),
        (running, all) if running == all => format!("{all} containers run"),
        (running, all) => format!("{running} of {all} containers run"),
    };
    match page.generation {
        Some((now, next)) if now == next => text += &format!(", generation {now}"),
        Some((now, next)) => text += &format!(", generation {now} → {next}"),
        None => {}
    }
    if !files.is_empty() {
        text += &format!("; {}", files.join(", "));
    }
    text
}

/// What happens to each thing, with where it comes from, in the order of that.
fn lines(plan: &Plan) -> Vec<(Group, Line)> {
    let told = plan.things().into_iter().filter_map(|steps| {
        let (group, mut line) = (Group::of(&steps), plan.line(&steps)?);
        let causes = steps.iter().flat_map(|step| &step.causes);
        let drifts = causes.filter(|cause| group != Group::Drift && cause.sort() == Sort::Drift);
        for drift in drifts.map(ToString::to_string).filter(|text| !text.starts_with("drift")) {
            if let Some(note) = line.notes.iter_mut().find(|note| **note == drift) {
                *note = format!("drift: {drift}");
            }
        }
        Some((group, line))
    });
    let mut lines: Vec<(Group, Line)> = told.collect();
    lines.sort_by_key(|(group, _)| *group);
    lines
}

/// The longest time in which nothing serves for a container that does now, as far as a plan can know it:
/// stops have a limit, and gates are named.
fn gap(plan: &Plan, observed: &Observed) -> Option<String> {
    let touched = plan
        .steps
        .iter()
        .any(|step| matches!(step.action, Action::StopContainer { .. } | Action::TakeOver { .. }));
    let mut longest: Option<(Pause, String)> = None;
    for (stop, serve) in pauses(plan, observed) {
        let Some(pause) = between(plan, observed, (stop, serve)) else { continue };
        if longest.as_ref().is_none_or(|(known, _)| *known < pause) {
            let subject = plan.step(stop).map(|step| plan.subject(&step.action));
            longest = Some((pause, subject.unwrap_or_default()));
        }
    }
    let Some((pause, subject)) = longest else {
        let stays = plan.steps.iter().any(|step| matches!(step.action, Action::TakeOver { .. }));
        return (touched && stays).then(|| "No gap: what is replaced serves until then".to_owned());
    };
    let mut text =
        format!("Longest gap: {subject}, up to {}s to stop", pause.patience.as_secs_f64());
    for gate in &pause.gates {
        text += &format!(", until {gate}");
    }
    Some(text + ", then its start")
}

/// What passes between two steps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Pause {
    patience: Duration,
    gates: Vec<String>,
}

/// The stop of each replica that is to serve again, and the step from which on it does.
fn pauses(plan: &Plan, observed: &Observed) -> Vec<(StepId, StepId)> {
    let mut made: BTreeMap<&str, &str> = BTreeMap::new();
    for step in &plan.steps {
        if let Action::CreateContainer(record) = &step.action {
            made.insert(&record.name, record.usual_name());
        }
    }
    let recorded = |name: &str| observed.containers.get(name).map(|have| have.record.usual_name());
    let replica = |name: &str| -> Option<String> {
        recorded(name).or_else(|| made.get(name).copied()).map(str::to_owned)
    };
    let (mut stops, mut serves) = (BTreeMap::new(), BTreeMap::new());
    for step in &plan.steps {
        match &step.action {
            Action::StopContainer { name, .. } => {
                replica(name).map(|replica| stops.entry(replica).or_insert(step.id));
            }
            Action::StartContainer { name } | Action::TakeOver { name, .. } => {
                replica(name).map(|replica| serves.insert(replica, step.id));
            }
            _ => {}
        }
    }
    let both = stops.into_iter().filter_map(|(name, stop)| Some((stop, *serves.get(&name)?)));
    both.collect()
}

/// The longest way from one step to another; `None` when the second does not wait for the first.
fn between(plan: &Plan, observed: &Observed, (from, to): (StepId, StepId)) -> Option<Pause> {
    let mut ways: BTreeMap<StepId, Pause> = BTreeMap::new();
    for step in plan.steps.iter().filter(|step| step.id >= from && step.id <= to) {
        let before = step.after.iter().chain(&step.after_tried).filter_map(|id| ways.get(id)).max();
        let nothing = Pause { patience: Duration::ZERO, gates: Vec::new() };
        let first = (step.id == from).then_some(nothing);
        let Some(mut pause) = before.cloned().or(first) else { continue };
        match &step.action {
            Action::StopContainer { name, grace, .. } => {
                let own = observed.containers.get(name);
                let own = own.and_then(|have| have.record.spec.stop_grace_period);
                pause.patience += grace.or(own).unwrap_or(USUAL_GRACE);
            }
            Action::Drain { patience, .. } => pause.patience += *patience,
            Action::AwaitContainer { condition, .. } => {
                let state = super::ops::state(*condition);
                pause.gates.push(format!("{} is {state}", plan.subject(&step.action)));
            }
            _ => {}
        }
        ways.insert(step.id, pause);
    }
    ways.remove(&to)
}

/// Data that is gone for good, where something goes.
fn loss(plan: &Plan, observed: &Observed) -> Option<String> {
    let lost = lost(plan, observed);
    let volume = |step: &&Step| match &step.action {
        Action::RemoveVolume { name } => lost.contains(name.as_str()),
        _ => false,
    };
    let lost = plan.steps.iter().filter(volume).map(|step| plan.subject(&step.action));
    let lost: Vec<String> = lost.collect();
    if !lost.is_empty() {
        return Some(format!("Lost for good: {}", lost.join(", ")));
    }
    let goes = |step: &Step| matches!(step.action, Action::RemoveContainer { .. });
    let nameless = nameless(plan, observed);
    plan.steps.iter().any(goes).then(|| format!("No volume is lost{nameless}"))
}

/// What becomes of volumes without a name, of containers that go.
fn nameless(plan: &Plan, observed: &Observed) -> String {
    let made = |name: &str| {
        let creates = |step: &Step| matches!(&step.action, Action::CreateContainer(record) if record.name == name);
        plan.steps.iter().any(creates)
    };
    let fate = |step: &Step| {
        let Action::RemoveContainer { name } = &step.action else { return None };
        let of_it = |volume: &&ObservedVolume| volume.record.container.as_ref() == Some(name);
        let subject = plan.subject(&step.action);
        match (observed.volumes.values().filter(of_it).count(), made(name)) {
            (0, _) => None,
            (count, true) => Some(format!("{subject} keeps {count} without a name")),
            (count, false) => Some(format!("{subject} leaves {count} without a name behind")),
        }
    };
    plan.steps.iter().filter_map(fate).map(|line| format!("; {line}")).collect()
}
