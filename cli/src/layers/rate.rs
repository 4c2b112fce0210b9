//! How fast something moves, from counts and when they were told. Pure: the clock is the caller's.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What happened before this long ago says nothing about now.
const WINDOW: Duration = Duration::from_secs(8);
/// A shorter time says nothing yet.
const LEAST: Duration = Duration::from_millis(500);
/// Counts closer together than this are one.
const GRAIN: Duration = Duration::from_millis(100);
/// Who is told more than this is told nothing.
const LONGEST: f64 = 100.0 * 3600.0;

/// The counts of the last seconds.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    counts: VecDeque<(Instant, u64)>,
}

impl Rate {
    /// So much has moved by now. A count that goes back begins anew.
    pub(crate) fn note(&mut self, now: Instant, count: u64) {
        if self.counts.back().is_some_and(|(_, last)| count < *last) {
            self.counts.clear();
        }
        let is_close = self.counts.len() > 1
            && self.counts.iter().nth_back(1).is_some_and(|(at, _)| now < *at + GRAIN);
        if is_close {
            self.counts.pop_back();
        }
        self.counts.push_back((now, count));
        // The one before the window stays: what is counted seldom is counted from there.
        while self.counts.get(1).is_some_and(|(at, _)| *at + WINDOW <= now) {
            self.counts.pop_front();
        }
    }

    /// Bytes in a second, over the last seconds; `None` as long as too little is known.
    pub(crate) fn per_second(&self, now: Instant) -> Option<u64> {
        let (since, first) = *self.counts.front()?;
        let (heard, last) = *self.counts.back()?;
        let before = self.counts.iter().nth_back(1).map_or(heard, |(at, _)| *at);
        let usual = (heard.saturating_duration_since(before) * 2).max(WINDOW);
        let span = now.saturating_duration_since(since);
        match now.saturating_duration_since(heard) > usual {
            true => Some(0),
            false if span < LEAST => None,
            false => Some(((last - first) as f64 / span.as_secs_f64()) as u64),
        }
    }
}

/// How long it takes until so much has moved, at so much in a second. `None` when nobody can know.
pub(crate) fn eta(left: u64, per_second: Option<u64>) -> Option<Duration> {
    let seconds = left as f64 / per_second.filter(|rate| *rate > 0)? as f64;
    (seconds < LONGEST).then(|| Duration::from_secs(seconds.ceil() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts at milliseconds; the rate at the last number.
    fn rate(counts: &[(u64, u64)], now: u64) -> Option<u64> {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut rate = Rate::default();
        counts.iter().for_each(|(millis, count)| rate.note(at(*millis), *count));
        rate.per_second(at(now))
    }

    #[test]
    fn too_little_is_no_rate() {
        assert_eq!(rate(&[], 0), None);
        assert_eq!(rate(&[(0, 0), (400, 1000)], 400), None);
    }

    #[test]
    fn a_steady_rate_is_told_whatever_was_there_before() {
        let steady: Vec<_> = (0..20).map(|n| (n * 250, 5_000_000 + n * 250_000)).collect();
        assert_eq!(rate(&steady, 4750), Some(1_000_000));
    }

    #[test]
    fn only_the_last_seconds_count() {
        let mut counts = vec![(0, 0), (1000, 900_000_000)];
        counts.extend((2..=20).map(|n| (n * 1000, 900_000_000 + n * 1000)));
        assert_eq!(rate(&counts, 20_000), Some(1000));
    }

    #[test]
    fn what_stands_still_becomes_slower_and_comes_to_nothing() {
        let counts = [(0, 0), (1000, 1_000_000)];
        assert_eq!(rate(&counts, 2000), Some(500_000));
        assert_eq!(rate(&counts, 8000), Some(125_000));
        assert_eq!(rate(&counts, 9001), Some(0));
    }

    #[test]
    fn what_is_counted_seldom_has_a_rate_all_the_same() {
        let counts: Vec<_> = (0..6).map(|n| (n * 10_000, n * 4_000_000)).collect();
        assert_eq!(rate(&counts, 50_000), Some(400_000));
        assert_eq!(rate(&counts, 60_000), Some(200_000));
        assert_eq!(rate(&counts, 71_000), Some(0));
    }

    #[test]
    fn a_count_that_goes_back_begins_anew() {
        assert_eq!(rate(&[(0, 0), (1000, 5000), (1100, 0), (2100, 3000)], 2100), Some(3000));
    }

    #[test]
    fn a_thousand_counts_in_a_moment_are_one() {
        let start = Instant::now();
        let mut rate = Rate::default();
        (0..10_000).for_each(|n| rate.note(start + Duration::from_micros(n * 100), n));
        assert!(rate.counts.len() < 15, "{}", rate.counts.len());
    }

    #[test]
    fn the_time_left_is_rounded_up_and_unknown_when_nothing_moves() {
        let seconds = |left, rate| eta(left, rate).map(|eta| eta.as_secs());
        assert_eq!(seconds(1001, Some(1000)), Some(2));
        assert_eq!(seconds(0, Some(1000)), Some(0));
        assert_eq!(seconds(1, Some(0)), None);
        assert_eq!(seconds(1, None), None);
        assert_eq!(seconds(u64::MAX, Some(1)), None);
    }
}
