//! Rules: what is looked at, and what is done with the packet.
//!
//! The kernel's registers are four bytes each; a concatenation is the parts one after another.

use super::attributes::{Attributes, comment};

/// The first four-byte register. Values to compare, look up or translate to start here.
const REGISTER: u32 = 8;
const NAT_DESTINATION: u32 = 1;
/// Parts that [`Rule::load_percent`] chooses from.
pub(crate) const PERCENTS: u32 = 100;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
/// `NFT_CT_STATE`, `NFT_CT_STATUS` and `IPS_DST_NAT` in it.
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
const TRANSLATED_TO: u32 = 0x20;
/// `NFT_META_IIF`
const IN_INDEX: u32 = 4;
/// The link `lo` has the same number in each namespace.
const LOOPBACK_LINK: u32 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const TRANSPORT: u32 = 2;
/// Where a transport's header has its ports.
const SOURCE_PORT: u32 = 0;
const DESTINATION_PORT: u32 = 2;
/// Where an ICMP packet has the destination port of what it quotes: after its own header, one of IPv4
/// without options, and the source port.
const QUOTED_PORT: u32 = 8 + 20 + 2;
/// `NFTA_FIB_F_DADDR`
const TO_DESTINATION: u32 = 2;

/// What becomes of a packet for which the whole rule holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Verdict {
    Accept,
    Drop,
    Jump(&'static str),
}

/// A rule under construction; each call narrows it down, in order.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    comment: &'static str,
    expressions: Attributes,
    /// Where the next part of a concatenation goes.
    next: u32,
}

impl Rule {
    /// A rule that holds for every packet so far, with words for whoever lists it.
    pub(crate) fn new(comment: &'static str) -> Self {
        Rule { comment, expressions: Attributes::default(), next: REGISTER }
    }

    pub(crate) fn if_ipv4(self) -> Self {
        self.load_family().compare(Compare::Equal, &[NFPROTO_IPV4])
    }

    pub(crate) fn if_ipv6(self) -> Self {
        self.load_family().compare(Compare::Equal, &[NFPROTO_IPV6])
    }

    /// `iif != "lo"`
    pub(crate) fn if_not_from_loopback_link(self) -> Self {
        self.load_meta(IN_INDEX, 1).compare(Compare::Different, &LOOPBACK_LINK.to_ne_bytes())
    }

    /// `oif "lo"`
    pub(crate) fn if_to_loopback_link(self) -> Self {
        const OUT_INDEX: u32 = 5;
        self.load_meta(OUT_INDEX, 1).compare(Compare::Equal, &LOOPBACK_LINK.to_ne_bytes())
    }

    /// `ip saddr 127.0.0.0/8`, for IPv4 packets only. Their byte comes first: the kernel reads it
    /// without a call, and most packets have another there.
    pub(crate) fn if_from_loopback(self) -> Self {
        self.load_network(12, 1, 1).compare(Compare::Equal, &[127]).if_ipv4()
    }

    /// `ip daddr 127.0.0.0/8`, for IPv4 packets only.
    pub(crate) fn if_to_loopback(self) -> Self {
        self.load_network(16, 1, 1).compare(Compare::Equal, &[127]).if_ipv4()
    }

    /// `ip6 daddr ::1`, for IPv6 packets only.
    pub(crate) fn if_to_ipv6_loopback(self) -> Self {
        let loopback = std::net::Ipv6Addr::LOCALHOST.octets();
        self.if_ipv6().load_ipv6_destination().compare(Compare::Equal, &loopback)
    }

    /// `ip daddr ADDRESS`, in a table that has IPv4 packets only: `nft list` cannot read one there that
    /// asks for their family once more.
    pub(crate) fn if_to_ipv4(self, address: [u8; 4]) -> Self {
        self.load_ipv4_destination().compare(Compare::Equal, &address)
    }

    /// `ip saddr ADDRESS`, in a table that has IPv4 packets only.
    pub(crate) fn if_from_ipv4(self, address: [u8; 4]) -> Self {
        self.load_ipv4_source().compare(Compare::Equal, &address)
    }

    /// `meta l4proto PROTOCOL`
    pub(crate) fn if_protocol(self, protocol: u8) -> Self {
        self.load_protocol().compare(Compare::Equal, &[protocol])
    }

    /// `meta l4proto PROTOCOL th dport PORT`
    pub(crate) fn if_to_port(self, protocol: u8, port: u16) -> Self {
        self.if_protocol(protocol).load_port().compare(Compare::Equal, &port.to_be_bytes())
    }

