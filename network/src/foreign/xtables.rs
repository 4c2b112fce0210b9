//! Matches and targets of `iptables`, as far as they are known here.
//!
//! Their data are the structures of `linux/netfilter/xt_*.h`, in the byte order of the host; what
//! is not decoded is in doubt.

use super::evaluate::{Fate, Says};
use super::expression::Verdict;
use super::packet::{End, INVALID, Packet, address_type};
use super::register::{Byte, Doubt, Truth, between, equal};

/// What a target does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Does {
    Says(Says),
    Marks {
        mask: u32,
        value: u32,
    },
    /// The packet goes on to the next rule.
    Nothing,
    Unknown,
}

/// Whether a match holds for a packet.
pub(super) fn holds(packet: &Packet, name: &str, revision: u8, info: &[u8]) -> Truth {
    let known = match (name, revision) {
        ("comment", _) => Some(Truth::Yes),
        ("conntrack", 1..=3) => conntrack(packet, revision, Info(info)),
        ("state", _) => state(packet, Info(info)),
        ("addrtype", 1) => addrtype(packet, Info(info)),
        ("multiport", 1) => multiport(packet, Info(info)),
        ("tcp", 0) => tcp(packet, Info(info)),
        ("udp", 0) => udp(packet, Info(info)),
        ("mark", 1) => mark(packet, Info(info)),
        ("iprange", 1) => iprange(packet, Info(info)),
        // The protocol was looked at before; ours never is one of these.
        ("icmp" | "icmp6" | "esp" | "ah" | "dccp", _) => Some(Truth::No),
        ("owner" | "socket" | "physdev", _) => Some(Truth::No),
        ("limit" | "hashlimit" | "connlimit" | "quota" | "recent", _) => {
            Some(Truth::Maybe(Doubt::Rate))
        }
        ("mac" | "ttl" | "hl" | "length" | "tos" | "dscp" | "tcpmss", _) => {
            Some(Truth::Maybe(Doubt::Sender))
        }
        _ => None,
    };
    known.unwrap_or(Truth::Maybe(Doubt::Unknown))
}

/// What a target does to a packet.
pub(super) fn does(name: &str, revision: u8, info: &[u8]) -> Does {
    match name {
        "REJECT" => Does::Says(Says::Fate(Fate::Rejected)),
        "DROP" => Does::Says(Says::Fate(Fate::Dropped)),
        "DNAT" | "REDIRECT" | "TPROXY" => Does::Says(Says::Fate(Fate::Elsewhere)),
        "SNAT" | "MASQUERADE" | "NETMAP" => Does::Says(Says::Verdict(Verdict::Accept)),
        "NFQUEUE" => Does::Says(Says::Verdict(Verdict::Queue)),
        "MARK" if revision == 2 => match (Info(info).word(4), Info(info).word(0)) {
            (Some(mask), Some(value)) => Does::Marks { mask, value },
            _ => Does::Unknown,
        },
        "LOG" | "NFLOG" | "ULOG" | "AUDIT" | "TRACE" | "TCPMSS" | "TTL" | "HL" | "TOS" | "DSCP"
        | "CHECKSUM" | "CLASSIFY" | "SECMARK" | "CONNSECMARK" | "SET" | "LED" | "ECN" | "TEE"
        | "RATEEST" | "IDLETIMER" => Does::Nothing,
        // It only writes the mark of the flow, or of the packet from it: a new flow has none.
        "CONNMARK" => Does::Nothing,
        _ => Does::Unknown,
    }
}

/// The data of a match.
#[derive(Clone, Copy)]
struct Info<'a>(&'a [u8]);

impl Info<'_> {
    fn byte(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    fn half(self, at: usize) -> Option<u16> {
        Some(u16::from_ne_bytes(self.0.get(at..at + 2)?.try_into().ok()?))
    }

    fn word(self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(self.0.get(at..at + 4)?.try_into().ok()?))
    }
}

