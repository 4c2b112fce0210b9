//! The resolver's share of the processor: a container that floods its resolver with questions
//! floods itself, and takes nothing from its host.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// One part in so many of one processor.
const SHARE: u32 = 5;
/// What may be used at once.
const BURST: Duration = Duration::from_millis(300);
/// How much there has to be again after all is used up.
const ENOUGH: Duration = Duration::from_millis(10);

/// What is left of the share.
pub(super) struct Budget {
    left: Duration,
    counted: Instant,
    again: Option<Instant>,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Budget {
        Budget { left: BURST, counted: now, again: None }
    }

    /// When new questions are taken again; `None` is now.
    pub(super) fn again(&self) -> Option<Instant> {
        self.again
    }

    /// Something is about to be done.
    pub(super) fn begin(&self) -> Duration {
        used()
    }

    /// It is done.
    pub(super) fn end(&mut self, begun: Duration, now: Instant) {
        self.spend(used().saturating_sub(begun), now);
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.again.is_some_and(|again| again <= now) {
            self.again = None;
        }
    }

    /// So much was used.
    pub(super) fn spend(&mut self, spent: Duration, now: Instant) {
        let earned = now.saturating_duration_since(self.counted) / SHARE;
        self.counted = now;
        self.left = (self.left + earned).min(BURST);
        match self.left.checked_sub(spent) {
            Some(left) => self.left = left,
            None => {
                let debt = spent - self.left;
                self.left = Duration::ZERO;
                self.again = Some(now + (debt + ENOUGH) * SHARE);
            }
        }
    }
}

/// Time of the processor that this thread has used.
fn used() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_share_is_not_used_for_long() {
        let begin = Instant::now();
        let mut budget = Budget::new(begin);
        let (mut now, mut spent) = (begin, Duration::ZERO);
        let turn = Duration::from_millis(2);
        while now < begin + Duration::from_secs(10) {
            match budget.again() {
                Some(again) => now = again,
                None => {
                    budget.spend(turn, now);
                    spent += turn;
                    now += turn;
                }
            }
            budget.tick(now);
        }
        assert!(spent > Duration::from_secs(2) && spent < Duration::from_millis(2500), "{spent:?}");
    }

    #[test]
    fn who_uses_little_never_waits() {
        let begin = Instant::now();
        let mut budget = Budget::new(begin);
        for second in 0..100 {
            budget.spend(Duration::from_millis(150), begin + Duration::from_secs(second));
            assert_eq!(budget.again(), None);
        }
    }
}
