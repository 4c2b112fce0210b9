//! Loads images from archives: what `docker save` writes, and OCI layouts as a folder or a tar.
//!
//! An archive that is both is read as the OCI layout it is, for its digests, with the names of
//! Docker's list. Reading order: here what is loaded, `archive` how its parts are found, `legacy`
//! what a Docker before 1.10 wrote.

mod archive;
mod legacy;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::config::{self, ConfigDocument};
use super::digest::{Digest, HashingReader};
use super::document::{self, Descriptor, Document, DocumentError, Manifest, Platform};
use super::ingest::{Claim, Ingest, LOOK_AGAIN, NewImage, Tee};
use super::plain::is_compressed;
use super::progress::{Counted, LayerEvent, LayerPhase, LayerProgress};
use super::reference::Reference;
use super::{Store, StoreError};
use archive::Archive;

pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
pub(super) const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// Looks at another's claim before giving up: ten minutes.
const MAX_LOOKS: u32 = 12_000;

/// An image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Digest of its config, `sha256:…`.
    pub id: String,
    /// Names it got, as people write them; none if the archive has none.
    pub references: Vec<String>,
}

impl Store {
    /// Loads every image of the archive or layout at `path` that runs on this machine.
    ///
    /// # Errors
    /// When the archive is not one, a digest is wrong, or the host refuses a step. Images loaded
    /// before the one that failed stay.
    pub fn load(&self, path: &Path) -> Result<Vec<Loaded>, StoreError> {
        self.load_telling(path, &quiet())
    }

    /// As [`Store::load`], and tells how far it is.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub fn load_telling(
        &self,
        path: &Path,
        progress: &LayerProgress,
    ) -> Result<Vec<Loaded>, StoreError> {
        let ingest = Ingest::begin_waiting(self)?;
        let archive = Archive::open(path, &self.places.making(), progress)?;
        load_all(&ingest, &archive, progress)
    }

    /// As [`Store::load`] from a stream, which is first put aside in full.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub fn load_stream(&self, stream: impl Read) -> Result<Vec<Loaded>, StoreError> {
        self.load_stream_telling(stream, &quiet())
    }

    /// As [`Store::load_stream`], and tells how far it is.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub fn load_stream_telling(
        &self,
        stream: impl Read,
        progress: &LayerProgress,
    ) -> Result<Vec<Loaded>, StoreError> {
        let ingest = Ingest::begin_waiting(self)?;
        let stream = Counted::whole(stream, 0, progress);
        let archive = Archive::spool(stream, Path::new("-"), &self.places.making())?;
        load_all(&ingest, &archive, progress)
    }
}

fn quiet() -> LayerProgress {
    Arc::new(|_| {})
}

fn load_all(
    ingest: &Ingest,
    archive: &Archive,
    progress: &LayerProgress,
) -> Result<Vec<Loaded>, StoreError> {
    let docker = docker_list(archive)?;
    let plans = if archive.has("index.json") {
        plan_layout(archive, docker.as_deref().unwrap_or_default())?
    } else {
        match docker {
            Some(docker) => {
                docker.iter().map(|entry| plan_docker(archive, entry)).collect::<Result<_, _>>()?
            }
            None if archive.has("repositories") => legacy::plan(archive)?,
            None => return Err(archive.problem("it has neither `manifest.json` nor `index.json`")),
        }
    };
    if plans.is_empty() {
        return Err(archive.problem("there is no image in it"));
    }
    plans.into_iter().map(|plan| load_one(ingest, archive, plan, progress)).collect()
}

/// An image found in an archive.
struct Planned {
    manifest_bytes: Vec<u8>,
    manifest: Manifest,
    config_bytes: Vec<u8>,
    config: ConfigDocument,
    /// Path in the archive of each layer, the bottom one first.
    paths: Vec<String>,
    names: BTreeSet<Reference>,
}

/// An entry of Docker's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

fn docker_list(archive: &Archive) -> Result<Option<Vec<DockerEntry>>, StoreError> {
    if !archive.has("manifest.json") {
        return Ok(None);
    }
    let bytes = archive.read("manifest.json", document::MAX_MANIFEST)?;
    match serde_json::from_slice(&bytes) {
        Ok(entries) => Ok(Some(entries)),
        Err(source) => Err(DocumentError::Json { what: "`manifest.json`", source }.into()),
    }
}

