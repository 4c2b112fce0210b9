//! What was read: chains with their rules, and sets.

use std::collections::BTreeMap;

use super::expression::{Expression, Verdict};

/// Address families of tables (`linux/netfilter.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    Inet,
    Ip,
    Ip6,
    Netdev,
}

impl Family {
    pub(super) fn of(number: u8) -> Option<Family> {
        match number {
            1 => Some(Family::Inet),
            2 => Some(Family::Ip),
            5 => Some(Family::Netdev),
            10 => Some(Family::Ip6),
            // arp and bridge: no packet between networks meets them.
            _ => None,
        }
    }

    pub(super) fn number(self) -> u8 {
        match self {
            Family::Inet => 1,
            Family::Ip => 2,
            Family::Netdev => 5,
            Family::Ip6 => 10,
        }
    }

    /// As `nft` writes it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Family::Inet => "inet",
            Family::Ip => "ip",
            Family::Ip6 => "ip6",
            Family::Netdev => "netdev",
        }
    }
}

/// Where a chain stands in the way of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// As it arrives at a link.
    Ingress,
    /// Before the way is chosen.
    Prerouting,
    /// For this host.
    Input,
    /// From one link to another.
    Forward,
    /// From this host.
    Output,
    /// As it leaves.
    Postrouting,
}

impl Hook {
    /// The hook by its number, which counts anew in `netdev`.
    pub(super) fn of(family: Family, number: u32) -> Option<Hook> {
        match (family, number) {
            (Family::Netdev, 0) | (_, 5) => Some(Hook::Ingress),
            (Family::Netdev, _) => None,
            (_, 0) => Some(Hook::Prerouting),
            (_, 1) => Some(Hook::Input),
            (_, 2) => Some(Hook::Forward),
            (_, 3) => Some(Hook::Output),
            (_, 4) => Some(Hook::Postrouting),
            _ => None,
        }
    }

    /// As `nft` writes it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Hook::Ingress => "ingress",
            Hook::Prerouting => "prerouting",
            Hook::Input => "input",
            Hook::Forward => "forward",
            Hook::Output => "output",
            Hook::Postrouting => "postrouting",
        }
    }
}

/// A table by family and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TableName {
    pub(super) family: Family,
    pub(super) name: String,
}

/// What makes a chain a base chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) hook: Hook,
    pub(super) priority: i32,
    /// What comes to its end is dropped.
    pub(super) drops: bool,
    /// It translates addresses.
    pub(super) nat: bool,
    /// Links it is for; empty is every link.
    pub(super) devices: Vec<String>,
}

/// A chain.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chain {
    pub(super) table: TableName,
    pub(super) name: String,
    pub(super) base: Option<Base>,
    pub(super) rules: Vec<Rule>,
}

/// A rule.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Rule {
    /// As `nft --handle` shows it.
    pub(super) handle: u64,
    pub(super) comment: Option<String>,
    pub(super) expressions: Vec<Expression>,
}

/// A set or a map.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Set {
    /// It belongs to one rule, and has no name of its own.
    pub(super) anonymous: bool,
    /// Elements are edges of ranges.
    pub(super) ranges: bool,
    /// Bytes of each part of a key.
    pub(super) fields: Vec<usize>,
    /// `None` when it is too large to be read.
    pub(super) elements: Option<Vec<Member>>,
}

/// An element of a set.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Member {
    /// `None` stands for every key that nothing else stands for.
    pub(super) key: Option<Vec<u8>>,
    /// Last key of the range.
    pub(super) last: Option<Vec<u8>>,
    /// The first key after a range.
    pub(super) ends: bool,
    pub(super) value: Option<Vec<u8>>,
    pub(super) verdict: Option<Verdict>,
    /// What it holds for depends on more than the key.
    pub(super) conditional: bool,
}

/// All packet rules of a host but our own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ruleset {
    pub(super) chains: Vec<Chain>,
    pub(super) sets: BTreeMap<(TableName, String), Set>,
}

impl Ruleset {
    /// Whether nobody has any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }

    /// Whether any table has a chain of this name.
    #[must_use]
    pub fn has_chain(&self, name: &str) -> bool {
        self.chains.iter().any(|chain| chain.name == name)
    }

    /// Whether there is a table of this name.
    #[must_use]
    pub fn has_table(&self, name: &str) -> bool {
        self.chains.iter().any(|chain| chain.table.name == name)
    }

    /// Base chains of a hook, in the order in which a packet meets them.
    pub(super) fn at(&self, hook: Hook) -> Vec<(&Base, &Chain)> {
        let base = |chain: &'_ Chain| chain.base.as_ref().is_some_and(|base| base.hook == hook);
        let mut chains: Vec<(&Base, &Chain)> = self
            .chains
            .iter()
            .filter(|chain| base(chain))
            .filter_map(|chain| Some((chain.base.as_ref()?, chain)))
            .collect();
        chains.sort_by_key(|(base, _)| base.priority);
        chains
    }

    pub(super) fn chain(&self, table: &TableName, name: &str) -> Option<&Chain> {
        self.chains.iter().find(|chain| chain.table == *table && chain.name == name)
    }
}
