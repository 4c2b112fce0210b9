//! One push: the layers, a few at a time, then the config, then the manifest.
//!
//! What is pushed is what the store has: manifest, config and layers as they came, so the digest
//! is kept. Another form of a layer is sent, and the manifest says so, where the layer came here
//! in that form with another image, and where it was made here and is plain: that one is packed.
//! Either counts only if the registry does not have the layer as the manifest has it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::super::digest::Digest;
use super::super::document::{self, Descriptor, Document, DocumentError, Manifest};
use super::super::forms::{is_plain, media_type, with_layers};
use super::super::progress::{LayerEvent, LayerPhase, LayerProgress};
use super::super::reference::Reference;
use super::super::{ImageRecord, NameRecord, Store, StoreError};
use super::client::Client;
use super::error::Failure;
use super::retry::Listener;
use super::settings::Settings;
use super::upload::{self, Ended, Source};
use super::{Access, Purpose, Retry, begin};

/// Repositories a token is asked for, so that layers can be taken over from them.
const MAX_SOURCES: usize = 4;
/// Layers that are packed at a time.
const PACKED_AT_ONCE: usize = 2;

/// How a push is done.
#[derive(Debug, Clone)]
pub struct PushOptions {
    /// Registries (`host` or `host:port`) that may be spoken to without TLS.
    pub insecure: Vec<String>,
    /// When a request is made again.
    pub retry: Retry,
    /// Layers sent at a time.
    pub parallel: usize,
    /// Bytes of a layer sent in one request. Some registries take no more than the default.
    pub chunk: u64,
    /// Folder of Docker's `config.json`; `None` is `$DOCKER_CONFIG`, else `~/.docker`.
    pub docker_config: Option<PathBuf>,
    /// Insecure registries and trust; `None` is what this host's files say.
    pub settings: Option<Settings>,
}

impl Default for PushOptions {
    fn default() -> PushOptions {
        PushOptions {
            insecure: Vec::new(),
            retry: Retry::default(),
            parallel: 5,
            chunk: 4 << 20,
            docker_config: None,
            settings: None,
        }
    }
}

/// An image that its registry has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Its name there, as people write it.
    pub reference: String,
    /// What the registry calls it, `sha256:…`.
    pub digest: String,
    /// Bytes of its manifest.
    pub size: u64,
}

/// What is to be pushed.
struct Outgoing {
    bytes: Vec<u8>,
    manifest: Manifest,
    record: ImageRecord,
    /// A registry knows it by its digest, so its layers stay as they are.
    known: bool,
}

impl Store {
    /// Sends the image that `reference` means here to its registry, under that name.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no such image, [`StoreError::Registry`] for
    /// everything between here and the registry. Layers that it took stay there, and the same
    /// call goes on after them.
    pub async fn push(
        &self,
        reference: &str,
        options: &PushOptions,
        progress: LayerProgress,
    ) -> Result<Pushed, StoreError> {
        let reference = Reference::parse(reference)?;
        if reference.is_host() {
            return Err(StoreError::Reserved);
        }
        let Some(tag) = reference.tag().filter(|_| reference.digest().is_none()) else {
            return Err(StoreError::NoTag(reference.to_string()));
        };
        // The collector waits until we are done.
        let ingest = begin(self).await?;
        let mut outgoing = self.outgoing(&reference)?;
        let elsewhere = self.elsewhere(&reference)?;
        let client = connect(&reference, &outgoing, &elsewhere, options).await?;
        let forms = self.send_layers(&client, &outgoing, &elsewhere, options, &progress).await?;
        if !forms.is_empty() {
            outgoing.bytes = with_layers(&outgoing.bytes, &forms)?;
        }
        let config = self.source(&outgoing.manifest.config, &elsewhere);
        let retries = of_the_whole(&progress);
        if upload::bring(&client, &config, options.chunk, &retries).await? == Ended::Absent {
            return Err(StoreError::NotKept(config.blob.digest));
        }
        let put = put_manifest(&client, tag, &outgoing.bytes);
        let digest = Listener::new(&progress, None).hears(put).await?;
        if !forms.is_empty()
            && !outgoing.known
            && let Document::Manifest(manifest) = document::parse(&outgoing.bytes)?
        {
            ingest.repack(outgoing.record.clone(), &outgoing.bytes, manifest.layers)?;
        }
        for name in [reference.with_digest(&digest), reference.clone()] {
            self.write_name(&name, &outgoing.record.id, Some(&digest))?;
        }
        let size = outgoing.bytes.len() as u64;
        Ok(Pushed { reference: reference.to_string(), digest: digest.to_string(), size })
    }

