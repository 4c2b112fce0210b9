//! Limits of writable layers: each layer counts to a quota project of its own.
//!
//! What is made in a folder that hands its project on counts to that project too, and the kernel
//! moves nothing into it that counts elsewhere (EXDEV), so a limit of the project is one of
//! everything below the folder (quotactl(2); `FS_XFLAG_PROJINHERIT`, ioctl_xfs_fsgetxattr(2)).
//! Inside a user namespace nobody can change what a file counts to; without one our own filter of
//! system calls refuses it, and who is unconfined can go beyond the limit.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use berth_planner::ipam::LAYER_PROJECTS;
use berth_planner::observed::{ContainerRecord, Storage};
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::StepError;
use super::mapping::{self, Mount};
use crate::paths::Roots;
use crate::sys::{self, QuotaCommand, QuotaData};

/// `FS_QUOTA_PDQ_ENFD`: limits of projects hold.
const ENFORCED: u16 = 1 << 5;
/// `FS_XFLAG_PROJINHERIT`: what is made in a folder counts to its project.
const INHERIT: u32 = 0x200;
/// `FS_DQ_BSOFT | FS_DQ_BHARD`: both limits of space are set.
const LIMITS_OF_SPACE: u16 = 0b1100;
/// Bytes that limits and use are counted in.
const BLOCK: u64 = 512;
/// The folders that a container's writes go to.
const FOLDERS: [&str; 2] = ["upper", "work"];

/// The file system that writable layers are on. Anybody may look; only root is told what is used.
pub fn storage(roots: &Roots) -> Option<Storage> {
    mapping::file_system(&roots.state).map(storage_on)
}

/// The same, of the file system that they are on.
pub(super) fn storage_on(Mount { at: mount, kind }: Mount) -> Storage {
    let limits_projects = limits_projects(&mount);
    let projects = if limits_projects { used(&mount) } else { BTreeSet::new() };
    Storage { mount, kind, limits_projects, projects }
}

/// Refuses a project that something counts to.
pub(super) fn check_unused(roots: &Roots, project: u32) -> Result<(), StepError> {
    match figures(&roots.state, project) {
        Ok(figures) if figures.is_used() => {
            Err(StepError::Stale(format!("something counts to quota project {project}")))
        }
        Ok(_) => Ok(()),
        Err(e) => Err(StepError::refused("look at the quota of", &roots.state, e)),
    }
}

/// Limits the writable layer of a container that is just being made.
pub(super) fn limit(roots: &Roots, record: &ContainerRecord) -> Result<(), StepError> {
    let Some((project, bytes)) = wanted(record)? else { return Ok(()) };
    let refused = |e| StepError::refused("limit the writable layer of", &record.name, e);
    set(&roots.state, project, bytes).map_err(refused)?;
    for name in FOLDERS {
        let folder = open(&roots.container(&record.name).join(name), OFlags::RDONLY);
        folder.and_then(|folder| count_to(&folder, project)).map_err(refused)?;
    }
    Ok(())
}

/// Sets the limit anew before a start: since it was made, the host may have been booted without
/// quotas, or the state may have been brought here from another disk.
pub(super) fn renew(roots: &Roots, record: &ContainerRecord) -> Result<(), StepError> {
    let Some((project, bytes)) = wanted(record)? else { return Ok(()) };
    let failed = |why| StepError::failed("limit the writable layer of", &record.name, why);
    let refused = |e| StepError::refused("limit the writable layer of", &record.name, e);
    if !limits_projects(&roots.state) {
        return Err(failed("its file system has project quotas no more; mount it with `prjquota`"));
    }
    for name in FOLDERS {
        let folder = open(&roots.container(&record.name).join(name), OFlags::RDONLY);
        let found = folder.and_then(|folder| sys::file_attributes(folder.as_fd()));
        let found = found.map_err(refused)?;
        if found.project != project || found.flags & INHERIT == 0 {
            return Err(failed(
                "its files count to its quota no more, as when they were copied from elsewhere; \
                 `berth up --force-recreate` makes it anew",
            ));
        }
    }
    set(&roots.state, project, bytes).map_err(refused)
}

/// Takes the limit off, so that the kernel forgets the project once its files are gone.
pub(super) fn forget(roots: &Roots, project: u32) {
    let _ = set(&roots.state, project, 0);
}

