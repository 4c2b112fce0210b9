//! One packet as the rules see it: what they load of it, and what of that is not known.

use std::net::IpAddr;

use super::expression::Source;
use super::register::{Byte, Doubt, known, open};
use crate::links::Link;

/// One end of a packet; what is not given hangs on the sender.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct End {
    pub(super) address: Option<IpAddr>,
    pub(super) port: Option<u16>,
}

/// What connection tracking knows of the packet's flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flow {
    /// Bits of `ct state`.
    pub(super) state: u32,
    /// Bits of `ct status`.
    pub(super) status: u32,
    /// The packet is an answer.
    pub(super) reply: bool,
    /// Source and destination of packets as they were sent.
    pub(super) original: (End, End),
    /// The same of answers.
    pub(super) answer: (End, End),
}

/// `ct state new`
pub(super) const NEW: u32 = 8;
/// `ct state established`
pub(super) const ESTABLISHED: u32 = 2;
/// `ct state invalid`
pub(super) const INVALID: u32 = 1;
/// `ct status dnat`, and that it was settled.
pub(super) const TRANSLATED: u32 = 0x20 | 0x100;
/// `ct status seen-reply,confirmed` of a flow with an answer.
pub(super) const ANSWERED: u32 = 0x2 | 0x8;

const TCP: u8 = 6;
const SYN: u8 = 2;
const ACK: u8 = 16;

/// A packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) from: Link,
    pub(super) to: Link,
    pub(super) v6: bool,
    pub(super) protocol: u8,
    pub(super) source: End,
    pub(super) destination: End,
    /// The destination is an address of this host.
    pub(super) to_this_host: bool,
    pub(super) source_is_this_host: bool,
    pub(super) mark: Result<u32, Doubt>,
    pub(super) flow: Option<Flow>,
    /// It answers another.
    pub(super) reply: bool,
}

impl Packet {
    /// What a rule loads. `None` when there is nothing to load: the rule does not hold.
    pub(super) fn load(&self, source: Source) -> Option<Vec<Byte>> {
        match source {
            Source::Meta(key) => self.meta(key),
            Source::Payload { base, offset, len } => Some(self.payload(base, offset, len)),
            Source::Ct { key, direction } => self.ct(key, direction),
            Source::Fib { flags, result } => Some(self.fib(flags, result)),
            Source::Other => Some(open(16, Doubt::Unknown)),
        }
    }

    fn meta(&self, key: u32) -> Option<Vec<Byte>> {
        const HOST: u8 = 0;
        Some(match key {
            1 => known(&self.ether_type().to_be_bytes()),
            3 => self.mark(),
            4 => known(&self.from.index.to_ne_bytes()),
            5 => known(&self.to.index.to_ne_bytes()),
            6 => known(&crate::nft::link_name(&self.from.name)),
            7 => known(&crate::nft::link_name(&self.to.name)),
            // No socket of this host has to do with it.
            10 | 11 => return None,
            15 => word(if self.v6 { 10 } else { 2 }),
            16 => word(self.protocol),
            19 => word(HOST),
            21 => known(&self.from.group.to_ne_bytes()),
            22 => known(&self.to.group.to_ne_bytes()),
            // Not by IPsec.
            25 => word(0),
            _ => open(16, Doubt::Unknown),
        })
    }

    pub(super) fn mark(&self) -> Vec<Byte> {
        match self.mark {
            Ok(mark) => known(&mark.to_ne_bytes()),
            Err(doubt) => open(4, doubt),
        }
    }

    fn ether_type(&self) -> u16 {
        if self.v6 { 0x86dd } else { 0x0800 }
    }

    fn payload(&self, base: u32, offset: u32, len: u32) -> Vec<Byte> {
        let header = match base {
            0 => self.link_header(),
            1 => self.network_header(),
            2 => self.transport_header(),
            _ => Vec::new(),
        };
        // Registers have 64 bytes; nobody can ask for more.
        let (offset, len) = (offset as usize, len.min(64) as usize);
        let at = |n: usize| header.get(n).copied().unwrap_or(Byte::Open(Doubt::Unknown));
        (0..len).map(|n| at(offset.saturating_add(n))).collect()
    }

