//! Reading the rules of all tables but ours, by netlink.

use std::collections::{BTreeMap, BTreeSet};

use super::expression::{self, Expression, field, number, text};
use super::ruleset::{Base, Chain, Family, Hook, Member, Rule, Ruleset, Set, TableName};
use super::sets;
use crate::error::{NetError, Result, refused};
use crate::netlink::{self, Channel, Message, attributes};
use crate::nft::{Attributes, comment_text, dump_request, open};

const GET_TABLE: u16 = 1;
const GET_CHAIN: u16 = 4;
const GET_RULE: u16 = 7;
const GET_SET: u16 = 10;
const GET_ELEMENT: u16 = 13;
/// Netfilter's header before the attributes; its first byte is the family.
const PREFIX: usize = 4;
/// How often a list is asked for that changes while it is read.
const ATTEMPTS: usize = 16;
/// Bytes of a list of chains or rules: beyond, nothing is said of them at all.
const LIST: usize = 64 << 20;
/// Bytes of the elements of one set: beyond, what is in it counts as not known.
const ELEMENTS: usize = 4 << 20;
/// Name of our own table.
const OURS: &str = "berth";

/// All packet rules of others in the calling thread's network namespace.
///
/// # Errors
/// The kernel refuses (no nf_tables, no permission), or there are far too many.
pub fn read() -> Result<Ruleset> {
    let dormant = dormant()?;
    let is_wanted = |table: &TableName| !dormant.contains(table) && !is_ours(table);
    let mut chains = Vec::new();
    for (family, body) in list(GET_CHAIN)? {
        chains.extend(chain(family, &body).filter(|chain| is_wanted(&chain.table)));
    }
    let mut places = BTreeMap::new();
    for (at, chain) in chains.iter().enumerate() {
        places.insert((chain.table.clone(), chain.name.clone()), at);
    }
    let mut wanted = BTreeSet::new();
    for (family, body) in list(GET_RULE)? {
        let Some((table, name, rule)) = rule(family, &body) else { continue };
        let Some(at) = places.get(&(table.clone(), name)) else { continue };
        for expression in &rule.expressions {
            if let Expression::Lookup(lookup) = expression {
                wanted.insert((table.clone(), lookup.set.clone()));
            }
        }
        if let Some(chain) = chains.get_mut(*at) {
            chain.rules.push(rule);
        }
    }
    let sets = if wanted.is_empty() { BTreeMap::new() } else { read_sets(&wanted)? };
    Ok(Ruleset { chains, sets })
}

fn is_ours(table: &TableName) -> bool {
    table.family == Family::Inet && table.name == OURS
}

/// Tables that are switched off.
fn dormant() -> Result<BTreeSet<TableName>> {
    const DORMANT: u32 = 1;
    let tables = list(GET_TABLE)?.into_iter().filter_map(|(family, body)| {
        let off = number(&body, 2).unwrap_or(0) & DORMANT != 0;
        off.then_some(TableName { family, name: text(&body, 1)? })
    });
    Ok(tables.collect())
}

fn chain(family: Family, body: &[u8]) -> Option<Chain> {
    let table = TableName { family, name: text(body, 1)? };
    let base = field(body, 4).and_then(|hook| base(family, hook, body));
    // A base chain at a place that no packet of ours passes.
    if field(body, 4).is_some() && base.is_none() {
        return None;
    }
    Some(Chain { table, name: text(body, 3)?, base, rules: Vec::new() })
}

fn base(family: Family, hook: &[u8], body: &[u8]) -> Option<Base> {
    const DROP: u32 = 0;
    let one = text(hook, 3);
    let several = field(hook, 4).into_iter().flat_map(attributes);
    let several =
        several.map(|(_, name)| String::from_utf8_lossy(name).trim_end_matches('\0').to_owned());
    Some(Base {
        hook: Hook::of(family, number(hook, 1)?)?,
        priority: number(hook, 2)?.cast_signed(),
        drops: number(body, 5) == Some(DROP),
        nat: text(body, 7).as_deref() == Some("nat"),
        devices: one.into_iter().chain(several).collect(),
    })
}

fn rule(family: Family, body: &[u8]) -> Option<(TableName, String, Rule)> {
    let table = TableName { family, name: text(body, 1)? };
    let handle = field(body, 3)?.get(..8)?.try_into().ok()?;
    let expressions = field(body, 4).map(expression::decode).unwrap_or_default();
    let rule = Rule {
        handle: u64::from_be_bytes(handle),
        comment: field(body, 7).and_then(comment_text),
        expressions,
    };
    Some((table, text(body, 2)?, rule))
}

