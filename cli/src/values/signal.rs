//! Names of signals.

use std::str::FromStr;

use nix::sys::signal::Signal;

/// `SIGTERM` for `SIGTERM`, `term`, `TERM` and `15`.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let wrong = || format!("`{text}` is no signal: write `SIGTERM`, `TERM` or `15`");
    if let Ok(number) = text.parse::<i32>() {
        return Signal::try_from(number).map(|s| s.as_str().to_owned()).map_err(|_| wrong());
    }
    let upper = text.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    Signal::from_str(&full).map(|s| s.as_str().to_owned()).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_three_spellings() {
        for text in ["SIGTERM", "term", "TERM", "15"] {
            assert_eq!(name(text), Ok("SIGTERM".into()), "{text}");
        }
        for text in ["", "0", "SIGNAL", "99"] {
            assert!(name(text).is_err(), "{text}");
        }
    }
}
