//! One question on its way to a server: by datagram, or by stream when the answer is too long.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use berth_network::dns::{self, is_answer_to, is_truncated, outgoing, returning};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use super::{Asker, any};
use crate::monitor::poll::{PollSet, Token};

/// How long one server may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Servers asked, one after another, the first again after the last.
const ATTEMPTS: usize = 3;
/// Bytes of the longest datagram.
const DATAGRAM: usize = 4096;

/// A question that waits for a server.
pub(super) struct Upstream {
    pub(super) asker: Asker,
    question: Vec<u8>,
    servers: Vec<SocketAddr>,
    attempt: usize,
    /// As it is on its way: under a number of its own, a new one for each server.
    sent: Vec<u8>,
    way: Way,
    deadline: Instant,
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It still waits.
    Waiting,
    /// This goes to who asked, if anything does.
    Answer(Option<Vec<u8>>),
}

enum Way {
    Datagram(UdpSocket),
    Stream { socket: TcpStream, output: Vec<u8>, input: Vec<u8> },
}

impl Upstream {
    /// Sends a question. `None` when there is no server to ask, or it is no question.
    pub(super) fn new(
        question: &[u8],
        asker: Asker,
        servers: &[SocketAddr],
        now: Instant,
    ) -> Option<Upstream> {
        for attempt in 0..servers.len().min(ATTEMPTS) {
            let Ok((sent, way)) = send(question, servers[attempt]) else { continue };
            return Some(Upstream {
                asker,
                question: question.to_vec(),
                servers: servers.to_vec(),
                attempt,
                sent,
                way,
                deadline: now + PATIENCE,
            });
        }
        None
    }

    /// Until when this server may answer.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Adds what to wait for.
    pub(super) fn poll<'a>(&'a self, token: Token, set: &mut PollSet<'a>) {
        set.until(Some(self.deadline));
        match &self.way {
            Way::Datagram(socket) => set.read(token, socket),
            Way::Stream { socket, output, .. } if output.is_empty() => set.read(token, socket),
            Way::Stream { socket, .. } => set.add(token, socket, PollFlags::OUT),
        }
    }

    /// The server has sent something.
    pub(super) fn serve(&mut self, now: Instant) -> Outcome {
        let received = match &mut self.way {
            Way::Datagram(socket) => receive_datagram(socket, &self.sent),
            Way::Stream { socket, output, input } => receive_stream(socket, output, input),
        };
        match received {
            Ok(None) => Outcome::Waiting,
            Ok(Some(answer)) if !is_answer_to(&self.sent, &answer) => self.try_next(now),
            Ok(Some(answer)) if self.wants_all(&answer) => self.ask_by_stream(now),
            Ok(Some(answer)) => {
                Outcome::Answer(returning(&self.question, &answer, self.asker.transport()))
            }
            Err(_) => self.try_next(now),
        }
    }

    /// This server does not answer: asks the next, or gives up.
    pub(super) fn try_next(&mut self, now: Instant) -> Outcome {
        while self.attempt + 1 < ATTEMPTS {
            self.attempt += 1;
            if let Ok((sent, way)) = send(&self.question, self.server()) {
                (self.sent, self.way) = (sent, way);
                self.deadline = now + PATIENCE;
                return Outcome::Waiting;
            }
        }
        Outcome::Answer(dns::failure(&self.question))
    }

    fn server(&self) -> SocketAddr {
        self.servers[self.attempt % self.servers.len()]
    }

    /// Who asked by datagram is told that the answer was cut, and asks again by stream.
    fn wants_all(&self, answer: &[u8]) -> bool {
        is_truncated(answer)
            && matches!(self.asker, Asker::Stream(_))
            && matches!(self.way, Way::Datagram(_))
    }

    fn ask_by_stream(&mut self, now: Instant) -> Outcome {
        match stream_to(self.server(), &self.sent) {
            Ok(way) => {
                self.way = way;
                self.deadline = now + PATIENCE;
                Outcome::Waiting
            }
            Err(_) => self.try_next(now),
        }
    }
}

/// Sends a question by datagram under a number that nobody can guess, from a port of the
/// kernel's choice.
fn send(question: &[u8], server: SocketAddr) -> io::Result<(Vec<u8>, Way)> {
    let mut id = [0; 2];
    File::open("/dev/urandom")?.read_exact(&mut id)?;
    let socket = UdpSocket::bind(any(server))?;
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    let sent = outgoing(question, u16::from_ne_bytes(id)).ok_or(ErrorKind::InvalidInput)?;
    socket.send(&sent)?;
    Ok((sent, Way::Datagram(socket)))
}

fn stream_to(server: SocketAddr, message: &[u8]) -> io::Result<Way> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&socket, &server) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(errno) => return Err(errno.into()),
    }
    let output = [&length.to_be_bytes(), message].concat();
    Ok(Way::Stream { socket: socket.into(), output, input: Vec::new() })
}

