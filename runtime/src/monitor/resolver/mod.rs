//! Answers a container's questions for names, on 127.0.0.11 in its own network namespace.
//!
//! Names of the stack are answered from the records that running containers have on its networks;
//! everything else goes to the host's servers, from the host's namespace, so a container without
//! a way out resolves like one that has it. Its tables are bounded, its waits end.
//!
//! Reading order: this file (questions and answers), `upstream` (one question on its way to a
//! server), `servers` (which), `zone` (what is known here).

mod servers;
mod upstream;
mod zone;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use berth_network::dns::{self, Answer, SERVER, Transport};
use rustix::event::PollFlags;

use super::poll::{PollSet, Token};
use crate::bundle::Bundle;
use servers::Servers;
use upstream::{Outcome, Upstream};
use zone::Names;

/// Questions on their way to servers at a time.
const QUESTIONS: usize = 128;
/// TCP connections of the container at a time.
const STREAMS: usize = 32;
/// A TCP connection without a question ends after so long.
const IDLE: Duration = Duration::from_secs(10);
/// Datagrams taken in one turn.
const TURN: usize = 64;
/// Bytes of the longest question.
const QUESTION: usize = 4096;
/// Tokens of the two sockets that listen; those of streams and questions come after.
const DATAGRAMS: usize = 0;
const STREAM_LISTENER: usize = 1;

/// The resolver of one container.
pub(super) struct Resolver {
    udp: UdpSocket,
    tcp: TcpListener,
    names: Names,
    servers: Servers,
    questions: BTreeMap<usize, Upstream>,
    streams: BTreeMap<usize, Stream>,
    next: usize,
}

/// Where an answer goes.
#[derive(Debug, Clone, Copy)]
enum Asker {
    Datagram(SocketAddr),
    /// By number of the stream.
    Stream(usize),
}

impl Asker {
    fn transport(self) -> Transport {
        match self {
            Asker::Datagram(_) => Transport::Udp,
            Asker::Stream(_) => Transport::Tcp,
        }
    }
}

/// A TCP connection of the container.
struct Stream {
    socket: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    until: Instant,
    gone: bool,
}

impl Resolver {
    /// Listens in `netns`, and leads port 53 there; or listens again on the ports of a resolver
    /// that was lost with its monitor.
    ///
    /// # Errors
    /// What the host answers.
    pub(super) fn open(
        bundle: &Bundle,
        netns: BorrowedFd<'_>,
        again: Option<(u16, u16)>,
    ) -> io::Result<Resolver> {
        let (udp_port, tcp_port) = again.unwrap_or_default();
        let address = |port| SocketAddrV4::new(SERVER, port);
        let sockets = berth_network::netns::inside(netns, || {
            Ok(UdpSocket::bind(address(udp_port))
                .and_then(|udp| Ok((udp, TcpListener::bind(address(tcp_port))?))))
        });
        let (udp, tcp) = sockets.map_err(io::Error::other)??;
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        let resolver = Resolver {
            udp,
            tcp,
            names: Names::new(bundle),
            servers: Servers::new(&bundle.dns),
            questions: BTreeMap::new(),
            streams: BTreeMap::new(),
            next: STREAM_LISTENER,
        };
        if again.is_none() {
            let (udp_port, tcp_port) = resolver.ports();
            dns::redirect(netns, udp_port, tcp_port).map_err(io::Error::other)?;
        }
        Ok(resolver)
    }

    /// Follows a changed bundle: other networks, names or servers count from the next question on.
    /// Questions on their way and connections stay.
    #[allow(dead_code, reason = "for a change of networks in a running container")]
    pub(super) fn renew(&mut self, bundle: &Bundle) {
        self.names = Names::new(bundle);
        self.servers = Servers::new(&bundle.dns);
    }

    /// Where it listens: UDP and TCP.
    pub(super) fn ports(&self) -> (u16, u16) {
        let port = |address: io::Result<SocketAddr>| address.map(|a| a.port()).unwrap_or_default();
        (port(self.udp.local_addr()), port(self.tcp.local_addr()))
    }

