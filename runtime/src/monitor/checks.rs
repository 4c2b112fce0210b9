//! The checks that a container's health is made of: its probe and its sign of readiness.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use berth_planner::observed::Health;
use berth_schema::stack::ReadySign;

use super::errand::Stuck;
use super::events::{Events, Happening};
use super::health::{EAGER, HealthCheck, together};
use super::keep::Monitor;
use super::life::{Life, Running};
use super::look::Look;
use super::poll::{PollSet, Token};
use super::probe::RunningProbe;
use crate::bundle::{Bundle, Ready};
use crate::container::Target;

/// The first look from outside comes this early: it costs a socket, not a process.
const EAGER_LOOK: Duration = Duration::from_millis(25);

/// The checks of a running container.
pub(super) struct Checks {
    all: Vec<Check>,
    /// It was healthy in this life.
    pub(super) was_healthy: bool,
}

/// One of them.
struct Check {
    kind: Kind,
    timing: HealthCheck,
    attempt: Option<Attempt>,
    /// A probe before that was left behind.
    stuck: Option<Stuck>,
    /// What the last attempt said.
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Probe,
    /// A port or a page.
    Look,
    /// A line of the output, which stays written.
    Line,
}

/// What came of a check.
pub(super) enum Outcome {
    Good(String),
    Bad(String),
    /// It was hindered.
    Hung(String),
    /// It is good as long as this life lasts.
    Settled,
}

/// A check that is being made.
enum Attempt {
    Probe(RunningProbe),
    Look(Look),
}

impl Checks {
    /// Those of a container that started at `since`, with what is known of each.
    pub(super) fn new(bundle: &Bundle, since: Instant, known: &[Health]) -> Checks {
        let probe = bundle.health.iter().map(|probe| (Kind::Probe, &probe.times, EAGER));
        let sign = bundle.ready.iter().map(|ready| (kind(ready), &ready.times, EAGER_LOOK));
        let all: Vec<Check> = probe
            .chain(sign)
            .enumerate()
            .map(|(index, (kind, times, eager))| {
                let known = known.get(index).copied().unwrap_or_default();
                let mut timing = HealthCheck::new(times, since, known, eager);
                if kind == Kind::Line && known == Health::Healthy {
                    timing.settle();
                }
                Check { kind, timing, attempt: None, stuck: None, text: String::new() }
            })
            .collect();
        let mut checks = Checks { all, was_healthy: false };
        checks.was_healthy = checks.health() == Health::Healthy;
        checks
    }

    /// Makes the checks of `after` in place of those of `before`. One that is the same goes on; of
    /// another that is made instead is held what was known, until it says something itself.
    pub(super) fn renew(&mut self, before: &Bundle, after: &Bundle, now: Instant) {
        let same_probe = before.health == after.health;
        let same_sign = before.ready == after.ready;
        let of = |kind: Kind| if kind == Kind::Probe { same_probe } else { same_sign };
        let (mut kept, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.all).into_iter().partition(|check| of(check.kind));
        let mut gone: Vec<Check> = gone.into_iter().map(|check| check.given_up(now)).collect();
        for mut new in Checks::new(after, now, &[]).all.into_iter().filter(|new| !of(new.kind)) {
            let probe = new.kind == Kind::Probe;
            let old = gone.iter().position(|old| (old.kind == Kind::Probe) == probe);
            if let Some(old) = old.map(|at| gone.swap_remove(at)) {
                new.succeed(old);
            }
            kept.push(new);
        }
        kept.sort_by_key(|check| check.kind != Kind::Probe);
        self.all = kept;
        self.was_healthy |= self.health() == Health::Healthy;
    }

