//! A connection that is carried on.
//!
//! Nothing of it is kept here: what one side does not take stays in the kernel's buffer of the
//! other, which so comes to wait as if there was nobody between them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, connect, recv, send,
    shutdown, socket_with, sockopt,
};

use super::serve::{Token, watch};

/// How long a side has to take or end what the other, which is gone, has left.
const LINGER: Duration = Duration::from_secs(30);
/// A side that says nothing for so long is asked whether it is there, so often, so many times.
const ALIVE: (Duration, Duration, u32) = (Duration::from_secs(300), Duration::from_secs(30), 5);

/// A client and the container.
pub(super) struct Connection {
    /// The door it came through.
    pub(super) door: u32,
    client: Side,
    server: Side,
    connected: bool,
    /// From the client to the container.
    there: Half,
    /// And back.
    back: Half,
    /// One side is gone; what is left of it ends then.
    until: Option<Instant>,
}

struct Side {
    socket: OwnedFd,
    /// It has ended without a farewell.
    gone: bool,
    /// What is waited for.
    watched: EventFlags,
}

/// One direction.
#[derive(Default)]
struct Half {
    /// The other side takes nothing just now.
    blocked: bool,
    /// The other side takes nothing any more: what comes is thrown away, so that its sender comes
    /// to read what was answered.
    deaf: bool,
    /// Something has come.
    carried: bool,
    /// There will be no more.
    ended: bool,
    /// The other side was told so.
    told: bool,
}

/// Who is gone without a farewell.
enum Gone {
    Sender,
    Receiver,
}

impl Connection {
    /// Begins one to the container for a client that was let in.
    pub(super) fn begin(door: u32, client: OwnedFd, target: SocketAddr) -> io::Result<Connection> {
        let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let server = socket_with(family, SocketType::STREAM, flags, None)?;
        for side in [&client, &server] {
            sockopt::set_tcp_nodelay(side, true)?;
            // A side that is gone without a word is found out in the end.
            let (silence, pause, times) = ALIVE;
            sockopt::set_tcp_keepidle(side, silence)?;
            sockopt::set_tcp_keepintvl(side, pause)?;
            sockopt::set_tcp_keepcnt(side, times)?;
            sockopt::set_socket_keepalive(side, true)?;
        }
        let connected = match connect(&server, &target) {
            Ok(()) => true,
            Err(Errno::INPROGRESS) => false,
            Err(error) => {
                abort(&client);
                return Err(error.into());
            }
        };
        let [client, server] = [client, server].map(|socket| Side {
            socket,
            gone: false,
            watched: EventFlags::empty(),
        });
        let (there, back) = (Half::default(), Half::default());
        Ok(Connection { door, client, server, connected, there, back, until: None })
    }

    /// Waits for what it needs next.
    pub(super) fn watch(&mut self, poll: impl AsFd, number: u32) -> io::Result<()> {
        let wants = |reads: &Half, writes: &Half| {
            let mut flags = EventFlags::empty();
            flags.set(EventFlags::IN, self.connected && !reads.ended && !reads.blocked);
            flags.set(EventFlags::OUT, writes.blocked);
            flags
        };
        let client = wants(&self.there, &self.back);
        let mut server = wants(&self.back, &self.there);
        server.set(EventFlags::OUT, server.contains(EventFlags::OUT) || !self.connected);
        self.client.watch(poll.as_fd(), Token::Client(number), client)?;
        self.server.watch(poll.as_fd(), Token::Server(number), server)
    }

    /// Carries what can be carried now. `false` when it is over.
    pub(super) fn carry(&mut self, buffer: &mut [u8], now: Instant) -> bool {
        if !self.connected {
            match sockopt::socket_error(&self.server.socket) {
                Ok(Ok(())) if sockopt_connected(&self.server.socket) => self.connected = true,
                Ok(Ok(())) => return true,
                Ok(Err(_)) | Err(_) => {
                    abort(&self.client.socket);
                    return false;
                }
            }
        }
        // Each for itself: who takes nothing any more may have answered before.
        match self.there.carry(&self.client, &self.server, buffer) {
            Ok(()) => {}
            Err(Gone::Sender) => self.client.gone = true,
            Err(Gone::Receiver) => self.server.gone = true,
        }
        match self.back.carry(&self.server, &self.client, buffer) {
            Ok(()) => {}
            Err(Gone::Sender) => self.server.gone = true,
            Err(Gone::Receiver) => self.client.gone = true,
        }
        self.goes_on(now)
    }

    /// Passes on what has ended. What one side does to the other, it is told as it was done, but
    /// for what would make it lose an answer: that comes to an ordinary end.
    fn goes_on(&mut self, now: Instant) -> bool {
        let (there, back) = (&mut self.there, &mut self.back);
        match (self.client.gone, self.server.gone) {
            (true, true) => false,
            (true, false) if there.ended => {
                abort(&self.server.socket);
                false
            }
            (true, false) => {
                self.until.get_or_insert(now + LINGER);
                true
            }
            (false, true) if back.ended && !back.carried => {
                abort(&self.client.socket);
                false
            }
            (false, true) => {
                back.tell(&self.client);
                if back.ended {
                    self.until.get_or_insert(now + LINGER);
                }
                !(back.ended && there.ended)
            }
            (false, false) => {
                there.tell(&self.server);
                back.tell(&self.client);
                !(there.ended && back.ended)
            }
        }
    }

    /// Whether nobody waits any more for what is left of it.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Ends it with what could not be carried: a server that has not had all its client sent is
    /// not told that this was all.
    pub(super) fn give_up(&self) {
        if self.client.gone && !self.there.ended {
            abort(&self.server.socket);
        }
    }

