//! Device rules: everything is denied but these. The v1 controller takes them as text; for the
//! v2 tree they are compiled to a small program that the kernel asks at each access.

use std::os::fd::AsFd;

use super::Member;
use crate::container::error::{Context, SetupError};
use crate::sys;

/// The nodes every container has: null, zero, full, random, urandom, tty, ptmx, terminals.
const DEFAULT: [&str; 8] = [
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

const BLOCK: u16 = 1;
const CHARACTER: u16 = 2;
const MKNOD: u16 = 1;
const READ: u16 = 2;
const WRITE: u16 = 4;

/// The default rules and further ones, as text.
pub(crate) fn rules(further: &[String]) -> Vec<String> {
    DEFAULT.iter().map(ToString::to_string).chain(further.iter().cloned()).collect()
}

/// The same for the v1 controller. To it a rule for all kinds lets everything through whatever
/// its numbers are, so it becomes one for each kind.
pub(super) fn legacy_rules(further: &[String]) -> Result<Vec<String>, SetupError> {
    let mut all = Vec::new();
    for rule in rules(further) {
        Rule::parse(&rule)?;
        match rule.strip_prefix('a') {
            Some(rest) => all.extend(["b", "c"].map(|kind| format!("{kind}{rest}"))),
            None => all.push(rule),
        }
    }
    Ok(all)
}

/// Whether one of them keeps from reading or from writing.
pub(super) fn narrow(rules: &[String]) -> Result<bool, SetupError> {
    let mut narrow = false;
    for rule in rules {
        narrow |= Rule::parse(rule)?.access & (READ | WRITE) != READ | WRITE;
    }
    Ok(narrow)
}

/// Attaches the rules to a group of the v2 tree, for as long as it exists.
pub(super) fn attach(member: &Member, rules: &[String]) -> Result<(), SetupError> {
    const STEP: &str = "set device rules";
    let rules = rules.iter().map(|rule| Rule::parse(rule)).collect::<Result<Vec<_>, _>>()?;
    let object = member.folder.display();
    let folder = std::fs::File::open(&member.folder).step(STEP, &object)?;
    let program = sys::bpf_load_device_program(&program(&rules)).step(STEP, &object)?;
    sys::bpf_attach_device_program(folder.as_fd(), program.as_fd()).step(STEP, &object)
}

/// `c 136:* rw`.
#[derive(Debug, PartialEq, Eq)]
struct Rule {
    /// Both kinds when `None`.
    kind: Option<u16>,
    major: Option<u32>,
    minor: Option<u32>,
    access: u16,
}

impl Rule {
    fn parse(text: &str) -> Result<Rule, SetupError> {
        let refuse = || SetupError::refused("set device rules", text, "it is no device rule");
        let mut words = text.split_whitespace();
        let (kind, numbers, access) = (words.next(), words.next(), words.next());
        let kind = match kind {
            Some("a") => None,
            Some("b") => Some(BLOCK),
            Some("c") => Some(CHARACTER),
            _ => return Err(refuse()),
        };
        let number = |text: &str| match text {
            "*" => Ok(None),
            text => text.parse().map(Some).map_err(|_| refuse()),
        };
        let (major, minor) = numbers.and_then(|n| n.split_once(':')).ok_or_else(refuse)?;
        let access =
            access.ok_or_else(refuse)?.chars().try_fold(0, |all, letter| match letter {
                'r' => Ok(all | READ),
                'w' => Ok(all | WRITE),
                'm' => Ok(all | MKNOD),
                _ => Err(refuse()),
            })?;
        Ok(Rule { kind, major: number(major)?, minor: number(minor)?, access })
    }
}

/// One instruction: operation, registers, jump, number.
fn instruction(code: u8, to: u8, from: u8, jump: i16, number: i32) -> u64 {
    let low =
        u64::from(code) | u64::from(to | from << 4) << 8 | u64::from(jump.cast_unsigned()) << 16;
    low | u64::from(number.cast_unsigned()) << 32
}

/// Register 1 points at `{ access << 16 | kind, major, minor }`; the answer is in register 0.
fn program(rules: &[Rule]) -> Vec<u64> {
    const LOAD: u8 = 0x61;
    const AND: u8 = 0x54;
    const SHIFT_RIGHT: u8 = 0x74;
    const COPY: u8 = 0xbc;
    let mut program = vec![
        instruction(LOAD, 2, 1, 0, 0),
        instruction(COPY, 3, 2, 0, 0),
        instruction(AND, 3, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, 2, 0, 0, 16),
        instruction(LOAD, 4, 1, 4, 0),
        instruction(LOAD, 5, 1, 8, 0),
    ];
    for rule in rules {
        // Each test jumps over what is left of the rule when it is not met.
        let mut tests = Vec::new();
        tests.extend(rule.kind.map(|kind| (3, i32::from(kind))));
        tests.extend(rule.major.map(|major| (4, major.cast_signed())));
        tests.extend(rule.minor.map(|minor| (5, minor.cast_signed())));
        let denied = !rule.access & (MKNOD | READ | WRITE);
        program.push(instruction(COPY, 6, 2, 0, 0));
        program.push(instruction(AND, 6, 0, 0, i32::from(denied)));
        tests.push((6, 0));
        let count = tests.len();
        for (index, (register, value)) in tests.into_iter().enumerate() {
            const JUMP_UNLESS_EQUAL: u8 = 0x55;
            let rest = (count - index - 1 + ANSWER) as i16;
            program.push(instruction(JUMP_UNLESS_EQUAL, register, 0, rest, value));
        }
        program.extend(answer(1));
    }
    program.extend(answer(0));
    program
}

/// Instructions of an answer.
const ANSWER: usize = 2;

fn answer(value: i32) -> [u64; ANSWER] {
    const SET: u8 = 0xb7;
    const EXIT: u8 = 0x95;
    [instruction(SET, 0, 0, 0, value), instruction(EXIT, 0, 0, 0, 0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_and_anything_else_refused() {
        let rule = Rule { kind: Some(CHARACTER), major: Some(136), minor: None, access: 6 };
        assert_eq!(Rule::parse("c 136:* rw").unwrap(), rule);
        for text in ["", "c", "c 1:3", "x 1:3 r", "c 1 r", "c 1:x r", "c 1:3 rx"] {
            assert!(Rule::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rule_for_all_kinds_keeps_its_numbers_on_v1() {
        let rules = legacy_rules(&["a 7:* rw".to_owned()]).unwrap();
        assert_eq!(rules[DEFAULT.len()..], ["b 7:* rw", "c 7:* rw"]);
        assert!(legacy_rules(&["a 7".to_owned()]).is_err());
    }

    #[test]
    fn instructions_have_the_layout_of_the_kernel() {
        // `struct bpf_insn`: code, dst:4 src:4, off, imm.
        let bytes = instruction(0x55, 3, 0, 7, -2).to_le_bytes();
        assert_eq!(bytes, [0x55, 0x03, 7, 0, 0xfe, 0xff, 0xff, 0xff]);
        assert_eq!(instruction(0x61, 5, 1, 8, 0).to_le_bytes(), [0x61, 0x15, 8, 0, 0, 0, 0, 0]);
    }
}
