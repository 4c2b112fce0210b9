//! Freezing, killing and removing a group.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Group, Member, put, quarters};
use crate::container::error::{Context, SetupError};
use crate::sabotage::without;

/// Rounds of killing or removing before giving up; with the pauses about two seconds.
const ROUNDS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);
/// Groups within groups.
const DEPTH: usize = 16;

impl Group {
    /// Stops every process of the group where it is, a moment after this returns.
    pub fn freeze(&self) -> Result<(), SetupError> {
        self.set_frozen(true)
    }

    /// Waits a bounded time until every process of a frozen group stands.
    pub fn await_frozen(&self) -> Result<(), SetupError> {
        for _ in 0..ROUNDS {
            if self.stands() {
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
        Err(SetupError::refused("freeze cgroup", &self.path, "its processes do not stop"))
    }

    fn stands(&self) -> bool {
        let text = |file: PathBuf| fs::read_to_string(file).unwrap_or_default();
        match (&self.unified, self.controller("freezer")) {
            (Some(unified), _) => {
                text(unified.folder.join("cgroup.events")).lines().any(|line| line == "frozen 1")
            }
            (None, Some((folder, _))) => text(folder.join("freezer.state")).trim() == "FROZEN",
            (None, None) => false,
        }
    }

    /// Lets a frozen group run on.
    pub fn thaw(&self) -> Result<(), SetupError> {
        self.set_frozen(false)
    }

    /// It is frozen, or about to be.
    pub fn is_frozen(&self) -> bool {
        let is = |file: PathBuf, words: &[&str]| {
            let text = fs::read_to_string(file).unwrap_or_default();
            words.contains(&text.trim())
        };
        match (&self.unified, self.controller("freezer")) {
            (Some(unified), _) => is(unified.folder.join("cgroup.freeze"), &["1"]),
            (None, Some((folder, _))) => is(folder.join("freezer.state"), &["FROZEN", "FREEZING"]),
            (None, None) => false,
        }
    }

    fn set_frozen(&self, frozen: bool) -> Result<(), SetupError> {
        let step = if frozen { "freeze cgroup" } else { "thaw cgroup" };
        if let Some(unified) = &self.unified {
            let file = unified.folder.join("cgroup.freeze");
            return put(&file, if frozen { "1" } else { "0" }).step(step, file.display());
        }
        let Some((folder, _)) = self.controller("freezer") else {
            return Err(SetupError::refused(step, &self.path, "this host has no freezer"));
        };
        let file = folder.join("freezer.state");
        put(&file, if frozen { "FROZEN" } else { "THAWED" }).step(step, file.display())
    }

    /// Kills every process of the group, also a frozen one, and those it starts meanwhile.
    ///
    /// They are dying when this returns; [`Group::remove`] waits for the end.
    pub fn kill_all(&self) -> Result<(), SetupError> {
        without!("kill.group", return Ok(()));
        if let Some(unified) = &self.unified {
            let file = unified.folder.join("cgroup.kill");
            match put(&file, "1") {
                Ok(()) => return Ok(()),
                // Before 5.14 there is no such file.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                killed => return killed.step("kill cgroup", file.display()),
            }
        }
        let Some(member) = self.legacy.first().or(self.unified.as_ref()) else { return Ok(()) };
        for _ in 0..ROUNDS {
            // Frozen processes cannot fork; SIGKILL reaches them when they thaw.
            let frozen = self.freeze().is_ok();
            let processes = processes(&member.folder, DEPTH).step("read", "cgroup.procs")?;
            for pid in &processes {
                drop(crate::sys::kill(*pid, libc::SIGKILL)); // it may have ended by itself
            }
            if frozen {
                self.thaw()?;
            }
            if processes.is_empty() {
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
        Err(SetupError::refused("kill cgroup", &self.path, "its processes do not end"))
    }

    /// Process ids in the group and below, as the caller's pid namespace counts.
    pub fn processes(&self) -> Result<Vec<i32>, SetupError> {
        let Some(member) = self.unified.as_ref().or(self.legacy.first()) else {
            return Ok(Vec::new());
        };
        processes(&member.folder, DEPTH).step("read", member.folder.display())
    }

    /// The group exists in some hierarchy.
    pub fn exists(&self) -> bool {
        self.members().any(|member| member.folder.exists())
    }

    /// Removes the group everywhere, and the folders above it that are empty then. Waits a
    /// bounded time for processes that are ending.
    pub fn remove(&self) -> Result<(), SetupError> {
        for member in self.members() {
            remove_tree(&member.folder).step("remove cgroup", member.folder.display())?;
            member.remove_above();
        }
        Ok(())
    }

    fn members(&self) -> impl Iterator<Item = &Member> {
        self.legacy.iter().chain(&self.unified)
    }
}

impl Member {
    /// Removes the folders above it that are empty and ours.
    pub(super) fn remove_above(&self) {
        let mut above = self.folder.parent();
        if let Some(ours) = above {
            // Nobody is left in it when a killed monitor was the last.
            let _ = fs::remove_dir(ours.join(quarters::NAME));
        }
        while let Some(folder) = above.filter(|folder| *folder != self.mount) {
            if !self.is_ours(folder) || fs::remove_dir(folder).is_err() {
                break; // somebody else's, or other containers are in it
            }
            above = folder.parent();
        }
    }
}

fn processes(folder: &Path, depth: usize) -> io::Result<Vec<i32>> {
    let text = match fs::read_to_string(folder.join("cgroup.procs")) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    // 0 is a process that this pid namespace does not see; it must not be signalled by number.
    let mut found: Vec<i32> =
        text.lines().filter_map(|l| l.parse().ok()).filter(|p| *p > 0).collect();
    if depth > 0 {
        for below in folders(folder)? {
            found.extend(processes(&below, depth - 1)?);
        }
    }
    Ok(found)
}

/// Removes the folders of groups from below; their files are the kernel's and go with them.
fn remove_tree(folder: &Path) -> io::Result<()> {
    for round in 0.. {
        match fs::remove_dir(folder) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ResourceBusy && round < ROUNDS => {
                for below in folders(folder)? {
                    remove_tree(&below)?;
                }
                // The first pauses are short: a killed process is gone within a millisecond.
                std::thread::sleep(PAUSE.min(Duration::from_millis(1) * (round + 1)));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}
