//! Asking another server: the bytes that go there, and what may come back.
//!
//! The caller sends from a fresh port to the server's address and takes answers from there only;
//! [`is_answer_to`] then says whether a message is what was asked for.

use super::query::{HEADER, Query, Transport, half, name};

/// The query as it goes to another server, with a number that only we know.
///
/// `None` when the message is no query.
#[must_use]
pub fn outgoing(message: &[u8], id: u16) -> Option<Vec<u8>> {
    Query::read(message).ok()?;
    let mut sent = message.to_vec();
    sent.splice(..2, id.to_be_bytes());
    Some(sent)
}

/// Whether `reply` answers what was sent: the same number and the same question.
#[must_use]
pub fn is_answer_to(sent: &[u8], reply: &[u8]) -> bool {
    let response = half(reply, 2).is_some_and(|flags| flags & 0x8000 != 0);
    response && half(sent, 0) == half(reply, 0) && {
        let asked = question(sent);
        asked.is_some() && asked == question(reply)
    }
}

/// Whether the reply is only the beginning, and has to be asked for again by TCP.
#[must_use]
pub fn is_truncated(reply: &[u8]) -> bool {
    half(reply, 2).is_some_and(|flags| flags & 0x0200 != 0)
}

/// The reply as it goes back to the asker: with its own number, and cut to the length it takes.
///
/// `None` when the message is no query.
#[must_use]
pub fn returning(message: &[u8], reply: &[u8], transport: Transport) -> Option<Vec<u8>> {
    let query = Query::read(message).ok()?;
    if reply.len() > query.limit(transport) {
        return Some(query.truncated());
    }
    let mut back = reply.to_vec();
    back.splice(..2, message.get(..2)?.iter().copied());
    Some(back)
}

/// Name (in lower case), type and class of the only question.
fn question(message: &[u8]) -> Option<(Vec<u8>, u16, u16)> {
    if half(message, 4)? != 1 {
        return None;
    }
    let (_, end) = name(message, HEADER)?;
    let bytes = message.get(HEADER..end)?.to_ascii_lowercase();
    Some((bytes, half(message, end)?, half(message, end + 2)?))
}
