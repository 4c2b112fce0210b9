//! A socket to a destination: made, waited for, lost, and made again. Never blocks.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::PollFlags;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, recv, send, sendmsg, socket_with, sockopt,
};

use crate::bundle::Peer;

/// What came of sending a message.
pub(super) enum Sent {
    /// It is on its way.
    Whole,
    /// Not yet.
    Later,
    /// Never: this message does not fit.
    Never(io::Error),
    /// The destination is gone.
    Gone(io::Error),
}

/// A socket to a destination.
pub(super) struct Link {
    socket: OwnedFd,
    kind: Kind,
    /// The connection is being made.
    connecting: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unixgram,
    Udp,
    Stream,
}

impl Link {
    /// Begins a connection.
    ///
    /// # Errors
    /// What the kernel answers.
    pub(super) fn open(peer: &Peer) -> io::Result<Link> {
        let (kind, connected) = match peer {
            Peer::Unixgram(path) => (Kind::Unixgram, to_path(path, SocketType::DGRAM)),
            Peer::Unix(path) => (Kind::Stream, to_path(path, SocketType::STREAM)),
            Peer::Udp(address) => (Kind::Udp, to_address(*address, SocketType::DGRAM)),
            Peer::Tcp(address) => (Kind::Stream, to_address(*address, SocketType::STREAM)),
        };
        let (socket, connecting) = connected?;
        Ok(Link { socket, kind, connecting })
    }

    /// Adds what to wait for, with or without something to send.
    pub(super) fn poll(&self, waiting: bool) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let mut flags = PollFlags::empty();
        if waiting || self.connecting {
            flags |= PollFlags::OUT;
        }
        if self.kind == Kind::Stream && !self.connecting {
            // The end of the other side.
            flags |= PollFlags::IN;
        }
        (!flags.is_empty()).then(|| (self.socket.as_fd(), flags))
    }

    pub(super) fn is_connecting(&self) -> bool {
        self.connecting
    }

    /// The kernel has news of this socket.
    ///
    /// # Errors
    /// The destination is gone.
    pub(super) fn news(&mut self) -> io::Result<()> {
        if self.connecting {
            sockopt::socket_error(&self.socket)??;
            // Woken for another reason, the connection is still being made.
            match rustix::net::getpeername(&self.socket) {
                Ok(_) => self.connecting = false,
                Err(Errno::NOTCONN) => {}
                Err(e) => return Err(e.into()),
            }
        } else if self.kind == Kind::Stream {
            let mut ignored = [MaybeUninit::uninit(); 512];
            match recv(&self.socket, &mut ignored, rustix::net::RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Err(io::Error::other("it has closed the connection")),
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Sends what is left of a message after `done` bytes, which grow by what was sent.
    pub(super) fn send(&self, message: &[u8], done: &mut usize) -> Sent {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let mut refused = false;
        loop {
            match send(&self.socket, &message[*done..], flags) {
                Ok(sent) if self.kind == Kind::Stream => {
                    *done += sent;
                    if *done == message.len() {
                        return Sent::Whole;
                    }
                }
                Ok(_) => return Sent::Whole,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Sent::Later,
                // What an earlier datagram met, and nothing of this one.
                Err(Errno::CONNREFUSED) if self.kind == Kind::Udp && !refused => refused = true,
                Err(Errno::MSGSIZE | Errno::NOBUFS) if self.kind == Kind::Unixgram => {
                    return self.send_sealed(message);
                }
                Err(e) if self.kind == Kind::Udp => return Sent::Never(e.into()),
                Err(e) => return Sent::Gone(e.into()),
            }
        }
    }

    /// Sends a message that is too large for a datagram as a file that cannot change any more, as
    /// the journal takes it (systemd.io, "Native Journal Protocol").
    fn send_sealed(&self, message: &[u8]) -> Sent {
        let file = match sealed(message) {
            Ok(file) => file,
            Err(e) => return Sent::Never(e),
        };
        let fds = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match sendmsg(&self.socket, &[IoSlice::new(&[])], &mut control, flags) {
            Ok(_) => Sent::Whole,
            Err(Errno::AGAIN | Errno::INTR) => Sent::Later,
            Err(e @ (Errno::MSGSIZE | Errno::NOBUFS | Errno::TOOMANYREFS)) => Sent::Never(e.into()),
            Err(e) => Sent::Gone(e.into()),
        }
    }
}

fn sealed(bytes: &[u8]) -> io::Result<File> {
    let file = memfd_create("line", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(file);
    file.write_all(bytes)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    fcntl_add_seals(&file, seals)?;
    Ok(file)
}

/// A socket, and whether its connection is still being made.
type Begun = io::Result<(OwnedFd, bool)>;

fn to_path(path: &Path, kind: SocketType) -> Begun {
    let socket = new_socket(AddressFamily::UNIX, kind)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok((socket, false))
}

fn to_address(address: std::net::SocketAddr, kind: SocketType) -> Begun {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = new_socket(family, kind)?;
    match connect(&socket, &address) {
        Ok(()) => Ok((socket, false)),
        Err(Errno::INPROGRESS) => Ok((socket, true)),
        Err(e) => Err(e.into()),
    }
}

fn new_socket(family: AddressFamily, kind: SocketType) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    socket_with(family, kind, flags, None).map_err(io::Error::from)
}
