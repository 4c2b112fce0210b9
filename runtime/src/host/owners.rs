//! Owners of the files that berth itself makes for a container.
//!
//! Where mounts can map ids, a file has the owner on disk that the container sees. The run folder
//! is in memory, and tmpfs maps ids from Linux 6.3 on; before, files there have on disk the id
//! that the container's user has on this host.

use std::io;
use std::os::unix::fs::chown;
use std::path::Path;

use super::mapping;

/// How owners of files in one folder become those the container sees.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owners {
    /// The mount is to map ids.
    pub(super) mapped: bool,
    /// What is added to an id on disk.
    shift: u32,
}

impl Owners {
    /// Of files below `folder`, for a container whose ids start at `id_base` of the host's.
    pub(super) fn below(folder: &Path, id_base: Option<u32>) -> Owners {
        match id_base {
            Some(_) if mapping::maps_ids(folder) => Owners { mapped: true, shift: 0 },
            Some(base) => Owners { mapped: false, shift: base },
            None => Owners { mapped: false, shift: 0 },
        }
    }

    /// Makes a file that of a user and a group of the container.
    ///
    /// # Errors
    /// What the host answers.
    pub(super) fn give(self, path: &Path, uid: u32, gid: u32) -> io::Result<()> {
        let on_disk = |id: u32| Some(self.shift.saturating_add(id));
        chown(path, on_disk(uid), on_disk(gid))
    }
}
