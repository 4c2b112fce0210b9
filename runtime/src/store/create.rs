//! Makes an image here: of a flat archive, or of another image and a layer on it.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use serde_json::{Map, Value, json};

use super::change::{self, Change};
use super::digest::{Digest, HashingWriter};
use super::document::{self, Descriptor, Document, DocumentError, Manifest, Platform};
use super::ingest::{Ingest, NewImage};
use super::load::{claim_waiting, parse_config};
use super::plain;
use super::reference::Reference;
use super::tape::TapeWriter;
use super::unpack::UnpackError;
use super::{Store, StoreError};

const BUFFER: usize = 256 << 10;

/// What is said of a new image.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// Its name; without one it is known by its id.
    pub reference: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// What was done.
    pub message: Option<String>,
    /// The command that made it.
    pub created_by: String,
    /// Changes of its config, in this order.
    pub changes: Vec<Change>,
}

/// A layer that is written, in a file without a name.
pub(super) struct Written {
    pub(super) file: File,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

impl Store {
    /// Makes an image of one layer from a flat archive, plain or compressed. Gives its id.
    ///
    /// # Errors
    /// When the stream is no archive, a name or change is wrong, or the host refuses a step.
    pub fn import(&self, stream: impl Read, about: &About) -> Result<String, StoreError> {
        let ingest = Ingest::begin_waiting(self)?;
        let name = new_name(about)?;
        let platform = Platform::host();
        let mut config = json!({ "architecture": platform.architecture, "os": platform.os });
        if let Some(variant) = platform.variant {
            config["variant"] = variant.into();
        }
        let config = with_config(config, about)?;
        let layer = self.write_layer(|out| {
            plain::copy_plain(stream, out)
                .map_err(|e| StoreError::Archive { path: "-".into(), problem: e.to_string() })
        })?;
        self.finish_image(&ingest, config, Vec::new(), Some(layer), about, name)
    }

    /// Makes an image of `base` and a layer on it, which `write` writes; it tells whether there
    /// is anything in it. Gives the new image's id.
    ///
    /// # Errors
    /// As [`Store::import`], and [`StoreError::Missing`] when `base` is not here.
    pub(crate) fn add_layer<E: From<StoreError>>(
        &self,
        base: &str,
        about: &About,
        write: impl FnOnce(&mut TapeWriter<&mut dyn Write>) -> Result<bool, E>,
    ) -> Result<String, E> {
        let ingest = Ingest::begin_waiting(self)?;
        let name = new_name(about)?;
        let record = self.image(base)?;
        if !record.extra_mounts.is_empty() {
            return Err(StoreError::HostImage("committed").into());
        }
        let missing = || StoreError::Missing(base.to_owned());
        let manifest = record.manifest.as_ref().ok_or_else(missing)?;
        let document = self.read_blob(manifest)?;
        let Document::Manifest(manifest) = document::parse(&document).map_err(StoreError::from)?
        else {
            return Err(missing().into());
        };
        let config = self.read_blob(&record.id)?;
        let config: Value = serde_json::from_slice(&config)
            .map_err(|source| StoreError::from(DocumentError::Json { what: "config", source }))?;
        let config = with_config(config, about)?;
        let mut filled = false;
        let layer = self.write_layer(|out| {
            let out: &mut dyn Write = out;
            let mut tape = TapeWriter::new(out);
            filled = write(&mut tape)?;
            tape.finish().map(drop).map_err(|e| E::from(StoreError::Output(e)))
        })?;
        let layer = filled.then_some(layer);
        Ok(self.finish_image(&ingest, config, manifest.layers, layer, about, name)?)
    }

    fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let path = self.places.blob(digest);
        std::fs::read(&path).map_err(StoreError::host("read", &path))
    }