/// A port between two, of host order.
fn port_between(end: End, first: u16, last: u16) -> Truth {
    match end.port {
        Some(port) => Truth::of(port >= first && port <= last),
        None if (first, last) == (0, u16::MAX) => Truth::Yes,
        None => Truth::Maybe(Doubt::Sender),
    }
}

/// Bits of `--ctstate`: those of `ct state`, and beside them what was translated.
fn states(packet: &Packet) -> u32 {
    const TRANSLATED_SOURCE: u32 = 1 << 6;
    const TRANSLATED_DESTINATION: u32 = 1 << 7;
    let Some(flow) = &packet.flow else { return INVALID };
    let source = if flow.status & 0x10 != 0 { TRANSLATED_SOURCE } else { 0 };
    let destination = if flow.status & 0x20 != 0 { TRANSLATED_DESTINATION } else { 0 };
    flow.state | source | destination
}

fn state(packet: &Packet, info: Info<'_>) -> Option<Truth> {
    let states = packet.flow.map_or(INVALID, |flow| flow.state);
    Some(Truth::of(info.word(0)? & states != 0))
}

fn conntrack(packet: &Packet, revision: u8, info: Info<'_>) -> Option<Truth> {
    const STATE: u16 = 1;
    const PROTOCOL: u16 = 1 << 1;
    const STATUS: u16 = 1 << 6;
    const EXPIRES: u16 = 1 << 7;
    const DIRECTION: u16 = 1 << 12;
    let (flags, inverted) = (info.half(146)?, info.half(148)?);
    let (state_mask, status_mask) = match revision {
        1 => (u32::from(info.byte(150)?), u32::from(info.byte(151)?)),
        _ => (u32::from(info.half(150)?), u32::from(info.half(152)?)),
    };
    let is = |truth: Truth, flag: u16| truth.inverted(inverted & flag != 0);
    let mut truth = Truth::Yes;
    if flags & STATE != 0 {
        truth = is(Truth::of(state_mask & states(packet) != 0), STATE);
    }
    let Some(flow) = packet.flow else {
        return Some(if flags & !(STATE | 1 << 13) == 0 { truth } else { Truth::No });
    };
    if flags & DIRECTION != 0 {
        truth = truth.and(is(Truth::of(!flow.reply), DIRECTION));
    }
    if flags & PROTOCOL != 0 {
        let same = info.half(136)? == u16::from(packet.protocol);
        truth = truth.and(is(Truth::of(same), PROTOCOL));
    }
    if flags & STATUS != 0 {
        truth = truth.and(is(Truth::of(status_mask & flow.status != 0), STATUS));
    }
    if flags & EXPIRES != 0 {
        truth = truth.and(Truth::Maybe(Doubt::Rate));
    }
    let ends = [flow.original.0, flow.original.1, flow.answer.0, flow.answer.1];
    for (n, end) in ends.into_iter().enumerate() {
        let (address, port) = (1 << (2 + n), 1 << (8 + n));
        if flags & address != 0 {
            let (value, mask) = (n * 32, n * 32 + 16);
            truth = truth.and(is(masked_address(packet, end, info, (value, mask))?, address));
        }
        if flags & port != 0 {
            let first = info.half(138 + 2 * n)?;
            let last = if revision < 3 { first } else { info.half(154 + 2 * n)? };
            // Revision 3 has them in host order, those before in network order.
            let order = |port: u16| if revision < 3 { u16::from_be(port) } else { port };
            truth = truth.and(is(port_between(end, order(first), order(last)), port));
        }
    }
    Some(truth)
}

/// Whether an address has the bits of one in the data.
fn masked_address(
    packet: &Packet,
    end: End,
    info: Info<'_>,
    (value, mask): (usize, usize),
) -> Option<Truth> {
    let bytes = packet.address(end);
    let value = info.0.get(value..value + bytes.len())?;
    let mask = info.0.get(mask..mask + bytes.len())?;
    let masked: Vec<Byte> = bytes
        .iter()
        .zip(mask)
        .map(|(byte, mask)| match byte {
            Byte::Known(byte) => Byte::Known(byte & mask),
            Byte::Open(_) if *mask == 0 => Byte::Known(0),
            open => *open,
        })
        .collect();
    Some(equal(&masked, value))
}

