//! What a run did, step by step, so that the next one can say where it was cut off, and `analyze`
//! what took how long.
//!
//! The journal decides nothing: what is half made is seen by `observe`. A run without its `end`
//! was interrupted. A run of several plans has them one after the other.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use berth_planner::plan::{Plan, StepId};
use berth_planner::ran::{Fate, Pass, Planned, Ran, RanStep};
use serde::{Deserialize, Serialize};

use super::{HostError, command_line};

/// A run of the program: its name in the journals of all projects it works on, and its clock.
#[derive(Debug, Clone)]
pub(super) struct Run {
    name: String,
    began: Instant,
}

impl Run {
    /// The run of a command that began then.
    pub(super) fn since(began: Instant) -> Run {
        let name = format!("{} {}", std::process::id(), jiff::Timestamp::now());
        Run { name, began }
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// The open journal of a run.
pub struct Journal {
    file: Mutex<File>,
    run: Run,
}

/// What an interrupted run left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interrupted {
    /// When it began, RFC 3339.
    pub began: String,
    /// Steps that were begun and have no result.
    pub open: Vec<String>,
}

/// A line of a journal. What has a default is missing in those of older versions; `us` are
/// microseconds since the start of the command.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "record")]
enum Record {
    Begin {
        at: String,
        command: String,
        steps: usize,
        #[serde(default)]
        run: String,
        #[serde(default)]
        us: Option<u64>,
        #[serde(default)]
        plan: Vec<Planned>,
    },
    Start {
        step: String,
        #[serde(flatten)]
        when: When,
    },
    Done {
        step: String,
        #[serde(flatten)]
        when: When,
    },
    Failed {
        step: String,
        error: String,
        #[serde(flatten)]
        when: When,
    },
    NotTried {
        step: String,
        #[serde(flatten)]
        when: When,
    },
    End {
        #[serde(default)]
        us: Option<u64>,
    },
}

/// Which step of the plan it was, and when.
#[derive(Debug, Default, Serialize, Deserialize)]
struct When {
    #[serde(default)]
    id: Option<u32>,
    #[serde(default)]
    us: Option<u64>,
    /// How long it waited for its turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    queued_us: Option<u64>,
}

impl Journal {
    /// Opens `dir/journal.ndjson`, telling what an interrupted run left. What this run has
    /// written there already stays.
    pub(super) fn open(dir: &Path, run: &Run) -> Result<(Journal, Option<Interrupted>), HostError> {
        let path = dir.join("journal.ndjson");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let interrupted = interrupted(&text);
        let goes_on = matches!(
            records(&text).filter(|record| matches!(record, Record::Begin { .. })).last(),
            Some(Record::Begin { run: last, .. }) if last == run.name
        );
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .and_then(|file| if goes_on { Ok(file) } else { file.set_len(0).map(|()| file) })
            .map_err(|e| HostError::io("open journal", &path, e))?;
        Ok((Journal { file: Mutex::new(file), run: run.clone() }, interrupted))
    }

    /// The steps of a plan begin.
    pub fn begin(&self, plan: &Plan) {
        self.write(&Record::Begin {
            at: jiff::Timestamp::now().to_string(),
            command: command_line(),
            steps: plan.steps.len(),
            run: self.run.name.clone(),
            us: Some(self.run.micros()),
            plan: Planned::all(plan),
        });
    }

    /// A step begins.
    pub fn start(&self, id: StepId, step: &str) {
        self.write(&Record::Start { step: step.to_owned(), when: self.now(id, None) });
    }

    /// A step has happened, after it waited so long for its turn.
    pub fn done(&self, id: StepId, step: &str, queued: Duration) {
        self.write(&Record::Done { step: step.to_owned(), when: self.now(id, Some(queued)) });
    }

    /// A step has failed.
    pub fn failed(&self, id: StepId, step: &str, error: &str, queued: Duration) {
        let (step, error) = (step.to_owned(), error.to_owned());
        self.write(&Record::Failed { step, error, when: self.now(id, Some(queued)) });
    }

    /// A step that was to begin did not get its turn.
    pub fn not_tried(&self, id: StepId, step: &str) {
        self.write(&Record::NotTried { step: step.to_owned(), when: self.now(id, None) });
    }

    /// The plan has come to its end, well or badly.
    pub fn end(&self) {
        self.write(&Record::End { us: Some(self.run.micros()) });
    }

