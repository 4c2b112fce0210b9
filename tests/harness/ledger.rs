//! The leak ledger: all that is on a machine, as lines that can be compared.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::machine::{Machine, Place};

/// What a machine has, each thing a line, with the number of times it is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger(BTreeMap<String, usize>);

/// What one ledger has and the other has not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference(pub Vec<String>);

impl Ledger {
    /// Looks at everything.
    pub fn of(machine: &Machine) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.processes(machine);
        ledger.mounts(machine);
        ledger.cgroups(machine);
        ledger.sockets(machine);
        ledger.files(machine, Path::new("/run"));
        ledger.files(machine, Path::new("/var/lib"));
        ledger.listing(machine, "link", &["ip", "-o", "link", "show"]);
        ledger.listing(machine, "address", &["ip", "-o", "address", "show"]);
        ledger.listing(machine, "route", &["ip", "route", "show", "table", "all"]);
        ledger.listing(machine, "rule", &["ip", "rule", "show"]);
        ledger.listing(machine, "nft", &["nft", "list", "ruleset"]);
        ledger
    }

    /// What is here now and was not, and the other way round. Lines with one of `allowed` in
    /// them do not count.
    pub fn since(&self, before: &Ledger, allowed: &[&str]) -> Difference {
        let mut lines = Vec::new();
        for (sign, one, other) in [("+", self, before), ("-", before, self)] {
            for (line, count) in &one.0 {
                let more = count.saturating_sub(*other.0.get(line).unwrap_or(&0));
                if more > 0 && !allowed.iter().any(|word| line.contains(word)) {
                    lines.push(format!("{sign} {line}"));
                }
            }
        }
        Difference(lines)
    }

    fn add(&mut self, line: String) {
        *self.0.entry(line).or_default() += 1;
    }

    fn processes(&mut self, machine: &Machine) {
        for entry in fs::read_dir(machine.path("/proc")).into_iter().flatten().flatten() {
            if !entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()) {
                continue;
            }
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            let command: String = command.chars().take(120).collect();
            self.add(format!("process {} {}", name.trim(), command.replace('\n', " ")));
        }
    }

    fn mounts(&mut self, machine: &Machine) {
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", machine.first()));
        for line in mounts.unwrap_or_default().lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            self.add(format!("mount {} of {}", fields[4], fields[3]));
        }
    }

    fn cgroups(&mut self, machine: &Machine) {
        for root in machine.cgroups() {
            let hierarchy = root.parent().and_then(Path::file_name).unwrap_or_default().to_owned();
            let mut below = Vec::new();
            walk(&root, &root, &mut below, &mut |_| true);
            for (path, is_dir) in below {
                if is_dir && path != "init" {
                    self.add(format!("cgroup {} {path}", hierarchy.display()));
                }
            }
        }
    }

    /// Listening and bound sockets, and unix sockets that have a name.
    fn sockets(&mut self, machine: &Machine) {
        for kind in ["tcp", "tcp6", "udp", "udp6"] {
            let table = fs::read_to_string(format!("/proc/{}/net/{kind}", machine.first()));
            for line in table.unwrap_or_default().lines().skip(1) {
                let fields: Vec<&str> = line.split_whitespace().collect();
                if kind.starts_with("udp") || fields[3] == "0A" {
                    self.add(format!("socket {kind} {}", fields[1]));
                }
            }
        }
        let unix = fs::read_to_string(format!("/proc/{}/net/unix", machine.first()));
        for name in unix.unwrap_or_default().lines().filter_map(|l| l.split_whitespace().nth(7)) {
            self.add(format!("socket unix {name}"));
        }
    }

    /// Every file and folder, but for the folders berth keeps its things in
    /// (`/var/lib/berth/containers` and its like), the image store, and what tells afterwards
    /// what happened to a project: its lock, the journal of its last run, what was consented to, its
    /// history, its events of this boot. The FIFO at which monitors stand sentry stays for the next one.
    fn files(&mut self, machine: &Machine, dir: &Path) {
        let root = machine.path(dir);
        let mut below = Vec::new();
        walk(&root, &root, &mut below, &mut |path| path != "berth/images");
        for (path, is_dir) in below {
            let skeleton = is_dir && path.starts_with("berth") && path.matches('/').count() < 2;
            if !skeleton && !is_of_a_project(&path) {
                self.add(format!("file {}/{path}", dir.display()));
            }
        }
    }

    fn listing(&mut self, machine: &Machine, what: &str, argv: &[&str]) {
        let mut command: Command = machine.command(Place::Inside, Path::new("/"), argv);
        let output = command.output().expect("a look at the machine");
        assert!(output.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&output.stderr));
        // The kernel adds anycast routes once forwarding is on, which berth turns on for good.
        let lines = String::from_utf8_lossy(&output.stdout);
        for line in lines.lines().filter(|line| !line.starts_with("anycast ")) {
            self.add(format!("{what} {}", line.trim_end()));
        }
    }
}

/// `berth/projects/NAME` with its files and its history, `berth/events/NAME`, and `berth/sentry-REVISION`.
fn is_of_a_project(path: &str) -> bool {
    // The key of the host, made with the first saved plan.
    if path == "berth/plan.key" {
        return true;
    }
    if path.starts_with("berth/events/") || path.starts_with("berth/sentry-") {
        return true;
    }
    let Some(rest) = path.strip_prefix("berth/projects/") else { return false };
    let Some((_, file)) = rest.split_once('/') else { return true };
    // The history is whole: what a kill leaves half written has another name.
    let of_history = file == "generations" || file.starts_with("generations/");
    matches!(file, "lock" | "journal.ndjson" | "consents.json")
        || of_history && !file.contains("/.")
}

/// All paths below `dir`, relative to `root`, with whether each is a folder.
fn walk(
    root: &Path,
    dir: &Path,
    found: &mut Vec<(String, bool)>,
    enter: &mut impl FnMut(&str) -> bool,
) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        let is_dir = entry.file_type().is_ok_and(|t| t.is_dir());
        if is_dir && !enter(&name) {
            continue;
        }
        found.push((name, is_dir));
        if is_dir {
            walk(root, &path, found, enter);
        }
    }
}

impl Difference {
    /// Nothing differs.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}
