//! Pulls images from registries and pushes them there.
//!
//! HTTPS, except for a registry on this machine's loopback and those the caller names. Every byte
//! is checked against the digest that led to it; a layer is fetched, hashed, inflated and written
//! in one pass, and what a broken connection or a stopped pull left is gone on from. Dropping the
//! future stops the work and leaves only what the next pull can use.
//!
//! Reading order: here one pull, `connect` how its registry is spoken to, `client` one request,
//! `retry`, `busy` and `error` when it fails, `redirect` when it is sent on, `http` and `proxies` its
//! connection, `auth` and `credentials` the right to make it, `blob` one layer, `resolver` names
//! to addresses without the C library; `push` one push, `upload` one blob on its way out; `look`
//! what is under a name; `settings` mirrors and trust; `login` and `keep` logging in and out.

mod auth;
mod blob;
mod busy;
mod client;
mod connect;
mod credentials;
mod error;
mod http;
mod keep;
mod login;
mod look;
mod proxies;
mod push;
mod redirect;
mod resolver;
mod retry;
mod settings;
mod upload;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::config::ConfigDocument;
use super::digest::Digest;
use super::document::{self, Descriptor, Document, DocumentError, Manifest, Platform};
use super::ingest::{Claim, Ingest, LOOK_AGAIN, Made, NewImage};
use super::load::{check_count, parse_config};
use super::progress::{LayerEvent, LayerPhase, LayerProgress};
use super::reference::Reference;
use super::unpack::Limits;
use super::{ImageEntry, Store, StoreError};
use client::Client;
use credentials::Login;

pub use error::RegistryError;
pub use keep::Kept;
pub use login::{LoggedIn, LoginOptions, login, logout};
pub use look::{Look, Offer};
pub use push::{PushOptions, Pushed};
pub use retry::Retry;
pub use settings::{Settings, insecure_registries};

/// The addresses of a name, as the files of this host say.
///
/// # Errors
/// Why there are none.
pub(crate) async fn addresses(name: &str) -> Result<Vec<std::net::IpAddr>, String> {
    resolver::Resolver::of_this_host().look_up(name).await.map_err(|unknown| unknown.to_string())
}

/// Looks at what another does before giving up: half an hour.
const MAX_LOOKS: u32 = 36_000;

/// How a pull is done.
#[derive(Debug, Clone)]
pub struct PullOptions {
    /// The machine the image is for; `None` is this one.
    pub platform: Option<Platform>,
    /// Registries (`host` or `host:port`) that may be spoken to without TLS.
    pub insecure: Vec<String>,
    /// When a request is made again.
    pub retry: Retry,
    /// Layers fetched at a time.
    pub parallel: usize,
    /// How much a layer may hold.
    pub limits: Limits,
    /// Folder of Docker's `config.json`; `None` is `$DOCKER_CONFIG`, else `~/.docker`.
    pub docker_config: Option<PathBuf>,
    /// Mirrors and the like; `None` is what this host's files say.
    pub settings: Option<Settings>,
}

impl Default for PullOptions {
    fn default() -> PullOptions {
        PullOptions {
            platform: None,
            insecure: Vec::new(),
            retry: Retry::default(),
            parallel: 3,
            limits: Limits::default(),
            docker_config: None,
            settings: None,
        }
    }
}

/// How a registry may be spoken to, whatever is wanted of it.
struct Access {
    insecure: Vec<String>,
    retry: Retry,
    docker_config: Option<PathBuf>,
    /// Who asks, whatever is kept there.
    login: Option<Login>,
    settings: Option<Settings>,
}

/// What is wanted of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Purpose {
    Pull,
    Login,
    /// Layers may be taken over from these repositories of it.
    Push {
        sources: Vec<String>,
    },
}

impl PullOptions {
    fn access(&self) -> Access {
        let (insecure, docker_config) = (self.insecure.clone(), self.docker_config.clone());
        let settings = self.settings.clone();
        Access { insecure, retry: self.retry, docker_config, login: None, settings }
    }
}

/// An image as its registry describes it.
struct Remote {
    /// What the registry calls it: the index if there is one.
    digest: Digest,
    manifest_bytes: Vec<u8>,
    manifest: Manifest,
    config_bytes: Vec<u8>,
    config: ConfigDocument,
}

