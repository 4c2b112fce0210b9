//! When a container that ended is started again. Pure: an exit in, a delay out.

use std::time::Duration;

use crate::bundle::Restart;

/// The first delay; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(100);
/// No delay is longer.
const LONGEST: Duration = Duration::from_secs(60);
/// A container that ran so long begins with the first delay again.
const SETTLED: Duration = Duration::from_secs(10);

/// The restart policy and what it remembers.
#[derive(Debug)]
pub(super) struct Backoff {
    policy: Restart,
    restarts: u32,
    delay: Duration,
}

impl Backoff {
    /// A policy under which the container was started again `restarts` times already.
    pub(super) fn new(policy: Restart, restarts: u32) -> Backoff {
        Backoff { policy, restarts, delay: FIRST }
    }

    /// How long to wait before the next start; `None` when there is none. An exit status that is
    /// not known (−1) counts as a failure.
    pub(super) fn after_exit(&mut self, code: i32, ran: Duration) -> Option<Duration> {
        let again = match self.policy {
            Restart::No => false,
            Restart::Always => true,
            Restart::OnFailure(most) => code != 0 && (most == 0 || self.restarts < most),
        };
        if !again {
            return None;
        }
        if ran >= SETTLED {
            self.delay = FIRST;
        }
        let delay = self.delay;
        self.delay = (delay * 2).min(LONGEST);
        self.restarts += 1;
        Some(delay)
    }

    /// Times it was started again.
    pub(super) fn restarts(&self) -> u32 {
        self.restarts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRIEF: Duration = Duration::from_millis(1);

    #[test]
    fn delays_double_up_to_a_minute_and_begin_anew_after_ten_seconds() {
        let mut backoff = Backoff::new(Restart::Always, 0);
        let delays: Vec<u128> =
            (0..12).map(|_| backoff.after_exit(0, BRIEF).unwrap().as_millis()).collect();
        assert_eq!(
            delays,
            [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]
        );
        assert_eq!(backoff.after_exit(0, SETTLED), Some(FIRST));
        assert_eq!(backoff.restarts(), 13);
    }

    #[test]
    fn on_failure_counts_and_ignores_success() {
        let mut backoff = Backoff::new(Restart::OnFailure(2), 0);
        assert_eq!(backoff.after_exit(0, BRIEF), None);
        assert!(backoff.after_exit(1, BRIEF).is_some());
        assert!(backoff.after_exit(-1, BRIEF).is_some());
        assert_eq!(backoff.after_exit(1, BRIEF), None);
        assert!(Backoff::new(Restart::OnFailure(0), 1000).after_exit(137, BRIEF).is_some());
    }

    #[test]
    fn a_new_monitor_goes_on_counting() {
        let mut backoff = Backoff::new(Restart::OnFailure(3), 3);
        assert_eq!(backoff.after_exit(1, BRIEF), None);
    }

    #[test]
    fn without_a_policy_it_stays_ended() {
        assert_eq!(Backoff::new(Restart::No, 0).after_exit(1, BRIEF), None);
    }
}
