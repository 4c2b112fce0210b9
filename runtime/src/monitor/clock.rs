//! Points in time that outlive a monitor: milliseconds of this boot, sleep included. Nobody can set
//! that clock (`CLOCK_BOOTTIME`, clock_gettime(2)).

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// A point in time, for the monitor that may come after this one.
pub(super) fn written(at: Instant) -> i64 {
    let left = at.saturating_duration_since(Instant::now()).as_millis();
    now().saturating_add(i64::try_from(left).unwrap_or(i64::MAX))
}

/// How long it is until a point in time that was written down.
pub(super) fn left(until_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(until_ms.saturating_sub(now())).unwrap_or_default())
}

fn now() -> i64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.saturating_mul(1000).saturating_add(now.tv_nsec / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_as_far_away_as_it_was() {
        let hour = Duration::from_secs(3600);
        let away = left(written(Instant::now() + hour));
        assert!(away <= hour && away > hour - Duration::from_secs(60), "{away:?}");
        assert_eq!(left(written(Instant::now()) - 1000), Duration::ZERO);
        assert_eq!(left(i64::MIN), Duration::ZERO);
    }
}
