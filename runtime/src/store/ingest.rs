//! How an image gets in, so that a kill at any moment leaves it out or whole.
//!
//! Each layer is made in a folder of its own, which is also its lock: whoever holds it makes the
//! layer, everybody else waits and finds it made. Locks are taken in the order of the digests, so
//! two images with common layers never wait for each other. When all layers of an image are
//! there and their digests right, everything is synced once, and only then renamed into place:
//! layers, blobs, the record, the name.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::config::ConfigDocument;
use super::digest::Digest;
use super::document::{Descriptor, Manifest};
use super::reference::Reference;
use super::unpack::{self, Limits, Unpacked};
use super::{ImageRecord, LayerRef, Store, StoreError, make_dirs, remove};
use crate::bundle::BundleMount;
use crate::record::{self, Durability};

/// How long a waiting maker sleeps before it looks again.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Records of one process are written one after another: the file beside carries its pid only.
static WRITING: Mutex<()> = Mutex::new(());

/// What is written down beside an unpacked layer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LayerRecord {
    pub(super) diff_id: Digest,
    pub(super) size: u64,
    pub(super) entries: u64,
    pub(super) skipped_devices: u64,
    /// Blobs that were unpacked and found to be this layer.
    #[serde(default)]
    pub(super) forms: Vec<Descriptor>,
}

/// Work that adds to the store; the collector waits for its end.
#[derive(Debug)]
pub(super) struct Ingest {
    store: Store,
    lock: Arc<OwnedFd>,
}

/// The right to make one layer.
#[derive(Debug)]
pub(super) struct Claim {
    store: Store,
    diff_id: Digest,
    dir: PathBuf,
    _lock: OwnedFd,
    /// A maker that outlives its pull still keeps the collector away.
    _ingest: Arc<OwnedFd>,
}

/// A layer that is made and checked, but has no name yet.
#[derive(Debug)]
pub(super) struct Made {
    claim: Claim,
    blob: Digest,
}

/// An image whose layers are all there or made.
pub(super) struct NewImage<'a> {
    pub(super) manifest_bytes: &'a [u8],
    pub(super) manifest: &'a Manifest,
    pub(super) config_bytes: &'a [u8],
    pub(super) config: ConfigDocument,
    pub(super) made: Vec<Made>,
    /// Names it gets, each with what the registry calls it.
    pub(super) names: Vec<(Reference, Option<Digest>)>,
    /// Mounts that belong to every container of it.
    pub(super) extra_mounts: Vec<BundleMount>,
}

impl Ingest {
    /// `None` while the collector works.
    pub(super) fn begin(store: &Store) -> Result<Option<Ingest>, StoreError> {
        for dir in [
            store.places.blobs(),
            store.places.layers(),
            store.places.images(),
            store.places.making(),
        ] {
            make_dirs(&dir)?;
        }
        let lock = lock(&store.places.lock(), FlockOperation::NonBlockingLockShared)?;
        Ok(lock.map(|lock| Ingest { store: store.clone(), lock: Arc::new(lock) }))
    }

