//! The modules of the kernel that confine by rules of the host.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use berth_planner::unfit::{AppArmor, Modules};
use rustix::fs::{Mode, OFlags, openat};

use crate::container::mount_securityfs;

/// Whether AppArmor is built in and on (`Y`).
const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
/// Where securityfs is usually mounted.
const SECURITYFS: &str = "/sys/kernel/security";
/// The loaded profiles, a line each, below securityfs.
const PROFILES: &str = "apparmor/profiles";

/// Looks for them.
pub(super) fn modules() -> Modules {
    Modules { apparmor: apparmor() }
}

fn apparmor() -> AppArmor {
    if !fs::read_to_string(ENABLED).is_ok_and(|text| text.trim() == "Y") {
        return AppArmor::Off;
    }
    match profiles() {
        Ok(text) => AppArmor::On(names(&text)),
        Err(_) => AppArmor::Unseen,
    }
}

/// The text of the list, also where securityfs is mounted nowhere.
fn profiles() -> io::Result<String> {
    match fs::read_to_string(Path::new(SECURITYFS).join(PROFILES)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let root = mount_securityfs().map_err(io::Error::other)?;
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let mut text = String::new();
            File::from(openat(&root, PROFILES, flags, Mode::empty())?).read_to_string(&mut text)?;
            Ok(text)
        }
        text => text,
    }
}

/// `NAME (MODE)`; a name may have spaces.
fn names(text: &str) -> BTreeSet<String> {
    let names = text.lines().filter_map(|line| Some(line.rsplit_once(" (")?.0));
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_all_before_its_mode() {
        let text = "docker-default (enforce)\n/usr/bin/man//filter (enforce)\nmy web (complain)\n";
        let wanted = ["/usr/bin/man//filter", "docker-default", "my web"];
        assert!(names(text).iter().eq(wanted.iter()), "{:?}", names(text));
    }
}
