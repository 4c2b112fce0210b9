//! The loop of a relay: one wait, and who has something.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use berth_schema::stack::Protocol;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};

use super::Way;
use super::guests::Guests;
use super::tcp::Connection;
use super::udp::{Door, Flows};
use crate::container::{Channel, Packet};

/// Connections at once, and flows. What they cost is the kernel's memory.
const MOST: (usize, usize) = (16_384, 1024);
/// Descriptors that are for neither.
const OTHERS: usize = 64;
/// The longest list of ways.
const LIST: u64 = 16 << 20;
/// Without a client it ends after so long.
const IDLE: Duration = Duration::from_secs(30);
/// Between two looks at what has been silent for too long.
const SWEEP: Duration = Duration::from_secs(5);
/// Nobody is let in for so long, when the kernel has no room.
const PAUSE: Duration = Duration::from_millis(100);
/// Clients that are let in at one door before others have their turn.
const TURN: usize = 64;
/// Events of one wait.
const EVENTS: usize = 256;

/// Who has something, as a number in an event: a kind and which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// The monitor.
    Channel,
    /// A socket that clients come to.
    Door(u32),
    /// The client's side of a connection.
    Client(u32),
    /// The container's.
    Server(u32),
    /// What a flow of UDP gets back.
    Flow(u32),
}

impl Token {
    pub(super) fn data(self) -> epoll::EventData {
        let (kind, which) = match self {
            Token::Channel => (0, 0),
            Token::Door(which) => (1, which),
            Token::Client(which) => (2, which),
            Token::Server(which) => (3, which),
            Token::Flow(which) => (4, which),
        };
        epoll::EventData::new_u64(kind << 32 | u64::from(which))
    }

    fn of(data: epoll::EventData) -> Token {
        let which = u32::try_from(data.u64() & u64::from(u32::MAX)).unwrap_or_default();
        match data.u64() >> 32 {
            1 => Token::Door(which),
            2 => Token::Client(which),
            3 => Token::Server(which),
            4 => Token::Flow(which),
            _ => Token::Channel,
        }
    }
}

/// Serves until the monitor is gone, or nobody has come for a while.
pub(super) fn serve(channel: &Channel, room: usize) -> io::Result<()> {
    let mut relay = Relay::new(room)?;
    epoll::add(&relay.poll, channel.as_fd(), Token::Channel.data(), epoll::EventFlags::IN)?;
    if !relay.follow(channel, Instant::now() + IDLE)? {
        return Ok(());
    }
    loop {
        let now = Instant::now();
        relay.sweep(now);
        let Some(until) = relay.until(now) else { return Ok(()) };
        for token in relay.wait(until.saturating_duration_since(now))? {
            let now = Instant::now();
            match token {
                Token::Channel if !relay.follow(channel, now + IDLE)? => return Ok(()),
                Token::Channel => {}
                Token::Door(which) => relay.enter(which, now),
                Token::Client(which) | Token::Server(which) => relay.carry(which, now),
                Token::Flow(which) => relay.answer(which, now),
            }
        }
    }
}

struct Relay {
    poll: OwnedFd,
    doors: BTreeMap<u32, Door>,
    connections: BTreeMap<u32, Connection>,
    guests: Guests,
    flows: Flows,
    /// The next door's number.
    next_door: u32,
    next: u32,
    /// Descriptors there may be.
    room: usize,
    /// Connections at once.
    most: usize,
    /// Nobody is let in until then.
    closed: Option<Instant>,
    /// The last one has gone then.
    idle: Instant,
    swept: Instant,
    buffer: Vec<u8>,
}

