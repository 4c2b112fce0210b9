//! The talk between a starting process and its parent, on one socket pair.
//!
//! Each packet is one letter and its load. The pair is closed by execve, so its end without a
//! failure before it means that the program runs.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use super::error::SetupError;

/// Descriptors in one packet; the kernel takes at most 253.
const FDS_PER_PACKET: usize = 200;
/// Bytes in one packet.
const PACKET: usize = 8192;

/// One end of the pair.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// What arrives.
#[derive(Debug)]
pub(crate) enum Packet {
    /// To the child: these descriptors; `true` when more packets of them follow.
    Fds(Vec<OwnedFd>, bool),
    /// To the child: the network is there, go on.
    Network,
    /// To the parent: it is in its user namespace and has made the others.
    Entered,
    /// To the parent: all is mounted, and hooks are awaited.
    Mounted,
    /// To the parent: the master of the new terminal.
    Terminal(OwnedFd),
    /// To the parent: all is set up, execve is next.
    Executing,
    /// To the parent: it failed.
    Failed(SetupError),
    /// The other end is gone.
    Closed,
}

impl Channel {
    /// Both ends.
    pub(crate) fn pair() -> io::Result<(Channel, Channel)> {
        let (a, b) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Channel(a), Channel(b)))
    }

    /// An end that another program passed.
    pub(crate) fn from_fd(fd: OwnedFd) -> Channel {
        Channel(fd)
    }

    /// The descriptor of this end, which becomes readable with the next packet.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// This end, to be passed to another program.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Hands descriptors over, in as many packets as it takes.
    pub(crate) fn send_fds(&self, fds: &[impl AsFd]) -> io::Result<()> {
        let mut chunks = fds.chunks(FDS_PER_PACKET).peekable();
        if chunks.peek().is_none() {
            return self.send(b'F', b".", &[]);
        }
        while let Some(chunk) = chunks.next() {
            let more: &[u8] = if chunks.peek().is_some() { b"+" } else { b"." };
            let chunk: Vec<BorrowedFd<'_>> = chunk.iter().map(AsFd::as_fd).collect();
            self.send(b'F', more, &chunk)?;
        }
        Ok(())
    }

    /// Lets the child go on to its program.
    pub(crate) fn send_network(&self) -> io::Result<()> {
        self.send(b'N', b"", &[])
    }

    /// Tells the parent that all namespaces are there.
    pub(crate) fn send_entered(&self) -> io::Result<()> {
        self.send(b'U', b"", &[])
    }

    /// Tells the parent that all is mounted, and that its hooks are awaited.
    pub(crate) fn send_mounted(&self) -> io::Result<()> {
        self.send(b'M', b"", &[])
    }

    /// Hands the master of a terminal to the parent.
    pub(crate) fn send_terminal(&self, master: BorrowedFd<'_>) -> io::Result<()> {
        self.send(b'T', b"", &[master])
    }

    /// Tells the parent that execve is next.
    pub(crate) fn send_executing(&self) -> io::Result<()> {
        self.send(b'X', b"", &[])
    }

    /// Tells the parent why there will be no program.
    pub(crate) fn send_failure(&self, error: &SetupError) -> io::Result<()> {
        let text = serde_json::to_vec(error).map_err(io::Error::other)?;
        self.send(b'E', &text, &[])
    }

    /// Waits for the next packet until then; `TimedOut` when none has come.
    pub(crate) fn receive_until(&self, until: Instant) -> io::Result<Packet> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            let mut wait = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut wait, Some(&left)) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => return self.receive(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for the next packet.
    pub(crate) fn receive(&self) -> io::Result<Packet> {
        let mut load = [0; PACKET];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_PER_PACKET))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut reset = false;
        let received = loop {
            let mut into = [IoSliceMut::new(&mut load)];
            match recvmsg(&self.0, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                // The other side has not read everything. What it said is still there, once this
                // has been told.
                Err(Errno::CONNRESET) if !reset => reset = true,
                Err(Errno::CONNRESET) => return Ok(Packet::Closed),
                received => break received?,
            }
        };
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        let load = load.get(..received.bytes).unwrap_or_default();
        read(load, fds)
    }

    fn send(&self, letter: u8, load: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let load = load.get(..PACKET - 1).unwrap_or(load);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_PER_PACKET))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        let parts = [IoSlice::new(std::slice::from_ref(&letter)), IoSlice::new(load)];
        loop {
            match sendmsg(&self.0, &parts, &mut control, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                sent => return Ok(sent.map(drop)?),
            }
        }
    }
}

fn read(packet: &[u8], mut fds: Vec<OwnedFd>) -> io::Result<Packet> {
    let Some((letter, load)) = packet.split_first() else { return Ok(Packet::Closed) };
    let packet = match letter {
        b'F' => Packet::Fds(fds, load == b"+"),
        b'N' => Packet::Network,
        b'U' => Packet::Entered,
        b'M' => Packet::Mounted,
        b'T' => Packet::Terminal(fds.pop().ok_or(io::ErrorKind::InvalidData)?),
        b'X' => Packet::Executing,
        b'E' => Packet::Failed(match serde_json::from_slice(load) {
            Ok(error) => error,
            Err(_) => SetupError::refused("start", "process", String::from_utf8_lossy(load)),
        }),
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_descriptors_arrive_in_order() {
        let (parent, child) = Channel::pair().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let fds: Vec<OwnedFd> = (0..450).map(|_| null.try_clone().unwrap().into()).collect();
        parent.send_fds(&fds).unwrap();
        let mut arrived = 0;
        loop {
            let Packet::Fds(fds, more) = child.receive().unwrap() else { panic!("not fds") };
            arrived += fds.len();
            if !more {
                break;
            }
        }
        assert_eq!(arrived, 450);
    }

    #[test]
    fn a_failure_arrives_whole_and_then_the_end() {
        let (parent, child) = Channel::pair().unwrap();
        let error = SetupError::refused("mount", "/a", "because");
        child.send_failure(&error).unwrap();
        drop(child);
        assert!(matches!(parent.receive().unwrap(), Packet::Failed(e) if e == error));
        assert!(matches!(parent.receive().unwrap(), Packet::Closed));
    }

    #[test]
    fn a_failure_arrives_although_its_teller_has_not_read_everything() {
        let (parent, child) = Channel::pair().unwrap();
        let error = SetupError::refused("mount", "/a", "because");
        parent.send_network().unwrap();
        child.send_failure(&error).unwrap();
        drop(child);
        assert!(matches!(parent.receive().unwrap(), Packet::Failed(e) if e == error));
        assert!(matches!(parent.receive().unwrap(), Packet::Closed));
    }
}
