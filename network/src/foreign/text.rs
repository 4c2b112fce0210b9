//! A rule in words, as `nft list` shows it or close to that.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::expression::{Bits, Compare, Expression, Source, Verdict};
use super::ruleset::{Chain, Member, Rule, Ruleset};

/// Elements of a set without a name that are shown.
const SHOWN: usize = 6;
/// Characters of a rule that are shown.
const WIDTH: usize = 160;

/// How the bytes of a value are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    LinkName,
    Ipv4,
    Ipv6,
    /// A number of big endian.
    Number,
    Protocol,
    Family,
    State,
    Status,
    AddressType,
    /// A number of host order.
    Plain,
}

/// What a register holds, in words.
#[derive(Debug, Clone)]
struct Held {
    words: String,
    kind: Kind,
    mask: Option<Vec<u8>>,
}

/// The rule in one line.
pub(super) fn rule(ruleset: &Ruleset, chain: &Chain, rule: &Rule) -> String {
    let mut writer = Writer { ruleset, chain, held: BTreeMap::new(), parts: Vec::new() };
    for expression in &rule.expressions {
        writer.add(expression);
    }
    let mut text = writer.parts.join(" ");
    if let Some(comment) = &rule.comment {
        let _ = write!(text, " comment \"{comment}\"");
    }
    match text.char_indices().nth(WIDTH) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

struct Writer<'a> {
    ruleset: &'a Ruleset,
    chain: &'a Chain,
    held: BTreeMap<usize, Held>,
    parts: Vec<String>,
}

impl Writer<'_> {
    fn add(&mut self, expression: &Expression) {
        match expression {
            Expression::Load { source, to } => {
                let held = self.of_source(*source);
                self.held.insert(*to, held);
            }
            Expression::Immediate { .. } | Expression::ByteOrder { .. } => {}
            Expression::Bitwise { from, bits, .. } => {
                if let (Some(held), Bits::Mask { mask, .. }) = (self.held.get_mut(from), bits) {
                    held.mask = Some(mask.clone());
                }
            }
            Expression::Compare { from, how, with } => {
                let text = self.compared(*from, *how, with);
                self.parts.push(text);
            }
            Expression::Range { from, inside, first, last } => {
                let held = self.take(*from);
                let range = format!("{}-{}", value(held.kind, first), value(held.kind, last));
                let not = if *inside { "" } else { "!= " };
                self.parts.push(format!("{} {not}{range}", held.words));
            }
            Expression::Lookup(lookup) => {
                let set = self.set(&lookup.set, lookup.from);
                let words = self.all_held();
                let text = match (lookup.verdicts || lookup.to.is_some(), lookup.inside) {
                    (true, _) => format!("{words} map {set}"),
                    (false, true) => format!("{words} {set}"),
                    (false, false) => format!("{words} != {set}"),
                };
                self.parts.push(text);
            }
            Expression::Verdict(verdict) => self.parts.push(verdict_text(verdict)),
            Expression::SetMark { .. } => self.parts.push("meta mark set".into()),
            Expression::Effect(name) | Expression::Limited(name) => self.parts.push(name.clone()),
            Expression::Masquerade(name) | Expression::Elsewhere(name) => {
                self.parts.push(name.clone());
            }
            Expression::Reject(with) => self.parts.push(format!("reject{with}")),
            Expression::Match { name, info, .. } => self.parts.push(match_text(name, info)),
            Expression::Target { name, .. } if name == "REJECT" => self.parts.push("reject".into()),
            Expression::Target { name, .. } => self.parts.push(format!("-j {name}")),
            Expression::Unknown(name) => self.parts.push(format!("({name})")),
        }
    }

    fn of_source(&mut self, source: Source) -> Held {
        let (words, kind) = match source {
            Source::Meta(key) => meta(key),
            Source::Payload { base, offset, len } => self.payload(base, offset, len),
            Source::Ct { key, direction } => ct(key, direction),
            Source::Fib { flags, result } => fib(flags, result),
            Source::Other => ("(other)".to_owned(), Kind::Plain),
        };
        Held { words, kind, mask: None }
    }

    /// Part of a header. The protocol that was asked for just before belongs to the name.
    fn payload(&mut self, base: u32, offset: u32, len: u32) -> (String, Kind) {
        let mut before = |wanted: &[&str]| {
            let last = self.parts.last()?.strip_prefix("meta ")?.split_once(' ')?;
            let word = wanted.contains(&last.0).then(|| last.1.to_owned())?;
            self.parts.pop();
            Some(word)
        };
        let (words, kind) = match (base, offset, len) {
            (1, 12, 1..=4) => ("ip saddr", Kind::Ipv4),
            (1, 16, 1..=4) => ("ip daddr", Kind::Ipv4),
            (1, 9, 1) => return ("meta l4proto".into(), Kind::Protocol),
            (1, 8, 5..=16) => ("ip6 saddr", Kind::Ipv6),
            (1, 24, 5..=16) => ("ip6 daddr", Kind::Ipv6),
            (2, 0 | 2, 2) => {
                let protocol = before(&["l4proto"]).filter(|word| !word.contains(' '));
                let end = if offset == 0 { "sport" } else { "dport" };
                return (format!("{} {end}", protocol.as_deref().unwrap_or("th")), Kind::Number);
            }
            (2, 13, 1) => ("tcp flags", Kind::Plain),
            _ => return (format!("@{base},{},{}", offset * 8, len * 8), Kind::Number),
        };
        let _ = before(&["nfproto", "protocol"]);
        (words.to_owned(), kind)
    }

    fn take(&mut self, from: usize) -> Held {
        let unknown = || Held { words: "(value)".into(), kind: Kind::Plain, mask: None };
        self.held.remove(&from).unwrap_or_else(unknown)
    }

    /// Everything that is held, for a concatenation.
    fn all_held(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        held.into_values().map(|held| held.words).collect::<Vec<_>>().join(" . ")
    }

    fn compared(&mut self, from: usize, how: Compare, with: &[u8]) -> String {
        let held = self.take(from);
        let none = with.iter().all(|byte| *byte == 0);
        let bits = matches!(held.kind, Kind::State | Kind::Status);
        if let (Some(mask), true, true) = (&held.mask, bits, none) {
            let not = if how == Compare::Equal { "! " } else { "" };
            return format!("{} {not}{}", held.words, value(held.kind, mask));
        }
        let how = match how {
            Compare::Equal => "",
            Compare::Different => "!= ",
            Compare::Less => "< ",
            Compare::LessOrEqual => "<= ",
            Compare::Greater => "> ",
            Compare::GreaterOrEqual => ">= ",
        };
        let value = value(held.kind, with);
        match (&held.mask, held.kind) {
            (Some(mask), Kind::Ipv4 | Kind::Ipv6) => {
                let prefix: u32 = mask.iter().map(|byte| byte.leading_ones()).sum();
                format!("{} {how}{value}/{prefix}", held.words)
            }
            (Some(mask), _) => format!("{} & {} {how}{value}", held.words, hex(mask)),
            (None, _) => format!("{} {how}{value}", held.words),
        }
    }

    fn set(&self, name: &str, from: usize) -> String {
        let set = self.ruleset.sets.get(&(self.chain.table.clone(), name.to_owned()));
        let members = set.filter(|set| set.anonymous).and_then(|set| set.elements.as_deref());
        let (Some(members), 1) = (members, self.held.len()) else {
            return if members.is_some() { "{ … }".to_owned() } else { format!("@{name}") };
        };
        let kind = self.held.get(&from).map_or(Kind::Plain, |held| held.kind);
        let mut shown: Vec<String> =
            members.iter().take(SHOWN).map(|member| member_text(kind, member)).collect();
        if members.len() > SHOWN {
            shown.push("…".into());
        }
        format!("{{ {} }}", shown.join(", "))
    }
}

