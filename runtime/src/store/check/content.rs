//! Blobs and layers: their bytes are those of their digests, and none is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::super::LayerRef;
use super::super::digest::{Digest, HashingReader};
use super::super::ingest::{self, LayerRecord};
use super::super::unpack::{self, Limits};
use super::super::{StoreError, garbage, make_dirs, places};
use super::{Inspection, ObjectKind, compare, is_beside};
use crate::record;

/// The blobs that are here.
pub(super) struct Contents {
    /// Those whose bytes are right, with how many there are.
    pub(super) intact: BTreeMap<Digest, u64>,
    all: BTreeSet<Digest>,
}

impl Contents {
    /// Reads every blob.
    pub(super) fn read(inspection: &mut Inspection<'_>) -> Result<Contents, StoreError> {
        let mut contents = Contents { intact: BTreeMap::new(), all: BTreeSet::new() };
        let dir = inspection.store.places.blobs();
        for entry in places::entries(&dir).map_err(StoreError::host("list", &dir))? {
            let path = entry.path();
            match digest_of(&path).filter(|_| path.is_file()) {
                Some(digest) => contents.blob(inspection, digest, &path)?,
                None if is_beside(&path) => inspection.beside.push(path),
                None => inspection.stranger(&path),
            }
        }
        contents.missing(inspection);
        Ok(contents)
    }

    fn blob(
        &mut self,
        inspection: &mut Inspection<'_>,
        digest: Digest,
        path: &Path,
    ) -> Result<(), StoreError> {
        inspection.checked.blobs += 1;
        self.all.insert(digest.clone());
        let file = File::open(path).map_err(StoreError::host("open", path))?;
        let mut hashing = HashingReader::new(file);
        io::copy(&mut hashing, &mut io::sink()).map_err(StoreError::host("read", path))?;
        let (found, bytes) = hashing.finish();
        let users = users_of_blob(inspection, &digest);
        if users.is_empty() {
            inspection.checked.unneeded.add(garbage::usage(path));
        }
        if found == digest {
            self.intact.insert(digest, bytes);
            return Ok(());
        }
        let problem = match inspection.promised(&digest) {
            Some(size) if size != bytes => format!("it has {bytes} bytes, {size} were promised"),
            _ => format!("its bytes have digest {found}"),
        };
        inspection.broken(ObjectKind::Blob, &digest, problem, &users.iter().collect::<Vec<_>>());
        Ok(())
    }

    /// Blobs that an image needs and that are not here, not even in another form.
    fn missing(&self, inspection: &mut Inspection<'_>) {
        let mut wanted = BTreeSet::new();
        for record in inspection.catalogue.records.values() {
            let documents =
                record.manifest.iter().chain(record.manifest.as_ref().map(|_| &record.id));
            wanted.extend(documents.cloned());
            let layers = record.layers.iter().filter(|layer| {
                !inspection.forms(&layer.diff_id).iter().any(|form| self.all.contains(form))
            });
            wanted.extend(layers.filter_map(|layer| layer.blob.as_ref()).map(|b| b.digest.clone()));
        }
        for digest in wanted.iter().filter(|digest| !self.all.contains(*digest)) {
            let users = users_of_blob(inspection, digest);
            let users: Vec<_> = users.iter().collect();
            inspection.broken(ObjectKind::Blob, digest, "it is missing", &users);
        }
    }
}

