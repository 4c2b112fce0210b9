//! What a busy registry says about when it wants to be asked again, and how much it allows.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// How long a registry wants to be left alone: `Retry-After`, in seconds or as a date.
pub(super) fn wanted(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    // A date has no parts of a second: a little later is surely not too early.
    let left = at.as_millisecond().saturating_sub(now.as_millisecond()).saturating_add(1);
    Some(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
}

/// `in 90 s, at 14:05:00 UTC`.
pub(super) fn moment(wanted: Duration, now: Timestamp) -> String {
    let seconds = wanted.as_millis().div_ceil(1000);
    let wanted = jiff::SignedDuration::try_from(wanted).ok();
    match wanted.and_then(|wanted| now.checked_add(wanted).ok()) {
        Some(at) => format!("in {seconds} s, at {} UTC", at.strftime("%F %H:%M:%S")),
        None => format!("in {seconds} s"),
    }
}

/// `its limit is 100 requests in 6 h`, of Docker Hub's `RateLimit-Limit: 100;w=21600`.
pub(super) fn limit(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("ratelimit-limit")?.to_str().ok()?;
    let mut parts = text.split(';').map(str::trim);
    let count: u64 = parts.next()?.parse().ok()?;
    let window: Option<u64> = parts.find_map(|part| part.strip_prefix("w=")?.parse().ok());
    Some(match window {
        Some(seconds) if seconds % 3600 == 0 => {
            format!("its limit is {count} requests in {} h", seconds / 3600)
        }
        Some(seconds) => format!("its limit is {count} requests in {seconds} s"),
        None => format!("its limit is {count} requests"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    #[test]
    fn a_wait_is_read_in_seconds_and_as_a_date() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let read = |value| wanted(&headers("retry-after", value), now);
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        let date = "Sat, 21 Nov 2026 10:01:00 GMT";
        assert_eq!(read(date), Some(Duration::from_millis(60_001)));
        assert_eq!(read("Sat, 21 Nov 2026 09:00:00 GMT"), Some(Duration::ZERO));
        for odd in ["soon", "-5", "", "99999999999999999999999"] {
            assert_eq!(read(odd), None, "{odd}");
        }
        assert_eq!(moment(Duration::from_secs(90), now), "in 90 s, at 2026-11-21 10:01:30 UTC");
        assert_eq!(moment(Duration::MAX, now), format!("in {} s", u64::MAX as u128 + 1));
    }

    #[test]
    fn a_limit_is_told_with_its_window() {
        let told = |value| limit(&headers("ratelimit-limit", value));
        assert_eq!(told("100;w=21600").unwrap(), "its limit is 100 requests in 6 h");
        assert_eq!(told("5; w=90").unwrap(), "its limit is 5 requests in 90 s");
        assert_eq!(told("5").unwrap(), "its limit is 5 requests");
        assert_eq!(told("many"), None);
    }
}