    /// `meta l4proto PROTOCOL th sport PORT`
    pub(crate) fn if_from_port(self, protocol: u8, port: u16) -> Self {
        self.if_protocol(protocol)
            .load_payload(TRANSPORT, SOURCE_PORT, 2, 1)
            .compare(Compare::Equal, &port.to_be_bytes())
    }

    /// It says that a UDP packet to this port did not arrive (RFC 792): what could not be delivered is
    /// quoted in it, from its IPv4 header on.
    pub(crate) fn if_unreachable_udp_port(self, port: u16) -> Self {
        const ICMP: u8 = 1;
        const DESTINATION_UNREACHABLE: u8 = 3;
        const QUOTED_PROTOCOL: u32 = 8 + 9;
        self.if_protocol(ICMP)
            .load_payload(TRANSPORT, 0, 1, 1)
            .compare(Compare::Equal, &[DESTINATION_UNREACHABLE])
            .load_payload(TRANSPORT, QUOTED_PROTOCOL, 1, 1)
            .compare(Compare::Equal, &[UDP])
            .load_payload(TRANSPORT, QUOTED_PORT, 2, 1)
            .compare(Compare::Equal, &port.to_be_bytes())
    }

    /// The same port in what is quoted, as it was.
    pub(crate) fn set_unreachable_port(self, port: u16) -> Self {
        const CHECKSUM_OF_ICMP: u32 = 2;
        self.set_transport(QUOTED_PORT, CHECKSUM_OF_ICMP, port)
    }

    /// `tcp flags & (syn | ack) == syn`: the first packet of a connection, sent again or not. Of
    /// other packets there is something else in that place, or nothing, so the protocol comes after.
    /// The kernel reads and masks whole words without a call.
    pub(crate) fn if_first_of_tcp(self) -> Self {
        const SYN: u8 = 0x02;
        const ACK: u8 = 0x10;
        self.load_payload(TRANSPORT, 12, 4, 1)
            .masked(&[0, SYN | ACK, 0, 0])
            .compare(Compare::Equal, &[0, SYN, 0, 0])
            .if_protocol(TCP)
    }

    /// `iifgroup & MASK == GROUP`
    pub(crate) fn if_from_group(self, mask: u32, group: u32) -> Self {
        const IN_GROUP: u32 = 21;
        self.load_meta(IN_GROUP, 1).compare_group(mask, group)
    }

    /// `oifgroup & MASK == GROUP`
    pub(crate) fn if_to_group(self, mask: u32, group: u32) -> Self {
        const OUT_GROUP: u32 = 22;
        self.load_meta(OUT_GROUP, 1).compare_group(mask, group)
    }

    fn compare_group(self, mask: u32, group: u32) -> Self {
        let some = if mask == u32::MAX { self } else { self.masked(&mask.to_ne_bytes()) };
        some.compare(Compare::Equal, &(group & mask).to_ne_bytes())
    }

    /// `fib daddr type local`: the packet is for an address of this host.
    pub(crate) fn if_to_this_host(self) -> Self {
        const ADDRESS_TYPE: u32 = 3;
        const LOCAL: u32 = 2;
        self.load_route(ADDRESS_TYPE, TO_DESTINATION, 1)
            .compare(Compare::Equal, &LOCAL.to_ne_bytes())
    }

    /// `fib daddr . mark oifname`: the link by which the packet would go on, with the mark it has.
    pub(crate) fn load_link_to_destination(self) -> Self {
        const LINK_NAME: u32 = 2;
        const WITH_MARK: u32 = 4;
        self.load_route(LINK_NAME, TO_DESTINATION | WITH_MARK, 4)
    }

    /// `ct state established,related`
    pub(crate) fn if_known_flow(self) -> Self {
        self.conntrack_has(CT_STATE, 0x2 | 0x4)
    }

    /// `ct state established`
    pub(crate) fn if_answered_flow(self) -> Self {
        self.conntrack_has(CT_STATE, 0x2)
    }

    /// `ct state new`
    pub(crate) fn if_new_flow(self) -> Self {
        self.conntrack_has(CT_STATE, 0x8)
    }

    /// `ct status dnat`: it came by a published port.
    pub(crate) fn if_translated(self) -> Self {
        self.conntrack_has(CT_STATUS, TRANSLATED_TO)
    }