fn member_text(kind: Kind, member: &Member) -> String {
    let key = match (&member.key, &member.last) {
        (None, _) => "*".to_owned(),
        (Some(key), Some(last)) if key != last => {
            format!("{}-{}", value(kind, key), value(kind, last))
        }
        (Some(key), _) => value(kind, key),
    };
    match &member.verdict {
        Some(verdict) => format!("{key} : {}", verdict_text(verdict)),
        None => key,
    }
}

fn meta(key: u32) -> (String, Kind) {
    let (words, kind) = match key {
        1 => ("meta protocol", Kind::Family),
        3 => ("meta mark", Kind::Plain),
        4 => ("iif", Kind::Plain),
        5 => ("oif", Kind::Plain),
        6 => ("iifname", Kind::LinkName),
        7 => ("oifname", Kind::LinkName),
        15 => ("meta nfproto", Kind::Family),
        16 => ("meta l4proto", Kind::Protocol),
        19 => ("meta pkttype", Kind::Plain),
        21 => ("iifgroup", Kind::Plain),
        22 => ("oifgroup", Kind::Plain),
        other => return (format!("meta ({other})"), Kind::Plain),
    };
    (words.to_owned(), kind)
}

fn ct(key: u32, direction: Option<u8>) -> (String, Kind) {
    let direction = match direction {
        Some(0) => "original ",
        Some(_) => "reply ",
        None => "",
    };
    let (word, kind) = match key {
        0 => ("state", Kind::State),
        1 => ("direction", Kind::Plain),
        2 => ("status", Kind::Status),
        3 => ("mark", Kind::Plain),
        8 | 19 => ("ip saddr", Kind::Ipv4),
        9 | 20 => ("ip daddr", Kind::Ipv4),
        21 => ("ip6 saddr", Kind::Ipv6),
        22 => ("ip6 daddr", Kind::Ipv6),
        10 => ("protocol", Kind::Protocol),
        11 => ("proto-src", Kind::Number),
        12 => ("proto-dst", Kind::Number),
        _ => ("(other)", Kind::Plain),
    };
    (format!("ct {direction}{word}"), kind)
}

