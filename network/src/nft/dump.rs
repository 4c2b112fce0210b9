//! Reading tables, rules and elements back.

use std::time::Duration;

use super::attributes::comment_text;
use super::{
    Attributes, Element, NEW_ELEMENT, NEW_RULE, NEW_TABLE, NLM_F_REQUEST, SUBSYSTEM, Table,
    message, open,
};
use crate::error::{NetError, Result, refused};
use crate::netlink::{self, Channel, Message, attributes};

const NLM_F_DUMP: u16 = 0x300;
const GET_TABLE: u16 = 1;
const GET_RULE: u16 = 7;
const GET_ELEMENT: u16 = 13;
const NEW_GENERATION: u16 = 15;
const GET_GENERATION: u16 = 16;
/// Netfilter's header before the attributes.
const PREFIX: usize = 4;
/// How often a list is asked for that changes while it is read.
const ATTEMPTS: usize = 16;

/// The packet rules of the calling thread's namespace, to look at one table.
pub(crate) struct Tables {
    channel: Channel,
    table: Table,
}

impl Tables {
    pub(crate) fn open(table: Table) -> Result<Self> {
        Ok(Tables { channel: open()?, table })
    }

    /// The number of the last change of packet rules, whoever made it.
    pub(crate) fn generation(&mut self) -> Result<u32> {
        let answers = self.get(GET_GENERATION, 0, &Attributes::default())?;
        let number = parts(&answers, NEW_GENERATION).find_map(|part| field(part, 1));
        let number = number.and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        let missing = || std::io::Error::from_raw_os_error(libc::ENODATA);
        number.ok_or_else(|| refused("read", "generation")(missing()))
    }

    /// The comment of the table; `None` when there is no such table, empty when it is switched off.
    pub(crate) fn comment(&mut self) -> Result<Option<String>> {
        let body = Attributes::default().text(1, self.table.name);
        match self.get(GET_TABLE, 0, &body) {
            Ok(answers) => {
                const DORMANT: u8 = 1;
                let flags = parts(&answers, NEW_TABLE).find_map(|part| field(part, 2));
                if flags.and_then(<[u8]>::last).is_some_and(|flags| flags & DORMANT != 0) {
                    return Ok(Some(String::new()));
                }
                let user_data = parts(&answers, NEW_TABLE).find_map(|part| field(part, 6));
                Ok(Some(user_data.and_then(comment_text).unwrap_or_default()))
            }
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How many rules the table has.
    pub(crate) fn rules(&mut self) -> Result<usize> {
        let body = Attributes::default().text(1, self.table.name);
        let answers = self.get(GET_RULE, NLM_F_DUMP, &body)?;
        let name = |part| field(part, 1).is_some_and(|name| is_text(name, self.table.name));
        Ok(parts(&answers, NEW_RULE).filter(|part| name(part)).count())
    }

    /// What is in a set or a map: nothing, where it is not there.
    pub(crate) fn elements(&mut self, set: &'static str) -> Result<Vec<Element>> {
        let body = Attributes::default().text(1, self.table.name).text(2, set);
        let answers = match self.get(GET_ELEMENT, NLM_F_DUMP, &body) {
            Err(error) if error.is_missing() => return Ok(Vec::new()),
            answers => answers?,
        };
        let lists = parts(&answers, NEW_ELEMENT).filter_map(|part| field(part, 3));
        Ok(lists.flat_map(attributes).filter_map(|(_, bytes)| element(bytes)).collect())
    }

    fn get(&mut self, kind: u16, flags: u16, body: &Attributes) -> Result<Vec<Message>> {
        let object = || format!("table {}", self.table.name);
        for _ in 0..ATTEMPTS {
            let mut bytes = Vec::new();
            let number = self.channel.number();
            let family = (self.table.family as u8, 0);
            let kind = (SUBSYSTEM << 8) | kind;
            message(&mut bytes, kind, NLM_F_REQUEST | flags, number, family, body);
            let answers = self.channel.exchange(&bytes).map_err(refused("read", object()))?;
            if netlink::interrupted(&answers) {
                continue;
            }
            return match netlink::refusal(&answers) {
                None => Ok(answers),
                Some(refusal) => Err(NetError::Refused {
                    step: "read",
                    object: object(),
                    source: refusal.errno,
                    detail: refusal.detail,
                }),
            };
        }
        let busy = std::io::Error::from_raw_os_error(libc::EBUSY);
        Err(refused("read", object())(busy))
    }
}

/// The attributes of all messages of one kind.
fn parts(answers: &[Message], kind: u16) -> impl Iterator<Item = &[u8]> {
    let kind = (SUBSYSTEM << 8) | kind;
    answers.iter().filter(move |m| m.kind == kind).filter_map(|m| m.payload.get(PREFIX..))
}

fn field(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

fn is_text(bytes: &[u8], text: &str) -> bool {
    bytes.strip_suffix(&[0]).unwrap_or(bytes) == text.as_bytes()
}

fn element(bytes: &[u8]) -> Option<Element> {
    let data = |kind| field(bytes, kind).and_then(|data| field(data, 1)).map(<[u8]>::to_vec);
    Some(Element {
        key: data(1)?,
        last: data(10),
        value: data(2),
        comment: field(bytes, 6).and_then(comment_text),
        left: field(bytes, 5)
            .and_then(|ms| Some(u64::from_be_bytes(ms.try_into().ok()?)))
            .map(Duration::from_millis),
    })
}
