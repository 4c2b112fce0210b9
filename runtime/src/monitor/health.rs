//! Whether a container is healthy: what its probes' results mean. Pure: results and times in,
//! health and the time of the next probe out.

use std::time::{Duration, Instant};

use berth_planner::observed::Health;

use crate::bundle::Times;

/// The first probe of a container that is not known to be ready comes this early.
pub(super) const EAGER: Duration = Duration::from_millis(250);

/// The state of a container's probe.
///
/// Probes follow each other by `interval`, or by `start_interval` in the start period. Until the
/// first success they also come early: after 250 ms, 500 ms, 1 s and so on up to the interval, so
/// that what waits for a healthy container does not wait for a whole interval. A failure counts
/// only outside the start period and not before the first interval has passed.
#[derive(Debug)]
pub(super) struct HealthCheck {
    started: Instant,
    next: Option<Instant>,
    eager: Duration,
    interval: Duration,
    start_interval: Duration,
    start_period: Duration,
    retries: u32,
    health: Health,
    failures: u32,
    succeeded: bool,
}

impl HealthCheck {
    /// For a container that started at `started`, with `health` as far as is known. `eager` is the
    /// first of the early gaps.
    pub(super) fn new(
        probe: &Times,
        started: Instant,
        health: Health,
        eager: Duration,
    ) -> HealthCheck {
        let known = matches!(health, Health::Healthy | Health::Unhealthy);
        let mut check = HealthCheck {
            started,
            next: None,
            eager,
            interval: Duration::from_millis(probe.interval_ms),
            start_interval: Duration::from_millis(probe.start_interval_ms),
            start_period: Duration::from_millis(probe.start_period_ms),
            retries: probe.retries.max(1),
            health: if known { health } else { Health::Starting },
            failures: 0,
            succeeded: known,
        };
        check.next = Some(started + check.gap(started));
        check
    }

    /// It is held for that until a probe has said something.
    pub(super) fn hold(&mut self, health: Health) {
        self.health = health;
    }

    /// When the next probe is due; `None` while one runs.
    pub(super) fn due(&self) -> Option<Instant> {
        self.next
    }

    /// As far as is known.
    pub(super) fn health(&self) -> Health {
        self.health
    }

    /// It is good for as long as this life lasts: no more checks.
    pub(super) fn settle(&mut self) {
        self.health = Health::Healthy;
        self.next = None;
    }

    /// A probe has been started.
    pub(super) fn began(&mut self) {
        self.next = None;
    }

    /// A probe has ended.
    pub(super) fn ended(&mut self, good: bool, now: Instant) {
        if good {
            self.health = Health::Healthy;
            self.failures = 0;
            self.succeeded = true;
        } else if self.counts(now) {
            self.failures += 1;
            if self.failures >= self.retries {
                self.health = Health::Unhealthy;
            }
        }
        self.next = Some(now + self.gap(now));
    }

    /// Whether a failure now means something.
    fn counts(&self, now: Instant) -> bool {
        self.succeeded || now >= self.started + self.start_period.max(self.interval)
    }

    fn gap(&mut self, now: Instant) -> Duration {
        let in_start_period = now < self.started + self.start_period && !self.succeeded;
        let regular = if in_start_period { self.start_interval } else { self.interval };
        if self.counts(now) || self.eager >= regular {
            return regular;
        }
        let gap = self.eager;
        self.eager *= 2;
        gap
    }
}

/// What several checks come to: all have to be good.
pub(super) fn together(checks: impl IntoIterator<Item = Health>) -> Health {
    let rank = |health: &Health| match health {
        Health::None => 0,
        Health::Healthy => 1,
        Health::Starting => 2,
        Health::Unhealthy => 3,
    };
    checks.into_iter().max_by_key(rank).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(start_period_ms: u64) -> Times {
        Times {
            interval_ms: 10_000,
            timeout_ms: 1_000,
            start_period_ms,
            start_interval_ms: 3_000,
            retries: 2,
        }
    }

    /// Runs probes with these results from the start on; gives when each began, in milliseconds,
    /// and what it changed.
    fn run(probe: &Times, results: &[bool]) -> Vec<(u128, Option<Health>)> {
        let start = Instant::now();
        let mut check = HealthCheck::new(probe, start, Health::None, EAGER);
        let mut log = Vec::new();
        for good in results {
            let now = check.due().unwrap();
            check.began();
            assert_eq!(check.due(), None);
            let before = check.health();
            check.ended(*good, now);
            let after = check.health();
            log.push(((now - start).as_millis(), (after != before).then_some(after)));
        }
        log
    }

    #[test]
    fn early_failures_do_not_count_and_later_ones_do() {
        assert_eq!(
            run(&probe(0), &[false; 8]),
            [
                (250, None),
                (750, None),
                (1750, None),
                (3750, None),
                (7750, None),
                (15750, None), // the first that counts
                (25750, Some(Health::Unhealthy)),
                (35750, None),
            ]
        );
    }

    #[test]
    fn an_early_success_makes_it_healthy_and_failures_count_from_then_on() {
        assert_eq!(
            run(&probe(60_000), &[false, true, false, false, true]),
            [
                (250, None),
                (750, Some(Health::Healthy)),
                (10750, None),
                (20750, Some(Health::Unhealthy)),
                (30750, Some(Health::Healthy)),
            ]
        );
    }

    #[test]
    fn failures_in_the_start_period_do_not_count() {
        let log = run(&probe(20_000), &[false; 12]);
        let times: Vec<u128> = log.iter().map(|(time, _)| *time).collect();
        let expected = [250, 750, 1750, 3750, 6750, 9750, 12750, 15750, 18750, 21750, 31750, 41750];
        assert_eq!(times, expected);
        assert_eq!(log[9].1, None);
        assert_eq!(log[10].1, Some(Health::Unhealthy));
    }

    #[test]
    fn an_adopted_container_keeps_its_health() {
        let start = Instant::now();
        let mut check = HealthCheck::new(&probe(0), start, Health::Healthy, EAGER);
        assert_eq!(check.due(), Some(start + Duration::from_secs(10)));
        check.ended(false, start + Duration::from_secs(10));
        assert_eq!(check.health(), Health::Healthy);
        check.ended(false, start + Duration::from_secs(20));
        assert_eq!(check.health(), Health::Unhealthy);
    }

    #[test]
    fn all_checks_have_to_be_good() {
        use Health::{Healthy, Starting, Unhealthy};
        assert_eq!(together([]), Health::None);
        assert_eq!(together([Healthy, Healthy]), Healthy);
        assert_eq!(together([Healthy, Starting]), Starting);
        assert_eq!(together([Unhealthy, Starting]), Unhealthy);
    }
}
