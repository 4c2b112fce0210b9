//! Sends lines on to the journal or a syslog server, besides the files.
//!
//! A destination never holds the monitor up: what it does not take waits, up to a limit, and then
//! either the container's output is left where it is (`blocking`) or lines are dropped and counted
//! (`non-blocking`). A destination that is gone is looked for again, less and less often; after
//! [`PATIENCE`] lines are dropped in either mode, because a container must not stand still for a log
//! server that does not come back. The files have them all.

mod journal;
mod link;
mod syslog;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use memchr::memchr;
use rustix::event::PollFlags;

use self::link::{Link, Sent};
use self::syslog::Form;
use super::format::{RawLine, Stream, raw};
use crate::bundle::{Destination, Peer};

/// The socket of the journal, systemd-journald.service(8).
pub(crate) const JOURNAL: &str = "/run/systemd/journal/socket";
/// Where a syslog server of this host listens, the first that is there.
pub(crate) const LOCAL: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];
/// Bytes that wait before the container's output is left where it is.
const WAITING: usize = 1 << 20;
/// Bytes that wait at most, and lines beyond are dropped also where the output is left where it is: what
/// a container wrote last is read at each of its ends, and what its hooks write always. One turn of
/// reading adds less.
const MOST: usize = 16 << 20;
/// How long a container waits for a destination that is gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// A connection is given up after so long.
const CONNECT: Duration = Duration::from_secs(10);
/// Between two attempts: the first pause, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));

/// The way of a container's lines to their destination.
pub struct Forward {
    peers: Vec<Peer>,
    speech: Speech,
    drop_over: Option<usize>,
    /// Lines as the file has them, from `start`.
    waiting: Vec<u8>,
    start: usize,
    /// The message of the first of them, and how much of it is sent.
    message: Vec<u8>,
    done: usize,
    link: Option<Link>,
    /// Which peer is tried next.
    next: usize,
    /// Without a link: the next attempt. While connecting: the end of it.
    again: Option<Instant>,
    pause: Duration,
    /// It cannot be reached since then, and why.
    gone: Option<(Instant, String)>,
    dropped: u64,
    /// That lines are dropped was told.
    told: bool,
}

enum Speech {
    Journal { fields: Vec<u8> },
    Syslog(Box<Form>),
}

impl Forward {
    /// A way to a destination, which is connected to at the first line.
    pub fn new(spec: &crate::bundle::Forward) -> Forward {
        let (peers, speech) = match &spec.to {
            Destination::Journal { fields } => {
                let fields = journal::fields(fields);
                (vec![Peer::Unixgram(JOURNAL.into())], Speech::Journal { fields })
            }
            Destination::Syslog { peers, facility, format, hostname, tag } => {
                let (hostname, tag) = (hostname.clone(), tag.clone());
                let last = <_>::default();
                let form = Form { facility: *facility, format: *format, hostname, tag, last };
                (peers.clone(), Speech::Syslog(Box::new(form)))
            }
        };
        Forward {
            peers,
            speech,
            drop_over: spec.drop_over.map(|most| usize::try_from(most).unwrap_or(usize::MAX)),
            waiting: Vec::new(),
            start: 0,
            message: Vec::new(),
            done: 0,
            link: None,
            next: 0,
            again: None,
            pause: PAUSE.0,
            gone: None,
            dropped: 0,
            told: false,
        }
    }

    /// Takes whole lines as the file has them, and sends what can be sent.
    pub(super) fn take(&mut self, mut lines: &[u8], now: Instant) {
        let most = match self.drop_over {
            Some(most) => most,
            None if self.has_given_up(now) => WAITING,
            None => MOST,
        };
        self.compact();
        while let Some(end) = memchr(b'\n', lines) {
            if self.backlog() > 0 && self.backlog() + end + 1 > most {
                // The destination may just not have been asked.
                self.send(now);
            }
            if self.backlog() == 0 || self.backlog() + end < most {
                self.waiting.extend_from_slice(&lines[..=end]);
            } else {
                self.dropped += 1;
            }
            lines = &lines[end + 1..];
        }
        self.send(now);
    }

    /// Bytes that wait.
    fn backlog(&self) -> usize {
        self.waiting.len() - self.start
    }

    fn compact(&mut self) {
        if self.start == self.waiting.len() {
            self.waiting.clear();
            self.waiting.shrink_to(WAITING / 8);
            self.start = 0;
        } else if self.start > self.waiting.len() / 2 {
            self.waiting.drain(..self.start);
            self.start = 0;
        }
    }

    fn has_given_up(&self, now: Instant) -> bool {
        self.gone
            .as_ref()
            .is_some_and(|(since, _)| now.saturating_duration_since(*since) > PATIENCE)
    }

    /// Whether the container's output is to be left where it is.
    pub(super) fn holds_back(&self, now: Instant) -> bool {
        self.drop_over.is_none() && self.backlog() >= WAITING && !self.has_given_up(now)
    }

    /// What to wait for.
    pub(super) fn poll(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.link.as_ref()?.poll(self.backlog() > 0)
    }

