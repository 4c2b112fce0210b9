//! A profile of the user, compiled to the same kind of search as our own list.
//!
//! What libseccomp and runc decide, this decides alike: a call that is not known is skipped; a
//! rule with the action that is the default anyway says nothing; a rule without conditions
//! outweighs all with conditions, and the first of those without counts. Arguments are compared
//! with all of their 64 bits. Calls of another machine, 32-bit ones as well, are not known
//! (ENOSYS), whatever the profile lists beside this machine.

use std::collections::{BTreeMap, BTreeSet};

use berth_planner::seccomp::{Action, Argument, Operator, Profile, Rule, Where};
use libc::sock_filter;
use rustix::thread::CapabilitySet;
use syscalls::Sysno;

use super::program::{argument, instruction, jump, load, ranges, ret, search};
use super::{MACHINE, caps};
use crate::container::error::SetupError;

/// Instructions the kernel takes (`BPF_MAXINSNS`).
const MOST: usize = 4096;
/// First number of the calls of x32, which count as another machine's.
const X32: u32 = 0x4000_0000;
/// This machine as Go, and so Docker, names it.
#[cfg(target_arch = "x86_64")]
const ARCH: &str = "amd64";
/// This machine as Go, and so Docker, names it.
#[cfg(target_arch = "aarch64")]
const ARCH: &str = "arm64";

/// What a profile is compiled for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ground {
    /// The bounding set of the process.
    pub(crate) capabilities: CapabilitySet,
    /// Version of the kernel.
    pub(crate) kernel: (u32, u32),
}

/// What becomes of one call: alternatives of conditions, each with its action, then the rest.
#[derive(Debug, Clone, PartialEq)]
struct Verdict {
    alternatives: Vec<(Vec<Argument>, Action)>,
    otherwise: Action,
}

impl Verdict {
    fn always(action: Action) -> Verdict {
        Verdict { alternatives: Vec::new(), otherwise: action }
    }
}