    /// Makes its end a reset on both sides.
    pub(super) fn abort(&self) {
        abort(&self.client.socket);
        abort(&self.server.socket);
    }
}

/// Whether the other side has answered.
fn sockopt_connected(socket: &OwnedFd) -> bool {
    matches!(rustix::net::getpeername(socket), Ok(Some(_)))
}

/// Makes the end of a connection a reset.
fn abort(socket: &OwnedFd) {
    // Then it is an ordinary end.
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

impl Side {
    fn watch(&mut self, poll: BorrowedFd<'_>, token: Token, flags: EventFlags) -> io::Result<()> {
        watch(poll, self.socket.as_fd(), token, (self.watched, flags))?;
        self.watched = flags;
        Ok(())
    }
}

impl Half {
    /// Carries a piece. It is looked at, and then taken as far as the other side has taken it.
    fn carry(&mut self, from: &Side, to: &Side, buffer: &mut [u8]) -> Result<(), Gone> {
        if self.ended {
            return Ok(());
        }
        let (bytes, here) =
            match recv(&from.socket, &mut *buffer, RecvFlags::DONTWAIT | RecvFlags::PEEK) {
                Ok((_, 0)) => {
                    self.ended = true;
                    return Ok(());
                }
                Ok((_, here)) => (buffer.get(..here).unwrap_or_default(), here),
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(_) => {
                    self.ended = true;
                    return Err(Gone::Sender);
                }
            };
        let sent = if self.deaf { Ok(here) } else { push(to, bytes) };
        self.deaf |= sent.is_err();
        let taken = sent.unwrap_or(here);
        self.carried |= taken > 0;
        self.blocked = taken < here;
        // With this flag nothing is copied (tcp(7)).
        let taken = buffer.get_mut(..taken).unwrap_or_default();
        if !taken.is_empty() {
            let _ = recv(&from.socket, taken, RecvFlags::DONTWAIT | RecvFlags::TRUNC);
        }
        sent.map(drop).map_err(|_| Gone::Receiver)
    }

    /// Tells the other side when there will be no more.
    fn tell(&mut self, to: &Side) {
        if self.ended && !self.told {
            // One that has ended altogether says so at the next read.
            let _ = shutdown(&to.socket, Shutdown::Write);
            self.told = true;
        }
    }
}

/// Sends as much as the other side takes now.
fn push(to: &Side, bytes: &[u8]) -> Result<usize, Errno> {
    match send(&to.socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        sent => sent,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};

    use super::*;

    /// A client, its connection, and the server behind.
    fn carried() -> (TcpStream, Connection, TcpStream) {
        let [front, behind] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let client = TcpStream::connect(front.local_addr().unwrap()).unwrap();
        let entered = front.accept().unwrap().0;
        entered.set_nonblocking(true).unwrap();
        let target = behind.local_addr().unwrap();
        let connection = Connection::begin(0, entered.into(), target).unwrap();
        (client, connection, behind.accept().unwrap().0)
    }

    /// Carries until nothing can be carried; whether it goes on then.
    fn settle(connection: &mut Connection, now: Instant) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        for _ in 0..10_000 {
            if !connection.carry(&mut buffer, now) {
                return false;
            }
            let all = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
            for side in [&mut connection.client, &mut connection.server] {
                side.watched = EventFlags::empty();
            }
            connection.watch(&all, 0).unwrap();
            let mut ready = [PollFd::new(&all, PollFlags::IN)];
            let pause = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
            if poll(&mut ready, Some(&pause)).unwrap() == 0 {
                return true;
            }
        }
        panic!("it never rests");
    }

    fn hear(from: &mut TcpStream) -> (Vec<u8>, bool) {
        let mut heard = Vec::new();
        let whole = from.read_to_end(&mut heard).is_ok();
        (heard, whole)
    }

    #[test]
    fn an_answer_to_what_was_not_taken_arrives_and_ends_well() {
        let (mut client, mut connection, mut server) = carried();
        let now = Instant::now();
        client.set_nonblocking(true).unwrap();
        let piece = vec![7; 1 << 20];
        // As much as there is room for on the way: nobody reads.
        while client.write(&piece).is_ok() {
            assert!(settle(&mut connection, now));
        }
        server.write_all(b"too large").unwrap();
        drop(server);
        assert!(settle(&mut connection, now), "the client has not ended");
        for _ in 0..10 {
            // What it goes on sending is taken from it.
            assert!(client.write(&piece).is_ok());
            assert!(settle(&mut connection, now));
        }
        client.set_nonblocking(false).unwrap();
        assert_eq!(hear(&mut client), (b"too large".to_vec(), true));
        assert!(!connection.is_over(now) && connection.is_over(now + LINGER));
        drop(client);
        assert!(!settle(&mut connection, now));
    }

    #[test]
    fn what_a_client_sent_before_it_broke_off_arrives() {
        let (mut client, mut connection, mut server) = carried();
        let now = Instant::now();
        server.write_all(b"hello").unwrap();
        assert!(settle(&mut connection, now));
        client.write_all(b"the last words").unwrap();
        // It has not read everything, so this is a reset.
        drop(client);
        assert!(!settle(&mut connection, now));
        let mut heard = [0; 14];
        server.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"the last words");
        drop(connection);
        assert!(server.read(&mut [0]).is_err(), "and then the reset");
    }

    #[test]
    fn a_server_that_breaks_off_without_a_word_is_seen_to() {
        let (mut client, mut connection, server) = carried();
        let now = Instant::now();
        client.write_all(b"hello").unwrap();
        assert!(settle(&mut connection, now));
        drop(server);
        assert!(!settle(&mut connection, now));
        drop(connection);
        assert_eq!(hear(&mut client), (Vec::new(), false));
    }
}
