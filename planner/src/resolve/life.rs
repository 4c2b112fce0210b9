//! How a container lives: its restarts.

use std::time::Duration;

use berth_schema::stack::{RestartPolicy, Service};

use crate::desired::RestartPace;

/// What `deploy.restart_policy` says beside its condition. No delay and no window are what berth
/// does anyway: it backs off, and every start counts.
pub(super) fn pace(service: &Service) -> RestartPace {
    let Some(rule) = service.deploy.as_ref().and_then(|deploy| deploy.restart) else {
        return RestartPace::default();
    };
    let some = |time: Option<Duration>| time.filter(|time| !time.is_zero());
    let max_attempts = match service.restart {
        RestartPolicy::Always | RestartPolicy::UnlessStopped => {
            rule.max_attempts.filter(|most| *most > 0)
        }
        // It has its number with it.
        RestartPolicy::No | RestartPolicy::OnFailure(_) => None,
    };
    RestartPace { max_attempts, delay: some(rule.delay), window: some(rule.window) }
}
