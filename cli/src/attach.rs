//! What follows an attached `up`: output as it comes, until all have ended or the user has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use berth_planner::lifecycle;
use berth_planner::observed::{ContainerState, Observed, ObservedContainer};
use berth_planner::plan::Plan;
use berth_runtime::host::Asked;
use berth_runtime::host::Host;
use berth_runtime::logs::LogQuery;
use berth_runtime::monitor::client;
use jiff::{SignedDuration, Timestamp};

use crate::failure::{Exit, Failure};
use crate::flow::{self, Manner};
use crate::follow::{Event, Follower, Source, UNKNOWN};
use crate::printer::Printer;
use crate::project::containers;
use crate::rows;
use crate::session::Session;
use crate::signals::Signals;
use crate::ui::safe;

const SIGKILL: i32 = 9;
/// How long the ends of containers that have stopped may take to come here.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How often we look for containers that others have started again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What is shown, and when it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attached {
    /// The project.
    pub(crate) project: String,
    /// Services whose output is shown.
    pub(crate) shown: BTreeSet<String>,
    /// Services that were brought up: their ends count, and they are stopped with it.
    pub(crate) running: BTreeSet<String>,
    /// When it ends, and how.
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

/// When an attached `up` ends by itself, and with which code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct End {
    /// Which end of a container ends it all; the others are then stopped.
    pub(crate) at: EndAt,
    /// It ends with the exit code of this service.
    pub(crate) code_of: Option<String>,
    /// Services that others need to end well: that they do so is no reason to stop the others.
    pub(crate) one_shots: BTreeSet<String>,
}

/// Which end of a container ends an attached `up`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum EndAt {
    /// That of the last one.
    #[default]
    Last,
    /// That of the first one.
    First,
    /// The first failure.
    FirstFailure,
}

impl End {
    /// Whether an exit of `service` with `code` ends it all. One that nobody knows is a failure.
    fn comes_with(&self, service: &str, code: i32) -> bool {
        let named = self.code_of.as_deref() == Some(service);
        match self.at {
            EndAt::Last => false,
            EndAt::First => code != 0 || named || !self.one_shots.contains(service),
            EndAt::FirstFailure => code != 0 || named,
        }
    }