/// Docker's list has no manifest, so one is written that says the same.
fn plan_docker(archive: &Archive, entry: &DockerEntry) -> Result<Planned, StoreError> {
    let config_bytes = archive.read(&entry.config, document::MAX_CONFIG)?;
    let config = parse_config(&config_bytes)?;
    let paths = entry.layers.clone().unwrap_or_default();
    check_count(paths.len(), &config)?;
    let mut layers = Vec::new();
    for (path, diff_id) in paths.iter().zip(&config.diff_ids) {
        layers.push(describe_layer(archive, path, diff_id)?);
    }
    let config_descriptor = Descriptor {
        media_type: document::OCI_CONFIG.into(),
        digest: Digest::of(&config_bytes),
        size: config_bytes.len() as u64,
        platform: None,
        annotations: None,
    };
    let manifest = Manifest { config: config_descriptor, layers };
    let names = entry.repo_tags.iter().flatten();
    let names = names.map(|name| Reference::parse(name)).collect::<Result<_, _>>()?;
    let manifest_bytes = manifest.to_json().into_bytes();
    Ok(Planned { manifest_bytes, manifest, config_bytes, config, paths, names })
}

/// A plain layer's digest is its diff id; a compressed one has to be read for it.
fn describe_layer(
    archive: &Archive,
    path: &str,
    diff_id: &Digest,
) -> Result<Descriptor, StoreError> {
    let (mut content, size) = archive.content(path)?;
    let mut magic = [0; 4];
    let known = size < 4 || content.read_exact(&mut magic).is_ok_and(|()| !is_compressed(&magic));
    let (media_type, digest) = if known {
        (document::OCI_LAYER.to_owned(), diff_id.clone())
    } else {
        let mut hashing = HashingReader::new(archive.content(path)?.0);
        std::io::copy(&mut hashing, &mut std::io::sink())
            .map_err(|e| archive.problem(&e.to_string()))?;
        let form = if magic.starts_with(&[0x1f, 0x8b]) { "gzip" } else { "zstd" };
        (format!("{}+{form}", document::OCI_LAYER), hashing.finish().0)
    };
    Ok(Descriptor { media_type, digest, size, platform: None, annotations: None })
}

fn plan_layout(archive: &Archive, docker: &[DockerEntry]) -> Result<Vec<Planned>, StoreError> {
    let index = archive.read("index.json", document::MAX_MANIFEST)?;
    let Document::Index(children) = document::parse(&index)? else {
        return Err(archive.problem("its `index.json` is not an index"));
    };
    let host = Platform::host();
    let mut plans = Vec::new();
    for (name, children) in groups(children) {
        let child = document::choose(&children, &host)?;
        let mut plan = plan_manifest(archive, child, &host)?;
        plan.names.extend(name.map(|name| archive.name_of(&name)).transpose()?);
        let id = plan.manifest.config.digest.hex().to_owned();
        for entry in docker.iter().filter(|entry| entry.config.contains(&id)) {
            for name in entry.repo_tags.iter().flatten() {
                plan.names.insert(Reference::parse(name)?);
            }
        }
        plans.push(plan);
    }
    Ok(plans)
}

/// The children that are one image for several machines, with its name. Children of one name are,
/// and so are those without a name that tell their machines.
fn groups(children: Vec<Descriptor>) -> Vec<(Option<String>, Vec<Descriptor>)> {
    let mut groups: BTreeMap<Option<String>, Vec<Descriptor>> = BTreeMap::new();
    let mut alone = Vec::new();
    for child in children {
        let name = child.annotation(CONTAINERD_NAME).or(child.annotation(REF_NAME));
        match name.map(str::to_owned) {
            None if child.platform.is_none() && !child.is_attestation() => {
                alone.push((None, vec![child]));
            }
            name => groups.entry(name).or_default().push(child),
        }
    }
    groups.into_iter().chain(alone).collect()
}

