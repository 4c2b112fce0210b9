//! Reading a query, and writing what is answered to it. Bounded: one question, no pointers.

/// Bytes of a message's header.
pub(super) const HEADER: usize = 12;
/// Bytes an answer by UDP may have without EDNS.
const PLAIN_MAX: usize = 512;
/// Bytes an answer by UDP may have at most: ours, which goes over the loopback, where nothing cuts
/// it into pieces, and another server's, which is told so.
pub const UDP_MAX: usize = 4096;
/// Bytes of a record before its data, with a pointer for its name.
const RECORD: usize = 12;
const OPT: u16 = 41;
const NAME_MAX: usize = 255;
/// More records than this in a query are not looked at.
const ADDITIONAL_MAX: u16 = 8;

/// Types of records that we know.
pub(super) mod kind {
    pub(crate) const A: u16 = 1;
    pub(crate) const NS: u16 = 2;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const PTR: u16 = 12;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const DS: u16 = 43;
    pub(crate) const DNSKEY: u16 = 48;
    pub(crate) const ANY: u16 = 255;
}

/// What a reply says besides its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NoSuchName = 3,
    NotImplemented = 4,
    Refused = 5,
    BadVersion = 16,
}

/// How a query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram: what is too long is marked so, and asked for again by TCP.
    Udp,
    /// On a connection.
    Tcp,
}

/// A question that can be answered.
#[derive(Debug)]
pub(super) struct Query<'a> {
    message: &'a [u8],
    /// The question as it came, to be said again in the reply.
    question: &'a [u8],
    /// In lower case, without the last dot; `None` when it is no name of a host.
    pub(super) name: Option<String>,
    pub(super) kind: u16,
    edns: Option<Edns>,
}

/// What an asker that speaks EDNS says (RFC 6891).
#[derive(Debug, Clone, Copy)]
pub(super) struct Edns {
    /// Bytes of the answers that it takes.
    size: u16,
    /// Where in the message that stands.
    at: usize,
}

/// A message that is no such question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// Not even a query: nobody waits for an answer.
    Nothing,
    /// A query that gets this reply.
    Reply(Vec<u8>),
}

/// A record of a reply; its name is the question's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: u16,
    pub(super) data: Vec<u8>,
}

impl<'a> Query<'a> {
    /// Reads a query.
    pub(super) fn read(message: &'a [u8]) -> Result<Self, Unfit> {
        let flags = half(message, 2).ok_or(Unfit::Nothing)?;
        if message.len() < HEADER || flags & 0x8000 != 0 {
            return Err(Unfit::Nothing);
        }
        let bare = |code| Unfit::Reply(header(message, code, 0, [0; 4]));
        if flags & 0x7800 != 0 {
            return Err(bare(Code::NotImplemented));
        }
        let counts = [4, 6, 8].map(|at| half(message, at).unwrap_or(0));
        let wrong = || bare(Code::FormatError);
        if counts != [1, 0, 0] {
            return Err(wrong());
        }
        let (name, end) = name(message, HEADER).ok_or_else(wrong)?;
        let kind = half(message, end).ok_or_else(wrong)?;
        let class = half(message, end + 2).ok_or_else(wrong)?;
        let question = message.get(HEADER..end + 4).ok_or_else(wrong)?;
        let (edns, version) = edns(message, end + 4).ok_or_else(wrong)?;
        let query = Query { message, question, name, kind, edns };
        match class {
            _ if version != 0 => Err(Unfit::Reply(query.reply(Code::BadVersion, &[], 0))),
            1 | 255 => Ok(query),
            _ => Err(Unfit::Reply(query.reply(Code::Refused, &[], 0))),
        }
    }

    /// Bytes a reply may have.
    pub(super) fn limit(&self, transport: Transport) -> usize {
        match (transport, self.edns) {
            (Transport::Tcp, _) => usize::from(u16::MAX),
            (Transport::Udp, None) => PLAIN_MAX,
            (Transport::Udp, Some(edns)) => usize::from(edns.size).clamp(PLAIN_MAX, UDP_MAX),
        }
    }

    /// Says in `sent`, a copy of the message, that no longer answers are taken than we do.
    pub(super) fn limit_in(&self, sent: &mut [u8]) {
        let Some(Edns { size, at }) = self.edns else { return };
        if let Some(bytes) = sent.get_mut(at..at + 2) {
            bytes.copy_from_slice(&size.min(UDP_MAX as u16).to_be_bytes());
        }
    }

    /// A reply with these records. Numbers are counted, not checked: callers stay in the limit.
    pub(super) fn reply(&self, code: Code, records: &[Record], ttl: u32) -> Vec<u8> {
        self.write(code, records, ttl, false)
    }

