//! The one line every change walks: lock, observe, plan, apply, and again when the plan was stale.

mod fails;
mod performing;
mod turn;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use berth_planner::action::Action;
use berth_planner::observed::Observed;
use berth_planner::plan::{Plan, Step};
use berth_planner::problem::PlanProblems;
use berth_runtime::apply::Outcome;
use berth_runtime::host::{Asked, Host, HostError, Lock};

pub(crate) use self::fails::{cause, failure};
use self::fails::{half_done, is_optional};
pub(crate) use self::performing::perform;
pub(crate) use self::turn::{LOCK_WAIT, lock};
use crate::failure::{Exit, Failure};
use crate::ports::{self, Families};
use crate::session::Session;
use crate::taken_back::{self, Back, Ended};
use crate::ui::safe;
use crate::wording;

/// How often a stale plan is made again.
const ATTEMPTS: u32 = 3;
/// What changes under us is given so long to settle, longer each time.
const REST: Duration = Duration::from_millis(50);

/// Where the lock and the journal are of what belongs to no project; no project has that name.
const HOST: &str = "_host";

/// How a change is shown and interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Progress on its own lines; signals interrupt it.
    Usual,
    /// Progress between lines of output; the caller hears the signals.
    BetweenOutput,
    /// Nothing is shown but problems.
    Silent,
}

/// The host as a project finds it, and the lock that keeps others from changing it meanwhile.
#[derive(Debug)]
pub(crate) struct Look {
    /// None in a dry run, nor while it is open whether anything may be done.
    lock: Option<Lock>,
    project: String,
    asked: Asked,
    /// What there was to see.
    pub(crate) observed: Observed,
}

impl Look {
    /// The lock of the project, if it is held.
    pub(crate) fn lock(&self) -> Option<&Lock> {
        self.lock.as_ref()
    }

    /// Lets others change the host again; what was seen may then be out of date.
    pub(crate) fn let_go(&mut self) {
        self.lock = None;
    }

    /// Lets others change the host, and is done with it. The program ends soon: taking apart what was
    /// seen is left to that.
    pub(crate) fn end(self) {
        std::mem::forget(self.observed);
        drop(self.lock);
    }

    /// Whether others could not change the host since.
    pub(crate) fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// Looks once more with the lock, unless it was held since.
    pub(crate) async fn locked(self, session: &Session, host: &Host) -> Result<Look, Failure> {
        match self.lock {
            Some(_) => Ok(self),
            None => look(session, host, &self.project, self.asked).await,
        }
    }
}

/// Looks at the host without the lock of a project.
pub(crate) async fn glance(host: &Host, project: &str, asked: Asked) -> Result<Look, Failure> {
    let observed = host.observe(&asked).await?;
    Ok(Look { lock: None, project: project.to_owned(), asked, observed })
}

/// Takes the lock of a project, unless this is a dry run, and looks at the host.
pub(crate) async fn look(
    session: &Session,
    host: &Host,
    project: &str,
    asked: Asked,
) -> Result<Look, Failure> {
    let lock = match session.global.dry_run {
        true => None,
        false => Some(lock(session, host, project).await?),
    };
    Ok(Look { lock, ..glance(host, project, asked).await? })
}

/// What a change came to.
#[derive(Debug)]
pub(crate) struct Change {
    /// The last plan.
    pub(crate) plan: Plan,
    /// Steps that were done, all attempts together.
    pub(crate) done: usize,
    /// Whether a start was done or begun.
    pub(crate) started: bool,
    /// The signal that cut it off.
    pub(crate) interrupted: Option<i32>,
}