type SetName = (TableName, String);

fn read_sets(wanted: &BTreeSet<SetName>) -> Result<BTreeMap<SetName, Set>> {
    let mut sets = BTreeMap::new();
    for (family, body) in list(GET_SET)? {
        let Some((name, mut set)) = set(family, &body) else { continue };
        if !wanted.contains(&name) {
            continue;
        }
        set.elements = elements(&name)?.map(|members| match set.ranges && set.fields.len() < 2 {
            true => sets::closed(members),
            false => members,
        });
        sets.insert(name, set);
    }
    Ok(sets)
}

fn set(family: Family, body: &[u8]) -> Option<(SetName, Set)> {
    const ANONYMOUS: u32 = 1;
    const INTERVAL: u32 = 4;
    let table = TableName { family, name: text(body, 1)? };
    let flags = number(body, 3).unwrap_or(0);
    let fields = field(body, 9).and_then(|about| field(about, 2));
    let fields = fields.into_iter().flat_map(attributes).filter_map(|(_, one)| number(one, 1));
    let set = Set {
        anonymous: flags & ANONYMOUS != 0,
        ranges: flags & INTERVAL != 0,
        fields: fields.map(|len| len as usize).collect(),
        elements: None,
    };
    Some(((table, text(body, 2)?), set))
}

/// What is in a set; `None` when that is too much.
fn elements((table, name): &SetName) -> Result<Option<Vec<Member>>> {
    let body = Attributes::default().text(1, &table.name).text(2, name);
    let answers = match ask(GET_ELEMENT, table.family.number(), &body, ELEMENTS) {
        Ok(Some(answers)) => answers,
        Ok(None) => return Ok(None),
        // It went since it was listed.
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error),
    };
    let lists = answers.iter().filter_map(|message| field(message.payload.get(PREFIX..)?, 3));
    Ok(Some(lists.flat_map(attributes).map(|(_, one)| member(one)).collect()))
}

fn member(bytes: &[u8]) -> Member {
    const ENDS: u32 = 1;
    let value = |kind| field(bytes, kind).and_then(|data| field(data, 1)).map(<[u8]>::to_vec);
    let verdict = field(bytes, 2).and_then(|data| field(data, 2)).and_then(expression::verdict);
    Member {
        key: value(1),
        last: value(10),
        ends: number(bytes, 3).unwrap_or(0) & ENDS != 0,
        value: value(2),
        verdict,
        conditional: field(bytes, 7).or(field(bytes, 11)).is_some_and(has_limit),
    }
}

/// Whether an expression of an element is more than a counter.
fn has_limit(expression: &[u8]) -> bool {
    text(expression, 1).is_none_or(|name| name != "counter")
}

/// The bodies of all objects of a kind, with their families; those of others are left out.
fn list(kind: u16) -> Result<Vec<(Family, Vec<u8>)>> {
    let Some(answers) = ask(kind, 0, &Attributes::default(), LIST)? else {
        return Err(NetError::Invalid("there are more packet rules than can be read".into()));
    };
    // What is told is of the kind one below what was asked for.
    let told = |message: &&Message| message.kind & 0xff == kind - 1;
    let body = |message: &Message| {
        let family = Family::of(*message.payload.first()?)?;
        Some((family, message.payload.get(PREFIX..)?.to_vec()))
    };
    Ok(answers.iter().filter(told).filter_map(body).collect())
}

/// Asks for a list, up to so many bytes: `None` beyond.
fn ask(kind: u16, family: u8, body: &Attributes, most: usize) -> Result<Option<Vec<Message>>> {
    let object = "packet rules";
    for _ in 0..ATTEMPTS {
        // A socket of its own: what is left of a list that was too long goes with it.
        let mut channel: Channel = open()?;
        let request = dump_request(kind, family, channel.number(), body);
        let answers = channel.exchange_up_to(&request, most).map_err(refused("read", object))?;
        let Some(answers) = answers else { return Ok(None) };
        if netlink::interrupted(&answers) {
            continue;
        }
        return match netlink::refusal(&answers) {
            None => Ok(Some(answers)),
            Some(refusal) => Err(NetError::Refused {
                step: "read",
                object: object.to_owned(),
                source: refusal.errno,
                detail: refusal.detail,
            }),
        };
    }
    let busy = std::io::Error::from_raw_os_error(libc::EBUSY);
    Err(refused("read", object)(busy))
}
