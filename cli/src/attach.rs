//! What follows an attached `up`: output as it comes, until all have ended or the user has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use berth_planner::lifecycle;
use berth_planner::observed::Observed;
use berth_planner::plan::Plan;
use berth_runtime::host::Asked;
use berth_runtime::host::Host;
use berth_runtime::logs::LogQuery;
use berth_runtime::monitor::client;
use jiff::Timestamp;

use crate::failure::{Exit, Failure};
use crate::flow::{self, Manner};
use crate::follow::{Event, Follower, Source};
use crate::printer::Printer;
use crate::project::containers;
use crate::rows;
use crate::session::Session;
use crate::signals::Signals;

const SIGKILL: i32 = 9;

/// What is shown, and when it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attached {
    /// The project.
    pub(crate) project: String,
    /// Services whose output is shown.
    pub(crate) shown: BTreeSet<String>,
    /// Services that were brought up: their ends count, and they are stopped with it.
    pub(crate) running: BTreeSet<String>,
    /// When it ends.
    pub(crate) end: End,
    /// How long a container may take to stop.
    pub(crate) grace: Option<Duration>,
    /// Show colours.
    pub(crate) colours: bool,
    /// Show names.
    pub(crate) names: bool,
    /// Show times.
    pub(crate) timestamps: bool,
}

/// When an attached `up` ends by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// When every container has ended.
    WhenAllEnded,
    /// When one ends; the others are stopped.
    AtFirstExit,
    /// When one fails; the others are stopped.
    AtFirstFailure,
    /// When one ends, with the exit code of this service.
    WithCodeOf(String),
}

impl End {
    /// Whether an exit with `code` ends it all.
    fn comes_with(&self, code: i32) -> bool {
        match self {
            End::WhenAllEnded => false,
            End::AtFirstExit | End::WithCodeOf(_) => true,
            End::AtFirstFailure => code != 0,
        }
    }
}

/// Shows output since `began` until the end; Ctrl-C stops what was brought up.
pub(crate) async fn follow(
    session: &Session,
    host: &Arc<Host>,
    attached: &Attached,
    began: Timestamp,
) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let mut shown = Shown::new(session, host, attached, began)?;
    let mut first = None;
    while !shown.follower.is_done() {
        tokio::select! {
            Some(event) = shown.follower.next() => {
                if let Some(code) = shown.take(event)? {
                    first.get_or_insert(code);
                    if attached.end.comes_with(code) {
                        break;
                    }
                }
            }
            _ = signals.next() => {
                session.ui.note("stopping; press Ctrl-C again to kill");
                shown.stop(session, host, attached, &mut signals).await?;
                return Ok(Exit::Done);
            }
        }
    }
    if !shown.follower.is_done() {
        shown.stop(session, host, attached, &mut signals).await?;
    }
    Ok(match &attached.end {
        End::WhenAllEnded => Exit::Done,
        End::AtFirstExit | End::AtFirstFailure => Exit::Container(first.unwrap_or(0)),
        End::WithCodeOf(service) => Exit::Container(shown.codes.get(service).copied().unwrap_or(0)),
    })
}

/// Stops what was brought up in reverse order, without output.
pub(crate) async fn stop(
    session: &Session,
    host: &Arc<Host>,
    attached: &Attached,
) -> Result<(), Failure> {
    stop_as(session, host, attached, Manner::Usual).await
}

async fn stop_as(
    session: &Session,
    host: &Arc<Host>,
    attached: &Attached,
    manner: Manner,
) -> Result<(), Failure> {
    let project = attached.project.as_str();
    let plan = |observed: &Observed| {
        let made = containers(observed, project, &[]).into_iter();
        let services: BTreeSet<String> = made
            .map(|container| container.record.service.clone())
            .filter(|service| attached.running.contains(service))
            .collect();
        let services: Vec<String> = services.into_iter().collect();
        match services.is_empty() {
            true => Ok(Plan { project: project.to_owned(), ..Plan::default() }),
            false => Ok(lifecycle::stop(project, observed, &services, attached.grace)?),
        }
    };
    flow::change_as(session, host, project, &Asked::default(), plan, manner).await.map(drop)
}

/// The containers that are followed, and what they ended with.
struct Shown<'a> {
    follower: Follower,
    printer: Printer<'a>,
    services: &'a BTreeSet<String>,
    codes: BTreeMap<String, i32>,
}

impl<'a> Shown<'a> {
    fn new(
        session: &'a Session,
        host: &Host,
        attached: &'a Attached,
        began: Timestamp,
    ) -> Result<Shown<'a>, Failure> {
        let mut printer =
            Printer::new(&session.ui, attached.colours, attached.names, attached.timestamps);
        let mut follower = Follower::new();
        let query = LogQuery { since: Some(began), follow: true, ..LogQuery::default() };
        for container in host.list_containers()?.into_values() {
            let record = &container.record;
            let ours = record.project == attached.project && !record.oneoff;
            if !ours || !attached.running.contains(&record.service) {
                continue;
            }
            if attached.shown.contains(&record.service) {
                printer.know(&rows::label(&container));
            }
            follower.add(Source::of(host.roots(), &container), query.clone());
        }
        Ok(Shown { follower, printer, services: &attached.shown, codes: BTreeMap::new() })
    }

    /// Prints an event and those that are there already; gives the first exit code among them.
    fn take(&mut self, event: Event) -> Result<Option<i32>, Failure> {
        let mut exited = None;
        let mut next = Some(event);
        while let Some(event) = next {
            if let Event::Ended(source, code) = &event {
                self.codes.insert(source.service.clone(), *code);
                exited.get_or_insert(*code);
            }
            if self.services.contains(&event.source().service) {
                self.printer.event(&event)?;
            }
            next = self.follower.try_next();
        }
        self.printer.flush()?;
        Ok(exited)
    }

    /// Stops the stack while its last words are shown; a further signal kills it.
    async fn stop(
        &mut self,
        session: &Session,
        host: &Arc<Host>,
        attached: &Attached,
        signals: &mut Signals,
    ) -> Result<(), Failure> {
        let stop = stop_as(session, host, attached, Manner::BetweenOutput);
        tokio::pin!(stop);
        let stopped = loop {
            tokio::select! {
                stopped = &mut stop => break stopped,
                Some(event) = self.follower.next() => drop(self.take(event)?),
                _ = signals.next() => kill_all(host, attached).await?,
            }
        };
        while let Some(event) = self.follower.try_next() {
            self.take(event)?;
        }
        stopped
    }
}

/// Kills what runs. The stop that is under way then has nothing to wait for.
async fn kill_all(host: &Host, attached: &Attached) -> Result<(), Failure> {
    for container in host.list_containers()?.into_values() {
        let record = &container.record;
        let ours = record.project == attached.project && attached.running.contains(&record.service);
        if ours && rows::is_up(container.state) {
            // One that is gone meanwhile needs no signal.
            let _ = client::signal(&host.roots().container_run(&record.name), SIGKILL).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_ends_it_all_only_if_that_was_asked_for() {
        assert!(!End::WhenAllEnded.comes_with(1));
        assert!(End::AtFirstExit.comes_with(0));
        assert!(!End::AtFirstFailure.comes_with(0));
        assert!(End::AtFirstFailure.comes_with(3));
        assert!(End::WithCodeOf("web".into()).comes_with(0));
    }
}
