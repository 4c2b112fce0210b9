//! Makes bytes of a container safe to show on a terminal.

use std::fmt::Write;

use crate::sabotage::without;

/// Text in which nothing moves the cursor, sets a title or turns the writing direction.
///
/// Control characters (other than newline and tab), bidirectional overrides and what is no UTF-8
/// become visible escapes (`\x1b`, `\u{202e}`). Colours (`ESC [ … m`) pass when `colour` is set, and
/// are then ended at the end of the text; otherwise they are left out. A carriage return at the end
/// of the text belongs to the line's end and is left out.
pub fn sanitize(text: &[u8], colour: bool) -> String {
    without!("text.sanitized", return String::from_utf8_lossy(text).into_owned());
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let mut out = String::with_capacity(text.len());
    let mut coloured = false;
    for chunk in text.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(next) = rest.chars().next() {
            let taken = match colour_sequence(rest) {
                Some(length) => {
                    if colour {
                        out.push_str(&rest[..length]);
                        coloured = true;
                    }
                    length
                }
                None => {
                    push(&mut out, next);
                    next.len_utf8()
                }
            };
            rest = &rest[taken..];
        }
        for byte in chunk.invalid() {
            escape(&mut out, format_args!("\\x{byte:02x}"));
        }
    }
    if coloured {
        out.push_str("\x1b[0m");
    }
    out
}

fn push(out: &mut String, c: char) {
    match c {
        '\n' | '\t' => out.push(c),
        '\0'..='\x1f' | '\x7f' => escape(out, format_args!("\\x{:02x}", u32::from(c))),
        '\u{80}'..='\u{9f}'
        | '\u{61c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' => escape(out, format_args!("\\u{{{:x}}}", u32::from(c))),
        _ => out.push(c),
    }
}

fn escape(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = out.write_fmt(text);
}

/// Length of the colour sequence at the start of the text.
fn colour_sequence(text: &str) -> Option<usize> {
    let body = text.strip_prefix("\x1b[")?;
    let end = body.find(|c: char| !c.is_ascii_digit() && c != ';' && c != ':')?;
    (body.as_bytes()[end] == b'm').then_some(2 + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_the_cursor_or_sets_a_title_is_shown() {
        assert_eq!(sanitize(b"a\x1b[2Jb", true), r"a\x1b[2Jb");
        assert_eq!(sanitize(b"\x1b]0;title\x07", true), r"\x1b]0;title\x07");
        assert_eq!(sanitize("\u{9b}31m\u{202e}x".as_bytes(), true), r"\u{9b}31m\u{202e}x");
        assert_eq!(sanitize(b"50%\r100%\x08", true), r"50%\x0d100%\x08");
        assert_eq!(sanitize(b"\x9b31m\xff", true), r"\x9b31m\xff");
    }

    #[test]
    fn colours_pass_on_request_and_end_with_the_text() {
        assert_eq!(sanitize(b"\x1b[1;31mred", true), "\x1b[1;31mred\x1b[0m");
        assert_eq!(sanitize(b"\x1b[1;31mred\x1b[m", false), "red");
        assert_eq!(sanitize(b"\x1b[31", true), r"\x1b[31");
    }

    #[test]
    fn plain_text_is_not_changed() {
        assert_eq!(sanitize("tab\tGrüße 🚢\r".as_bytes(), true), "tab\tGrüße 🚢");
    }
}
