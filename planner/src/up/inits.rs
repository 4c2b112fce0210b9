//! `pre_start`: which of its containers run, and for whom.
//!
//! They run before a container of the service is made, when it is made or made anew, but not when
//! further ones join those that are there. That such a container is there is the record that they
//! succeeded. Until it is there, the ended containers themselves are.

use std::collections::BTreeSet;

use crate::cause::Cause;
use crate::desired::{ContainerSpec, InitSpec, ServiceSpec};
use crate::observed::{ContainerState, ObservedContainer};
use crate::problem::{PlanProblem, PlanProblems};

use super::Survey;
use super::containers::{Change, Fate, PAUSED, Part, UNMONITORED, Verdict, going};

/// Which step of `pre_start` a container is for, and which containers of the service wait for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Init {
    /// Number of the step, from 1.
    pub(super) step: u32,
    /// Containers by name.
    pub(super) before: BTreeSet<String>,
    /// It has succeeded already and is only taken away.
    pub(super) done: bool,
}

/// Whether `pre_start` has run when a container is made: all that wait for it are made after it.
pub(super) fn is_prepared_then(change: &Change, spec: &ContainerSpec) -> bool {
    !spec.pre_start.is_empty() && change.verdict.starts
}

/// The containers of `pre_start` of a service, given what becomes of its own. Those that nobody
/// waits for any more go.
pub(super) fn decide<'a>(
    survey: &'a Survey<'a>,
    name: &'a str,
    service: &'a ServiceSpec,
    changes: &[Change<'a>],
    problems: &mut PlanProblems,
) -> Vec<Change<'a>> {
    let mut judge = Judge { survey, name, service, problems, made: Vec::new() };
    let is_made = |change: &Change| matches!(change.verdict.fate, Fate::Create | Fate::Replace);
    let waiting: Vec<&Change> =
        changes.iter().filter(|change| is_made(change) && change.verdict.starts).collect();
    let stays = |change: &Change| !is_made(change) && change.verdict.fate != Fate::Remove;
    let prepared = changes
        .iter()
        .any(|change| stays(change) && change.have.is_some_and(|have| have.record.prepared));
    for (step, init) in (1..).zip(&service.pre_start) {
        if init.per_replica {
            for change in &waiting {
                judge.add(step, init, Some(change.number), [change.name.clone()].into());
            }
        } else if !prepared && !waiting.is_empty() {
            let before = waiting.iter().map(|change| change.name.clone()).collect();
            judge.add(step, init, None, before);
        }
    }
    judge.finish()
}

struct Judge<'a, 'b> {
    survey: &'a Survey<'a>,
    name: &'a str,
    service: &'a ServiceSpec,
    problems: &'b mut PlanProblems,
    made: Vec<Change<'a>>,
}

impl<'a> Judge<'a, '_> {
    fn add(
        &mut self,
        step: u32,
        init: &'a InitSpec,
        number: Option<u32>,
        before: BTreeSet<String>,
    ) {
        let project = &self.survey.desired.project;
        let replica = number.map(|number| format!("-{number}")).unwrap_or_default();
        let name = format!("{project}-{}-pre_start-{step}{replica}", self.name);
        let have = self.survey.observed.containers.get(&name);
        if let Some(other) = have.filter(|have| !self.is_init(have)) {
            let owner = format!("project `{}`", other.record.project);
            self.problems.add(PlanProblem::NameTaken { name: name.clone(), owner });
        }
        let (fate, cause) = fate(self.survey, self.name, &init.container, have);
        let done = fate == Fate::Keep && have.is_some_and(has_succeeded);
        let needed = Cause::NeededBy { service: self.name.to_owned() };
        self.made.push(Change {
            name,
            service: self.name,
            number: number.unwrap_or(1),
            oneoff: true,
            init: Some(Init { step, before, done }),
            want: Some(&init.container),
            depends_on: &self.service.depends_on,
            have,
            part: Part::Alone,
            verdict: Verdict::of(fate, cause.into_iter().chain([needed]).collect()),
        });
    }

    fn is_init(&self, have: &ObservedContainer) -> bool {
        let record = &have.record;
        let ours = record.project == self.survey.desired.project && record.service == self.name;
        ours && record.init.is_some()
    }

    fn finish(self) -> Vec<Change<'a>> {
        let wanted: BTreeSet<&str> = self.made.iter().map(|change| change.name.as_str()).collect();
        let in_scope = self.survey.scope.contains(self.name);
        let known = self.survey.inits.get(self.name).filter(|_| in_scope).into_iter().flatten();
        let unwanted: Vec<Change> = known
            .filter(|have| !wanted.contains(have.record.name.as_str()))
            .map(|have| going(have, Cause::Unused))
            .collect();
        self.made.into_iter().chain(unwanted).collect()
    }
}

fn has_succeeded(have: &ObservedContainer) -> bool {
    matches!(have.state, ContainerState::Exited { exit_code: 0, .. })
}

/// What becomes of a container of `pre_start` that somebody waits for.
fn fate(
    survey: &Survey,
    service: &str,
    want: &ContainerSpec,
    have: Option<&ObservedContainer>,
) -> (Fate, Option<Cause>) {
    let Some(have) = have else { return (Fate::Create, None) };
    let image = survey.observed.images.get(&survey.image(service, want));
    let same =
        have.record.spec == *want && image.is_none_or(|image| image.id == have.record.image_id);
    match have.state {
        _ if !same => (Fate::Replace, Some(Cause::Changed)),
        ContainerState::Running { .. } if have.paused => (Fate::Unpause, Some(PAUSED)),
        ContainerState::Running { .. } if have.monitored => (Fate::Keep, None),
        ContainerState::Running { .. } => (Fate::Adopt, Some(UNMONITORED)),
        ContainerState::Exited { exit_code: 0, .. } => (Fate::Keep, None),
        ContainerState::Exited { exit_code, .. } | ContainerState::Restarting { exit_code } => {
            (Fate::Replace, Some(Cause::Exited { exit_code }))
        }
        ContainerState::Created => (Fate::Replace, Some(Cause::NeverStarted)),
        ContainerState::Broken => (Fate::Replace, Some(Cause::CrashLeftover)),
    }
}