/// The filter that a profile means here.
///
/// # Errors
/// It would be longer than the kernel takes.
pub(crate) fn filter(profile: &Profile, ground: Ground) -> Result<Vec<sock_filter>, SetupError> {
    let unknown = ret(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
    let mut program = vec![load(4), jump(libc::BPF_JEQ, MACHINE, 1, 0), unknown, load(0)];
    program.extend([jump(libc::BPF_JGE, X32, 0, 1), unknown]);
    let ranges = ranges(verdicts(profile, ground)?, &Verdict::always(profile.default));
    program.extend(search(&ranges, &leaf));
    if program.len() > MOST {
        let reason =
            format!("it needs {} instructions, and the kernel takes {MOST}", program.len());
        return Err(SetupError::refused("compile seccomp profile", "seccomp", reason));
    }
    Ok(program)
}

/// What becomes of every call that a rule is about.
fn verdicts(profile: &Profile, ground: Ground) -> Result<BTreeMap<u32, Verdict>, SetupError> {
    let mut verdicts: BTreeMap<u32, Verdict> = BTreeMap::new();
    let mut settled = BTreeSet::new();
    for rule in &profile.rules {
        if rule.action == profile.default || !counts(rule, ground)? {
            continue;
        }
        for number in rule.names.iter().filter_map(|name| number(name)) {
            if settled.contains(&number) {
                continue;
            }
            if rule.args.is_empty() {
                verdicts.insert(number, Verdict::always(rule.action));
                settled.insert(number);
                continue;
            }
            let verdict =
                verdicts.entry(number).or_insert_with(|| Verdict::always(profile.default));
            let alternatives = rule.alternatives().into_iter();
            verdict.alternatives.extend(alternatives.map(|all| (all.to_vec(), rule.action)));
        }
    }
    Ok(verdicts)
}

fn number(name: &str) -> Option<u32> {
    name.parse::<Sysno>().ok().and_then(|call| u32::try_from(call.id()).ok())
}

/// Whether a rule counts here, as Docker decides it.
pub(super) fn counts(rule: &Rule, ground: Ground) -> Result<bool, SetupError> {
    let (includes, excludes) = (&rule.includes, &rule.excludes);
    let machine = |here: &Where| here.arches.iter().any(|arch| arch == ARCH);
    let reached = |here: &Where| here.min_kernel.is_some_and(|least| ground.kernel >= least);
    let has = |name: &String| {
        // A capability that nobody knows is one that nobody has.
        let set = caps::parse(std::slice::from_ref(name)).unwrap_or(CapabilitySet::empty());
        !set.is_empty() && ground.capabilities.contains(set)
    };
    let excluded = machine(excludes) || reached(excludes) || excludes.caps.iter().any(has);
    let included = (includes.arches.is_empty() || machine(includes))
        && (includes.min_kernel.is_none() || reached(includes))
        && includes.caps.iter().all(has);
    Ok(included && !excluded)
}

/// The end of a search. Each alternative skips to the next where a condition is not met.
fn leaf(verdict: &Verdict) -> Vec<sock_filter> {
    let mut program = Vec::new();
    for (conditions, action) in &verdict.alternatives {
        // From the last one on, so that the distance to the end is known.
        let mut alternative = vec![ret(value(*action))];
        for condition in conditions.iter().rev() {
            let mut tested = test(condition, alternative.len() as u8);
            tested.append(&mut alternative);
            alternative = tested;
        }
        program.extend(alternative);
    }
    program.push(ret(value(verdict.otherwise)));
    program
}

/// Goes on where the condition is met, and else skips `skip` instructions after its own.
fn test(condition: &Argument, skip: u8) -> Vec<sock_filter> {
    let low = argument(u32::from(condition.index));
    let (high_value, low_value) = halves(condition.value);
    let compare = |then_high: (u32, u8, u8), decide: (u32, u8, u8)| {
        let (on, yes, no) = decide;
        let mut program = vec![load(low + 4)];
        let (first, greater, other) = then_high;
        if first == libc::BPF_JGT {
            // Greater above decides; then less above; else the lower halves.
            program.push(jump(libc::BPF_JGT, high_value, greater, 0));
            program.push(jump(libc::BPF_JEQ, high_value, 0, other));
        } else {
            program.push(jump(libc::BPF_JEQ, high_value, greater, other));
        }
        program.extend([load(low), jump(on, low_value, yes, no)]);
        program
    };
    // After the upper half come two instructions: a load and a jump.
    match condition.op {
        Operator::Equal => compare((libc::BPF_JEQ, 0, skip + 2), (libc::BPF_JEQ, 0, skip)),
        Operator::NotEqual => compare((libc::BPF_JEQ, 0, 2), (libc::BPF_JEQ, skip, 0)),
        Operator::Greater => compare((libc::BPF_JGT, 3, skip + 2), (libc::BPF_JGT, 0, skip)),
        Operator::GreaterOrEqual => compare((libc::BPF_JGT, 3, skip + 2), (libc::BPF_JGE, 0, skip)),
        Operator::Less => compare((libc::BPF_JGT, skip + 3, 2), (libc::BPF_JGE, skip, 0)),
        Operator::LessOrEqual => compare((libc::BPF_JGT, skip + 3, 2), (libc::BPF_JGT, skip, 0)),
        Operator::MaskedEqual => {
            let (high_rest, low_rest) = halves(condition.value_two);
            vec![
                load(low + 4),
                and(high_value),
                jump(libc::BPF_JEQ, high_rest, 0, skip + 3),
                load(low),
                and(low_value),
                jump(libc::BPF_JEQ, low_rest, 0, skip),
            ]
        }
    }
}

fn halves(value: u64) -> (u32, u32) {
    ((value >> 32) as u32, value as u32)
}

fn and(mask: u32) -> sock_filter {
    instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mask, 0, 0)
}

