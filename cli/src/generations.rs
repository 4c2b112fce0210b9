//! The history of a project: what a run leaves in it, and how a generation is loaded again. Which one
//! is gone back to and what is kept, the planner says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use berth_planner::desired::Desired;
use berth_planner::generation::{
    self, Generation, MadeOf, Part, Rejected, Rollback, Standing, applied, digest_of, made,
    rejected, surplus,
};
use berth_planner::lock::Pins;
use berth_planner::observed::{Observed, ObservedContainer};
use berth_planner::plan::Plan;
use berth_planner::up::{UpOptions, covered};
use berth_runtime::host::{Host, HostError, Lock, command_line};
use berth_schema::config::Switches;
use berth_schema::stack::{Document, FileContent, Stack};
use jiff::Timestamp;

use crate::args::Global;
use crate::failure::Failure;
use crate::flow::{Change, Look};
use crate::session::Session;
use crate::ui::{Ui, safe};

mod judged;

pub(crate) use judged::{Waited, mark};

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
    let writer = Writer { session, host, lock, run, desired };
    if let Err(failure) = writer.write(end) {
        let text =
            format!("this state is not in the history, so no rollback leads here: {failure}");
        session.ui.warn(&text);
    }
    host.last_run(&desired.project).ok().flatten()
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
                let (standing, why) = (Standing::Stable, Vec::new());
                let idle = change.done == 0;
                let change = match idle {
                    true => "as it was found".to_owned(),
                    false => generation::change(&change.plan),
                };
                Some(End { idle, standing, why, change, rejected: BTreeSet::new() })
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

/// What is written of a generation besides what became of it.
struct Content {
    made_of: MadeOf,
    /// The text of its model.
    model: String,
    /// The contents of its files.
    contents: BTreeMap<PathBuf, Vec<u8>>,
}

struct Writer<'a> {
    session: &'a Session,
    host: &'a Host,
    lock: &'a Lock,
    run: &'a Run<'a>,
    desired: &'a Desired,
}

