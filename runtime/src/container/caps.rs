//! Capabilities by name.

pub use berth_planner::desired::DEFAULT_CAPABILITIES;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::error::{Context, SetupError};

/// Every capability, in the kernel's order: the index is its number.
pub const ALL_CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Those of these names that we have to give; in a user namespace of its own a container has all.
pub(super) fn held(names: &[String], mapped: bool) -> Vec<String> {
    let all = || rustix::thread::capabilities(None).map(|sets| sets.permitted);
    let ours = if mapped { CapabilitySet::all() } else { all().unwrap_or(CapabilitySet::all()) };
    let is_ours =
        |name: &&String| parse(std::slice::from_ref(name)).is_ok_and(|one| ours.contains(one));
    names.iter().filter(is_ours).cloned().collect()
}

/// The set of these names (upper case, without `CAP_`). An unknown name is refused.
pub fn parse(names: &[String]) -> Result<CapabilitySet, SetupError> {
    let mut bits = 0;
    for name in names {
        let number = ALL_CAPABILITIES.iter().position(|known| known == name);
        let number = number
            .ok_or_else(|| SetupError::refused("set capability", name, "no such capability"))?;
        bits |= 1u64 << number;
    }
    Ok(CapabilitySet::from_bits_retain(bits))
}

/// Every capability.
pub(crate) fn all() -> CapabilitySet {
    each().collect()
}

/// What it takes to read, write and own whatever files there are, set-id bits and capabilities of
/// programs included.
const OVER_FILES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::SETFCAP);

/// Gives up every capability but those over files.
pub(crate) fn keep_those_over_files() -> Result<(), SetupError> {
    const STEP: &str = "give up capabilities";
    let own = rustix::thread::capabilities(None).step(STEP, "permitted")?.permitted & OVER_FILES;
    let inheritable = CapabilitySet::empty();
    let sets = CapabilitySets { effective: own, permitted: own, inheritable };
    rustix::thread::set_capabilities(None, sets).step(STEP, "effective")
}

/// Each capability as a set of its own, in the kernel's order.
pub(crate) fn each() -> impl Iterator<Item = CapabilitySet> {
    (0..ALL_CAPABILITIES.len()).map(|number| CapabilitySet::from_bits_retain(1 << number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_numbers_of_the_kernel() {
        let set =
            parse(&["CHOWN".into(), "SYS_ADMIN".into(), "CHECKPOINT_RESTORE".into()]).unwrap();
        assert_eq!(
            set,
            CapabilitySet::CHOWN | CapabilitySet::SYS_ADMIN | CapabilitySet::CHECKPOINT_RESTORE
        );
    }

    #[test]
    fn the_default_set_is_the_eleven() {
        let names = DEFAULT_CAPABILITIES.map(String::from);
        assert_eq!(parse(&names).unwrap().bits(), 0x8004_05fb);
    }

    #[test]
    fn an_unknown_name_is_refused() {
        let error = parse(&["cap_chown".into()]).unwrap_err();
        assert_eq!(error.to_string(), "set capability `cap_chown`: no such capability");
    }
}
