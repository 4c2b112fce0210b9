//! Images on this host: names, layers unpacked for overlayfs, and where they come from.
//!
//! Invariants: nothing has its final name before its digest was checked; what has a name stays
//! whole whatever is killed; a name is resolved by reading two small files, never by looking
//! around. Layers are shared between images; ids on disk are the image's own and are mapped when
//! mounted. Garbage is found by marking: an image keeps its parts, what keeps an image is
//! `berth_planner::images::users`, and [`Alone`] takes away what is chosen.
//!
//! Reading order: `reference` and `digest` (names), `document` and `config` (what an image says),
//! `places` (where things are), this module (looking), `ingest` (how something gets in), `tape`,
//! `plain`, `tree`, `remove` and `unpack` (a layer), `progress` (how far it is), `load` and `save` (archives), `registry`
//! (pulling and pushing), `host_image` (`localhost/host`), `create` and `change` (an image made
//! here), `history`, `inspect`, `garbage`, `check`.

mod change;
mod check;
mod config;
mod create;
mod digest;
mod document;
mod error;
mod forms;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod garbage;
mod history;
mod host_image;
mod ingest;
mod inspect;
mod load;
mod places;
mod plain;
mod progress;
mod reference;
mod registry;
mod remove;
mod save;
pub(crate) mod tape;
mod tree;
mod unpack;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::bundle::BundleMount;
use crate::record::{self, Durability};

pub use change::{Change, ChangeError, Command, Word};
pub use check::{Broken, Checked, ObjectKind, Spare};
pub use config::{ImageConfig, ImageHealthcheck};
pub use create::About;
pub use digest::{Digest, NotADigest};
pub use document::{DocumentError, Platform};
pub use error::StoreError;
pub use garbage::{Alone, Using};
pub use history::HistoryEntry;
pub use inspect::Inspected;
pub use load::Loaded;
pub use progress::{Counted, LayerEvent, LayerPhase, LayerProgress};
pub use reference::{Reference, ReferenceError};
pub(crate) use registry::addresses;
pub use registry::insecure_registries;
pub use registry::{Kept, LoggedIn, LoginOptions, login, logout};
pub use registry::{Look, Offer, PullOptions, PushOptions, Pushed, RegistryError, Retry, Settings};
pub use tape::TapeError;
pub use unpack::{Limits, UnpackError};

use document::Descriptor;
use places::Places;

/// The image store below one folder.
#[derive(Debug, Clone)]
pub struct Store {
    places: Places,
    /// `localhost/host` as this store was first asked for it: a command sees one host.
    host: Arc<OnceLock<ImageEntry>>,
}

/// An image by one of its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageEntry {
    /// Digest of its config, `sha256:…`.
    pub id: String,
    /// As people write it, `redis:7`; `None` for an image that has lost its names.
    pub reference: Option<String>,
    /// What registries call it, `redis@sha256:…`.
    pub digests: Vec<String>,
    /// Bytes of its layers, unpacked.
    pub size: u64,
    /// Seconds since the epoch when it came here.
    pub pulled_at: i64,
    /// Seconds since the epoch when it was made, if it says so.
    pub created: Option<i64>,
}

/// What is written down about an image.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ImageRecord {
    id: Digest,
    /// The manifest in the blobs; the host's own image has none.
    manifest: Option<Digest>,
    created: Option<i64>,
    added_at: i64,
    size: u64,
    /// The bottom one first.
    layers: Vec<LayerRef>,
    config: ImageConfig,
    /// Mounts that belong to every container of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    extra_mounts: Vec<BundleMount>,
}

/// A layer of an image.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct LayerRef {
    diff_id: Digest,
    /// As the manifest has it.
    blob: Option<Descriptor>,
    /// The form in which another image brought it, where that one is not here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kept: Option<Descriptor>,
}

impl LayerRef {
    /// What its bytes may be here as.
    fn forms(&self) -> impl Iterator<Item = &Descriptor> {
        self.blob.iter().chain(&self.kept)
    }
}

/// What a name means.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct NameRecord {
    reference: String,
    id: Digest,
    /// What the registry called it then.
    digest: Option<Digest>,
    pulled_at: i64,
}

impl Store {
    /// The store at `root`. Nothing is touched: the folders are made when something gets in.
    pub fn open(root: impl Into<PathBuf>) -> Store {
        Store { places: Places { root: root.into() }, host: Arc::default() }
    }

