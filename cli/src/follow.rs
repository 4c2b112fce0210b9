//! The output of several containers as it comes, and their ends.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use berth_planner::observed::ObservedContainer;
use berth_runtime::bundle::{Phase, Status};
use berth_runtime::logs::{Follow, LogLine, LogQuery};
use berth_runtime::monitor::client;
use berth_runtime::paths::Roots;
use berth_runtime::record;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::rows;

/// Stands for an exit code that nobody knows, which is no success.
pub(crate) const UNKNOWN: i32 = -1;
/// Lines that may wait to be printed.
const QUEUE: usize = 1024;

/// Whose output it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// Name on the host.
    pub(crate) name: String,
    /// Service.
    pub(crate) service: String,
    /// Name in front of its lines.
    pub(crate) label: String,
    logs: PathBuf,
    run: PathBuf,
}

impl Source {
    /// The output of `container`.
    pub(crate) fn of(roots: &Roots, container: &ObservedContainer) -> Source {
        let name = &container.record.name;
        Source {
            name: name.clone(),
            service: container.record.service.clone(),
            label: rows::label(container),
            logs: roots.container(name).join("logs"),
            run: roots.container_run(name),
        }
    }

    /// Its log folder.
    pub(crate) fn logs(&self) -> &Path {
        &self.logs
    }
}

/// Something happened to a container.
#[derive(Debug)]
pub(crate) enum Event {
    /// It wrote a line.
    Line(Source, LogLine),
    /// It ended and will be started again.
    Restarting(Source, i32),
    /// Nothing more comes from it. It ended with this code, or nobody knows what becomes of it: its
    /// monitor is gone.
    Ended(Source, Option<i32>),
    /// Its output cannot be read; its end is still told.
    Unreadable(Source, String),
}

impl Event {
    /// Whose event it is.
    pub(crate) fn source(&self) -> &Source {
        match self {
            Event::Line(source, _)
            | Event::Restarting(source, _)
            | Event::Ended(source, _)
            | Event::Unreadable(source, _) => source,
        }
    }
}

/// Follows containers until each has ended.
#[derive(Debug)]
pub(crate) struct Follower {
    events: mpsc::Receiver<Event>,
    /// Kept so that the queue stays open while nobody is followed.
    sender: mpsc::Sender<Event>,
    tasks: JoinSet<()>,
    followed: BTreeSet<String>,
}

impl Follower {
    /// Follows nobody yet.
    pub(crate) fn new() -> Follower {
        let (sender, events) = mpsc::channel(QUEUE);
        Follower { events, sender, tasks: JoinSet::new(), followed: BTreeSet::new() }
    }

    /// Follows one more container.
    pub(crate) fn add(&mut self, source: Source, query: LogQuery) {
        if self.followed.insert(source.name.clone()) {
            self.tasks.spawn(follow(source, query, self.sender.clone()));
        }
    }

    /// Whether everybody who was followed has ended.
    pub(crate) fn is_done(&self) -> bool {
        self.followed.is_empty()
    }

    /// Whether this container is followed and has not ended.
    pub(crate) fn follows(&self, name: &str) -> bool {
        self.followed.contains(name)
    }

    /// The next event.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        let event = self.events.recv().await?;
        self.note(&event);
        Some(event)
    }

    /// An event that is there already.
    pub(crate) fn try_next(&mut self) -> Option<Event> {
        let event = self.events.try_recv().ok()?;
        self.note(&event);
        Some(event)
    }

    fn note(&mut self, event: &Event) {
        if let Event::Ended(source, _) = event {
            self.followed.remove(&source.name);
        }
        while self.tasks.try_join_next().is_some() {}
    }
}

/// Sends every line of a container, then its end.
async fn follow(source: Source, query: LogQuery, events: mpsc::Sender<Event>) {
    let (ended, is_ended) = watch::channel(false);
    let lines = async {
        if let Err(e) = send_lines(&source, query, is_ended, &events).await {
            let _ = events.send(Event::Unreadable(source.clone(), e.to_string())).await;
        }
    };
    let life = watch_life(&source, ended, &events);
    let ((), exit_code) = tokio::join!(lines, life);
    let _ = events.send(Event::Ended(source, exit_code)).await;
}

async fn send_lines(
    source: &Source,
    query: LogQuery,
    ended: watch::Receiver<bool>,
    events: &mpsc::Sender<Event>,
) -> std::io::Result<()> {
    let mut follow = match Follow::open(&source.logs, &query, ended) {
        Ok(follow) => follow,
        // It never wrote anything, so there is no folder.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    while let Some(line) = follow.next().await? {
        if events.send(Event::Line(source.clone(), line)).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Waits until the container has ended for good; gives its exit status, if anybody saw it.
async fn watch_life(
    source: &Source,
    ended: watch::Sender<bool>,
    events: &mpsc::Sender<Event>,
) -> Option<i32> {
    let mut last: Status = Status::default();
    if let Ok(mut updates) = client::subscribe(&source.run).await {
        let mut told = 0;
        while let Some(status) = updates.next().await {
            let restarts = status.phase == Phase::Waiting && status.restarts >= told;
            if restarts {
                told = status.restarts + 1;
                let _ = events.send(Event::Restarting(source.clone(), status.exit_code)).await;
            }
            let over = status.phase == Phase::Exited;
            last = status;
            if over {
                break;
            }
        }
    }
    if last.phase != Phase::Exited
        && let Ok(Some(written)) = record::read::<Status>(&source.run.join("status.json"))
    {
        last = written;
    }
    let _ = ended.send(true);
    end_of(&last)
}

/// The exit status in the last status that a monitor wrote. One that waited with a start has seen an
/// end; what became of a container that ran then nobody has.
fn end_of(last: &Status) -> Option<i32> {
    match last.phase {
        Phase::Exited | Phase::Waiting => Some(last.exit_code).filter(|code| *code >= 0),
        Phase::Starting | Phase::Running | Phase::Stopping => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_nobody_saw_has_no_code() {
        let of = |phase, exit_code| end_of(&Status { phase, exit_code, ..Status::default() });
        assert_eq!(of(Phase::Exited, 0), Some(0));
        assert_eq!(of(Phase::Exited, -1), None);
        assert_eq!(of(Phase::Waiting, 3), Some(3));
        for phase in [Phase::Starting, Phase::Running, Phase::Stopping] {
            assert_eq!(of(phase, 0), None);
        }
    }
}
