//! Programs for the kernel's filter machine (`struct sock_filter`, seccomp(2)), and a search over
//! numbers made of them.

use std::collections::BTreeMap;

use libc::sock_filter;

/// First number and rule of each run of numbers with one rule; gaps have the rule `other`.
pub(super) fn ranges<R: PartialEq + Clone>(rules: BTreeMap<u32, R>, other: &R) -> Vec<(u32, R)> {
    let mut ranges = vec![(0, other.clone())];
    let mut add = |start: u32, rule: R| match ranges.last_mut() {
        Some((_, last)) if *last == rule => {}
        Some(last) if last.0 == start => last.1 = rule,
        _ => ranges.push((start, rule)),
    };
    let mut next = 0;
    for (number, rule) in rules {
        if number > next {
            add(next, other.clone());
        }
        add(number, rule);
        next = number + 1;
    }
    add(next, other.clone());
    ranges
}

/// Halves the ranges until one is left, whose rule `leaf` puts into instructions.
pub(super) fn search<R>(
    ranges: &[(u32, R)],
    leaf: &impl Fn(&R) -> Vec<sock_filter>,
) -> Vec<sock_filter> {
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let Some((first, _)) = high.first().filter(|_| !low.is_empty()) else {
        return high.first().map_or_else(Vec::new, |(_, rule)| leaf(rule));
    };
    let (below, above) = (search(low, leaf), search(high, leaf));
    let mut program = match u8::try_from(below.len()) {
        Ok(skip) => vec![jump(libc::BPF_JGE, *first, skip, 0)],
        // A conditional jump reaches 255 instructions, an unconditional one any.
        Err(_) => vec![
            jump(libc::BPF_JGE, *first, 0, 1),
            instruction(libc::BPF_JMP | libc::BPF_JA, below.len() as u32, 0, 0),
        ],
    };
    program.extend(below);
    program.extend(above);
    program
}

/// Place of an argument's lower half in `struct seccomp_data`, on a little-endian machine.
pub(super) const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

/// Loads 32 bits of `struct seccomp_data`.
pub(super) fn load(offset: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0)
}

/// Skips so many instructions when the condition is met, or else so many.
pub(super) fn jump(condition: u32, value: u32, then: u8, otherwise: u8) -> sock_filter {
    instruction(libc::BPF_JMP | condition | libc::BPF_K, value, then, otherwise)
}

/// The end: what the kernel does.
pub(super) fn ret(value: u32) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, value, 0, 0)
}

/// Any instruction.
pub(super) fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}