impl Store {
    /// Fetches what is missing of the image and gives it its name, and the name by digest. One that
    /// is here whole and has not moved costs the head of its manifest.
    ///
    /// `localhost/host` is here already.
    ///
    /// # Errors
    /// [`StoreError::Registry`] for everything between here and the registry; nothing has a new
    /// name then, and the same call goes on from what has come.
    pub async fn pull(
        &self,
        reference: &str,
        options: &PullOptions,
        progress: LayerProgress,
    ) -> Result<ImageEntry, StoreError> {
        let reference = Reference::parse(reference)?;
        if reference.is_host() {
            return Ok(self.host_image());
        }
        let named = match reference.digest() {
            Some(digest) => reference.with_digest(digest),
            None => reference.clone(),
        };
        let client = Arc::new(Client::connect(&reference, options).await?);
        let listener = retry::Listener::new(&progress, None);
        let asked = options.platform.is_none();
        if asked && listener.hears(self.is_current(&client, &reference)).await? {
            return self.resolve(&named.canonical())?.ok_or(StoreError::Busy);
        }
        self.fetch(&client, &reference, &named, options, progress).await?;
        self.resolve(&named.canonical())?.ok_or_else(|| StoreError::Missing(named.to_string()))
    }

    /// As [`Store::pull`], but what is fetched is the image of this digest, whatever the name means
    /// to its registry. A name that is taken here keeps its meaning: others may go by it.
    ///
    /// # Errors
    /// As [`Store::pull`], and when the registry does not have the digest.
    pub async fn pull_locked(
        &self,
        reference: &str,
        digest: &str,
        options: &PullOptions,
        progress: LayerProgress,
    ) -> Result<ImageEntry, StoreError> {
        let exact = Reference::parse(&format!("{reference}@{digest}"))?;
        let mut named = Reference::parse(reference)?;
        if let (Some(_), Some(digest)) = (self.name(&named)?, exact.digest()) {
            named = exact.with_digest(digest);
        }
        let client = Arc::new(Client::connect(&exact, options).await?);
        self.fetch(&client, &exact, &named, options, progress).await?;
        self.resolve(&exact.canonical())?.ok_or_else(|| StoreError::Missing(exact.to_string()))
    }

    /// Fetches what is missing of the image `reference` and gives it the name `named`, and its
    /// name by digest.
    async fn fetch(
        &self,
        client: &Arc<Client>,
        reference: &Reference,
        named: &Reference,
        options: &PullOptions,
        progress: LayerProgress,
    ) -> Result<(), StoreError> {
        let ingest = begin(self).await?;
        let listener = retry::Listener::new(&progress, None);
        let remote = listener.hears(describe(client, &ingest, reference, options)).await?;
        let claims = claim_all(&ingest, &remote, &progress).await?;
        let made = fetch_all(client, claims, options, &progress).await?;
        let digest = remote.digest;
        let by_digest = (reference.with_digest(&digest), Some(digest.clone()));
        let names = BTreeMap::from([by_digest, (named.clone(), Some(digest))]);
        let finish = move || {
            ingest.finish(NewImage {
                manifest_bytes: &remote.manifest_bytes,
                manifest: &remote.manifest,
                config_bytes: &remote.config_bytes,
                config: remote.config,
                made,
                names: names.into_iter().collect(),
                extra_mounts: Vec::new(),
            })
        };
        tokio::task::spawn_blocking(finish).await.map_err(|_| StoreError::Stopped)?.map(drop)
    }
}