/// The image of `child`, which may be an index of images for several machines.
fn plan_manifest(
    archive: &Archive,
    child: &Descriptor,
    host: &Platform,
) -> Result<Planned, StoreError> {
    let mut manifest_bytes = blob(archive, child, document::MAX_MANIFEST, "manifest")?;
    let manifest = match document::parse(&manifest_bytes)? {
        Document::Manifest(manifest) => manifest,
        Document::Index(children) => {
            let child = document::choose(&children, host)?;
            manifest_bytes = blob(archive, child, document::MAX_MANIFEST, "manifest")?;
            match document::parse(&manifest_bytes)? {
                Document::Manifest(manifest) => manifest,
                Document::Index(_) => return Err(DocumentError::Nested.into()),
            }
        }
    };
    let config_bytes = blob(archive, &manifest.config, document::MAX_CONFIG, "config")?;
    let config = parse_config(&config_bytes)?;
    check_count(manifest.layers.len(), &config)?;
    let paths = manifest.layers.iter().map(|layer| blob_path(&layer.digest)).collect();
    let names = BTreeSet::new();
    Ok(Planned { manifest_bytes, manifest, config_bytes, config, paths, names })
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn blob(
    archive: &Archive,
    child: &Descriptor,
    max: u64,
    what: &'static str,
) -> Result<Vec<u8>, StoreError> {
    let bytes = archive.read(&blob_path(&child.digest), max)?;
    let found = Digest::of(&bytes);
    if found == child.digest {
        Ok(bytes)
    } else {
        Err(StoreError::Digest { what, expected: child.digest.clone(), found })
    }
}

pub(super) fn parse_config(bytes: &[u8]) -> Result<ConfigDocument, StoreError> {
    config::parse(bytes).map_err(|source| DocumentError::Json { what: "config", source }.into())
}

pub(super) fn check_count(layers: usize, config: &ConfigDocument) -> Result<(), StoreError> {
    let diff_ids = config.diff_ids.len();
    if layers == diff_ids {
        Ok(())
    } else {
        Err(DocumentError::LayerCount { layers, diff_ids }.into())
    }
}

fn load_one(
    ingest: &Ingest,
    archive: &Archive,
    plan: Planned,
    progress: &LayerProgress,
) -> Result<Loaded, StoreError> {
    let layers = plan.config.diff_ids.iter().zip(plan.manifest.layers.iter().zip(&plan.paths));
    let wanted: BTreeMap<&Digest, (&Descriptor, &String)> = layers.collect();
    let mut claims = Vec::new();
    for (diff_id, parts) in wanted {
        let (done, phase) = match claim_waiting(ingest, diff_id)? {
            Some(claim) => {
                claims.push((claim, parts));
                (0, LayerPhase::Waiting)
            }
            None => (parts.0.size, LayerPhase::Exists),
        };
        progress(LayerEvent::of(parts.0, done, phase));
    }
    let mut made = Vec::new();
    for (claim, (descriptor, path)) in claims {
        let event = LayerEvent::of(descriptor, 0, LayerPhase::Reading);
        let content = Counted::new(archive.content(path)?.0, event, progress);
        let source = Tee::new(content, &claim.blob(&descriptor.digest))?;
        claim.unpack_local(source, descriptor)?;
        progress(LayerEvent::of(descriptor, descriptor.size, LayerPhase::Done));
        made.push(claim.into_made(&descriptor.digest));
    }
    let names = plan.names.iter().map(|name| (name.clone(), None)).collect();
    let record = ingest.finish(NewImage {
        manifest_bytes: &plan.manifest_bytes,
        manifest: &plan.manifest,
        config_bytes: &plan.config_bytes,
        config: plan.config,
        made,
        names,
        extra_mounts: Vec::new(),
    })?;
    let references = plan.names.iter().map(Reference::to_string).collect();
    Ok(Loaded { id: record.id.to_string(), references })
}

/// The right to make the layer; `None` when it is there, perhaps made by another meanwhile.
pub(super) fn claim_waiting(
    ingest: &Ingest,
    diff_id: &Digest,
) -> Result<Option<Claim>, StoreError> {
    for _ in 0..MAX_LOOKS {
        if ingest.has_layer(diff_id) {
            return Ok(None);
        }
        if let Some(claim) = ingest.claim(diff_id)? {
            return Ok((!ingest.has_layer(diff_id)).then_some(claim));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Err(StoreError::Busy)
}
