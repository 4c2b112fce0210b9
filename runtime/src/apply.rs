//! Performs a plan: as many steps at once as their order allows.
//!
//! A step begins when everything it comes after has happened. What comes after a failed step is
//! skipped; independent branches go on.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use berth_planner::plan::{Plan, Step, StepId};
use berth_planner::walk::Walk;
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::host::{Host, Journal, StepError};
use crate::store::{LayerEvent, LayerProgress};

/// How much happens at once unless somebody says otherwise. Waiting for a gate counts for nothing.
pub const STEPS_AT_ONCE: usize = 16;

/// What happens while a plan is performed.
#[derive(Debug)]
pub enum ApplyEvent {
    /// A step begins.
    Started(StepId),
    /// A step has happened.
    Done(StepId),
    /// A step has failed.
    Failed(StepId, String),
    /// A step was not tried, because one it comes after failed or the run was interrupted.
    Skipped(StepId),
    /// An image is on its way.
    Pulling(StepId, LayerEvent),
}

/// How far the user wants a running apply to go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Interrupt {
    /// To its end.
    #[default]
    None,
    /// Finish what runs, begin nothing.
    Finish,
    /// Leave everything at once.
    Now,
}

/// What became of a plan.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Steps that have happened.
    pub done: Vec<StepId>,
    /// Steps that failed, with why.
    pub failed: Vec<(StepId, StepError)>,
    /// Steps that were not tried.
    pub skipped: Vec<StepId>,
    /// Those of the skipped that were begun, and left where they were.
    pub left: Vec<StepId>,
}

impl Outcome {
    /// Whether everything has happened.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.skipped.is_empty()
    }

    /// Steps that were begun, whatever came of them.
    pub fn begun(&self) -> impl Iterator<Item = StepId> {
        let failed = self.failed.iter().map(|(id, _)| id);
        self.done.iter().chain(failed).chain(&self.left).copied()
    }

    /// Whether nothing failed but for a plan that was stale.
    pub fn is_stale(&self) -> bool {
        !self.failed.is_empty() && self.failed.iter().all(|(_, error)| error.is_stale())
    }
}

/// Performs `plan` on `host`, so many steps at once. The caller holds the project's lock since it
/// observed.
pub async fn apply(
    host: &Arc<Host>,
    plan: &Plan,
    journal: &Journal,
    events: &mpsc::Sender<ApplyEvent>,
    mut interrupt: watch::Receiver<Interrupt>,
    at_once: usize,
) -> Outcome {
    let mut run = Run {
        host,
        plan,
        journal,
        events,
        walk: Walk::new(plan),
        under_way: BTreeSet::new(),
        tasks: JoinSet::new(),
        permits: Arc::new(Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS))),
        outcome: Outcome::default(),
    };
    journal.begin(plan);
    loop {
        let level = *interrupt.borrow_and_update();
        match level {
            Interrupt::None => run.begin_ready().await,
            // Who waits for a turn gets none any more.
            Interrupt::Finish | Interrupt::Now => run.permits.close(),
        }
        if level == Interrupt::Now || run.tasks.is_empty() {
            break;
        }
        tokio::select! {
            Some(finished) = run.tasks.join_next() => run.finish(finished).await,
            Ok(()) = interrupt.changed() => {}
        }
    }
    run.close().await
}

/// The threads that steps run on where the program itself has one alone, which is enough to look.
static WORKERS: Mutex<Option<Runtime>> = Mutex::new(None);
/// As many as do something beside what waits for the kernel, which has threads of its own.
const WORKING: usize = 2;

fn workers() -> Handle {
    let own = Handle::current();
    if own.runtime_flavor() != RuntimeFlavor::CurrentThread {
        return own;
    }
    let mut workers = WORKERS.lock().unwrap_or_else(|e| e.into_inner());
    if workers.is_none() {
        let many = Builder::new_multi_thread().worker_threads(WORKING).enable_all().build();
        *workers = many.ok();
    }
    workers.as_ref().map_or(own, |workers| workers.handle().clone())
}

