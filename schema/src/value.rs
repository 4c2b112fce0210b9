//! The small grammars inside values: durations, sizes, numbers of ports, command lines, names.

use std::time::Duration;

use crate::scalar;
use crate::tree::Value;

/// Why a value cannot work, and what can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// What is wrong with it, after "`VALUE` ".
    pub why: String,
    /// The next move.
    pub help: Option<String>,
}

/// The value is wrong because of `why`; `help` says what to write.
pub fn bad<T>(why: impl Into<String>, help: &str) -> Result<T, Bad> {
    Err(Bad { why: why.into(), help: (!help.is_empty()).then(|| help.to_owned()) })
}

const UNITS: [(&str, f64); 9] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
    ("d", 86_400e9),
    ("w", 604_800e9),
];

/// A duration such as `1m30s`, `1.5s` or `200ms`.
pub fn duration(text: &str) -> Result<Duration, Bad> {
    const HELP: &str = "write it like `30s`, `1m30s`, `200ms`; units are ns us ms s m h d w";
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut nanoseconds = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = match rest[..digits].parse() {
            Ok(number) => number,
            Err(_) => return bad("is not a duration", HELP),
        };
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit() || c == '.');
        let unit = &rest[digits..unit_end.map_or(rest.len(), |end| digits + end)];
        let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            let why = if unit.is_empty() { "has no unit" } else { "is not a duration" };
            return bad(why, HELP);
        };
        nanoseconds += number * factor;
        rest = &rest[digits + unit.len()..];
    }
    if text.is_empty() || nanoseconds > i64::MAX as f64 {
        return bad("is not a duration", HELP);
    }
    Ok(Duration::from_nanos(nanoseconds as u64))
}

/// A duration the way the Compose tools print it.
pub fn print_duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let short = |unit: u128, name: &str| {
        let text =
            format!("{}.{:09}", nanoseconds / unit, (nanoseconds % unit) * (1_000_000_000 / unit));
        format!("{}{name}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match nanoseconds {
        0 => "0s".into(),
        1..1_000 => format!("{nanoseconds}ns"),
        1_000..1_000_000 => short(1_000, "µs"),
        1_000_000..1_000_000_000 => short(1_000_000, "ms"),
        _ => {
            let seconds = duration.as_secs();
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            let part = format!("{}.{:09}", seconds % 60, duration.subsec_nanos());
            let part = part.trim_end_matches('0').trim_end_matches('.');
            match (hours, minutes) {
                (0, 0) => format!("{part}s"),
                (0, _) => format!("{minutes}m{part}s"),
                _ => format!("{hours}h{minutes}m{part}s"),
            }
        }
    }
}

/// A size in bytes such as `512m`, `1.5g` or `1GiB`; units are powers of 1024.
pub fn size(text: &str) -> Result<i64, Bad> {
    const HELP: &str =
        "write it like `512m`, `1g` or `1048576`; units are b k m g t p, times 1024 each";
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = (&lower[..digits], lower[digits..].trim_start());
    let Ok(number) = number.parse::<f64>() else {
        return bad("is not a size", HELP);
    };
    let power = match unit {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        "ki" | "mi" | "gi" | "ti" | "pi" => {
            let help = format!(
                "write `{digits}{}`, it is the same",
                &unit[..1],
                digits = &lower[..digits]
            );
            return bad(format!("has the unit `{unit}`, which is no unit here"), &help);
        }
        _ => return bad(format!("has the unit `{unit}`, which is no unit of size"), HELP),
    };
    let bytes = number * 1024f64.powi(power);
    if bytes > i64::MAX as f64 {
        return bad("is larger than 8 exbibytes", HELP);
    }
    Ok(bytes as i64)
}

/// A size from text or number; −1 only where `unlimited` is allowed.
pub fn size_of(value: &Value, unlimited: bool) -> Result<Value, Bad> {
    let bytes = match value {
        Value::Int(value) => *value as i64,
        Value::Float(value) if value.fract() == 0.0 => *value as i64,
        Value::Text(text) if unlimited && text == "-1" => -1,
        Value::Text(text) => size(text)?,
        _ => return bad("is not a size", "write it like `512m` or `1g`"),
    };
    if bytes < 0 && !(unlimited && bytes == -1) {
        return bad("is below 0", "a size is 0 or more");
    }
    Ok(Value::Text(bytes.to_string()))
}

