//! A rollout that failed is taken back by the run itself, where the file wants that. To go back to a
//! generation is another thing.

use std::sync::Arc;

use berth_planner::desired::Desired;
use berth_planner::observed::Observed;
use berth_planner::plan::{Plan, StepId};
use berth_planner::rollback::{Run, Way, is_passed};
use berth_runtime::apply::Outcome;
use berth_runtime::host::{Asked, Host, StepError};
use berth_schema::stack::Places;

use crate::failure::Failure;
use crate::flow::{self, Manner};
use crate::session::Session;
use crate::signals::Signals;
use crate::ui::safe;

/// How often a plan for the way back is made again when it is stale.
const ATTEMPTS: u32 = 3;

/// What the way back is found by.
pub(crate) struct Back<'a> {
    /// What the stack asks for.
    pub(crate) desired: &'a dyn Fn(&Observed) -> Result<Desired, Failure>,
    /// Where it says so.
    pub(crate) places: &'a Places,
}

/// A run that has ended.
pub(crate) struct Ended<'a> {
    /// Whose it was.
    pub(crate) project: &'a str,
    /// What the host was asked about.
    pub(crate) asked: &'a Asked,
    /// What was to be done.
    pub(crate) plan: &'a Plan,
    /// What was done of it.
    pub(crate) outcome: &'a Outcome,
    /// How that was shown, and the way back is.
    pub(crate) manner: Manner,
}

/// Makes the services whose rollout failed what they were before it, if the file says so.
///
/// # Errors
/// [`Failure::RolledBack`] when that was done, and what went wrong when it was not. It gives the signal
/// that cut it off, and nothing when there is nothing to roll back.
pub(crate) async fn take_back(
    session: &Session,
    host: &Arc<Host>,
    run: &Ended<'_>,
    before: &Observed,
    back: &Back<'_>,
) -> Result<Option<i32>, Failure> {
    let Ended { plan, outcome, .. } = *run;
    if outcome.is_complete() {
        return Ok(None);
    }
    // Nobody else hears them until the way back is gone.
    let mut signals = Signals::listen().map_err(|why| not_back(run, [why.to_string()]))?;
    let desired = &(back.desired)(before).map_err(|why| not_back(run, [why.to_string()]))?;
    let failed: Vec<StepId> = outcome.failed.iter().map(|(id, _)| *id).collect();
    let (failed, skipped) = (failed.as_slice(), outcome.skipped.as_slice());
    let broken = Run { desired, before, plan, failed, skipped };
    if broken.due().is_empty() {
        return Ok(None);
    }
    let mut why: Vec<String> = Vec::new();
    for attempt in 1..=ATTEMPTS {
        let refused = |why: &dyn ToString| not_back(run, [why.to_string()]);
        let now = host.observe(run.asked).await.map_err(|why| refused(&why))?;
        let way = broken.way_back(&now, back.places).map_err(|why| refused(&why))?;
        if way.back.is_empty() {
            return Err(not_back(run, way.stays.iter().map(ToString::to_string)));
        }
        for (service, was) in &way.back {
            let line = format!("`{service}` goes back to image `{}`", was.image);
            session.ui.note(&safe(&line));
        }
        if let Some(number) = signals.heard().await {
            return Ok(Some(interrupted(session, run, number)));
        }
        let performed = flow::perform(session, host, run.project, &way.plan, run.manner).await;
        let (done, signal) = performed.map_err(|why| refused(&why))?;
        if done.is_complete() {
            return Err(rolled_back(run, &way, []));
        }
        if let Some(number) = signal {
            return Ok(Some(interrupted(session, run, number)));
        }
        let is_last = attempt == ATTEMPTS || !done.is_stale();
        let failed = tell_optional(session, &way.plan, &done);
        let causes = failed.iter().map(|failed| flow::cause(&way.plan, failed));
        let causes: Vec<String> = causes.collect();
        let undone = failed.iter().map(|(id, _)| *id).chain(done.skipped.iter().copied());
        if is_last && way.is_back(&now, undone) {
            return Err(rolled_back(run, &way, causes));
        }
        why = causes.into_iter().map(|why| format!("not rolled back: {why}")).collect();
        why.extend(way.stays.iter().map(ToString::to_string));
        if is_last {
            break;
        }
    }
    Err(not_back(run, why))
}

/// Warns of what is left when a signal has cut off the way back; gives that signal.
fn interrupted(session: &Session, run: &Ended, number: i32) -> i32 {
    causes(run).for_each(|why| session.ui.warn(&why));
    session.ui.warn("the rollback was interrupted: the next `up` looks at what is left");
    number
}

/// Warns of gates of dependencies that are not required; gives what else has failed.
fn tell_optional<'a>(
    session: &Session,
    plan: &Plan,
    done: &'a Outcome,
) -> Vec<&'a (StepId, StepError)> {
    let is_optional = |(id, error): &&(StepId, StepError)| {
        matches!(error, StepError::NotReady { .. }) && is_passed(plan, *id)
    };
    let (optional, failed): (Vec<_>, Vec<_>) = done.failed.iter().partition(is_optional);
    optional.iter().for_each(|(_, why)| session.ui.warn(&format!("{why}, and is not required")));
    failed
}

/// What failed in a run.
fn causes(run: &Ended) -> impl Iterator<Item = String> {
    run.outcome.failed.iter().map(|failed| flow::cause(run.plan, failed))
}

/// What went back, and what did not: services beside it failed for reasons of their own.
fn rolled_back(run: &Ended, way: &Way, beside: impl IntoIterator<Item = String>) -> Failure {
    let left: Vec<String> = way.stays.iter().map(ToString::to_string).chain(beside).collect();
    Failure::RolledBack {
        causes: causes(run).chain(left.iter().cloned()).collect(),
        serving: serving(way),
        services: way.back.keys().cloned().collect(),
        all: left.is_empty(),
        again: "berth up --retry".to_owned(),
    }
}

/// The failure of a run, which stays as it is.
fn not_back(run: &Ended, why: impl IntoIterator<Item = String>) -> Failure {
    Failure::Partial {
        failed: run.outcome.failed.len(),
        skipped: run.outcome.skipped.len(),
        steps: run.plan.steps.len(),
        causes: causes(run).chain(why).collect(),
        untouched: false,
        start: None,
    }
}

/// What serves now, one text for each service.
fn serving(way: &Way) -> Vec<String> {
    let words = way.back.iter().map(|(service, was)| {
        let containers = if was.replicas == 1 { "container" } else { "containers" };
        format!("`{service}` is {} {containers} of image `{}` as before", was.replicas, was.image)
    });
    words.collect()
}
