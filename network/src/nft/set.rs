//! Sets and maps, and what is in them.

use std::time::Duration;

use super::attributes::{Attributes, comment};

const FLAG_INTERVAL: u32 = 0x4;
const FLAG_MAP: u32 = 0x8;
const FLAG_TIMEOUT: u32 = 0x10;
const FLAG_CONCAT: u32 = 0x80;

/// For `nft`: the byte order (type 0) of the keys is the host's (1).
const SHOWN_AS_TEXT: [u8; 6] = {
    let [a, b, c, d] = 1u32.to_ne_bytes();
    [0, 4, a, b, c, d]
};

/// One part of a key or a value, by its width and by the number `nft` shows it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Ipv4,
    Ipv6,
    Protocol,
    Port,
    LinkName,
    /// A number from 0 to 99 in the host's byte order; `nft` has no better word for it than a mark.
    Percent,
}

impl Type {
    /// Bytes it has.
    pub(crate) fn width(self) -> usize {
        match self {
            Type::Ipv4 | Type::Percent => 4,
            Type::Ipv6 | Type::LinkName => 16,
            Type::Protocol => 1,
            Type::Port => 2,
        }
    }

    /// Bytes it takes in a concatenation: registers are four bytes wide.
    pub(crate) fn room(self) -> usize {
        self.width().next_multiple_of(4)
    }

    fn number(self) -> u32 {
        match self {
            Type::Ipv4 => 7,
            Type::Ipv6 => 8,
            Type::Protocol => 12,
            Type::Port => 13,
            Type::Percent => 19,
            Type::LinkName => 41,
        }
    }
}

/// A set, or a map when `value` has parts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SetSpec {
    pub(crate) name: &'static str,
    pub(crate) key: &'static [Type],
    pub(crate) value: &'static [Type],
    /// The parts of keys may be ranges.
    pub(crate) ranges: bool,
    /// Elements may have an end.
    pub(crate) ending: bool,
}

impl SetSpec {
    pub(super) fn body(&self, table: &str, id: u32) -> Attributes {
        let mut flags = 0;
        if self.ranges {
            flags |= FLAG_INTERVAL | FLAG_CONCAT;
        }
        if !self.value.is_empty() {
            flags |= FLAG_MAP;
        }
        if self.ending {
            flags |= FLAG_TIMEOUT;
        }
        let mut body = Attributes::default()
            .text(1, table)
            .text(2, self.name)
            .number(3, flags)
            .number(4, kind(self.key))
            .number(5, len(self.key));
        if !self.value.is_empty() {
            body = body.number(6, kind(self.value)).number(7, len(self.value));
        }
        if self.ranges {
            let fields = self.key.iter().fold(Attributes::default(), |fields, part| {
                let width = u32::try_from(part.width()).unwrap_or(0);
                fields.nest(1, &Attributes::default().number(1, width))
            });
            body = body.nest(9, &Attributes::default().nest(2, &fields));
        }
        if self.key == [Type::LinkName] {
            body = body.bytes(13, &SHOWN_AS_TEXT);
        }
        body.number(10, id)
    }
}

/// The number of a type; of several, six bits for each.
fn kind(parts: &[Type]) -> u32 {
    parts.iter().fold(0, |number, part| (number << 6) | part.number())
}

fn len(parts: &[Type]) -> u32 {
    let bytes = match parts {
        [one] => one.width(),
        several => several.iter().map(|part| part.room()).sum(),
    };
    u32::try_from(bytes).unwrap_or(0)
}

/// Never none, which would be for ever.
fn milliseconds(left: Duration) -> u64 {
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// An element of a set or a map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) key: Vec<u8>,
    /// Last key of the range, in a set with ranges.
    pub(crate) last: Option<Vec<u8>>,
    /// In a map.
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) comment: Option<String>,
    /// When the kernel takes it away, in a set whose elements have an end.
    pub(crate) left: Option<Duration>,
}

impl Element {
    pub(super) fn body(&self, table: &str, set: &str) -> Attributes {
        let data = |bytes: &[u8]| Attributes::default().bytes(1, bytes);
        let mut element = Attributes::default().nest(1, &data(&self.key));
        if let Some(last) = &self.last {
            element = element.nest(10, &data(last));
        }
        if let Some(value) = &self.value {
            element = element.nest(2, &data(value));
        }
        if let Some(left) = self.left {
            element = element.bytes(4, &milliseconds(left).to_be_bytes());
        }
        if let Some(text) = &self.comment {
            element = element.bytes(6, &comment(text));
        }
        Attributes::default()
            .text(1, table)
            .text(2, set)
            .nest(3, &Attributes::default().nest(1, &element))
    }
}
