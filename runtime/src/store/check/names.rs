//! Names and records: each can be read, lies where it belongs, and leads to something.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::super::digest::Digest;
use super::super::document::{self, Document};
use super::super::load::parse_config;
use super::super::reference::Reference;
use super::super::{ImageRecord, NameRecord, StoreError, places};
use super::content::Contents;
use super::{Inspection, ObjectKind, is_beside};
use crate::record;

/// What the names and records say.
#[derive(Default)]
pub(super) struct Catalogue {
    /// Every name with its file.
    pub(super) names: Vec<(PathBuf, NameRecord)>,
    pub(super) records: BTreeMap<Digest, ImageRecord>,
    /// Names of each image.
    pub(super) named: BTreeMap<Digest, BTreeSet<String>>,
    /// Those by which a registry knows it.
    pub(super) pulled: BTreeMap<Digest, BTreeSet<String>>,
}

impl Inspection<'_> {
    /// Every name.
    pub(super) fn names(&mut self) -> Result<(), StoreError> {
        let mut folders = vec![self.store.places.refs()];
        while let Some(folder) = folders.pop() {
            for entry in places::entries(&folder).map_err(StoreError::host("list", &folder))? {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if is_beside(&path) {
                    self.beside.push(path);
                } else {
                    self.name(path);
                }
            }
        }
        Ok(())
    }

    fn name(&mut self, path: PathBuf) {
        let read = record::read::<NameRecord>(&path);
        let shown = path.strip_prefix(self.store.places.refs()).unwrap_or(&path).to_owned();
        let name = match read {
            Ok(Some(name)) => name,
            Ok(None) => return self.broken(ObjectKind::Name, shown.display(), EMPTY, &[]),
            Err(_) => return self.broken(ObjectKind::Name, shown.display(), UNREADABLE, &[]),
        };
        let reference = Reference::parse(&name.reference).ok();
        match reference.filter(|reference| self.store.places.name(reference) == path) {
            None => self.broken(ObjectKind::Name, shown.display(), "it is another's file", &[]),
            Some(reference) => {
                self.checked.names += 1;
                let shown = reference.to_string();
                if name.digest.is_some() {
                    let pulled = self.catalogue.pulled.entry(name.id.clone()).or_default();
                    pulled.insert(shown.clone());
                }
                // A digest that came with a tag says nothing new to people.
                let names = self.catalogue.named.entry(name.id.clone()).or_default();
                names.insert(shown);
                self.catalogue.names.push((path, name));
            }
        }
    }

    /// Every record of an image, and that each name leads to one.
    pub(super) fn records(&mut self) -> Result<(), StoreError> {
        self.catalogue.drop_doubles();
        let dir = self.store.places.images();
        for entry in places::entries(&dir).map_err(StoreError::host("list", &dir))? {
            let path = entry.path();
            match id_of(&path) {
                Some(id) => self.record(&path, id),
                None if is_beside(&path) => self.beside.push(path),
                None => self.stranger(&path),
            }
        }
        let names = self.catalogue.names.iter();
        let lost: Vec<_> = names
            .filter(|(_, name)| !self.catalogue.records.contains_key(&name.id))
            .map(|(_, name)| name.clone())
            .collect();
        for name in lost {
            let shown = Reference::parse(&name.reference)?.to_string();
            let problem = format!("it means image {}, which is not here", name.id);
            self.broken(ObjectKind::Name, shown, problem, &[&name.id]);
        }
        Ok(())
    }

    fn record(&mut self, path: &Path, id: Digest) {
        self.checked.images += 1;
        let problem = match record::read::<ImageRecord>(path) {
            Ok(Some(record)) if record.id == id => {
                self.catalogue.records.insert(id, record);
                return;
            }
            Ok(Some(record)) => format!("its record is that of {}", record.id),
            Ok(None) => format!("its record {EMPTY}"),
            Err(_) => format!("its record {UNREADABLE}"),
        };
        self.broken(ObjectKind::Image, &id, problem, &[&id]);
    }

    /// Each record says what the image's own documents say.
    pub(super) fn images(&mut self, contents: &Contents) -> Result<(), StoreError> {
        let records: Vec<ImageRecord> = self.catalogue.records.values().cloned().collect();
        for record in records {
            if let Some(problem) = self.contradiction(&record, contents) {
                self.broken(ObjectKind::Image, &record.id, problem, &[&record.id]);
            }
        }
        Ok(())
    }

    /// `None` also when the documents are damaged, which is told of them.
    fn contradiction(&self, record: &ImageRecord, contents: &Contents) -> Option<String> {
        let read = |digest: &Digest| {
            let intact = contents.intact.contains_key(digest);
            intact.then(|| std::fs::read(self.store.places.blob(digest)).ok()).flatten()
        };
        if let Some(bytes) = record.manifest.as_ref().and_then(read) {
            match document::parse(&bytes) {
                Ok(Document::Manifest(manifest)) if manifest.config.digest == record.id => {
                    let layers = manifest.layers.iter().map(|layer| Some(&layer.digest));
                    let told = record.layers.iter().map(|l| l.blob.as_ref().map(|b| &b.digest));
                    if !layers.eq(told) {
                        return Some("its record has other layers than its manifest".into());
                    }
                }
                _ => return Some("its manifest is that of something else".into()),
            }
        }
        let config = read(&record.id)?;
        match parse_config(&config) {
            Err(error) => Some(error.to_string()),
            Ok(config) => {
                let same = config.diff_ids.iter().eq(record.layers.iter().map(|l| &l.diff_id))
                    && config.config == record.config;
                (!same).then(|| "its record says other things than its config".into())
            }
        }
    }
}

const EMPTY: &str = "is empty";
const UNREADABLE: &str = "cannot be read";

impl Catalogue {
    /// A digest beside a tag of the same repository is left out of the names that are told.
    fn drop_doubles(&mut self) {
        for names in self.named.values_mut().chain(self.pulled.values_mut()) {
            if names.iter().any(|name| !name.contains('@')) {
                names.retain(|name| !name.contains('@'));
            }
        }
    }
}

/// The image whose record has this path.
fn id_of(path: &Path) -> Option<Digest> {
    let name = path.file_name()?.to_str()?;
    Digest::parse(&format!("sha256:{}", name.strip_suffix(".json")?)).ok()
}