    /// Sees to it that the registry has the layers; gives those that it has in another form.
    async fn send_layers(
        &self,
        client: &Arc<Client>,
        outgoing: &Outgoing,
        elsewhere: &BTreeMap<Digest, String>,
        options: &PushOptions,
        progress: &LayerProgress,
    ) -> Result<BTreeMap<Digest, Descriptor>, StoreError> {
        let layers = outgoing.manifest.layers.iter().filter(|layer| !stays_away(layer));
        let sources = layers.map(|layer| match outgoing.packs(layer) {
            true => Source { path: None, ..self.source(layer, elsewhere) },
            false => self.source(layer, elsewhere),
        });
        let absent = bring_all(client, sources.collect(), options, progress).await?;
        let mut forms = self.other_forms(&outgoing.record, &absent)?;
        let plain = forms.clone().into_iter().filter(|(_, layer)| outgoing.packs(layer)).collect();
        forms.extend(self.pack_all(plain, progress).await?);
        let sources = forms.values().map(|layer| self.source(layer, elsewhere)).collect();
        bring_all(client, sources, options, progress).await?;
        Ok(forms)
    }

    fn outgoing(&self, reference: &Reference) -> Result<Outgoing, StoreError> {
        let missing = || StoreError::Missing(reference.to_string());
        let name = self.name(reference)?.ok_or_else(missing)?;
        let record = self.record(&name.id)?.ok_or_else(missing)?;
        let digest = record.manifest.clone().ok_or_else(missing)?;
        let path = self.places.blob(&digest);
        let bytes = std::fs::read(&path).map_err(StoreError::host("read", &path))?;
        let found = Digest::of(&bytes);
        if found != digest {
            return Err(StoreError::Digest { what: "manifest", expected: digest, found });
        }
        match document::parse(&bytes)? {
            Document::Manifest(manifest) => {
                let known =
                    |(_, name): &(_, NameRecord)| name.id == record.id && name.digest.is_some();
                let known = self.names()?.iter().any(known);
                Ok(Outgoing { bytes, manifest, record, known })
            }
            Document::Index(_) => Err(DocumentError::Nested.into()),
        }
    }

    fn source(&self, blob: &Descriptor, elsewhere: &BTreeMap<Digest, String>) -> Source {
        Source {
            blob: blob.clone(),
            path: self.is_whole(blob).then(|| self.places.blob(&blob.digest)),
            elsewhere: elsewhere.get(&blob.digest).cloned(),
        }
    }

    /// Layers that another repository of the registry has: what was pulled from there, or pushed.
    fn elsewhere(&self, reference: &Reference) -> Result<BTreeMap<Digest, String>, StoreError> {
        let mut found = BTreeMap::new();
        for (_, name) in self.names()? {
            let other = Reference::parse(&name.reference)?;
            let there = name.digest.is_some() && other.domain() == reference.domain();
            if !there || other.path() == reference.path() {
                continue;
            }
            let Some(record) = self.record(&name.id)? else { continue };
            for blob in record.layers.into_iter().filter_map(|layer| layer.blob) {
                found.entry(blob.digest).or_insert_with(|| other.path().to_owned());
            }
        }
        Ok(found)
    }

    /// Packs plain layers, a few at a time; each stays in the place of the same layer.
    async fn pack_all(
        &self,
        layers: BTreeMap<Digest, Descriptor>,
        progress: &LayerProgress,
    ) -> Result<BTreeMap<Digest, Descriptor>, StoreError> {
        let places = Arc::new(Semaphore::new(PACKED_AT_ONCE));
        let mut packing = JoinSet::new();
        for (place, layer) in layers {
            let (store, places, progress) =
                (self.clone(), Arc::clone(&places), Arc::clone(progress));
            packing.spawn(async move {
                let _place = places.acquire_owned().await.map_err(|_| StoreError::Stopped)?;
                progress(LayerEvent::of(&layer, 0, LayerPhase::Packing));
                let event = LayerEvent::of(&layer, layer.size, LayerPhase::Packed);
                let pack = tokio::task::spawn_blocking(move || store.pack(&layer));
                let packed = pack.await.map_err(|_| StoreError::Stopped)??;
                progress(event);
                Ok::<_, StoreError>((place, packed))
            });
        }
        let mut packed = BTreeMap::new();
        while let Some(one) = packing.join_next().await {
            packed.extend([one.map_err(|_| StoreError::Stopped)??]);
        }
        Ok(packed)
    }
}

