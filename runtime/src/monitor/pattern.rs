//! Looks for a line in what a container writes. Pure: bytes in, found or not.

use berth_schema::stack::ReadySign;
use memchr::memchr;
use regex::bytes::{Regex, RegexBuilder};

use crate::bundle::Ready;
use crate::logs::{MAX_LINE, Stream};

/// Bytes that a compiled pattern, and what is worked out while it is matched, may have. The
/// file is held to less, so what was accepted there is accepted here.
const LIMIT: usize = 4 * 1024 * 1024;

/// A pattern, and the beginnings of lines that wait for their end.
pub(super) struct Pattern {
    regex: Regex,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Pattern {
    /// That of a sign of readiness, if it is a line of the output.
    ///
    /// # Errors
    /// As [`Pattern::new`].
    pub(super) fn of(ready: Option<&Ready>) -> Result<Option<Pattern>, String> {
        match ready.map(|ready| &ready.sign) {
            Some(ReadySign::Log(text)) => Pattern::new(text).map(Some),
            Some(ReadySign::Tcp(_) | ReadySign::Http { .. }) | None => Ok(None),
        }
    }

    /// # Errors
    /// With words, when it is no regular expression, or one that is too large.
    pub(super) fn new(text: &str) -> Result<Pattern, String> {
        let mut builder = RegexBuilder::new(text);
        let regex = builder.size_limit(LIMIT).dfa_size_limit(LIMIT).build();
        let regex = regex.map_err(|error| error.to_string())?;
        Ok(Pattern { regex, stdout: Vec::new(), stderr: Vec::new() })
    }

    /// Whether the beginning of a line waits for its end.
    pub(super) fn holds(&self) -> bool {
        !self.stdout.is_empty() || !self.stderr.is_empty()
    }

    /// Takes what was read from a stream. Whether a line of it matches; lines are those of the log.
    pub(super) fn feed(&mut self, stream: Stream, bytes: &[u8]) -> bool {
        let pending = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
            Stream::Notice | Stream::Hook => return false,
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = MAX_LINE - pending.len();
            let piece = &rest[..rest.len().min(room)];
            let (line, taken, whole) = match memchr(b'\n', piece) {
                Some(end) => (&piece[..end], end + 1, true),
                None => (piece, piece.len(), piece.len() == room),
            };
            rest = &rest[taken..];
            if pending.is_empty() && whole {
                if matches(&self.regex, line) {
                    return true;
                }
                continue;
            }
            pending.extend_from_slice(line);
            if whole {
                let line = std::mem::take(pending);
                if matches(&self.regex, &line) {
                    return true;
                }
            }
        }
        false
    }

    /// What waits has waited long enough to be a line, such as a prompt. It goes on waiting.
    pub(super) fn pause(&self) -> bool {
        let waiting = [&self.stdout, &self.stderr];
        waiting.iter().any(|line| !line.is_empty() && matches(&self.regex, line))
    }
}

/// A terminal ends its lines with a carriage return, too.
fn matches(regex: &Regex, line: &[u8]) -> bool {
    regex.is_match(line.strip_suffix(b"\r").unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(pattern: &str, pieces: &[&str]) -> Option<usize> {
        let mut pattern = Pattern::new(pattern).unwrap();
        pieces.iter().position(|piece| pattern.feed(Stream::Stdout, piece.as_bytes()))
    }

    #[test]
    fn a_line_is_found_however_it_comes() {
        assert_eq!(feed("ready", &["not yet\n", "rea", "dy to go\n", "more\n"]), Some(2));
        assert_eq!(feed("^ready$", &["almost ready\nready\r\n"]), Some(0));
        assert_eq!(feed("one.*two", &["one\n", "two\n"]), None);
    }

    #[test]
    fn the_end_of_a_line_is_not_guessed() {
        assert_eq!(feed("ready$", &["ready", " in a moment\n"]), None);
        let mut prompt = Pattern::new("login: $").unwrap();
        assert!(!prompt.feed(Stream::Stdout, b"login: "));
        assert!(prompt.holds() && prompt.pause());
    }

    #[test]
    fn streams_do_not_mix() {
        let mut pattern = Pattern::new("ready").unwrap();
        assert!(!pattern.feed(Stream::Stdout, b"rea"));
        assert!(!pattern.feed(Stream::Stderr, b"dy\n"));
        assert!(pattern.feed(Stream::Stdout, b"dy\n"));
    }

    #[test]
    fn a_line_without_an_end_is_cut_where_the_log_cuts_it() {
        let mut pattern = Pattern::new("x{3}$").unwrap();
        assert!(pattern.feed(Stream::Stdout, &[b'x'; MAX_LINE]));
        let mut pattern = Pattern::new("y").unwrap();
        for _ in 0..100 {
            assert!(!pattern.feed(Stream::Stdout, &[b'x'; 10_000]));
            assert!(pattern.stdout.len() < MAX_LINE);
        }
    }
}
