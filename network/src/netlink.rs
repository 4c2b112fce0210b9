//! One netlink conversation without an async runtime: send, then read what is already there.
//!
//! The kernel works a netlink request off inside `sendmsg(2)`, so when it returns, every answer
//! is in the receive queue (and a dump goes on inside each `recvmsg(2)`). Nothing here waits, and
//! an empty queue is the end of the answer. The queue has to have room for all of it: each message
//! of a batch may be refused by itself.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt;

/// A dump that was overtaken by a change, and must be asked for again.
const NLM_F_DUMP_INTR: u16 = 0x10;
/// The answer carries attributes after the error code.
const NLM_F_ACK_TLVS: u16 = 0x200;
/// The text of an error, among those attributes.
const NLMSGERR_ATTR_MSG: u16 = 1;
const HEADER: usize = 16;
/// Requests so large go out as they are, whatever the host sets (`net.core.wmem_default`).
const DEFAULT_ROOM: usize = 32 * 1024;
/// Requests so many fill no queue with refusals, whatever the host sets (`net.core.rmem_default`).
const FEW: usize = 32;
/// What a refusal takes of the queue at most; the kernel doubles it.
const REFUSAL: usize = 1024;

/// A netlink socket in the namespace where it was opened.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: Socket,
    sequence: u32,
}

/// One message of an answer.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: Vec<u8>,
}

/// Why the kernel refused a request.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) sequence: u32,
    pub(crate) errno: io::Error,
    pub(crate) detail: Option<String>,
}

impl Channel {
    /// Opens a socket for `protocol` in the calling thread's network namespace.
    pub(crate) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Both only shape error messages; kernels before 4.12 lack the second.
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_ext_ack(true);
        Ok(Channel { socket, sequence: 0 })
    }

    /// Opens a socket that is told of changes, by these multicast groups; nothing is asked on it.
    pub(crate) fn listen(protocol: isize, groups: &[u32]) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        for group in groups {
            socket.add_membership(*group)?;
        }
        Ok(Channel { socket, sequence: 0 })
    }

    /// What was told since the last time. `None` when some of it is lost: there was too much.
    pub(crate) fn told(&self) -> io::Result<Option<Vec<Message>>> {
        // Who is told by a host that changes all the time has other things to do as well.
        const TURN: usize = 1 << 20;
        match self.collect(TURN)? {
            (_, Queue::Overrun) => Ok(None),
            (told, Queue::Whole) => Ok(told),
        }
    }

    /// A number for the next request, to know its answer by.
    pub(crate) fn number(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Sends one or several requests and gives everything that was answered.
    pub(crate) fn exchange(&self, request: &[u8]) -> io::Result<Vec<Message>> {
        Ok(self.exchange_up_to(request, usize::MAX)?.unwrap_or_default())
    }

    /// As [`Channel::exchange`], but `None` when the answer has more than so many bytes. What is
    /// left of it stays in the socket, which is of no use for anything else then.
    pub(crate) fn exchange_up_to(
        &self,
        request: &[u8],
        most: usize,
    ) -> io::Result<Option<Vec<Message>>> {
        self.send(request)?;
        let (answers, queue) = self.collect(most)?;
        let is_refused = answers.as_deref().is_some_and(|some| refusal(some).is_some());
        match queue {
            // What is lost are more refusals after the first.
            Queue::Overrun if !is_refused => Err(io::Error::from_raw_os_error(libc::ENOBUFS)),
            Queue::Overrun | Queue::Whole => Ok(answers),
        }
    }

    /// Sends a request and hands over each message of its answer as it comes, so that a long one
    /// is nowhere as a whole.
    pub(crate) fn exchange_each(
        &self,
        request: &[u8],
        mut each: impl FnMut(Message),
    ) -> io::Result<()> {
        self.send(request)?;
        let queue = self.waiting(|datagram| {
            messages(datagram).for_each(&mut each);
            ControlFlow::Continue(())
        })?;
        match queue {
            Queue::Whole => Ok(()),
            Queue::Overrun => Err(io::Error::from_raw_os_error(libc::ENOBUFS)),
        }
    }

    fn send(&self, request: &[u8]) -> io::Result<()> {
        if request.len() > DEFAULT_ROOM {
            let room = request.len() + HEADER;
            sockopt::set_socket_send_buffer_size_force(self, room)?;
        }
        let requests = messages(request).count();
        if requests > FEW {
            sockopt::set_socket_recv_buffer_size_force(self, requests * REFUSAL)?;
        }
        match self.socket.send(request, 0)? {
            sent if sent == request.len() => Ok(()),
            _ => Err(io::Error::other("the kernel took only part of the message")),
        }
    }

    /// What is in the receive queue; `None` when that is more than so many bytes.
    fn collect(&self, most: usize) -> io::Result<(Option<Vec<Message>>, Queue)> {
        let mut all = Vec::new();
        let mut left = Some(most);
        let queue = self.waiting(|datagram| {
            left = left.and_then(|left| left.checked_sub(datagram.len()));
            all.extend(messages(datagram));
            left.map_or(ControlFlow::Break(()), |_| ControlFlow::Continue(()))
        })?;
        Ok((left.map(|_| all), queue))
    }

    /// Gives the datagrams in the receive queue, until there are no more or `each` has enough.
    fn waiting(&self, mut each: impl FnMut(&[u8]) -> ControlFlow<()>) -> io::Result<Queue> {
        let mut buffer = Vec::with_capacity(64 * 1024);
        let mut queue = Queue::Whole;
        loop {
            buffer.clear();
            match self.socket.recv(&mut buffer, libc::MSG_DONTWAIT) {
                Ok(_) if each(&buffer).is_break() => return Ok(queue),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(queue),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // Told once; what had room is still there.
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => queue = Queue::Overrun,
                Err(e) => return Err(e),
            }
        }
    }
}