    /// Adds what to wait for.
    pub(super) fn poll<'a>(&'a self, set: &mut PollSet<'a>) {
        set.read(Token::Resolver(DATAGRAMS), &self.udp);
        if self.streams.len() < STREAMS {
            set.read(Token::Resolver(STREAM_LISTENER), &self.tcp);
        }
        for (id, question) in &self.questions {
            question.poll(Token::Resolver(*id), set);
        }
        for (id, stream) in &self.streams {
            let full = if stream.output.is_empty() { PollFlags::IN } else { PollFlags::OUT };
            set.add(Token::Resolver(*id), &stream.socket, full);
            set.until(Some(stream.until));
        }
    }

    /// Serves a descriptor that is ready.
    pub(super) fn serve(&mut self, index: usize, now: Instant) {
        match index {
            DATAGRAMS => self.take_datagrams(now),
            STREAM_LISTENER => self.take_stream(now),
            id if self.streams.contains_key(&id) => self.serve_stream(id, now),
            id => self.serve_question(id, now),
        }
    }

    /// Ends what has waited long enough.
    pub(super) fn tick(&mut self, now: Instant) {
        self.streams.retain(|_, stream| stream.until > now && !stream.gone);
        let late: Vec<usize> = self
            .questions
            .iter()
            .filter(|(_, question)| question.deadline() <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            let Some(question) = self.questions.get_mut(&id) else { continue };
            let outcome = question.try_next(now);
            self.settle(id, outcome);
        }
    }

    fn take_datagrams(&mut self, now: Instant) {
        let mut buffer = [0; QUESTION];
        for _ in 0..TURN {
            match self.udp.recv_from(&mut buffer) {
                Ok((length, asker)) => {
                    self.ask(&buffer[..length], Asker::Datagram(asker), now);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn take_stream(&mut self, now: Instant) {
        let Ok((socket, _)) = self.tcp.accept() else { return };
        if socket.set_nonblocking(true).is_ok() {
            let stream = Stream {
                socket,
                input: Vec::new(),
                output: Vec::new(),
                until: now + IDLE,
                gone: false,
            };
            let id = self.number();
            self.streams.insert(id, stream);
        }
    }

    fn serve_stream(&mut self, id: usize, now: Instant) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.flush();
        stream.read();
        while let Some(question) = self.streams.get_mut(&id).and_then(|s| s.question(now)) {
            self.ask(&question, Asker::Stream(id), now);
        }
        self.streams.retain(|_, stream| !stream.gone);
    }

    fn ask(&mut self, question: &[u8], asker: Asker, now: Instant) {
        match self.names.answer(question, asker.transport()) {
            Answer::Reply(answer) => self.reply(asker, &answer),
            Answer::Drop => {}
            Answer::Forward => self.forward(question, asker, now),
        }
    }

    fn forward(&mut self, question: &[u8], asker: Asker, now: Instant) {
        let servers = self.servers.current();
        let full = self.questions.len() >= QUESTIONS;
        let begun = (!full).then(|| Upstream::new(question, asker, servers, now)).flatten();
        match begun {
            Some(question) => {
                let id = self.number();
                self.questions.insert(id, question);
            }
            None => {
                if let Some(failure) = dns::failure(question) {
                    self.reply(asker, &failure);
                }
            }
        }
    }

    fn serve_question(&mut self, id: usize, now: Instant) {
        let Some(question) = self.questions.get_mut(&id) else { return };
        let outcome = question.serve(now);
        self.settle(id, outcome);
    }

    fn settle(&mut self, id: usize, outcome: Outcome) {
        let Outcome::Answer(answer) = outcome else { return };
        if let Some(question) = self.questions.remove(&id)
            && let Some(answer) = answer
        {
            self.reply(question.asker, &answer);
        }
    }

    fn reply(&mut self, asker: Asker, answer: &[u8]) {
        match asker {
            Asker::Datagram(asker) => {
                // Who asked asks again when it is lost.
                let _ = self.udp.send_to(answer, asker);
            }
            Asker::Stream(id) => {
                let Ok(length) = u16::try_from(answer.len()) else { return };
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.output.extend_from_slice(&length.to_be_bytes());
                    stream.output.extend_from_slice(answer);
                    stream.flush();
                }
            }
        }
    }

    fn number(&mut self) -> usize {
        self.next += 1;
        self.next
    }
}

impl Stream {
    fn read(&mut self) {
        let mut buffer = [0; QUESTION];
        while self.input.len() < 2 * QUESTION {
            match self.socket.read(&mut buffer) {
                Ok(0) => {
                    self.gone = true;
                    return;
                }
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

    /// The next whole question.
    fn question(&mut self, now: Instant) -> Option<Vec<u8>> {
        let length = usize::from(u16::from_be_bytes([*self.input.first()?, *self.input.get(1)?]));
        if length > QUESTION {
            self.gone = true;
            return None;
        }
        let question = self.input.get(2..2 + length)?.to_vec();
        self.input.drain(..2 + length);
        self.until = now + IDLE;
        Some(question)
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

/// Any address of a server's family.
fn any(server: SocketAddr) -> SocketAddr {
    match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}
