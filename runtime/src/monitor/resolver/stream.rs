//! A connection of the container to its resolver.
//!
//! What it may cost is bounded: a question is read when the answers before it are gone, and a
//! connection without a whole question for a while ends.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::QUESTION;
use crate::monitor::poll::{PollSet, Token};

/// A connection without a whole question ends after so long.
const IDLE: Duration = Duration::from_secs(10);
/// Questions of one connection that wait for answers; more are read then.
const AT_ONCE: usize = 16;

/// A TCP connection of the container.
pub(super) struct Stream {
    socket: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Questions without an answer.
    pub(super) open: usize,
    until: Instant,
    /// The other side sends nothing any more.
    ended: bool,
    gone: bool,
}

impl Stream {
    pub(super) fn new(socket: TcpStream, now: Instant) -> Stream {
        Stream {
            socket,
            input: Vec::new(),
            output: Vec::new(),
            open: 0,
            until: now + IDLE,
            ended: false,
            gone: false,
        }
    }

    /// Adds what to wait for.
    pub(super) fn poll<'a>(&'a self, token: Token, set: &mut PollSet<'a>) {
        set.until(Some(self.until));
        if !self.output.is_empty() {
            set.add(token, &self.socket, PollFlags::OUT);
        } else if !self.ended && self.open < AT_ONCE {
            set.add(token, &self.socket, PollFlags::IN);
        }
    }

    /// When it ends if nothing more comes: who has waited longest goes first.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// Whether nothing more can come of it.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let settled = self.open == 0 && self.output.is_empty();
        self.gone || self.until <= now || (self.ended && settled)
    }

    /// Takes what has come, and gives what has room.
    pub(super) fn serve(&mut self) {
        self.flush();
        let mut buffer = [0; QUESTION];
        while !self.ended && self.input.len() < 2 * QUESTION {
            match self.socket.read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(n) => self.input.extend_from_slice(&buffer[..n]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
    }

    /// The next whole question, when there is room for its answer.
    pub(super) fn question(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.gone || !self.output.is_empty() || self.open >= AT_ONCE {
            return None;
        }
        let length = usize::from(u16::from_be_bytes([*self.input.first()?, *self.input.get(1)?]));
        if length > QUESTION {
            self.gone = true;
            return None;
        }
        let question = self.input.get(2..2 + length)?.to_vec();
        self.input.drain(..2 + length);
        self.until = now + IDLE;
        self.open += 1;
        Some(question)
    }

    /// Sends an answer, now or when there is room.
    pub(super) fn answer(&mut self, answer: &[u8]) {
        self.open = self.open.saturating_sub(1);
        let Ok(length) = u16::try_from(answer.len()) else { return };
        self.output.extend_from_slice(&length.to_be_bytes());
        self.output.extend_from_slice(answer);
        self.flush();
    }

    /// Ends it.
    pub(super) fn end(&mut self) {
        self.gone = true;
    }

    fn flush(&mut self) {
        while !self.output.is_empty() {
            match self.socket.write(&self.output) {
                Ok(n) => drop(self.output.drain(..n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (TcpStream, Stream, Instant) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let now = Instant::now();
        (client, Stream::new(socket, now), now)
    }

    /// Serves until there is a question, or the other side has ended.
    fn next(stream: &mut Stream, now: Instant) -> Option<Vec<u8>> {
        for _ in 0..1000 {
            stream.serve();
            let question = stream.question(now);
            if question.is_some() || stream.ended || stream.gone {
                return question;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    }

    #[test]
    fn who_ends_its_side_still_gets_its_answers() {
        let (mut client, mut stream, now) = pair();
        client.write_all(b"\0\x03one\0\x03two").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(next(&mut stream, now).unwrap(), b"one");
        stream.serve();
        assert_eq!(stream.question(now).unwrap(), b"two");
        assert!(!stream.is_over(now));
        stream.answer(b"1");
        assert!(!stream.is_over(now));
        stream.answer(b"2");
        assert!(stream.is_over(now));
        drop(stream);
        let mut told = Vec::new();
        client.read_to_end(&mut told).unwrap();
        assert_eq!(told, b"\0\x011\0\x012");
    }

    #[test]
    fn half_a_question_does_not_prolong_a_connection() {
        let (mut client, mut stream, now) = pair();
        client.write_all(b"\0\x09on").unwrap();
        stream.serve();
        assert_eq!(stream.question(now + IDLE / 2), None);
        assert!(stream.is_over(now + IDLE));
    }

    #[test]
    fn a_question_that_is_too_long_ends_it() {
        let (mut client, mut stream, now) = pair();
        client.write_all(b"\xff\xff").unwrap();
        assert_eq!(next(&mut stream, now), None);
        assert!(stream.is_over(now));
    }

    #[test]
    fn who_does_not_read_its_answers_is_not_listened_to() {
        let (mut client, mut stream, now) = pair();
        client.write_all(&b"\0\x01q".repeat(2000)).unwrap();
        let mut asked = 0;
        for _ in 0..10_000 {
            stream.serve();
            while stream.question(now).is_some() {
                asked += 1;
                stream.answer(&[0; 60_000]);
            }
        }
        assert!(asked < 1000, "{asked}");
        assert!(stream.output.len() < 100_000);
    }
}
