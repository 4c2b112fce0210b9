//! nf_tables by netlink: transactions of tables, chains, sets, rules and elements.
//!
//! Only what our own tables need, in the words of `nft(8)`. The numbers are those of
//! `linux/netfilter/nf_tables.h`; all of a [`Batch`] happens or nothing of it.

mod attributes;
mod dump;
mod rule;
mod set;

use std::os::fd::BorrowedFd;

use crate::error::{NetError, Result, refused};
use crate::netlink::{self, Channel};
use crate::netns;

use attributes::comment;

pub(crate) use attributes::{Attributes, COMMENT_MAX, comment_text};
pub(crate) use dump::Tables;
pub(crate) use rule::{PERCENTS, Rule, Verdict, link_name};
pub(crate) use set::{Element, SetSpec, Type};

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const SUBSYSTEM: u16 = 10;

const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const NEW_SET: u16 = 9;
const NEW_ELEMENT: u16 = 12;
const DELETE_ELEMENT: u16 = 14;

/// Packets a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4 and IPv6.
    Inet = 1,
    /// IPv4.
    Ip = 2,
}

/// A table of ours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table {
    pub(crate) family: Family,
    pub(crate) name: &'static str,
}

/// Where a base chain stands in the way of a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hook {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

/// A base chain; the packet goes on at its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BaseChain {
    pub(crate) name: &'static str,
    /// `filter` or `nat`.
    pub(crate) kind: &'static str,
    pub(crate) hook: Hook,
    pub(crate) priority: i32,
}

/// A transaction on one table.
pub(crate) struct Batch {
    table: Table,
    bytes: Vec<u8>,
    /// What each message asks for; its place is its number on the wire.
    steps: Vec<(&'static str, String)>,
}

impl Batch {
    pub(crate) fn new(table: Table) -> Self {
        let mut batch = Batch { table, bytes: Vec::new(), steps: Vec::new() };
        batch.bracket(BATCH_BEGIN, &Attributes::default());
        batch
    }

    /// One that fails with `ERESTART` when any rule of the namespace, whoever's, has changed since
    /// this generation.
    pub(crate) fn after(table: Table, generation: u32) -> Self {
        const GENERATION: u16 = 1;
        let mut batch = Batch { table, bytes: Vec::new(), steps: Vec::new() };
        batch.bracket(BATCH_BEGIN, &Attributes::default().number(GENERATION, generation));
        batch
    }

    /// The messages so far, to know them again by a digest.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds the table. With `exclusive`, one that is there already fails the transaction.
    pub(crate) fn add_table(&mut self, note: &str, exclusive: bool) {
        let body = Attributes::default().text(1, self.table.name).bytes(6, &comment(note));
        let flags = if exclusive { NLM_F_CREATE | NLM_F_EXCL } else { NLM_F_CREATE };
        self.push("add table", self.table.name, NEW_TABLE, flags, &body);
    }

    /// Deletes the table with all in it.
    pub(crate) fn delete_table(&mut self) {
        let body = Attributes::default().text(1, self.table.name);
        self.push("delete table", self.table.name, DELETE_TABLE, 0, &body);
    }

    pub(crate) fn add_base_chain(&mut self, chain: BaseChain) {
        const ACCEPT: u32 = 1;
        let hook = Attributes::default()
            .number(1, chain.hook as u32)
            .number(2, chain.priority.cast_unsigned());
        let body = Attributes::default()
            .text(1, self.table.name)
            .text(3, chain.name)
            .nest(4, &hook)
            .number(5, ACCEPT)
            .text(7, chain.kind);
        self.push("add chain", chain.name, NEW_CHAIN, NLM_F_CREATE, &body);
    }

    /// Adds a chain that only a jump leads to.
    pub(crate) fn add_chain(&mut self, name: &'static str) {
        let body = Attributes::default().text(1, self.table.name).text(3, name);
        self.push("add chain", name, NEW_CHAIN, NLM_F_CREATE, &body);
    }

    pub(crate) fn add_set(&mut self, set: &SetSpec) {
        // An id is only there for references within the transaction; names do for us.
        let id = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        let body = set.body(self.table.name, id);
        self.push("add set", set.name, NEW_SET, NLM_F_CREATE, &body);
    }

    pub(crate) fn add_rule(&mut self, chain: &'static str, rule: Rule) {
        let body = rule.body(self.table.name, chain);
        self.push("add rule to", chain, NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, &body);
    }

    /// Adds an element that must not be there yet. Gives the number of the step.
    pub(crate) fn add_element(&mut self, set: &'static str, element: &Element) -> usize {
        let body = element.body(self.table.name, set);
        self.push("add element to", set, NEW_ELEMENT, NLM_F_CREATE | NLM_F_EXCL, &body)
    }

