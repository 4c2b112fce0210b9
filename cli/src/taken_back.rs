//! A rollout that failed is taken back by the run itself, where the file wants that. To go back to a
//! generation is another thing.

use std::sync::Arc;

use berth_planner::desired::Desired;
use berth_planner::observed::Observed;
use berth_planner::plan::{Plan, StepId};
use berth_planner::rollback::{Way, due, way_back};
use berth_runtime::apply::Outcome;
use berth_runtime::host::{Asked, Host};
use berth_schema::stack::Places;

use crate::failure::Failure;
use crate::flow::{self, Manner};
use crate::session::Session;
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
}

/// Makes the services whose rollout failed what they were before it, if the file says so.
///
/// # Errors
/// [`Failure::RolledBack`] when that was done, and what went wrong when it was not. It gives nothing
/// when there is nothing to roll back.
pub(crate) async fn take_back(
    session: &Session,
    host: &Arc<Host>,
    run: &Ended<'_>,
    before: &Observed,
    back: &Back<'_>,
) -> Result<(), Failure> {
    let (plan, outcome) = (run.plan, run.outcome);
    if outcome.is_complete() {
        return Ok(());
    }
    let desired = (back.desired)(before)?;
    let failed: Vec<StepId> = outcome.failed.iter().map(|(id, _)| *id).collect();
    let services = due(&desired, plan, &failed, &outcome.skipped);
    if services.is_empty() {
        return Ok(());
    }
    let causes = || outcome.failed.iter().map(|failed| flow::cause(plan, failed));
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let now = host.observe(run.asked).await?;
        let way = match way_back(&desired, &services, (before, &now), back.places) {
            Ok(way) => way,
            Err(why) => return Err(not_back(run, causes().chain([why.to_string()]).collect())),
        };
        for (service, was) in &way.back {
            let line = format!("`{service}` goes back to image `{}`", was.image);
            session.ui.note(&safe(&line));
        }
        let (done, interrupted) =
            flow::perform(session, host, run.project, &way.plan, Manner::Usual).await?;
        if done.is_complete() {
            let services = way.back.keys().cloned().collect();
            let (causes, serving) = (causes().collect(), serving(&way));
            return Err(Failure::RolledBack { causes, serving, services });
        }
        let stale = done.is_stale() && interrupted.is_none();
        let why = done.failed.iter().map(|failed| flow::cause(&way.plan, failed));
        let why = why.map(|why| format!("not rolled back: {why}"));
        last = Some(not_back(run, causes().chain(why).collect()));
        if !stale {
            break;
        }
    }
    last.map_or(Ok(()), Err)
}

/// The failure of a run, which stays as it is.
fn not_back(run: &Ended, causes: Vec<String>) -> Failure {
    Failure::Partial {
        failed: run.outcome.failed.len(),
        skipped: run.outcome.skipped.len(),
        steps: run.plan.steps.len(),
        causes,
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
