//! Regular files of the host that services have mounted: whose content is a part of what a service is
//! made of, and what was read of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use berth_schema::stack::{Mount, MountSource, OnChange, Service, Stack};
use serde::{Deserialize, Serialize};

use crate::desired::{ContainerSpec, SourceSpec};

/// Contents of files, by their paths on the host.
///
/// Two of them are equal if no file that both know has another content: which files there are, the
/// mounts say, and what was never read is not known to differ.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BoundFiles(pub BTreeMap<PathBuf, String>);

impl PartialEq for BoundFiles {
    fn eq(&self, other: &BoundFiles) -> bool {
        self.0.iter().all(|(path, own)| other.0.get(path).is_none_or(|content| content == own))
    }
}

impl BoundFiles {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What was read of a file, and what it was then: as long as it still is that, nobody reads it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Its device and inode.
    pub object: (u64, u64),
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since the epoch when its content changed.
    pub modified: i128,
    /// Nanoseconds since the epoch when anything of it changed.
    pub changed: i128,
    /// Nanoseconds since the epoch when it was read.
    pub read: i128,
    /// What it held.
    pub content: String,
}

impl Stamp {
    /// Whether a file that looks like `now` holds what it held. A change right before or after the reading
    /// may have left the same times behind, as in an index of git.
    pub fn holds(&self, now: &Stamp) -> bool {
        /// The coarsest clock of a file system in use is that of FAT.
        const COARSE: i128 = 2_000_000_000;
        let same = (self.object, self.size, self.modified, self.changed)
            == (now.object, now.size, now.modified, now.changed);
        same && self.modified.max(self.changed) + COARSE <= self.read
    }
}

/// Paths of the host whose content counts where they are regular files. One that a service of the stack may
/// write counts only for who says what a change does.
pub fn counted(stack: &Stack) -> BTreeSet<PathBuf> {
    let services = || stack.services.values();
    let written: BTreeSet<&Path> = services()
        .flat_map(|service| &service.volumes)
        .filter(|mount| !mount.read_only)
        .filter_map(bind)
        .collect();
    let counts = |service| {
        let is_quiet = |path: &&Path| says_what(service) || !written.contains(path);
        of_service(stack, service).filter(is_quiet).collect::<Vec<_>>()
    };
    services().flat_map(counts).map(Path::to_owned).collect()
}

/// Those of one service. What its containers may write is their own, and what is elsewhere on the host
/// (`/var/log/auth.log`, `/etc/localtime`) is others', unless the file says what a change does.
pub(crate) fn of_service<'a>(
    stack: &'a Stack,
    service: &'a Service,
) -> impl Iterator<Item = &'a Path> {
    let says_what = says_what(service);
    let is_ours =
        |path: &Path| path.starts_with(&stack.working_dir) && !is_within_own(service, path);
    let binds = service.volumes.iter().filter_map(|mount| Some((mount, bind(mount)?)));
    let counted = binds.filter(move |(mount, path)| says_what || mount.read_only && is_ours(path));
    let is_told = service.berth.on_change != OnChange::None;
    counted.filter(move |_| is_told).map(|(_, path)| path)
}

/// Whether a change of the contents of a service's files has an effect that its file names.
fn says_what(service: &Service) -> bool {
    match service.berth.on_change {
        OnChange::Signal(_) | OnChange::Restart => true,
        OnChange::None | OnChange::Replace => false,
    }
}

/// Whether a service has the path in a folder that it may write.
fn is_within_own(service: &Service, path: &Path) -> bool {
    let writable = service.volumes.iter().filter(|mount| !mount.read_only).filter_map(bind);
    writable.into_iter().any(|own| path.starts_with(own))
}

fn bind(mount: &Mount) -> Option<&Path> {
    match &mount.source {
        MountSource::Bind { path, .. } => Some(path),
        MountSource::Volume { .. }
        | MountSource::Anonymous { .. }
        | MountSource::Tmpfs(_)
        | MountSource::Image { .. } => None,
    }
}

/// Whether a container may write what it has mounted of a path.
pub(crate) fn is_writable(spec: &ContainerSpec, path: &Path) -> bool {
    spec.mounts.values().any(|mount| match &mount.source {
        SourceSpec::Bind { path: own, .. } => own == path && !mount.read_only,
        SourceSpec::Volume { .. } | SourceSpec::Anonymous { .. } | SourceSpec::Image { .. } => {
            false
        }
    })
}
