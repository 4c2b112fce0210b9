//! Answers a container's questions for names, on 127.0.0.11 in its own network namespace.
//!
//! Names of the stack are answered from the records that containers have on its networks, and
//! never asked of others; everything else goes to the host's servers, from the host's namespace,
//! or to those of the file, from the container's. Its tables and its share of the processor are
//! bounded, its waits end.
//!
//! Reading order: this file (questions and answers), `stream` (a connection), `upstream` (one
//! question on its way to servers), `servers` (which), `zone` (what is known here), `budget`.

mod budget;
mod servers;
mod stream;
mod upstream;
mod zone;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use berth_network::dns::{self, Answer, SERVER, Transport};
use rustix::rand::{GetRandomFlags, getrandom};

use super::poll::{PollSet, Token};
use crate::bundle::Bundle;
use crate::sabotage::{defence, without};
use budget::Budget;
use servers::Servers;
use stream::Stream;
use upstream::{Outcome, Upstream};
use zone::Names;

/// Questions on their way to servers at a time.
const QUESTIONS: usize = 128;
/// TCP connections of the container at a time.
const STREAMS: usize = 32;
/// Datagrams taken, and connections accepted, in one turn.
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
    netns: Arc<OwnedFd>,
    names: Names,
    servers: Servers,
    questions: BTreeMap<usize, Upstream>,
    streams: BTreeMap<usize, Stream>,
    budget: Budget,
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

impl Resolver {
    /// Listens in `netns`, and leads port 53 there; or listens again on the ports of a resolver
    /// that was lost with its monitor, where port 53 leads already. If a process of the container
    /// came to have one of them meanwhile, it listens on others.
    ///
    /// # Errors
    /// What the host answers.
    pub(super) fn open(
        bundle: &Bundle,
        netns: BorrowedFd<'_>,
        again: Option<(u16, u16)>,
    ) -> io::Result<Resolver> {
        let kept = again.and_then(|ports| listen(netns, ports).ok());
        let is_led = kept.is_some();
        let (udp, tcp) = kept.map_or_else(|| listen(netns, (0, 0)), Ok)?;
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        let resolver = Resolver {
            udp,
            tcp,
            netns: Arc::new(netns.try_clone_to_owned()?),
            names: Names::new(bundle, seed()?),
            servers: Servers::new(&bundle.dns),
            questions: BTreeMap::new(),
            streams: BTreeMap::new(),
            budget: Budget::new(Instant::now()),
            next: STREAM_LISTENER,
        };
        if !is_led {
            let (udp_port, tcp_port) = resolver.ports();
            dns::redirect(netns, udp_port, tcp_port).map_err(io::Error::other)?;
        }
        Ok(resolver)
    }

    /// Follows a changed bundle: other networks, names or servers count from the next question on.
    /// Questions on their way and connections stay.
    pub(super) fn renew(&mut self, bundle: &Bundle) {
        self.names = Names::new(bundle, self.names.seed());
        self.servers = Servers::new(&bundle.dns);
    }

    /// Where it listens: UDP and TCP.
    pub(super) fn ports(&self) -> (u16, u16) {
        let port = |address: io::Result<SocketAddr>| address.map(|a| a.port()).unwrap_or_default();
        (port(self.udp.local_addr()), port(self.tcp.local_addr()))
    }