    /// How it ends when a signal of the user has ended it, after which services ended with `codes`.
    fn cut_off(&self, codes: &BTreeMap<String, i32>, number: i32) -> Exit {
        let code = self.code_of.as_ref().and_then(|service| codes.get(service));
        match (self.at, code.filter(|code| **code != UNKNOWN)) {
            (EndAt::Last, _) => Exit::Done,
            (EndAt::First | EndAt::FirstFailure, Some(code)) => Exit::Container(*code),
            (EndAt::First | EndAt::FirstFailure, None) => Exit::Signal(number),
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
    let mut cause = None;
    let mut look = tokio::time::interval(LOOK_AGAIN);
    while cause.is_none() {
        if shown.follower.is_done() && !shown.comes_back(host, attached, &mut signals).await? {
            break;
        }
        tokio::select! {
            Some(event) = shown.follower.next() => {
                let exits = shown.take(event);
                shown.is_read()?;
                cause = exits.into_iter().find(|(of, code)| attached.end.comes_with(&of.service, *code));
            }
            number = signals.next() => {
                session.ui.note("stopping; press Ctrl-C again to kill");
                shown.stop(session, host, attached, &mut signals).await?;
                return Ok(attached.end.cut_off(&shown.codes, number));
            }
            _ = look.tick() => shown.add_started(host, attached)?,
        }
    }
    if let Some((of, code)) = cause.as_ref().filter(|_| !shown.follower.is_done()) {
        let text = match *code {
            UNKNOWN => format!("{} is not watched any more: stopping the others", of.label),
            code => format!("{} ended with {code}: stopping the others", of.label),
        };
        session.ui.note(&safe(&text));
        shown.stop(session, host, attached, &mut signals).await?;
    }
    let code = match (&attached.end.code_of, attached.end.at) {
        (Some(service), _) => shown.codes.get(service).copied().unwrap_or(UNKNOWN),
        (None, EndAt::Last) => return Ok(Exit::Done),
        // Without a cause all have ended as they may.
        (None, EndAt::First | EndAt::FirstFailure) => cause.map_or(0, |(_, code)| code),
    };
    Ok(Exit::Container(code))
}

/// Ends an `up` that is to end with the first container and could not bring all of them up: what
/// runs is stopped. Gives the exit code of the service that counts, if that one had failed.
pub(crate) async fn give_up(
    session: &Session,
    host: &Arc<Host>,
    attached: &Attached,
) -> Result<Option<i32>, Failure> {
    let all = host.list_containers()?.into_values();
    let counts = |have: &ObservedContainer| {
        let record = &have.record;
        let named = attached.end.code_of.as_ref() == Some(&record.service);
        named && record.project == attached.project && !record.oneoff
    };
    let mut codes = all.filter(counts).filter_map(|have| match have.state {
        ContainerState::Exited { exit_code, .. } if exit_code != 0 => Some(exit_code),
        _ => None,
    });
    let code = codes.next();
    stop(session, host, attached).await?;
    Ok(code)
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
            false => {
                Ok(lifecycle::stop_all_but_runs(project, observed, &services, attached.grace)?)
            }
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
    /// Since when output is shown, and the time of the last line of each container.
    began: Timestamp,
    last: BTreeMap<String, Timestamp>,
    /// Why output cannot be printed any more.
    broken: Option<Failure>,
}

impl<'a> Shown<'a> {
    fn new(
        session: &'a Session,
        host: &Host,
        attached: &'a Attached,
        began: Timestamp,
    ) -> Result<Shown<'a>, Failure> {
        let printer =
            Printer::new(&session.ui, attached.colours, attached.names, attached.timestamps);
        let mut shown = Shown {
            follower: Follower::new(),
            printer,
            services: &attached.shown,
            codes: BTreeMap::new(),
            began,
            last: BTreeMap::new(),
            broken: None,
        };
        for container in own(host, attached)? {
            shown.add(host, &container);
        }
        Ok(shown)
    }

    /// Shows what a container says from where it was left.
    fn add(&mut self, host: &Host, container: &ObservedContainer) {
        let record = &container.record;
        if self.services.contains(&record.service) {
            self.printer.know(&rows::label(container));
        }
        let since = self.last.get(&record.name).map_or(self.began, |last| just_after(*last));
        let query = LogQuery { since: Some(since), follow: true, ..LogQuery::default() };
        self.follower.add(Source::of(host.roots(), container), query);
    }

    /// Shows those that others have started again, too.
    fn add_started(&mut self, host: &Host, attached: &Attached) -> Result<(), Failure> {
        for container in own(host, attached)? {
            let followed = self.follower.follows(&container.record.name);
            // One without a monitor tells nothing.
            if rows::is_up(container.state) && container.monitored && !followed {
                self.add(host, &container);
            }
        }
        Ok(())
    }

    /// Whether one of those that have all ended runs again, when whoever works on the project has come
    /// to an end.
    async fn comes_back(
        &mut self,
        host: &Host,
        attached: &Attached,
        signals: &mut Signals,
    ) -> Result<bool, Failure> {
        tokio::select! {
            // Who takes longer is not waited for.
            locked = host.lock(&attached.project, flow::LOCK_WAIT) => drop(locked),
            _ = signals.next() => return Ok(false),
        }
        self.add_started(host, attached)?;
        Ok(!self.follower.is_done())
    }

    /// Prints an event and those that are there already; gives the ends among them. What a service
    /// ended with is the code of that of its containers that ended first.
    fn take(&mut self, event: Event) -> Vec<(Source, i32)> {
        let mut exits = Vec::new();
        let mut next = Some(event);
        while let Some(event) = next {
            match &event {
                Event::Line(source, line) => match self.last.get_mut(&source.name) {
                    Some(last) => *last = line.time,
                    None => drop(self.last.insert(source.name.clone(), line.time)),
                },
                Event::Ended(source, code) => {
                    let code = code.unwrap_or(UNKNOWN);
                    self.codes.entry(source.service.clone()).or_insert(code);
                    exits.push((source.clone(), code));
                }
                Event::Restarting(..) | Event::Unreadable(..) => {}
            }
            let shown = self.services.contains(&event.source().service);
            if shown && self.broken.is_none() {
                self.broken = self.printer.event(&event).err();
            }
            next = self.follower.try_next();
        }
        if self.broken.is_none() {
            self.broken = self.printer.flush().err();
        }
        exits
    }

    /// Fails if output could not be printed.
    fn is_read(&mut self) -> Result<(), Failure> {
        self.broken.take().map_or(Ok(()), Err)
    }

    /// Stops the stack while its last words are shown; a further signal kills it, also where the stop
    /// waits for its turn, which ends with that signal. That nobody reads them any more is told in the
    /// end.
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
                biased;
                _ = signals.next() => {
                    let killed = kill_all(host, attached).await;
                    self.broken = self.broken.take().or(killed.err());
                }
                stopped = &mut stop => break stopped,
                Some(event) = self.follower.next() => drop(self.take(event)),
            }
        };
        self.last_words(signals).await;
        stopped.and_then(|()| self.is_read())
    }

    /// Takes what comes to the end of everybody who was followed. Who could not be stopped is not
    /// waited for, nor is anybody after a signal.
    async fn last_words(&mut self, signals: &mut Signals) {
        let limit = tokio::time::sleep(LAST_WORDS);
        tokio::pin!(limit);
        while !self.follower.is_done() {
            tokio::select! {
                Some(event) = self.follower.next() => drop(self.take(event)),
                () = &mut limit => break,
                _ = signals.next() => break,
            }
        }
    }
}

