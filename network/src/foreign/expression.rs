//! What a rule is made of, decoded from netlink (`linux/netfilter/nf_tables.h`).

use crate::netlink::attributes;

/// What a rule says of a packet it holds for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Accept,
    Drop,
    /// A program decides.
    Queue,
    Jump(String),
    Goto(String),
    Return,
    Continue,
    /// The rule does not hold.
    Break,
}

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    Different,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a bit operation does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bits {
    /// And, then exclusive or.
    Mask { mask: Vec<u8>, xor: Vec<u8> },
    /// Anything else.
    Other,
}

/// What of a packet is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Meta(u32),
    Payload {
        base: u32,
        offset: u32,
        len: u32,
    },
    Ct {
        key: u32,
        direction: Option<u8>,
    },
    Fib {
        flags: u32,
        result: u32,
    },
    /// Something that is not known here.
    Other,
}

/// Looking for a value in a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lookup {
    pub(super) set: String,
    pub(super) from: usize,
    /// Where the value of a map goes.
    pub(super) to: Option<usize>,
    /// The values are verdicts.
    pub(super) verdicts: bool,
    pub(super) inside: bool,
}

/// One expression of a rule. A register is the place of its first byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    Load {
        source: Source,
        to: usize,
    },
    Immediate {
        to: usize,
        value: Vec<u8>,
    },
    Verdict(Verdict),
    Compare {
        from: usize,
        how: Compare,
        with: Vec<u8>,
    },
    Range {
        from: usize,
        inside: bool,
        first: Vec<u8>,
        last: Vec<u8>,
    },
    Bitwise {
        from: usize,
        to: usize,
        len: usize,
        bits: Bits,
    },
    ByteOrder {
        from: usize,
        to: usize,
        len: usize,
        size: usize,
    },
    Lookup(Lookup),
    SetMark {
        from: usize,
    },
    /// Does something and lets the packet go on: its name.
    Effect(String),
    /// Answers that the packet is refused, with these words.
    Reject(&'static str),
    /// Gives the packet another destination.
    Elsewhere(String),
    /// Gives it another source, which is a verdict to let it pass.
    Masquerade(String),
    /// Holds up to some rate or count.
    Limited(String),
    /// A match of `iptables`.
    Match {
        name: String,
        revision: u8,
        info: Vec<u8>,
    },
    /// A target of `iptables`.
    Target {
        name: String,
        revision: u8,
        info: Vec<u8>,
    },
    /// Something that is not known here.
    Unknown(String),
}

/// Decodes the list of expressions of a rule.
pub(super) fn decode(list: &[u8]) -> Vec<Expression> {
    attributes(list).map(|(_, one)| expression(one)).collect()
}

fn expression(bytes: &[u8]) -> Expression {
    let name = text(bytes, 1).unwrap_or_default();
    let data = field(bytes, 2).unwrap_or_default();
    known(&name, data).unwrap_or(Expression::Unknown(name))
}

/// `None` when something in it is not as it should be.
fn known(name: &str, data: &[u8]) -> Option<Expression> {
    Some(match name {
        "meta" if field(data, 3).is_some() => set_meta(data)?,
        "meta" => load(data, 1, Source::Meta(number(data, 2)?))?,
        "payload" if field(data, 5).is_some() => Expression::Effect("payload set".into()),
        "payload" => {
            let (base, offset, len) = (number(data, 2)?, number(data, 3)?, number(data, 4)?);
            load(data, 1, Source::Payload { base, offset, len })?
        }
        "ct" if field(data, 4).is_some() => Expression::Effect("ct set".into()),
        "ct" => {
            let direction = field(data, 3).and_then(|bytes| bytes.first().copied());
            load(data, 1, Source::Ct { key: number(data, 2)?, direction })?
        }
        "fib" => load(data, 1, Source::Fib { flags: number(data, 3)?, result: number(data, 2)? })?,
        "immediate" => immediate(data)?,
        "cmp" => compare(data)?,
        "range" => Expression::Range {
            from: register(data, 1)?,
            inside: number(data, 2)? == 0,
            first: field(field(data, 3)?, 1)?.to_vec(),
            last: field(field(data, 4)?, 1)?.to_vec(),
        },
        "bitwise" => bitwise(data)?,
        "byteorder" => Expression::ByteOrder {
            from: register(data, 1)?,
            to: register(data, 2)?,
            len: number(data, 4)? as usize,
            size: number(data, 5)? as usize,
        },
        "lookup" => lookup(data)?,
        "reject" => {
            Expression::Reject(if number(data, 1) == Some(1) { " with tcp reset" } else { "" })
        }
        "limit" | "quota" | "connlimit" => Expression::Limited(name.to_owned()),
        "objref" => object(data),
        "nat" if number(data, 1)? == 0 => Expression::Masquerade("snat".into()),
        "nat" => Expression::Elsewhere("dnat".into()),
        "masq" => Expression::Masquerade("masquerade".into()),
        "redir" => Expression::Elsewhere("redirect".into()),
        "tproxy" | "fwd" => Expression::Elsewhere(name.to_owned()),
        "queue" => Expression::Verdict(Verdict::Queue),
        "counter" | "log" | "dup" | "last" | "flow_offload" => Expression::Effect(name.to_owned()),
        "dynset" if field(data, 7).is_none() && field(data, 10).is_none() => {
            Expression::Effect(format!("update @{}", text(data, 1)?))
        }
        "match" => Expression::Match {
            name: text(data, 1)?,
            revision: u8::try_from(number(data, 2)?).ok()?,
            info: field(data, 3)?.to_vec(),
        },
        "target" => Expression::Target {
            name: text(data, 1)?,
            revision: u8::try_from(number(data, 2)?).ok()?,
            info: field(data, 3)?.to_vec(),
        },
        "rt" | "socket" | "osf" | "exthdr" | "numgen" | "hash" | "xfrm" | "tunnel" => {
            load(data, 1, Source::Other)?
        }
        _ => return None,
    })
}