    /// `ct status & (snat | dnat) == (snat | dnat)`
    pub(crate) fn if_translated_both_ways(self) -> Self {
        const TRANSLATED_FROM: u32 = 0x10;
        let both = (TRANSLATED_FROM | TRANSLATED_TO).to_ne_bytes();
        self.load_conntrack(CT_STATUS).masked(&both).compare(Compare::Equal, &both)
    }

    pub(crate) fn load_in_link(self) -> Self {
        const IN_NAME: u32 = 6;
        self.load_meta(IN_NAME, 4)
    }

    pub(crate) fn load_out_link(self) -> Self {
        const OUT_NAME: u32 = 7;
        self.load_meta(OUT_NAME, 4)
    }

    pub(crate) fn load_protocol(self) -> Self {
        const L4_PROTOCOL: u32 = 16;
        self.load_meta(L4_PROTOCOL, 1)
    }

    /// `numgen random mod 100`
    pub(crate) fn load_percent(self) -> Self {
        const RANDOM: u32 = 1;
        let load = Attributes::default().number(1, self.next).number(2, PERCENTS).number(3, RANDOM);
        self.loaded("numgen", &load, 1)
    }

    /// The destination port; all our transports have it in the same place.
    pub(crate) fn load_port(self) -> Self {
        self.load_payload(TRANSPORT, DESTINATION_PORT, 2, 1)
    }

    pub(crate) fn load_ipv4_source(self) -> Self {
        self.load_network(12, 4, 1)
    }

    pub(crate) fn load_ipv4_destination(self) -> Self {
        self.load_network(16, 4, 1)
    }

    pub(crate) fn load_ipv6_source(self) -> Self {
        self.load_network(8, 16, 4)
    }

    pub(crate) fn load_ipv6_destination(self) -> Self {
        self.load_network(24, 16, 4)
    }

    /// What was loaded is in the set.
    pub(crate) fn if_in(self, set: &str) -> Self {
        self.push("lookup", &Attributes::default().text(1, set).number(2, REGISTER))
    }

    /// What was loaded is not in the set.
    pub(crate) fn if_not_in(self, set: &str) -> Self {
        const INVERTED: u32 = 1;
        let look = Attributes::default().text(1, set).number(2, REGISTER);
        self.push("lookup", &look.number(5, INVERTED))
    }

    /// What was loaded is in the map; its value is loaded instead.
    fn maps_to(self, map: &str) -> Self {
        let look = Attributes::default().text(1, map).number(2, REGISTER).number(3, REGISTER);
        self.push("lookup", &look)
    }

    /// `dnat ip to … map @MAP`
    pub(crate) fn destination_ipv4_from(self, map: &str) -> Self {
        self.maps_to(map).destination(NFPROTO_IPV4, 1)
    }

    /// `dnat ip6 to … map @MAP`
    pub(crate) fn destination_ipv6_from(self, map: &str) -> Self {
        self.maps_to(map).destination(NFPROTO_IPV6, 4)
    }

    /// `th sport set PORT`, of TCP or of UDP: this packet alone, without a flow's state.
    pub(crate) fn set_from_port(self, protocol: u8, port: u16) -> Self {
        self.set_port(SOURCE_PORT, protocol, port)
    }

    /// `th dport set PORT`, of TCP or of UDP: this packet alone, without a flow's state.
    pub(crate) fn set_to_port(self, protocol: u8, port: u16) -> Self {
        self.set_port(DESTINATION_PORT, protocol, port)
    }

    pub(crate) fn masquerade(self) -> Self {
        self.push("masq", &Attributes::default())
    }

    /// `meta mark set MARK`
    pub(crate) fn set_mark(self, mark: u32) -> Self {
        const MARK: u32 = 3;
        let set = Attributes::default().number(2, MARK).number(3, REGISTER);
        self.immediate(REGISTER, &mark.to_ne_bytes()).push("meta", &set)
    }

    pub(crate) fn verdict(self, verdict: Verdict) -> Self {
        const JUMP: i32 = -3;
        let code = |code: i32| Attributes::default().number(1, code.cast_unsigned());
        let verdict = match verdict {
            Verdict::Drop => code(0),
            Verdict::Accept => code(1),
            Verdict::Jump(chain) => code(JUMP).text(2, chain),
        };
        let data = Attributes::default().nest(2, &verdict);
        self.push("immediate", &Attributes::default().number(1, 0).nest(2, &data))
    }

