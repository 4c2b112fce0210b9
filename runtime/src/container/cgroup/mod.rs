//! Cgroups: where they are, one container's group in each hierarchy, its limits and figures.
//!
//! A host has v1 hierarchies, the v2 tree, or both; the container gets a group of the same path
//! in all of them. A process attaches itself, or is born in its group: attaching another one
//! from outside costs 5–18 ms.
//!
//! Reading order: this file (discovery, [`Group`]), `make` (its folders), `settings` (limits as
//! texts), `limits` (writing them), `seen` (reading them back), `realtime`, `device`, `control`
//! (freeze, kill, remove), `usage`, `quarters` (where monitors live).

mod control;
mod device;
mod limits;
mod make;
mod quarters;
mod realtime;
mod seen;
mod settings;
mod usage;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, openat};

pub(crate) use device::rules as device_rules;
pub use limits::Devices;
pub(crate) use quarters::Quarters;
pub use quarters::{is_of_monitors, systemd_manages};
pub use usage::Usage;

use super::error::{Context, SetupError};
use crate::bundle::Cgroup;
use crate::small;

/// The hierarchies of this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hierarchies {
    legacy: Vec<Legacy>,
    unified: Option<PathBuf>,
}

/// A v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Legacy {
    controllers: Vec<String>,
    mount: PathBuf,
}

/// Options of a v1 mount that are no controllers.
const OPTIONS: [&str; 7] =
    ["rw", "ro", "xattr", "clone_children", "noprefix", "cpuset_v2_mode", "favordynmods"];

/// File systems of v1 and v2 (statfs(2)).
const CGROUP_MAGIC: u32 = 0x0027_e0eb;
const CGROUP2_MAGIC: u32 = 0x6367_7270;

impl Hierarchies {
    /// Those of the calling process's mount namespace.
    pub fn discover() -> Result<Hierarchies, SetupError> {
        const FILE: &str = "/proc/self/mountinfo";
        let mut found = Self::parse(&small::text(CWD, FILE).step("read", FILE)?, Path::new("/"));
        // Another mount may cover one that is listed.
        found.legacy.retain(|hierarchy| is_mounted(&hierarchy.mount, CGROUP_MAGIC));
        found.unified.take_if(|mount| !is_mounted(mount, CGROUP2_MAGIC));
        Ok(found)
    }

