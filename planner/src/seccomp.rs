//! Profiles of seccomp, in the format of Docker and the OCI: JSON text becomes a [`Profile`].
//!
//! What a profile means on one machine (its numbers of system calls, its kernel, the capabilities
//! of a container) is worked out where it is compiled. Keys, actions and operators that are not
//! known are refused with their place in the text; a system call that is not known is no error,
//! because kernels differ in those (libseccomp, `seccomp_rule_add(3)`).

use serde::{Deserialize, Deserializer, Serialize};

/// Longest text that is read as a profile; that of Docker has 13 KiB.
pub const MAX_BYTES: usize = 1 << 20;

/// A profile that can be compiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// What becomes of a call that no rule is about.
    pub default: Action,
    /// The kernel writes down every call that does not simply pass
    /// (`SECCOMP_FILTER_FLAG_LOG`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub log: bool,
    /// Speculation stays as it is (`SECCOMP_FILTER_FLAG_SPEC_ALLOW`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub speculation: bool,
    /// In the order of the text.
    pub rules: Vec<Rule>,
}

/// What becomes of some calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The calls by name.
    pub names: Vec<String>,
    /// What becomes of them.
    pub action: Action,
    /// Conditions on their arguments; see [`Rule::alternatives`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Argument>,
    /// The rule counts only where all of this is so.
    #[serde(default, skip_serializing_if = "Where::is_empty")]
    pub includes: Where,
    /// The rule does not count where any of this is so.
    #[serde(default, skip_serializing_if = "Where::is_empty")]
    pub excludes: Where,
}

impl Rule {
    /// Sets of conditions of which one has to be met, each as a whole. An argument that is named
    /// more than once makes every condition an alternative, as in runc.
    pub fn alternatives(&self) -> Vec<&[Argument]> {
        let twice = |arg: &Argument| self.args.iter().filter(|a| a.index == arg.index).count() > 1;
        match self.args.iter().any(twice) {
            true => self.args.chunks(1).collect(),
            false => vec![&self.args],
        }
    }
}

/// What becomes of a call (seccomp(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It passes.
    Allow,
    /// It passes and is written down.
    Log,
    /// It fails with this number.
    Errno(u16),
    /// A tracer decides and gets this number; without one it fails with ENOSYS.
    Trace(u16),
    /// The process gets SIGSYS.
    Trap,
    /// The thread ends.
    KillThread,
    /// The process ends.
    KillProcess,
}

/// A condition on an argument of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Argument {
    /// 0 to 5.
    pub index: u8,
    /// How it is compared.
    pub op: Operator,
    /// With what; the mask of [`Operator::MaskedEqual`].
    pub value: u64,
    /// What is left under the mask.
    #[serde(default)]
    pub value_two: u64,
}

/// How an argument is compared, as all of its 64 bits without a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// `==`
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    /// `!=`
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    /// `<`
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    /// `<=`
    #[serde(rename = "SCMP_CMP_LE")]
    LessOrEqual,
    /// `>`
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    /// `>=`
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterOrEqual,
    /// `argument & value == value_two`
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

/// Where a rule counts, or does not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Where {
    /// Capabilities in the bounding set, without `CAP_`.
    #[serde(default, deserialize_with = "capabilities", skip_serializing_if = "Vec::is_empty")]
    pub caps: Vec<String>,
    /// Machines as Go names them (`amd64`, `arm64`).
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub arches: Vec<String>,
    /// A kernel of this version or later.
    #[serde(
        default,
        rename = "minKernel",
        deserialize_with = "version",
        skip_serializing_if = "Option::is_none"
    )]
    pub min_kernel: Option<(u32, u32)>,
}

impl Where {
    fn is_empty(&self) -> bool {
        *self == Where::default()
    }
}

/// Reads a profile.
///
/// # Errors
/// What is wrong, in words, with line and column.
pub fn parse(text: &[u8]) -> Result<Profile, String> {
    if text.len() > MAX_BYTES {
        return Err("it is larger than 1 MiB".to_owned());
    }
    serde_json::from_slice::<Written>(text).map(|written| written.0).map_err(|e| e.to_string())
}

/// A profile as people write it.
#[derive(Deserialize)]
#[serde(try_from = "Text")]
struct Written(Profile);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Text {
    default_action: Word,
    default_errno_ret: Option<u16>,
    /// Podman writes the name of the number beside it.
    #[serde(rename = "defaultErrno")]
    _default_errno: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    architectures: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    arch_map: Vec<Architecture>,
    #[serde(default, deserialize_with = "nullable")]
    flags: Vec<Flag>,
    #[serde(default, deserialize_with = "nullable")]
    syscalls: Vec<WrittenRule>,
    #[serde(rename = "comment")]
    _comment: Option<String>,
}

/// Which machines a profile is for. This one is always among them, and calls of another one,
/// 32-bit ones as well, never pass.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Architecture {
    #[serde(rename = "architecture")]
    _architecture: String,
    #[serde(rename = "subArchitectures", default, deserialize_with = "nullable")]
    _below: Vec<String>,
}

