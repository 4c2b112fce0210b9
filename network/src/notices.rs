//! What the kernel tells when somebody takes away what is ours: packet rules, links, addresses,
//! forwarding.
//!
//! Nothing is asked here, and most of what is told is passed over: everything that comes up, and
//! what belongs to others. Who is told has to look for itself what there is.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};

use crate::bridge::MARK;
use crate::error::{Result, refused};
use crate::firewall::TABLE;
use crate::group;
use crate::netlink::{Channel, Message, attributes};

/// `NFNLGRP_NFTABLES` of `linux/netfilter/nfnetlink.h`.
const PACKET_RULES: u32 = 7;
/// `RTNLGRP_LINK`, `…_IPV4_IFADDR`, `…_IPV6_IFADDR`, `…_IPV4_NETCONF` and `…_IPV6_NETCONF` of
/// `linux/rtnetlink.h`.
const LINKS: [u32; 5] = [1, 5, 9, 24, 25];
/// Where `ifi_index` is in `struct ifinfomsg`.
const INDEX: usize = 4;
/// Of `linux/rtnetlink.h` as well.
const RTM_NEWNETCONF: u16 = 80;

/// Two sockets on which the kernel tells of changes in the namespace where they were opened.
#[derive(Debug)]
pub struct Notices {
    rules: Channel,
    links: Channel,
    /// The groups that bridges of ours were told to be in, by number. Which of them is the right one a
    /// message does not say.
    groups: Groups,
}

type Groups = BTreeMap<u32, u32>;

impl Notices {
    /// Begins to listen, in the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel refuses (no permission).
    pub fn open() -> Result<Notices> {
        let listen = |protocol, name: &str, groups: &[u32]| {
            Channel::listen(protocol, groups).map_err(refused("listen on", name))
        };
        Ok(Notices {
            rules: listen(NETLINK_NETFILTER, "NETLINK_NETFILTER", &[PACKET_RULES])?,
            links: listen(NETLINK_ROUTE, "NETLINK_ROUTE", &LINKS)?,
            groups: Groups::new(),
        })
    }

    /// What to wait for: one of them can be read.
    #[must_use]
    pub fn sockets(&self) -> [BorrowedFd<'_>; 2] {
        [self.rules.as_fd(), self.links.as_fd()]
    }

    /// Takes all that was told. Whether something of ours may be gone.
    ///
    /// # Errors
    /// The kernel tells nothing more on one of the sockets.
    pub fn read(&mut self) -> io::Result<bool> {
        let rules = self.rules.told()?;
        let links = self.links.told()?;
        // What did not fit may have been anything.
        let (Some(rules), Some(links)) = (rules, links) else { return Ok(true) };
        // Each of them is heard, as some are remembered.
        let touches =
            links.iter().filter(|message| touches_network(message, &mut self.groups)).count();
        Ok(touches > 0 || rules.iter().any(touches_table))
    }
}

/// Whether a change of packet rules is in our table and more than a new element of a set.
fn touches_table(message: &Message) -> bool {
    const SUBSYSTEM: u16 = 10;
    const NEW_ELEMENT: u16 = 12;
    const HEADER: usize = 4;
    if message.kind >> 8 != SUBSYSTEM || message.kind & 0xff == NEW_ELEMENT {
        return false;
    }
    let Some((header, rest)) = message.payload.split_at_checked(HEADER) else { return false };
    // The first attribute of each kind is the name of the table.
    let table = attributes(rest).find(|(kind, _)| *kind == 1).map(|(_, name)| name);
    header[0] == TABLE.family as u8 && table.is_some_and(|name| is_text(name, TABLE.name))
}

/// Whether a bridge of ours went, was switched off, or is in another group than one was told of before,
/// an address went, or forwarding was switched off for the host.
fn touches_network(message: &Message, groups: &mut Groups) -> bool {
    match message.kind {
        libc::RTM_NEWLINK => {
            is_our_link(message) && !(stays_in_group(message, groups) && is_up(message))
        }
        libc::RTM_DELLINK => {
            word(&message.payload, INDEX).map(|index| groups.remove(&index));
            is_our_link(message)
        }
        libc::RTM_DELADDR => is_global(message),
        RTM_NEWNETCONF => forwards_no_more(message),
        _ => false,
    }
}

/// `struct ifinfomsg`, then its alias among the attributes.
fn is_our_link(message: &Message) -> bool {
    of_link(message, libc::IFLA_IFALIAS).is_some_and(|alias| alias.starts_with(MARK.as_bytes()))
}

/// Remembers the group.
fn stays_in_group(message: &Message, groups: &mut Groups) -> bool {
    let group = of_link(message, libc::IFLA_GROUP).and_then(|value| word(value, 0));
    let (Some(index), Some(group)) = (word(&message.payload, INDEX), group) else { return false };
    groups.insert(index, group) == Some(group) && group::is_ours(group)
}

