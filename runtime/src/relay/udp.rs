//! Flows of UDP: a client, the address it asked, and a socket of its own to the container.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use berth_schema::stack::Protocol;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt as options,
};
use rustix::event::epoll;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with,
};

use super::Way;
use super::serve::Token;

/// How long a flow is remembered that got no answer, and one that did.
const SILENCE: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(120)];
/// Datagrams of one socket before others have their turn.
const TURN: usize = 64;

/// A socket that clients come to.
pub(super) struct Door {
    pub(super) way: Way,
    pub(super) socket: OwnedFd,
}

impl Door {
    /// Of a socket of the monitor's.
    pub(super) fn open(way: Way, socket: OwnedFd) -> io::Result<Door> {
        if way.protocol == Protocol::Udp {
            // The answer has to come from the address that was asked.
            match way.host {
                SocketAddr::V4(_) => setsockopt(&socket, options::Ipv4PacketInfo, &true)?,
                SocketAddr::V6(_) => setsockopt(&socket, options::Ipv6RecvPacketInfo, &true)?,
            }
        }
        Ok(Door { way, socket })
    }
}

/// Whose datagrams belong together.
type Key = (u32, SocketAddr, IpAddr);

struct Flow {
    key: Key,
    /// The link of the asked address, where that says which one is meant.
    link: u32,
    socket: OwnedFd,
    last: Instant,
    answered: bool,
}

/// All flows.
#[derive(Default)]
pub(super) struct Flows {
    /// At once; the one that was silent longest goes for another, first of those without an answer.
    pub(super) most: usize,
    by_key: BTreeMap<Key, u32>,
    flows: BTreeMap<u32, Flow>,
    next: u32,
}

impl Flows {
    pub(super) fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Forgets those of doors that are not there any more.
    pub(super) fn keep(&mut self, doors: &BTreeMap<u32, Door>) {
        self.retain(|flow| doors.contains_key(&flow.key.0));
    }

    pub(super) fn forget_silent(&mut self, now: Instant) {
        let silence = |flow: &Flow| SILENCE[usize::from(flow.answered)];
        self.retain(|flow| now.saturating_duration_since(flow.last) < silence(flow));
    }

    fn retain(&mut self, keep: impl Fn(&Flow) -> bool) {
        self.flows.retain(|_, flow| keep(flow));
        let flows = &self.flows;
        self.by_key.retain(|_, number| flows.contains_key(number));
    }

    /// Carries what has come to a door. What the container does not take is lost, as anywhere.
    pub(super) fn carry(
        &mut self,
        poll: impl AsFd,
        number: u32,
        door: &Door,
        buffer: &mut [u8],
        now: Instant,
    ) {
        for _ in 0..TURN {
            let Some((length, client, asked, link)) = receive(door, buffer) else { return };
            let key = (number, client, asked);
            let Ok(flow) = self.find_or_begin(&poll, key, link, door.way.target, now) else {
                continue;
            };
            flow.last = now;
            let bytes = buffer.get(..length).unwrap_or_default();
            let _ = send(&flow.socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }

    fn find_or_begin(
        &mut self,
        poll: impl AsFd,
        key: Key,
        link: u32,
        target: SocketAddr,
        now: Instant,
    ) -> io::Result<&mut Flow> {
        let number = match self.by_key.get(&key) {
            Some(number) => *number,
            None => {
                if self.flows.len() >= self.most {
                    self.forget_oldest();
                }
                let family =
                    if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                let socket = socket_with(family, SocketType::DGRAM, flags, None)?;
                connect(&socket, &target)?;
                self.next = self.next.wrapping_add(1);
                let number = self.next;
                let data = Token::Flow(number).data();
                epoll::add(poll, &socket, data, epoll::EventFlags::IN)?;
                self.by_key.insert(key, number);
                let flow = Flow { key, link, socket, last: now, answered: false };
                self.flows.insert(number, flow);
                number
            }
        };
        self.flows.get_mut(&number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn forget_oldest(&mut self) {
        let oldest = self.flows.iter().min_by_key(|(_, flow)| (flow.answered, flow.last));
        let Some((number, key)) = oldest.map(|(number, flow)| (*number, flow.key)) else { return };
        self.flows.remove(&number);
        self.by_key.remove(&key);
    }

    /// Carries what the container answers.
    pub(super) fn answer(
        &mut self,
        number: u32,
        doors: &BTreeMap<u32, Door>,
        buffer: &mut [u8],
        now: Instant,
    ) {
        let Some(flow) = self.flows.get_mut(&number) else { return };
        let Some(door) = doors.get(&flow.key.0) else { return };
        for _ in 0..TURN {
            // An error is that nobody listens there, which UDP does not tell; it is read off.
            let Ok((_, length)) = recv(&flow.socket, &mut *buffer, RecvFlags::DONTWAIT) else {
                return;
            };
            flow.answered = true;
            flow.last = now;
            reply(door, flow, buffer.get(..length).unwrap_or_default());
        }
    }
}

/// The next datagram: its length, whose it is, and which address on which link it asked.
fn receive(door: &Door, buffer: &mut [u8]) -> Option<(usize, SocketAddr, IpAddr, u32)> {
    let mut parts = [IoSliceMut::new(buffer)];
    let mut space = nix::cmsg_space!(libc::in6_pktinfo);
    let fd = door.socket.as_raw_fd();
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut space), flags).ok()?;
    let from = message.address?;
    let client = match (from.as_sockaddr_in(), from.as_sockaddr_in6()) {
        (Some(v4), _) => SocketAddr::V4(SocketAddrV4::from(*v4)),
        (None, Some(v6)) => SocketAddr::V6(SocketAddrV6::from(*v6)),
        (None, None) => return None,
    };
    let asked = message.cmsgs().ok()?.find_map(|part| match part {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            let address = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
            Some((IpAddr::V4(address), 0))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            let link = if address.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
            Some((IpAddr::V6(address), link))
        }
        _ => None,
    });
    let (asked, link) = asked?;
    Some((message.bytes, client, asked, link))
}

/// Sends an answer to a client from the address it asked.
fn reply(door: &Door, flow: &Flow, bytes: &[u8]) {
    let (_, client, asked) = flow.key;
    let parts = [IoSlice::new(bytes)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let fd = door.socket.as_raw_fd();
    let to = SockaddrStorage::from(client);
    // A client that is gone is not told, as anywhere with UDP.
    let _ = match asked {
        IpAddr::V4(address) => {
            let address = libc::in_addr { s_addr: u32::from(address).to_be() };
            let info =
                libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: address };
            sendmsg(fd, &parts, &[ControlMessage::Ipv4PacketInfo(&info)], flags, Some(&to))
        }
        IpAddr::V6(address) => {
            let ipi6_addr = libc::in6_addr { s6_addr: address.octets() };
            let info = libc::in6_pktinfo { ipi6_addr, ipi6_ifindex: flow.link };
            sendmsg(fd, &parts, &[ControlMessage::Ipv6PacketInfo(&info)], flags, Some(&to))
        }
    };
}
