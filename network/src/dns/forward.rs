//! Asking another server: the bytes that go there, and what may come back.
//!
//! The caller sends from a fresh port to the server's address and takes answers from there only;
//! [`fit`] then says whether a message is what was asked for.

use super::query::{Code, HEADER, Query, Transport, half, name};

/// What only we and the server know of a question, besides the port it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Secret {
    /// The number of the message.
    pub id: u16,
    /// Which letters of the name are capitals, bit by bit; servers say the name as they heard it.
    /// `None` leaves the name as it is, for a server that does not.
    pub capitals: Option<u64>,
}

/// How a message fits a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It answers it.
    Answer,
    /// It would, had it the name as it was asked: the server does not keep capitals.
    OtherCase,
    /// Not at all.
    Foreign,
}

/// The query as it goes to another server. It asks for no longer datagrams than [`UDP_MAX`], whatever
/// its asker takes.
///
/// [`UDP_MAX`]: super::UDP_MAX
///
/// `None` when the message is no query.
#[must_use]
pub fn outgoing(message: &[u8], secret: Secret) -> Option<Vec<u8>> {
    let query = Query::read(message).ok()?;
    let mut sent = message.to_vec();
    query.limit_in(&mut sent);
    sent.splice(..2, secret.id.to_be_bytes());
    if let Some(bits) = secret.capitals {
        let end = name(message, HEADER)?.1;
        // Lengths are below 64, so they are no letters.
        let letters = sent[HEADER..end].iter_mut().filter(|byte| byte.is_ascii_alphabetic());
        for (index, letter) in letters.enumerate() {
            match bits.rotate_right(index as u32) & 1 {
                0 => letter.make_ascii_lowercase(),
                _ => letter.make_ascii_uppercase(),
            }
        }
    }
    Some(sent)
}

/// How `reply` fits what was sent: it needs the same number and the same question.
#[must_use]
pub fn fit(sent: &[u8], reply: &[u8]) -> Fit {
    let response = half(reply, 2).is_some_and(|flags| flags & 0x8000 != 0);
    let (Some(asked), Some(told)) = (question(sent), question(reply)) else { return Fit::Foreign };
    if !response || half(sent, 0) != half(reply, 0) || asked.1 != told.1 {
        return Fit::Foreign;
    }
    match asked.0 == told.0 {
        true => Fit::Answer,
        false if asked.0.eq_ignore_ascii_case(told.0) => Fit::OtherCase,
        false => Fit::Foreign,
    }
}

/// Whether the server did not do what it was asked, so that another one may.
#[must_use]
pub fn is_refusal(reply: &[u8]) -> bool {
    const REFUSALS: [u16; 3] =
        [Code::ServerFailure as u16, Code::NotImplemented as u16, Code::Refused as u16];
    half(reply, 2).is_some_and(|flags| REFUSALS.contains(&(flags & 0xf)))
}

/// Whether the reply is only the beginning, and has to be asked for again by TCP.
#[must_use]
pub fn is_truncated(reply: &[u8]) -> bool {
    half(reply, 2).is_some_and(|flags| flags & 0x0200 != 0)
}

/// The reply as it goes back to the asker: with its own number and the name as it wrote it, and
/// cut to the length it takes.
///
/// `None` when the message is no query.
#[must_use]
pub fn returning(message: &[u8], reply: &[u8], transport: Transport) -> Option<Vec<u8>> {
    let query = Query::read(message).ok()?;
    if reply.len() > query.limit(transport) {
        return Some(query.truncated());
    }
    let mut back = reply.to_vec();
    let asked = question(message)?.0;
    back.get_mut(..2)?.copy_from_slice(message.get(..2)?);
    back.get_mut(HEADER..HEADER + asked.len())?.copy_from_slice(asked);
    Some(back)
}

/// Name, as it is in the message, and type and class of the only question.
fn question(message: &[u8]) -> Option<(&[u8], (u16, u16))> {
    if half(message, 4)? != 1 {
        return None;
    }
    let (_, end) = name(message, HEADER)?;
    Some((message.get(HEADER..end)?, (half(message, end)?, half(message, end + 2)?)))
}
