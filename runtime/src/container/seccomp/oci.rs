//! The same rules for a program that takes them as the OCI runtime specification writes them
//! (config-linux.md, "Seccomp").
//!
//! libseccomp, which the runtimes give them to, has no rule "in all other cases" beside one with a
//! condition. So the other cases are listed: what is not one of some values begins with as many
//! bits like one of them, then differs in the next.

use berth_planner::desired::Seccomp;
use berth_planner::seccomp::{Action, Argument, Profile};
use libc::{AF_ALG, AF_NETLINK, AF_VSOCK, NETLINK_AUDIT, TIOCLINUX, TIOCSTI};
use serde_json::{Value, json};
use syscalls::Sysno;

use super::profile::{Ground, counts};
use super::{Ioctl, NEW_NAMESPACES, PERSONALITIES, PROJECT_REQUESTS, Rule, kernel, rules};
use crate::bundle::Process;
use crate::container::caps;
use crate::container::error::SetupError;

#[cfg(target_arch = "x86_64")]
const ARCH: &str = "SCMP_ARCH_X86_64";
#[cfg(target_arch = "aarch64")]
const ARCH: &str = "SCMP_ARCH_AARCH64";

/// The filter of a process, if it has one.
///
/// # Errors
/// A capability that nobody knows.
pub(crate) fn of_oci(process: &Process, privileged: bool) -> Result<Option<Value>, SetupError> {
    let capabilities = caps::parse(&process.capabilities)?;
    let ioctl = match process.keeps_project {
        true => Ioctl::KeepingProject,
        false => Ioctl::Usual,
    };
    match &process.seccomp {
        Seccomp::Unconfined => Ok(None),
        Seccomp::Builtin if privileged => Ok(None),
        Seccomp::Builtin => Ok(Some(builtin(rules(capabilities, ioctl)?))),
        Seccomp::Profile { profile, .. } => {
            of_profile(profile, Ground { capabilities, kernel: kernel() }).map(Some)
        }
    }
}

fn builtin(rules: impl IntoIterator<Item = (u32, Rule)>) -> Value {
    let calls: Vec<(&str, Rule)> =
        rules.into_iter().filter_map(|(number, rule)| Some((name(number)?, rule))).collect();
    let of = |wanted: Rule| {
        let names = calls.iter().filter(move |(_, rule)| *rule == wanted);
        names.map(|(name, _)| *name).collect::<Vec<_>>()
    };
    let mut list = vec![call(&of(Rule::Open), ALLOW, &[]), call(&of(Rule::Closed), EPERM, &[])];
    let mut guard = |rule, action, conditions: Vec<Vec<Condition>>| {
        let names = of(rule);
        list.extend(conditions.iter().map(|all| call(&names, action, all)));
    };
    let one = |index, mask, value| vec![Condition { index, mask, value }];
    let each = |index, values: &[u32]| values.iter().map(|v| one(index, u32::MAX, *v)).collect();
    let other = |index, values: &[u32]| {
        let others = others(values).into_iter();
        others.map(|(mask, value)| one(index, mask, value)).collect::<Vec<_>>()
    };
    guard(Rule::Clone, ALLOW, vec![one(0, NEW_NAMESPACES, 0)]);
    guard(Rule::Clone, EPERM, any_of(NEW_NAMESPACES).map(|(m, v)| one(0, m, v)).collect());
    guard(Rule::Personality, ALLOW, each(0, &PERSONALITIES));
    guard(Rule::Personality, EPERM, other(0, &PERSONALITIES));
    let terminals = [TIOCSTI as u32, TIOCLINUX as u32];
    let projects = [terminals, PROJECT_REQUESTS].concat();
    guard(Rule::Ioctl, EPERM, each(1, &terminals));
    guard(Rule::Ioctl, ALLOW, other(1, &terminals));
    guard(Rule::IoctlKeepingProject, EPERM, each(1, &projects));
    guard(Rule::IoctlKeepingProject, ALLOW, other(1, &projects));
    let netlink = AF_NETLINK as u32;
    guard(Rule::Socket, EPERM, each(0, &[AF_ALG as u32, AF_VSOCK as u32]));
    guard(Rule::Socket, ALLOW, other(0, &[AF_ALG as u32, AF_VSOCK as u32, netlink]));
    let with_netlink = |condition: Vec<Condition>| [one(0, u32::MAX, netlink), condition].concat();
    let audit = [NETLINK_AUDIT as u32];
    guard(Rule::Socket, NO_PROTOCOL, vec![with_netlink(one(2, u32::MAX, audit[0]))]);
    guard(Rule::Socket, ALLOW, other(2, &audit).into_iter().map(with_netlink).collect());
    list.retain(|call| call["names"].as_array().is_some_and(|names| !names.is_empty()));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": libc::ENOSYS,
        "architectures": [ARCH],
        "syscalls": list,
    })
}

/// A call by name; the runtime's library may know it where ours does not, and the other way round.
fn name(number: u32) -> Option<&'static str> {
    Sysno::new(number as usize).map(|call| call.name())
}

