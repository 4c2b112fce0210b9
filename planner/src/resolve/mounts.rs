//! Volumes, folders of the host, memory, configs and secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use berth_schema::stack::{
    FileContent, FileMount, FileObject, Mount, MountSource, Owner, Recursive, Service, Stack,
    Tmpfs, Volume, VolumesSource,
};

use super::{Inputs, ResolveProblem, Resolver, digest};
use crate::backing::Backing;
use crate::bound::{self, BoundFiles};
use crate::desired::{
    Content, FileSpec, MountSpec, OwnerSpec, SourceSpec, VolumeSpec, VolumesFromSpec,
};
use crate::pull;

/// A path of the host that is mounted into containers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BindSource {
    /// Absolute.
    pub path: PathBuf,
    /// What is mounted below it comes along.
    pub recursive: bool,
}

/// Every path of the host that the services of a stack mount.
pub fn bind_sources(stack: &Stack) -> BTreeSet<BindSource> {
    let mounts = stack.services.values().flat_map(|service| &service.volumes);
    mounts.filter_map(|mount| bind_of(stack, mount)).collect()
}

/// The path a mount shows, also by way of a volume.
fn bind_of(stack: &Stack, mount: &Mount) -> Option<BindSource> {
    match &mount.source {
        MountSource::Bind { path, recursive, .. } => {
            Some(BindSource { path: path.clone(), recursive: *recursive != Recursive::Disabled })
        }
        MountSource::Volume { name, .. } => {
            match Backing::of(&stack.volumes.get(name)?.driver_opts) {
                Ok(Backing::Bind { device, recursive, .. }) => {
                    Some(BindSource { path: device, recursive })
                }
                Ok(Backing::Own | Backing::Memory { .. }) | Err(_) => None,
            }
        }
        MountSource::Anonymous { .. } | MountSource::Tmpfs(_) | MountSource::Image { .. } => None,
    }
}