    /// Adds what to wait for.
    pub(super) fn poll<'a>(&'a self, set: &mut PollSet<'a>) {
        if let Some(again) = self.budget.again() {
            // Enough for now; the kernel keeps some of what comes meanwhile, answers too: a server
            // may be the container's own, and as noisy.
            set.until(Some(again));
            set.until(self.questions.values().map(Upstream::deadline).min());
            return;
        }
        set.read(Token::Resolver(DATAGRAMS), &self.udp);
        set.read(Token::Resolver(STREAM_LISTENER), &self.tcp);
        for (id, stream) in &self.streams {
            stream.poll(Token::Resolver(*id), set);
        }
        for (id, question) in &self.questions {
            question.poll(Token::Resolver(*id), set);
        }
    }

    /// Serves a descriptor that is ready.
    pub(super) fn serve(&mut self, index: usize, now: Instant) {
        let spent = self.budget.begin();
        match index {
            DATAGRAMS => self.take_datagrams(now),
            STREAM_LISTENER => self.take_streams(now),
            id if self.streams.contains_key(&id) => self.serve_stream(id, now),
            id => self.serve_question(id, now),
        }
        self.budget.end(spent, now);
    }

    /// Ends what has waited long enough.
    pub(super) fn tick(&mut self, now: Instant) {
        self.budget.tick(now);
        self.forget_streams(now);
        let late: Vec<usize> = self
            .questions
            .iter()
            .filter(|(_, question)| question.deadline() <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            let Some(question) = self.questions.get_mut(&id) else { continue };
            let outcome = question.tick(now);
            self.settle(id, outcome, now);
        }
    }

    /// Takes what has come by now, then looks once what has changed by now, then answers.
    fn take_datagrams(&mut self, now: Instant) {
        let mut buffer = [0; QUESTION];
        let mut taken = Vec::new();
        for _ in 0..TURN {
            match self.udp.recv_from(&mut buffer) {
                Ok((length, asker)) => taken.push((buffer[..length].to_vec(), asker)),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.names.refresh();
        for (question, asker) in taken {
            self.ask(&question, Asker::Datagram(asker), now);
        }
    }

    /// A new connection may take the place of another.
    fn take_streams(&mut self, now: Instant) {
        for _ in 0..TURN {
            let Ok((socket, _)) = self.tcp.accept() else { return };
            without!("dns.patient_streams", crate::sabotage::naive::await_question(&socket));
            if socket.set_nonblocking(true).is_err() {
                continue;
            }
            self.make_room(now);
            let id = self.number();
            self.streams.insert(id, Stream::new(socket, now));
        }
    }

    /// Ends the connection that has asked nothing for longest, so that nobody keeps others out by doing
    /// nothing. What has come on it by now is answered before: it may be as new as we are late.
    fn make_room(&mut self, now: Instant) {
        // Who has asked since the last look is newer by that, and stays.
        while self.streams.len() >= STREAMS {
            let oldest = self.streams.iter().min_by_key(|(_, stream)| stream.until());
            let Some((id, until)) = oldest.map(|(id, stream)| (*id, stream.until())) else {
                return;
            };
            self.serve_stream(id, now);
            if let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.until() == until)
            {
                stream.end();
                self.forget_streams(now);
            }
        }
    }

    fn serve_stream(&mut self, id: usize, now: Instant) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.serve();
        self.names.refresh();
        while let Some(question) = self.streams.get_mut(&id).and_then(|s| s.question(now)) {
            self.ask(&question, Asker::Stream(id), now);
        }
        self.forget_streams(now);
    }

    /// Streams that are over, with their questions.
    fn forget_streams(&mut self, now: Instant) {
        let before = self.streams.len();
        self.streams.retain(|_, stream| !stream.is_over(now));
        if self.streams.len() < before {
            let streams = &self.streams;
            self.questions.retain(|_, question| match question.asker {
                Asker::Datagram(_) => true,
                Asker::Stream(id) => streams.contains_key(&id),
            });
        }
    }

    fn ask(&mut self, question: &[u8], asker: Asker, now: Instant) {
        without!("dns.bounded_names", crate::sabotage::naive::read_name(question));
        match self.names.answer(question, asker.transport()) {
            Answer::Reply(answer) => self.reply(asker, &answer),
            Answer::Forward => self.forward(question, asker, now),
            // Who sends something else on a connection has no use for it.
            Answer::Drop => self.end(asker),
        }
    }

    fn forward(&mut self, question: &[u8], asker: Asker, now: Instant) {
        let netns = self.servers.are_inside().then(|| self.netns.clone());
        let servers = upstream::Servers { all: self.servers.current(now), netns };
        let full = self.questions.len() >= QUESTIONS;
        let begun = (!full).then(|| Upstream::new(question, asker, servers, now)).flatten();
        match begun {
            Some(question) => {
                let id = self.number();
                self.questions.insert(id, question);
            }
            None => match dns::failure(question) {
                Some(failure) => self.reply(asker, &failure),
                None => self.end(asker),
            },
        }
    }

    fn serve_question(&mut self, id: usize, now: Instant) {
        let Some(question) = self.questions.get_mut(&id) else { return };
        let outcome = question.serve(now);
        self.settle(id, outcome, now);
    }

    fn settle(&mut self, id: usize, outcome: Outcome, now: Instant) {
        let Outcome::Answer { answer, instead } = outcome else { return };
        if let Some(server) = instead {
            self.servers.prefer(server, now);
        }
        let Some(question) = self.questions.remove(&id) else { return };
        match answer {
            Some(answer) => self.reply(question.asker, &answer),
            None => self.end(question.asker),
        }
        if let Asker::Stream(id) = question.asker {
            // There may be room for its next question.
            self.serve_stream(id, now);
        }
    }

    fn reply(&mut self, asker: Asker, answer: &[u8]) {
        match asker {
            Asker::Datagram(asker) => {
                // Who asked asks again when it is lost.
                let _ = self.udp.send_to(answer, asker);
            }
            Asker::Stream(id) => {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.answer(answer);
                }
            }
        }
    }

    /// There is no answer.
    fn end(&mut self, asker: Asker) {
        if let Asker::Stream(id) = asker
            && let Some(stream) = self.streams.get_mut(&id)
        {
            stream.end();
        }
    }

    fn number(&mut self) -> usize {
        self.next += 1;
        self.next
    }
}

