//! Limits read back: which files of a group show something else than was written to them.

use std::collections::BTreeSet;
use std::path::Path;

use berth_planner::observed::MovedLimit;
use rustix::fs::CWD;

use super::settings::{self, PERIOD_V1, QUOTA_V1, SWAP_V1, Setting};
use super::{Group, Hierarchies, Version};
use crate::bundle::Cgroup;
use crate::small;

impl Hierarchies {
    /// The limits of a group that its files show otherwise. What cannot be read has not moved.
    ///
    /// Runs that change nothing do this for each container, so only files of limits that are set are read.
    pub(crate) fn moved_limits(&self, limits: &Cgroup) -> Vec<MovedLimit> {
        let version = |name: &str| self.place(name).map(|(_, version)| version);
        let moved = settings::settings(limits, version).into_iter().filter_map(|setting| {
            let (mount, _) = self.place(setting.controller)?;
            let seen = otherwise(&mount.join(&limits.path), &setting)?;
            let unlimited = is_memory(setting.file) && pages(&seen).is_none();
            Some(MovedLimit {
                attribute: setting.attribute.to_owned(),
                file: setting.file.to_owned(),
                set: setting.value,
                seen: if unlimited { "max".to_owned() } else { seen },
            })
        });
        moved.collect()
    }

    /// The root of the hierarchy of a controller, as far as the mounts tell.
    fn place(&self, controller: &str) -> Option<(&Path, Version)> {
        let of_it = |name: &String| name == controller;
        let legacy = self.legacy.iter().find(|legacy| legacy.controllers.iter().any(of_it));
        let legacy = legacy.map(|legacy| (legacy.mount.as_path(), Version::V1));
        legacy.or_else(|| Some((self.unified.as_deref()?, Version::V2)))
    }
}

impl Group {
    /// Settings as its files have them: with what these show, where that is something else.
    pub(super) fn as_seen(&self, mut settings: Vec<Setting>) -> Vec<Setting> {
        for setting in &mut settings {
            let folder = self.controller(setting.controller).map(|(folder, _)| folder);
            if let Some(seen) = folder.and_then(|folder| otherwise(folder, setting)) {
                setting.value = seen;
            }
        }
        settings
    }
}

/// What the file of a setting shows, if that is something else.
fn otherwise(folder: &Path, setting: &Setting) -> Option<String> {
    let agree = comparison(setting.file)?;
    let text = small::text(CWD, folder.join(setting.file)).ok()?;
    let seen = text.trim();
    (!agree(&setting.value, seen)).then(|| seen.to_owned())
}

/// Whether a file shows what was written to it, in the way in which the kernel shows it; `None` for one
/// that has lines for devices, or that some kernels do not keep.
fn comparison(file: &str) -> Option<fn(&str, &str) -> bool> {
    match file {
        file if is_memory(file) => Some(|set, seen| pages(set) == pages(seen)),
        "cpuset.cpus" => Some(|set, seen| cpus(set).is_none_or(|set| Some(set) == cpus(seen))),
        "cpu.shares" => Some(|set, seen| shares(set) == shares(seen)),
        "pids.max" | "cpu.max" | "cpu.weight" | QUOTA_V1 | PERIOD_V1 => {
            Some(|set, seen| set == seen)
        }
        _ => None,
    }
}

fn is_memory(file: &str) -> bool {
    let v1 = ["memory.limit_in_bytes", SWAP_V1];
    let v2 = ["memory.max", "memory.swap.max", "memory.low"];
    v1.contains(&file) || v2.contains(&file)
}

/// Memory is counted in whole pages; `None` is no limit, which v1 shows as the most there can be.
fn pages(text: &str) -> Option<u64> {
    let page = rustix::param::page_size() as u64;
    let most = i64::MAX as u64 / page;
    text.parse::<u64>().ok().map(|bytes| bytes / page).filter(|pages| *pages < most)
}

/// v1 has no others (`MIN_SHARES` and `MAX_SHARES` in `kernel/sched/sched.h`).
fn shares(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().map(|shares| shares.clamp(2, 262_144))
}