    pub(super) fn write_layer<E: From<StoreError>>(
        &self,
        write: impl FnOnce(&mut HashingWriter<BufWriter<File>>) -> Result<(), E>,
    ) -> Result<Written, E> {
        let aside = self.places.making();
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        let file = rustix::fs::open(&aside, flags, Mode::from_raw_mode(0o600))
            .map_err(|e| StoreError::host("make a file in", &aside)(e.into()))?;
        let mut out = HashingWriter::new(BufWriter::with_capacity(BUFFER, file.into()));
        write(&mut out)?;
        out.flush().map_err(StoreError::host("write in", &aside))?;
        let (out, digest, size) = out.into_parts();
        let mut file = out.into_inner().map_err(|e| StoreError::Output(e.into_error()))?;
        file.seek(SeekFrom::Start(0)).map_err(StoreError::host("seek in", &aside))?;
        Ok(Written { file, digest, size })
    }

    fn finish_image(
        &self,
        ingest: &Ingest,
        mut config: Map<String, Value>,
        below: Vec<Descriptor>,
        layer: Option<Written>,
        about: &About,
        name: Option<Reference>,
    ) -> Result<String, StoreError> {
        let mut layers: Vec<Descriptor> = below.into_iter().map(as_oci).collect();
        record_step(&mut config, layer.as_ref(), about);
        let config_bytes = Value::from(config).to_string().into_bytes();
        let config = parse_config(&config_bytes)?;
        let mut made = Vec::new();
        if let Some(layer) = layer {
            let descriptor = descriptor(document::OCI_LAYER, layer.digest.clone(), layer.size);
            if let Some(claim) = claim_waiting(ingest, &layer.digest)? {
                let path = claim.blob(&layer.digest);
                let _ = std::fs::remove_file(&path);
                give_name(&layer.file, &path)?;
                let unpacked = claim.unpack_local(&layer.file, &descriptor)?;
                // Nobody promised a digest, so nothing else tells a whole archive from a cut one.
                if !unpacked.has_end {
                    let _ = std::fs::remove_file(&path);
                    let (digest, source) = (layer.digest, UnpackError::NoEnd);
                    return Err(StoreError::Layer { digest, source });
                }
                made.push(claim.into_made(&layer.digest));
            }
            layers.push(descriptor);
        }
        let size = config_bytes.len() as u64;
        let described = descriptor(document::OCI_CONFIG, Digest::of(&config_bytes), size);
        let manifest = Manifest { config: described, layers };
        let record = ingest.finish(NewImage {
            manifest_bytes: manifest.to_json().as_bytes(),
            manifest: &manifest,
            config_bytes: &config_bytes,
            config,
            made,
            names: name.into_iter().map(|name| (name, None)).collect(),
            extra_mounts: Vec::new(),
        })?;
        Ok(record.id.to_string())
    }
}

fn new_name(about: &About) -> Result<Option<Reference>, StoreError> {
    let name = about.reference.as_deref().map(Reference::parse).transpose()?;
    match name {
        Some(name) if name.is_host() => Err(StoreError::Reserved),
        Some(name) if name.digest().is_some() => Err(StoreError::NewName(name.to_string())),
        name => Ok(name),
    }
}

/// The document with the changes in its `config`, and without what an older Docker kept of the
/// container it was made in.
fn with_config(document: Value, about: &About) -> Result<Map<String, Value>, StoreError> {
    let Value::Object(mut document) = document else { return Ok(Map::new()) };
    for key in ["container", "container_config", "id", "parent"] {
        document.remove(key);
    }
    let mut config = match document.remove("config") {
        Some(Value::Object(config)) => config,
        _ => Map::new(),
    };
    change::apply(&mut config, &about.changes).map_err(StoreError::Change)?;
    document.insert("config".into(), config.into());
    Ok(document)
}

/// Writes down when and how the image was made, and what it has on top.
fn record_step(document: &mut Map<String, Value>, layer: Option<&Written>, about: &About) {
    let now = jiff::Timestamp::now().to_string();
    let mut step = json!({ "created": now, "created_by": about.created_by });
    for (key, text) in [("author", &about.author), ("comment", &about.message)] {
        if let Some(text) = text {
            step[key] = text.as_str().into();
        }
    }
    if let Some(author) = &about.author {
        document.insert("author".into(), author.as_str().into());
    }
    document.insert("created".into(), now.into());
    let mut diff_ids = document
        .get("rootfs")
        .map_or_else(Vec::new, |rootfs| rootfs["diff_ids"].as_array().cloned().unwrap_or_default());
    match layer {
        Some(layer) => diff_ids.push(layer.digest.to_string().into()),
        None => step["empty_layer"] = true.into(),
    }
    document.insert("rootfs".into(), json!({ "type": "layers", "diff_ids": diff_ids }));
    let mut history = match document.remove("history") {
        Some(Value::Array(history)) => history,
        _ => Vec::new(),
    };
    history.push(step);
    document.insert("history".into(), history.into());
}

