//! The history of a project: what a run leaves in it, and how a generation is loaded again. Which one
//! is gone back to and what is kept, the planner says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use berth_planner::desired::Desired;
use berth_planner::generation::{
    self, Generation, MadeOf, Part, Rejected, Rollback, Standing, made, rejected, surplus,
};
use berth_planner::lock::Pins;
use berth_planner::observed::Observed;
use berth_planner::plan::Plan;
use berth_planner::up::{UpOptions, covered};
use berth_runtime::host::{Host, Lock, command_line};
use berth_schema::config::Switches;
use berth_schema::stack::{Document, Stack};
use jiff::Timestamp;

use crate::args::Global;
use crate::failure::Failure;
use crate::flow::{Change, Look};
use crate::session::Session;
use crate::ui::{Ui, safe};

mod judged;
mod outcome;

pub(crate) use judged::{Waited, mark};
use outcome::{Entry, Outcome};

/// What a run was to come to.
pub(crate) struct Run<'a> {
    /// What the files say.
    pub(crate) stack: &'a Stack,
    /// The words of the command.
    pub(crate) options: &'a UpOptions,
    /// What the lock says.
    pub(crate) pins: &'a Pins,
    /// How many generations are kept.
    pub(crate) history: Option<usize>,
    /// Where it led back from, and to.
    pub(crate) rollback: Option<Rollback>,
    /// Services that were rejected and were not tried now.
    pub(crate) kept: BTreeSet<String>,
}

/// What the last plan of a run was made from.
#[derive(Default)]
pub(crate) struct Wanted(Mutex<Option<Arc<Desired>>>);

impl Wanted {
    /// Keeps it.
    pub(crate) fn keep(&self, desired: impl Into<Arc<Desired>>) {
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) = Some(desired.into());
    }

    /// What was kept last.
    pub(crate) fn last(&self) -> Option<Desired> {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).as_deref().cloned()
    }

    /// The services of it that a run makes as described; none if nothing was planned.
    pub(crate) fn about(&self, options: &UpOptions) -> Result<BTreeSet<String>, Failure> {
        let desired = self.0.lock().unwrap_or_else(|e| e.into_inner());
        desired.as_ref().map_or(Ok(BTreeSet::new()), |desired| about(desired, options))
    }

    fn take(self) -> Option<Arc<Desired>> {
        self.0.into_inner().unwrap_or_else(|e| e.into_inner())
    }
}

/// The services that a run makes as described.
pub(crate) fn about(desired: &Desired, options: &UpOptions) -> Result<BTreeSet<String>, Failure> {
    Ok(covered(desired, options)?.into_iter().map(str::to_owned).collect())
}