    /// A reply with as many of the records as fit; when that is not all, it says so, and who can
    /// asks again by TCP. Resolvers that cannot (musl before 1.2.4) take what there is.
    pub(super) fn reply_within(
        &self,
        limit: usize,
        code: Code,
        records: &[Record],
        ttl: u32,
    ) -> Vec<u8> {
        let mut length = self.write(code, &[], ttl, false).len();
        let fits = |record: &&Record| {
            length += RECORD + record.data.len();
            length <= limit
        };
        let fitting = records.iter().take_while(fits).count();
        self.write(code, &records[..fitting], ttl, fitting < records.len())
    }

    /// A reply that says: too long for a datagram, ask again by TCP.
    pub(super) fn truncated(&self) -> Vec<u8> {
        self.write(Code::NoError, &[], 0, true)
    }

    fn write(&self, code: Code, records: &[Record], ttl: u32, truncated: bool) -> Vec<u8> {
        let count = u16::try_from(records.len()).unwrap_or(u16::MAX);
        let counts = [1, count, 0, u16::from(self.edns.is_some())];
        let more = if truncated { 0x0200 } else { 0 };
        let mut reply = header(self.message, code, more, counts);
        reply.extend(self.question);
        for record in records {
            // The name: a pointer to the question's.
            reply.extend([0xc0, 12]);
            reply.extend(record.kind.to_be_bytes());
            reply.extend(1u16.to_be_bytes());
            reply.extend(ttl.to_be_bytes());
            reply.extend(u16::try_from(record.data.len()).unwrap_or(0).to_be_bytes());
            reply.extend(&record.data);
        }
        if self.edns.is_some() {
            let high_bits = (code as u16 >> 4) as u8;
            reply.push(0);
            reply.extend(OPT.to_be_bytes());
            reply.extend((UDP_MAX as u16).to_be_bytes());
            reply.extend([high_bits, 0, 0, 0, 0, 0]);
        }
        reply
    }
}

/// The header of a reply to `query`.
fn header(query: &[u8], code: Code, flags: u16, counts: [u16; 4]) -> Vec<u8> {
    const RESPONSE: u16 = 0x8000;
    const AUTHORITATIVE: u16 = 0x0400;
    const RECURSION_AVAILABLE: u16 = 0x0080;
    const ASKED_FOR: u16 = 0x7900;
    let asked = half(query, 2).unwrap_or(0) & ASKED_FOR;
    let flags = RESPONSE | AUTHORITATIVE | RECURSION_AVAILABLE | asked | flags;
    let mut reply = query.get(..2).unwrap_or(&[0, 0]).to_vec();
    reply.extend((flags | (code as u16 & 0xf)).to_be_bytes());
    reply.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
    reply
}

pub(super) fn half(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]))
}

/// Reads an uncompressed name at `at`; gives it as text, if it is one of a host, and its end.
///
/// A label with a dot or other strange bytes in it must not be taken for another name.
pub(super) fn name(message: &[u8], at: usize) -> Option<(Option<String>, usize)> {
    let mut text = Some(String::new());
    let mut position = at;
    loop {
        let len = usize::from(*message.get(position)?);
        // The two high bits are a pointer, and nothing stands before a question.
        if len > 63 || position + len - at > NAME_MAX {
            return None;
        }
        position += 1;
        if len == 0 {
            return Some((text, position));
        }
        let label = message.get(position..position + len)?;
        position += len;
        let plain = label.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'.');
        text = text.filter(|_| plain).map(|mut text| {
            if !text.is_empty() {
                text.push('.');
            }
            text.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
            text
        });
    }
}

/// A name as a message has it; `None` when it is not one.
pub(super) fn encode(name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|_| !name.is_empty()) {
        let len = u8::try_from(label.len()).ok().filter(|len| (1..=63).contains(len))?;
        bytes.push(len);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    (bytes.len() <= NAME_MAX).then_some(bytes)
}

/// What the asker says by EDNS, once at most, and the version it speaks.
fn edns(message: &[u8], mut at: usize) -> Option<(Option<Edns>, u8)> {
    let records = half(message, 10)?;
    if records > ADDITIONAL_MAX {
        return None;
    }
    let mut found = (None, 0);
    for _ in 0..records {
        let (_, end) = name(message, at)?;
        let kind = half(message, end)?;
        let size = half(message, end + 2)?;
        let version = *message.get(end + 5)?;
        let len = usize::from(half(message, end + 8)?);
        at = end + 10 + len;
        message.get(..at)?;
        if kind == OPT {
            if found.0.is_some() {
                return None;
            }
            found = (Some(Edns { size, at: end + 2 }), version);
        }
    }
    Some(found)
}
