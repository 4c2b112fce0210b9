//! What a registry has under a name, without fetching it.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::header::LINK;
use reqwest::{Method, Response, Url};
use serde::Deserialize;

use super::super::digest::Digest;
use super::super::document::{self, Descriptor, Document, DocumentError, Platform};
use super::super::ingest::Ingest;
use super::super::reference::Reference;
use super::super::{ImageRecord, LayerRef, Store, StoreError, as_id};
use super::PullOptions;
use super::client::{Ask, Client};

/// Tags are listed in so many pieces at most.
const MAX_PAGES: usize = 200;
/// No piece of a list of tags is larger.
const MAX_PAGE: u64 = 4 << 20;
/// Tags asked for at a time.
const PAGE: usize = 1000;

/// A registry that is asked about one image.
pub struct Look {
    client: Client,
    reference: Reference,
}

/// An image as its registry describes it to everybody.
#[derive(Debug, Clone)]
pub struct Offer {
    /// What a pull by digest asks for: that of the index, if there is one.
    pub digest: String,
    /// The image of each platform (`linux/arm64/v8`).
    pub platforms: BTreeMap<String, String>,
    /// Entries of the index; none when there is only one image.
    children: Vec<Descriptor>,
}

impl Look {
    /// Finds out how the registry of `reference` is spoken to.
    ///
    /// # Errors
    /// When `reference` is not one, or its registry cannot be spoken to.
    pub async fn at(reference: &str, options: &PullOptions) -> Result<Look, StoreError> {
        let reference = Reference::parse(reference)?;
        let client = Client::connect(&reference, options).await?;
        Ok(Look { client, reference })
    }

    /// The digest that the name has now: the head of its manifest, as a rule.
    ///
    /// # Errors
    /// What the registry answers.
    pub async fn digest(&self) -> Result<String, StoreError> {
        Ok(self.client.digest(self.reference.tag()).await?.to_string())
    }

    /// All that is told of the image, for every platform.
    ///
    /// # Errors
    /// What the registry answers.
    pub async fn offer(&self) -> Result<Offer, StoreError> {
        let bytes = self.client.manifest(self.reference.digest(), self.reference.tag()).await?;
        let digest = Digest::of(&bytes).to_string();
        let manifest = match document::parse(&bytes)? {
            Document::Index(children) => {
                let images = children.iter().filter(|child| !child.is_attestation());
                let platforms = images
                    .filter_map(|child| {
                        Some((child.platform.as_ref()?.to_string(), child.digest.to_string()))
                    })
                    .collect();
                return Ok(Offer { digest, platforms, children });
            }
            Document::Manifest(manifest) => manifest,
        };
        let config = self.client.small_blob(&manifest.config, document::MAX_CONFIG).await?;
        let platform: Platform = serde_json::from_slice(&config)
            .map_err(|source| DocumentError::Json { what: "config", source })?;
        let platforms = [(platform.to_string(), digest.clone())].into();
        Ok(Offer { digest, platforms, children: Vec::new() })
    }

    /// The tags of the repository, as far as its registry lists them.
    ///
    /// # Errors
    /// What the registry answers.
    pub async fn tags(&self) -> Result<BTreeSet<String>, StoreError> {
        let mut tags = BTreeSet::new();
        let mut ask = self.client.ask_for(Method::GET, &format!("tags/list?n={PAGE}"))?;
        let mut seen = BTreeSet::new();
        for _ in 0..MAX_PAGES {
            seen.insert(ask.url.to_string());
            let response = self.client.persist(&ask).await?;
            let next = next_page(&response, &ask.url);
            let bytes = self.client.body("list of tags", response, MAX_PAGE).await?;
            let page: Page = serde_json::from_slice(&bytes)
                .map_err(|source| DocumentError::Json { what: "list of tags", source })?;
            tags.extend(page.tags.unwrap_or_default());
            match next.filter(|url| !seen.contains(url.as_str())) {
                Some(url) => ask = Ask::new(Method::GET, url),
                None => return Ok(tags),
            }
        }
        let why = format!("it lists its tags on more than {MAX_PAGES} pages");
        Err(self.client.unfit(why).into())
    }
}