impl Resolver<'_> {
    pub(super) fn mounts(
        &mut self,
        name: &str,
        service: &Service,
    ) -> (BTreeMap<String, MountSpec>, Vec<Tmpfs>) {
        let (mut mounts, mut tmpfs) = (BTreeMap::new(), Vec::new());
        for (index, mount) in service.volumes.iter().enumerate() {
            self.check_source(name, index, &mount.source);
            let source = match &mount.source {
                MountSource::Tmpfs(memory) => {
                    tmpfs.push(memory.clone());
                    continue;
                }
                MountSource::Anonymous { nocopy, labels } => {
                    SourceSpec::Anonymous { nocopy: *nocopy, labels: labels.clone() }
                }
                MountSource::Bind { path, create_host_path, propagation, recursive, .. } => {
                    SourceSpec::Bind {
                        path: path.clone(),
                        create_host_path: *create_host_path,
                        propagation: propagation.map(|word| word.as_str().to_owned()),
                        recursive: *recursive,
                    }
                }
                MountSource::Image { reference, subpath } => {
                    SourceSpec::Image { reference: reference.clone(), subpath: subpath.clone() }
                }
                MountSource::Volume { name: key, nocopy, subpath } => {
                    let Some(volume) = self.stack.volumes.get(key) else {
                        self.dangling(name, "volume", key);
                        continue;
                    };
                    SourceSpec::Volume {
                        name: volume.name.clone(),
                        nocopy: *nocopy,
                        subpath: subpath.clone(),
                    }
                }
            };
            mounts.insert(mount.target.clone(), MountSpec { source, read_only: mount.read_only });
        }
        (mounts, tmpfs)
    }

    /// What this host cannot mount.
    fn check_source(&mut self, service: &str, index: usize, source: &MountSource) {
        if let MountSource::Image { reference, .. } = source
            && pull::is_host(reference)
        {
            self.problems.insert(ResolveProblem::HostImage { service: service.to_owned(), index });
        }
        let MountSource::Bind { path, create_host_path, selinux, .. } = source else { return };
        if !create_host_path && self.inputs.missing.contains(path) {
            let (service, path) = (service.to_owned(), path.display().to_string());
            self.problems.insert(ResolveProblem::NoSource { service, index, path });
        }
        if selinux.is_some() && self.facts.selinux {
            self.problems.insert(ResolveProblem::Relabel { service: service.to_owned(), index });
        }
    }

    /// Why the files of a bind cannot have the owners they have on disk in a user namespace.
    pub(super) fn unmapped_bind(&self, service: &Service) -> Option<String> {
        let mut binds = service.volumes.iter().filter_map(|mount| bind_of(self.stack, mount));
        let bind = binds.find(|bind| self.inputs.unmapped.contains(bind))?;
        let path = bind.path.display();
        Some(match bind.recursive {
            true => format!("`{path}`, or what is mounted below it, cannot map ids"),
            false => format!("`{path}` is where mounts cannot map ids"),
        })
    }

    /// What would cover the kernel's own file systems in a container that is shut in.
    pub(super) fn check_targets(&mut self, name: &str, service: &Service) {
        let volumes = service.volumes.iter().map(|mount| &mount.target).enumerate();
        let tmpfs = service.tmpfs.iter().map(|memory| &memory.target).enumerate();
        let configs = service.configs.iter().map(|file| &file.target).enumerate();
        let secrets = service.secrets.iter().map(|file| &file.target).enumerate();
        let all = volumes
            .map(|of| ("volumes", of))
            .chain(tmpfs.map(|of| ("tmpfs", of)))
            .chain(configs.map(|of| ("configs", of)))
            .chain(secrets.map(|of| ("secrets", of)));
        for (list, (index, target)) in all {
            if !service.privileged && is_of_kernel(target) {
                let (service, target) = (name.to_owned(), target.clone());
                self.problems.insert(ResolveProblem::Target { service, list, index, target });
            }
        }
    }

    /// The containers whose mounts the service has too.
    pub(super) fn volumes_from(&mut self, name: &str, service: &Service) -> Vec<VolumesFromSpec> {
        let mut from = Vec::new();
        for (index, source) in service.volumes_from.iter().enumerate() {
            let container = match &source.source {
                VolumesSource::Container(container) => Some(container.clone()),
                VolumesSource::Service(other) => self.first_container(other),
            };
            match container {
                Some(container) => {
                    from.push(VolumesFromSpec { container, read_only: source.read_only });
                }
                None => {
                    let service = name.to_owned();
                    self.problems.insert(ResolveProblem::NoVolumes { service, index });
                }
            }
        }
        from
    }

    /// Whose the files of binds are on the host: the one who became root by sudo, else whoever the
    /// folder of the project belongs to.
    pub(super) fn owner(&mut self, name: &str, service: &Service) -> Option<OwnerSpec> {
        if service.berth.owner != Owner::Host {
            return None;
        }
        if let Some(why) = self.unmapped_bind(service) {
            let service = name.to_owned();
            self.problems.insert(ResolveProblem::UnmappedOwner { service, why });
        }
        let owner = self.inputs.invoker.sudo.or(self.inputs.invoker.folder);
        if owner.is_none() {
            self.problems.insert(ResolveProblem::NoOwner { service: name.to_owned() });
        }
        owner
    }

    pub(super) fn files(&mut self, name: &str, service: &Service) -> Vec<FileSpec> {
        let stack = self.stack;
        let configs = service.configs.iter().map(|mount| (mount, "config", &stack.configs));
        let secrets = service.secrets.iter().map(|mount| (mount, "secret", &stack.secrets));
        let mut files: Vec<FileSpec> = configs
            .chain(secrets)
            .filter_map(|(mount, kind, objects)| match objects.get(&mount.source) {
                Some(object) => self.file(mount, kind, object),
                None => {
                    self.dangling(name, kind, &mount.source);
                    None
                }
            })
            .collect();
        files.sort_by(|a, b| a.target.cmp(&b.target));
        files
    }

    pub(super) fn bound_files(&self, service: &Service) -> BoundFiles {
        let files = bound::of_service(self.stack, service, &self.inputs.written);
        let read = files.filter_map(|path| {
            Some((path.to_owned(), self.inputs.bound_files.get(path)?.content.clone()))
        });
        BoundFiles(read.collect())
    }

    fn file(
        &mut self,
        mount: &FileMount,
        kind: &'static str,
        object: &FileObject,
    ) -> Option<FileSpec> {
        match content(kind, &mount.source, object, self.inputs) {
            Ok(bytes) => Some(FileSpec {
                target: mount.target.clone(),
                uid: mount.uid.unwrap_or(0),
                gid: mount.gid.unwrap_or(0),
                mode: mount.mode.unwrap_or(0o444),
                secret: kind == "secret",
                digest: digest(&bytes),
                content: Content(Arc::new(bytes)),
            }),
            Err(problem) => {
                self.problems.insert(problem);
                None
            }
        }
    }

    pub(super) fn volumes(&mut self) -> BTreeMap<String, VolumeSpec> {
        let stack = self.stack;
        let mut volumes = BTreeMap::new();
        for (key, volume) in &stack.volumes {
            self.check_backing(key, volume);
            let spec = VolumeSpec {
                external: volume.external,
                driver_opts: volume.driver_opts.clone(),
                labels: volume.labels.clone(),
            };
            volumes.insert(volume.name.clone(), spec);
        }
        volumes
    }

    /// Memory is that of one container: others would see nothing of what it holds.
    fn check_backing(&mut self, key: &str, volume: &Volume) {
        let why = match Backing::of(&volume.driver_opts) {
            Ok(Backing::Memory { .. }) => {
                let mut mounts = self.stack.services.values().flat_map(|service| &service.volumes);
                let part = |mount: &Mount| {
                    matches!(&mount.source, MountSource::Volume { name, subpath: Some(_), .. }
                        if name == key)
                };
                let why = "it is memory, which begins empty and has no `subpath`";
                if mounts.any(part) {
                    let volume = key.to_owned();
                    self.problems.insert(ResolveProblem::Backing { volume, why: why.to_owned() });
                }
                if memories(self.stack, key) < 2 {
                    return;
                }
                "memory cannot be shared by several containers: give each a mount of type `tmpfs`, \
                 or share a folder"
                    .to_owned()
            }
            Ok(Backing::Own | Backing::Bind { .. }) => return,
            Err(why) => why,
        };
        self.problems.insert(ResolveProblem::Backing { volume: key.to_owned(), why });
    }

    pub(super) fn dangling(&mut self, service: &str, kind: &'static str, name: &str) {
        self.problems.insert(ResolveProblem::Dangling {
            service: service.to_string(),
            kind,
            name: name.to_string(),
        });
    }
}

