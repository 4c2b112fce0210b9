//! When a container that ended is started again. Pure: an exit in, a delay out.

use std::time::Duration;

use crate::bundle::{Pace, Restart};

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
    pace: Pace,
    restarts: u32,
    attempts: u32,
    delay: Duration,
}

impl Backoff {
    /// A policy under which nothing was started again yet.
    pub(super) fn new(policy: Restart, pace: Pace) -> Backoff {
        Backoff { policy, pace, restarts: 0, attempts: 0, delay: FIRST }
    }

    /// It was started again `restarts` times already, `attempts` of which count.
    pub(super) fn resumed(self, restarts: u32, attempts: u32) -> Backoff {
        Backoff { restarts, attempts, ..self }
    }

    /// How long to wait before the next start; `None` when there is none. An exit status that is
    /// not known (−1) counts as a failure.
    pub(super) fn after_exit(&mut self, code: i32, ran: Duration) -> Option<Duration> {
        let most = match self.policy {
            Restart::No => return None,
            Restart::OnFailure(_) if code == 0 => return None,
            Restart::OnFailure(most) => most,
            Restart::Always => self.pace.most.unwrap_or(0),
        };
        // A start that was good is none of those that may fail.
        let good = self.window().is_some_and(|window| ran >= window);
        if !good && most > 0 {
            if self.attempts >= most {
                return None;
            }
            self.attempts += 1;
        }
        Some(self.again(ran >= self.window().unwrap_or(SETTLED)))
    }

    /// How long to wait before the next start of one that was ended because it was unhealthy,
    /// whatever the policy says; `was_good` if it had been healthy in that life.
    pub(super) fn after_illness(&mut self, was_good: bool, ran: Duration) -> Duration {
        self.again(was_good && ran >= SETTLED)
    }

    fn again(&mut self, settled: bool) -> Duration {
        self.restarts += 1;
        if let Some(delay) = self.pace.delay_ms {
            return Duration::from_millis(delay);
        }
        if settled {
            self.delay = FIRST;
        }
        let delay = self.delay;
        self.delay = (delay * 2).min(LONGEST);
        delay
    }

    fn window(&self) -> Option<Duration> {
        self.pace.window_ms.map(Duration::from_millis)
    }

    /// Times it was started again.
    pub(super) fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Those that count against the number of attempts.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRIEF: Duration = Duration::from_millis(1);
    const FREE: Pace = Pace { most: None, delay_ms: None, window_ms: None };

    #[test]
    fn delays_double_up_to_a_minute_and_begin_anew_after_ten_seconds() {
        let mut backoff = Backoff::new(Restart::Always, FREE);
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
        let mut backoff = Backoff::new(Restart::OnFailure(2), FREE);
        assert_eq!(backoff.after_exit(0, BRIEF), None);
        assert!(backoff.after_exit(1, BRIEF).is_some());
        assert!(backoff.after_exit(-1, BRIEF).is_some());
        assert_eq!(backoff.after_exit(1, BRIEF), None);
        let mut endless = Backoff::new(Restart::OnFailure(0), FREE).resumed(1000, 1000);
        assert!(endless.after_exit(137, BRIEF).is_some());
    }

    #[test]
    fn a_new_monitor_goes_on_counting() {
        let mut backoff = Backoff::new(Restart::OnFailure(3), FREE).resumed(3, 3);
        assert_eq!(backoff.after_exit(1, BRIEF), None);
    }

    #[test]
    fn without_a_policy_it_stays_ended() {
        assert_eq!(Backoff::new(Restart::No, FREE).after_exit(1, BRIEF), None);
    }

    #[test]
    fn a_delay_of_the_file_is_kept_each_time() {
        let pace = Pace { delay_ms: Some(700), ..FREE };
        let mut backoff = Backoff::new(Restart::Always, pace);
        let delays: Vec<Option<Duration>> = (0..3).map(|_| backoff.after_exit(1, BRIEF)).collect();
        assert_eq!(delays, [Some(Duration::from_millis(700)); 3]);
    }

    #[test]
    fn a_start_that_lasts_for_the_window_is_not_counted() {
        let pace = Pace { most: Some(2), window_ms: Some(5_000), ..FREE };
        let mut backoff = Backoff::new(Restart::Always, pace);
        let long = Duration::from_secs(5);
        let ran = [BRIEF, long, long, long, BRIEF, long, BRIEF];
        let again: Vec<bool> = ran.map(|ran| backoff.after_exit(1, ran).is_some()).into();
        assert_eq!(again, [true, true, true, true, true, true, false]);
        assert_eq!((backoff.restarts(), backoff.attempts()), (6, 2));
    }

    #[test]
    fn illness_backs_off_until_it_was_healthy_for_a_while() {
        let mut backoff = Backoff::new(Restart::No, FREE);
        let long = Duration::from_secs(100);
        let ills = [(false, long), (false, long), (true, BRIEF), (true, long)];
        let delays = ills.map(|(good, ran)| backoff.after_illness(good, ran).as_millis());
        assert_eq!(delays, [100, 200, 400, 100]);
        assert_eq!(backoff.restarts(), 4);
    }
}