fn of_link(message: &Message, wanted: u16) -> Option<&[u8]> {
    const HEADER: usize = 16;
    let rest = message.payload.get(HEADER..)?;
    attributes(rest).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// `ifi_flags` of `struct ifinfomsg`.
fn is_up(message: &Message) -> bool {
    word(&message.payload, 8).is_some_and(|flags| flags & libc::IFF_UP as u32 != 0)
}

/// `ifa_scope` of `struct ifaddrmsg`: links have such addresses of their own that come and go.
fn is_global(message: &Message) -> bool {
    message.payload.get(3).is_some_and(|scope| *scope != libc::RT_SCOPE_LINK)
}

/// `NETCONFA_IFINDEX` is all links, and `NETCONFA_FORWARDING` off.
fn forwards_no_more(message: &Message) -> bool {
    const LINK: u16 = 1;
    const FORWARDING: u16 = 2;
    const ALL_LINKS: u32 = u32::MAX;
    let Some(rest) = message.payload.get(4..) else { return false };
    let value = |wanted| {
        let found = attributes(rest).find(|(kind, _)| *kind == wanted);
        found.and_then(|(_, value)| word(value, 0))
    };
    value(LINK) == Some(ALL_LINKS) && value(FORWARDING) == Some(0)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn is_text(bytes: &[u8], text: &str) -> bool {
    bytes.strip_suffix(&[0]).unwrap_or(bytes) == text.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = (value.len() as u16 + 4).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(kind: u16, header: &[u8], attributes: &[Vec<u8>]) -> Message {
        let payload = [header, &attributes.concat()].concat();
        Message { kind, flags: 0, sequence: 0, payload }
    }

    #[test]
    fn who_deletes_from_our_table_is_noticed_and_who_publishes_a_port_is_not() {
        let of = |kind: u16, family: u8, table: &[u8]| {
            message(10 << 8 | kind, &[family, 0, 0, 0], &[attribute(1, table)])
        };
        assert!(touches_table(&of(2, 1, b"berth\0")), "the table");
        assert!(touches_table(&of(14, 1, b"berth\0")), "an element");
        assert!(touches_table(&of(6, 1, b"berth\0")), "a rule that somebody added");
        assert!(!touches_table(&of(12, 1, b"berth\0")), "a new element");
        assert!(!touches_table(&of(2, 2, b"berth\0")), "another family");
        assert!(!touches_table(&of(2, 1, b"filter\0")), "another table");
    }

    #[test]
    fn a_bridge_that_was_switched_off_or_lost_its_group_is_noticed_and_a_new_veth_is_not() {
        // One of ours that has been told of.
        let mut groups = Groups::from([(0, group::BRIDGES)]);
        let mut touches_network = |message: &Message| touches_network(message, &mut groups);
        let in_group = |group: u32, kind: u16, up: bool, alias: &[u8]| {
            let mut header = [0; 16];
            header[8] = u8::from(up);
            let group = attribute(libc::IFLA_GROUP, &group.to_ne_bytes());
            message(kind, &header, &[attribute(libc::IFLA_IFALIAS, alias), group])
        };
        let link = |kind, up, alias: &[u8]| in_group(group::BRIDGES, kind, up, alias);
        assert!(touches_network(&link(libc::RTM_NEWLINK, false, b"berth:shop_default 12\0")));
        assert!(!touches_network(&link(libc::RTM_NEWLINK, true, b"berth:shop_default 12\0")));
        assert!(!touches_network(&link(libc::RTM_NEWLINK, false, b"other\0")));
        assert!(!touches_network(&link(libc::RTM_DELLINK, false, b"\0")));
        let alias = b"berth:shop_default 12\0";
        assert!(touches_network(&in_group(0, libc::RTM_NEWLINK, true, alias)));
        let internal = in_group(group::INTERNAL, libc::RTM_NEWLINK, true, alias);
        assert!(touches_network(&internal), "it was in the other one");
        assert!(!touches_network(&internal), "that was told");
        assert!(!touches_network(&in_group(0, libc::RTM_NEWLINK, true, b"other\0")));
        assert!(touches_network(&link(libc::RTM_DELLINK, true, alias)));
    }

    #[test]
    fn forwarding_that_was_switched_off_for_the_host_is_noticed() {
        let touches_network = |message: &Message| touches_network(message, &mut Groups::new());
        let netconf = |link: i32, forwarding: u32| {
            let parts =
                [attribute(1, &link.to_ne_bytes()), attribute(2, &forwarding.to_ne_bytes())];
            message(80, &[2, 0, 0, 0], &parts)
        };
        assert!(touches_network(&netconf(-1, 0)));
        assert!(!touches_network(&netconf(-1, 1)));
        assert!(!touches_network(&netconf(7, 0)), "one link alone");
    }

    #[test]
    fn cut_off_messages_do_no_harm() {
        for kind in [10 << 8 | 2, libc::RTM_NEWLINK, libc::RTM_DELLINK, libc::RTM_DELADDR, 80] {
            for len in 0..24 {
                let cut = message(kind, &vec![0; len], &[]);
                assert!(!touches_table(&cut));
                let _ = touches_network(&cut, &mut Groups::new());
            }
        }
    }
}