    /// As [`Ingest::begin`], waiting for the collector for half a minute.
    pub(super) fn begin_waiting(store: &Store) -> Result<Ingest, StoreError> {
        for _ in 0..600 {
            if let Some(ingest) = Ingest::begin(store)? {
                return Ok(ingest);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Err(StoreError::Busy)
    }

    /// Whether a layer is unpacked, and the bytes it came in are here in some form.
    pub(super) fn has_layer(&self, diff_id: &Digest) -> bool {
        self.store.form(diff_id).is_some()
    }

    /// A small blob that is here, whole.
    pub(super) fn read_blob(&self, descriptor: &Descriptor) -> Option<Vec<u8>> {
        let bytes = fs::read(self.store.places.blob(&descriptor.digest)).ok()?;
        (Digest::of(&bytes) == descriptor.digest).then_some(bytes)
    }

    /// The right to make a layer; `None` while another has it.
    pub(super) fn claim(&self, diff_id: &Digest) -> Result<Option<Claim>, StoreError> {
        let dir = self.store.places.making().join(diff_id.hex());
        make_dirs(&dir)?;
        let Some(lock) = lock_folder(&dir)? else { return Ok(None) };
        Ok(Some(Claim {
            store: self.store.clone(),
            diff_id: diff_id.clone(),
            dir,
            _lock: lock,
            _ingest: Arc::clone(&self.lock),
        }))
    }

    /// Gives the image and its layers their names.
    pub(super) fn finish(&self, image: NewImage<'_>) -> Result<ImageRecord, StoreError> {
        let _one_at_a_time = WRITING.lock();
        let mut new = !image.made.is_empty();
        for bytes in [image.manifest_bytes, image.config_bytes] {
            new |= self.add_blob(bytes)?;
        }
        if new {
            sync(&self.store.places.root)?;
        }
        image.made.into_iter().try_for_each(Made::publish)?;
        let mut record = self.record(image.manifest_bytes, image.manifest, image.config)?;
        record.extra_mounts = image.extra_mounts;
        let path = self.store.places.image(&record.id);
        record::write(&path, &record, Durability::Durable)
            .map_err(StoreError::host("write", &path))?;
        for (name, digest) in &image.names {
            self.store.write_name(name, &record.id, digest.as_ref())?;
        }
        Ok(record)
    }

    /// Gives an image that is here a manifest with the same layers in other forms.
    pub(super) fn repack(
        &self,
        mut record: ImageRecord,
        manifest_bytes: &[u8],
        layers: Vec<Descriptor>,
    ) -> Result<(), StoreError> {
        let _one_at_a_time = WRITING.lock();
        self.add_blob(manifest_bytes)?;
        sync(&self.store.places.root)?;
        record.manifest = Some(Digest::of(manifest_bytes));
        for (layer, blob) in record.layers.iter_mut().zip(layers) {
            layer.kept = self.store.kept(&layer.diff_id, &blob);
            layer.blob = Some(blob);
        }
        let path = self.store.places.image(&record.id);
        record::write(&path, &record, Durability::Durable).map_err(StoreError::host("write", &path))
    }

    /// Whether it was not there before, or not as it should be.
    fn add_blob(&self, bytes: &[u8]) -> Result<bool, StoreError> {
        let path = self.store.places.blob(&Digest::of(bytes));
        if fs::read(&path).is_ok_and(|there| there == bytes) {
            return Ok(false);
        }
        record::write_bytes(&path, bytes, 0o600, Durability::Volatile)
            .map_err(StoreError::host("write", &path))?;
        Ok(true)
    }

    fn record(
        &self,
        manifest_bytes: &[u8],
        manifest: &Manifest,
        config: ConfigDocument,
    ) -> Result<ImageRecord, StoreError> {
        let mut size = 0;
        let mut layers = Vec::new();
        for (diff_id, blob) in config.diff_ids.into_iter().zip(&manifest.layers) {
            let path = self.store.places.layer_record(&diff_id);
            let layer: Option<LayerRecord> =
                record::read(&path).map_err(StoreError::host("read", &path))?;
            size += layer.ok_or_else(|| StoreError::Missing(diff_id.to_string()))?.size;
            let kept = self.store.kept(&diff_id, blob);
            layers.push(LayerRef { diff_id, blob: Some(blob.clone()), kept });
        }
        Ok(ImageRecord {
            id: manifest.config.digest.clone(),
            manifest: Some(Digest::of(manifest_bytes)),
            created: config.created,
            added_at: jiff::Timestamp::now().as_second(),
            size,
            layers,
            config: config.config,
            extra_mounts: Vec::new(),
        })
    }
}

impl Claim {
    /// Where the layer's bytes are kept as they come; what a stopped pull left is still there.
    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!("blob.{}", digest.hex()))
    }

    /// [`Claim::blob`], with the bytes that are in the store already if only the layer is missing.
    ///
    /// A copy: whatever a registry sends after them must not reach what has a name.
    pub(super) fn adopt(&self, blob: &Descriptor) -> Result<PathBuf, StoreError> {
        let (kept, part) = (self.store.places.blob(&blob.digest), self.blob(&blob.digest));
        let whole = kept.metadata().is_ok_and(|there| there.len() == blob.size);
        if whole && !part.exists() {
            fs::copy(&kept, &part).map_err(StoreError::host("copy to", &part))?;
        }
        Ok(part)
    }

    /// Unpacks `source`, whose bytes end up in [`Claim::blob`], and checks it.
    ///
    /// # Errors
    /// As [`unpack::unpack`], and when a digest or the size is not what was promised. The bytes
    /// are kept if only the source failed, so that the work can go on from there.
    pub(super) fn unpack(
        &self,
        source: impl Read + Send,
        promised: &Descriptor,
        limits: Limits,
    ) -> Result<Unpacked, StoreError> {
        let unpacked = self.write(source, promised, limits)?;
        self.check(&unpacked, promised)?;
        Ok(unpacked)
    }

    /// As [`Claim::unpack`] from a source that is here: when it fails, nothing is kept.
    pub(super) fn unpack_local(
        &self,
        source: impl Read + Send,
        promised: &Descriptor,
    ) -> Result<Unpacked, StoreError> {
        self.unpack(source, promised, Limits::default()).inspect_err(|_| {
            let _ = fs::remove_file(self.blob(&promised.digest));
        })
    }

    /// After [`Claim::unpack`]: the layer waits for its name.
    pub(super) fn into_made(self, blob: &Digest) -> Made {
        Made { blob: blob.clone(), claim: self }
    }

    fn layer(&self) -> PathBuf {
        self.dir.join("layer")
    }