    /// As [`Hierarchies::discover`] found them when this process looked first: nobody moves them while
    /// containers run.
    ///
    /// # Errors
    /// As there.
    pub fn known() -> Result<&'static Hierarchies, SetupError> {
        static KNOWN: OnceLock<Hierarchies> = OnceLock::new();
        if let Some(known) = KNOWN.get() {
            return Ok(known);
        }
        let found = Self::discover()?;
        Ok(KNOWN.get_or_init(|| found))
    }

    /// Those in the text of a `mountinfo` file, with mount points below `root`.
    pub fn parse(mountinfo: &str, root: &Path) -> Hierarchies {
        let mut found = Hierarchies::default();
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let mut right = right.split(' ');
            let (kind, options) = (right.next(), right.nth(1).unwrap_or_default());
            let Some(mount) = left.split(' ').nth(4) else { continue };
            let mount = root.join(mount.trim_start_matches('/'));
            match kind {
                Some("cgroup") => found.add_legacy(options, mount),
                Some("cgroup2") if found.unified.is_none() => found.unified = Some(mount),
                _ => {}
            }
        }
        found
    }

    fn add_legacy(&mut self, options: &str, mount: PathBuf) {
        let controllers: Vec<String> = options
            .split(',')
            .filter(|o| !OPTIONS.contains(o) && !o.starts_with("release_agent="))
            .map(String::from)
            .collect();
        if !controllers.is_empty() && self.legacy.iter().all(|l| l.controllers != controllers) {
            self.legacy.push(Legacy { controllers, mount });
        }
    }

    /// The controllers there are; `true` for those of a v1 hierarchy.
    pub fn controllers(&self) -> BTreeMap<String, bool> {
        let unified =
            self.unified.iter().flat_map(|mount| words(&mount.join("cgroup.controllers")));
        let legacy = self.legacy.iter().flat_map(|hierarchy| hierarchy.controllers.iter().cloned());
        let unified = unified.map(|name| (name, false));
        unified.chain(legacy.map(|name| (name, true))).collect()
    }

    /// Whether the swap of a group can be limited.
    pub fn count_swap(&self) -> bool {
        let of_memory = |h: &&Legacy| h.controllers.iter().any(|name| name == "memory");
        if let Some(legacy) = self.legacy.iter().find(of_memory) {
            return legacy.mount.join("memory.memsw.limit_in_bytes").exists();
        }
        // The root group of v2 has no limits; any group below it shows the file.
        let Some(mount) = &self.unified else { return false };
        let groups = groups_in(mount).filter(|path| path.join("memory.max").exists());
        let swaps = groups.map(|path| path.join("memory.swap.max").exists());
        any_or_none(swaps)
    }

    /// Whether groups can have weights for block devices.
    pub fn weigh_block_devices(&self) -> bool {
        const FILES: [&str; 4] = ["blkio.weight", "blkio.bfq.weight", "io.weight", "io.bfq.weight"];
        let of_blocks = |h: &&Legacy| h.controllers.iter().any(|name| name == "blkio");
        let legacy = self.legacy.iter().find(of_blocks).map(|hierarchy| &hierarchy.mount);
        let Some(mount) = legacy.or(self.unified.as_ref()) else { return false };
        // The root group has no weight; any group below it shows the files.
        any_or_none(
            groups_in(mount).map(|group| FILES.iter().any(|file| group.join(file).exists())),
        )
    }

    /// The slices of systemd, by their paths; `None` on a host that it does not manage.
    pub fn slices(&self) -> Option<BTreeSet<String>> {
        let mounts = self.legacy.iter().map(|l| &l.mount).chain(&self.unified);
        systemd_manages().then(|| mounts.flat_map(|mount| quarters::slices(mount)).collect())
    }

    /// Names of the groups right below `path`, in whatever hierarchy they are.
    pub fn below(&self, path: &str) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for mount in self.legacy.iter().map(|l| &l.mount).chain(&self.unified) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let folder = openat(CWD, mount.join(path), flags, Mode::empty());
            let Ok(entries) = folder.and_then(Dir::new) else { continue };
            for entry in entries.flatten().filter(|e| e.file_type() == FileType::Directory) {
                // Most are in each of a dozen hierarchies.
                let Ok(name) = entry.file_name().to_str() else { continue };
                if ![".", ".."].contains(&name) && !names.contains(name) {
                    names.insert(name.to_owned());
                }
            }
        }
        names
    }

    /// The group at `path` below the root of each hierarchy. Touches nothing.
    pub fn group(&self, path: &str) -> Group {
        let legacy = self.legacy.iter().map(|hierarchy| Member {
            version: Version::V1,
            controllers: hierarchy.controllers.clone(),
            mount: hierarchy.mount.clone(),
            folder: hierarchy.mount.join(path),
        });
        let unified = self.unified.as_ref().map(|mount| Member {
            version: Version::V2,
            controllers: words(&mount.join("cgroup.controllers")),
            mount: mount.clone(),
            folder: mount.join(path),
        });
        Group { path: path.into(), legacy: legacy.collect(), unified }
    }
}

/// The groups right below a mounted hierarchy.
fn groups_in(mount: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(mount).into_iter().flatten().flatten();
    let groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    groups.map(|entry| entry.path())
}

/// Whether one of them does, or there is none to tell.
fn any_or_none(mut does: impl Iterator<Item = bool>) -> bool {
    match does.next() {
        Some(first) => first || does.any(|does| does),
        None => true,
    }
}

fn is_mounted(mount: &Path, magic: u32) -> bool {
    rustix::fs::statfs(mount).is_ok_and(|found| u32::try_from(found.f_type) == Ok(magic))
}

/// One container's group in every hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    path: String,
    legacy: Vec<Member>,
    unified: Option<Member>,
}

/// The group in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    version: Version,
    controllers: Vec<String>,
    mount: PathBuf,
    folder: PathBuf,
}

impl Group {
    /// The group of this path on this host. Touches nothing.
    pub fn find(path: &str) -> Result<Group, SetupError> {
        Ok(Hierarchies::discover()?.group(path))
    }

