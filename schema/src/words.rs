//! Words and forms that values of the typed stack have.

use std::net::IpAddr;

use crate::stack::{OnChange, PullPolicy, RestartPolicy};
use crate::value::{self, Bad, bad};

/// A fixed name of a container.
pub fn container_name(text: &str) -> Result<String, Bad> {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && text.len() > 1 && value::is_name(text) {
        return Ok(text.to_owned());
    }
    no_container_name()
}

/// Says what the name of a container is made of.
pub fn no_container_name<T>() -> Result<T, Bad> {
    bad(
        "is not a container name",
        "two or more letters, digits, `.`, `_` and `-`, starting with a letter or digit",
    )
}

/// A capability or `ALL`, without `CAP_`, in upper case.
pub fn capability(text: &str) -> Result<String, Bad> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if name == "ALL" || CAPABILITIES.contains(&name) {
        return Ok(name.to_owned());
    }
    let help = value::nearest(name, CAPABILITIES).map(|near| format!("did you mean `{near}`?"));
    Err(Bad { why: "is not a capability".into(), help })
}

/// A signal by name or number; names in the `SIGTERM` form.
pub fn signal(text: &str) -> Result<String, Bad> {
    let upper = text.to_ascii_uppercase();
    if let Ok(number) = upper.parse::<u32>() {
        return match number {
            1..=64 => Ok(text.to_owned()),
            _ => bad("is not a signal", "signals are 1 to 64, or names such as SIGTERM"),
        };
    }
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = name.starts_with("RTMIN") || name.starts_with("RTMAX");
    if SIGNALS.contains(&name) || real_time {
        return Ok(format!("SIG{name}"));
    }
    let help = value::nearest(name, SIGNALS).map(|near| format!("did you mean `SIG{near}`?"));
    Err(Bad { why: "is not a signal".into(), help })
}

const CHANGES: [&str; 4] = ["none", "signal:HUP", "restart", "replace"];
const RESTARTS: [&str; 4] = ["no", "always", "unless-stopped", "on-failure"];
const PULLS: [&str; 5] = ["always", "missing", "never", "daily", "weekly"];

/// The word that is nearly this one.
fn meant(text: &str, words: &[&str]) -> Option<String> {
    let near = value::nearest(text, words.iter().copied())?;
    Some(format!("did you mean `{near}`?"))
}

/// A restart policy.
pub fn restart(text: &str) -> Result<RestartPolicy, Bad> {
    const HELP: &str = "write no, always, unless-stopped, on-failure or on-failure:3";
    match text.split_once(':').map_or((text, None), |(name, count)| (name, Some(count))) {
        ("no" | "", None) => Ok(RestartPolicy::No),
        ("always", None) => Ok(RestartPolicy::Always),
        ("unless-stopped", None) => Ok(RestartPolicy::UnlessStopped),
        ("on-failure", None) => Ok(RestartPolicy::OnFailure(0)),
        ("on-failure", Some(count)) => match count.parse() {
            Ok(count) => Ok(RestartPolicy::OnFailure(count)),
            Err(_) => bad("has a count that is no number", HELP),
        },
        (name, _) => bad("is not a restart policy", &meant(name, &RESTARTS).unwrap_or(HELP.into())),
    }
}

/// What happens when a config or secret has another content.
pub fn on_change(text: &str) -> Result<OnChange, Bad> {
    match text {
        "none" => Ok(OnChange::None),
        "restart" => Ok(OnChange::Restart),
        "replace" => Ok(OnChange::Replace),
        "recreate" => bad("is not known here", "did you mean `replace`?"),
        _ => match text.strip_prefix("signal:") {
            Some(name) => signal(name).map(OnChange::Signal),
            None => {
                let help = "write none, signal:HUP, restart or replace".to_owned();
                bad("is not known here", &meant(text, &CHANGES).unwrap_or(help))
            }
        },
    }
}

/// A pull policy.
pub fn pull_policy(text: &str) -> Result<PullPolicy, Bad> {
    const HELP: &str = "write always, missing, never, daily, weekly or every_DURATION";
    match text {
        "always" => Ok(PullPolicy::Always),
        "missing" | "if_not_present" | "" => Ok(PullPolicy::Missing),
        "never" => Ok(PullPolicy::Never),
        "daily" => Ok(PullPolicy::Every(86_400)),
        "weekly" => Ok(PullPolicy::Every(604_800)),
        "build" => bad("needs a builder, which berth does not have yet", HELP),
        _ => match text.strip_prefix("every_") {
            Some(time) => Ok(PullPolicy::Every(value::duration(time)?.as_secs())),
            None => bad("is not a pull policy", &meant(text, &PULLS).unwrap_or(HELP.into())),
        },
    }
}

/// A MAC address.
pub fn mac_address(text: &str) -> Result<String, Bad> {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let ok = |part: &&str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    if parts.len() == 6 && parts.iter().all(ok) {
        return Ok(text.to_owned());
    }
    bad("is not a MAC address", "write six pairs of hexadecimal digits: `02:42:ac:11:00:02`")
}

/// A subnet as address and length.
pub fn subnet(text: &str) -> Result<String, Bad> {
    const HELP: &str = "write an address and a length: `10.1.0.0/24`";
    let Some((address, length)) = text.split_once('/') else {
        return bad("is not a subnet", HELP);
    };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return bad("is not a subnet", HELP),
    };
    match length.parse::<u32>() {
        Ok(length) if length <= most => Ok(text.to_owned()),
        _ => bad("has a length that cannot be", HELP),
    }
}

/// A list of processors.
pub fn cpuset(text: &str) -> Result<String, Bad> {
    let number = |text: &str| text.parse::<u32>().is_ok();
    let part = |part: &str| match part.split_once('-') {
        Some((first, last)) => number(first) && number(last),
        None => number(part),
    };
    if text.split(',').all(part) {
        return Ok(text.to_owned());
    }
    bad("is not a list of processors", "write it like `0-1,3`")
}

/// Capabilities without `CAP_`.
pub const CAPABILITIES: [&str; 41] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

const SIGNALS: [&str; 33] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "IOT", "BUS", "FPE", "KILL", "USR1", "SEGV",
    "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CLD", "CONT", "STOP", "TSTP", "TTIN",
    "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