impl Change {
    /// How a command ends that does nothing after it.
    pub(crate) fn exit(&self) -> Exit {
        self.interrupted.map_or(Exit::Done, Exit::Signal)
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Failure {
        match error {
            HostError::Locked { project, holder } => {
                Failure::Locked { project, holder: holder.to_string() }
            }
            HostError::Generation { ref project, .. } => {
                let help =
                    format!("`berth -p {project} history --forget` does without that history");
                Failure::refused(&error).with_help(help)
            }
            other => Failure::refused(other),
        }
    }
}

impl From<PlanProblems> for Failure {
    fn from(problems: PlanProblems) -> Failure {
        match problems.0.as_slice() {
            [only] => Failure::refused(only),
            all => Failure::Forbidden(all.iter().map(ToString::to_string).collect()),
        }
    }
}

/// Opens this host; with `--dry-run` to look at it alone.
pub(crate) fn open(session: &Session) -> Result<Arc<Host>, Failure> {
    match session.global.dry_run {
        true => open_to_look(session),
        false => Ok(Arc::new(Host::open(session.roots())?.begun_at(session.began))),
    }
}

/// Opens this host to look at it: nothing is made, not even our own folders.
pub(crate) fn open_to_look(session: &Session) -> Result<Arc<Host>, Failure> {
    Ok(Arc::new(Host::look(session.roots())?))
}

/// Makes the host what `plan` says of it. With `--dry-run` the plan is shown and nothing is done.
pub(crate) async fn change(
    session: &Session,
    host: &Arc<Host>,
    project: &str,
    asked: &Asked,
    plan: impl Fn(&Observed) -> Result<Plan, Failure>,
) -> Result<Change, Failure> {
    change_as(session, host, project, asked, plan, Manner::Usual).await
}

/// As [`change`], for things of these projects together, or of none. The locks are taken in the
/// order of the names, so that two such runs never wait for each other.
pub(crate) async fn change_across(
    session: &Session,
    host: &Arc<Host>,
    projects: &BTreeSet<String>,
    plan: impl Fn(&Observed) -> Result<Plan, Failure>,
    manner: Manner,
) -> Result<Change, Failure> {
    let mut locks = Vec::new();
    for project in projects.iter().filter(|_| !session.global.dry_run) {
        locks.push(lock(session, host, project).await?);
    }
    change_as(session, host, HOST, &Asked::default(), plan, manner).await
}

/// As [`change`], in a manner of one's own.
pub(crate) async fn change_as(
    session: &Session,
    host: &Arc<Host>,
    project: &str,
    asked: &Asked,
    plan: impl Fn(&Observed) -> Result<Plan, Failure>,
    manner: Manner,
) -> Result<Change, Failure> {
    let look = look(session, host, project, asked.clone()).await?;
    change_from(session, host, look, plan, manner).await
}

/// As [`change_as`], beginning with what was seen already.
pub(crate) async fn change_from(
    session: &Session,
    host: &Arc<Host>,
    mut look: Look,
    plan: impl FnMut(&Observed) -> Result<Plan, Failure>,
    manner: Manner,
) -> Result<Change, Failure> {
    change_under(session, host, &mut look, plan, manner).await
}

/// As [`change_from`], under a lock that is still held afterwards.
pub(crate) async fn change_under(
    session: &Session,
    host: &Arc<Host>,
    look: &mut Look,
    plan: impl FnMut(&Observed) -> Result<Plan, Failure>,
    manner: Manner,
) -> Result<Change, Failure> {
    change_with(session, host, look, plan, (manner, None)).await
}

/// As [`change_under`], and a rollout that fails is taken back where the file wants that.
pub(crate) async fn change_or_back(
    session: &Session,
    host: &Arc<Host>,
    look: &mut Look,
    plan: impl FnMut(&Observed) -> Result<Plan, Failure>,
    (manner, back): (Manner, &Back<'_>),
) -> Result<Change, Failure> {
    change_with(session, host, look, plan, (manner, Some(back))).await
}

async fn change_with(
    session: &Session,
    host: &Arc<Host>,
    look: &mut Look,
    mut plan: impl FnMut(&Observed) -> Result<Plan, Failure>,
    (manner, back): (Manner, Option<&Back<'_>>),
) -> Result<Change, Failure> {
    let Look { project, asked, observed, .. } = look;
    if session.global.dry_run {
        let plan = plan(observed)?;
        show(session, &plan)?;
        return Ok(Change { plan, done: 0, started: false, interrupted: None });
    }
    let (mut done, mut started) = (0, false);
    let mut causes = Vec::new();
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(REST * attempt).await;
            let again = host.observe(asked).await;
            *observed = again.map_err(|error| half_done(done, error.into()))?;
        }
        let plan = plan(observed).map_err(|failure| half_done(done, failure))?;
        tell_beside(session, &plan);
        if plan.is_empty() {
            return Ok(Change { plan, done, started, interrupted: None });
        }
        let performed = perform(session, host, project, &plan, manner).await;
        let (outcome, mut interrupted) = performed.map_err(|failure| half_done(done, failure))?;
        done += outcome.done.len();
        started |= plan.starts_one(outcome.begun());
        if !outcome.is_stale() || interrupted.is_some() {
            if let Some(back) = back.filter(|_| interrupted.is_none()) {
                let run = Ended { project, asked, plan: &plan, outcome: &outcome, manner };
                interrupted = taken_back::take_back(session, host, &run, observed, back).await?;
            }
            return ended(session, plan, &outcome, (done, started, interrupted));
        }
        causes = outcome.failed.iter().map(|failed| cause(&plan, failed)).collect();
    }
    Err(half_done(done, Failure::Stale { attempts: ATTEMPTS, causes }))
}

/// Performs this plan and no other: it is not made again when it turns out stale. The caller has
/// the lock of the project.
pub(crate) async fn exactly(
    session: &Session,
    host: &Arc<Host>,
    plan: Plan,
    (asked, back): (&Asked, &Back<'_>),
) -> Result<Change, Failure> {
    tell_beside(session, &plan);
    if plan.is_empty() {
        return Ok(Change { plan, done: 0, started: false, interrupted: None });
    }
    let before = host.observe(asked).await?;
    let (outcome, mut interrupted) =
        perform(session, host, &plan.project, &plan, Manner::Usual).await?;
    let done = outcome.done.len();
    if outcome.is_stale() && done == 0 && interrupted.is_none() {
        let causes = outcome.failed.iter().map(|failed| cause(&plan, failed)).collect();
        return Err(Failure::Stale { attempts: 1, causes });
    }
    if interrupted.is_none() {
        let (project, manner) = (plan.project.as_str(), Manner::Usual);
        let run = Ended { project, asked, plan: &plan, outcome: &outcome, manner };
        interrupted = taken_back::take_back(session, host, &run, &before, back).await?;
    }
    let started = plan.starts_one(outcome.begun());
    ended(session, plan, &outcome, (done, started, interrupted))
}

/// Tells what a plan says besides its steps.
fn tell_beside(session: &Session, plan: &Plan) {
    plan.warnings.iter().for_each(|warning| session.ui.warn(warning));
    plan.notes.iter().for_each(|note| session.ui.note(&format!("note: {}", safe(note))));
}

/// What came of a plan that is not tried again.
fn ended(
    session: &Session,
    plan: Plan,
    outcome: &Outcome,
    (done, started, interrupted): (usize, bool, Option<i32>),
) -> Result<Change, Failure> {
    if interrupted.is_some() || outcome.is_complete() {
        tell_public(session, &plan, outcome);
        return Ok(Change { plan, done, started, interrupted });
    }
    if is_optional(&plan, outcome) {
        let reasons = outcome.failed.iter().map(|(_, error)| error.to_string());
        reasons.for_each(|why| session.ui.warn(&format!("{why}, and is not required")));
        return Ok(Change { plan, done, started, interrupted });
    }
    Err(failure(&plan, outcome, done))
}

/// Prints a plan, each line in the colour of what happens.
pub(crate) fn show(session: &Session, plan: &Plan) -> Result<(), Failure> {
    show_lines(session, plan.to_string().trim_end().lines())
}

/// Prints the text form of a plan.
pub(crate) fn show_lines(
    session: &Session,
    lines: impl IntoIterator<Item = impl AsRef<str>>,
) -> Result<(), Failure> {
    let paint = session.ui.out();
    let mut lines = lines.into_iter();
    lines.try_for_each(|line| session.ui.data(&wording::coloured(&safe(line.as_ref()), paint)))
}

/// Names the ports that are now open to everybody.
fn tell_public(session: &Session, plan: &Plan, outcome: &Outcome) {
    let done = outcome.done.iter().filter_map(|id| plan.step(*id));
    for step in done {
        let record = match &step.action {
            Action::CreateContainer(record) => record,
            Action::UpdateContainer(record) if changes_ports(step) => record,
            _ => continue,
        };
        for port in record.spec.ports.iter().filter(|port| ports::is_public(port)) {
            let line =
                format!("{}  {}", record.name, ports::lines(port, Families::of(record)).join(", "));
            session.ui.note(&format!(
                " {} {}",
                session.ui.err().yellow(ports::PUBLIC),
                safe(&line)
            ));
        }
    }
}

fn changes_ports(step: &Step) -> bool {
    step.changes.iter().any(|change| change.path == "ports")
}