impl<'a> Writer<'a> {
    fn write(&self, end: End) -> Result<(), Failure> {
        let project = &self.desired.project;
        let newest = self.host.newest_generation(project)?;
        let run = self.host.last_run(project)?;
        let mut covered = covered(self.desired, self.run.options)?;
        covered.retain(|service| !self.run.kept.contains(*service));
        let is_touched = |service: &String| covered.contains(service.as_str());
        let is_known =
            |newest: &Generation| newest.run == run && !newest.rejected.iter().any(is_touched);
        if let Some(newest) = newest.as_ref().filter(|newest| end.idle && is_known(newest)) {
            return match newest.history == self.run.history {
                true => Ok(()),
                false => self.mark(&Generation { history: self.run.history, ..newest.clone() }),
            };
        }
        let containers = self.host.list_containers()?;
        let tried = match end.standing {
            Standing::Stable => applied(self.desired, &containers, &covered),
            Standing::Failed | Standing::RolledBack => covered,
        };
        let taken_back = !end.rejected.is_empty();
        if newest.is_none() && containers.values().all(|one| one.record.project != *project) {
            return Ok(());
        }
        let of = (&tried, &end.rejected);
        let Content { made_of, model, contents } = self.content(&containers, of)?;
        let end = &end.beside(newest.as_ref(), (&made_of, &tried));
        // What was taken back for the files that it mounts is not what serves with others of them.
        let bound =
            |of: &MadeOf, service: &String| of.services.get(service).map(|p| p.bound.clone());
        let same_files = |newest: &Generation| {
            let now = end.rejected.iter().filter(|_| taken_back);
            let mut rejected = newest.rejected.iter().chain(now);
            rejected.all(|service| bound(&newest.made_of, service) == bound(&made_of, service))
        };
        let is_again =
            |newest: &&Generation| newest.made_of.is_like(&made_of) && same_files(newest);
        if let Some(newest) = newest.as_ref().filter(is_again) {
            return self.again(newest, run, (end, taken_back), made_of.services);
        }
        let number = newest.as_ref().map_or(1, |newest| newest.number + 1);
        let now = Timestamp::now();
        let generation = Generation {
            project: project.clone(),
            number,
            at: now.to_string(),
            by: self.session.environment.get("SUDO_USER").cloned().unwrap_or("root".to_owned()),
            command: command_line(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            run,
            standing: end.standing,
            why: end.why.clone(),
            rollback: self.run.rollback,
            rejected: end.rejected.clone(),
            history: self.run.history,
            change: end.change.clone(),
            made_of,
        };
        self.host.add_generation(self.lock, &generation, &model, &contents)?;
        self.leave(newest.as_ref(), end)?;
        self.forget_surplus()
    }

    /// Writes what became of the newest one.
    fn mark(&self, newest: &Generation) -> Result<(), Failure> {
        self.host.mark_generation(self.lock, newest)?;
        self.forget_surplus()
    }

    fn forget_surplus(&self) -> Result<(), Failure> {
        let project = &self.desired.project;
        match surplus(&self.host.generations(project)?).as_slice() {
            [] => Ok(()),
            old => Ok(self.host.forget_generations(self.lock, project, old)?),
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
        let (rejected, history) = (end.rejected.clone(), self.run.history);
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
        let (Some(_), Some(left)) = (self.run.rollback, newest) else { return Ok(()) };
        if end.standing != Standing::Stable || left.standing != Standing::Stable {
            return Ok(());
        }
        let left = Generation { standing: Standing::RolledBack, ..left.clone() };
        Ok(self.host.mark_generation(self.lock, &left)?)
    }

    /// What is applied now, the text of its model, and the contents of its files.
    fn content(
        &self,
        containers: &BTreeMap<String, ObservedContainer>,
        (services, rejected): (&BTreeSet<&'a str>, &BTreeSet<String>),
    ) -> Result<Content, Failure> {
        let Writer { host, run, desired, .. } = *self;
        // When services are named, the others are not even in what is desired.
        let whole = run.options.services.is_empty() && services.len() == desired.services.len();
        let all = match whole {
            true => Vec::new(),
            false => host.generations(&desired.project)?,
        };
        let before = generation::base(&all, containers, services);
        let needed = self.needed(services, before)?;
        let mut made_of = MadeOf::of(desired, containers, services);
        made_of.pins = run.pins.clone();
        made_of.variables = variables(run.stack);
        // No container is left of what was taken back.
        for name in rejected {
            let (part, service) = (made_of.services.get_mut(name), desired.services.get(name));
            if let (Some(part), Some(service)) = (part, service) {
                part.id = host.store().resolve(&service.image())?.map(|entry| entry.id);
            }
        }
        for part in made_of.services.values_mut() {
            let entry = part.id.as_ref().map(|id| host.store().resolve(id)).transpose()?.flatten();
            part.digests = entry.map(|entry| entry.digests).unwrap_or_default();
        }
        let mut contents: BTreeMap<PathBuf, Vec<u8>> =
            desired.sources.iter().map(|(path, of)| (path.clone(), of.0.to_vec())).collect();
        let document = before.map(|before| document(self.session, host, before)).transpose()?;
        if let Some(before) = before {
            made_of = made_of.beside(&before.made_of, services);
            for (path, bytes) in host.contents_of(before)? {
                contents.entry(path).or_insert(bytes);
            }
        }
        let document = run.stack.document.over(document.as_ref(), &needed, &run.options.scale);
        let model = document.to_yaml();
        made_of.model = digest_of(model.as_bytes());
        Ok(Content { made_of, model, contents })
    }
}

impl<'a> Writer<'a> {
    /// Services with what they depend on and was never applied, as after `up --no-deps`: without that
    /// their model would not load.
    fn needed(
        &self,
        services: &BTreeSet<&'a str>,
        before: Option<&Generation>,
    ) -> Result<BTreeSet<&'a str>, Failure> {
        if services.is_empty() {
            return Ok(BTreeSet::new());
        }
        let names = services.iter().map(|name| (*name).to_owned()).collect();
        let all = covered(self.desired, &UpOptions { services: names, ..UpOptions::default() })?;
        let applied =
            |name: &str| before.is_some_and(|before| before.made_of.services.contains_key(name));
        Ok(all.into_iter().filter(|name| services.contains(name) || !applied(name)).collect())
    }
}

/// The variables that configs are made from; those of secrets are not written down.
fn variables(stack: &Stack) -> BTreeMap<String, String> {
    let of_configs = stack.configs.values().filter_map(|object| match &object.content {
        FileContent::Environment(name, Some(value)) => Some((name.clone(), value.clone())),
        FileContent::Environment(_, None)
        | FileContent::File(_)
        | FileContent::Inline(_)
        | FileContent::External => None,
    });
    of_configs.collect()
}

/// The numbers of the newest generation and of the one that a plan leads to. That it cannot be read is
/// told.
pub(crate) fn leads_to(session: &Session, host: &Host, plan: &Plan) -> Option<(u64, u64)> {
    let newest = host.newest_generation(&plan.project);
    let newest = read(session, newest, "which generation this leads to").flatten()?;
    Some((newest.number, newest.after(plan)))
}

/// What there is of a history; warns that it does not say something when it cannot be read.
fn read<T>(session: &Session, found: Result<T, HostError>, what: &str) -> Option<T> {
    let failure = match found {
        Ok(found) => return Some(found),
        Err(error) => Failure::from(error),
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