    fn now(&self, id: StepId, queued: Option<Duration>) -> When {
        let queued_us = queued.and_then(|queued| u64::try_from(queued.as_micros()).ok());
        When { id: Some(id.0), us: Some(self.run.micros()), queued_us }
    }

    /// A lost journal line loses a hint, never state, so its error is only logged.
    fn write(&self, record: &Record) {
        let write = || -> io::Result<()> {
            let mut line = serde_json::to_vec(record)?;
            line.push(b'\n');
            self.file.lock().map_err(|_| io::Error::other("poisoned"))?.write_all(&line)
        };
        if let Err(e) = write() {
            tracing::warn!("cannot write the journal: {e}");
        }
    }
}

/// The lines of a journal; the last one may be cut off.
fn records(text: &str) -> impl Iterator<Item = Record> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok())
}

fn read(dir: &Path) -> Result<Option<String>, HostError> {
    let path = dir.join("journal.ndjson");
    match fs::read_to_string(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some).map_err(|e| HostError::io("read journal", &path, e)),
    }
}

/// When the run began that `dir/journal.ndjson` is of, if there is one.
pub(super) fn began(dir: &Path) -> Result<Option<String>, HostError> {
    /// What of a [`Record::Begin`] says so; the plan in it may be long.
    #[derive(Deserialize)]
    struct Begin {
        record: String,
        at: Option<String>,
    }
    let text = read(dir)?.unwrap_or_default();
    let mut records = text.lines().filter_map(|line| serde_json::from_str::<Begin>(line).ok());
    Ok(records.find_map(|line| line.at.filter(|_| line.record == "begin")))
}

/// The run that `dir/journal.ndjson` is of, if there is one.
///
/// The error says when it began, if it is of a version that wrote no times.
pub(super) fn ran(dir: &Path) -> Result<Option<Result<Ran, String>>, HostError> {
    let Some(text) = read(dir)? else { return Ok(None) };
    let mut ran = Ran::default();
    for record in records(&text) {
        match record {
            Record::Begin { at, us: None, .. } => return Ok(Some(Err(at))),
            Record::Begin { at, command, us: Some(us), plan, .. } => {
                if ran.passes.is_empty() {
                    (ran.at, ran.command) = (at, command);
                }
                let step = |planned| RanStep { planned, ..RanStep::default() };
                let steps = plan.into_iter().map(step).collect();
                ran.passes.push(Pass { began: Duration::from_micros(us), steps });
                (ran.ended, ran.last) = (false, Duration::from_micros(us));
            }
            Record::Start { when, .. } => note(&mut ran, &when, Fate::Open),
            Record::Done { when, .. } => note(&mut ran, &when, Fate::Done),
            Record::Failed { when, error, .. } => note(&mut ran, &when, Fate::Failed(error)),
            Record::NotTried { when, .. } => note(&mut ran, &when, Fate::NotTried),
            Record::End { us } => {
                ran.ended = true;
                ran.last = us.map_or(ran.last, Duration::from_micros);
            }
        }
    }
    Ok((!ran.passes.is_empty()).then_some(Ok(ran)))
}

/// Something became of a step of the last plan.
fn note(ran: &mut Ran, when: &When, fate: Fate) {
    let Some((id, us)) = when.id.zip(when.us) else { return };
    let step = ran.passes.last_mut().and_then(|pass| pass.steps.get_mut(id as usize));
    let Some(step) = step else { return };
    let at = Duration::from_micros(us);
    match fate {
        Fate::Open => step.began = Some(at),
        Fate::NotTried => step.began = None,
        Fate::Done | Fate::Failed(_) => step.ended = Some(at),
    }
    step.queued = Duration::from_micros(when.queued_us.unwrap_or(0));
    step.fate = fate;
    ran.last = at;
}