/// What fits the question; what does not is left out, since anybody may send datagrams.
fn receive_datagram(socket: &UdpSocket, sent: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = [0; DATAGRAM];
    loop {
        match socket.recv(&mut buffer) {
            Ok(length) if is_answer_to(sent, &buffer[..length]) => {
                return Ok(Some(buffer[..length].to_vec()));
            }
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
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
    let mut buffer = [0; DATAGRAM];
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
mod tests {
    use std::net::TcpListener;

    use super::*;

    const QUESTION: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03web\0\0\x01\0\x01";

    fn server() -> (UdpSocket, SocketAddr) {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        (server, address)
    }

    /// The server's answer to the next question: its flags, and all of the question.
    fn respond(server: &UdpSocket, flags: u8) -> Vec<u8> {
        let mut buffer = [0; 512];
        let (length, asker) = server.recv_from(&mut buffer).unwrap();
        buffer[2] |= 0x80 | flags;
        server.send_to(&buffer[..length], asker).unwrap();
        buffer[..length].to_vec()
    }

    fn wait(question: &Upstream) {
        let mut set = PollSet::default();
        question.poll(Token::Resolver(7), &mut set);
        set.wait().unwrap();
    }

    fn ask(servers: &[SocketAddr], asker: Asker, now: Instant) -> Upstream {
        Upstream::new(QUESTION, asker, servers, now).unwrap()
    }

    fn datagram() -> Asker {
        Asker::Datagram("127.0.0.1:9".parse().unwrap())
    }

    #[test]
    fn an_answer_comes_back_under_the_number_it_was_asked_with() {
        let (server, address) = server();
        let now = Instant::now();
        let mut question = ask(&[address], datagram(), now);
        let sent = respond(&server, 0);
        wait(&question);
        let Outcome::Answer(Some(answer)) = question.serve(now) else { panic!("no answer") };
        assert_eq!(answer[..2], QUESTION[..2]);
        assert_eq!(answer[2..], sent[2..]);
    }

    #[test]
    fn the_next_server_is_asked_and_at_last_it_fails() {
        let (silent, first) = server();
        let (other, second) = server();
        let now = Instant::now();
        let mut question = ask(&[first, second], datagram(), now);
        assert_eq!(question.deadline(), now + PATIENCE);
        assert!(matches!(question.try_next(now), Outcome::Waiting));
        respond(&other, 0);
        wait(&question);
        assert!(matches!(question.serve(now), Outcome::Answer(_)));

        assert!(matches!(question.try_next(now), Outcome::Waiting));
        let Outcome::Answer(answer) = question.try_next(now) else { panic!("no answer") };
        assert_eq!(answer, dns::failure(QUESTION));
        drop(silent);
    }

    #[test]
    fn what_does_not_fit_is_passed_over() {
        let (server, address) = server();
        let now = Instant::now();
        let mut question = ask(&[address], datagram(), now);
        let mut buffer = [0; 512];
        let (length, asker) = server.recv_from(&mut buffer).unwrap();
        buffer[2] |= 0x80;
        let mut forged = buffer[..length].to_vec();
        forged[0] ^= 1;
        server.send_to(&forged, asker).unwrap();
        wait(&question);
        assert!(matches!(question.serve(now), Outcome::Waiting));
        server.send_to(&buffer[..length], asker).unwrap();
        wait(&question);
        assert!(matches!(question.serve(now), Outcome::Answer(_)));
    }

    #[test]
    fn a_cut_answer_is_asked_for_again_by_stream_for_who_asked_so() {
        let (server, address) = server();
        let listener = TcpListener::bind(address).unwrap();
        let now = Instant::now();
        let mut question = ask(&[address], Asker::Stream(3), now);
        respond(&server, 0x02);
        wait(&question);
        assert!(matches!(question.serve(now), Outcome::Waiting));

        let (mut stream, _) = listener.accept().unwrap();
        wait(&question);
        assert!(matches!(question.serve(now), Outcome::Waiting));
        let mut asked = vec![0; 2 + QUESTION.len()];
        stream.read_exact(&mut asked).unwrap();
        asked[4] |= 0x80;
        let long = [&asked[2..], &[7; 3000]].concat();
        stream.write_all(&u16::try_from(long.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&long).unwrap();
        let answer = loop {
            wait(&question);
            if let Outcome::Answer(Some(answer)) = question.serve(now) {
                break answer;
            }
        };
        assert_eq!(answer.len(), long.len());
        assert_eq!(answer[..2], QUESTION[..2]);
    }

    #[test]
    fn without_a_server_there_is_no_question() {
        assert!(Upstream::new(QUESTION, datagram(), &[], Instant::now()).is_none());
        let address = "127.0.0.1:53".parse().unwrap();
        assert!(Upstream::new(b"short", datagram(), &[address], Instant::now()).is_none());
    }
}