fn fib(flags: u32, result: u32) -> (String, Kind) {
    let names = [(1, "saddr"), (2, "daddr"), (4, "mark"), (8, "iif"), (16, "oif")];
    let names = names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name);
    let (result, kind) = match result {
        1 => ("oif", Kind::Plain),
        2 => ("oifname", Kind::LinkName),
        _ => ("type", Kind::AddressType),
    };
    (format!("fib {} {result}", names.collect::<Vec<_>>().join(" . ")), kind)
}

fn verdict_text(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accept => "accept".into(),
        Verdict::Drop => "drop".into(),
        Verdict::Queue => "queue".into(),
        Verdict::Jump(chain) => format!("jump {chain}"),
        Verdict::Goto(chain) => format!("goto {chain}"),
        Verdict::Return => "return".into(),
        Verdict::Continue => "continue".into(),
        Verdict::Break => "break".into(),
    }
}

fn match_text(name: &str, info: &[u8]) -> String {
    let half = |at: usize| info.get(at..at + 2).and_then(|two| two.try_into().ok());
    let flags = half(146).map_or(0, u16::from_ne_bytes);
    let inverted = half(148).map_or(0, u16::from_ne_bytes);
    let bits = half(150).map(u16::from_ne_bytes);
    if let ("conntrack", Some(bits), true, 0) = (name, bits, flags & !0x2001 == 0, inverted) {
        return format!("ct state {}", value(Kind::State, &u32::from(bits).to_ne_bytes()));
    }
    format!("-m {name}")
}

fn value(kind: Kind, bytes: &[u8]) -> String {
    match kind {
        Kind::LinkName => {
            let end = bytes.iter().position(|byte| *byte == 0);
            let name = String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]);
            let star = if end.is_none() && bytes.len() < 16 { "*" } else { "" };
            format!("\"{name}{star}\"")
        }
        Kind::Ipv4 | Kind::Ipv6 => address(kind, bytes),
        Kind::Number => number(bytes.iter().copied()).map_or_else(|| hex(bytes), |n| n.to_string()),
        Kind::Protocol => match bytes.first() {
            Some(6) => "tcp".into(),
            Some(17) => "udp".into(),
            Some(132) => "sctp".into(),
            Some(1) => "icmp".into(),
            Some(58) => "ipv6-icmp".into(),
            Some(other) => other.to_string(),
            None => String::new(),
        },
        Kind::Family => match bytes {
            [2, ..] | [8, 0] => "ipv4".into(),
            [10, ..] | [0x86, 0xdd] => "ipv6".into(),
            other => hex(other),
        },
        Kind::State => flags(bytes, &STATES),
        Kind::Status => flags(bytes, &STATUSES),
        Kind::AddressType => match host_number(bytes) {
            Some(1) => "unicast".into(),
            Some(2) => "local".into(),
            Some(3) => "broadcast".into(),
            Some(5) => "multicast".into(),
            _ => hex(bytes),
        },
        Kind::Plain => host_number(bytes).map_or_else(|| hex(bytes), |n| n.to_string()),
    }
}

const STATES: [(u32, &str); 7] = [
    (1, "invalid"),
    (2, "established"),
    (4, "related"),
    (8, "new"),
    (64, "untracked"),
    (128, "dnat"),
    (256, "untracked"),
];
const STATUSES: [(u32, &str); 6] = [
    (1, "expected"),
    (2, "seen-reply"),
    (4, "assured"),
    (8, "confirmed"),
    (16, "snat"),
    (32, "dnat"),
];

fn flags(bytes: &[u8], names: &[(u32, &str)]) -> String {
    let Some(bits) = host_number(bytes) else { return hex(bytes) };
    let names = names.iter().filter(|(bit, _)| bits & u64::from(*bit) != 0).map(|(_, name)| *name);
    names.collect::<Vec<_>>().join(",")
}

/// An address, or the bytes in front of one.
fn address(kind: Kind, bytes: &[u8]) -> String {
    let prefix = |full: usize| match bytes.len() < full {
        true => format!("/{}", bytes.len() * 8),
        false => String::new(),
    };
    let mut room = [0; 16];
    for (slot, byte) in room.iter_mut().zip(bytes) {
        *slot = *byte;
    }
    match kind {
        Kind::Ipv4 => {
            let [a, b, c, d, ..] = room;
            format!("{}{}", Ipv4Addr::new(a, b, c, d), prefix(4))
        }
        _ => format!("{}{}", Ipv6Addr::from(room), prefix(16)),
    }
}

fn number(bytes: impl ExactSizeIterator<Item = u8>) -> Option<u64> {
    (bytes.len() <= 8).then(|| bytes.fold(0, |number, byte| (number << 8) | u64::from(byte)))
}

fn host_number(bytes: &[u8]) -> Option<u64> {
    match cfg!(target_endian = "big") {
        true => number(bytes.iter().copied()),
        false => number(bytes.iter().rev().copied()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
