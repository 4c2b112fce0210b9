//! Numbers of things and bytes.

use std::str::FromStr;

/// How many lines from the end: `all` or a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Every line.
    #[default]
    All,
    /// The last lines.
    Last(usize),
}

impl FromStr for Tail {
    type Err = String;

    fn from_str(text: &str) -> Result<Tail, String> {
        match text {
            "all" | "-1" => Ok(Tail::All),
            _ => text
                .parse()
                .map(Tail::Last)
                .map_err(|_| format!("`{text}` is no number of lines: write `all` or `100`")),
        }
    }
}

impl Tail {
    /// As a limit.
    pub(crate) fn limit(self) -> Option<usize> {
        match self {
            Tail::All => None,
            Tail::Last(lines) => Some(lines),
        }
    }
}

/// `12.3MB`: three digits, powers of 1000.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = match value {
        _ if unit == 0 => 0,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}{}", UNITS[unit])
}

/// `2.06MB`: at most three digits, powers of 1000, as `docker stats` has it.
pub(crate) fn decimal(count: u64) -> String {
    shortest(count, 1000.0, 3, ["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// `23.54GiB`: at most four digits, powers of 1024, as `docker stats` has it.
pub(crate) fn binary(count: u64) -> String {
    shortest(count, 1024.0, 4, ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// No zeros behind the point.
fn shortest(count: u64, step: f64, digits: usize, units: [&str; 7]) -> String {
    let mut value = count as f64;
    let mut unit = 0;
    while value >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let before = (value.max(1.0).log10().floor() as usize) + 1;
    let text = format!("{value:.*}", digits.saturating_sub(before));
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_as_short_as_dockers() {
        let said = [0, 736, 1000, 2_060_000, 999_400, 5 << 40].map(decimal).join(" ");
        assert_eq!(said, "0B 736B 1kB 2.06MB 999kB 5.5TB");
        let said = [0, 1023, 344_064, 25_275_888_435, 1 << 30].map(binary).join(" ");
        assert_eq!(said, "0B 1023B 336KiB 23.54GiB 1GiB");
    }

    #[test]
    fn tail_is_a_number_or_all() {
        assert_eq!("all".parse(), Ok(Tail::All));
        assert_eq!("0".parse(), Ok(Tail::Last(0)));
        assert_eq!("12".parse::<Tail>().unwrap().limit(), Some(12));
        assert!("many".parse::<Tail>().is_err());
    }

    #[test]
    fn bytes_have_three_digits() {
        let said = [0, 999, 1000, 1500, 15_500, 999_499, 999_999, 12_345_678, 5 << 40].map(bytes);
        assert_eq!(said.join(" "), "0B 999B 1.00kB 1.50kB 15.5kB 999kB 1.00MB 12.3MB 5.50TB");
    }
}
