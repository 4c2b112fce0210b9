//! A stack with a service that has the lines of a test and one that has none, and what the kernel
//! has for both.

use std::fs;
use std::path::PathBuf;

use crate::{TestHost, skipped};

/// Files of the limit of memory, in v1 and v2.
pub const MEMORY: [&str; 2] = ["memory.limit_in_bytes", "memory.max"];
/// Files of the limit of swap: with the memory in v1, alone in v2.
pub const SWAP: [&str; 2] = ["memory.memsw.limit_in_bytes", "memory.swap.max"];
/// What they have without a limit.
pub const NONE: [&str; 2] = ["9223372036854771712", "max"];

/// A disk of the real host, by its node and its numbers.
pub fn disk() -> Option<(String, String)> {
    let mut disks: Vec<_> = fs::read_dir("/sys/block").ok()?.flatten().collect();
    disks.sort_by_key(fs::DirEntry::file_name);
    disks.into_iter().find_map(|disk| {
        let name = disk.file_name().into_string().ok()?;
        let size = fs::read_to_string(disk.path().join("size")).ok()?;
        let numbers = fs::read_to_string(disk.path().join("dev")).ok()?;
        let node = format!("/dev/{name}");
        let is_disk = size.trim() != "0" && fs::exists(&node).unwrap_or(false);
        is_disk.then(|| (node, numbers.trim().to_owned()))
    })
}

/// A stack of one service with these lines, and one without.
pub fn host(lines: &str) -> TestHost {
    let web: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    let image = "    image: busybox:1\n    command: [sleep, '100000']\n";
    let stack = format!("services:\n  web:\n{image}{web}  plain:\n{image}");
    TestHost::with("compose.yaml", &stack)
}

/// A host on which such a stack is up.
#[track_caller]
pub fn up(lines: &str) -> TestHost {
    let host = host(lines);
    host.berth("up -d").succeeds();
    host
}

/// The cgroup file of a container, by its names in v1 and v2; `None` where neither is.
pub fn file(host: &TestHost, below: &str, names: [&str; 2]) -> Option<PathBuf> {
    names.into_iter().find_map(|name| host.machine().cgroup_with(below, name))
}

/// The content of [`file`] for a service.
///
/// # Panics
/// It cannot be read.
pub fn text(host: &TestHost, service: &str, names: [&str; 2]) -> Option<String> {
    let file = file(host, &format!("berth/stack-{service}-1"), names)?;
    Some(fs::read_to_string(file).expect("a cgroup file").trim().to_owned())
}

/// What the kernel has for `web` and for the service without the attribute; one of two texts each,
/// for v1 and v2.
#[track_caller]
pub fn rows(host: &TestHost, rows: &[([&str; 2], [&str; 2], [&str; 2])]) {
    for (names, limited, default) in rows {
        let Some(web) = text(host, "web", *names) else {
            skipped(&format!("this host has neither of {names:?}"));
            continue;
        };
        let plain = text(host, "plain", *names).expect("both have the file");
        assert!(limited.contains(&web.as_str()), "{names:?} of web: {web:?}");
        assert!(default.contains(&plain.as_str()), "{names:?} of plain: {plain:?}");
    }
}