fn addrtype(packet: &Packet, info: Info<'_>) -> Option<Truth> {
    let (source, destination, flags) = (info.half(0)?, info.half(2)?, info.word(4)?);
    let has = |wanted: u16, here: bool, invert: u32| {
        let holds = wanted & (1 << address_type(here)) != 0;
        Truth::of(wanted == 0 || holds != (flags & invert != 0))
    };
    let source = has(source, packet.source_is_this_host, 1);
    Some(source.and(has(destination, packet.to_this_host, 2)))
}

fn multiport(packet: &Packet, info: Info<'_>) -> Option<Truth> {
    let (flags, count) = (info.byte(0)?, usize::from(info.byte(1)?));
    let inverted = info.byte(47)? != 0;
    let one_of = |end: End| {
        let mut truth = Truth::No;
        let mut n = 0;
        while n < count.min(15) {
            let first = info.half(2 + 2 * n)?;
            let is_range = info.byte(32 + n)? != 0;
            n += usize::from(is_range);
            truth = truth.or(port_between(end, first, info.half(2 + 2 * n.min(14))?));
            n += 1;
        }
        Some(truth)
    };
    let truth = match flags {
        0 => one_of(packet.source)?,
        1 => one_of(packet.destination)?,
        _ => one_of(packet.source)?.or(one_of(packet.destination)?),
    };
    Some(truth.inverted(inverted))
}

fn tcp(packet: &Packet, info: Info<'_>) -> Option<Truth> {
    const OPTION: usize = 8;
    if packet.protocol != 6 {
        return Some(Truth::No);
    }
    let inverted = info.byte(11)?;
    let flags = packet.flags() & info.byte(9)? == info.byte(10)?;
    let truth = ports(packet, info, inverted)?;
    let truth = truth.and(Truth::of(flags).inverted(inverted & 4 != 0));
    Some(match info.byte(OPTION)? {
        0 => truth,
        _ => truth.and(Truth::Maybe(Doubt::Sender)),
    })
}

fn udp(packet: &Packet, info: Info<'_>) -> Option<Truth> {
    if packet.protocol != 17 {
        return Some(Truth::No);
    }
    ports(packet, info, info.byte(8)?)
}

/// Ranges of source and destination ports, as tcp and udp have them in front.
fn ports(packet: &Packet, info: Info<'_>, inverted: u8) -> Option<Truth> {
    let source = port_between(packet.source, info.half(0)?, info.half(2)?);
    let destination = port_between(packet.destination, info.half(4)?, info.half(6)?);
    let source = source.inverted(inverted & 1 != 0);
    Some(source.and(destination.inverted(inverted & 2 != 0)))
}

fn mark(packet: &Packet, info: Info<'_>) -> Option<Truth> {
    let (mark, mask, invert) = (info.word(0)?, info.word(4)?, info.byte(8)? != 0);
    Some(match packet.mark {
        Ok(have) => Truth::of(have & mask == mark).inverted(invert),
        Err(doubt) => Truth::Maybe(doubt),
    })
}

fn iprange(packet: &Packet, info: Info<'_>) -> Option<Truth> {
    let flags = info.byte(64)?;
    let within = |end: End, at: usize| {
        let bytes = packet.address(end);
        let first = info.0.get(at..at + bytes.len())?;
        let last = info.0.get(at + 16..at + 16 + bytes.len())?;
        Some(between(&bytes, first, last))
    };
    let mut truth = Truth::Yes;
    if flags & 1 != 0 {
        truth = truth.and(within(packet.source, 0)?.inverted(flags & 0x10 != 0));
    }
    if flags & 2 != 0 {
        truth = truth.and(within(packet.destination, 32)?.inverted(flags & 0x20 != 0));
    }
    Some(truth)
}