/// What the run written down in `text` left open; `None` when it came to its end.
fn interrupted(text: &str) -> Option<Interrupted> {
    let mut left = None;
    for record in records(text) {
        match (record, &mut left) {
            (Record::Begin { at, .. }, _) => {
                left = Some(Interrupted { began: at, open: Vec::new() });
            }
            (Record::Start { step, .. }, Some(left)) => left.open.push(step),
            (
                Record::Done { step, .. }
                | Record::Failed { step, .. }
                | Record::NotTried { step, .. },
                Some(left),
            ) => {
                left.open.retain(|open| *open != step);
            }
            (Record::End { .. }, _) => left = None,
            (_, None) => {}
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use berth_planner::action::Action;
    use berth_planner::plan::Step;

    use super::*;

    /// A plan that starts these containers, one after the other.
    fn plan(names: &[&str]) -> Plan {
        let step = |(id, name): (usize, &&str)| Step {
            id: StepId(id as u32),
            action: Action::StartContainer { name: (*name).to_owned() },
            causes: vec![],
            changes: vec![],
            after: (0..id as u32).map(StepId).collect(),
            after_tried: vec![],
        };
        let steps = names.iter().enumerate().map(step).collect();
        Plan { project: "shop".into(), steps, ..Plan::default() }
    }

    fn folder(name: &str) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("berth-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn run(name: &str) -> Run {
        Run { name: name.into(), began: Instant::now() }
    }

    #[test]
    fn a_run_without_its_end_tells_which_steps_were_open() {
        let dir = folder("journal");
        let (journal, before) = Journal::open(&dir, &run("1")).unwrap();
        assert_eq!(before, None);
        journal.begin(&plan(&["a", "b", "c"]));
        journal.start(StepId(0), "a");
        journal.done(StepId(0), "a", Duration::ZERO);
        journal.start(StepId(1), "b");
        journal.start(StepId(2), "c");
        journal.not_tried(StepId(2), "c");
        drop(journal);

        let ran = super::ran(&dir).unwrap().unwrap().unwrap();
        assert!(!ran.ended);
        let fates = ran.passes[0].steps.iter().map(|step| step.fate.clone());
        assert_eq!(fates.collect::<Vec<_>>(), [Fate::Done, Fate::Open, Fate::NotTried]);

        let (journal, before) = Journal::open(&dir, &run("2")).unwrap();
        let before = before.unwrap();
        assert_eq!(before.open, ["b"]);
        assert_eq!(began(&dir).unwrap(), None);
        assert_eq!(super::ran(&dir).unwrap(), None);
        journal.begin(&plan(&[]));
        assert!(began(&dir).unwrap().is_some_and(|at| at > before.began));
        journal.end();
        let (_, before) = Journal::open(&dir, &run("3")).unwrap();
        assert_eq!(before, None);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_plans_of_one_run_are_kept_together_with_their_times() {
        let dir = folder("journal-passes");
        let run = run("1");
        let (first, _) = Journal::open(&dir, &run).unwrap();
        first.begin(&plan(&["a"]));
        first.start(StepId(0), "a");
        first.done(StepId(0), "a", Duration::from_micros(7));
        first.end();
        let (second, before) = Journal::open(&dir, &run).unwrap();
        assert_eq!(before, None);
        second.begin(&plan(&["b", "c"]));
        second.start(StepId(0), "b");
        second.failed(StepId(0), "b", "no", Duration::ZERO);
        second.end();

        let ran = super::ran(&dir).unwrap().unwrap().unwrap();
        assert!(ran.ended);
        let [first, second] = ran.passes.as_slice() else { panic!("{ran:?}") };
        let a = &first.steps[0];
        assert_eq!((a.planned.what.as_str(), &a.fate), ("start a", &Fate::Done));
        assert_eq!(a.queued, Duration::from_micros(7));
        assert!(a.began.unwrap() <= a.ended.unwrap() && a.ended.unwrap() <= second.began);
        assert_eq!(second.steps[0].fate, Fate::Failed("no".into()));
        assert_eq!(second.steps[1].planned.after, [0]);
        assert_eq!(second.steps[1].fate, Fate::NotTried);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_journal_of_a_version_without_times_says_when_it_was() {
        let dir = folder("journal-old");
        let old = "{\"record\":\"begin\",\"at\":\"2026-01-01T00:00:00Z\",\"command\":\"berth up\",\"steps\":1}\n\
                   {\"record\":\"start\",\"step\":\"a\"}\n{\"record\":\"done\",\"step\":\"a\"}\n{\"record\":\"end\"}\n";
        fs::write(dir.join("journal.ndjson"), old).unwrap();
        assert_eq!(super::ran(&dir).unwrap(), Some(Err("2026-01-01T00:00:00Z".into())));
        assert_eq!(interrupted(old), None);
        let cut = old.trim_end_matches("{\"record\":\"end\"}\n");
        assert!(interrupted(cut).is_some_and(|left| left.open.is_empty()));
        fs::remove_dir_all(&dir).unwrap();
    }
}
