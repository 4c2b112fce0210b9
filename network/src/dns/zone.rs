//! The names a container knows, and the answers to its questions.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::query::{Code, Query, Record, Transport, Unfit, encode, kind};

/// Seconds an address may be remembered: a container may come back with another one.
const TTL: u32 = 5;
/// What the host is called by containers; others ask for the same names.
const HOST: [&str; 2] = ["host.docker.internal", "gateway.docker.internal"];
/// Addresses of one name that are told.
const ADDRESSES_MAX: usize = 512;

/// Names of the containers on the asker's networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zone {
    /// Names on each network. Without an address: of a container that does not run.
    networks: BTreeMap<String, BTreeMap<String, Vec<IpAddr>>>,
    reverse: BTreeMap<IpAddr, String>,
    subnets: Vec<IpNet>,
    host: BTreeSet<IpAddr>,
    search: Vec<String>,
    searched_first: bool,
    closed: bool,
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
    /// A zone without names.
    #[must_use]
    pub fn new() -> Self {
        Zone::default()
    }

    /// Nothing is ever asked of other servers.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Adds a container on a network: every name leads to its addresses, also with the name of
    /// the network behind it, and an address leads to the first name. Without addresses the names
    /// are kept from other servers: of a container that does not run.
    pub fn add(
        &mut self,
        network: &str,
        names: &[String],
        addresses: impl IntoIterator<Item = IpAddr>,
    ) {
        let network = plain(network);
        let addresses: Vec<IpAddr> = addresses.into_iter().collect();
        if let Some(first) = names.first() {
            let full = plain(first) + "." + &network;
            for address in &addresses {
                self.reverse.entry(*address).or_insert_with(|| full.clone());
            }
        }
        let known = self.networks.entry(network).or_default();
        for name in names {
            known.entry(plain(name)).or_default().extend(&addresses);
        }
    }

    /// Keeps questions about addresses of this subnet from other servers.
    pub fn own(&mut self, subnet: IpNet) {
        self.subnets.push(subnet);
    }

    /// The addresses of the host, as the asker reaches it.
    pub fn host(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.host.extend(addresses);
    }

    /// Domains that the asker's C library puts behind a name that it has not found, or, with
    /// `first`, before it looks for the name as it stands.
    pub fn searched(&mut self, domains: &[String], first: bool) {
        self.search = domains.iter().map(|domain| plain(domain)).collect();
        self.searched_first = first;
    }

    /// The addresses of a name of ours, none while nobody has it; `None` when it is not ours.
    fn addresses(&self, name: &str) -> Option<BTreeSet<IpAddr>> {
        let mut found: Option<BTreeSet<IpAddr>> = None;
        for (network, names) in &self.networks {
            let below = below(name, network);
            for addresses in [Some(name), below].into_iter().flatten().filter_map(|n| names.get(n))
            {
                found.get_or_insert_default().extend(addresses);
            }
            if below.is_some() && is_of_a_network(network) {
                found.get_or_insert_default();
            }
        }
        found.or_else(|| HOST.contains(&name).then(|| self.host.clone()))
    }
}

/// Answers a message, if the zone can. `seed` decides the order of several addresses: give
/// another one each time, and askers spread over them.
///
/// Names without a dot, and those with a network behind them, are never forwarded, so a service
/// that is down, or on a network that the asker is not on, is not asked for in the wide world.
#[must_use]
pub fn answer(message: &[u8], zone: &Zone, transport: Transport, seed: u64) -> Answer {
    let query = match Query::read(message) {
        Ok(query) => query,
        Err(Unfit::Nothing) => return Answer::Drop,
        Err(Unfit::Reply(reply)) => return Answer::Reply(reply),
    };
    match find(&query, zone, seed) {
        Some((code, records)) => {
            Answer::Reply(query.reply_within(query.limit(transport), code, &records, TTL))
        }
        None if zone.closed => Answer::Reply(query.reply(Code::NoSuchName, &[], 0)),
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
    if let Some(addresses) = zone.addresses(name) {
        return Some(tell(query, &addresses, seed));
    }
    if let Some(answer) = find_searched(query, zone, name) {
        return Some(answer);
    }
    let of_the_root = matches!(query.kind, kind::NS | kind::SOA | kind::DS | kind::DNSKEY);
    let single = !name.is_empty() && !name.contains('.') && !of_the_root;
    (single || is_of_a_network(name)).then_some((Code::NoSuchName, Vec::new()))
}

/// Whether it can only be a name on a network, such as `shop_default`: no domain of others has
/// a `_` in its last part.
fn is_of_a_network(name: &str) -> bool {
    name.rsplit('.').next().is_some_and(|last| last.contains('_'))
}

fn tell(query: &Query<'_>, addresses: &BTreeSet<IpAddr>, seed: u64) -> (Code, Vec<Record>) {
    if addresses.is_empty() {
        return (Code::NoSuchName, Vec::new());
    }
    let mut records: Vec<Record> =
        addresses.iter().filter_map(|address| record(query.kind, *address)).collect();
    shuffle(&mut records, seed);
    records.truncate(ADDRESSES_MAX);
    (Code::NoError, records)
}

/// A name of ours with a search domain behind it is one that the C library made, and nobody else
/// is to hear it: as long as the name alone has no such address, or is not looked for first.
/// Otherwise somebody wrote the whole name and means another server's.
fn find_searched(query: &Query<'_>, zone: &Zone, name: &str) -> Option<(Code, Vec<Record>)> {
    let before = |name| zone.search.iter().filter_map(move |domain| below(name, domain));
    // Who writes it all while it is down gets the domain twice.
    let addresses = before(name).find_map(|short| {
        let shorter = || before(short).find_map(|shorter| zone.addresses(shorter));
        zone.addresses(short).or_else(shorter)
    })?;
    if zone.searched_first || addresses.is_empty() {
        return Some((Code::NoSuchName, Vec::new()));
    }
    let (code, records) = tell(query, &addresses, 0);
    records.is_empty().then_some((code, records))
}

/// What stands before the domain in a name below it.
fn below<'a>(name: &'a str, domain: &str) -> Option<&'a str> {
    name.strip_suffix(domain)?.strip_suffix('.').filter(|_| !domain.is_empty())
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