const ALLOW: Action = Action::Allow;
const EPERM: Action = Action::Errno(libc::EPERM as u16);
const NO_PROTOCOL: Action = Action::Errno(libc::EPROTONOSUPPORT as u16);

/// Bits of an argument that have to be so. The kernel reads no more than 32 of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Condition {
    index: u8,
    mask: u32,
    value: u32,
}

fn call(names: &[&str], action: Action, conditions: &[Condition]) -> Value {
    let conditions = conditions.iter().map(|condition| {
        json!({
            "index": condition.index,
            "value": condition.mask,
            "valueTwo": condition.value,
            "op": "SCMP_CMP_MASKED_EQ",
        })
    });
    written(names, action, conditions.collect())
}

fn written(names: &[&str], action: Action, args: Vec<Value>) -> Value {
    let (word, number) = word(action);
    let mut call = json!({"names": names, "action": word});
    if let Some(number) = number {
        call["errnoRet"] = json!(number);
    }
    if !args.is_empty() {
        call["args"] = Value::Array(args);
    }
    call
}

fn word(action: Action) -> (&'static str, Option<u16>) {
    match action {
        Action::Allow => ("SCMP_ACT_ALLOW", None),
        Action::Log => ("SCMP_ACT_LOG", None),
        Action::Errno(number) => ("SCMP_ACT_ERRNO", Some(number)),
        Action::Trace(number) => ("SCMP_ACT_TRACE", Some(number)),
        Action::Trap => ("SCMP_ACT_TRAP", None),
        Action::KillThread => ("SCMP_ACT_KILL_THREAD", None),
        Action::KillProcess => ("SCMP_ACT_KILL_PROCESS", None),
    }
}

/// Masks and values of everything that is none of these, each number in one of them alone.
fn others(values: &[u32]) -> Vec<(u32, u32)> {
    fn split(bit: u32, mask: u32, value: u32, left: &[u32], found: &mut Vec<(u32, u32)>) {
        if left.is_empty() {
            found.push((mask, value));
        } else if bit > 0 {
            let bit = bit - 1;
            for digit in [0, 1u32 << bit] {
                let left: Vec<u32> =
                    left.iter().copied().filter(|one| one & (1 << bit) == digit).collect();
                split(bit, mask | 1 << bit, value | digit, &left, found);
            }
        }
    }
    let mut found = Vec::new();
    split(32, 0, 0, values, &mut found);
    found
}

/// Masks and values of everything that has one of these bits, each number in one of them alone.
fn any_of(bits: u32) -> impl Iterator<Item = (u32, u32)> {
    (0..32).map(|bit| 1u32 << bit).filter(move |bit| bits & bit != 0).map(move |bit| {
        let below = bits & (bit - 1);
        (below | bit, bit)
    })
}

/// A profile of the user, with the rules that count here.
fn of_profile(profile: &Profile, ground: Ground) -> Result<Value, SetupError> {
    let mut calls = Vec::new();
    for rule in &profile.rules {
        if counts(rule, ground)? {
            let names: Vec<&str> = rule.names.iter().map(String::as_str).collect();
            calls.push(written(&names, rule.action, rule.args.iter().map(argument).collect()));
        }
    }
    let (word, number) = word(profile.default);
    let mut filter = json!({"defaultAction": word, "architectures": [ARCH], "syscalls": calls});
    if let Some(number) = number {
        filter["defaultErrnoRet"] = json!(number);
    }
    let flags = [
        (profile.log, "SECCOMP_FILTER_FLAG_LOG"),
        (profile.speculation, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"),
    ];
    let flags: Vec<&str> = flags.iter().filter(|(on, _)| *on).map(|(_, flag)| *flag).collect();
    if !flags.is_empty() {
        filter["flags"] = json!(flags);
    }
    Ok(filter)
}

fn argument(argument: &Argument) -> Value {
    json!({
        "index": argument.index,
        "value": argument.value,
        "valueTwo": argument.value_two,
        "op": argument.op,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matching(parts: &[(u32, u32)], number: u32) -> usize {
        parts.iter().filter(|(mask, value)| number & mask == *value).count()
    }

    #[test]
    fn everything_but_some_values_is_covered_once() {
        let values = [TIOCSTI as u32, TIOCLINUX as u32, u32::MAX, 0];
        let parts = others(&values);
        for value in values {
            assert_eq!(matching(&parts, value), 0, "{value:#x}");
            for bit in 0..32 {
                let near = value ^ (1 << bit);
                assert_eq!(matching(&parts, near), usize::from(!values.contains(&near)));
            }
        }
    }

    #[test]
    fn every_number_with_one_of_some_bits_is_covered_once() {
        let parts: Vec<_> = any_of(NEW_NAMESPACES).collect();
        for number in [0, 1, 0x1000_0000, 0x1200_0011, 0x7e02_0000, u32::MAX, 0x0002_0000] {
            let expected = usize::from(number & NEW_NAMESPACES != 0);
            assert_eq!(matching(&parts, number), expected, "{number:#x}");
        }
    }
}
