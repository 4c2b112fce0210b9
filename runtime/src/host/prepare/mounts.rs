//! What is mounted into a container, beside its `/etc` files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use berth_planner::backing::Backing;
use berth_planner::desired::{MountSpec, SourceSpec};
use berth_planner::observed::ContainerRecord;
use berth_schema::stack::{Recursive, Tmpfs};

use super::Preparation;
use crate::bundle::{BindOwner, BundleMount, BundleSource, Judged, Process};
use crate::host::owners::Owners;
use crate::host::{StepError, contents, volume};
use crate::store::ImageConfig;

impl Preparation<'_> {
    /// Every mount but those of `/etc`, whatever their order.
    pub(super) fn mounts(&self, user: &Process) -> Result<Vec<BundleMount>, StepError> {
        let mut mounts = self.image.extra.clone();
        for (target, mount) in all_mounts(&self.image.config, self.record()) {
            mounts.push(self.mount(&target, &mount, user)?);
        }
        for tmpfs in &self.spec().tmpfs {
            mounts.push(tmpfs_mount(tmpfs));
        }
        for (index, file) in self.spec().files.iter().enumerate() {
            let dir = contents::folder(self.roots, &self.record().name, file.secret);
            let mut mount = self.bind(&file.target, dir.join(index.to_string()), true);
            if let BundleSource::Bind { idmap, .. } = &mut mount.source {
                *idmap = Owners::below(&dir, self.record().id_base).mapped;
            }
            mounts.push(mount);
        }
        Ok(mounts)
    }

    fn mount(
        &self,
        target: &str,
        mount: &MountSpec,
        user: &Process,
    ) -> Result<BundleMount, StepError> {
        Ok(match &mount.source {
            SourceSpec::Volume { name, subpath, .. } => {
                self.volume(target, mount.read_only, name, subpath.as_deref())?
            }
            SourceSpec::Anonymous { .. } => {
                let name = volume::anonymous_name(&self.record().name, target);
                self.volume(target, mount.read_only, &name, None)?
            }
            SourceSpec::Image { reference, subpath } => {
                let lowers = self.layers_of(reference)?;
                let source = BundleSource::Image { lowers, below: subpath.clone() };
                BundleMount { target: target.to_owned(), source, read_only: true }
            }
            SourceSpec::Bind { path, propagation: asked, recursive: below, .. } => {
                let mut bind = self.bind(target, path.clone(), mount.read_only);
                if let BundleSource::Bind {
                    owner, recursive, writable_below, propagation, ..
                } = &mut bind.source
                {
                    *owner = self.spec().owner.map(|host| BindOwner {
                        host: (host.uid, host.gid),
                        inside: (user.uid, user.gid),
                    });
                    propagation.clone_from(asked);
                    *recursive = *below != Recursive::Disabled;
                    *writable_below = *below == Recursive::Writable;
                }
                bind
            }
        })
    }

    /// The layers of an image that is mounted.
    fn layers_of(&self, reference: &str) -> Result<Vec<PathBuf>, StepError> {
        let id = self.record().borrowed.images.get(reference);
        let id = id.ok_or_else(|| {
            StepError::Stale(format!("container `{}` has no `{reference}`", self.record().name))
        })?;
        self.store.layers(id).map_err(|e| StepError::failed("read image", reference, e))
    }

    fn volume(
        &self,
        target: &str,
        read_only: bool,
        name: &str,
        subpath: Option<&str>,
    ) -> Result<BundleMount, StepError> {
        let (backing, path) = volume::data(self.roots, name)?;
        let (with_below, read_only) = match backing {
            Backing::Own => (true, read_only),
            Backing::Bind { recursive, read_only: always, .. } => (recursive, read_only || always),
            Backing::Memory { options } => {
                let source = BundleSource::Tmpfs { size: None, mode: 0o1777, options };
                return Ok(BundleMount { target: target.to_owned(), source, read_only });
            }
        };
        let mut mount = self.bind(target, path, read_only);
        if let BundleSource::Bind { below, recursive, .. } = &mut mount.source {
            *below = subpath.map(str::to_owned);
            *recursive = with_below;
        }
        Ok(mount)
    }

    /// What a path of the host was judged to lead to. Our own were not judged.
    fn judged(&self, path: &Path) -> Option<Judged> {
        let record = self.record();
        let known = record.judged.get(path).or_else(|| record.borrowed.judged.get(path));
        match (self.held.get(path), known) {
            (Some((real, object)), _) => Some(Judged { real: real.clone(), object: *object }),
            (None, Some(real)) => Some(Judged { real: real.clone(), object: None }),
            (None, None) => None,
        }
    }

    fn bind(&self, target: &str, path: PathBuf, read_only: bool) -> BundleMount {
        let source = BundleSource::Bind {
            below: None,
            idmap: self.record().id_base.is_some(),
            owner: None,
            recursive: true,
            writable_below: false,
            propagation: None,
            dev: false,
            judged: self.judged(&path),
            path,
        };
        BundleMount { target: target.to_owned(), source, read_only }
    }
}

/// The mounts of the description; where it has none those of other containers, and then the volumes
/// its image declares.
pub(in crate::host) fn all_mounts(
    config: &ImageConfig,
    record: &ContainerRecord,
) -> BTreeMap<String, MountSpec> {
    let spec = &record.spec;
    let mut mounts = record.borrowed.mounts.clone();
    mounts.extend(spec.mounts.clone());
    for target in &config.volumes {
        if !spec.tmpfs.iter().any(|tmpfs| tmpfs.target == *target) {
            let source = SourceSpec::Anonymous { nocopy: false, labels: BTreeMap::new() };
            mounts.entry(target.clone()).or_insert(MountSpec { source, read_only: false });
        }
    }
    mounts
}

fn tmpfs_mount(tmpfs: &Tmpfs) -> BundleMount {
    let read_only = tmpfs.options.iter().any(|option| option == "ro");
    let source = BundleSource::Tmpfs {
        size: tmpfs.size,
        mode: tmpfs.mode.unwrap_or(0o1777),
        options: tmpfs.options.iter().filter(|o| *o != "ro" && *o != "rw").cloned().collect(),
    };
    BundleMount { target: tmpfs.target.clone(), source, read_only }
}