impl Inspection<'_> {
    /// Every unpacked layer, and that none is missing.
    pub(super) fn layers(&mut self, contents: &Contents) -> Result<(), StoreError> {
        let dir = self.store.places.layers();
        let mut here = BTreeSet::new();
        for entry in places::entries(&dir).map_err(StoreError::host("list", &dir))? {
            let path = entry.path();
            match digest_of(&path).filter(|_| path.is_dir()) {
                Some(diff_id) => {
                    self.layer(&diff_id, &path, contents)?;
                    here.insert(diff_id);
                }
                None => self.stranger(&path),
            }
        }
        let records = self.catalogue.records.values();
        let wanted: BTreeSet<Digest> =
            records.flat_map(|record| &record.layers).map(|layer| layer.diff_id.clone()).collect();
        for diff_id in wanted.difference(&here) {
            let users = self.users_of_layer(diff_id);
            let users: Vec<_> = users.iter().collect();
            self.broken(ObjectKind::Layer, diff_id, "it is missing", &users);
        }
        Ok(())
    }

    fn layer(
        &mut self,
        diff_id: &Digest,
        path: &Path,
        contents: &Contents,
    ) -> Result<(), StoreError> {
        self.checked.layers += 1;
        let users = self.users_of_layer(diff_id);
        if users.is_empty() {
            self.checked.unneeded.add(garbage::usage(path));
            return Ok(());
        }
        if let Some(problem) = self.layer_problem(diff_id, path, contents)? {
            let users: Vec<_> = users.iter().collect();
            self.broken(ObjectKind::Layer, diff_id, problem, &users);
        }
        Ok(())
    }

    fn layer_problem(
        &self,
        diff_id: &Digest,
        path: &Path,
        contents: &Contents,
    ) -> Result<Option<String>, StoreError> {
        match record::read::<LayerRecord>(&path.join("layer.json")) {
            Ok(Some(record)) if record.diff_id == *diff_id => {}
            Ok(Some(record)) => {
                return Ok(Some(format!("its record is that of {}", record.diff_id)));
            }
            Ok(None) => return Ok(Some("it has no record".into())),
            Err(_) => return Ok(Some("its record cannot be read".into())),
        }
        if !path.join("diff").is_dir() {
            return Ok(Some("its files are missing".into()));
        }
        // Without its bytes as they came there is nothing to compare with; that is told of them.
        let form = self.forms(diff_id).into_iter().find(|form| contents.intact.contains_key(form));
        match form {
            None => Ok(None),
            Some(blob) => self.compare(diff_id, &path.join("diff"), &blob),
        }
    }

    /// Unpacks a blob aside and compares.
    fn compare(
        &self,
        diff_id: &Digest,
        diff: &Path,
        blob: &Digest,
    ) -> Result<Option<String>, StoreError> {
        let blob = self.store.places.blob(blob);
        let aside = Aside::new(self.store.places.making())?;
        let source = File::open(&blob).map_err(StoreError::host("open", &blob))?;
        let root = folder(&aside.files)?;
        rustix::fs::fchmod(&root, Mode::from_raw_mode(0o755))
            .map_err(|e| StoreError::host("chmod", &aside.files)(e.into()))?;
        let again = root.try_clone().map_err(StoreError::host("open", &aside.files))?;
        match unpack::unpack(source, again, Limits::default()) {
            Ok(unpacked) if unpacked.diff_id == *diff_id => {}
            Ok(unpacked) => {
                return Ok(Some(format!("its bytes are those of {}", unpacked.diff_id)));
            }
            Err(source) => return Err(StoreError::Layer { digest: diff_id.clone(), source }),
        }
        let there = folder(diff)?;
        compare::difference(root.as_fd(), there.as_fd()).map_err(StoreError::host("compare", diff))
    }

    /// Digests of the blobs that were found to be a layer.
    fn forms(&self, diff_id: &Digest) -> BTreeSet<Digest> {
        self.store.forms(diff_id).into_iter().map(|blob| blob.digest).collect()
    }

    fn promised(&self, blob: &Digest) -> Option<u64> {
        let layers = self.catalogue.records.values().flat_map(|record| &record.layers);
        let mut blobs = layers.flat_map(LayerRef::forms);
        blobs.find(|layer| layer.digest == *blob).map(|layer| layer.size)
    }

    fn users_of_layer(&self, diff_id: &Digest) -> Vec<Digest> {
        self.users(|record| record.layers.iter().any(|layer| layer.diff_id == *diff_id))
    }
}

fn users_of_blob(inspection: &Inspection<'_>, blob: &Digest) -> Vec<Digest> {
    inspection.users(|record| garbage::blobs(record).any(|digest| digest == blob))
}

/// A folder of our own to unpack in, gone at the end. As with a maker's, its lock says that
/// somebody is at work.
struct Aside {
    dir: PathBuf,
    files: PathBuf,
    _lock: std::os::fd::OwnedFd,
}

impl Aside {
    fn new(making: PathBuf) -> Result<Aside, StoreError> {
        let dir = making.join(format!("check.{}", std::process::id()));
        ingest::remove_tree(&dir)?;
        let files = dir.join("diff");
        make_dirs(&files)?;
        let lock = ingest::lock_folder(&dir)?.ok_or(StoreError::Busy)?;
        Ok(Aside { dir, files, _lock: lock })
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = ingest::remove_tree(&self.dir);
    }
}

fn folder(path: &Path) -> Result<std::os::fd::OwnedFd, StoreError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|e| StoreError::host("open", path)(e.into()))
}

/// The digest that a file or folder is named by.
fn digest_of(path: &Path) -> Option<Digest> {
    Digest::parse(&format!("sha256:{}", path.file_name()?.to_str()?)).ok()
}