/// A first and last port.
pub fn port_range(text: &str) -> Result<(u16, u16), Bad> {
    const HELP: &str = "ports are 1 to 65535; a range is written `8000-8010`";
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let parse = |text: &str| match text.parse::<u32>() {
        Ok(port @ 1..=65535) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port as u16),
        Ok(0 | 65536..) => bad("is no port: ports are 1 to 65535", HELP),
        _ => bad("is not a port", HELP),
    };
    match (parse(first)?, parse(last)?) {
        (first, last) if first > last => bad("is a range whose end is before its start", HELP),
        range => Ok(range),
    }
}

/// The words of a boolean, in any case, and what they mean; all but two are older ones.
pub const BOOLEANS: [(&str, bool); 8] = [
    ("true", true),
    ("false", false),
    ("y", true),
    ("yes", true),
    ("on", true),
    ("n", false),
    ("no", false),
    ("off", false),
];

/// A boolean, also in the older words. The flag says that the word is an older one.
pub fn boolean(text: &str) -> Option<(bool, bool)> {
    let known = BOOLEANS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    known.map(|(word, value)| (*value, !matches!(*word, "true" | "false")))
}

/// A command line as words, quotes and backslashes read like a shell reads them.
pub fn words(line: &str) -> Result<Vec<String>, Bad> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None | Some('"'), '\\') => match chars.next() {
                Some(next) => word.get_or_insert_default().push(next),
                None => return bad("ends in a backslash", "write the command as a list"),
            },
            (Some(_), _) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, _) if c.is_whitespace() => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return bad("has a quote that is not closed", "close it, or write the command as a list");
    }
    words.extend(word);
    Ok(words)
}

/// A container path without `.`, `..`, doubled and trailing slashes.
pub fn clean_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let absolute = path.starts_with('/');
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if absolute || parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".into(),
        (false, false) => joined,
    }
}

/// Every text is a name: what a check of names has to notice.
#[cfg(feature = "sabotage")]
pub static ANY_NAME: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Takes every kernel setting, for a check of what stands behind the rule.
#[cfg(feature = "sabotage")]
pub static ANY_SETTING: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Whether a text is a name as services and resources have it.
pub fn is_name(text: &str) -> bool {
    #[cfg(feature = "sabotage")]
    if ANY_NAME.load(std::sync::atomic::Ordering::Relaxed) {
        return true;
    }
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// An image reference: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.
pub fn image_reference(text: &str) -> Result<(), Bad> {
    const HELP: &str =
        "a reference is `[HOST[:PORT]/]name[:tag][@sha256:…]`, the name in lower case";
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    if let Some(digest) = digest {
        let hex = digest.split_once(':').map_or("", |(_, hex)| hex);
        if hex.len() < 32 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return bad("has a digest that is none", HELP);
        }
    }
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    if let Some(tag) = tag {
        let ok = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if tag.is_empty() || tag.len() > 128 || !tag.bytes().all(ok) || tag.starts_with(['.', '-'])
        {
            return bad(format!("has the tag `{tag}`, which is none"), HELP);
        }
    }
    let (host, path) = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
        _ => ("", name),
    };
    let host_ok = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    if !host.bytes().all(host_ok) {
        return bad(format!("names the registry `{host}`, which is no host"), HELP);
    }
    for part in path.split('/') {
        let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if part.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return bad("has upper case letters in its name", HELP);
        }
        if !part.bytes().all(ok) || !edge(part.bytes().next()) || !edge(part.bytes().last()) {
            return bad("is not an image reference", HELP);
        }
    }
    Ok(())
}

/// A number from text, the way attributes with a number accept it.
pub fn number(text: &str) -> Option<Value> {
    scalar::cast(text)
}

