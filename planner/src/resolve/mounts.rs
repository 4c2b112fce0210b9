//! Volumes, folders of the host, memory, configs and secrets.

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_schema::stack::{FileContent, FileMount, FileObject, MountSource, Service, Stack, Tmpfs};

use super::{Inputs, ResolveProblem, Resolver, digest};
use crate::desired::{Content, FileSpec, MountSpec, SourceSpec, VolumeSpec};

impl Resolver<'_> {
    pub(super) fn mounts(
        &mut self,
        name: &str,
        service: &Service,
    ) -> (BTreeMap<String, MountSpec>, Vec<Tmpfs>) {
        let (mut mounts, mut tmpfs) = (BTreeMap::new(), Vec::new());
        for mount in &service.volumes {
            let source = match &mount.source {
                MountSource::Tmpfs(memory) => {
                    tmpfs.push(memory.clone());
                    continue;
                }
                MountSource::Anonymous { nocopy, .. } => SourceSpec::Anonymous { nocopy: *nocopy },
                MountSource::Bind { path, create_host_path, propagation, .. } => SourceSpec::Bind {
                    path: path.clone(),
                    create_host_path: *create_host_path,
                    propagation: propagation.map(|word| word.as_str().to_owned()),
                },
                MountSource::Image { reference, .. } => {
                    let image = reference.clone();
                    let service = name.to_string();
                    self.problems.insert(ResolveProblem::ImageMount { service, image });
                    continue;
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

    pub(super) fn dangling(&mut self, service: &str, kind: &'static str, name: &str) {
        self.problems.insert(ResolveProblem::Dangling {
            service: service.to_string(),
            kind,
            name: name.to_string(),
        });
    }
}

pub(super) fn volumes(stack: &Stack) -> BTreeMap<String, VolumeSpec> {
    let volume = |volume: &berth_schema::stack::Volume| {
        let spec = VolumeSpec {
            external: volume.external,
            driver_opts: volume.driver_opts.clone(),
            labels: volume.labels.clone(),
        };
        (volume.name.clone(), spec)
    };
    stack.volumes.values().map(volume).collect()
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
