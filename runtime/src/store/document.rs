//! Manifests and indexes: which blobs an image is made of, and which image fits this machine.
//!
//! Both the OCI and the Docker forms are read. Sizes are capped before anything is parsed, and a
//! document that can be read two ways is refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// No manifest or index is larger.
pub(super) const MAX_MANIFEST: u64 = 4 << 20;
/// No config is larger.
pub(super) const MAX_CONFIG: u64 = 8 << 20;
const MAX_CHILDREN: usize = 4096;
const MAX_LAYERS: usize = 500;

/// Every form of document that is read, for a registry to choose from.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, */*;q=0.1";

pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// A manifest or index that cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum DocumentError {
    #[error("the {what} is not valid: {source}")]
    Json { what: &'static str, source: serde_json::Error },
    #[error(
        "the manifest is of schema 1, which is no longer in use; push the image again with a current tool"
    )]
    Schema1,
    #[error("the manifest has both `layers` and `manifests`, so it can be read two ways")]
    Ambiguous,
    #[error("the document is neither an image manifest nor an index (media type `{0}`)")]
    Unknown(String),
    #[error("the image is an artifact with config `{0}`, not a container image")]
    Artifact(String),
    #[error("layer media type `{0}` is not one berth can unpack")]
    LayerType(String),
    #[error("the {what} has {found} entries, more than {limit}")]
    TooMany { what: &'static str, found: usize, limit: usize },
    #[error("it has no image for {wanted}; there are: {found}")]
    NoPlatform { wanted: Platform, found: String },
    #[error("the registry calls it `{header}`, the document itself `{body}`")]
    MediaType { header: String, body: String },
    #[error("an index inside an index is not supported")]
    Nested,
    #[error("the manifest has {layers} layers, the config {diff_ids}")]
    LayerCount { layers: usize, diff_ids: usize },
}

/// Points to content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) annotations: Option<BTreeMap<String, String>>,
}

impl Descriptor {
    pub(super) fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// Attestations ride along as images of no platform.
    pub(super) fn is_attestation(&self) -> bool {
        self.annotation("vnd.docker.reference.type").is_some()
            || self.platform.as_ref().is_some_and(|p| p.os == "unknown")
    }
}

/// What an image runs on, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, `v8`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// This machine.
    pub fn host() -> Platform {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", Some("v8")),
            "arm" => ("arm", Some("v7")),
            "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", None),
            other => (other, None),
        };
        Platform {
            os: "linux".into(),
            architecture: architecture.into(),
            variant: variant.map(str::to_owned),
        }
    }

    /// Whether what is made for `offered` runs here.
    pub(super) fn runs(&self, offered: &Platform) -> bool {
        self.rank(offered).is_some()
    }

    /// How well `offered` runs here: lower is better, `None` not at all.
    fn rank(&self, offered: &Platform) -> Option<u32> {
        if self.os != offered.os || self.architecture != offered.architecture {
            return None;
        }
        let level = |variant: &Option<String>, default: u32| match variant.as_deref() {
            None | Some("") => Some(default),
            Some(text) => text.strip_prefix('v').and_then(|n| n.parse().ok()),
        };
        let default = match self.architecture.as_str() {
            "arm64" => 8,
            "arm" => 7,
            _ => 1,
        };
        let (mine, theirs) = (level(&self.variant, default)?, level(&offered.variant, default)?);
        mine.checked_sub(theirs)
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// A document by what it is.
#[derive(Debug)]
pub(super) enum Document {
    Index(Vec<Descriptor>),
    Manifest(Manifest),
}

/// One image for one platform.
#[derive(Debug, Clone)]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    /// The bottom one first.
    pub(super) layers: Vec<Descriptor>,
}

impl Manifest {
    /// The manifest as a document, for an image that came without one.
    pub(super) fn to_json(&self) -> String {
        let document = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": &self.config,
            "layers": &self.layers,
        });
        document.to_string()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    schema_version: Option<u32>,
    media_type: Option<String>,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

/// Reads a manifest or index.
pub(super) fn parse(bytes: &[u8]) -> Result<Document, DocumentError> {
    let wire: Wire = serde_json::from_slice(bytes)
        .map_err(|source| DocumentError::Json { what: "manifest", source })?;
    if wire.fs_layers.is_some() || wire.schema_version == Some(1) {
        return Err(DocumentError::Schema1);
    }
    match (wire.manifests, wire.config, wire.layers) {
        (Some(_), _, Some(_)) | (Some(_), Some(_), _) => Err(DocumentError::Ambiguous),
        (Some(children), None, None) => {
            limit("index", children.len(), MAX_CHILDREN)?;
            Ok(Document::Index(children))
        }
        (None, Some(config), Some(layers)) => {
            limit("manifest", layers.len(), MAX_LAYERS)?;
            check_manifest(&config, &layers)?;
            Ok(Document::Manifest(Manifest { config, layers }))
        }
        (None, _, _) => Err(DocumentError::Unknown(wire.media_type.unwrap_or_default())),
    }
}

/// A document must be what the answer that brought it says it is.
pub(super) fn check_media_type(bytes: &[u8], header: Option<&str>) -> Result<(), DocumentError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: Option<String>,
    }
    let header = header.and_then(|header| header.split(';').next()).unwrap_or_default().trim();
    let body = serde_json::from_slice::<Typed>(bytes).ok().and_then(|typed| typed.media_type);
    match body {
        Some(body) if body != header && !header.is_empty() && ACCEPT.contains(header) => {
            Err(DocumentError::MediaType { header: header.to_owned(), body })
        }
        _ => Ok(()),
    }
}

