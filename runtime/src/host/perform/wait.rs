//! Waiting for a container, and what its status means for who waits.

use std::time::Duration;

use berth_planner::observed::Health;
use berth_planner::ready::EndState;
use berth_schema::stack::Condition;

use super::super::{Host, StepError};
use super::inits;
use crate::bundle::{Bundle, Phase, Status, Times};
use crate::logs::sanitize;
use crate::monitor::client::{self, Updates};
use crate::record;

/// What a check may take beyond what its description says.
const MARGIN: Duration = Duration::from_secs(30);

/// Waits until a container is what `condition` says, or never will be.
pub(super) async fn wait_for(
    host: &Host,
    name: &str,
    condition: Condition,
    deadline: Option<Duration>,
) -> Result<(), StepError> {
    let not_ready = |why: String| inits::not_ready(&host.roots, name, why);
    until(host, (name, deadline), |status| verdict(status, condition), not_ready).await
}

impl Host {
    /// Waits until a container has reached `end`, or never will; then its last lines are told.
    ///
    /// # Errors
    /// [`StepError::NotReady`] says why it never will.
    pub async fn await_end_state(&self, name: &str, end: EndState) -> Result<(), StepError> {
        let failed = |why: String| inits::not_stable(&self.roots, name, why);
        until(self, (name, None), |status| reached(status, end), failed).await
    }
}

/// Waits until `verdict` says something of a container's status.
async fn until(
    host: &Host,
    (name, deadline): (&str, Option<Duration>),
    verdict: impl Fn(&Status) -> Option<Result<(), String>>,
    not_ready: impl Fn(String) -> StepError,
) -> Result<(), StepError> {
    let run_dir = host.roots.container_run(name);
    let mut updates = match client::subscribe(&run_dir).await {
        Ok(updates) => updates,
        // No monitor: what the last one wrote is all there will be.
        Err(_) => {
            let last: Option<Status> = record::read(&run_dir.join("status.json"))
                .map_err(|e| StepError::refused("read status of", name, e))?;
            let last = last.unwrap_or_default();
            return match verdict(&last) {
                Some(verdict) => verdict.map_err(not_ready),
                None => Err(not_ready("is not running".to_owned())),
            };
        }
    };
    let verdict = first(&mut updates, verdict);
    let verdict = match deadline {
        None => verdict.await,
        Some(deadline) => match tokio::time::timeout(deadline, verdict).await {
            Ok(verdict) => verdict,
            Err(_) => return Err(not_ready(late(deadline))),
        },
    };
    verdict.unwrap_or_else(|| Err("lost its monitor".to_owned())).map_err(not_ready)
}

fn late(deadline: Duration) -> String {
    format!("is not healthy after {} s", deadline.as_secs_f64())
}

/// Waits until a container runs well, and has for so long: `checked` since its checks said so, or
/// `unchecked` where it has none.
pub(super) async fn stable(
    host: &Host,
    name: &str,
    (checked, unchecked): (Duration, Duration),
    deadline: Option<Duration>,
) -> Result<(), StepError> {
    let run_dir = host.roots.container_run(name);
    let failed = |why: String| inits::not_stable(&host.roots, name, why);
    let bundle: Option<Bundle> = record::read(&run_dir.join("bundle.json"))
        .map_err(|e| StepError::refused("read the bundle of", name, e))?;
    let longest = || bundle.as_ref().map_or(MARGIN, longest);
    let deadline = deadline.unwrap_or_else(longest);
    let updates = client::subscribe(&run_dir).await;
    let mut updates = updates.map_err(|_| failed("is not running".to_owned()))?;
    let lost = || "lost its monitor".to_owned();
    let is_checked = match tokio::time::timeout(deadline, first(&mut updates, settled)).await {
        Ok(settled) => settled.unwrap_or_else(|| Err(lost())).map_err(failed)?,
        Err(_) => return Err(failed(late(deadline))),
    };
    let stays = if is_checked { checked } else { unchecked };
    match tokio::time::timeout(stays, first(&mut updates, trouble)).await {
        Ok(why) => Err(failed(why.unwrap_or_else(lost))),
        Err(_) => Ok(()),
    }
}

