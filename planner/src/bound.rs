//! Regular files of the host that services have mounted: whose content is a part of what a service is
//! made of, and what was read of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use berth_schema::stack::{Mount, MountSource, OnChange, Service, Stack};
use serde::{Deserialize, Serialize};

use crate::desired::{ContainerSpec, MountSpec, SourceSpec};
use crate::observed::{ContainerRecord, ObservedContainer};

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

/// Paths of the host that services of the stack may write, and containers of its project whose services are
/// left out of the stack.
pub fn written(
    stack: &Stack,
    containers: &BTreeMap<String, ObservedContainer>,
) -> BTreeSet<PathBuf> {
    let services = stack.services.values().flat_map(|service| &service.volumes);
    let services = services.filter(|mount| !mount.read_only).filter_map(bind);
    let is_left_out = |record: &&ContainerRecord| {
        record.project == stack.name && !stack.services.contains_key(&record.service)
    };
    let others = containers.values().map(|container| &container.record).filter(is_left_out);
    let others = others.flat_map(|record| record.spec.mounts.values());
    let others = others.filter(|mount| !mount.read_only).filter_map(bind_of);
    services.chain(others).map(clean).collect()
}

/// Paths of the host whose content counts where they are regular files; `written` are what [`written`] says.
pub fn counted(stack: &Stack, written: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let counts = |service| of_service(stack, service, written);
    stack.services.values().flat_map(counts).map(Path::to_owned).collect()
}

/// Those of one service. What the project's containers may write is their own, and what is elsewhere on the
/// host (`/var/log/auth.log`, `/etc/localtime`) is others', unless the file says what a change does.
pub(crate) fn of_service<'a>(
    stack: &'a Stack,
    service: &'a Service,
    written: &BTreeSet<PathBuf>,
) -> impl Iterator<Item = &'a Path> {
    let (says_what, folder) = (says_what(service), &stack.working_dir);
    let is_quiet = |path: &Path| {
        is_below(path, folder)
            && !is_within_own(service, path)
            && !is_written(path, folder, written)
    };
    let binds = service.volumes.iter().filter_map(|mount| Some((mount, bind(mount)?)));
    let counted = binds.filter(move |(mount, path)| says_what || mount.read_only && is_quiet(path));
    let is_told = service.berth.on_change != OnChange::None;
    counted.filter(move |_| is_told).map(|(_, path)| path)
}

/// Whether somebody may write it. Who has the whole project (`.:/src`) has it to work on, and does not make its
/// files.
fn is_written(path: &Path, project: &Path, written: &BTreeSet<PathBuf>) -> bool {
    let path = clean(path);
    let is_whole = |folder: &PathBuf| is_below(project, folder);
    written.iter().any(|own| path == *own || path.starts_with(own) && !is_whole(own))
}

/// Whether a path is that of a folder or in it, as they are written.
pub(crate) fn is_below(path: &Path, folder: &Path) -> bool {
    clean(path).starts_with(clean(folder))
}

/// A path without `.` and `..`.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(clean.pop()),
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                clean.push(component);
            }
        }
    }
    clean
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
    writable.into_iter().any(|own| is_below(path, own))
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

fn bind_of(mount: &MountSpec) -> Option<&Path> {
    match &mount.source {
        SourceSpec::Bind { path, .. } => Some(path),
        SourceSpec::Volume { .. } | SourceSpec::Anonymous { .. } | SourceSpec::Image { .. } => None,
    }
}

/// Whether a container may write what it has mounted of a path.
pub(crate) fn is_writable(spec: &ContainerSpec, path: &Path) -> bool {
    spec.mounts.values().any(|mount| !mount.read_only && bind_of(mount) == Some(path))
}