async fn begin(store: &Store) -> Result<Ingest, StoreError> {
    for _ in 0..MAX_LOOKS {
        if let Some(ingest) = Ingest::begin(store)? {
            return Ok(ingest);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Err(StoreError::Busy)
}

async fn describe(
    client: &Client,
    ingest: &Ingest,
    reference: &Reference,
    options: &PullOptions,
) -> Result<Remote, StoreError> {
    let mut manifest_bytes = client.manifest(reference.digest(), reference.tag()).await?;
    let digest = Digest::of(&manifest_bytes);
    let mut alone = true;
    let manifest = match document::parse(&manifest_bytes)? {
        Document::Manifest(manifest) => manifest,
        Document::Index(children) => {
            alone = false;
            let wanted = options.platform.clone().unwrap_or_else(Platform::host);
            let child = document::choose(&children, &wanted)?;
            manifest_bytes = match ingest.read_blob(child) {
                Some(bytes) => bytes,
                None => client.manifest(Some(&child.digest), None).await?,
            };
            match document::parse(&manifest_bytes)? {
                Document::Manifest(manifest) => manifest,
                Document::Index(_) => return Err(DocumentError::Nested.into()),
            }
        }
    };
    let config_bytes = match ingest.read_blob(&manifest.config) {
        Some(bytes) => bytes,
        None => client.small_blob(&manifest.config, document::MAX_CONFIG).await?,
    };
    let config = parse_config(&config_bytes)?;
    check_count(manifest.layers.len(), &config)?;
    // A manifest without an index is that of one machine, which may be another.
    if let (true, Some(wanted)) = (alone, &options.platform) {
        let found: Platform = serde_json::from_slice(&config_bytes)
            .map_err(|source| DocumentError::Json { what: "config", source })?;
        if !wanted.runs(&found) {
            let (wanted, found) = (wanted.clone(), found.to_string());
            return Err(DocumentError::NoPlatform { wanted, found }.into());
        }
    }
    Ok(Remote { digest, manifest_bytes, manifest, config_bytes, config })
}

/// The right to make each layer that is not here, in the order of their digests.
async fn claim_all(
    ingest: &Ingest,
    remote: &Remote,
    progress: &LayerProgress,
) -> Result<Vec<(Claim, Descriptor)>, StoreError> {
    let layers = remote.config.diff_ids.iter().zip(&remote.manifest.layers);
    for (diff_id, layer) in layers.clone() {
        if !ingest.has_layer(diff_id) {
            progress(LayerEvent::of(layer, 0, LayerPhase::Waiting));
        }
    }
    let layers: BTreeMap<&Digest, &Descriptor> = layers.collect();
    let mut claims = Vec::new();
    for (diff_id, layer) in layers {
        match claim(ingest, diff_id).await? {
            Some(claim) => claims.push((claim, layer.clone())),
            None => progress(LayerEvent::of(layer, layer.size, LayerPhase::Exists)),
        }
    }
    // The bottom layer, often the largest, first.
    let place =
        |layer: &Descriptor| remote.manifest.layers.iter().position(|l| l.digest == layer.digest);
    claims.sort_by_key(|(_, layer)| place(layer));
    Ok(claims)
}

async fn claim(ingest: &Ingest, diff_id: &Digest) -> Result<Option<Claim>, StoreError> {
    for _ in 0..MAX_LOOKS {
        if ingest.has_layer(diff_id) {
            return Ok(None);
        }
        if let Some(claim) = ingest.claim(diff_id)? {
            return Ok((!ingest.has_layer(diff_id)).then_some(claim));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Err(StoreError::Busy)
}

/// Fetches the layers, a few at a time. The first failure stops the others.
async fn fetch_all(
    client: &Arc<Client>,
    claims: Vec<(Claim, Descriptor)>,
    options: &PullOptions,
    progress: &LayerProgress,
) -> Result<Vec<Made>, StoreError> {
    let places = Arc::new(Semaphore::new(options.parallel.max(1)));
    let mut fetches = JoinSet::new();
    for (claim, layer) in claims {
        let (client, places) = (Arc::clone(client), Arc::clone(&places));
        let (progress, limits) = (Arc::clone(progress), options.limits);
        fetches.spawn(async move {
            let _place = places.acquire_owned().await.map_err(|_| StoreError::Stopped)?;
            let made = blob::make_layer(&client, claim, &layer, limits, &progress);
            retry::Listener::new(&progress, Some(&layer)).hears(made).await
        });
    }
    let mut made = Vec::new();
    while let Some(fetched) = fetches.join_next().await {
        made.push(fetched.map_err(|_| StoreError::Stopped)??);
    }
    Ok(made)
}

#[cfg(test)]
mod look_tests;
#[cfg(test)]
mod real_tests;
#[cfg(test)]
mod resume_tests;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod tests;
