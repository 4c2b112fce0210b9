//! One question on its way to servers: by datagram, or by stream when the answer is too long.
//!
//! Who does not answer is not forgotten when the next one is asked: the first good answer counts,
//! whoever gives it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use berth_network::dns::{
    self, Fit, Secret, UDP_MAX, fit, is_refusal, is_truncated, outgoing, returning,
};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use rustix::rand::{GetRandomFlags, getrandom};

use super::{Asker, any};
use crate::monitor::poll::{PollSet, Token};
use crate::sabotage::defence;

/// After how long without an answer the next server is asked, the first again after the last.
const PATIENCE: [Duration; 2] = [Duration::from_millis(1000), Duration::from_millis(1500)];
/// Servers asked.
const ATTEMPTS: usize = PATIENCE.len() + 1;
/// After how long nobody is waited for any more: before the C library gives up, which is after 5 s.
const END: Duration = Duration::from_millis(4500);
/// Datagrams that do not fit and are passed over in one turn.
const FOREIGN: usize = 16;

/// Who is asked, and from where.
#[derive(Clone)]
pub(super) struct Servers {
    /// In the order in which they are asked.
    pub(super) all: Vec<SocketAddr>,
    /// The network they are asked from; `None` is the host's.
    pub(super) netns: Option<Arc<OwnedFd>>,
}

/// A question that waits for servers.
pub(super) struct Upstream {
    pub(super) asker: Asker,
    question: Vec<u8>,
    servers: Servers,
    /// Servers asked so far.
    attempts: usize,
    waiting: Vec<Asked>,
    /// What a server said that would not, when no other does.
    refusal: Option<Vec<u8>>,
    next: Instant,
    end: Instant,
    /// Somebody did not answer in time.
    silent: bool,
}

/// A server that was asked.
struct Asked {
    server: SocketAddr,
    /// The question under a number of its own.
    sent: Vec<u8>,
    /// It has capitals of our choice. Without, the answer may have any.
    capitals: bool,
    way: Way,
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It still waits.
    Waiting,
    /// This goes to who asked, if anything does.
    Answer {
        /// The answer.
        answer: Option<Vec<u8>>,
        /// Who gave it, when the one asked first did not in time.
        instead: Option<SocketAddr>,
    },
}

enum Way {
    Datagram(UdpSocket),
    Stream { socket: TcpStream, output: Vec<u8>, input: Vec<u8> },
}

impl Upstream {
    /// Sends a question. `None` when no server can be asked, or it is no question.
    pub(super) fn new(
        question: &[u8],
        asker: Asker,
        servers: Servers,
        now: Instant,
    ) -> Option<Upstream> {
        let mut upstream = Upstream {
            asker,
            question: question.to_vec(),
            servers,
            attempts: 0,
            waiting: Vec::new(),
            refusal: None,
            next: now,
            silent: false,
            end: defence!("dns.end", now + END, now + 100 * END),
        };
        upstream.ask_another(now);
        (!upstream.waiting.is_empty()).then_some(upstream)
    }

    /// When something has to be done though nobody answers.
    pub(super) fn deadline(&self) -> Instant {
        self.next.min(self.end)
    }