impl Offer {
    /// Whether there is an image for a platform, `linux/arm64` or `linux/arm/v7`.
    ///
    /// # Errors
    /// [`DocumentError::NoPlatform`] names those there are.
    pub fn fits(&self, platform: &str) -> Result<(), StoreError> {
        let wanted = platform_of(platform);
        if self.children.is_empty() {
            let mut offered = self.platforms.keys().map(|found| platform_of(found));
            return match offered.any(|offered| wanted.runs(&offered)) {
                true => Ok(()),
                false => {
                    let found = Vec::from_iter(self.platforms.keys().cloned()).join(", ");
                    Err(DocumentError::NoPlatform { wanted, found }.into())
                }
            };
        }
        document::choose(&self.children, &wanted)?;
        Ok(())
    }
}

/// `linux/arm64` or `linux/arm/v7` in its parts.
fn platform_of(text: &str) -> Platform {
    let mut parts = text.splitn(3, '/').map(str::to_owned);
    let mut part = || parts.next();
    let (os, architecture) = (part().unwrap_or_default(), part().unwrap_or_default());
    Platform { os, architecture, variant: part() }
}

#[derive(Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
}

/// Where a list goes on, if that is with the same registry.
fn next_page(response: &Response, url: &Url) -> Option<Url> {
    let links = response.headers().get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    let next = links.flat_map(|links| links.split(", ")).find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let relations = parameters.split(';').map(str::trim);
        let is_next = |word: &str| matches!(word, "rel=\"next\"" | "rel=next");
        relations.into_iter().any(is_next).then_some(target)
    })?;
    let next = url.join(next).ok()?;
    (next.origin() == url.origin()).then_some(next)
}

impl Store {
    /// The whole reference with the digest its registry has for it now; what is pulled does not
    /// count. Beside a digest the tag falls away, and `localhost/host` stays as it is.
    ///
    /// # Errors
    /// When `reference` is not one, or its registry does not have it.
    pub async fn pinned(
        &self,
        reference: &str,
        options: &PullOptions,
    ) -> Result<String, StoreError> {
        let parsed = Reference::parse(reference)?;
        if parsed.is_host() {
            return Ok(reference.to_owned());
        }
        if let Some(digest) = parsed.digest() {
            return Ok(parsed.with_digest(digest).canonical());
        }
        let digest = Client::connect(&parsed, options).await?.digest(parsed.tag()).await?;
        Ok(format!("{}@{digest}", parsed.canonical()))
    }

    /// Whether a tag still means what it means here, and all of that is here, for this machine. If
    /// so, the time of the name is that of this look.
    pub(super) async fn is_current(
        &self,
        client: &Client,
        reference: &Reference,
    ) -> Result<bool, StoreError> {
        // The collector waits meanwhile.
        let ingest = super::begin(self).await?;
        let named = self.name(reference).ok().flatten().filter(|_| reference.digest().is_none());
        let Some((name, digest)) = named.and_then(|name| Some((name.clone(), name.digest?))) else {
            return Ok(false);
        };
        let record = self.record(&name.id).ok().flatten();
        let whole = record.is_some_and(|record| self.is_whole_and_ours(&ingest, &record));
        if !whole || client.head(reference.tag()).await? != Some(digest.clone()) {
            return Ok(false);
        }
        self.write_name(reference, &name.id, Some(&digest))?;
        Ok(true)
    }

    /// Whether nothing of an image would have to be fetched for this machine.
    fn is_whole_and_ours(&self, ingest: &Ingest, record: &ImageRecord) -> bool {
        let read = |digest: &Digest| {
            let bytes = std::fs::read(self.places.blob(digest)).ok();
            bytes.filter(|bytes| Digest::of(bytes) == *digest)
        };
        let platform = read(&record.id).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let ours = platform.is_some_and(|platform: Platform| Platform::host().runs(&platform));
        let there = |layer: &LayerRef| ingest.has_layer(&layer.diff_id);
        let manifest = record.manifest.as_ref().and_then(read);
        ours && manifest.is_some() && record.layers.iter().all(there)
    }

    /// Digests that the repository of `reference` is known to have given to image `id`.
    ///
    /// # Errors
    /// When `reference` is not one, or the store cannot be read.
    pub fn digests(&self, id: &str, reference: &str) -> Result<BTreeSet<String>, StoreError> {
        let reference = Reference::parse(reference)?;
        let Some(id) = as_id(id) else { return Ok(BTreeSet::new()) };
        let same = |name: &str| {
            Reference::parse(name).is_ok_and(|other| {
                other.domain() == reference.domain() && other.path() == reference.path()
            })
        };
        let names = self.names()?.into_iter().map(|(_, name)| name);
        let ours = names.filter(|name| name.id == id && same(&name.reference));
        Ok(ours.filter_map(|name| name.digest).map(|digest| digest.to_string()).collect())
    }
}