/// Gives the file without a name one that nothing has.
pub(super) fn give_name(file: &File, path: &Path) -> Result<(), StoreError> {
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, Path::new(&own), CWD, path, AtFlags::SYMLINK_FOLLOW)
        .map_err(|e| StoreError::host("link to", path)(e.into()))
}

/// Docker's words for layers in those of an OCI manifest, which must not hold both.
fn as_oci(mut layer: Descriptor) -> Descriptor {
    let oci = [
        ("application/vnd.docker.image.rootfs.diff.", "application/vnd.oci.image.layer.v1."),
        (
            "application/vnd.docker.image.rootfs.foreign.diff.",
            "application/vnd.oci.image.layer.nondistributable.v1.",
        ),
    ];
    for (docker, oci) in oci {
        if let Some(form) = layer.media_type.strip_prefix(docker) {
            layer.media_type = format!("{oci}{}", form.replace("tar.", "tar+"));
            break;
        }
    }
    layer
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    let media_type = media_type.to_owned();
    Descriptor { media_type, digest, size, platform: None, annotations: None }
}

#[cfg(test)]
mod tests {
    use super::super::test_images::{Archive, Scratch, docker_archive, gzip};
    use super::*;

    fn about(reference: &str, changes: &[&str]) -> About {
        About {
            reference: Some(reference.to_owned()),
            message: Some("said".to_owned()),
            created_by: "a test".to_owned(),
            changes: changes.iter().map(|line| Change::parse(line).unwrap()).collect(),
            ..About::default()
        }
    }

    #[test]
    fn a_flat_archive_becomes_an_image_of_one_layer() {
        let scratch = Scratch::new("import");
        let store = Store::open(scratch.path());
        let archive = Archive::default().file("file", "text").end();
        let id =
            store.import(gzip(&archive).as_slice(), &about("flat:1", &["CMD [\"/run\"]"])).unwrap();
        let entry = store.resolve("flat:1").unwrap().unwrap();
        assert_eq!((entry.id, entry.size), (id.clone(), 4));
        assert_eq!(store.config(&id).unwrap().cmd, Some(vec!["/run".to_owned()]));
        let layers = store.layers(&id).unwrap();
        assert_eq!(std::fs::read_to_string(layers[0].join("file")).unwrap(), "text");
        let mut saved = Vec::new();
        store.save(&["flat:1".to_owned()], &mut saved).unwrap();
        let other = Store::open(scratch.path().join("other"));
        assert_eq!(other.load_stream(saved.as_slice()).unwrap()[0].id, id);
    }

    #[test]
    fn what_is_no_archive_leaves_no_image() {
        let scratch = Scratch::new("import");
        let store = Store::open(scratch.path());
        assert!(store.import([b'x'; 2000].as_slice(), &about("flat:1", &[])).is_err());
        assert_eq!(store.list().unwrap(), []);
        let digest = format!("a@{}", Digest::of(b""));
        let archive = Archive::default().end();
        assert!(store.import(archive.as_slice(), &about(&digest, &[])).is_err());
    }

    #[test]
    fn a_layer_on_an_image_is_its_top_one_and_an_empty_one_is_none() {
        let scratch = Scratch::new("commit");
        let store = Store::open(scratch.path());
        let below = Archive::default().file("file", "below").end();
        let base = store.load_stream(docker_archive(&["base"], &[below]).as_slice()).unwrap();
        let base = &base[0].id;
        let empty: Result<_, StoreError> =
            store.add_layer(base, &about("same", &["ENV C=d"]), |_| Ok(false));
        let empty = empty.unwrap();
        assert_eq!(store.layers(&empty).unwrap(), store.layers(base).unwrap());
        assert_eq!(store.config(&empty).unwrap().env, ["A=b", "C=d"]);
        assert_eq!(store.history(&empty).unwrap()[1].comment, "said");
    }
}