    /// Makes the folders and sets the limits; returns what could not be set and may be missing.
    ///
    /// A group without processes that is already there, as a killed monitor leaves it, is taken
    /// over; one with processes is an error.
    pub fn create(&self, limits: &Cgroup, devices: Devices) -> Result<Vec<String>, SetupError> {
        self.make(limits)?;
        self.set_limits(limits, devices)
    }

    /// Makes the folders in which these limits can be set.
    pub(crate) fn make(&self, limits: &Cgroup) -> Result<(), SetupError> {
        let needed = self.controllers_of(limits);
        self.legacy.iter().chain(&self.unified).try_for_each(|member| {
            member.make(&needed).step("create cgroup", member.folder.display())
        })
    }

    /// For each v1 hierarchy the open file into which a process writes `0` to attach itself.
    pub(crate) fn attach_files(&self) -> Result<Vec<OwnedFd>, SetupError> {
        let open = |member: &Member| {
            let file = member.folder.join("tasks");
            let opened = OpenOptions::new().write(true).open(&file);
            opened.map(OwnedFd::from).step("open", file.display())
        };
        self.legacy.iter().map(open).collect()
    }

    /// The folder in the v2 tree, for a process to be born in.
    pub(crate) fn birth_folder(&self) -> Result<Option<OwnedFd>, SetupError> {
        let open = |member: &Member| {
            File::open(&member.folder).map(OwnedFd::from).step("open", member.folder.display())
        };
        self.unified.as_ref().map(open).transpose()
    }

    /// Folder in the v2 tree.
    fn unified(&self) -> Option<&Path> {
        self.unified.as_ref().map(|member| member.folder.as_path())
    }

    /// The folder that a container is shown on a host that has no v1 hierarchy.
    pub(crate) fn unified_view(&self, of_host: bool) -> Option<&Path> {
        let unified = self.unified.as_ref().filter(|_| self.legacy.is_empty())?;
        Some(if of_host { &unified.mount } else { &unified.folder })
    }

    /// Where the v2 tree is mounted, on a host that has v1 hierarchies too.
    pub(crate) fn beside_legacy(&self) -> Option<PathBuf> {
        let unified = self.unified.as_ref().filter(|_| !self.legacy.is_empty())?;
        Some(unified.mount.clone())
    }

    /// Takes a process of another program into the v2 tree, where that program does not see it.
    pub(crate) fn take_in(&self, pid: i32) -> Result<(), SetupError> {
        let Some(unified) = self.unified.as_ref().filter(|_| !self.legacy.is_empty()) else {
            return Ok(());
        };
        let file = unified.folder.join("cgroup.procs");
        put(&file, &pid.to_string()).step("attach to cgroup", file.display())
    }

    /// Every folder that a container is shown, by the name of its hierarchy's mount point: its
    /// own, or the root of it all.
    pub(crate) fn views(&self, of_host: bool) -> impl Iterator<Item = (&str, &Path)> {
        self.legacy.iter().chain(&self.unified).filter_map(move |member| {
            let name = member.mount.file_name()?.to_str()?;
            let shown = if of_host { &member.mount } else { &member.folder };
            Some((name, shown.as_path()))
        })
    }

    /// The folder where this controller is, and whether it is v1.
    fn controller(&self, name: &str) -> Option<(&Path, Version)> {
        let mut members = self.legacy.iter().chain(&self.unified);
        let member = members.find(|member| member.offers(name))?;
        Some((&member.folder, member.version))
    }
}

/// Which interface a controller has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

impl Member {
    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }

    /// Whether limits of this controller can be set here. In the v2 tree that is up to the groups
    /// above, so a group that is there is asked itself.
    fn offers(&self, controller: &str) -> bool {
        match (self.version, fs::read_to_string(self.folder.join("cgroup.controllers"))) {
            (Version::V2, Ok(here)) => here.split_whitespace().any(|name| name == controller),
            (Version::V1 | Version::V2, _) => self.has(controller),
        }
    }
}

/// Writes to a file that must exist: the kernel's files cannot be made.
fn put(file: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(file)?.write_all(value.as_bytes())
}

fn words(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().map(String::from).collect()
}
