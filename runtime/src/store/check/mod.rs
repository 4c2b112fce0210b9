//! Looks at everything in the store: whether it is what its name says, and all there.
//!
//! Digests of blobs are computed anew; a layer is unpacked once more, aside, and compared with
//! what is there. Makers go on meanwhile and only the collector waits; repairing waits for nobody
//! and has the store to itself. What is read first needs what is read later, so an image that
//! gets in at the same time is never seen as half an image.
//!
//! Reading order: here what is found and the order of looking, `names` the names and records,
//! `content` blobs and layers, `compare` two folders, `repair` what is taken away.

mod compare;
mod content;
mod names;
mod repair;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::digest::Digest;
use super::garbage::Alone;
use super::{ImageRecord, Store, StoreError, garbage, ingest, places};
use content::Contents;
use names::Catalogue;

/// What an object of the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectKind {
    /// A file that says which image a name means.
    Name,
    /// What is written down about an image.
    Image,
    /// A manifest, a config, or a layer as it came.
    Blob,
    /// An unpacked layer.
    Layer,
    /// Something that is not the store's.
    Stranger,
}

/// An object that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// What it is.
    pub kind: ObjectKind,
    /// Its name: a reference, a digest, or a path below the store.
    pub object: String,
    /// What is wrong with it.
    pub problem: String,
    /// Names (or ids) of the images that are not whole because of it.
    pub images: Vec<String>,
    /// Those of them that a registry has.
    pub pulled: Vec<String>,
    /// Why it cannot be taken away, if it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
    /// It was taken away.
    pub removed: bool,
}

/// Things that no image needs and that do no harm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Spare {
    /// How many.
    pub count: u64,
    /// Bytes on the disk.
    pub bytes: u64,
}

/// What [`Store::check`] and [`Alone::repair`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Names that were looked at.
    pub names: u64,
    /// Images that were looked at.
    pub images: u64,
    /// Layers that were looked at.
    pub layers: u64,
    /// Blobs that were looked at.
    pub blobs: u64,
    /// What is not as it should be, by kind and name.
    pub broken: Vec<Broken>,
    /// What stopped pulls and loads left; the next pull goes on from there.
    pub parts: Spare,
    /// Layers that are being made now.
    pub making: u64,
    /// Blobs and layers that no image needs.
    pub unneeded: Spare,
}

/// Everything that is collected on the way.
struct Inspection<'a> {
    store: &'a Store,
    /// Ids of images that containers were made from.
    in_use: &'a BTreeSet<String>,
    catalogue: Catalogue,
    checked: Checked,
    /// Files beside their place, which a killed writer left.
    beside: Vec<PathBuf>,
}

impl Store {
    /// Looks at every object of the store.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when something is taken away for too long, and when the host refuses
    /// to let something be read.
    pub fn check(&self) -> Result<Checked, StoreError> {
        if !self.places.root.exists() {
            return Ok(Checked::default());
        }
        let _using = self.hold_waiting()?;
        Ok(Inspection::of(self, &BTreeSet::new())?.checked)
    }
}

impl Alone {
    /// As [`Store::check`], and takes away what is broken, so that the next pull fetches it again.
    /// Images in `in_use` stay, and so does what is not the store's.
    ///
    /// # Errors
    /// When the host refuses to let something be read or removed.
    pub fn repair(&self, in_use: &BTreeSet<String>) -> Result<Checked, StoreError> {
        let mut inspection = Inspection::of(&self.store, in_use)?;
        inspection.repair()?;
        Ok(inspection.checked)
    }
}

impl<'a> Inspection<'a> {
    /// What is read first needs what is read later.
    fn of(store: &'a Store, in_use: &'a BTreeSet<String>) -> Result<Inspection<'a>, StoreError> {
        let catalogue = Catalogue::default();
        let checked = Checked::default();
        let mut inspection = Inspection { store, in_use, catalogue, checked, beside: Vec::new() };
        inspection.names()?;
        inspection.records()?;
        let contents = Contents::read(&mut inspection)?;
        inspection.images(&contents)?;
        inspection.layers(&contents)?;
        inspection.making()?;
        inspection.strangers()?;
        inspection.checked.broken.sort_by(|a, b| (a.kind, &a.object).cmp(&(b.kind, &b.object)));
        Ok(inspection)
    }
}

impl Inspection<'_> {
    /// Writes down what is wrong with an object that `images` need.
    fn broken(
        &mut self,
        kind: ObjectKind,
        object: impl ToString,
        problem: impl ToString,
        images: &[&Digest],
    ) {
        let named = |of: &BTreeMap<Digest, BTreeSet<String>>| -> BTreeSet<String> {
            images.iter().filter_map(|id| of.get(*id)).flatten().cloned().collect()
        };
        let (mut names, pulled) = (named(&self.catalogue.named), named(&self.catalogue.pulled));
        let nameless = images.iter().filter(|id| !self.catalogue.named.contains_key(**id));
        names.extend(nameless.map(|id| id.to_string()));
        self.checked.broken.push(Broken {
            kind,
            object: object.to_string(),
            problem: problem.to_string(),
            images: names.into_iter().collect(),
            pulled: pulled.into_iter().collect(),
            kept: None,
            removed: false,
        });
    }

    fn stranger(&mut self, path: &Path) {
        let below = path.strip_prefix(&self.store.places.root).unwrap_or(path);
        let problem = "it is not the store's";
        self.broken(ObjectKind::Stranger, below.display(), problem, &[]);
    }

    /// Ids of the images whose record has something to do with `wanted`.
    fn users(&self, wanted: impl Fn(&ImageRecord) -> bool) -> Vec<Digest> {
        let records = self.catalogue.records.values();
        records.filter(|record| wanted(record)).map(|record| record.id.clone()).collect()
    }

    /// What stopped work left, and what is worked on.
    fn making(&mut self) -> Result<(), StoreError> {
        let dir = self.store.places.making();
        for entry in places::entries(&dir).map_err(StoreError::host("list", &dir))? {
            let path = entry.path();
            match path.is_dir() {
                false => self.stranger(&path),
                true => match ingest::lock_folder(&path)? {
                    None => self.checked.making += 1,
                    Some(_) => self.checked.parts.add(garbage::usage(&path)),
                },
            }
        }
        for path in &self.beside {
            self.checked.parts.add(garbage::usage(path));
        }
        Ok(())
    }

    /// What lies where nothing of the store is.
    fn strangers(&mut self) -> Result<(), StoreError> {
        let places = &self.store.places;
        let blobs = places.blobs();
        let kinds = blobs.parent().unwrap_or(&blobs);
        let ours: BTreeSet<PathBuf> = [
            kinds.to_owned(),
            places.layers(),
            places.images(),
            places.refs(),
            places.making(),
            places.lock(),
            blobs.clone(),
        ]
        .into();
        for dir in [&places.root, kinds] {
            for entry in places::entries(dir).map_err(StoreError::host("list", dir))? {
                if !ours.contains(&entry.path()) {
                    self.stranger(&entry.path());
                }
            }
        }
        Ok(())
    }
}

impl Spare {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

/// Whether a file lies beside the place it is written for, `.NAME.PID.new`.
fn is_beside(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') && name.ends_with(".new")
}

#[cfg(test)]
mod tests;
