//! Waiting for a container, and what its status means for who waits.

use berth_planner::observed::Health;
use berth_schema::stack::Condition;

use super::super::{Host, StepError};
use super::inits;
use crate::bundle::{Phase, Status};
use crate::monitor::client;
use crate::record;

/// Waits until a container is what `condition` says, or never will be.
pub(super) async fn wait_for(
    host: &Host,
    name: &str,
    condition: Condition,
) -> Result<(), StepError> {
    let run_dir = host.roots.container_run(name);
    let not_ready = |why: String| inits::not_ready(&host.roots, name, why);
    let mut updates = match client::subscribe(&run_dir).await {
        Ok(updates) => updates,
        // No monitor: what the last one wrote is all there will be.
        Err(_) => {
            let last: Option<Status> = record::read(&run_dir.join("status.json"))
                .map_err(|e| StepError::refused("read status of", name, e))?;
            let last = last.unwrap_or_default();
            return match verdict(&last, condition) {
                Some(verdict) => verdict.map_err(not_ready),
                None => Err(not_ready("is not running".to_owned())),
            };
        }
    };
    while let Some(status) = updates.next().await {
        if let Some(verdict) = verdict(&status, condition) {
            return verdict.map_err(not_ready);
        }
    }
    Err(not_ready("lost its monitor".to_owned()))
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
        Condition::ServiceHealthy => match status.health {
            Health::Healthy => Some(Ok(())),
            Health::Unhealthy => Some(Err("is unhealthy".to_owned())),
            _ if ended => Some(Err(exit())),
            Health::None if status.phase == Phase::Running => {
                Some(Err("has no healthcheck, so it never becomes healthy".to_owned()))
            }
            Health::None | Health::Starting => None,
        },
        Condition::ServiceCompletedSuccessfully => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_without_probe_never_becomes_healthy() {
        let status = Status { phase: Phase::Running, ..Status::default() };
        let verdict = verdict(&status, Condition::ServiceHealthy);
        let why = "has no healthcheck, so it never becomes healthy";
        assert_eq!(verdict, Some(Err(why.to_owned())));
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