    /// Adds what to wait for.
    pub(super) fn poll<'a>(&'a self, token: Token, set: &mut PollSet<'a>) {
        set.until(Some(self.deadline()));
        for asked in &self.waiting {
            match &asked.way {
                Way::Datagram(socket) => set.read(token, socket),
                Way::Stream { socket, output, .. } if output.is_empty() => set.read(token, socket),
                Way::Stream { socket, .. } => set.add(token, socket, PollFlags::OUT),
            }
        }
    }

    /// A server has sent something.
    pub(super) fn serve(&mut self, now: Instant) -> Outcome {
        for mut asked in std::mem::take(&mut self.waiting) {
            match asked.receive() {
                Ok(None) => self.waiting.push(asked),
                Ok(Some(reply)) => {
                    if let Some(answer) = self.take(asked, reply) {
                        return answer;
                    }
                }
                Err(_) => {}
            }
        }
        match self.waiting.is_empty() {
            true => self.after_refusals(now),
            false => Outcome::Waiting,
        }
    }

    /// Its deadline has come.
    pub(super) fn tick(&mut self, now: Instant) -> Outcome {
        if self.end <= now {
            return self.give_up();
        }
        if self.next <= now {
            self.silent = true;
            self.ask_another(now);
        }
        match self.waiting.is_empty() {
            true => self.give_up(),
            false => Outcome::Waiting,
        }
    }

    /// A reply that fits, perhaps but for its capitals.
    fn take(&mut self, asked: Asked, reply: Vec<u8>) -> Option<Outcome> {
        let is_datagram = matches!(asked.way, Way::Datagram(_));
        let fit = match fitting(&asked.sent, &reply) {
            Fit::OtherCase if !asked.capitals => Fit::Answer,
            fit => fit,
        };
        match fit {
            Fit::Foreign => None,
            // It is asked again as others ask it; so much has to be right for that.
            Fit::OtherCase if is_datagram => {
                self.waiting.extend(self.send(asked.server, false).ok());
                None
            }
            Fit::Answer | Fit::OtherCase if is_refusal(&reply) => {
                self.refusal.get_or_insert(reply);
                None
            }
            // Who asked by datagram is told that the answer was cut, and asks again by stream.
            Fit::Answer
                if is_datagram
                    && (is_truncated(&reply) || reply.len() > UDP_MAX)
                    && matches!(self.asker, Asker::Stream(_)) =>
            {
                let again = stream_to(&self.servers, asked.server, &asked.sent);
                self.waiting.extend(again.map(|way| Asked { way, ..asked }).ok());
                None
            }
            Fit::Answer | Fit::OtherCase => {
                let another = self.silent && self.servers.all.first() != Some(&asked.server);
                Some(Outcome::Answer {
                    answer: returning(&self.question, &reply, self.asker.transport()),
                    instead: another.then_some(asked.server),
                })
            }
        }
    }

    /// Nobody is waited for: asks who was not asked yet.
    fn after_refusals(&mut self, now: Instant) -> Outcome {
        if self.attempts < self.servers.all.len() {
            self.ask_another(now);
        }
        match self.waiting.is_empty() {
            true => self.give_up(),
            false => Outcome::Waiting,
        }
    }

    /// Asks the next server that can be asked.
    fn ask_another(&mut self, now: Instant) {
        while self.attempts < ATTEMPTS && !self.servers.all.is_empty() {
            let server = self.servers.all[self.attempts % self.servers.all.len()];
            self.attempts += 1;
            if let Ok(asked) = self.send(server, true) {
                self.waiting.push(asked);
                break;
            }
        }
        let patience = self.attempts.checked_sub(1).and_then(|index| PATIENCE.get(index));
        self.next = patience.map_or(self.end, |patience| now + *patience);
    }

    fn give_up(&mut self) -> Outcome {
        let refusal = self.refusal.take();
        let told = refusal.and_then(|it| returning(&self.question, &it, self.asker.transport()));
        Outcome::Answer { answer: told.or_else(|| dns::failure(&self.question)), instead: None }
    }

    /// Sends the question by datagram under a number that nobody can guess, from a port of the
    /// kernel's choice.
    fn send(&self, server: SocketAddr, capitals: bool) -> io::Result<Asked> {
        let secret = secret(capitals)?;
        let sent = outgoing(&self.question, secret).ok_or(ErrorKind::InvalidInput)?;
        let socket = self.servers.within(|| {
            let socket = UdpSocket::bind(any(server))?;
            socket.connect(server)?;
            Ok(socket)
        })?;
        socket.set_nonblocking(true)?;
        socket.send(&sent)?;
        Ok(Asked { server, sent, capitals, way: Way::Datagram(socket) })
    }
}

impl Servers {
    /// Does it in the network that they are asked from.
    fn within<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match &self.netns {
            Some(netns) => berth_network::netns::inside(netns.as_fd(), || Ok(work()))
                .map_err(io::Error::other)?,
            None => work(),
        }
    }
}

impl Asked {
    fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        match &mut self.way {
            Way::Datagram(socket) => receive_datagram(socket, &self.sent),
            Way::Stream { socket, output, input } => receive_stream(socket, output, input),
        }
    }
}

fn secret(capitals: bool) -> io::Result<Secret> {
    let mut bytes = [0; 10];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    let [a, b, bits @ ..] = bytes;
    let capitals = capitals.then(|| u64::from_ne_bytes(bits));
    Ok(Secret { id: u16::from_ne_bytes([a, b]), capitals })
}

fn stream_to(servers: &Servers, server: SocketAddr, message: &[u8]) -> io::Result<Way> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = servers.within(|| Ok(socket_with(family, SocketType::STREAM, flags, None)?))?;
    match connect(&socket, &server) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(errno) => return Err(errno.into()),
    }
    let output = [&length.to_be_bytes(), message].concat();
    Ok(Way::Stream { socket: socket.into(), output, input: Vec::new() })
}

fn fitting(sent: &[u8], reply: &[u8]) -> Fit {
    defence!("dns.fit", fit(sent, reply), Fit::Answer)
}

/// What fits the question; what does not is left out, since anybody may send datagrams. One that is
/// longer than was asked for is cut, and still longer than it may be.
fn receive_datagram(socket: &UdpSocket, sent: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = [0; UDP_MAX + 1];
    for _ in 0..FOREIGN {
        match socket.recv(&mut buffer) {
            Ok(length) if fitting(sent, &buffer[..length]) != Fit::Foreign => {
                return Ok(Some(buffer[..length].to_vec()));
            }
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(None)
}

fn receive_stream(
    socket: &mut TcpStream,
    output: &mut Vec<u8>,
    input: &mut Vec<u8>,
) -> io::Result<Option<Vec<u8>>> {
    while !output.is_empty() {
        match socket.write(output) {
            Ok(n) => drop(output.drain(..n)),
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let mut buffer = [0; UDP_MAX];
    loop {
        if let Some((head, rest)) = input.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*head));
            if let Some(answer) = rest.get(..length) {
                return Ok(Some(answer.to_vec()));
            }
        }
        match socket.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => input.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
#[path = "upstream_tests.rs"]
mod tests;