fn limit(what: &'static str, found: usize, limit: usize) -> Result<(), DocumentError> {
    if found > limit { Err(DocumentError::TooMany { what, found, limit }) } else { Ok(()) }
}

fn check_manifest(config: &Descriptor, layers: &[Descriptor]) -> Result<(), DocumentError> {
    if !matches!(config.media_type.as_str(), OCI_CONFIG | DOCKER_CONFIG) {
        return Err(DocumentError::Artifact(config.media_type.clone()));
    }
    let known = |media_type: &str| {
        let rest = media_type
            .strip_prefix("application/vnd.oci.image.layer.v1.")
            .or_else(|| {
                media_type.strip_prefix("application/vnd.oci.image.layer.nondistributable.v1.")
            })
            .or_else(|| media_type.strip_prefix("application/vnd.docker.image.rootfs.diff."))
            .or_else(|| {
                media_type.strip_prefix("application/vnd.docker.image.rootfs.foreign.diff.")
            });
        matches!(rest, Some("tar" | "tar+gzip" | "tar+zstd" | "tar.gzip" | "tar.zstd"))
    };
    match layers.iter().find(|layer| !known(&layer.media_type)) {
        Some(layer) => Err(DocumentError::LayerType(layer.media_type.clone())),
        None => Ok(()),
    }
}

/// What a layer of this media type is called in a manifest of Docker's or of the OCI's kind.
pub(super) fn layer_type(media_type: &str, docker: bool) -> String {
    const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    let form = match media_type {
        other if other.ends_with("gzip") => "gzip",
        other if other.ends_with("zstd") => "zstd",
        _ => "",
    };
    match (docker, form) {
        (true, "") => DOCKER_LAYER.to_owned(),
        (true, form) => format!("{DOCKER_LAYER}.{form}"),
        (false, "") => OCI_LAYER.to_owned(),
        (false, form) => format!("{OCI_LAYER}+{form}"),
    }
}

/// The child of an index that fits `wanted` best; the first of equals.
pub(super) fn choose<'a>(
    children: &'a [Descriptor],
    wanted: &Platform,
) -> Result<&'a Descriptor, DocumentError> {
    let images = children.iter().filter(|child| !child.is_attestation());
    let ranked = images.clone().filter_map(|child| match &child.platform {
        Some(offered) => wanted.rank(offered).map(|rank| (rank, child)),
        // A layout written for one machine often leaves the platform out.
        None => Some((u32::MAX, child)),
    });
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, child)| child).ok_or_else(|| {
        let found: Vec<String> =
            images.filter_map(|c| c.platform.as_ref()).map(Platform::to_string).collect();
        let found = if found.is_empty() { "none".into() } else { found.join(", ") };
        DocumentError::NoPlatform { wanted: wanted.clone(), found }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(os: &str, architecture: &str, variant: Option<&str>, n: u8) -> Descriptor {
        Descriptor {
            media_type: OCI_MANIFEST.into(),
            digest: Digest::of(&[n]),
            size: 1,
            platform: Some(Platform {
                os: os.into(),
                architecture: architecture.into(),
                variant: variant.map(str::to_owned),
            }),
            annotations: None,
        }
    }

    fn chosen(
        wanted: &str,
        variant: Option<&str>,
        children: &[Descriptor],
    ) -> Result<usize, String> {
        let wanted = Platform {
            os: "linux".into(),
            architecture: wanted.into(),
            variant: variant.map(str::to_owned),
        };
        choose(children, &wanted)
            .map(|found| children.iter().position(|c| c == found).unwrap())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn the_platform_is_chosen_with_its_variant() {
        let children = [
            child("unknown", "unknown", None, 0),
            child("windows", "amd64", None, 1),
            child("linux", "amd64", Some("v3"), 2),
            child("linux", "amd64", None, 3),
            child("linux", "arm", Some("v5"), 4),
            child("linux", "arm", Some("v6"), 5),
            child("linux", "arm64", None, 6),
        ];
        assert_eq!(chosen("amd64", None, &children), Ok(3));
        assert_eq!(chosen("amd64", Some("v3"), &children), Ok(2));
        assert_eq!(chosen("arm", Some("v7"), &children), Ok(5));
        assert_eq!(chosen("arm64", Some("v8"), &children), Ok(6));
        assert_eq!(
            chosen("s390x", None, &children).unwrap_err(),
            "it has no image for linux/s390x; there are: windows/amd64, linux/amd64/v3, linux/amd64, \
             linux/arm/v5, linux/arm/v6, linux/arm64"
        );
    }

    #[test]
    fn documents_that_can_be_read_two_ways_are_refused() {
        let digest = Digest::of(b"");
        let descriptor = format!(r#"{{"mediaType":"{OCI_CONFIG}","digest":"{digest}","size":1}}"#);
        let both = format!(r#"{{"manifests":[],"config":{descriptor},"layers":[]}}"#);
        assert!(matches!(parse(both.as_bytes()), Err(DocumentError::Ambiguous)));
        let old = br#"{"schemaVersion":1,"fsLayers":[]}"#;
        assert!(matches!(parse(old), Err(DocumentError::Schema1)));
        assert!(matches!(parse(b"{}"), Err(DocumentError::Unknown(_))));
        let odd =
            format!(r#"{{"config":{},"layers":[]}}"#, descriptor.replace("oci.image.config", "x"));
        assert!(matches!(parse(odd.as_bytes()), Err(DocumentError::Artifact(_))));
        let layer = format!(r#"{{"config":{descriptor},"layers":[{descriptor}]}}"#);
        assert!(matches!(parse(layer.as_bytes()), Err(DocumentError::LayerType(_))));
    }
}
