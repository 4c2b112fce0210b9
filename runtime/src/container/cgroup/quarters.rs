//! Where monitors live on a host that systemd manages.
//!
//! There every process belongs to the unit whose cgroup it is in: a session or a service that ran
//! `berth up` would take the monitors along when it ends, although they have long left its
//! terminal and its process group. So they have a group of their own beside those of the
//! containers. No unit is above it, so systemd neither ends them nor takes controllers away that
//! berth's groups hand on; the kernel refuses that (EBUSY).

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::make::vanished;
use super::{Group, Member, put};
use crate::container::error::{Context, SetupError};

/// Its name beside those of containers, which start with a letter or a digit.
pub(super) const NAME: &str = ".monitors";
/// In this hierarchy of v1 systemd sees which unit a process is of.
const OF_SYSTEMD: &str = "name=systemd";

/// Whether systemd is the manager of this host (sd_booted(3)).
pub fn systemd_manages() -> bool {
    fs::symlink_metadata("/run/systemd/system").is_ok_and(|found| found.is_dir())
}

/// Whether a group below berth's own is not that of a container.
pub fn is_of_monitors(name: &str) -> bool {
    name == NAME
}

/// The group of all monitors, with this process in it.
#[derive(Debug, Clone)]
pub(crate) struct Quarters {
    group: Group,
}

impl Quarters {
    /// Moves this process from the unit it is of to the group below `cgroups`; nothing on a host
    /// without units.
    pub(crate) fn enter(cgroups: &str) -> Result<Option<Quarters>, SetupError> {
        if !systemd_manages() {
            return Ok(None);
        }
        let quarters = Quarters { group: Group::find(&format!("{cgroups}/{NAME}"))? };
        for member in quarters.members() {
            member.enter().step("move to cgroup", member.folder.display())?;
        }
        Ok(Some(quarters))
    }

    /// Moves this process, which is about to end, out of the group, and removes that if it was
    /// the last. Where it must not be elsewhere, as in a container that runs systemd, an empty
    /// group stays until another one leaves or a container is removed.
    pub(crate) fn leave(&self) {
        for member in self.members() {
            let _ = put(&member.mount.join("cgroup.procs"), "0");
            if fs::remove_dir(&member.folder).is_ok() {
                member.remove_above();
            }
        }
    }

    /// The group where systemd looks for the unit of a process.
    fn members(&self) -> impl Iterator<Item = &Member> {
        let legacy = self.group.legacy.iter().filter(|member| member.has(OF_SYSTEMD));
        legacy.chain(&self.group.unified)
    }
}

impl Member {
    /// Moves this process to the group, which is made if it is missing.
    fn enter(&self) -> io::Result<()> {
        // Whoever leaves it last removes it.
        for _ in 0..100 {
            match self.enter_once() {
                Err(error) if vanished(&error) => {}
                entered => return entered,
            }
        }
        Err(io::Error::other("it vanishes again and again"))
    }

    fn enter_once(&self) -> io::Result<()> {
        self.make_above()?;
        match fs::create_dir(&self.folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        put(&self.folder.join("cgroup.procs"), "0")
    }
}

/// The slices that systemd has made, by their paths below the root of a hierarchy; nothing on a
/// host that it does not manage.
pub(super) fn slices(mount: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![mount.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|kind| kind == "slice") && path.is_dir() {
                found.extend(
                    path.strip_prefix(mount).ok().and_then(Path::to_str).map(str::to_owned),
                );
                folders.push(path);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::Hierarchies;
    use super::*;

    #[test]
    fn a_process_leaves_its_unit_where_systemd_sees_it() {
        let mountinfo = "\
            30 1 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
            31 1 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
            32 1 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let group = Hierarchies::parse(mountinfo, Path::new("/")).group("berth/.monitors");
        let quarters = Quarters { group };
        let folders: Vec<_> = quarters.members().map(|member| member.folder.to_str()).collect();
        assert_eq!(
            folders,
            [
                Some("/sys/fs/cgroup/systemd/berth/.monitors"),
                Some("/sys/fs/cgroup/unified/berth/.monitors")
            ]
        );
    }

    #[test]
    fn slices_are_found_within_slices_only() {
        let root = std::env::temp_dir().join(format!("berth-slices-{}", std::process::id()));
        for folder in ["a.slice/a-b.slice", "a.slice/c.service/d.slice", "berth/e.slice"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("f.slice"), "").unwrap();
        let mut found = slices(&root);
        found.sort();
        assert_eq!(found, ["a.slice", "a.slice/a-b.slice"]);
        fs::remove_dir_all(root).unwrap();
    }
}