    /// When to look again: for the next attempt, or because patience ends.
    pub(super) fn until(&self) -> Option<Instant> {
        let waits = self.backlog() > 0 || self.link.is_some();
        self.again.filter(|_| waits)
    }

    /// The kernel has news of the socket.
    pub(super) fn news(&mut self, now: Instant) {
        if let Some(Err(error)) = self.link.as_mut().map(Link::news) {
            self.lose(&error, now);
        }
        self.send(now);
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.again.is_none_or(|at| at > now) {
            return;
        }
        self.again = None;
        if self.link.as_ref().is_some_and(Link::is_connecting) {
            self.lose(&io::Error::from(io::ErrorKind::TimedOut), now);
        }
        self.send(now);
    }

    /// Sends as much as the destination takes.
    fn send(&mut self, now: Instant) {
        while self.start < self.waiting.len() && self.is_up(now) {
            if self.message.is_empty() {
                self.compose();
            }
            let Some(link) = &self.link else { return };
            match link.send(&self.message, &mut self.done) {
                Sent::Whole => {
                    (self.gone, self.pause) = (None, PAUSE.0);
                    self.pass_on();
                }
                Sent::Later => return,
                Sent::Never(error) => {
                    self.dropped += 1;
                    self.gone.get_or_insert_with(|| (now, error.to_string()));
                    self.pass_on();
                }
                Sent::Gone(error) => self.lose(&error, now),
            }
        }
    }

    /// The first line is done with.
    fn pass_on(&mut self) {
        let line = memchr(b'\n', &self.waiting[self.start..]);
        self.start += line.map_or(self.waiting.len() - self.start, |end| end + 1);
        self.message.clear();
        self.done = 0;
    }

    /// Makes the message of the first line.
    fn compose(&mut self) {
        let rest = &self.waiting[self.start..];
        let line = &rest[..memchr(b'\n', rest).unwrap_or(rest.len())];
        let unread = RawLine { time: "", stream: Stream::Notice, partial: false, text: line };
        let line = raw(line).unwrap_or(unread);
        match &mut self.speech {
            Speech::Journal { fields } => journal::append(&mut self.message, fields, &line),
            Speech::Syslog(form) => {
                form.append(&mut self.message, &line);
                if matches!(self.peers.first(), Some(Peer::Udp(_))) {
                    syslog::cut(&mut self.message);
                }
            }
        }
    }

    /// Whether there is a connection; makes one when it is time.
    fn is_up(&mut self, now: Instant) -> bool {
        if let Some(link) = &self.link {
            return !link.is_connecting();
        }
        if self.again.is_some_and(|at| at > now) {
            return false;
        }
        let mut why = io::Error::other("it has no address");
        for _ in 0..self.peers.len() {
            let peer = &self.peers[self.next % self.peers.len()];
            match Link::open(peer) {
                Ok(link) => {
                    self.again = link.is_connecting().then(|| now + CONNECT);
                    let up = !link.is_connecting();
                    self.link = Some(link);
                    return up;
                }
                Err(error) => why = error,
            }
            self.next += 1;
        }
        self.lose(&why, now);
        false
    }

    /// The destination is gone. What was half sent is sent again from its start.
    fn lose(&mut self, error: &io::Error, now: Instant) {
        self.next += usize::from(self.link.take().is_some_and(|link| link.is_connecting()));
        self.done = 0;
        self.again = Some(now + self.pause);
        self.pause = (self.pause * 2).min(PAUSE.1);
        if self.has_waiting() {
            self.gone.get_or_insert_with(|| (now, error.to_string()));
        }
    }

    /// What has to be told in the container's log, once: that lines are dropped and why, and how
    /// many it were.
    pub(super) fn notice(&mut self) -> Option<String> {
        let name = match &self.speech {
            Speech::Journal { .. } => "the journal",
            Speech::Syslog(_) => "the syslog server",
        };
        let ends = self.dropped > 0 && self.gone.is_none() && self.backlog() == 0;
        if ends {
            self.told = false;
            let count = std::mem::take(&mut self.dropped);
            return Some(format!("{count} lines did not reach {name}"));
        }
        if self.dropped > 0 && !self.told {
            self.told = true;
            let why = self.gone.as_ref().map_or("it does not take them", |(_, why)| why);
            return Some(format!("lines for {name} are dropped: {why}"));
        }
        None
    }

    /// Whether lines wait for the destination.
    pub(super) fn has_waiting(&self) -> bool {
        self.backlog() > 0
    }

    /// Gives up what waits, and counts it.
    pub(super) fn give_up(&mut self) {
        let left = memchr::memchr_iter(b'\n', &self.waiting[self.start..]).count();
        self.dropped += left as u64;
        (self.start, self.gone) = (self.waiting.len(), None);
        self.message.clear();
        self.done = 0;
    }
}

/// RFC 5424 table 2: an error, a warning or information.
fn severity(stream: Stream) -> u8 {
    match stream {
        Stream::Stderr => 3,
        Stream::Notice => 4,
        Stream::Stdout | Stream::Hook => 6,
    }
}
