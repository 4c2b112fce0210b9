//! Looking up in sets.

use super::register::{Byte, Doubt, Truth, between, equal};
use super::ruleset::{Member, Set};

/// Elements that may stand for a key, with whether they do; and whether any does.
pub(super) fn find<'a>(set: &'a Set, key: &[Byte]) -> (Truth, Vec<(Truth, &'a Member)>) {
    let Some(members) = &set.elements else {
        return (Truth::Maybe(Doubt::Unknown), Vec::new());
    };
    let mut found = Vec::new();
    let mut any = Truth::No;
    for member in members {
        let mut truth = stands_for(set, member, key);
        if member.conditional {
            truth = truth.and(Truth::Maybe(Doubt::Unknown));
        }
        if truth != Truth::No {
            any = any.or(truth);
            found.push((truth, member));
        }
        if any == Truth::Yes {
            break;
        }
    }
    let rest = members.iter().find(|member| member.key.is_none());
    if let Some(rest) = rest.filter(|_| any != Truth::Yes) {
        // What nothing else stands for.
        found.push((any.not(), rest));
        any = Truth::Yes;
    }
    (any, found)
}

fn stands_for(set: &Set, member: &Member, key: &[Byte]) -> Truth {
    match (&member.key, &member.last) {
        (None, _) => Truth::No,
        (Some(first), None) => equal(key, first),
        (Some(first), Some(last)) if set.fields.len() > 1 => by_field(set, first, last, key),
        (Some(first), Some(last)) if key.len() >= first.len() => between(key, first, last),
        _ => Truth::Maybe(Doubt::Unknown),
    }
}

/// Of a concatenation each part has a range of its own.
fn by_field(set: &Set, first: &[u8], last: &[u8], key: &[Byte]) -> Truth {
    let mut at: usize = 0;
    let mut truth = Truth::Yes;
    for len in &set.fields {
        let part = at..at.saturating_add(*len);
        let parts = (key.get(part.clone()), first.get(part.clone()), last.get(part));
        truth = truth.and(match parts {
            (Some(key), Some(first), Some(last)) => between(key, first, last),
            _ => Truth::Maybe(Doubt::Unknown),
        });
        at = at.saturating_add(len.next_multiple_of(4));
    }
    truth
}

/// Edges of ranges, as the kernel lists them, made into ranges with a first and a last key.
pub(super) fn closed(members: Vec<Member>) -> Vec<Member> {
    let mut edges: Vec<Vec<u8>> = members.iter().filter_map(|m| m.key.clone()).collect();
    edges.sort();
    edges.dedup();
    let close = |member: Member| {
        let first = member.key.clone()?;
        let next = edges.get(edges.partition_point(|edge| *edge <= first));
        let last = next.map_or_else(|| vec![0xff; first.len()], |edge| before(edge));
        Some(Member { last: member.last.clone().or(Some(last)), ..member })
    };
    members
        .into_iter()
        .filter(|member| !member.ends)
        .filter_map(|member| if member.key.is_none() { Some(member) } else { close(member) })
        .collect()
}

/// The number before this one, of big endian.
fn before(number: &[u8]) -> Vec<u8> {
    let mut number = number.to_vec();
    for byte in number.iter_mut().rev() {
        let (less, borrow) = byte.overflowing_sub(1);
        *byte = less;
        if !borrow {
            break;
        }
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foreign::register::known;

    fn edge(key: u8, ends: bool) -> Member {
        Member { key: Some(vec![0, key]), ends, ..Member::default() }
    }

    #[test]
    fn edges_become_ranges() {
        let edges = vec![edge(0, true), edge(20, false), edge(30, true), edge(40, false)];
        let set = Set { ranges: true, elements: Some(closed(edges)), ..Set::default() };

        let holds = |key: [u8; 2]| find(&set, &known(&key)).0;
        assert_eq!(holds([0, 19]), Truth::No);
        assert_eq!(holds([0, 20]), Truth::Yes);
        assert_eq!(holds([0, 29]), Truth::Yes);
        assert_eq!(holds([0, 30]), Truth::No);
        assert_eq!(holds([9, 30]), Truth::Yes, "without an end it goes on to the last key");
    }
}
