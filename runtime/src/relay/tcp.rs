//! A connection that is carried on.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, connect, recv, send,
    shutdown, socket_with, sockopt,
};

use super::serve::{Token, watch};

/// A client and the container, with what is on its way between them.
pub(super) struct Connection {
    /// The door it came through.
    pub(super) door: u32,
    client: OwnedFd,
    server: OwnedFd,
    connected: bool,
    /// From the client to the container.
    there: Half,
    /// And back.
    back: Half,
    /// What is waited for at each side.
    watched: [EventFlags; 2],
}

/// One direction.
#[derive(Default)]
struct Half {
    /// Read, and not yet taken by the other side. Nothing more is read before it is.
    pending: Vec<u8>,
    /// There will be no more.
    ended: bool,
    /// The other side was told so.
    told: bool,
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
        let (there, back) = (Half::default(), Half::default());
        let watched = [EventFlags::empty(); 2];
        Ok(Connection { door, client, server, connected, there, back, watched })
    }

    /// Waits for what it needs next.
    pub(super) fn watch(&mut self, poll: impl AsFd, number: u32) -> io::Result<()> {
        let wants = |reads: &Half, writes: &Half| {
            let mut flags = EventFlags::empty();
            flags.set(EventFlags::IN, self.connected && !reads.ended && reads.pending.is_empty());
            flags.set(EventFlags::OUT, !writes.pending.is_empty());
            flags
        };
        let client = wants(&self.there, &self.back);
        let mut server = wants(&self.back, &self.there);
        server.set(EventFlags::OUT, server.contains(EventFlags::OUT) || !self.connected);
        let [before_client, before_server] = self.watched;
        let poll = poll.as_fd();
        watch(poll, self.client.as_fd(), Token::Client(number), (before_client, client))?;
        watch(poll, self.server.as_fd(), Token::Server(number), (before_server, server))?;
        self.watched = [client, server];
        Ok(())
    }

    /// Carries what can be carried now. `false` when it is over.
    pub(super) fn carry(&mut self, buffer: &mut [u8]) -> bool {
        if !self.connected {
            match sockopt::socket_error(&self.server) {
                Ok(Ok(())) if sockopt_connected(&self.server) => self.connected = true,
                Ok(Ok(())) => return true,
                Ok(Err(_)) | Err(_) => {
                    abort(&self.client);
                    return false;
                }
            }
        }
        let (client, server) = (self.client.as_fd(), self.server.as_fd());
        let carried = self
            .there
            .carry(client, server, buffer)
            .and_then(|()| self.back.carry(server, client, buffer));
        if carried.is_err() {
            // What one side does to the other, it is told as it was done.
            abort(&self.client);
            abort(&self.server);
            return false;
        }
        !(self.there.told && self.back.told)
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

impl Half {
    fn carry(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        buffer: &mut [u8],
    ) -> Result<(), Errno> {
        let sent = push(to, &self.pending)?;
        self.pending.drain(..sent);
        if self.pending.is_empty() && !self.ended {
            match recv(from, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((_, 0)) => self.ended = true,
                Ok((_, length)) => {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    let sent = push(to, bytes)?;
                    self.pending = bytes.get(sent..).unwrap_or_default().to_vec();
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        if self.pending.is_empty() {
            self.pending = Vec::new();
            if self.ended && !self.told {
                // One that has ended altogether says so at the next read.
                let _ = shutdown(to, Shutdown::Write);
                self.told = true;
            }
        }
        Ok(())
    }
}

/// Sends as much as the other side takes now.
fn push(to: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    if bytes.is_empty() {
        return Ok(0);
    }
    match send(to, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        sent => sent,
    }
}
