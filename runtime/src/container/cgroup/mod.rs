//! Cgroups: where they are, one container's group in each hierarchy, its limits and figures.
//!
//! A host has v1 hierarchies, the v2 tree, or both; the container gets a group of the same path
//! in all of them. A process attaches itself, or is born in its group: attaching another one
//! from outside costs 5–18 ms.
//!
//! Reading order: this file (discovery, [`Group`]), [`limits`], [`control`] (freeze, kill,
//! remove), [`usage`].

mod control;
mod device;
mod limits;
mod usage;

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

pub use limits::Devices;
pub use usage::Usage;

use super::error::{Context, SetupError};
use crate::bundle::Cgroup;

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

impl Hierarchies {
    /// Those of the calling process's mount namespace.
    pub fn discover() -> Result<Hierarchies, SetupError> {
        const FILE: &str = "/proc/self/mountinfo";
        Ok(Self::parse(&fs::read_to_string(FILE).step("read", FILE)?, Path::new("/")))
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

    /// The group at `path` below the root of each hierarchy. Touches nothing.
    pub fn group(&self, path: &str) -> Group {
        let legacy = self.legacy.iter().map(|hierarchy| Member {
            controllers: hierarchy.controllers.clone(),
            mount: hierarchy.mount.clone(),
            folder: hierarchy.mount.join(path),
        });
        let unified = self.unified.as_ref().map(|mount| Member {
            controllers: words(&mount.join("cgroup.controllers")),
            mount: mount.clone(),
            folder: mount.join(path),
        });
        Group { path: path.into(), legacy: legacy.collect(), unified }
    }
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
        for member in &self.legacy {
            self.make(member, |folder| match member.has("cpuset") {
                true => inherit_cpuset(folder),
                false => Ok(()),
            })?;
        }
        if let Some(unified) = &self.unified {
            self.make(unified, |folder| enable_controllers(unified, folder))?;
        }
        self.set_limits(limits, devices)
    }

    /// Makes each folder on the way, and calls `prepare` with each after it is there.
    fn make(
        &self,
        member: &Member,
        prepare: impl Fn(&Path) -> io::Result<()>,
    ) -> Result<(), SetupError> {
        const STEP: &str = "create cgroup";
        // The folder above may vanish in between, when another container's removal found it
        // empty.
        for attempt in 0.. {
            let mut folder = member.mount.clone();
            let made = Path::new(&self.path).iter().try_for_each(|name| {
                if folder != member.mount || member.unified() {
                    prepare(&folder)?;
                }
                folder.push(name);
                match fs::create_dir(&folder) {
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
                    made => made,
                }
            });
            let made = made.and_then(|()| match member.unified() {
                true => Ok(()),
                false => prepare(&member.folder),
            });
            match made {
                Err(error) if error.kind() == ErrorKind::NotFound && attempt < 10 => {}
                made => {
                    made.step(STEP, member.folder.display())?;
                    break;
                }
            }
        }
        match fs::read_to_string(member.folder.join("cgroup.procs")) {
            Ok(processes) if !processes.is_empty() => {
                let reason = "it has processes; the container still runs";
                Err(SetupError::refused(STEP, member.folder.display(), reason))
            }
            _ => Ok(()),
        }
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

    /// Folder in the v2 tree of a host that has no v1 hierarchy.
    pub(crate) fn unified_only(&self) -> Option<&Path> {
        self.unified().filter(|_| self.legacy.is_empty())
    }

    /// Every folder, by the name of its hierarchy's mount point.
    pub(crate) fn views(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.legacy.iter().chain(&self.unified).filter_map(|member| {
            let name = member.mount.file_name()?.to_str()?;
            Some((name, member.folder.as_path()))
        })
    }

    /// The folder where this controller is, and whether it is v1.
    fn controller(&self, name: &str) -> Option<(&Path, Version)> {
        let legacy = self.legacy.iter().map(|member| (member, Version::V1));
        let unified = self.unified.iter().map(|member| (member, Version::V2));
        let (member, version) = legacy.chain(unified).find(|(member, _)| member.has(name))?;
        Some((&member.folder, version))
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

    fn unified(&self) -> bool {
        self.mount.join("cgroup.controllers").exists()
    }
}

/// A new v1 cpuset has no CPU and no memory, and nothing can be attached to it.
fn inherit_cpuset(folder: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = fs::read_to_string(folder.join(file))?;
        if own.trim().is_empty() {
            let above = folder.parent().unwrap_or(folder);
            put(&folder.join(file), fs::read_to_string(above.join(file))?.trim())?;
        }
    }
    Ok(())
}

/// Gives the groups below `folder` the controllers that limits need.
fn enable_controllers(member: &Member, folder: &Path) -> io::Result<()> {
    let file = folder.join("cgroup.subtree_control");
    let enabled = words(&file);
    let missing: Vec<String> = ["cpu", "cpuset", "io", "memory", "pids"]
        .into_iter()
        .filter(|name| member.has(name) && !enabled.iter().any(|e| e == name))
        .map(|name| format!("+{name}"))
        .collect();
    if missing.is_empty() { Ok(()) } else { put(&file, &missing.join(" ")) }
}

/// Writes to a file that must exist: the kernel's files cannot be made.
fn put(file: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(file)?.write_all(value.as_bytes())
}

fn words(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().map(String::from).collect()
}