    fn link_header(&self) -> Vec<Byte> {
        let mut header = open(12, Doubt::Sender);
        header.extend(known(&self.ether_type().to_be_bytes()));
        header
    }

    fn network_header(&self) -> Vec<Byte> {
        let mut header = match self.v6 {
            false => [known(&[0x45]), open(5, Doubt::Sender), known(&[0, 0])].concat(),
            true => [known(&[0x60]), open(5, Doubt::Sender)].concat(),
        };
        match self.v6 {
            false => {
                header.extend(open(1, Doubt::Sender));
                header.extend(known(&[self.protocol]));
                header.extend(open(2, Doubt::Sender));
            }
            true => {
                header.extend(known(&[self.protocol]));
                header.extend(open(1, Doubt::Sender));
            }
        }
        header.extend(self.address(self.source));
        header.extend(self.address(self.destination));
        header
    }

    fn transport_header(&self) -> Vec<Byte> {
        let mut header = port(self.source);
        header.extend(port(self.destination));
        if self.protocol == TCP {
            header.extend(open(9, Doubt::Sender));
            header.extend(known(&[self.flags()]));
        }
        header
    }

    /// Flags of the first packet of a connection over TCP, or of its answer.
    pub(super) fn flags(&self) -> u8 {
        if self.reply { SYN | ACK } else { SYN }
    }

    pub(super) fn address(&self, end: End) -> Vec<Byte> {
        let len = if self.v6 { 16 } else { 4 };
        match end.address {
            Some(IpAddr::V4(address)) if !self.v6 => known(&address.octets()),
            Some(IpAddr::V6(address)) if self.v6 => known(&address.octets()),
            _ => open(len, Doubt::Sender),
        }
    }

    fn ct(&self, key: u32, direction: Option<u8>) -> Option<Vec<Byte>> {
        const STATE: u32 = 0;
        let Some(flow) = &self.flow else {
            return (key == STATE).then(|| known(&INVALID.to_ne_bytes()));
        };
        let (source, destination) = match direction {
            Some(1) => flow.answer,
            _ => flow.original,
        };
        Some(match key {
            STATE => known(&flow.state.to_ne_bytes()),
            1 => word(u8::from(flow.reply)),
            2 => known(&flow.status.to_ne_bytes()),
            3 => known(&0u32.to_ne_bytes()),
            // It has no helper.
            6 => return None,
            7 => word(if self.v6 { 10 } else { 2 }),
            8 | 19 | 21 => self.address(source),
            9 | 20 | 22 => self.address(destination),
            10 => word(self.protocol),
            11 => port(source),
            12 => port(destination),
            _ => open(16, Doubt::Unknown),
        })
    }

    /// What the routes say of an address.
    fn fib(&self, flags: u32, result: u32) -> Vec<Byte> {
        const SOURCE: u32 = 1;
        const PRESENT: u32 = 32;
        const LINK: u32 = 1;
        const LINK_NAME: u32 = 2;
        const TYPE: u32 = 3;
        let (here, link) = match flags & SOURCE != 0 {
            // The sender answers where the packet came from: nobody else gets an answer at all.
            true => (self.source_is_this_host, &self.from),
            false => (self.to_this_host, &self.to),
        };
        match result {
            LINK | LINK_NAME if flags & PRESENT != 0 => known(&[1, 0, 0, 0]),
            LINK => known(&link.index.to_ne_bytes()),
            LINK_NAME => known(&crate::nft::link_name(&link.name)),
            TYPE => known(&address_type(here).to_ne_bytes()),
            _ => open(16, Doubt::Unknown),
        }
    }
}

/// `RTN_LOCAL` or `RTN_UNICAST`.
pub(super) fn address_type(here: bool) -> u32 {
    if here { 2 } else { 1 }
}

/// One byte fills a register of four.
fn word(byte: u8) -> Vec<Byte> {
    known(&[byte, 0, 0, 0])
}

fn port(end: End) -> Vec<Byte> {
    end.port.map_or_else(|| open(2, Doubt::Sender), |port| known(&port.to_be_bytes()))
}
