//! Makes text that others wrote safe for a terminal.
//!
//! A container, an image, a registry or a file may hold bytes that move the cursor, change the
//! title or reverse the reading order. On a terminal these are shown, not obeyed.

use std::borrow::Cow;
use std::fmt::Write;

/// Longest line shown, in bytes.
pub(crate) const LONGEST_LINE: usize = 64 << 10;

/// `text` with every control and direction character made visible, except tab and newline.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| !hidden(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        push(&mut out, c);
    }
    Cow::Owned(out)
}

/// As [`plain`], but colours (`ESC [ … m`) pass when `colours`, and are closed at the end.
pub(crate) fn line(text: &str, colours: bool) -> Cow<'_, str> {
    let text = cut(text);
    if !colours || !text.contains('\u{1b}') {
        return plain(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut coloured = false;
    while let Some(c) = rest.chars().next() {
        if let Some(length) = colour_sequence(rest) {
            out.push_str(&rest[..length]);
            rest = &rest[length..];
            coloured = true;
        } else {
            push(&mut out, c);
            rest = &rest[c.len_utf8()..];
        }
    }
    if coloured {
        out.push_str("\u{1b}[0m");
    }
    Cow::Owned(out)
}

/// As [`line`], for a text of several lines.
pub(crate) fn line_by_line(text: &str, colours: bool) -> String {
    text.lines().map(|each| line(each, colours)).collect::<Vec<_>>().join("\n")
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

/// The line up to [`LONGEST_LINE`].
fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_LINE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Length of the colour sequence that `text` begins with.
fn colour_sequence(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let length = parameters.find(|c: char| !(c.is_ascii_digit() || c == ';' || c == ':'))?;
    (length <= 64 && parameters[length..].starts_with('m')).then_some(2 + length + 1)
}

fn push(out: &mut String, c: char) {
    match c {
        c if !hidden(c) => out.push(c),
        '\r' => out.push_str("\\r"),
        c if u32::from(c) < 0x80 => {
            let _ = write!(out, "\\x{:02x}", u32::from(c));
        }
        c => {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
    }
}

/// Whether a terminal would act on `c` instead of showing it.
fn hidden(c: char) -> bool {
    let direction = matches!(c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    direction || (c.is_control() && c != '\t' && c != '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(
            plain("a\x1b]0;title\x07b\rc\x7f\u{9b}2J"),
            "a\\x1b]0;title\\x07b\\rc\\x7f\\u{9b}2J"
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
    fn only_colours_pass_and_they_are_closed() {
        assert_eq!(line("\x1b[31mred\x1b[2J", true), "\x1b[31mred\\x1b[2J\x1b[0m");
        assert_eq!(line("\x1b[31mred", false), "\\x1b[31mred");
    }

    #[test]
    fn an_unfinished_sequence_is_no_colour() {
        assert_eq!(line("\x1b[31", true), "\\x1b[31");
    }

    #[test]
    fn json_stays_json() {
        let text = serde_json::to_string("a\u{7f}\u{202e}b").unwrap();
        let safe = json(&text);
        assert_eq!(safe, "\"a\\u007f\\u202eb\"");
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), "a\u{7f}\u{202e}b");
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let long = "é".repeat(LONGEST_LINE);
        assert_eq!(line(&long, true).len(), LONGEST_LINE);
        let odd = format!("a{long}");
        assert_eq!(line(&odd, true).len(), LONGEST_LINE - 1);
    }
}
