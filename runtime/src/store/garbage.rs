//! Removes what nothing needs: marks from the names and what the caller keeps, then sweeps.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::FlockOperation;

use super::digest::Digest;
use super::{ImageRecord, Store, StoreError, ingest, places};

/// What [`Store::collect`] removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Ids of images.
    pub images: Vec<String>,
    /// Unpacked layers.
    pub layers: u64,
    /// Bytes on the disk.
    pub bytes: u64,
}

impl Store {
    /// Removes images without a name whose id is not in `keep`, and every layer, blob and
    /// half-made thing that no remaining image needs.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while something gets in; nothing is touched then.
    pub fn collect(&self, keep: &BTreeSet<String>) -> Result<Collected, StoreError> {
        let mut collected = Collected::default();
        if !self.places.root.exists() {
            return Ok(collected);
        }
        let _alone = ingest::lock(&self.places.lock(), FlockOperation::NonBlockingLockExclusive)?
            .ok_or(StoreError::Busy)?;
        let named: BTreeSet<Digest> = self.names()?.into_iter().map(|(_, name)| name.id).collect();
        let (kept, gone): (Vec<_>, Vec<_>) = self.records()?.into_iter().partition(|record| {
            named.contains(&record.id) || keep.contains(&record.id.to_string())
        });
        for record in gone {
            collected.bytes += remove(&self.places.image(&record.id))?;
            collected.images.push(record.id.to_string());
        }
        let layers = kept.iter().flat_map(|record| &record.layers);
        let layers: BTreeSet<&str> = layers.map(|layer| layer.diff_id.hex()).collect();
        for bytes in sweep(&self.places.layers(), &layers)? {
            collected.layers += 1;
            collected.bytes += bytes;
        }
        let blobs: BTreeSet<&str> = kept.iter().flat_map(blobs).map(Digest::hex).collect();
        let half_made = BTreeSet::new();
        for (dir, keep) in [(self.places.blobs(), &blobs), (self.places.making(), &half_made)] {
            collected.bytes += sweep(&dir, keep)?.iter().sum::<u64>();
        }
        Ok(collected)
    }
}

pub(super) fn blobs(record: &ImageRecord) -> impl Iterator<Item = &Digest> {
    let layers = record.layers.iter().filter_map(|layer| layer.blob.as_ref());
    let layers = layers.map(|blob| &blob.digest);
    layers.chain(record.manifest.as_ref()).chain([&record.id])
}

/// Removes what is in `dir` and not in `keep`; gives the bytes of each thing removed.
fn sweep(dir: &Path, keep: &BTreeSet<&str>) -> Result<Vec<u64>, StoreError> {
    let mut removed = Vec::new();
    for file in places::entries(dir).map_err(StoreError::host("list", dir))? {
        if file.file_name().to_str().is_none_or(|name| !keep.contains(name)) {
            removed.push(remove(&file.path())?);
        }
    }
    Ok(removed)
}

/// Removes a file or a folder with all in it; gives the bytes it had on the disk.
fn remove(path: &Path) -> Result<u64, StoreError> {
    let bytes = usage(path);
    let is_folder = path.symlink_metadata().is_ok_and(|there| there.is_dir());
    if is_folder {
        ingest::remove_tree(path)?;
    } else {
        fs::remove_file(path).map_err(StoreError::host("remove", path))?;
    }
    Ok(bytes)
}

/// Bytes on the disk; a file of several names counts once.
pub(super) fn usage(path: &Path) -> u64 {
    let mut seen = BTreeSet::new();
    let mut bytes = 0;
    let mut paths = vec![path.to_owned()];
    while let Some(path) = paths.pop() {
        let Ok(there) = path.symlink_metadata() else { continue };
        if seen.insert(there.ino()) {
            bytes += there.blocks() * 512;
        }
        if there.is_dir() {
            paths.extend(places::entries(&path).unwrap_or_default().iter().map(fs::DirEntry::path));
        }
    }
    bytes
}