fn wanted(record: &ContainerRecord) -> Result<Option<(u32, u64)>, StepError> {
    match (record.layer_project, record.spec.storage_size) {
        (_, None) => Ok(None),
        (Some(project), Some(bytes)) => Ok(Some((project, bytes))),
        (None, Some(_)) => {
            let why = "it has no quota project";
            Err(StepError::failed("limit the writable layer of", &record.name, why))
        }
    }
}

/// Whether the file system of this path holds projects to limits.
fn limits_projects(path: &Path) -> bool {
    let mut state = QuotaData::default();
    let asked = open(path, OFlags::PATH)
        .and_then(|fs| sys::quotactl_project(fs.as_fd(), QuotaCommand::State, 0, &mut state));
    // `struct fs_quota_stat`: a version, a byte of padding, the flags.
    let [_, _, low, high, ..] = state[0].to_ne_bytes();
    asked.is_ok() && u16::from_ne_bytes([low, high]) & ENFORCED != 0
}

/// Those of our projects that the kernel knows.
fn used(path: &Path) -> BTreeSet<u32> {
    let mut used = BTreeSet::new();
    let Ok(fs) = open(path, OFlags::PATH) else { return used };
    let mut next = *LAYER_PROJECTS.start();
    while LAYER_PROJECTS.contains(&next) {
        let mut data = QuotaData::default();
        if sys::quotactl_project(fs.as_fd(), QuotaCommand::GetNext, next, &mut data).is_err() {
            break;
        }
        let found = Figures(data);
        // One beyond ours ends the loop; one before cannot be.
        next = found.project().max(next) + 1;
        if LAYER_PROJECTS.contains(&found.project()) {
            used.insert(found.project());
        }
    }
    used
}

/// Limits and use of a project, a `struct fs_disk_quota`.
struct Figures(QuotaData);

impl Figures {
    /// The hard limit of a project, without a soft one.
    fn limit(project: u32, bytes: u64) -> Figures {
        let mut data = QuotaData::default();
        let [mask_0, mask_1] = LIMITS_OF_SPACE.to_ne_bytes();
        let [id_0, id_1, id_2, id_3] = project.to_ne_bytes();
        // `FS_DQUOT_VERSION`, `FS_PROJ_QUOTA`, what is set, the id; then the hard limit.
        data[0] = u64::from_ne_bytes([1, 2, mask_0, mask_1, id_0, id_1, id_2, id_3]);
        data[1] = bytes.div_ceil(BLOCK);
        Figures(data)
    }

    fn project(&self) -> u32 {
        let [.., a, b, c, d] = self.0[0].to_ne_bytes();
        u32::from_ne_bytes([a, b, c, d])
    }

    /// It has a limit, or blocks or files that count to it.
    fn is_used(&self) -> bool {
        let [_, hard, _, _, _, blocks, files, ..] = self.0;
        (hard, blocks, files) != (0, 0, 0)
    }
}

fn figures(path: &Path, project: u32) -> io::Result<Figures> {
    let mut data = QuotaData::default();
    let fs = open(path, OFlags::PATH)?;
    match sys::quotactl_project(fs.as_fd(), QuotaCommand::Get, project, &mut data) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => Ok(Figures(data)),
    }
}

fn set(path: &Path, project: u32, bytes: u64) -> io::Result<()> {
    let Figures(mut data) = Figures::limit(project, bytes);
    let fs = open(path, OFlags::PATH)?;
    sys::quotactl_project(fs.as_fd(), QuotaCommand::SetLimits, project, &mut data)
}

/// Lets a folder, and what is made in it from now on, count to a project.
fn count_to(folder: &OwnedFd, project: u32) -> io::Result<()> {
    let mut attributes = sys::file_attributes(folder.as_fd())?;
    attributes.flags |= INHERIT;
    attributes.project = project;
    sys::set_file_attributes(folder.as_fd(), &attributes)
}

fn open(folder: &Path, how: OFlags) -> io::Result<OwnedFd> {
    let flags = how | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(CWD, folder, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_counted_in_whole_blocks_and_names_its_project() {
        let limit = Figures::limit(0x6265_0007, 1025);
        assert_eq!(limit.project(), 0x6265_0007);
        assert_eq!(limit.0[1], 3);
        assert!(limit.is_used());
        assert!(!Figures::limit(0x6265_0007, 0).is_used());
    }
}