impl Outgoing {
    /// Whether a layer is sent packed.
    fn packs(&self, layer: &Descriptor) -> bool {
        !self.known && is_plain(&layer.media_type)
    }
}

/// Layers that nobody but their maker may hand on.
fn stays_away(layer: &Descriptor) -> bool {
    layer.media_type.contains("nondistributable") || layer.media_type.contains(".foreign.")
}

async fn connect(
    reference: &Reference,
    outgoing: &Outgoing,
    elsewhere: &BTreeMap<Digest, String>,
    options: &PushOptions,
) -> Result<Arc<Client>, StoreError> {
    let layers = outgoing.manifest.layers.iter();
    let sources: BTreeSet<&String> =
        layers.filter_map(|layer| elsewhere.get(&layer.digest)).collect();
    let sources = sources.into_iter().take(MAX_SOURCES).cloned().collect();
    let access = Access {
        insecure: options.insecure.clone(),
        retry: options.retry,
        docker_config: options.docker_config.clone(),
        login: None,
        settings: options.settings.clone(),
    };
    Ok(Arc::new(Client::connect_to(reference, &access, Purpose::Push { sources }).await?))
}

/// Of what happens to the config, retries are told, as the image's.
fn of_the_whole(progress: &LayerProgress) -> LayerProgress {
    let progress = Arc::clone(progress);
    Arc::new(move |event: LayerEvent| {
        if matches!(event.phase, LayerPhase::Retrying { .. }) {
            progress(LayerEvent::whole(0, 0, event.phase));
        }
    })
}

/// Sends the blobs, a few at a time; gives those that neither side has. The first failure stops
/// the others.
async fn bring_all(
    client: &Arc<Client>,
    sources: Vec<Source>,
    options: &PushOptions,
    progress: &LayerProgress,
) -> Result<BTreeSet<Digest>, StoreError> {
    let places = Arc::new(Semaphore::new(options.parallel.max(1)));
    let mut uploads = JoinSet::new();
    let mut seen = BTreeSet::new();
    for source in sources {
        if !seen.insert(source.blob.digest.clone()) {
            continue;
        }
        progress(LayerEvent::of(&source.blob, 0, LayerPhase::Waiting));
        let (client, places) = (Arc::clone(client), Arc::clone(&places));
        let (progress, chunk) = (Arc::clone(progress), options.chunk);
        uploads.spawn(async move {
            let _place = places.acquire_owned().await.map_err(|_| StoreError::Stopped)?;
            let ended = upload::bring(&client, &source, chunk, &progress).await?;
            Ok::<_, StoreError>((ended == Ended::Absent).then_some(source.blob.digest))
        });
    }
    let mut absent = BTreeSet::new();
    while let Some(brought) = uploads.join_next().await {
        absent.extend(brought.map_err(|_| StoreError::Stopped)??);
    }
    Ok(absent)
}

async fn put_manifest(client: &Client, tag: &str, bytes: &[u8]) -> Result<Digest, StoreError> {
    let json = |source| DocumentError::Json { what: "manifest", source };
    let media_type = media_type(&serde_json::from_slice(bytes).map_err(json)?);
    let ask = client
        .ask_for(Method::PUT, &format!("manifests/{tag}"))?
        .with(CONTENT_TYPE, &media_type)
        .with_body(bytes.to_vec());
    let response = client.persist(&ask).await?;
    let digest = Digest::of(bytes);
    match upload::check_digest("manifest", &response, &digest) {
        Err(Failure::Final(error)) => Err(error),
        Err(Failure::Passing(error, _)) => Err(error.into()),
        Ok(()) => Ok(digest),
    }
}

#[cfg(test)]
#[path = "push_tests.rs"]
mod tests;
