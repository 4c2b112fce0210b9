//! Making the folders of a group.
//!
//! Above the folder of a container is one of berth, and above that there may be groups of others,
//! which stay as they are. A group that berth has to make there gets a mark, by which it is known
//! when it is empty again.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use rustix::fs::XattrFlags;

use super::{Member, Version, put, words};

/// Attribute of the groups above berth's own that berth has made.
const MARK: &str = "trusted.berth";

impl Member {
    /// Makes the folder, and those above it if they are missing.
    ///
    /// `needed` are the controllers that its limits are set with.
    pub(super) fn make(&self, needed: &BTreeSet<&str>) -> io::Result<()> {
        // The folders above may vanish in between, when the removal of another container finds
        // them empty.
        for _ in 0..100 {
            match self.make_once(needed) {
                Err(error) if vanished(&error) => match self.make_above() {
                    Err(error) if vanished(&error) => {}
                    made => made?,
                },
                made => return made,
            }
        }
        Err(io::Error::other("the folder above it vanishes again and again"))
    }

    fn make_once(&self, needed: &BTreeSet<&str>) -> io::Result<()> {
        match fs::create_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if !fs::read(self.folder.join("cgroup.procs"))?.is_empty() {
                    return Err(io::Error::other("it has processes; the container still runs"));
                }
            }
            made => made?,
        }
        match self.version {
            Version::V1 if self.has("cpuset") => self.check_cpuset(),
            Version::V1 => Ok(()),
            Version::V2 => self.pass_on(needed),
        }
    }

    pub(super) fn make_above(&self) -> io::Result<()> {
        let mut folder = self.mount.clone();
        let above = self.folder.parent().and_then(|above| above.strip_prefix(&self.mount).ok());
        for name in above.into_iter().flat_map(Path::iter) {
            folder.push(name);
            match fs::create_dir(&folder) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => {
                    made?;
                    mark(&folder)?;
                }
            }
            if self.has("cpuset") && self.version == Version::V1 {
                self.prepare_cpuset(&folder)?;
            }
        }
        Ok(())
    }

    /// Lets a cpuset above ours hand its CPUs on; one of somebody else has to have some.
    fn prepare_cpuset(&self, folder: &Path) -> io::Result<()> {
        if self.is_ours(folder) {
            return hand_on(folder);
        }
        for _ in 0..100 {
            if has_cpus(folder)? {
                return Ok(());
            }
            // Another start may just be making it.
            std::thread::sleep(Duration::from_millis(2));
        }
        // Nothing can be in it and nobody has given it anything: a start that was killed right
        // after it had made it, or as good as that.
        if is_bare(folder)? {
            mark(folder)?;
            return hand_on(folder);
        }
        // What is in it now may be of a start that came to the same end a moment ago.
        if has_cpus(folder)? {
            return Ok(());
        }
        Err(io::Error::other(format!("cgroup `{}` has no CPUs to hand on", folder.display())))
    }

    /// Whether berth has made a group above this one.
    pub(super) fn is_ours(&self, folder: &Path) -> bool {
        let mut mark = [0; 1];
        self.folder.parent() == Some(folder)
            || rustix::fs::getxattr(folder, MARK, &mut mark).is_ok_and(|length| length > 0)
    }

    /// A new v1 cpuset has no CPU and nothing can be attached to it, unless the one above hands
    /// its own on; another start may just have made that one and not yet got to it.
    fn check_cpuset(&self) -> io::Result<()> {
        if fs::read_to_string(self.folder.join("cpuset.mems"))?.trim().is_empty() {
            self.make_above()?;
            inherit_cpuset(&self.folder)?;
        }
        Ok(())
    }

    /// In the v2 tree, every folder above must pass the controllers on. One of somebody else is told
    /// to for no more than is needed, and for nothing it does already.
    pub(super) fn pass_on(&self, needed: &BTreeSet<&str>) -> io::Result<()> {
        let above = self.folder.ancestors().skip(1);
        let mut above = above.take_while(|folder| *folder != self.mount);
        let among_others = above.any(|folder| !self.is_ours(folder));
        let wanted = || {
            let all = ALL.iter().filter(|name| self.has(name));
            all.filter(|name| !among_others || needed.contains(*name))
        };
        let there = words(&self.folder.join("cgroup.controllers"));
        if wanted().all(|name| there.iter().any(|t| t == name)) {
            return Ok(());
        }
        let mut folder = self.mount.clone();
        let below = self.folder.strip_prefix(&self.mount).unwrap_or(Path::new(""));
        for name in below.iter() {
            let control = folder.join("cgroup.subtree_control");
            let does = words(&control);
            for controller in wanted().filter(|name| !does.iter().any(|does| does == *name)) {
                match put(&control, &format!("+{controller}")) {
                    Err(error) if vanished(&error) && !folder.exists() => return Err(error),
                    // Whether it is needed, the limits know: a group with processes of its own
                    // passes none on, and one above may keep some back.
                    Ok(()) | Err(_) => {}
                }
            }
            folder.push(name);
        }
        Ok(())
    }
}

/// Controllers that limits are set with in the v2 tree.
const ALL: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// Without the mark, which old kernels do not keep, a group stays when it is empty.
fn mark(folder: &Path) -> io::Result<()> {
    match rustix::fs::setxattr(folder, MARK, b"1", XattrFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What the kernel answers about a group that is removed meanwhile.
pub(super) fn vanished(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

fn has_cpus(folder: &Path) -> io::Result<bool> {
    Ok(!fs::read_to_string(folder.join("cpuset.cpus"))?.trim().is_empty())
}

/// Whether a group has neither processes nor groups below it.
fn is_bare(folder: &Path) -> io::Result<bool> {
    let empty = fs::read(folder.join("cgroup.procs"))?.is_empty();
    let mut below = fs::read_dir(folder)?.flatten();
    Ok(empty && !below.any(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())))
}

/// Lets a v1 cpuset give what it has to those made in it.
fn hand_on(folder: &Path) -> io::Result<()> {
    inherit_cpuset(folder)?;
    put(&folder.join("cgroup.clone_children"), "1")
}

/// Gives a v1 cpuset the CPUs and memory of the one above.
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