/// The CPUs of a list (cpuset(7)), which the kernel sorts and joins; `None` for a form of it that is
/// not known here.
fn cpus(list: &str) -> Option<BTreeSet<u32>> {
    let mut all = BTreeSet::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        all.extend(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn agree(file: &str, set: &str, seen: &str) -> bool {
        comparison(file).unwrap()(set, seen)
    }

    #[test]
    fn what_the_kernel_rounds_sorts_or_spells_otherwise_is_the_same() {
        let none = "9223372036854771712";
        for (file, set, seen) in [
            ("memory.limit_in_bytes", "67108865", "67108864"),
            ("memory.memsw.limit_in_bytes", "-1", none),
            ("memory.max", "67109000", "67108864"),
            ("memory.swap.max", "max", "max"),
            ("memory.swap.max", "18446744073709551615", "max"),
            ("cpuset.cpus", "3,0,1", "0-1,3"),
            ("cpuset.cpus", "0-7:1/2", "0,2,4,6"),
            ("cpu.shares", "0", "2"),
            ("cpu.max", "50000 100000", "50000 100000"),
            ("cpu.cfs_quota_us", "-1", "-1"),
        ] {
            assert!(agree(file, set, seen), "{file}: {set} is shown as {seen}");
        }
    }

    #[test]
    fn another_value_is_another() {
        let none = "9223372036854771712";
        for (file, set, seen) in [
            ("memory.limit_in_bytes", "67108864", "68157440"),
            ("memory.limit_in_bytes", "67108864", none),
            ("memory.memsw.limit_in_bytes", "-1", "67108864"),
            ("memory.max", "67108864", "max"),
            ("memory.low", "33554432", "0"),
            ("memory.swap.max", "0", "max"),
            ("cpuset.cpus", "0-1", "0"),
            ("cpuset.cpus", "0-1", ""),
            ("cpu.shares", "512", "1024"),
            ("cpu.weight", "20", "100"),
            ("cpu.max", "50000 100000", "max 100000"),
            ("cpu.cfs_quota_us", "50000", "-1"),
            ("pids.max", "30", "max"),
        ] {
            assert!(!agree(file, set, seen), "{file}: {set} is not shown as {seen}");
        }
    }

    fn limits() -> Cgroup {
        let path = "x".to_owned();
        Cgroup {
            path,
            memory: Some(64 << 20),
            cpu_micros: Some(500_000),
            pids: 30,
            ..Cgroup::default()
        }
    }

    /// What moved in a group with these files, on a host with these mounts.
    fn moved(name: &str, mounts: &str, files: &[(&str, &str)]) -> String {
        let folder = std::env::temp_dir().join(format!("berth-seen-{name}-{}", std::process::id()));
        for (file, text) in files {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }
        let moved = Hierarchies::parse(mounts, &folder).moved_limits(&limits());
        fs::remove_dir_all(&folder).unwrap();
        moved.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_files_of_v1_are_read_where_each_controller_is() {
        let mounts = "1 1 0:1 / /memory rw - cgroup cgroup rw,memory
1 1 0:1 / /cpu rw - cgroup cgroup rw,cpu,cpuacct
1 1 0:1 / /pids rw - cgroup cgroup rw,pids
1 1 0:1 / /unified rw - cgroup2 cgroup2 rw";
        let files = [
            ("memory/x/memory.limit_in_bytes", "9223372036854771712"),
            ("cpu/x/cpu.cfs_period_us", "100000"),
            ("cpu/x/cpu.cfs_quota_us", "-1"),
            ("pids/x/pids.max", "30"),
            ("unified/x/pids.max", "31"),
        ];
        insta::assert_snapshot!(moved("v1", mounts, &files), @r"
        mem_limit: memory.limit_in_bytes is max, not 67108864
        cpus: cpu.cfs_quota_us is -1, not 50000
        ");
    }

    #[test]
    fn the_files_of_v2_are_read() {
        let files = [
            ("all/x/memory.max", "67108864"),
            ("all/x/memory.swap.max", "max"),
            ("all/x/cpu.max", "max 100000"),
            ("all/x/pids.max", "31"),
        ];
        let mounts = "1 1 0:1 / /all rw - cgroup2 cgroup2 rw";
        insta::assert_snapshot!(moved("v2", mounts, &files), @r"
        memswap_limit: memory.swap.max is max, not 67108864
        cpus: cpu.max is max 100000, not 50000 100000
        pids_limit: pids.max is 31, not 30
        ");
    }
}