#[derive(Deserialize, PartialEq)]
enum Flag {
    #[serde(rename = "SECCOMP_FILTER_FLAG_TSYNC")]
    Tsync,
    #[serde(rename = "SECCOMP_FILTER_FLAG_LOG")]
    Log,
    #[serde(rename = "SECCOMP_FILTER_FLAG_SPEC_ALLOW")]
    SpecAllow,
}

#[derive(Deserialize)]
#[serde(try_from = "RuleText")]
struct WrittenRule(Rule);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RuleText {
    name: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    names: Vec<String>,
    action: Word,
    errno_ret: Option<u16>,
    #[serde(rename = "errno")]
    _errno: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    args: Vec<WrittenArgument>,
    #[serde(rename = "comment")]
    _comment: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    includes: Where,
    #[serde(default, deserialize_with = "nullable")]
    excludes: Where,
}

#[derive(Deserialize)]
#[serde(try_from = "ArgumentText")]
struct WrittenArgument(Argument);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ArgumentText {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: Operator,
}

/// An action by name.
#[derive(Deserialize, Clone, Copy)]
enum Word {
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    #[serde(rename = "SCMP_ACT_KILL", alias = "SCMP_ACT_KILL_THREAD")]
    KillThread,
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    #[serde(rename = "SCMP_ACT_NOTIFY")]
    Notify,
}

impl Word {
    /// With its number, which only two of them have; EPERM unless it says otherwise.
    fn action(self, number: Option<u16>) -> Result<Action, String> {
        const EPERM: u16 = 1;
        let action = match self {
            Word::Errno => return Ok(Action::Errno(number.unwrap_or(EPERM))),
            Word::Trace => return Ok(Action::Trace(number.unwrap_or(EPERM))),
            Word::Notify => {
                return Err("`SCMP_ACT_NOTIFY` needs an agent, and there is none".into());
            }
            Word::Allow => Action::Allow,
            Word::Log => Action::Log,
            Word::Trap => Action::Trap,
            Word::KillThread => Action::KillThread,
            Word::KillProcess => Action::KillProcess,
        };
        match number {
            // OCI runtime specification, config-linux.md, seccomp: it must fail.
            Some(_) => Err("only `SCMP_ACT_ERRNO` and `SCMP_ACT_TRACE` have an `errnoRet`".into()),
            None => Ok(action),
        }
    }
}

impl TryFrom<Text> for Written {
    type Error = String;

    fn try_from(text: Text) -> Result<Written, String> {
        if !text.architectures.is_empty() && !text.arch_map.is_empty() {
            return Err("there are both `architectures` and `archMap`: keep one of them".into());
        }
        let default = text.default_action.action(text.default_errno_ret)?;
        let has = |flag| text.flags.contains(&flag);
        Ok(Written(Profile {
            default,
            log: has(Flag::Log),
            speculation: has(Flag::SpecAllow),
            rules: text.syscalls.into_iter().map(|rule| rule.0).collect(),
        }))
    }
}

impl TryFrom<RuleText> for WrittenRule {
    type Error = String;

    fn try_from(text: RuleText) -> Result<WrittenRule, String> {
        let mut names = text.names;
        match text.name {
            Some(_) if !names.is_empty() => {
                return Err("there are both `name` and `names`: keep one of them".into());
            }
            Some(name) => names.push(name),
            None => {}
        }
        Ok(WrittenRule(Rule {
            names,
            action: text.action.action(text.errno_ret)?,
            args: text.args.into_iter().map(|arg| arg.0).collect(),
            includes: text.includes,
            excludes: text.excludes,
        }))
    }
}

impl TryFrom<ArgumentText> for WrittenArgument {
    type Error = String;

    fn try_from(text: ArgumentText) -> Result<WrittenArgument, String> {
        let ArgumentText { index, value, value_two, op } = text;
        if index > 5 {
            return Err(format!("a call has the arguments 0 to 5, and none of index {index}"));
        }
        Ok(WrittenArgument(Argument { index, op, value, value_two }))
    }
}

/// `null` is as good as nothing.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Names with or without `CAP_`, kept without.
fn capabilities<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let names: Vec<String> = nullable(deserializer)?;
    let plain = |name: String| name.strip_prefix("CAP_").map(str::to_owned).unwrap_or(name);
    Ok(names.into_iter().map(plain).collect())
}