/// Looks for so long whether a container that serves goes on to run well.
pub(super) async fn watch(host: &Host, name: &str, span: Duration) -> Result<(), StepError> {
    let failed = |why: String| inits::not_stable(&host.roots, name, why);
    let updates = client::subscribe(&host.roots.container_run(name)).await;
    let mut updates = updates.map_err(|_| failed("is not running".to_owned()))?;
    match tokio::time::timeout(span, first(&mut updates, trouble)).await {
        Ok(why) => Err(failed(why.unwrap_or_else(|| "lost its monitor".to_owned()))),
        Err(_) => Ok(()),
    }
}

/// What the first status tells that tells something; `None` when the monitor is gone before.
async fn first<T>(updates: &mut Updates, told: impl Fn(&Status) -> Option<T>) -> Option<T> {
    while let Some(status) = updates.next().await {
        if let Some(told) = told(&status) {
            return Some(told);
        }
    }
    None
}

/// When its checks have said something at the latest, if all of them take as long as they may.
fn longest(bundle: &Bundle) -> Duration {
    let probe = bundle.health.as_ref().map(|probe| probe.times);
    let ready = bundle.ready.as_ref().map(|ready| ready.times);
    let whole = |times: Times| {
        let each = times.interval_ms.saturating_add(times.timeout_ms);
        let tries = each.saturating_mul(u64::from(times.retries.max(1)));
        Duration::from_millis(times.start_period_ms.saturating_add(tries))
    };
    let longest = probe.into_iter().chain(ready).map(whole).max().unwrap_or_default();
    longest.saturating_add(MARGIN)
}

/// Whether it runs as it should: `true` says that checks found so.
fn settled(status: &Status) -> Option<Result<bool, String>> {
    match (trouble(status), status.phase, status.health) {
        (Some(why), ..) => Some(Err(why)),
        (None, Phase::Running, Health::Healthy) => Some(Ok(true)),
        (None, Phase::Running, Health::None) => Some(Ok(false)),
        (None, ..) => None,
    }
}

/// Why it does not run as it should.
fn trouble(status: &Status) -> Option<String> {
    match (status.phase, status.health) {
        (Phase::Exited | Phase::Waiting, _) => Some(format!("exited ({})", status.exit_code)),
        _ if status.restarts > 0 => {
            Some(format!("exited ({}) and was restarted", status.exit_code))
        }
        (Phase::Stopping, _) => Some("is being stopped".to_owned()),
        (_, Health::Unhealthy) => Some(unhealthy(&status.health_output)),
        (Phase::Starting | Phase::Running, _) => None,
    }
}

/// What its checks said last, in one line.
fn unhealthy(output: &str) -> String {
    let said = output.split_whitespace().collect::<Vec<_>>().join(" ");
    match said.is_empty() {
        true => "is unhealthy".to_owned(),
        false => format!("is unhealthy: {}", sanitize(said.as_bytes(), false)),
    }
}

/// What `status` means for someone who waits for `condition`; `None` while it may still come.
fn verdict(status: &Status, condition: Condition) -> Option<Result<(), String>> {
    let ended = status.phase == Phase::Exited;
    let exit = || format!("exited ({})", status.exit_code);
    match condition {
        Condition::ServiceStarted => match status.phase {
            Phase::Running | Phase::Waiting | Phase::Stopping | Phase::Exited => Some(Ok(())),
            Phase::Starting => None,
        },
        Condition::ServiceCompletedSuccessfully if ended => {
            Some(if status.exit_code == 0 { Ok(()) } else { Err(exit()) })
        }
        Condition::ServiceHealthy => match (status.phase, status.health) {
            (Phase::Exited, _) => Some(Err(exit())),
            // What checks said is of the life before.
            (Phase::Starting | Phase::Waiting, _) => None,
            (Phase::Running | Phase::Stopping, Health::Unhealthy) => {
                Some(Err("is unhealthy".to_owned()))
            }
            (Phase::Running, Health::Healthy) => Some(Ok(())),
            (Phase::Running, Health::None) => {
                Some(Err("has no healthcheck, so it never becomes healthy".to_owned()))
            }
            (Phase::Running | Phase::Stopping, _) => None,
        },
        Condition::ServiceCompletedSuccessfully => None,
    }
}