fn load(data: &[u8], at: u16, source: Source) -> Option<Expression> {
    Some(Expression::Load { source, to: register(data, at)? })
}

fn set_meta(data: &[u8]) -> Option<Expression> {
    const MARK: u32 = 3;
    Some(match number(data, 2)? {
        MARK => Expression::SetMark { from: register(data, 3)? },
        _ => Expression::Effect("meta set".into()),
    })
}

fn immediate(data: &[u8]) -> Option<Expression> {
    let value = field(data, 2)?;
    if let Some(bytes) = field(value, 2) {
        return Some(Expression::Verdict(verdict(bytes)?));
    }
    Some(Expression::Immediate { to: register(data, 1)?, value: field(value, 1)?.to_vec() })
}

fn compare(data: &[u8]) -> Option<Expression> {
    let how = match number(data, 2)? {
        0 => Compare::Equal,
        1 => Compare::Different,
        2 => Compare::Less,
        3 => Compare::LessOrEqual,
        4 => Compare::Greater,
        5 => Compare::GreaterOrEqual,
        _ => return None,
    };
    let with = field(field(data, 3)?, 1)?.to_vec();
    Some(Expression::Compare { from: register(data, 1)?, how, with })
}

fn bitwise(data: &[u8]) -> Option<Expression> {
    const BOOLEAN: u32 = 0;
    let bits = match (number(data, 6).unwrap_or(BOOLEAN), field(data, 4), field(data, 5)) {
        (BOOLEAN, Some(mask), Some(xor)) => {
            Bits::Mask { mask: field(mask, 1)?.to_vec(), xor: field(xor, 1)?.to_vec() }
        }
        _ => Bits::Other,
    };
    let len = number(data, 3)? as usize;
    Some(Expression::Bitwise { from: register(data, 1)?, to: register(data, 2)?, len, bits })
}

fn lookup(data: &[u8]) -> Option<Expression> {
    const INVERT: u32 = 1;
    let target = number(data, 3);
    Some(Expression::Lookup(Lookup {
        set: text(data, 1)?,
        from: register(data, 2)?,
        to: target.filter(|number| *number != 0).and_then(place),
        verdicts: target == Some(0),
        inside: number(data, 5).unwrap_or(0) & INVERT == 0,
    }))
}

/// A named object: a quota or a limit may stop the rule.
fn object(data: &[u8]) -> Expression {
    let name = text(data, 2).unwrap_or_default();
    match number(data, 1) {
        Some(1 | 3 | 7) => Expression::Effect(format!("object {name}")),
        _ => Expression::Limited(format!("object {name}")),
    }
}

/// Decodes a verdict.
pub(super) fn verdict(bytes: &[u8]) -> Option<Verdict> {
    let code = number(bytes, 1)?.cast_signed();
    Some(match code {
        0 => Verdict::Drop,
        1 => Verdict::Accept,
        -1 => Verdict::Continue,
        -2 => Verdict::Break,
        -3 => Verdict::Jump(text(bytes, 2)?),
        -4 => Verdict::Goto(text(bytes, 2)?),
        -5 => Verdict::Return,
        code if code & 0xff == 3 => Verdict::Queue,
        _ => return None,
    })
}

pub(super) fn field(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

pub(super) fn number(bytes: &[u8], wanted: u16) -> Option<u32> {
    Some(u32::from_be_bytes(field(bytes, wanted)?.get(..4)?.try_into().ok()?))
}

pub(super) fn text(bytes: &[u8], wanted: u16) -> Option<String> {
    let text = field(bytes, wanted)?;
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    Some(String::from_utf8_lossy(text).into_owned())
}

fn register(data: &[u8], at: u16) -> Option<usize> {
    place(number(data, at)?)
}

/// Where a register begins: four of 16 bytes, or the same room as sixteen of 4.
fn place(register: u32) -> Option<usize> {
    match register {
        1..=4 => Some((register as usize - 1) * 16),
        8..=23 => Some((register as usize - 8) * 4),
        _ => None,
    }
}
