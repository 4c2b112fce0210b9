//! Kernel settings below `/proc/sys/net`, of the calling thread's network namespace.

use std::fs;
use std::io;
use std::path::Path;

use crate::error::{Result, refused};

/// Writes a setting.
pub(crate) fn set(key: &str, value: &str) -> Result<()> {
    fs::write(path(key), value).map_err(refused("write sysctl", format!("net/{key}")))
}

/// Writes a setting that a kernel without IPv6 does not have.
pub(crate) fn set_ipv6(key: &str, value: &str) -> Result<()> {
    match fs::write(path(key), value) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(refused("write sysctl", format!("net/{key}"))),
    }
}

/// Reads a setting that a kernel without IPv6 does not have: then it is empty.
pub(crate) fn get_ipv6(key: &str) -> Result<String> {
    match fs::read_to_string(path(key)) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err(refused("read sysctl", format!("net/{key}"))(e)),
    }
}

/// Turns a setting on and says whether it was off.
pub(crate) fn switch_on(key: &str) -> Result<bool> {
    let text =
        fs::read_to_string(path(key)).map_err(refused("read sysctl", format!("net/{key}")))?;
    if text.trim() != "0" {
        return Ok(false);
    }
    set(key, "1").map(|()| true)
}

/// Whether frames within a bridge can pass the packet rules: br_netfilter is there.
pub(crate) fn bridged_frames_have_rules() -> bool {
    Path::new(&path("bridge")).exists()
}

/// Whether those of this bridge do, whatever holds for others.
pub(crate) fn frames_have_rules(bridge: &str) -> bool {
    let switch = format!("/sys/class/net/{bridge}/bridge/nf_call_iptables");
    bridged_frames_have_rules() && fs::read_to_string(switch).is_ok_and(|on| on.trim() == "1")
}

fn path(key: &str) -> String {
    format!("/proc/sys/net/{key}")
}