impl Relay {
    fn new(room: usize) -> io::Result<Relay> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let now = Instant::now();
        Ok(Relay {
            flows: Flows::default(),
            poll,
            doors: BTreeMap::new(),
            connections: BTreeMap::new(),
            guests: Guests::new(now),
            next_door: 0,
            next: 0,
            room,
            most: 0,
            closed: None,
            idle: now,
            swept: now,
            buffer: vec![0; 64 * 1024],
        })
    }

    /// Takes the sockets over that the monitor hands out, in place of those before. Connections of
    /// a way that goes end. `false` when the monitor is gone.
    ///
    /// # Errors
    /// The kernel refuses one, or the monitor has not told all of it until then.
    fn follow(&mut self, channel: &Channel, until: Instant) -> io::Result<bool> {
        let mut fds = Vec::new();
        loop {
            match channel.receive_until(until)? {
                Packet::Fds(some, more) => {
                    fds.extend(some);
                    if !more {
                        break;
                    }
                }
                _ => return Ok(false),
            }
        }
        let mut fds = fds.into_iter();
        let list = fds.next().ok_or(io::ErrorKind::InvalidData)?;
        let list = io::read_to_string(std::fs::File::from(list).take(LIST))?;
        let ways: Vec<Way> = serde_json::from_str(&list)?;
        let room = self.room.saturating_sub(OTHERS).saturating_sub(2 * ways.len());
        let mut doors = BTreeMap::new();
        for (way, socket) in ways.into_iter().zip(fds) {
            let same =
                self.doors.iter().find(|(_, door)| door.way == way).map(|(number, _)| *number);
            // One that stays keeps its number, and with it who came through it.
            let number = match same.and_then(|number| Some((number, self.doors.remove(&number)?))) {
                Some((number, door)) => {
                    doors.insert(number, door);
                    continue;
                }
                None => self.next_door,
            };
            self.next_door = self.next_door.wrapping_add(1);
            let door = Door::open(way, socket)?;
            epoll::add(
                &self.poll,
                &door.socket,
                Token::Door(number).data(),
                epoll::EventFlags::IN,
            )?;
            doors.insert(number, door);
        }
        for (_, door) in std::mem::replace(&mut self.doors, doors) {
            // The monitor may have the same socket open: it must be taken out by name.
            let _ = epoll::delete(&self.poll, &door.socket);
        }
        let homeless = self.connections.iter().filter(|(_, c)| !self.doors.contains_key(&c.door));
        for number in homeless.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.part(number);
        }
        self.flows.keep(&self.doors);
        self.flows.most = (room / 3).min(MOST.1);
        self.most = ((room - self.flows.most) / 2).clamp(1, MOST.0);
        Ok(true)
    }

    /// When there is something to be done at the latest; `None` when it is over.
    fn until(&mut self, now: Instant) -> Option<Instant> {
        if !self.connections.is_empty() || !self.flows.is_empty() {
            self.idle = now;
        }
        let end = self.idle + IDLE;
        (now < end)
            .then(|| [Some(end), Some(now + SWEEP), self.closed].into_iter().flatten().min())?
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<Vec<Token>> {
        let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        match epoll::wait(&self.poll, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(events.iter().map(|event| Token::of(event.data)).collect())
    }

    /// Opens the doors again, and forgets who has been silent for too long.
    fn sweep(&mut self, now: Instant) {
        if self.closed.is_some_and(|until| until <= now) {
            self.closed = None;
            self.doors_open(epoll::EventFlags::IN);
        }
        if now.saturating_duration_since(self.swept) >= SWEEP {
            self.swept = now;
            self.flows.forget_silent(now);
            let over = self.connections.iter().filter(|(_, connection)| connection.is_over(now));
            for number in over.map(|(number, _)| *number).collect::<Vec<_>>() {
                self.part(number).iter().for_each(Connection::give_up);
            }
        }
    }

    /// Lets clients of TCP in, or leaves them to wait in the kernel's queue.
    fn doors_open(&self, flags: epoll::EventFlags) {
        for (number, door) in self.doors.iter().filter(|(_, d)| d.way.protocol == Protocol::Tcp) {
            // It is in the set.
            let _ = epoll::modify(&self.poll, &door.socket, Token::Door(*number).data(), flags);
        }
    }

    fn close_doors(&mut self, now: Instant) {
        self.closed = Some(now + PAUSE);
        self.doors_open(epoll::EventFlags::empty());
    }

    /// Somebody is at a door.
    fn enter(&mut self, which: u32, now: Instant) {
        let Some(door) = self.doors.get(&which) else { return };
        if door.way.protocol == Protocol::Udp {
            self.flows.carry(&self.poll, which, door, &mut self.buffer, now);
            return;
        }
        let target = door.way.target;
        for _ in 0..TURN {
            let Some(door) = self.doors.get(&which) else { return };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match acceptfrom_with(&door.socket, flags) {
                Ok((client, from)) => {
                    let from = from.and_then(|from| SocketAddr::try_from(from).ok());
                    self.begin(which, client, (from, target), now);
                }
                Err(Errno::AGAIN) => return,
                // Gone before it was let in.
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(_) => return self.close_doors(now),
            }
        }
    }

    /// Lets one in. When there are too many then, another one goes.
    fn begin(
        &mut self,
        door: u32,
        client: OwnedFd,
        (from, target): (Option<SocketAddr>, SocketAddr),
        now: Instant,
    ) {
        // Gone before it was let in.
        let Some(from) = from else { return };
        let number = self.number();
        // A container that cannot be reached is told to the client by the end of its connection.
        if let Ok(mut connection) = Connection::begin(door, client, target)
            && connection.watch(&self.poll, number).is_ok()
        {
            self.connections.insert(number, connection);
            self.guests.enter(number, from.ip(), now);
        }
        if self.connections.len() > self.most
            && let Some(first) = self.guests.first()
            && let Some(connection) = self.part(first)
        {
            connection.abort();
        }
    }

    /// One that no connection has.
    fn number(&mut self) -> u32 {
        loop {
            self.next = self.next.wrapping_add(1);
            if !self.connections.contains_key(&self.next) {
                return self.next;
            }
        }
    }

    fn part(&mut self, number: u32) -> Option<Connection> {
        self.guests.leave(number);
        self.connections.remove(&number)
    }

    fn carry(&mut self, which: u32, now: Instant) {
        let Some(connection) = self.connections.get_mut(&which) else { return };
        self.guests.heard(which, now);
        let goes_on = connection.carry(&mut self.buffer, now)
            && connection.watch(self.poll.as_fd(), which).is_ok();
        if !goes_on {
            self.part(which);
        }
    }

    fn answer(&mut self, which: u32, now: Instant) {
        self.flows.answer(which, &self.doors, &mut self.buffer, now);
    }
}

/// Changes what is waited for at a descriptor. One for which nothing is waited is not in the set:
/// the kernel tells its end also unasked, again and again.
pub(super) fn watch(
    poll: BorrowedFd<'_>,
    fd: BorrowedFd<'_>,
    token: Token,
    (before, now): (epoll::EventFlags, epoll::EventFlags),
) -> io::Result<()> {
    let done = match (before.is_empty(), now.is_empty()) {
        _ if before == now => Ok(()),
        (true, _) => epoll::add(poll, fd, token.data(), now),
        (false, true) => epoll::delete(poll, fd),
        (false, false) => epoll::modify(poll, fd, token.data(), now),
    };
    Ok(done?)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_monitor_that_does_not_tell_all_is_not_waited_for() {
        let (monitor, channel) = Channel::pair().unwrap();
        let mut relay = Relay::new(1024).unwrap();
        let refused = relay.follow(&channel, Instant::now());
        assert!(refused.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut));
        drop(monitor);
        assert!(!relay.follow(&channel, Instant::now()).unwrap());
    }

    #[test]
    fn when_all_is_full_who_comes_is_let_in_and_who_was_silent_longest_goes() {
        let [front, behind] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        front.set_nonblocking(true).unwrap();
        let (host, target) = (front.local_addr().unwrap(), behind.local_addr().unwrap());
        let mut relay = Relay::new(1024).unwrap();
        let door = Way { protocol: Protocol::Tcp, host, target };
        relay.doors.insert(0, Door::open(door, front.into()).unwrap());
        relay.most = 2;
        let now = Instant::now();
        let mut clients = Vec::new();
        for second in 0..3 {
            clients.push(TcpStream::connect(host).unwrap());
            relay.enter(0, now + Duration::from_secs(second));
        }
        assert_eq!(relay.connections.keys().copied().collect::<Vec<_>>(), [2, 3]);
        assert!(clients[0].read(&mut [0]).is_err(), "it is told");
    }
    #[test]
    fn it_is_over_when_the_last_client_has_been_gone_for_a_while() {
        let [front, behind] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        front.set_nonblocking(true).unwrap();
        let (host, target) = (front.local_addr().unwrap(), behind.local_addr().unwrap());
        let mut relay = Relay::new(1024).unwrap();
        let door = Way { protocol: Protocol::Tcp, host, target };
        relay.doors.insert(0, Door::open(door, front.into()).unwrap());
        relay.most = 2;
        let _client = TcpStream::connect(host).unwrap();
        let now = Instant::now();
        relay.enter(0, now);
        assert_eq!(relay.connections.len(), 1);
        let late = now + 10 * IDLE;
        assert!(relay.until(late).is_some(), "somebody is there, however silent");
        relay.connections.clear();
        assert!(relay.until(late + IDLE / 2).is_some());
        assert_eq!(relay.until(late + IDLE), None);
    }
}
