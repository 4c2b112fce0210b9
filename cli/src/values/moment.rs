//! Points in time and spans of it: as `--since` and `--until` take them, and as tables show them.

use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Timestamp};

/// The point in time `text` names, seen from `now`: a span before it (`10m`, `1h30m`), RFC 3339,
/// a date with or without a time (UTC), or seconds since the epoch.
pub(crate) fn point(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(span) = span(text) {
        let span = SignedDuration::try_from(span).map_err(|e| e.to_string())?;
        return now.checked_sub(span).map_err(|e| e.to_string());
    }
    epoch(text).or_else(|| civil(text)).ok_or_else(|| {
        format!("`{text}` is no time: write `10m`, `2026-01-31T08:00:00Z` or seconds since 1970")
    })
}

/// Seconds since the epoch, with up to nine decimals.
fn epoch(text: &str) -> Option<Timestamp> {
    let (seconds, decimals) = text.split_once('.').unwrap_or((text, ""));
    if seconds.is_empty() || decimals.len() > 9 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanoseconds = format!("{decimals:0<9}").parse().ok()?;
    Timestamp::new(seconds.parse().ok()?, nanoseconds).ok()
}

fn civil(text: &str) -> Option<Timestamp> {
    let zoned = text.parse::<Timestamp>().ok();
    let local = || text.parse::<DateTime>().ok();
    let date = || text.parse::<Date>().ok().map(|date| date.at(0, 0, 0, 0));
    zoned.or_else(|| {
        local().or_else(date)?.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|z| z.timestamp())
    })
}

/// A span as Compose writes it: `90s`, `1h30m`, `250ms`.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration: write `30s` or `1h30m`");
    let mut total = Duration::ZERO;
    let mut rest = text;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let seconds = match &rest[..unit] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return Err(wrong()),
        };
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = &rest[unit..];
    }
    Ok(total)
}

/// A span given in whole seconds or as [`span`] takes it.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<u64>().map(Duration::from_secs).or_else(|_| span(text))
}

/// A span to the millisecond, or finer where it is short: `4.2ms`, `115ms`, `3.120s`, `2m05.0s`.
pub(crate) fn precise(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    match span.as_millis() {
        0..10 => format!("{:.1}ms", seconds * 1e3),
        10..1000 => format!("{:.0}ms", seconds * 1e3),
        1000..60_000 => format!("{seconds:.3}s"),
        _ => format!("{}m{:04.1}s", span.as_secs() / 60, seconds % 60.0),
    }
}

/// `5 minutes`, `About an hour`: as `docker ps` says it.
pub(crate) fn rough(seconds: i64) -> String {
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match seconds {
        i64::MIN..1 => "Less than a second".into(),
        1 => "1 second".into(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".into(),
        120..3600 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".into(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 14 => format!("{} days", hours / 24),
        _ if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// Seconds since the epoch as RFC 3339.
pub(crate) fn rfc3339(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> String {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        point(text, now).map_or_else(|e| e, |time| time.to_string())
    }

    #[test]
    fn a_point_in_time_is_relative_absolute_or_seconds() {
        assert_eq!(at("10m"), "2026-03-01T11:50:00Z");
        assert_eq!(at("1h30m"), "2026-03-01T10:30:00Z");
        assert_eq!(at("2026-02-28T08:00:00Z"), "2026-02-28T08:00:00Z");
        assert_eq!(at("2026-02-28T08:00:00.5+02:00"), "2026-02-28T06:00:00.5Z");
        assert_eq!(at("2026-02-28T08:00:00"), "2026-02-28T08:00:00Z");
        assert_eq!(at("2026-02-28"), "2026-02-28T00:00:00Z");
        assert_eq!(at("1136073600"), "2006-01-01T00:00:00Z");
        assert_eq!(at("1136073600.000000001"), "2006-01-01T00:00:00.000000001Z");
    }

    #[test]
    fn what_is_no_time_says_what_would_be() {
        for text in ["", "yesterday", "10", "10x", "-5m", "1.2.3", "2026-13-01"] {
            let answer = at(text);
            assert!(text == "10" || answer.contains("is no time"), "{text}: {answer}");
        }
        assert_eq!(at("10"), "1970-01-01T00:00:10Z");
    }

    #[test]
    fn spans_add_up() {
        assert_eq!(span("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(span("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(span("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(seconds("7"), Ok(Duration::from_secs(7)));
        assert_eq!(seconds("2m"), Ok(Duration::from_secs(120)));
        assert!(span("s").is_err());
        assert!(span("99999999999999999999h").is_err());
    }

    #[test]
    fn rough_spans_read_as_docker_says_them() {
        let said: Vec<String> =
            [0, 1, 59, 60, 119, 120, 3599, 3600, 7300, 86_400, 200_000, 1_300_000, 70_000_000]
                .map(rough)
                .to_vec();
        insta::assert_snapshot!(said.join("\n"), @r"
        Less than a second
        1 second
        59 seconds
        About a minute
        About a minute
        2 minutes
        59 minutes
        About an hour
        2 hours
        24 hours
        2 days
        2 weeks
        2 years
        ");
    }

    #[test]
    fn a_precise_span_has_the_decimals_that_matter() {
        let spans = [4_200, 115_000, 999_400, 3_120_000, 125_000_000].map(Duration::from_micros);
        assert_eq!(spans.map(precise), ["4.2ms", "115ms", "999ms", "3.120s", "2m05.0s"]);
    }
}