fn value(action: Action) -> u32 {
    match action {
        Action::Allow => libc::SECCOMP_RET_ALLOW,
        Action::Log => libc::SECCOMP_RET_LOG,
        Action::Errno(number) => libc::SECCOMP_RET_ERRNO | u32::from(number),
        Action::Trace(number) => libc::SECCOMP_RET_TRACE | u32::from(number),
        Action::Trap => libc::SECCOMP_RET_TRAP,
        Action::KillThread => libc::SECCOMP_RET_KILL_THREAD,
        Action::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::returned;
    use super::*;

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

    fn compiled(default: &str, rules: &str) -> Vec<sock_filter> {
        compiled_for(default, rules, CapabilitySet::CHOWN, (6, 1))
    }

    fn compiled_for(
        default: &str,
        rules: &str,
        capabilities: CapabilitySet,
        kernel: (u32, u32),
    ) -> Vec<sock_filter> {
        let text = format!(r#"{{"defaultAction": "{default}", "syscalls": [{rules}]}}"#);
        let profile = berth_planner::seccomp::parse(text.as_bytes()).unwrap();
        filter(&profile, Ground { capabilities, kernel }).unwrap()
    }

    fn ask(program: &[sock_filter], number: i64, first: u64, second: u64) -> u32 {
        returned(program, MACHINE, number, [first, second, 0, 0, 0, 0])
    }

    #[test]
    fn calls_have_the_action_of_their_rule_and_others_the_default() {
        let program = compiled(
            "SCMP_ACT_ERRNO",
            r#"{"names": ["read", "no_such_call"], "action": "SCMP_ACT_ALLOW"},
               {"names": ["write"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5},
               {"names": ["close"], "action": "SCMP_ACT_KILL_PROCESS"},
               {"names": ["dup"], "action": "SCMP_ACT_LOG"},
               {"names": ["bind"], "action": "SCMP_ACT_TRACE", "errnoRet": 7},
               {"names": ["listen"], "action": "SCMP_ACT_TRAP"},
               {"names": ["accept"], "action": "SCMP_ACT_KILL"}"#,
        );
        let answers = [
            (libc::SYS_read, ALLOW),
            (libc::SYS_write, libc::SECCOMP_RET_ERRNO | 5),
            (libc::SYS_close, libc::SECCOMP_RET_KILL_PROCESS),
            (libc::SYS_dup, libc::SECCOMP_RET_LOG),
            (libc::SYS_bind, libc::SECCOMP_RET_TRACE | 7),
            (libc::SYS_listen, libc::SECCOMP_RET_TRAP),
            (libc::SYS_accept, libc::SECCOMP_RET_KILL_THREAD),
            (libc::SYS_openat, EPERM),
            (9999, EPERM),
        ];
        for (number, answer) in answers {
            assert_eq!(ask(&program, number, 0, 0), answer, "number {number}");
        }
        assert_eq!(returned(&program, 0x4000_0003, libc::SYS_read, [0; 6]), ENOSYS);
        assert_eq!(ask(&program, i64::from(X32) | libc::SYS_read, 0, 0), ENOSYS);
    }

    #[test]
    fn every_operator_compares_all_64_bits() {
        let values =
            [0, 1, 5, 6, 7, 1 << 32, (1 << 32) + 5, (1 << 32) + 6, (1 << 32) + 7, u64::MAX];
        let meets = |op: &str, a: u64, b: u64| match op {
            "EQ" => a == b,
            "NE" => a != b,
            "LT" => a < b,
            "LE" => a <= b,
            "GT" => a > b,
            "GE" => a >= b,
            _ => unreachable!("{op}"),
        };
        for op in ["EQ", "NE", "LT", "LE", "GT", "GE"] {
            for with in [6, (1 << 32) + 6] {
                let program = compiled(
                    "SCMP_ACT_ERRNO",
                    &format!(
                        r#"{{"names": ["read"], "action": "SCMP_ACT_ALLOW",
                        "args": [{{"index": 0, "value": {with}, "op": "SCMP_CMP_{op}"}}]}}"#
                    ),
                );
                for value in values {
                    let expected = if meets(op, value, with) { ALLOW } else { EPERM };
                    let answer = ask(&program, libc::SYS_read, value, 0);
                    assert_eq!(answer, expected, "{value} {op} {with}");
                }
            }
        }
    }

    #[test]
    fn a_mask_leaves_what_is_compared() {
        let program = compiled(
            "SCMP_ACT_ERRNO",
            r#"{"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args":
                [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}"#,
        );
        assert_eq!(ask(&program, libc::SYS_clone, libc::SIGCHLD as u64, 0), ALLOW);
        assert_eq!(ask(&program, libc::SYS_clone, 1 << 40, 0), ALLOW);
        assert_eq!(ask(&program, libc::SYS_clone, libc::CLONE_NEWNS as u64, 0), EPERM);
    }

    #[test]
    fn conditions_hold_together_unless_one_argument_has_two() {
        let args = |first: u8, second: u8| {
            let arg = |index, value| {
                format!(r#"{{"index": {index}, "value": {value}, "op": "SCMP_CMP_EQ"}}"#)
            };
            let args = format!("[{}, {}]", arg(first, 1), arg(second, 2));
            compiled(
                "SCMP_ACT_ERRNO",
                &format!(r#"{{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": {args}}}"#),
            )
        };
        let (both, either) = (args(0, 1), args(0, 0));
        let all = |program: &[sock_filter]| {
            [(1, 2), (1, 0), (0, 2), (2, 0)]
                .map(|(a, b)| ask(program, libc::SYS_read, a, b) == ALLOW)
        };
        assert_eq!(all(&both), [true, false, false, false]);
        assert_eq!(all(&either), [true, true, false, true]);
    }

    #[test]
    fn a_rule_without_conditions_outweighs_those_with() {
        let with = r#"{"names": ["read"], "action": "SCMP_ACT_KILL",
            "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}"#;
        let without = r#"{"names": ["read"], "action": "SCMP_ACT_ALLOW"}"#;
        for rules in [format!("{with}, {without}"), format!("{without}, {with}")] {
            let program = compiled("SCMP_ACT_ERRNO", &rules);
            assert_eq!(ask(&program, libc::SYS_read, 1, 0), ALLOW);
        }
    }

    #[test]
    fn rules_count_by_capability_kernel_and_machine() {
        let rule = |name: &str, clause: &str| {
            format!(r#"{{"names": ["{name}"], "action": "SCMP_ACT_ALLOW", {clause}}}"#)
        };
        let rules = [
            rule("read", r#""includes": {"caps": ["CAP_CHOWN"]}"#),
            rule("write", r#""includes": {"caps": ["CAP_CHOWN", "CAP_SYS_ADMIN"]}"#),
            rule("close", r#""excludes": {"caps": ["CAP_SYS_ADMIN"]}"#),
            rule("dup", r#""includes": {"minKernel": "6.1"}"#),
            rule("bind", r#""includes": {"minKernel": "6.2"}"#),
            rule("listen", r#""excludes": {"minKernel": "4.8"}"#),
            rule("accept", r#""includes": {"arches": ["amd64", "arm64"]}"#),
            rule("connect", r#""includes": {"arches": ["s390x"]}"#),
        ];
        let numbers = [
            libc::SYS_read,
            libc::SYS_write,
            libc::SYS_close,
            libc::SYS_dup,
            libc::SYS_bind,
            libc::SYS_listen,
            libc::SYS_accept,
            libc::SYS_connect,
        ];
        let passes = |capabilities| {
            let program = compiled_for("SCMP_ACT_ERRNO", &rules.join(","), capabilities, (6, 1));
            numbers.map(|number| u8::from(ask(&program, number, 0, 0) == ALLOW))
        };
        assert_eq!(passes(CapabilitySet::CHOWN), [1, 0, 1, 1, 0, 0, 1, 0]);
        let more = CapabilitySet::CHOWN | CapabilitySet::SYS_ADMIN;
        assert_eq!(passes(more), [1, 1, 0, 1, 0, 0, 1, 0]);
    }
}
