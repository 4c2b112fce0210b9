//! Cuts a stream of bytes into lines of the log. Pure: bytes and a time in, text out.

use jiff::Timestamp;
use memchr::memchr;

use super::MAX_LINE;
use super::format::{Prefix, Stream};

/// What of one stream waits for its newline.
pub(super) struct Splitter {
    stream: Stream,
    /// At most [`MAX_LINE`] bytes.
    pending: Vec<u8>,
}

impl Splitter {
    pub(super) fn new(stream: Stream) -> Splitter {
        Splitter { stream, pending: Vec::new() }
    }

    /// Whether the beginning of a line is held back.
    pub(super) fn holds(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes from `data` until it is used up or `out` holds `limit` bytes. Gives how many it took.
    pub(super) fn take(
        &mut self,
        data: &[u8],
        time: Timestamp,
        out: &mut Vec<u8>,
        limit: usize,
    ) -> usize {
        let prefix = Prefix::new(time, self.stream);
        let mut taken = 0;
        while taken < data.len() && out.len() < limit {
            let rest = &data[taken..];
            let room = MAX_LINE - self.pending.len();
            let piece = &rest[..rest.len().min(room + 1)];
            taken += match memchr(b'\n', piece) {
                Some(end) => {
                    prefix.append(out, false, &self.pending, &rest[..end]);
                    self.pending = Vec::new();
                    end + 1
                }
                None if rest.len() > room => {
                    prefix.append(out, true, &self.pending, &rest[..room]);
                    self.pending = Vec::new();
                    room
                }
                None => {
                    self.pending.extend_from_slice(rest);
                    rest.len()
                }
            };
        }
        taken
    }

    /// Gives up waiting: what is held becomes a partial line.
    pub(super) fn release(&mut self, time: Timestamp, out: &mut Vec<u8>) {
        if self.holds() {
            Prefix::new(time, self.stream).append(out, true, &self.pending, b"");
            self.pending = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::format::{Times, parse};

    fn feed(splitter: &mut Splitter, data: &[u8]) -> Vec<(bool, usize)> {
        let mut out = Vec::new();
        let taken = splitter.take(data, Timestamp::UNIX_EPOCH, &mut out, usize::MAX);
        assert_eq!(taken, data.len());
        lines(&out)
    }

    fn lines(out: &[u8]) -> Vec<(bool, usize)> {
        out.split_inclusive(|b| *b == b'\n')
            .map(|line| parse(&line[..line.len() - 1], &mut Times::default()).unwrap())
            .map(|line| (line.partial, line.text.len()))
            .collect()
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        let mut splitter = Splitter::new(Stream::Stdout);
        assert_eq!(feed(&mut splitter, b"one\n\ntw"), [(false, 3), (false, 0)]);
        assert!(splitter.holds());
        assert_eq!(feed(&mut splitter, b"o\n"), [(false, 3)]);
        assert!(!splitter.holds());
    }

    #[test]
    fn a_giant_line_is_cut_at_the_limit_and_nothing_is_lost() {
        let mut splitter = Splitter::new(Stream::Stdout);
        let cut = feed(&mut splitter, &vec![b'x'; 3 * MAX_LINE + 10]);
        assert_eq!(cut, [(true, MAX_LINE); 3]);
        assert_eq!(feed(&mut splitter, b"\n"), [(false, 10)]);
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_whole() {
        let mut splitter = Splitter::new(Stream::Stdout);
        assert_eq!(feed(&mut splitter, &vec![b'x'; MAX_LINE]), []);
        assert_eq!(feed(&mut splitter, b"\n"), [(false, MAX_LINE)]);
    }

    #[test]
    fn what_is_held_is_released_as_a_partial_line() {
        let mut splitter = Splitter::new(Stream::Stdout);
        feed(&mut splitter, b"password: ");
        let mut out = Vec::new();
        splitter.release(Timestamp::UNIX_EPOCH, &mut out);
        assert_eq!(lines(&out), [(true, 10)]);
        splitter.release(Timestamp::UNIX_EPOCH, &mut out);
        assert_eq!(lines(&out).len(), 1);
    }

    #[test]
    fn it_stops_when_the_output_is_full_and_goes_on_from_there() {
        let mut splitter = Splitter::new(Stream::Stdout);
        let data = b"\n".repeat(100);
        let (mut at, mut rounds, mut count) = (0, 0, 0);
        while at < data.len() {
            let mut out = Vec::new();
            at += splitter.take(&data[at..], Timestamp::UNIX_EPOCH, &mut out, 400);
            count += lines(&out).len();
            rounds += 1;
        }
        assert_eq!((rounds, count), (10, 100));
    }
}