/// How many memories a volume would be: one for each mount of each container.
fn memories(stack: &Stack, volume: &str) -> u32 {
    let own = |service: &Service| service.volumes.iter().filter(|m| is_of(m, volume)).count();
    let mut users: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, service) in stack.services.iter().filter(|(_, service)| own(service) > 0) {
        users.insert(name, own(service));
    }
    // Each round adds at least one service that has it from another.
    for _ in 0..stack.services.len() {
        let from_user = |service: &Service| {
            service.volumes_from.iter().any(|from| match &from.source {
                VolumesSource::Service(other) => users.contains_key(other.as_str()),
                VolumesSource::Container(_) => false,
            })
        };
        let more: Vec<&str> = stack
            .services
            .iter()
            .filter(|(name, service)| !users.contains_key(name.as_str()) && from_user(service))
            .map(|(name, _)| name.as_str())
            .collect();
        users.extend(more.into_iter().map(|name| (name, 1)));
    }
    let mounts = users.into_iter().filter_map(|(name, mounts)| {
        Some(stack.services.get(name)?.replicas.saturating_mul(u32::try_from(mounts).ok()?))
    });
    mounts.fold(0, u32::saturating_add)
}

fn is_of(mount: &Mount, volume: &str) -> bool {
    matches!(&mount.source, MountSource::Volume { name, .. } if name == volume)
}

/// On or below `/proc`, `/sys` or `/dev`, but for the shared memory.
fn is_of_kernel(target: &str) -> bool {
    let below = |folder: &str| {
        target.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    ["/proc", "/sys", "/dev"].into_iter().any(below) && !below("/dev/shm")
}

fn content(
    kind: &'static str,
    name: &str,
    object: &FileObject,
    inputs: &Inputs,
) -> Result<Vec<u8>, ResolveProblem> {
    match &object.content {
        FileContent::Inline(text) => Ok(text.clone().into_bytes()),
        FileContent::Environment(_, Some(value)) => Ok(value.clone().into_bytes()),
        FileContent::Environment(variable, None) => Err(ResolveProblem::VariableMissing {
            kind,
            name: name.to_string(),
            variable: variable.clone(),
        }),
        FileContent::External => Err(ResolveProblem::External { kind, name: name.to_string() }),
        FileContent::File(path) => inputs.files.get(path).cloned().ok_or_else(|| {
            let reason = inputs.unreadable.get(path).map_or("it was not read", String::as_str);
            ResolveProblem::Unreadable {
                kind,
                name: name.to_string(),
                path: path.display().to_string(),
                reason: reason.to_string(),
            }
        }),
    }
}