    fn write(
        &self,
        source: impl Read + Send,
        promised: &Descriptor,
        limits: Limits,
    ) -> Result<Unpacked, StoreError> {
        let layer = self.layer();
        remove_tree(&layer)?;
        let diff = layer.join("diff");
        make_dirs(&diff)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::open(&diff, flags, Mode::empty())
            .and_then(|root| rustix::fs::fchmod(&root, Mode::from_raw_mode(0o755)).map(|()| root))
            .map_err(|errno| StoreError::host("open", &diff)(errno.into()))?;
        let unpacked = unpack::unpack(source, root, limits)
            .map_err(|source| StoreError::Layer { digest: self.diff_id.clone(), source })?;
        let record = LayerRecord {
            diff_id: unpacked.diff_id.clone(),
            size: unpacked.size,
            entries: unpacked.entries,
            skipped_devices: unpacked.skipped_devices,
            // Right once the digests are compared; until then the layer has no name.
            forms: vec![promised.clone()],
        };
        let path = layer.join("layer.json");
        record::write(&path, &record, Durability::Volatile)
            .map_err(StoreError::host("write", &path))?;
        Ok(unpacked)
    }

    fn check(&self, unpacked: &Unpacked, promised: &Descriptor) -> Result<(), StoreError> {
        let size = StoreError::Size {
            what: "layer",
            digest: promised.digest.clone(),
            expected: promised.size,
            found: unpacked.blob_size,
        };
        let differs = |what, expected: &Digest, found: &Digest| StoreError::Digest {
            what,
            expected: expected.clone(),
            found: found.clone(),
        };
        let problem = if unpacked.blob_size != promised.size {
            Some(size)
        } else if unpacked.blob != promised.digest {
            Some(differs("layer", &promised.digest, &unpacked.blob))
        } else if unpacked.diff_id != self.diff_id {
            Some(differs("unpacked layer", &self.diff_id, &unpacked.diff_id))
        } else {
            None
        };
        match problem {
            None => Ok(()),
            Some(problem) => {
                let _ = fs::remove_file(self.blob(&promised.digest));
                Err(problem)
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // What was not published is of no use; the bytes beside it are.
        let _ = remove_tree(&self.layer());
        let _ = fs::remove_dir(&self.dir);
    }
}

impl Made {
    /// The blob first: a kill in between leaves a layer that is not there, which the next pull
    /// makes of the blob. The other way round nobody would ask for the blob again.
    fn publish(self) -> Result<(), StoreError> {
        let places = &self.claim.store.places;
        let blob = self.claim.blob(&self.blob);
        if blob.exists() {
            rename(&blob, &places.blob(&self.blob))?;
        }
        let layer = places.layer(&self.claim.diff_id);
        let made: Option<LayerRecord> = record::read(&self.claim.layer().join("layer.json"))
            .map_err(StoreError::host("read", &self.claim.layer()))?;
        // A folder without a record is what a power cut left of an old kernel's rename.
        if !places.layer_record(&self.claim.diff_id).exists() {
            remove_tree(&layer)?;
            return rename(&self.claim.layer(), &layer);
        }
        // Only its bytes were not here, or in no form that is known to be it.
        let forms = made.map(|made| made.forms).unwrap_or_default();
        forms.iter().try_for_each(|form| self.claim.store.add_form(&self.claim.diff_id, form))
    }
}

/// A reader that leaves what it read in a file.
pub(super) struct Tee<R> {
    source: R,
    copy: File,
}

impl<R: Read> Tee<R> {
    /// # Errors
    /// When the file cannot be made.
    pub(super) fn new(source: R, copy: &Path) -> Result<Tee<R>, StoreError> {
        let copy = File::create(copy).map_err(StoreError::host("create", copy))?;
        Ok(Tee { source, copy })
    }
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buf)?;
        self.copy.write_all(&buf[..n])?;
        Ok(n)
    }
}

/// `flock` on a file that is made when missing; `None` when another holds it.
pub(super) fn lock(path: &Path, operation: FlockOperation) -> Result<Option<OwnedFd>, StoreError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))
        .map_err(|errno| StoreError::host("open", path)(errno.into()))?;
    flock(fd, path, operation)
}

fn flock(
    fd: OwnedFd,
    path: &Path,
    operation: FlockOperation,
) -> Result<Option<OwnedFd>, StoreError> {
    match rustix::fs::flock(&fd, operation) {
        Ok(()) => Ok(Some(fd)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(StoreError::host("lock", path)(errno.into())),
    }
}

/// As [`lock`] on a folder that its last holder may just have removed.
pub(super) fn lock_folder(dir: &Path) -> Result<Option<OwnedFd>, StoreError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = match rustix::fs::open(dir, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(StoreError::host("open", dir)(errno.into())),
    };
    let Some(fd) = flock(fd, dir, FlockOperation::NonBlockingLockExclusive)? else {
        return Ok(None);
    };
    let held =
        rustix::fs::fstat(fd.as_fd()).map_err(|e| StoreError::host("stat", dir)(e.into()))?;
    let same = fs::metadata(dir).is_ok_and(|named| named.ino() == held.st_ino);
    Ok(same.then_some(fd))
}

fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(StoreError::host("rename to", to))
}

/// Removes a folder with all in it, if it is there.
pub(super) fn remove_tree(path: &Path) -> Result<(), StoreError> {
    match remove::remove(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::host("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Everything written so far is on the disk afterwards.
fn sync(root: &Path) -> Result<(), StoreError> {
    let synced =
        File::open(root).and_then(|root| rustix::fs::syncfs(&root).map_err(io::Error::from));
    synced.map_err(StoreError::host("sync", root))
}
