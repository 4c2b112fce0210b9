//! When a request is made again.

use std::time::Duration;

/// When a request that failed for a passing reason is made again.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// Tries in all.
    pub attempts: u32,
    /// Wait before the second; doubled each time.
    pub first: Duration,
    /// No wait is longer, whatever the registry asks for.
    pub longest: Duration,
}

impl Default for Retry {
    fn default() -> Retry {
        let (first, longest) = (Duration::from_millis(500), Duration::from_secs(30));
        Retry { attempts: 5, first, longest }
    }
}

impl Retry {
    /// Half of the wait is fixed and half by chance, so that many do not ask at one moment.
    pub(super) fn pause(&self, attempt: u32, wanted: Option<Duration>) -> Duration {
        use std::hash::{BuildHasher, RandomState};
        let doubled = self.first.saturating_mul(1 << attempt.saturating_sub(1).min(16));
        let chance = RandomState::new().hash_one(attempt) % 1000;
        let by_chance = doubled / 2 + (doubled / 2).mul_f64(chance as f64 / 1000.0);
        wanted.unwrap_or_default().max(by_chance).min(self.longest)
    }
}