    /// Deletes an element, or sees to it that there is none of its key. Of a map, the transaction
    /// fails with `EEXIST` when the one that is there has another value. Gives the number of that step.
    pub(crate) fn delete_just(&mut self, set: &'static str, element: &Element) -> usize {
        let body = element.body(self.table.name, set);
        // What is there already with the same value stays as it is.
        let step = self.push("delete element from", set, NEW_ELEMENT, NLM_F_CREATE, &body);
        self.push("delete element from", set, DELETE_ELEMENT, 0, &body);
        step
    }

    /// Deletes an element that must be there.
    pub(crate) fn delete_element(&mut self, set: &'static str, element: &Element) {
        let body = element.body(self.table.name, set);
        self.push("delete element from", set, DELETE_ELEMENT, 0, &body);
    }

    /// Does all of it, in the calling thread's network namespace.
    pub(crate) fn commit(self) -> std::result::Result<(), Failure> {
        self.run(open()?)
    }

    /// Does all of it in `netns`.
    pub(crate) fn commit_inside(self, netns: BorrowedFd<'_>) -> std::result::Result<(), Failure> {
        let channel = netns::inside(netns, open)?;
        self.run(channel)
    }

    fn run(mut self, channel: Channel) -> std::result::Result<(), Failure> {
        self.bracket(BATCH_END, &Attributes::default());
        let answers = channel
            .exchange(&self.bytes)
            .map_err(refused("commit", format!("table {}", self.table.name)))?;
        let Some(refusal) = netlink::refusal(&answers) else {
            return Ok(());
        };
        let number = (refusal.sequence as usize).wrapping_sub(1);
        let commit = || ("commit", format!("table {}", self.table.name));
        let (step, object) = self.steps.get(number).cloned().unwrap_or_else(commit);
        let error =
            NetError::Refused { step, object, source: refusal.errno, detail: refusal.detail };
        Err(Failure { step: Some(number), error })
    }

    fn push(
        &mut self,
        step: &'static str,
        object: &str,
        kind: u16,
        flags: u16,
        body: &Attributes,
    ) -> usize {
        let number = self.steps.len();
        let object = match object {
            table if table == self.table.name => table.to_owned(),
            part => format!("{} {part}", self.table.name),
        };
        self.steps.push((step, object));
        let sequence = u32::try_from(number + 1).unwrap_or(u32::MAX);
        let family = self.table.family as u8;
        let kind = (SUBSYSTEM << 8) | kind;
        message(&mut self.bytes, kind, flags, sequence, (family, 0), body);
        number
    }

    fn bracket(&mut self, kind: u16, body: &Attributes) {
        message(&mut self.bytes, kind, 0, 0, (0, SUBSYSTEM), body);
    }
}

/// A transaction that did not happen, and the step that was refused.
pub(crate) struct Failure {
    pub(crate) step: Option<usize>,
    pub(crate) error: NetError,
}

impl From<NetError> for Failure {
    fn from(error: NetError) -> Self {
        Failure { step: None, error }
    }
}

impl From<Failure> for NetError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

pub(crate) fn open() -> Result<Channel> {
    Channel::open(netlink_sys::protocols::NETLINK_NETFILTER)
        .map_err(refused("open socket", "NETLINK_NETFILTER"))
}

/// The request for a list of everything of a kind; family 0 is all of them.
pub(crate) fn dump_request(kind: u16, family: u8, number: u32, body: &Attributes) -> Vec<u8> {
    const DUMP: u16 = 0x300;
    let mut bytes = Vec::new();
    message(&mut bytes, (SUBSYSTEM << 8) | kind, DUMP, number, (family, 0), body);
    bytes
}

/// Appends one message: netlink's header, netfilter's, and the attributes.
pub(crate) fn message(
    bytes: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    sequence: u32,
    (family, resource): (u8, u16),
    body: &Attributes,
) {
    let len = u32::try_from(20 + body.as_bytes().len()).unwrap_or(u32::MAX);
    bytes.extend(len.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend([family, 0]);
    bytes.extend(resource.to_be_bytes());
    bytes.extend(body.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Table = Table { family: Family::Inet, name: "t" };

    #[test]
    fn a_batch_stands_between_its_brackets_with_numbered_steps() {
        let mut batch = Batch::new(TABLE);
        batch.delete_table();
        batch.bracket(BATCH_END, &Attributes::default());

        let begin = [20, 0, 0, 0, 0x10, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10];
        let delete = [28, 0, 0, 0, 2, 10, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
        let name = [6, 0, 1, 0, b't', 0, 0, 0];
        let end = [20, 0, 0, 0, 0x11, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10];
        let wanted: Vec<u8> = [&begin[..], &delete, &name, &end].concat();
        assert_eq!(batch.bytes(), wanted, "on a little-endian machine");
    }
}
