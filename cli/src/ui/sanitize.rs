//! Makes text that others wrote safe for a terminal.
//!
//! A container, an image, a registry or a file may hold bytes that move the cursor, change the
//! title or reverse the reading order. On a terminal these are shown, not obeyed.

use std::borrow::Cow;
use std::fmt::Write;

use berth_runtime::logs::sanitize;

/// `text` with every control and direction character made visible, except tab and newline.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(hidden) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(line_by_line(text, false))
}

/// A text of several lines; colours pass when `colours`.
pub(crate) fn line_by_line(text: &str, colours: bool) -> String {
    let lines: Vec<String> =
        text.split('\n').map(|line| sanitize(line.as_bytes(), colours)).collect();
    lines.join("\n")
}

/// JSON text with the characters escaped that JSON itself lets through.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if hidden(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Whether a terminal would act on `c` instead of showing it.
fn hidden(c: char) -> bool {
    let direction = matches!(c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    direction || (c.is_control() && c != '\t' && c != '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(
            plain("a\x1b]0;title\x07b\rc\x7f\u{9b}2J"),
            "a\\x1b]0;title\\x07b\\x0dc\\x7f\\u{9b}2J"
        );
    }

    #[test]
    fn a_reversed_reading_order_is_shown() {
        assert_eq!(plain("user\u{202e}txt.exe"), "user\\u{202e}txt.exe");
    }

    #[test]
    fn tabs_newlines_and_other_scripts_stay() {
        assert!(matches!(plain("a\tb\nπ 日本"), Cow::Borrowed("a\tb\nπ 日本")));
    }

    #[test]
    fn colours_pass_only_where_they_are_shown() {
        let text = "\x1b[31mred\x1b[0m\nnext\x1b[2J";
        assert_eq!(line_by_line(text, false), "red\nnext\\x1b[2J");
        assert!(line_by_line(text, true).starts_with("\x1b[31mred\x1b[0m"));
    }

    #[test]
    fn json_stays_json() {
        let text = serde_json::to_string("a\u{7f}\u{202e}b").unwrap();
        let safe = json(&text);
        assert_eq!(safe, "\"a\\u007f\\u202eb\"");
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), "a\u{7f}\u{202e}b");
    }
}