    /// Adds what to wait for. No check is due while the container stands still, and none is to
    /// begin any more unless `begins`.
    pub(super) fn poll<'a>(&'a self, set: &mut PollSet<'a>, frozen: bool, begins: bool) {
        for check in &self.all {
            let due = match &check.attempt {
                Some(Attempt::Probe(probe)) => {
                    probe.poll(set);
                    Some(probe.due())
                }
                Some(Attempt::Look(look)) => {
                    look.poll(set);
                    Some(look.deadline())
                }
                None => check.timing.due().filter(|_| begins),
            };
            set.until(due.filter(|_| !frozen));
        }
    }

    /// Gives attempts as much more time as the container stood still.
    pub(super) fn prolong(&mut self, by: Duration) {
        for check in &mut self.all {
            match &mut check.attempt {
                Some(Attempt::Probe(probe)) => probe.prolong(by),
                Some(Attempt::Look(look)) => look.prolong(by),
                None => {}
            }
        }
    }

    /// The container has ended, and with it every process in it.
    pub(super) fn abandon(self) {
        for check in self.all {
            match check.attempt {
                Some(Attempt::Probe(probe)) => probe.abandon(),
                Some(Attempt::Look(_)) | None => {}
            }
        }
    }

    /// Whether a line of the output is waited for.
    pub(super) fn awaits_line(&self) -> bool {
        self.all.iter().any(Check::awaits_line)
    }

    fn each(&self) -> impl Iterator<Item = Health> {
        self.all.iter().map(|check| check.timing.health())
    }

    pub(super) fn health(&self) -> Health {
        together(self.each())
    }

    fn text(&self) -> String {
        let texts = self.all.iter().map(|check| check.text.as_str());
        texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
    }
}

fn kind(ready: &Ready) -> Kind {
    match ready.sign {
        ReadySign::Tcp(_) | ReadySign::Http { .. } => Kind::Look,
        ReadySign::Log(_) => Kind::Line,
    }
}

impl Check {
    /// It is not made any more; a probe that runs is killed.
    fn given_up(mut self, now: Instant) -> Check {
        if let Some(Attempt::Probe(probe)) = self.attempt.take() {
            self.stuck = Some(probe.give_up(now));
        }
        self
    }

    /// Takes the place of another one.
    fn succeed(&mut self, old: Check) {
        self.timing.hold(old.timing.health());
        self.text = old.text;
        // A look or a line begins nothing that could heap up.
        self.stuck = old.stuck.filter(|_| self.kind == Kind::Probe);
    }

    /// Whether it is a line that was not written yet, also while it is held for what was known before.
    fn awaits_line(&self) -> bool {
        self.kind == Kind::Line && self.timing.due().is_some()
    }

    /// Begins a check that is due, or gives up one that takes too long. Gives what came of it
    /// when that is known already.
    fn turn(&mut self, host: &Surroundings<'_>, now: Instant) -> Option<Outcome> {
        match &mut self.attempt {
            Some(Attempt::Probe(probe)) => return probe.turn(now).then(|| self.leave_behind()),
            Some(Attempt::Look(look)) if look.deadline() <= now => {
                self.attempt = None;
                return Some(Outcome::Bad("the look at it took too long".to_owned()));
            }
            Some(Attempt::Look(_)) => return None,
            None => {}
        }
        if host.seen && self.awaits_line() {
            return Some(Outcome::Settled);
        }
        if !host.begins || self.timing.due().is_none_or(|due| due > now) {
            return None;
        }
        self.stuck.take_if(|stuck| stuck.is_gone());
        if self.stuck.is_some() {
            return Some(Outcome::Bad(STUCK.to_owned()));
        }
        match host.begin(self.kind, now) {
            Ok(attempt) => {
                self.attempt = Some(attempt);
                self.timing.began();
                None
            }
            Err(why) => Some(Outcome::Bad(why)),
        }
    }

    /// Serves its descriptor, if it is one of its own. Gives what came of the check at its end.
    fn serve(&mut self, token: Token, netns: BorrowedFd<'_>) -> Option<Outcome> {
        let outcome = match (&mut self.attempt, token) {
            (Some(Attempt::Probe(probe)), Token::ProbeExit | Token::ProbeOutput) => {
                probe.serve(token)?
            }
            (Some(Attempt::Look(look)), Token::Look) => match look.serve(netns)? {
                Ok(()) => Outcome::Good(String::new()),
                Err(why) => Outcome::Bad(why),
            },
            _ => return None,
        };
        self.attempt = None;
        Some(outcome)
    }

