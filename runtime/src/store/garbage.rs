//! Takes things out of the store, one at a time and with nobody else at work in it.
//!
//! What goes is decided elsewhere; here it is checked once more under the lock, and taken away in
//! an order in which a kill leaves either the image, or leftovers that nothing refers to: names,
//! then the record, then layers and blobs that no other record has. A layer loses its record
//! before its files, so that what is left of it is never taken for a whole one.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use berth_planner::images::{Images, StoredImage};
use rustix::fs::FlockOperation;

use super::digest::Digest;
use super::{ImageRecord, LayerRef, NameRecord, Reference, Store, StoreError};
use super::{host_image, ingest, places, remove_empty_folders};
use crate::meter;

/// The store with nobody else at work in it, until the value is dropped.
#[derive(Debug)]
pub struct Alone {
    pub(super) store: Store,
    _lock: OwnedFd,
}

/// The store with nothing going from it, until the value is dropped.
#[derive(Debug)]
pub struct Using {
    _lock: OwnedFd,
}

impl Store {
    /// Waits up to `wait` until nobody makes an image or a container of one.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when somebody still does.
    pub fn alone(&self, wait: Duration) -> Result<Alone, StoreError> {
        let looks = wait.as_millis() / ingest::LOOK_AGAIN.as_millis();
        for look in 0..=looks {
            if look > 0 {
                std::thread::sleep(ingest::LOOK_AGAIN);
            }
            super::make_dirs(&self.places.root)?;
            let lock = ingest::lock(&self.places.lock(), FlockOperation::NonBlockingLockExclusive)?;
            if let Some(lock) = lock {
                return Ok(Alone { store: self.clone(), _lock: lock });
            }
        }
        Err(StoreError::Busy)
    }

    /// Keeps everything in the store where it is; `None` while something is taken away.
    ///
    /// # Errors
    /// What the host answers.
    pub fn hold(&self) -> Result<Option<Using>, StoreError> {
        super::make_dirs(&self.places.root)?;
        let lock = ingest::lock(&self.places.lock(), FlockOperation::NonBlockingLockShared)?;
        Ok(lock.map(|lock| Using { _lock: lock }))
    }

    /// As [`Store::hold`], waiting for what is taken away for half a minute.
    ///
    /// # Errors
    /// [`StoreError::Busy`] after that.
    pub fn hold_waiting(&self) -> Result<Using, StoreError> {
        for _ in 0..600 {
            if let Some(using) = self.hold()? {
                return Ok(using);
            }
            std::thread::sleep(ingest::LOOK_AGAIN);
        }
        Err(StoreError::Busy)
    }

    /// Every image with all its names and parts.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn images(&self) -> Result<Images, StoreError> {
        let mut images: Images =
            self.records()?.iter().map(|r| (r.id.to_string(), stored(r))).collect();
        for (_, name) in self.names()? {
            let Some(image) = images.get_mut(&name.id.to_string()) else { continue };
            let reference = Reference::parse(&name.reference)?;
            let names =
                if reference.tag().is_some() { &mut image.tags } else { &mut image.digests };
            names.push(reference.to_string());
        }
        // The host's own image is known by its name while the host is as it was.
        if let Some(own) = images.get_mut(&self.host_image().id) {
            own.tags.push(host_image::NAME.to_owned());
        }
        Ok(images)
    }
}

impl Alone {
    /// Takes one name from an image.
    ///
    /// # Errors
    /// [`StoreError::Moved`] when it means another image by now, or none.
    pub fn untag(&self, name: &str, id: &str) -> Result<(), StoreError> {
        let (path, _) = self.named(name, id)?;
        self.remove_all(vec![path])
    }

    /// Removes an image with its names and all that no other image has.
    ///
    /// # Errors
    /// [`StoreError::Moved`] when it has other names by now, or is gone.
    pub fn remove(&self, id: &str, names: &[String]) -> Result<(), StoreError> {
        let removals = self.removals(id, names)?;
        self.remove_all(removals)
    }

    /// Removes what was begun and not finished, and what no image needs.
    ///
    /// # Errors
    /// When the store cannot be read, or the host refuses.
    pub fn sweep(&self) -> Result<(), StoreError> {
        let removals = self.strays()?;
        self.remove_all(removals)
    }