/// The nearest of `known` to `name`, if one is near enough to be meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A name of one letter is nearly every other one.
    let most = if name.len() < 2 { 0 } else { (name.len() / 3).clamp(1, 3) };
    known
        .into_iter()
        .take(1000)
        .filter(|other| other.len().abs_diff(name.len()) <= most)
        .map(|other| (distance(name, other), other))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, other)| other)
}

/// Letters of the longest words that are compared.
const LONGEST: usize = 64;

/// Edits between two words; two letters swapped count as one.
fn distance(a: &str, b: &str) -> usize {
    let mut letters = ([' '; LONGEST], [' '; LONGEST]);
    let (Some(a), Some(b)) = (spelt(a, &mut letters.0), spelt(b, &mut letters.1)) else {
        return usize::MAX;
    };
    // The last three rows of the table, the newest last.
    let mut rows = [[0; LONGEST + 1]; 3];
    rows[2] = std::array::from_fn(|at| at);
    for (i, letter) in a.iter().enumerate() {
        rows.rotate_left(1);
        rows[2][0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let same = usize::from(!letter.eq_ignore_ascii_case(other));
            let mut best = (rows[1][j + 1] + 1).min(rows[2][j] + 1).min(rows[1][j] + same);
            if i > 0 && j > 0 && *letter == b[j - 1] && a[i - 1] == *other {
                best = best.min(rows[0][j - 1] + 1);
            }
            rows[2][j + 1] = best;
        }
    }
    rows[2][b.len()]
}

/// The letters of a word, if it is not too long to be a name somebody mistyped.
fn spelt<'l>(word: &str, letters: &'l mut [char; LONGEST]) -> Option<&'l [char]> {
    let mut count = 0;
    for letter in word.chars() {
        *letters.get_mut(count)? = letter;
        count += 1;
    }
    Some(&letters[..count])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_printed() {
        for (text, printed) in [
            ("90s", "1m30s"),
            ("1h", "1h0m0s"),
            ("1.5s", "1.5s"),
            ("100us", "100µs"),
            ("2m", "2m0s"),
            ("0", "0s"),
            ("1d", "24h0m0s"),
            ("1500ms", "1.5s"),
            ("20ms", "20ms"),
        ] {
            assert_eq!(print_duration(duration(text).unwrap()), printed, "{text}");
        }
        for text in ["", "10", "s", "5x", "-1s", "1 s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_count_in_powers_of_1024() {
        assert_eq!(size("512m"), Ok(512 << 20));
        assert_eq!(size("1.5g"), Ok(3 << 29));
        assert_eq!(size("64 MiB"), Ok(64 << 20));
        assert_eq!(size("10"), Ok(10));
        assert!(size("1x").is_err());
        assert!(size("").is_err());
    }

    #[test]
    fn command_lines_are_split_like_a_shell_does() {
        assert_eq!(
            words(r#"sh -c "echo \"a  b\"" 'c d' e\ f ''"#).unwrap(),
            ["sh", "-c", "echo \"a  b\"", "c d", "e f", ""]
        );
        assert!(words("echo 'open").is_err());
        assert!(words("").unwrap().is_empty());
    }

    #[test]
    fn image_references_are_checked() {
        for good in
            ["nginx", "nginx:1.27", "localhost/host", "ghcr.io/a/b:v1", "localhost:5000/x/y"]
        {
            assert_eq!(image_reference(good), Ok(()), "{good}");
        }
        let digest = format!("a@sha256:{}", "0".repeat(64));
        assert_eq!(image_reference(&digest), Ok(()));
        for wrong in ["Nginx", "a:", "a b", "a//b", "-a", "a:b c", "a@sha256:12", ""] {
            assert!(image_reference(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_nearest_word_is_suggested() {
        assert_eq!(nearest("databse", ["database", "web"]), Some("database"));
        assert_eq!(nearest("imge", ["image", "init"]), Some("image"));
        assert_eq!(nearest("xyz", ["image", "init"]), None);
        assert_eq!((distance("imgae", "image"), distance("IMAGE", "image")), (1, 0));
        assert_eq!((distance("", "abc"), distance("kitten", "sitting")), (3, 3));
        assert_eq!(distance(&"x".repeat(65), "x"), usize::MAX);
    }
}