/// What `status` means for who waits for the end state `end`; `None` while it may still come.
fn reached(status: &Status, end: EndState) -> Option<Result<(), String>> {
    let exit = || format!("exited ({})", status.exit_code);
    match (end, status.phase) {
        (EndState::Healthy, _) => verdict(status, Condition::ServiceHealthy),
        (EndState::Completed, _) => verdict(status, Condition::ServiceCompletedSuccessfully),
        (EndState::Running { .. }, Phase::Running) => Some(Ok(())),
        (EndState::Running { may_end: true }, Phase::Exited) if status.exit_code == 0 => {
            Some(Ok(()))
        }
        (EndState::Running { .. }, Phase::Exited) => Some(Err(exit())),
        (EndState::Running { .. }, Phase::Starting | Phase::Waiting | Phase::Stopping) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_or_has_ended_as_it_may_has_reached_its_end_state() {
        let status = |phase, exit_code| Status { phase, exit_code, ..Status::default() };
        let [ends, stays] = [true, false].map(|may_end| EndState::Running { may_end });
        let failed = |code| Some(Err(format!("exited ({code})")));
        assert_eq!(reached(&status(Phase::Running, 0), stays), Some(Ok(())));
        assert_eq!(reached(&status(Phase::Waiting, 1), stays), None);
        assert_eq!(reached(&status(Phase::Exited, 0), stays), failed(0));
        assert_eq!(reached(&status(Phase::Exited, 0), ends), Some(Ok(())));
        assert_eq!(reached(&status(Phase::Exited, 3), ends), failed(3));
        assert_eq!(reached(&status(Phase::Running, 0), EndState::Completed), None);
        assert_eq!(reached(&status(Phase::Exited, 0), EndState::Completed), Some(Ok(())));
        assert_eq!(reached(&status(Phase::Exited, 0), EndState::Healthy), failed(0));
    }

    #[test]
    fn a_container_without_probe_never_becomes_healthy() {
        let status = Status { phase: Phase::Running, ..Status::default() };
        let verdict = verdict(&status, Condition::ServiceHealthy);
        let why = "has no healthcheck, so it never becomes healthy";
        assert_eq!(verdict, Some(Err(why.to_owned())));
    }

    #[test]
    fn what_checks_said_of_the_life_before_counts_for_nothing() {
        let of = |phase, health| {
            let status = Status { phase, health, exit_code: 3, ..Status::default() };
            verdict(&status, Condition::ServiceHealthy)
        };
        let ended = Some(Err("exited (3)".to_owned()));
        assert_eq!(of(Phase::Exited, Health::Healthy), ended);
        assert_eq!(of(Phase::Exited, Health::Unhealthy), ended);
        for phase in [Phase::Waiting, Phase::Starting] {
            assert_eq!(of(phase, Health::Healthy), None);
            assert_eq!(of(phase, Health::Unhealthy), None);
        }
        assert_eq!(of(Phase::Stopping, Health::Healthy), None);
        assert_eq!(of(Phase::Running, Health::Healthy), Some(Ok(())));
    }

    #[test]
    fn one_that_was_restarted_is_not_good_though_it_runs() {
        let status = Status { phase: Phase::Running, ..Status::default() };
        assert_eq!(settled(&status), Some(Ok(false)));
        let starting = Status { health: Health::Starting, ..status.clone() };
        assert_eq!(settled(&starting), None);
        let restarted = Status { restarts: 1, exit_code: 3, ..status };
        let why = "exited (3) and was restarted";
        assert_eq!(settled(&restarted), Some(Err(why.to_owned())));
    }

    #[test]
    fn only_status_zero_completes_successfully() {
        let wait = Condition::ServiceCompletedSuccessfully;
        let mut status = Status { phase: Phase::Running, ..Status::default() };
        assert_eq!(verdict(&status, wait), None);
        status.phase = Phase::Exited;
        assert_eq!(verdict(&status, wait), Some(Ok(())));
        status.exit_code = 3;
        assert_eq!(verdict(&status, wait), Some(Err("exited (3)".to_owned())));
    }
}