/// The next time that a line can have.
fn just_after(time: Timestamp) -> Timestamp {
    time.checked_add(SignedDuration::from_nanos(1)).unwrap_or(time)
}

/// Containers of the services that were brought up.
fn own(host: &Host, attached: &Attached) -> Result<Vec<ObservedContainer>, Failure> {
    let ours = |container: &ObservedContainer| {
        let record = &container.record;
        let made = record.project == attached.project && !record.oneoff;
        made && attached.running.contains(&record.service)
    };
    Ok(host.list_containers()?.into_values().filter(ours).collect())
}

/// Kills what runs. The stop that is under way then has nothing to wait for.
async fn kill_all(host: &Host, attached: &Attached) -> Result<(), Failure> {
    for container in own(host, attached)?.iter().filter(|one| rows::is_up(one.state)) {
        let run_dir = host.roots().container_run(&container.record.name);
        // One that is gone meanwhile needs no signal.
        let _ = client::signal(&run_dir, SIGKILL).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_ends_it_all_only_if_that_was_asked_for() {
        let end = |at| End { at, one_shots: ["migrate".to_owned()].into(), ..End::default() };
        assert!(!end(EndAt::Last).comes_with("web", 1));
        assert!(end(EndAt::First).comes_with("web", 0));
        assert!(!end(EndAt::FirstFailure).comes_with("web", 0));
        assert!(end(EndAt::FirstFailure).comes_with("web", 3));
    }

    #[test]
    fn after_a_signal_the_code_is_that_of_the_named_service_or_of_the_signal() {
        let codes: BTreeMap<String, i32> =
            [("test".to_owned(), 143), ("lost".to_owned(), UNKNOWN)].into();
        let end = |at, code_of: Option<&str>| {
            let end = End { at, code_of: code_of.map(str::to_owned), ..End::default() };
            end.cut_off(&codes, 2)
        };
        assert_eq!(end(EndAt::Last, None), Exit::Done);
        assert_eq!(end(EndAt::First, Some("test")), Exit::Container(143));
        assert_eq!(end(EndAt::First, Some("lost")), Exit::Signal(2));
        assert_eq!(end(EndAt::First, Some("other")), Exit::Signal(2));
        assert_eq!(end(EndAt::FirstFailure, None), Exit::Signal(2));
        assert_ne!(Exit::Container(UNKNOWN).code(), 0);
    }

    #[test]
    fn what_others_need_to_end_well_may_do_so_unless_its_code_is_asked_for() {
        let one_shots = || ["migrate".to_owned()].into();
        let end = End { at: EndAt::First, code_of: Some("test".into()), one_shots: one_shots() };
        assert!(!end.comes_with("migrate", 0));
        assert!(end.comes_with("migrate", 1));
        assert!(end.comes_with("test", 0));
        let end = End { code_of: Some("migrate".into()), ..end };
        assert!(end.comes_with("migrate", 0));
        let end = End { at: EndAt::FirstFailure, ..end };
        assert!(end.comes_with("migrate", 0) && !end.comes_with("test", 0));
    }
}
