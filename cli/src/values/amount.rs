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

#[cfg(test)]
mod tests {
    use super::*;

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
