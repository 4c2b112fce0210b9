//! The names a container knows, and the answers to its questions.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::query::{Code, Query, Record, Transport, Unfit, encode, kind};

/// Seconds an address may be remembered: a container may come back with another one.
const TTL: u32 = 5;
/// Addresses of one name that are told.
const ADDRESSES_MAX: usize = 512;

/// Names of the containers on the asker's networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zone {
    names: BTreeMap<String, BTreeSet<IpAddr>>,
    reverse: BTreeMap<IpAddr, String>,
    reserved: BTreeSet<String>,
    subnets: Vec<IpNet>,
    internal: bool,
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// This is the reply.
    Reply(Vec<u8>),
    /// Another server knows, if anyone.
    Forward,
    /// It deserves no answer.
    Drop,
}

impl Zone {
    /// A zone without names. With `internal`, nothing is ever asked of other servers.
    #[must_use]
    pub fn new(internal: bool) -> Self {
        Zone { internal, ..Zone::default() }
    }

    /// Adds a container: every name leads to its addresses, an address to the first name.
    pub fn add(&mut self, names: &[String], addresses: impl IntoIterator<Item = IpAddr>) {
        for address in addresses {
            for name in names {
                self.names.entry(plain(name)).or_default().insert(address);
            }
            if let Some(first) = names.first() {
                self.reverse.entry(address).or_insert_with(|| plain(first));
            }
        }
    }

    /// Keeps a name from other servers while nobody has it: a service that is down.
    pub fn reserve(&mut self, name: &str) {
        self.reserved.insert(plain(name));
    }

    /// Keeps questions about addresses of this subnet from other servers.
    pub fn own(&mut self, subnet: IpNet) {
        self.subnets.push(subnet);
    }

    fn knows(&self, name: &str) -> bool {
        self.names.contains_key(name) || self.reserved.contains(name)
    }
}

/// Answers a message, if the zone can. `seed` decides the order of several addresses: give
/// another one each time, and askers spread over them.
///
/// Names without a dot are never forwarded, so a service that is down is not asked for in the
/// wide world.
#[must_use]
pub fn answer(message: &[u8], zone: &Zone, transport: Transport, seed: u64) -> Answer {
    let query = match Query::read(message) {
        Ok(query) => query,
        Err(Unfit::Nothing) => return Answer::Drop,
        Err(Unfit::Reply(reply)) => return Answer::Reply(reply),
    };
    match find(&query, zone, seed) {
        Some((code, records)) => {
            let reply = query.reply(code, &records, TTL);
            let fits = reply.len() <= query.limit(transport);
            Answer::Reply(if fits { reply } else { query.truncated() })
        }
        None if zone.internal => Answer::Reply(query.reply(Code::NoSuchName, &[], 0)),
        None => Answer::Forward,
    }
}

/// The reply that says the servers asked did not answer; `None` if the message is no query.
#[must_use]
pub fn failure(message: &[u8]) -> Option<Vec<u8>> {
    match Query::read(message) {
        Ok(query) => Some(query.reply(Code::ServerFailure, &[], 0)),
        Err(Unfit::Reply(reply)) => Some(reply),
        Err(Unfit::Nothing) => None,
    }
}

/// What the zone has to say; `None` when it is not its business.
fn find(query: &Query<'_>, zone: &Zone, seed: u64) -> Option<(Code, Vec<Record>)> {
    let name = query.name.as_deref()?;
    if let Some(address) = reverse_name(name) {
        return find_reverse(query, zone, address);
    }
    if let Some(addresses) = zone.names.get(name) {
        let mut records: Vec<Record> =
            addresses.iter().filter_map(|address| record(query.kind, *address)).collect();
        shuffle(&mut records, seed);
        records.truncate(ADDRESSES_MAX);
        return Some((Code::NoError, records));
    }
    let of_the_root = matches!(query.kind, kind::NS | kind::SOA | kind::DS | kind::DNSKEY);
    let single = !name.is_empty() && !name.contains('.') && !of_the_root;
    (zone.knows(name) || single).then_some((Code::NoSuchName, Vec::new()))
}

fn find_reverse(query: &Query<'_>, zone: &Zone, address: IpAddr) -> Option<(Code, Vec<Record>)> {
    if let Some(name) = zone.reverse.get(&address) {
        let asked = matches!(query.kind, kind::PTR | kind::ANY);
        let record = encode(name).map(|data| Record { kind: kind::PTR, data });
        return Some((Code::NoError, record.into_iter().filter(|_| asked).collect()));
    }
    let ours = zone.subnets.iter().any(|subnet| subnet.contains(&address));
    ours.then_some((Code::NoSuchName, Vec::new()))
}

fn record(asked: u16, address: IpAddr) -> Option<Record> {
    let (kind, data) = match address {
        IpAddr::V4(address) => (kind::A, address.octets().to_vec()),
        IpAddr::V6(address) => (kind::AAAA, address.octets().to_vec()),
    };
    (asked == kind || asked == kind::ANY).then_some(Record { kind, data })
}

/// The address that a name like `2.0.20.10.in-addr.arpa` asks about.
fn reverse_name(name: &str) -> Option<IpAddr> {
    if let Some(digits) = name.strip_suffix(".in-addr.arpa") {
        let parts: Vec<u8> =
            digits.split('.').rev().map(|part| part.parse().ok()).collect::<Option<_>>()?;
        return <[u8; 4]>::try_from(parts).ok().map(|parts| Ipv4Addr::from(parts).into());
    }
    let digits = name.strip_suffix(".ip6.arpa")?;
    let mut bits: u128 = 0;
    let mut count = 0;
    for digit in digits.split('.').rev() {
        let value = u128::from_str_radix(digit, 16).ok().filter(|_| digit.len() == 1)?;
        bits = (bits << 4) | value;
        count += 1;
    }
    (count == 32).then(|| Ipv6Addr::from_bits(bits).into())
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Puts the items in an order that the seed decides.
fn shuffle<T>(items: &mut [T], mut seed: u64) {
    for last in (1..items.len()).rev() {
        // SplitMix64: good enough to spread askers, and the same for the same seed.
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let other = (mixed % (last as u64 + 1)) as usize;
        items.swap(last, other);
    }
}
