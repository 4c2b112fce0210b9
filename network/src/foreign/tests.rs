//! What must hold for any bytes at all.

use super::expression::decode;
use super::ruleset::{Base, Chain, Family, Hook, Rule, Ruleset, TableName};
use super::{Answer, Story, judge, text};
use crate::links::Link;

/// The same numbers each time (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        let len = self.next() % most;
        (0..len).map(|_| self.next() as u8).collect()
    }
}

const NAMES: [&str; 14] = [
    "meta",
    "payload",
    "ct",
    "fib",
    "immediate",
    "cmp",
    "range",
    "bitwise",
    "byteorder",
    "lookup",
    "match",
    "target",
    "limit",
    "nat",
];
const MATCHES: [&str; 8] =
    ["conntrack", "addrtype", "multiport", "tcp", "udp", "mark", "iprange", "state"];

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An expression of a known name with strange content: small numbers, or anything.
fn strange(numbers: &mut Numbers) -> Vec<u8> {
    let name = NAMES[numbers.next() as usize % NAMES.len()];
    let mut data = Vec::new();
    for kind in 1..8 {
        let value = match numbers.next() % 4 {
            0 => (numbers.next() as u32 % 24).to_be_bytes().to_vec(),
            1 => attribute(1, &numbers.bytes(40)),
            2 => attribute(2, &attribute(1, &(numbers.next() as u32 % 4).to_be_bytes())),
            _ => numbers.bytes(200),
        };
        data.extend(attribute(kind, &value));
    }
    if matches!(name, "match" | "target") {
        let which = MATCHES[numbers.next() as usize % MATCHES.len()];
        data = attribute(1, which.as_bytes());
        data.extend(attribute(2, &(numbers.next() as u32 % 4).to_be_bytes()));
        data.extend(attribute(3, &numbers.bytes(200)));
    }
    let mut expression = attribute(1, name.as_bytes());
    expression.extend(attribute(2, &data));
    attribute(1, &expression)
}

fn story() -> Story {
    Story {
        from: Some(Link { index: 2, name: "eth0".into(), ..Link::default() }),
        bridge: Link { index: 3, name: "br-web".into(), ..Link::default() },
        source: None,
        host: "192.0.2.1:80".parse().unwrap(),
        target: "10.0.0.2:80".parse().unwrap(),
        protocol: berth_schema::stack::Protocol::Tcp,
    }
}

fn ruleset(chains: Vec<Vec<Rule>>) -> Ruleset {
    let base = |hook| Base { hook, priority: 0, drops: true, nat: false, devices: Vec::new() };
    let hooks = [Hook::Prerouting, Hook::Forward];
    let chain = |(n, rules): (usize, Vec<Rule>)| Chain {
        table: TableName { family: Family::Inet, name: "t".into() },
        name: format!("c{n}"),
        base: hooks.get(n).map(|hook| base(*hook)),
        rules,
    };
    Ruleset { chains: chains.into_iter().enumerate().map(chain).collect(), ..Ruleset::default() }
}

#[test]
fn strange_rules_do_no_harm() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for _ in 0..20_000 {
        let mut bytes: Vec<u8> = (0..4).flat_map(|_| strange(&mut numbers)).collect();
        if numbers.next().is_multiple_of(2) {
            let at = numbers.next() as usize % bytes.len();
            bytes[at] = numbers.next() as u8;
            bytes.truncate(numbers.next() as usize % bytes.len() + 1);
        }
        let rule = Rule { expressions: decode(&bytes), ..Rule::default() };
        let ruleset = ruleset(vec![vec![rule.clone()], vec![rule]]);
        let _ = judge(&ruleset, &story());
        let _ = text::rule(&ruleset, &ruleset.chains[0], &ruleset.chains[0].rules[0]);
    }
}

#[test]
fn jumps_that_multiply_come_to_an_end() {
    use super::expression::{Expression, Verdict};
    let to = |n: usize| Rule {
        expressions: vec![Expression::Verdict(Verdict::Jump(format!("c{n}")))],
        ..Rule::default()
    };
    let chains = (0..40).map(|n| vec![to(n + 1), to(n + 1), to(n + 1), to(0)]).collect();

    let answer = judge(&ruleset(chains), &story());

    assert!(matches!(answer, Answer::Unclear(_) | Answer::Blocked(_)), "{answer:?}");
}