/// `4.8` or, as this module writes it, `[4, 8]`.
fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<(u32, u32)>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Version {
        Text(String),
        Pair((u32, u32)),
    }
    let text = match Option::deserialize(deserializer)? {
        None => return Ok(None),
        Some(Version::Pair(pair)) => return Ok(Some(pair)),
        Some(Version::Text(text)) => text,
    };
    let parts = text.split_once('.').map(|(major, minor)| (major.parse(), minor.parse()));
    match parts {
        Some((Ok(major), Ok(minor))) => Ok(Some((major, minor))),
        _ => Err(serde::de::Error::custom(format!("`{text}` is no version like `4.8`"))),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn told(text: &str) -> String {
        match parse(text.as_bytes()) {
            Ok(profile) => serde_json::to_string(&profile).unwrap(),
            Err(why) => why,
        }
    }

    #[test]
    fn a_profile_is_read_with_all_it_may_say() {
        let text = r#"{
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "defaultErrno": "ENOSYS",
            "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": null}],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "syscalls": [
                {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW", "args": null,
                 "comment": "", "includes": {}, "excludes": {}},
                {"name": "clone", "action": "SCMP_ACT_KILL",
                 "args": [{"index": 0, "value": 2114060288, "valueTwo": 0,
                           "op": "SCMP_CMP_MASKED_EQ"}],
                 "excludes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["s390"]},
                 "includes": {"minKernel": "4.8"}}
            ]}"#;
        assert_snapshot!(told(text), @r#"{"default":{"errno":38},"log":true,"rules":[{"names":["read","write"],"action":"allow"},{"names":["clone"],"action":"kill_thread","args":[{"index":0,"op":"SCMP_CMP_MASKED_EQ","value":2114060288,"value_two":0}],"includes":{"minKernel":[4,8]},"excludes":{"caps":["SYS_ADMIN"],"arches":["s390"]}}]}"#);
        let profile = parse(text.as_bytes()).unwrap();
        let again = serde_json::from_str(&serde_json::to_string(&profile).unwrap()).unwrap();
        assert_eq!(profile, again);
    }

    #[test]
    fn what_is_not_known_is_told_with_its_place() {
        let rule = |rest: &str| {
            told(&format!("{{\"defaultAction\": \"SCMP_ACT_ALLOW\",\n\"syscalls\": [{{{rest}}}]}}"))
        };
        let told = [
            told("{"),
            told("{}"),
            told(r#"{"defaultAction": "SCMP_ACT_OK"}"#),
            told(r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#),
            told(r#"{"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}"#),
            told(r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscals": []}"#),
            rule(r#""names": ["a"], "name": "b", "action": "SCMP_ACT_ALLOW""#),
            rule(r#""names": ["a"], "action": "SCMP_ACT_KILL", "errnoRet": 5"#),
            rule(
                r#""names": ["a"], "action": "SCMP_ACT_KILL",
                "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]"#,
            ),
            rule(
                r#""names": ["a"], "action": "SCMP_ACT_KILL",
                "args": [{"index": 0, "value": 1, "op": "EQ"}]"#,
            ),
            rule(r#""names": ["a"], "action": "SCMP_ACT_KILL", "includes": {"minKernel": "4"}"#),
        ];
        assert_snapshot!(told.join("\n"), @"
        EOF while parsing an object at line 1 column 1
        missing field `defaultAction` at line 1 column 2
        unknown variant `SCMP_ACT_OK`, expected one of `SCMP_ACT_ALLOW`, `SCMP_ACT_LOG`, `SCMP_ACT_ERRNO`, `SCMP_ACT_TRACE`, `SCMP_ACT_TRAP`, `SCMP_ACT_KILL`, `SCMP_ACT_KILL_THREAD`, `SCMP_ACT_KILL_PROCESS`, `SCMP_ACT_NOTIFY` at line 1 column 31
        `SCMP_ACT_NOTIFY` needs an agent, and there is none
        only `SCMP_ACT_ERRNO` and `SCMP_ACT_TRACE` have an `errnoRet`
        unknown field `syscals`, expected one of `defaultAction`, `defaultErrnoRet`, `defaultErrno`, `architectures`, `archMap`, `flags`, `syscalls`, `comment` at line 1 column 45
        there are both `name` and `names`: keep one of them at line 2 column 71
        only `SCMP_ACT_ERRNO` and `SCMP_ACT_TRACE` have an `errnoRet` at line 2 column 72
        a call has the arguments 0 to 5, and none of index 6 at line 3 column 71
        unknown variant `EQ`, expected one of `SCMP_CMP_EQ`, `SCMP_CMP_NE`, `SCMP_CMP_LT`, `SCMP_CMP_LE`, `SCMP_CMP_GT`, `SCMP_CMP_GE`, `SCMP_CMP_MASKED_EQ` at line 3 column 60
        `4` is no version like `4.8` at line 2 column 87
        ");
    }

    #[test]
    fn an_argument_that_is_named_twice_makes_alternatives() {
        let of = |indices: &[u8]| {
            let arg = |index: &u8| Argument {
                index: *index,
                op: Operator::Equal,
                value: 1,
                value_two: 0,
            };
            let rule = Rule {
                names: vec![],
                action: Action::Allow,
                args: indices.iter().map(arg).collect(),
                includes: Where::default(),
                excludes: Where::default(),
            };
            rule.alternatives().iter().map(|all| all.len()).collect::<Vec<_>>()
        };
        assert_eq!((of(&[]), of(&[0, 1]), of(&[0, 0, 1])), (vec![0], vec![2], vec![1, 1, 1]));
    }
}