    /// What goes with an image, in this order.
    pub(super) fn removals(&self, id: &str, names: &[String]) -> Result<Vec<PathBuf>, StoreError> {
        let moved = || StoreError::Moved(id.to_owned());
        let images = self.store.images()?;
        let image = images.get(id).ok_or_else(moved)?;
        if image.names() != names {
            return Err(moved());
        }
        let mut removals = Vec::new();
        for name in names.iter().filter(|name| *name != host_image::NAME) {
            removals.push(self.named(name, id)?.0);
        }
        let others = images.values().filter(|other| other.id != id);
        let kept: BTreeSet<&String> = others.flat_map(|other| &other.parts).collect();
        let mut going: Vec<&String> =
            image.parts.iter().filter(|part| !kept.contains(part)).collect();
        going.dedup();
        for part in going {
            self.push_part(part, &mut removals);
        }
        Ok(removals)
    }

    /// Names of images that are not there, and what no image has.
    pub(super) fn strays(&self) -> Result<Vec<PathBuf>, StoreError> {
        let store = &self.store;
        let images = store.images()?;
        let mut strays = store.half_written_names()?;
        let names = store.names()?.into_iter();
        let lost = names.filter(|(_, name)| !images.contains_key(&name.id.to_string()));
        strays.extend(lost.map(|(path, _)| path));
        let kept: BTreeSet<&String> = images.values().flat_map(|image| &image.parts).collect();
        for folder in PARTS {
            let dir = store.places.root.join(folder);
            for file in places::entries(&dir).map_err(StoreError::host("list", &dir))? {
                let part = format!("{folder}/{}", file.file_name().to_string_lossy());
                if !kept.contains(&part) {
                    self.push_part(&part, &mut strays);
                }
            }
        }
        let making = store.places.making();
        let begun = places::entries(&making).map_err(StoreError::host("list", &making))?;
        strays.extend(begun.iter().map(fs::DirEntry::path));
        Ok(strays)
    }

    fn push_part(&self, part: &str, removals: &mut Vec<PathBuf>) {
        let path = self.store.places.root.join(part);
        if part.starts_with("layers/") {
            removals.push(path.join("layer.json"));
        }
        removals.push(path);
    }

    /// The file of a name that means the image.
    fn named(&self, name: &str, id: &str) -> Result<(PathBuf, NameRecord), StoreError> {
        let reference = Reference::parse(name)?;
        if reference.is_host() {
            return Err(StoreError::Reserved);
        }
        let there = self.store.name(&reference)?.filter(|there| there.id.to_string() == id);
        let there = there.ok_or_else(|| StoreError::Moved(name.to_owned()))?;
        Ok((self.store.places.name(&reference), there))
    }

    pub(super) fn remove_all(&self, removals: Vec<PathBuf>) -> Result<(), StoreError> {
        let refs = self.store.places.refs();
        for path in removals {
            remove(&path)?;
            if path.starts_with(&refs) {
                remove_empty_folders(&path, &refs);
            }
        }
        Ok(())
    }
}

/// Folders of the store whose entries belong to images.
const PARTS: [&str; 3] = ["images", "layers", "blobs/sha256"];

fn stored(record: &ImageRecord) -> StoredImage {
    let layers = record.layers.iter().map(|layer| format!("layers/{}", layer.diff_id.hex()));
    // The record goes first: without it nothing refers to the rest.
    let parts = [format!("images/{}.json", record.id.hex())].into_iter().chain(layers);
    StoredImage {
        id: record.id.to_string(),
        tags: Vec::new(),
        digests: Vec::new(),
        created: record.created,
        size: record.size,
        labels: record.config.labels.clone(),
        parts: parts.chain(blobs(record).map(|b| format!("blobs/sha256/{}", b.hex()))).collect(),
    }
}

/// Everything in the blobs that an image needs.
pub(super) fn blobs(record: &ImageRecord) -> impl Iterator<Item = &Digest> {
    let layers = record.layers.iter().flat_map(LayerRef::forms).map(|blob| &blob.digest);
    layers.chain(record.manifest.as_ref()).chain([&record.id])
}

/// Removes a file or a folder with all in it, if it is there.
fn remove(path: &Path) -> Result<(), StoreError> {
    match path.symlink_metadata() {
        Ok(there) if there.is_dir() => ingest::remove_tree(path),
        Ok(_) => fs::remove_file(path).map_err(StoreError::host("remove", path)),
        Err(_) => Ok(()),
    }
}

/// Bytes on the disk; a file of several names counts once. What cannot be read is none.
pub(super) fn usage(path: &Path) -> u64 {
    meter::measure(path).unwrap_or(0)
}
