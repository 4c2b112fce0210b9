//! How the image of a service is built.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Platform;

/// A build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// Files the build sees.
    pub context: BuildSource,
    /// What is done with them.
    pub dockerfile: Dockerfile,
    /// Further contexts by the name the Dockerfile uses.
    pub contexts: BTreeMap<String, NamedContext>,
    /// Arguments with their values.
    pub args: BTreeMap<String, String>,
    /// Stage that becomes the image; `None` is the last.
    pub target: Option<String>,
    /// Further names of the image.
    pub tags: Vec<String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Where layers may come from.
    pub cache_from: Vec<Cache>,
    /// Where layers are kept.
    pub cache_to: Vec<Cache>,
    /// Build everything anew.
    pub no_cache: bool,
    /// Stages that are built anew.
    pub no_cache_stages: Vec<String>,
    /// Look for newer base images.
    pub pull: bool,
    /// What the steps reach.
    pub network: BuildNetwork,
    /// Size of `/dev/shm` of the steps in bytes.
    pub shm_size: Option<u64>,
    /// Limits of the steps by name (`nofile`): soft and hard, −1 for unlimited.
    pub ulimits: BTreeMap<String, (i64, i64)>,
    /// Lines for `/etc/hosts` of the steps: name and addresses (or `host-gateway`).
    pub extra_hosts: Vec<(String, String)>,
    /// Secrets the steps may ask for.
    pub secrets: Vec<BuildSecret>,
    /// Keys the steps may use.
    pub ssh: Vec<Ssh>,
    /// Platforms the image is for; empty is that of the service.
    pub platforms: Vec<Platform>,
    /// What the steps may do beyond the usual.
    pub entitlements: Vec<Entitlement>,
    /// All of it.
    pub privileged: bool,
    /// How it was built, kept with the image.
    pub provenance: Option<Attestation>,
    /// What is in it, kept with the image.
    pub sbom: Option<Attestation>,
}

/// Where the files of a build come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildSource {
    /// A directory of the host, absolute.
    Path(PathBuf),
    /// A repository.
    Git(GitSource),
    /// An archive, or one Dockerfile, behind an address.
    Web(String),
}

/// A repository at one of its states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitSource {
    /// Address of the repository.
    pub repository: String,
    /// Branch, tag or commit; `None` is the default branch.
    pub reference: Option<String>,
    /// Directory in it that is the context.
    pub folder: Option<String>,
}

/// A context that a Dockerfile uses by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamedContext {
    /// Files.
    Files(BuildSource),
    /// An image by its reference.
    Image(String),
    /// An image in a directory of the host in the OCI layout, absolute.
    OciLayout(PathBuf),
    /// The image of a service of the stack, which is built first.
    Service(String),
}

/// The steps of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dockerfile {
    /// A file, counted from the context.
    File(PathBuf),
    /// Text in the Compose file.
    Inline(String),
}

/// A place of layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// What kind of place.
    pub kind: CacheKind,
    /// Its settings (`ref`, `src`, `dest`, `mode`, …).
    pub options: BTreeMap<String, String>,
}

/// What keeps layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheKind {
    /// An image in a registry.
    Registry,
    /// A directory of the host.
    Local,
    /// The built image itself.
    Inline,
    /// The cache of a GitHub workflow.
    Gha,
    /// A bucket of S3.
    S3,
    /// A container of Azure.
    Azblob,
}

/// What the steps of a build reach.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildNetwork {
    /// The world, as containers do.
    #[default]
    Default,
    /// Nothing.
    None,
    /// The host's own network.
    Host,
    /// A network by name.
    Named(String),
}

/// A secret the steps may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildSecret {
    /// Key in [`Stack::secrets`](super::Stack::secrets).
    pub source: String,
    /// Name the Dockerfile asks for.
    pub id: String,
    /// Owner of the file, default 0.
    pub uid: Option<u32>,
    /// Group of the file, default 0.
    pub gid: Option<u32>,
    /// Mode of the file, default 0400.
    pub mode: Option<u32>,
}

/// Keys the steps may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ssh {
    /// Name the Dockerfile asks for (`default`).
    pub id: String,
    /// An agent's socket, or keys, absolute; empty is the agent of whoever builds.
    pub paths: Vec<PathBuf>,
}

/// What the steps of a build may do beyond the usual.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entitlement {
    /// Use the host's network.
    NetworkHost,
    /// Run without confinement.
    SecurityInsecure,
    /// Use devices: one by its CDI name, or all.
    Device(Option<String>),
}

/// A statement kept with a built image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attestation {
    /// None is made.
    Off,
    /// It is made, with these settings (`mode`, `generator`, …).
    On(BTreeMap<String, String>),
}