    /// The image that `reference` means here: a name as a user writes it, or a whole image id.
    ///
    /// `localhost/host` is always there.
    ///
    /// # Errors
    /// When `reference` is not one, or a record cannot be read.
    pub fn resolve(&self, reference: &str) -> Result<Option<ImageEntry>, StoreError> {
        if let Some(id) = as_id(reference) {
            let record = self.record(&id)?;
            return Ok(record.map(|record| entry(&record, None)));
        }
        let reference = Reference::parse(reference)?;
        if reference.is_host() {
            return Ok(Some(self.host_image()));
        }
        let Some(name) = self.name(&reference)? else { return Ok(None) };
        Ok(self.record(&name.id)?.map(|record| entry(&record, Some(&name))))
    }

    /// The image whose id starts with `prefix` (at least 4 digits).
    ///
    /// # Errors
    /// [`StoreError::Ambiguous`] when several do; when the store cannot be read.
    pub fn find(&self, prefix: &str) -> Result<Option<ImageEntry>, StoreError> {
        let prefix = prefix.strip_prefix("sha256:").unwrap_or(prefix);
        if prefix.len() < 4 || !prefix.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let records = self.records()?;
        let mut found = records.iter().filter(|record| record.id.hex().starts_with(prefix));
        match (found.next(), found.next()) {
            (Some(record), None) => Ok(Some(entry(record, None))),
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err(StoreError::Ambiguous(prefix.to_owned(), 2 + found.count())),
        }
    }

    /// All images, each by each of its names; those without a name too.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn list(&self) -> Result<Vec<ImageEntry>, StoreError> {
        let mut entries = Vec::new();
        let mut named = BTreeSet::new();
        for (_, name) in self.names()? {
            let reference = Reference::parse(&name.reference)?;
            let Some(record) = self.record(&name.id)? else { continue };
            // A digest that came with a tag is shown beside the tag.
            if reference.tag().is_some() || named.insert(name.id.clone()) {
                named.insert(name.id.clone());
                entries.push(entry(&record, Some(&name)));
            }
        }
        let nameless = self.records()?.into_iter().filter(|record| !named.contains(&record.id));
        entries.extend(nameless.map(|record| entry(&record, None)));
        Ok(entries)
    }

    /// Gives the image that `existing` means a further name.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no such image.
    pub fn tag(&self, existing: &str, new: &str) -> Result<(), StoreError> {
        let new = Reference::parse(new)?;
        if new.is_host() {
            return Err(StoreError::Reserved);
        }
        if new.digest().is_some() {
            return Err(StoreError::NewName(new.to_string()));
        }
        let _using = self.hold_waiting()?;
        let entry = self.resolve(existing)?;
        let id = entry.as_ref().and_then(|entry| as_id(&entry.id));
        let record = id.map(|id| self.record(&id)).transpose()?.flatten();
        let record = record.ok_or_else(|| StoreError::Missing(existing.to_owned()))?;
        self.write_name(&new, &record.id, None)
    }

    /// What the image says about its containers.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no such image.
    pub fn config(&self, id: &str) -> Result<ImageConfig, StoreError> {
        Ok(self.image(id)?.config)
    }

    /// The layers as folders for overlayfs, the top one first.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no such image.
    pub fn layers(&self, id: &str) -> Result<Vec<PathBuf>, StoreError> {
        // A layer that is there twice hides its lower self wholly, and overlayfs refuses doubles.
        let mut seen = BTreeSet::new();
        let layers = self.image(id)?.layers;
        let top_first = layers.iter().rev().filter(|layer| seen.insert(layer.diff_id.clone()));
        Ok(top_first.map(|layer| self.places.diff(&layer.diff_id)).collect())
    }

    /// Mounts that every container of the image needs: the host's programs for `localhost/host`.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no such image.
    pub fn extra_mounts(&self, id: &str) -> Result<Vec<BundleMount>, StoreError> {
        Ok(self.image(id)?.extra_mounts)
    }

    fn host_image(&self) -> ImageEntry {
        self.host.get_or_init(host_image::entry).clone()
    }

    /// The record of an image that must be there; the host's own is made on the way.
    fn image(&self, id: &str) -> Result<ImageRecord, StoreError> {
        let missing = || StoreError::Missing(id.to_owned());
        let digest = as_id(id).ok_or_else(missing)?;
        if let Some(record) = self.record(&digest)? {
            return Ok(record);
        }
        let host = host_image::HostImage::of_this_host();
        if host.id() == digest { self.add_host_image(host) } else { Err(missing()) }
    }

    fn record(&self, id: &Digest) -> Result<Option<ImageRecord>, StoreError> {
        let path = self.places.image(id);
        record::read(&path).map_err(StoreError::host("read", &path))
    }

    fn records(&self) -> Result<Vec<ImageRecord>, StoreError> {
        let dir = self.places.images();
        let mut records = Vec::new();
        for file in places::entries(&dir).map_err(StoreError::host("list", &dir))? {
            let name = file.file_name();
            let hex = name.to_str().and_then(|name| name.strip_suffix(".json"));
            let id = hex.and_then(|hex| Digest::parse(&format!("sha256:{hex}")).ok());
            if let Some(id) = id {
                records.extend(self.record(&id)?);
            }
        }
        records.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(records)
    }

    fn name(&self, reference: &Reference) -> Result<Option<NameRecord>, StoreError> {
        let path = self.places.name(reference);
        record::read(&path).map_err(StoreError::host("read", &path))
    }

    /// Every name with its file, in order.
    fn names(&self) -> Result<Vec<(PathBuf, NameRecord)>, StoreError> {
        let mut names = Vec::new();
        for path in self.files_of_names()?.into_iter().filter(|path| !is_hidden(path)) {
            let name = record::read(&path).map_err(StoreError::host("read", &path))?;
            names.extend(name.map(|name| (path, name)));
        }
        names.sort_by(|(_, a): &(_, NameRecord), (_, b)| a.reference.cmp(&b.reference));
        Ok(names)
    }

    /// What a kill left beside a name that was being written.
    fn half_written_names(&self) -> Result<Vec<PathBuf>, StoreError> {
        let files = self.files_of_names()?.into_iter();
        Ok(files.filter(|path| is_hidden(path)).collect())
    }

    fn files_of_names(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut files = Vec::new();
        let mut folders = vec![self.places.refs()];
        while let Some(folder) = folders.pop() {
            for file in places::entries(&folder).map_err(StoreError::host("list", &folder))? {
                let path = file.path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        Ok(files)
    }

    fn write_name(
        &self,
        reference: &Reference,
        id: &Digest,
        digest: Option<&Digest>,
    ) -> Result<(), StoreError> {
        let path = self.places.name(reference);
        let name = NameRecord {
            reference: reference.canonical(),
            id: id.clone(),
            digest: digest.cloned(),
            pulled_at: jiff::Timestamp::now().as_second(),
        };
        // Of one process they are written one after another: the file beside carries its pid only.
        static NAMES: Mutex<()> = Mutex::new(());
        let _one_at_a_time = NAMES.lock();
        // Another berth may take the empty folder away in between.
        for _ in 0..8 {
            make_dirs(path.parent().unwrap_or(Path::new("/")))?;
            match record::write(&path, &name, Durability::Durable) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                done => return done.map_err(StoreError::host("write", &path)),
            }
        }
        Err(StoreError::Busy)
    }
}