    pub(super) fn body(&self, table: &str, chain: &str) -> Attributes {
        Attributes::default()
            .text(1, table)
            .text(2, chain)
            .nest(4, &self.expressions)
            .bytes(7, &comment(self.comment))
    }

    fn load_family(self) -> Self {
        const FAMILY: u32 = 15;
        self.load_meta(FAMILY, 1)
    }

    fn load_meta(self, key: u32, registers: u32) -> Self {
        let load = Attributes::default().number(1, self.next).number(2, key);
        self.loaded("meta", &load, registers)
    }

    fn load_network(self, offset: u32, len: u32, registers: u32) -> Self {
        const NETWORK: u32 = 1;
        self.load_payload(NETWORK, offset, len, registers)
    }

    fn load_payload(self, base: u32, offset: u32, len: u32, registers: u32) -> Self {
        let load = Attributes::default()
            .number(1, self.next)
            .number(2, base)
            .number(3, offset)
            .number(4, len);
        self.loaded("payload", &load, registers)
    }

    fn loaded(self, name: &str, load: &Attributes, registers: u32) -> Self {
        let next = self.next + registers;
        Rule { next, ..self.append(name, load) }
    }

    fn conntrack_has(self, key: u32, bits: u32) -> Self {
        self.load_conntrack(key)
            .masked(&bits.to_ne_bytes())
            .compare(Compare::Different, &0u32.to_ne_bytes())
    }

    fn load_conntrack(self, key: u32) -> Self {
        self.append("ct", &Attributes::default().number(1, REGISTER).number(2, key))
    }

    /// What the routes say of the packet; `asked` is by what of it.
    fn load_route(self, result: u32, asked: u32, registers: u32) -> Self {
        let look = Attributes::default().number(1, self.next).number(2, result).number(3, asked);
        self.loaded("fib", &look, registers)
    }

    fn set_port(self, offset: u32, protocol: u8, port: u16) -> Self {
        self.set_transport(offset, if protocol == TCP { 16 } else { 6 }, port)
    }

    /// Two bytes at `offset`, whose checksum is at another.
    fn set_transport(self, offset: u32, checksum: u32, port: u16) -> Self {
        const INTERNET_CHECKSUM: u32 = 1;
        let write = Attributes::default()
            .number(5, REGISTER)
            .number(2, TRANSPORT)
            .number(3, offset)
            .number(4, 2)
            .number(6, INTERNET_CHECKSUM)
            .number(7, checksum);
        self.immediate(REGISTER, &port.to_be_bytes()).push("payload", &write)
    }

    /// What was loaded, without the bits that `mask` has not.
    fn masked(self, mask: &[u8]) -> Self {
        let data = |bytes: &[u8]| Attributes::default().bytes(1, bytes);
        let bits = Attributes::default()
            .number(1, REGISTER)
            .number(2, REGISTER)
            .number(3, u32::try_from(mask.len()).unwrap_or(0))
            .nest(4, &data(mask))
            .nest(5, &data(&vec![0; mask.len()]));
        self.append("bitwise", &bits)
    }

    fn compare(self, how: Compare, with: &[u8]) -> Self {
        let data = Attributes::default().bytes(1, with);
        self.push(
            "cmp",
            &Attributes::default().number(1, REGISTER).number(2, how as u32).nest(3, &data),
        )
    }

    fn immediate(self, register: u32, value: &[u8]) -> Self {
        let data = Attributes::default().bytes(1, value);
        self.push("immediate", &Attributes::default().number(1, register).nest(2, &data))
    }

    /// Address in the first registers, the port in the one after them.
    fn destination(self, family: u8, address_registers: u32) -> Self {
        let nat = Attributes::default()
            .number(1, NAT_DESTINATION)
            .number(2, u32::from(family))
            .number(3, REGISTER)
            .number(5, REGISTER + address_registers);
        self.push("nat", &nat)
    }

    /// An expression that uses what was loaded: the next load starts anew.
    fn push(self, name: &str, data: &Attributes) -> Self {
        Rule { next: REGISTER, ..self.append(name, data) }
    }

    fn append(self, name: &str, data: &Attributes) -> Self {
        let expression = Attributes::default().text(1, name).nest(2, data);
        Rule { expressions: self.expressions.nest(1, &expression), ..self }
    }
}

#[derive(Clone, Copy)]
enum Compare {
    Equal = 0,
    Different = 1,
}

/// A link name as the kernel compares it: 16 bytes, filled up with zeros.
pub(crate) fn link_name(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    let len = name.len().min(15);
    bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
    bytes
}
