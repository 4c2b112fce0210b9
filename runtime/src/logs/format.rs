//! One line of a log and its text form.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Length of `2026-11-21T10:00:00.123456789Z`.
const TIME: usize = 30;
/// Length of `stdout`; all names of streams are that long.
const NAME: usize = 6;
/// Where `F` or `P` stands.
pub(super) const TAG: usize = TIME + 1 + NAME + 1;
/// Where the text starts.
pub(super) const TEXT: usize = TAG + 2;

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// The container's standard output, or its terminal.
    Stdout,
    /// The container's standard error.
    Stderr,
    /// The monitor itself: a gap in the output and why.
    Notice,
    /// A hook that ran in the container.
    Hook,
}

impl Stream {
    /// The name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
            Stream::Notice => "notice",
            Stream::Hook => "hook->",
        }
    }

    fn from_name(name: &[u8]) -> Option<Stream> {
        [Stream::Stdout, Stream::Stderr, Stream::Notice, Stream::Hook]
            .into_iter()
            .find(|stream| stream.name().as_bytes() == name)
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A line a container wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When the monitor read it.
    pub time: Timestamp,
    /// Where it came from.
    pub stream: Stream,
    /// The bytes without the newline, as they were written: see [`super::sanitize`].
    pub text: Vec<u8>,
    /// It has no newline: what follows on this stream continues it.
    pub partial: bool,
}

/// What stands before the text of all lines that were read together.
pub(super) struct Prefix([u8; TEXT]);

impl Prefix {
    pub(super) fn new(time: Timestamp, stream: Stream) -> Prefix {
        let text = format!("{time:.9} {stream} F ");
        let mut bytes = [b'0'; TEXT];
        // A time outside the years 0 to 9999 is longer; no clock that works gives one.
        if let Some(text) = text.as_bytes().get(..TEXT).filter(|_| text.len() == TEXT) {
            bytes.copy_from_slice(text);
        }
        Prefix(bytes)
    }

    /// Appends a line of the file to `out`.
    pub(super) fn append(&self, out: &mut Vec<u8>, partial: bool, first: &[u8], rest: &[u8]) {
        let start = out.len();
        out.extend_from_slice(&self.0);
        if partial {
            out[start + TAG] = b'P';
        }
        out.extend_from_slice(first);
        out.extend_from_slice(rest);
        out.push(b'\n');
    }
}

/// A line of the file, not copied and its time not read.
pub(super) struct RawLine<'a> {
    pub(super) time: &'a str,
    pub(super) stream: Stream,
    pub(super) partial: bool,
    pub(super) text: &'a [u8],
}

/// Takes a line of the file (without its newline) apart. `None` for what we did not write.
pub(super) fn raw(line: &[u8]) -> Option<RawLine<'_>> {
    let time = std::str::from_utf8(line.get(..TIME)?).ok()?;
    let stream = Stream::from_name(line.get(TIME + 1..TIME + 1 + NAME)?)?;
    let partial = match line.get(TAG)? {
        b'P' => true,
        b'F' => false,
        _ => return None,
    };
    let spaces = [TIME, TIME + 1 + NAME, TAG + 1];
    if spaces.iter().any(|at| line.get(*at) != Some(&b' ')) {
        return None;
    }
    Some(RawLine { time, stream, partial, text: &line[TEXT..] })
}

/// Reads a line of the file (without its newline). `None` for what we did not write.
pub(super) fn parse(line: &[u8], times: &mut Times) -> Option<LogLine> {
    let RawLine { time, stream, partial, text } = raw(line)?;
    let time = times.read(time)?;
    Some(LogLine { time, stream, text: text.to_vec(), partial })
}

/// Reads times. Lines that were written together have the same one, which is read once.
#[derive(Default)]
pub(super) struct Times {
    text: [u8; TIME],
    time: Timestamp,
}

impl Times {
    fn read(&mut self, text: &str) -> Option<Timestamp> {
        if text.as_bytes() != self.text {
            self.time = text.parse().ok()?;
            self.text = text.as_bytes().try_into().ok()?;
        }
        Some(self.time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_line_reads_back_as_it_was_written() {
        let prefix = Prefix::new(time("2026-11-21T10:00:00.000000007Z"), Stream::Stderr);
        let mut out = Vec::new();
        prefix.append(&mut out, true, b"half ", b"a \xff line");

        assert_eq!(out, b"2026-11-21T10:00:00.000000007Z stderr P half a \xff line\n");
        let line = parse(&out[..out.len() - 1], &mut Times::default()).unwrap();
        assert_eq!(line.text, b"half a \xff line");
        assert_eq!(line.time, time("2026-11-21T10:00:00.000000007Z"));
        assert!(line.partial && line.stream == Stream::Stderr);
    }

    #[test]
    fn what_is_no_line_of_ours_is_refused() {
        for bad in [
            "",
            "hello",
            "2026-11-21T10:00:00.000000007Z stdout F",
            "2026-11-21T10:00:00.000000007Z stdouX F text",
            "2026-11-21T10:00:00.000000007Z stdout X text",
            "2026-13-21T10:00:00.000000007Z stdout F text",
            "2026-11-21T10:00:00.000000007Z stdout F-text",
        ] {
            assert_eq!(parse(bad.as_bytes(), &mut Times::default()), None, "{bad}");
        }
        assert!(
            parse(b"2026-11-21T10:00:00.000000007Z stdout F ", &mut Times::default())
                .unwrap()
                .text
                .is_empty()
        );
    }
}