/// Records are written under a hidden name first.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// `sha256:` with 64 digits, or the digits alone.
fn as_id(text: &str) -> Option<Digest> {
    match Digest::parse(text) {
        Ok(id) => Some(id),
        Err(_) if digest::is_hex_digest(text) => Digest::parse(&format!("sha256:{text}")).ok(),
        Err(_) => None,
    }
}

fn entry(record: &ImageRecord, name: Option<&NameRecord>) -> ImageEntry {
    let reference = name.and_then(|name| Reference::parse(&name.reference).ok());
    let digest = name.and_then(|name| name.digest.as_ref());
    let digests = reference.iter().zip(digest);
    ImageEntry {
        id: record.id.to_string(),
        digests: digests.map(|(r, digest)| format!("{}@{digest}", r.familiar_name())).collect(),
        reference: reference.map(|reference| reference.to_string()).or_else(|| {
            // Only the host's own programs come as mounts.
            (!record.extra_mounts.is_empty()).then(|| host_image::NAME.to_owned())
        }),
        size: record.size,
        pulled_at: name.map_or(record.added_at, |name| name.pulled_at),
        created: record.created,
    }
}

/// Makes a folder and its parents, for root only: images bring set-id programs with them.
fn make_dirs(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(path).map_err(StoreError::host("make", path))
}

/// Removes the empty folders above `path`, up to `top`.
fn remove_empty_folders(path: &Path, top: &Path) {
    let above = path.ancestors().skip(1).take_while(|folder| folder.starts_with(top));
    for folder in above {
        if std::fs::remove_dir(folder).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod garbage_tests;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod test_images;
#[cfg(test)]
mod tests;