/// Whether the queue had room for everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queue {
    Whole,
    /// What came last is lost.
    Overrun,
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The first refusal among the answers.
pub(crate) fn refusal(answers: &[Message]) -> Option<Refusal> {
    answers.iter().find_map(Message::refusal)
}

/// Whether any part of a dump says that it is not of one piece.
pub(crate) fn interrupted(answers: &[Message]) -> bool {
    answers.iter().any(|m| m.flags & NLM_F_DUMP_INTR != 0)
}

impl Message {
    fn refusal(&self) -> Option<Refusal> {
        // A dump that fails says so in its last message.
        if i32::from(self.kind) != libc::NLMSG_ERROR && i32::from(self.kind) != libc::NLMSG_DONE {
            return None;
        }
        let code = i32::from_ne_bytes(self.payload.get(..4)?.try_into().ok()?);
        (code < 0).then(|| Refusal {
            sequence: self.sequence,
            errno: io::Error::from_raw_os_error(-code),
            detail: self.detail(),
        })
    }

    fn detail(&self) -> Option<String> {
        if self.flags & NLM_F_ACK_TLVS == 0 || i32::from(self.kind) != libc::NLMSG_ERROR {
            return None;
        }
        attributes(self.payload.get(4 + HEADER..)?)
            .find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)
            .map(|(_, text)| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned())
    }
}

/// The attributes in `bytes`, in their order; what is cut off ends the list.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = rest.get(4..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

/// The messages in a datagram; what is cut off ends the list.
fn messages(datagram: &[u8]) -> impl Iterator<Item = Message> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let header = rest.get(..HEADER)?;
        let half = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let word = |at: usize| {
            u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let len = word(0) as usize;
        let payload = rest.get(HEADER..len)?.to_vec();
        let message = Message { kind: half(4), flags: half(6), sequence: word(8), payload };
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: i32, flags: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER + payload.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend((kind as u16).to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(7u32.to_ne_bytes());
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn a_refusal_carries_errno_and_the_words_of_the_kernel() {
        let mut payload = (-libc::EEXIST).to_ne_bytes().to_vec();
        payload.extend([0; HEADER]);
        payload.extend([10, 0, 1, 0]);
        payload.extend(b"taken\0");
        let answers: Vec<Message> =
            messages(&message(libc::NLMSG_ERROR, NLM_F_ACK_TLVS, &payload)).collect();

        let refusal = refusal(&answers).unwrap();

        assert_eq!(refusal.errno.raw_os_error(), Some(libc::EEXIST));
        assert_eq!(refusal.detail.as_deref(), Some("taken"));
        assert_eq!(refusal.sequence, 7);
    }

    #[test]
    fn an_acknowledgement_is_no_refusal() {
        let answers: Vec<Message> = messages(&message(libc::NLMSG_ERROR, 0, &[0; 20])).collect();

        assert_eq!(answers.len(), 1);
        assert!(refusal(&answers).is_none());
    }

    #[test]
    fn cut_off_bytes_end_the_list_and_do_no_harm() {
        let whole = message(libc::NLMSG_ERROR, NLM_F_ACK_TLVS, &[1; 40]);
        for len in 0..whole.len() {
            let answers: Vec<Message> = messages(&whole[..len]).collect();
            assert!(answers.is_empty(), "{len} bytes gave {answers:?}");
            assert!(attributes(&whole[..len]).count() <= len);
        }
    }
}