/// Sockets on these ports of the resolver's address in `netns`; 0 is any port.
fn listen(netns: BorrowedFd<'_>, ports: (u16, u16)) -> io::Result<(UdpSocket, TcpListener)> {
    let own = defence!("dns.own_address", SERVER, Ipv4Addr::UNSPECIFIED);
    let address = |port| SocketAddrV4::new(own, port);
    let sockets = berth_network::netns::inside(netns, || {
        Ok(UdpSocket::bind(address(ports.0))
            .and_then(|udp| Ok((udp, TcpListener::bind(address(ports.1))?))))
    });
    sockets.map_err(io::Error::other)?
}

/// Where the order of addresses begins: a container may ask only once, and not all are to get the
/// same address then.
fn seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Any address of a server's family.
fn any(server: SocketAddr) -> SocketAddr {
    match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const QUESTION: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\0\0\x01\0\x01";

    fn resolver() -> Resolver {
        let local = (Ipv4Addr::LOCALHOST, 0);
        let bundle = Bundle::default();
        Resolver {
            udp: UdpSocket::bind(local).unwrap(),
            tcp: TcpListener::bind(local).unwrap(),
            netns: Arc::new(std::fs::File::open("/proc/self/ns/net").unwrap().into()),
            names: Names::new(&bundle, 0),
            servers: Servers::new(&bundle.dns),
            questions: BTreeMap::new(),
            streams: BTreeMap::new(),
            budget: Budget::new(Instant::now()),
            next: STREAM_LISTENER,
        }
    }

    /// Who is served now, as nothing else is waited for.
    fn ready(resolver: &Resolver) -> Vec<Token> {
        let mut set = PollSet::default();
        resolver.poll(&mut set);
        set.until(Some(Instant::now()));
        set.wait().unwrap()
    }

    #[test]
    fn a_noisy_server_is_heard_only_within_the_share() {
        let (mut resolver, now) = (resolver(), Instant::now());
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let servers = upstream::Servers { all: vec![server.local_addr().unwrap()], netns: None };
        let asker = Asker::Datagram(server.local_addr().unwrap());
        resolver.questions.insert(7, Upstream::new(QUESTION, asker, servers, now).unwrap());
        let (_, question) = server.recv_from(&mut [0; 512]).unwrap();
        server.send_to(b"noise", question).unwrap();
        assert_eq!(ready(&resolver), [Token::Resolver(7)]);

        resolver.budget.spend(Duration::from_secs(1), now);
        assert_eq!(ready(&resolver), []);
        resolver.tick(now + Duration::from_secs(60));
        assert_eq!(
            (resolver.budget.again(), resolver.questions.len()),
            (None, 0),
            "all has an end"
        );
    }
}