    /// Waits no more for a probe that does not end. No other is begun before it has ended.
    fn leave_behind(&mut self) -> Outcome {
        if let Some(Attempt::Probe(probe)) = self.attempt.take() {
            self.stuck = Some(probe.leave_behind());
        }
        Outcome::Hung(STUCK.to_owned())
    }

    fn note(&mut self, outcome: Outcome, now: Instant) {
        self.text = match outcome {
            Outcome::Good(text) => {
                self.timing.ended(true, now);
                text
            }
            Outcome::Bad(text) | Outcome::Hung(text) => {
                self.timing.ended(false, now);
                text
            }
            Outcome::Settled => {
                self.timing.settle();
                String::new()
            }
        };
    }
}

/// What a check is made with.
struct Surroundings<'a> {
    bundle: &'a Bundle,
    target: Target,
    netns: BorrowedFd<'a>,
    /// Whether new checks are begun.
    begins: bool,
    /// The line that was waited for was written.
    seen: bool,
}

impl Surroundings<'_> {
    fn begin(&self, kind: Kind, now: Instant) -> Result<Attempt, String> {
        match (kind, &self.bundle.health, &self.bundle.ready) {
            (Kind::Probe, Some(probe), _) => {
                RunningProbe::start(&self.target, self.bundle, probe, now).map(Attempt::Probe)
            }
            (Kind::Look, _, Some(ready)) => {
                let deadline = now + Duration::from_millis(ready.times.timeout_ms.max(1));
                let look = Look::start(&ready.sign, self.bundle, self.netns, deadline)?;
                look.map(Attempt::Look).ok_or_else(|| NO_LINE.to_owned())
            }
            (Kind::Line, ..) => Err(NO_LINE.to_owned()),
            (Kind::Probe, None, _) | (Kind::Look, _, None) => Err("it is gone".to_owned()),
        }
    }
}

const NO_LINE: &str = "no line of the output matches yet";
const STUCK: &str = "the last probe was killed and does not end";

fn tell_hung(events: &Events, outcome: &Outcome) {
    if let Outcome::Hung(_) = outcome {
        events.add(Happening::Hang { process: "healthcheck".to_owned() });
    }
}

impl Monitor {
    /// Begins checks that are due, ends those that take too long, and hears what the output says.
    pub(super) fn tick_checks(&mut self, now: Instant) {
        let Life::Running(running) = &mut self.life else { return };
        if self.frozen.is_some() {
            return;
        }
        let Running { checks, netns, target, stopping, .. } = &mut **running;
        let host = Surroundings {
            bundle: &self.bundle,
            target: *target,
            netns: netns.as_fd(),
            begins: !*stopping,
            seen: self.output.has_seen(),
        };
        let mut over = false;
        for check in &mut checks.all {
            if let Some(outcome) = check.turn(&host, now) {
                tell_hung(&self.events, &outcome);
                check.note(outcome, now);
                over = true;
            }
        }
        if over {
            self.note_checks();
        }
    }

    /// Serves a check that has written, ended, or got an answer.
    pub(super) fn serve_check(&mut self, token: Token, now: Instant) {
        let Life::Running(running) = &mut self.life else { return };
        let Running { checks, netns, .. } = &mut **running;
        let mut over = false;
        for check in &mut checks.all {
            if let Some(outcome) = check.serve(token, netns.as_fd()) {
                tell_hung(&self.events, &outcome);
                check.note(outcome, now);
                over = true;
            }
        }
        if over {
            self.note_checks();
        }
    }

    /// Notes what came of checks, and restarts what is unhealthy where the file says so.
    pub(super) fn note_checks(&mut self) {
        let Life::Running(running) = &mut self.life else { return };
        let checks = &mut running.checks;
        let (health, text) = (checks.health(), checks.text());
        checks.was_healthy |= health == Health::Healthy;
        self.status.checks = checks.each().collect();
        let changed = self.status.health != health;
        let said = self.status.health_output != text;
        self.status.health_output = text;
        if changed {
            self.status.health = health;
            self.events.add(Happening::HealthStatus { health });
        }
        if changed || said {
            self.tell();
        }
        if changed && health == Health::Unhealthy && self.bundle.restart_unhealthy {
            self.recycle();
        }
    }
}