/// Ends the threads that steps ran on, when the host calls that are under way there have ended. Not for
/// async tasks.
pub fn end_workers() {
    let workers = WORKERS.lock().unwrap_or_else(|e| e.into_inner()).take();
    drop(workers);
}

struct Run<'a> {
    host: &'a Arc<Host>,
    plan: &'a Plan,
    journal: &'a Journal,
    events: &'a mpsc::Sender<ApplyEvent>,
    walk: Walk,
    under_way: BTreeSet<StepId>,
    tasks: JoinSet<Tried>,
    permits: Arc<Semaphore>,
    outcome: Outcome,
}

/// A step with its result, and how long it waited for its turn; `None` if that never came.
type Tried = (StepId, Duration, Option<Result<(), StepError>>);

impl Run<'_> {
    async fn begin_ready(&mut self) {
        for id in self.walk.ready() {
            let step = &self.plan.steps[id.index()];
            let action = step.action.clone();
            let (host, permits) = (self.host.clone(), self.permits.clone());
            self.journal.start(id, &name(step));
            self.tell(ApplyEvent::Started(id)).await;
            let events = self.events.clone();
            let ready = Instant::now();
            self.under_way.insert(id);
            let step = async move {
                let permit = match action.waits() {
                    true => None,
                    false => Some(permits.acquire_owned().await),
                };
                let queued = ready.elapsed();
                if matches!(permit, Some(Err(_))) {
                    return (id, queued, None);
                }
                // Progress that finds the queue full is overtaken by the next one.
                let pulling: LayerProgress = Arc::new(move |event| {
                    let _ = events.try_send(ApplyEvent::Pulling(id, event));
                });
                (id, queued, Some(host.perform(&action, pulling).await))
            };
            self.tasks.spawn_on(step, &workers());
        }
    }

    async fn finish(&mut self, joined: Result<Tried, tokio::task::JoinError>) {
        let (id, queued, result) = match joined {
            Ok(finished) => finished,
            // A task ends without a result only by a panic, which ends the program.
            Err(_) => return,
        };
        self.under_way.remove(&id);
        let name = name(&self.plan.steps[id.index()]);
        let Some(result) = result else { return self.journal.not_tried(id, &name) };
        self.walk.finished(id, result.is_ok());
        match result {
            Ok(()) => {
                self.journal.done(id, &name, queued);
                self.outcome.done.push(id);
                self.tell(ApplyEvent::Done(id)).await;
            }
            Err(error) => {
                self.journal.failed(id, &name, &error.to_string(), queued);
                self.tell(ApplyEvent::Failed(id, error.to_string())).await;
                self.outcome.failed.push((id, error));
            }
        }
    }

    /// Names what was not tried, and closes the journal.
    async fn close(mut self) -> Outcome {
        self.tasks.shutdown().await;
        self.settle();
        let failed = self.outcome.failed.iter().map(|(id, _)| *id);
        let tried: BTreeSet<StepId> = self.outcome.done.iter().copied().chain(failed).collect();
        for id in self.plan.steps.iter().map(|step| step.id) {
            if !tried.contains(&id) {
                self.outcome.skipped.push(id);
                self.tell(ApplyEvent::Skipped(id)).await;
            }
        }
        self.outcome.left = std::mem::take(&mut self.under_way).into_iter().collect();
        self.journal.end();
        self.outcome
    }

    /// What the disk refuses is a failure of what was created last.
    fn settle(&mut self) {
        if let Err(error) = self.host.settle() {
            let last = self.outcome.done.pop();
            self.outcome.failed.extend(last.map(|id| (id, error)));
        }
    }

    /// Nobody listening is no reason to stop.
    async fn tell(&self, event: ApplyEvent) {
        let _ = self.events.send(event).await;
    }
}

/// A step in the journal's words.
fn name(step: &Step) -> String {
    format!("{} {}", step.action.verb(), step.action.target())
}