/// Writes down what a run came to, while its lock is held, and gives the name of the run that the host is
/// as it left it. That it cannot be written is told: the run itself is done.
pub(crate) fn remember(
    session: &Session,
    host: &Host,
    look: &Look,
    (run, wanted): (&Run<'_>, Wanted),
    changed: &Result<Change, Failure>,
) -> Option<String> {
    let (lock, desired) = (look.lock()?, wanted.take()?);
    remember_under(session, host, lock, (run, &desired), changed)
}

/// As [`remember`], for a run that has its lock at hand.
pub(crate) fn remember_under(
    session: &Session,
    host: &Host,
    lock: &Lock,
    (run, desired): (&Run<'_>, &Desired),
    changed: &Result<Change, Failure>,
) -> Option<String> {
    let end = End::of(changed)?;
    let writer = Writer { outcome: Outcome { session, host, run, desired }, lock };
    let last_run = host.last_run(&desired.project).map_err(Failure::from);
    let run = last_run.as_ref().ok().cloned().flatten();
    if let Err(failure) = last_run.and_then(|last_run| writer.write(end, last_run)) {
        let text =
            format!("this state is not in the history, so no rollback leads here: {failure}");
        session.ui.warn(&text);
    }
    run
}

/// How a run came to its end, as far as the history minds.
struct End {
    /// Nothing had to be done.
    idle: bool,
    standing: Standing,
    why: Vec<String>,
    change: String,
    /// Services that the run itself took back.
    rejected: BTreeSet<String>,
}

impl End {
    /// Well; `idle` if nothing had to be done.
    fn well(idle: bool) -> End {
        let (standing, why, change) = (Standing::Stable, Vec::new(), String::new());
        End { idle, standing, why, change, rejected: BTreeSet::new() }
    }

    /// `None` when nothing was touched and all was not as it was to be.
    fn of(changed: &Result<Change, Failure>) -> Option<End> {
        let failed = |why: Vec<String>, change: String| {
            let (standing, rejected) = (Standing::Failed, BTreeSet::new());
            Some(End { idle: false, standing, why, change, rejected })
        };
        match changed {
            Ok(change) if change.interrupted.is_some() => {
                if change.done == 0 {
                    return None;
                }
                failed(vec!["it was interrupted".to_owned()], generation::change(&change.plan))
            }
            Ok(change) => {
                let end = End::well(change.done == 0);
                let change = match end.idle {
                    true => "as it was found".to_owned(),
                    false => generation::change(&change.plan),
                };
                Some(End { change, ..end })
            }
            Err(Failure::RolledBack { causes, services, .. }) => {
                let end = failed(causes.clone(), String::new())?;
                Some(End { rejected: services.clone(), ..end })
            }
            Err(failure) if failure.is_half_done() => {
                failed(failure.causes().to_vec(), String::new())
            }
            Err(_) => None,
        }
    }

    /// What of the newest generation was taken back and was not tried now is so still; not where this one
    /// has what serves instead.
    fn beside(
        mut self,
        newest: Option<&Generation>,
        (made_of, tried): (&MadeOf, &BTreeSet<&str>),
    ) -> End {
        let Some(newest) = newest else { return self };
        let part = |of: &MadeOf, service: &String| of.services.get(service).cloned();
        let still = newest.rejected.iter().filter(|service| {
            let same = part(made_of, service) == part(&newest.made_of, service);
            same && !tried.contains(service.as_str())
        });
        let still: Vec<String> = still.cloned().collect();
        if !still.is_empty() && self.standing == Standing::Stable {
            (self.standing, self.why) = (Standing::Failed, newest.why.clone());
        }
        self.rejected.extend(still);
        self
    }
}

struct Writer<'a> {
    outcome: Outcome<'a>,
    lock: &'a Lock,
}

impl Writer<'_> {
    fn write(&self, end: End, last_run: Option<String>) -> Result<(), Failure> {
        let Outcome { session, host, run, desired } = &self.outcome;
        let newest = host.newest_generation(&desired.project)?;
        let end = (end, last_run.as_ref());
        let entry = self.outcome.entry(newest.as_ref(), end, || Ok(host.list_containers()?))?;
        let (content, end, number) = match entry {
            Entry::Nothing => return Ok(()),
            Entry::Same(newest) if newest.history == run.history => return Ok(()),
            Entry::Same(newest) => {
                return self.mark(&Generation { history: run.history, ..newest.clone() });
            }
            Entry::Again { newest, end, taken_back, services } => {
                return self.again(newest, last_run, (&end, taken_back), services);
            }
            Entry::New { number, end, content } => (*content, end, number),
        };
        let generation = Generation {
            project: desired.project.clone(),
            number,
            at: Timestamp::now().to_string(),
            by: session.environment.get("SUDO_USER").cloned().unwrap_or("root".to_owned()),
            command: command_line(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            run: last_run,
            standing: end.standing,
            why: end.why.clone(),
            rollback: run.rollback,
            rejected: end.rejected.clone(),
            history: run.history,
            change: end.change.clone(),
            made_of: content.made_of,
        };
        host.add_generation(self.lock, &generation, &content.model, &content.contents)?;
        self.leave(newest.as_ref(), &end)?;
        self.forget_surplus()
    }

    /// Writes what became of the newest one.
    fn mark(&self, newest: &Generation) -> Result<(), Failure> {
        self.outcome.host.mark_generation(self.lock, newest)?;
        self.forget_surplus()
    }

    fn forget_surplus(&self) -> Result<(), Failure> {
        let project = &self.outcome.desired.project;
        match surplus(&self.outcome.host.generations(project)?).as_slice() {
            [] => Ok(()),
            old => Ok(self.outcome.host.forget_generations(self.lock, project, old)?),
        }
    }

    /// The newest one was come to once more, or was taken back once more.
    fn again(
        &self,
        newest: &Generation,
        run: Option<String>,
        (end, taken_back): (&End, bool),
        services: BTreeMap<String, Part>,
    ) -> Result<(), Failure> {
        let (rejected, history) = (end.rejected.clone(), self.outcome.run.history);
        let mut marked = Generation { run, rejected, history, ..newest.clone() };
        // It is known by how it was come to last, and with which contents of files that it mounts.
        if end.standing == Standing::Stable || taken_back {
            marked.made_of.services = services;
        }
        match end.standing {
            Standing::Stable => {
                marked.standing = Standing::Stable;
                marked.why.clear();
            }
            Standing::Failed | Standing::RolledBack if taken_back => {
                marked.standing = Standing::Failed;
                (marked.why, marked.at) = (end.why.clone(), Timestamp::now().to_string());
            }
            // What is still rejected is so for the reason that it had.
            Standing::Failed | Standing::RolledBack
                if marked.standing == Standing::Failed && end.rejected.is_empty() =>
            {
                marked.why.clone_from(&end.why);
            }
            Standing::Failed | Standing::RolledBack => {}
        }
        match marked == *newest {
            true => Ok(()),
            false => self.mark(&marked),
        }
    }

    /// What was gone back from is marked.
    fn leave(&self, newest: Option<&Generation>, end: &End) -> Result<(), Failure> {
        let (Some(_), Some(left)) = (self.outcome.run.rollback, newest) else { return Ok(()) };
        if end.standing != Standing::Stable || left.standing != Standing::Stable {
            return Ok(());
        }
        let left = Generation { standing: Standing::RolledBack, ..left.clone() };
        Ok(self.outcome.host.mark_generation(self.lock, &left)?)
    }
}

/// The numbers of the newest generation and of the one that a plan leads to. That it cannot be read is
/// told.
pub(crate) fn leads_to(
    session: &Session,
    host: &Host,
    run: &Run<'_>,
    (desired, observed, plan): (&Desired, &Observed, &Plan),
) -> Option<(u64, u64)> {
    let what = "which generation this leads to";
    let newest = read(session, host.newest_generation(&plan.project), what).flatten()?;
    let outcome = Outcome { session, host, run, desired };
    let left = || Ok(generation::left(plan, &observed.containers));
    let run = read(session, host.last_run(&plan.project), what)?;
    let end = (End::well(plan.is_empty()), run.as_ref());
    let entry = outcome.entry(Some(&newest), end, left);
    let after = match read(session, entry, what)? {
        Entry::Nothing | Entry::Same(_) | Entry::Again { .. } => newest.number,
        Entry::New { number, .. } => number,
    };
    Some((newest.number, after))
}

/// What there is of a history; warns that it does not say something when it cannot be read.
fn read<T>(session: &Session, found: Result<T, impl Into<Failure>>, what: &str) -> Option<T> {
    let failure = match found {
        Ok(found) => return Some(found),
        Err(error) => error.into(),
    };
    let help = failure.help().map(|help| format!("; {help}")).unwrap_or_default();
    session.ui.warn(&format!("the history does not say {what}: {failure}{help}"));
    None
}

/// Refuses a plan that makes just what was made and taken back before, as far as the history can be read.
///
/// # Errors
/// When it was, with why.
pub(crate) fn check_rejected(
    session: &Session,
    host: &Host,
    seen: (&Desired, &Observed),
    plan: &Plan,
) -> Result<(), Failure> {
    let made = made(plan, seen.0);
    if made.is_empty() {
        return Ok(());
    }
    let all = host.generations(&seen.0.project);
    let Some(all) = read(session, all, "what was rejected before") else { return Ok(()) };
    let rejected = rejected(&all, seen, &made);
    if rejected.is_empty() {
        return Ok(());
    }
    let of = |one: &Rejected| all.iter().find(|before| before.number == one.generation);
    let tries = rejected.iter().filter_map(|one| {
        let (service, number) = (&one.service, one.generation);
        Some(format!("`{service}` in generation {number}, tried at {}", second(&of(one)?.at)))
    });
    let numbers: BTreeSet<u64> = rejected.iter().map(|one| one.generation).collect();
    let causes = all.iter().filter(|before| numbers.contains(&before.number));
    Err(Failure::Rejected {
        causes: causes.flat_map(|before| before.why.clone()).collect(),
        tries: tries.collect(),
        services: rejected.iter().map(|one| one.service.clone()).collect(),
        kept: Vec::new(),
    })
}

/// A time of a record, to the second.
fn second(at: &str) -> String {
    let time =
        at.parse::<Timestamp>().map(|time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
    time.unwrap_or_else(|_| at.to_owned())
}

/// The canonical form of a generation.
pub(crate) fn document(
    session: &Session,
    host: &Host,
    generation: &Generation,
) -> Result<Document, Failure> {
    let past = past(session, host, generation);
    let switches = Switches { all_resources: true, ..Switches::default() };
    past.document(&past.options(&[]), switches)
}

/// A session in which the files are those of a generation.
pub(crate) fn past(session: &Session, host: &Host, generation: &Generation) -> Session {
    let made_of = &generation.made_of;
    // What chose the files and what they came to is over; secrets may be in variables still.
    let mut environment = session.environment.clone();
    environment.retain(|name, _| !name.starts_with("COMPOSE_"));
    environment.extend(made_of.variables.clone());
    environment.insert("COMPOSE_DISABLE_ENV_FILE".to_owned(), "1".to_owned());
    let global = Global {
        files: vec![host.model_of(generation)],
        project_name: Some(generation.project.clone()),
        project_directory: Some(made_of.working_dir.clone()),
        env_file: Vec::new(),
        profile: vec!["*".to_owned()],
        root: session.global.root.as_ref().map(|root| session.working_dir.join(root)),
        ..session.global.clone()
    };
    let ui = Ui::new(global.ansi, global.progress);
    Session {
        ui,
        global,
        environment,
        working_dir: made_of.working_dir.clone(),
        began: session.began,
    }
}

/// The project that is meant: the one of the words or the files, or when these cannot be read the one
/// that was last applied from this folder.
pub(crate) fn project(session: &Session, host: &Host) -> Result<String, Failure> {
    let failure = match session.project() {
        Ok(project) => return Ok(project.name),
        Err(failure) => failure,
    };
    if !session.global.files.is_empty() {
        return Err(failure);
    }
    let folder = session.global.project_directory.as_ref();
    let folder = folder.map_or(session.working_dir.clone(), |dir| session.working_dir.join(dir));
    match host.projects_of(&folder)?.as_slice() {
        [only] => {
            session.ui.note(&safe(&format!(
                "the files cannot be read; `{only}` is the project that was applied from here"
            )));
            Ok(only.clone())
        }
        _ => Err(failure),
    }
}

/// The number of a generation, in words.
pub(crate) fn name(number: u64) -> String {
    format!("generation {number}")
}
