//! The typed model of a stack: what the files say once they are merged, interpolated, checked
//! and made absolute. Maps are ordered, so the same files give the same model, byte for byte.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

mod berth;
mod beside;
mod build;
mod deploy;
mod develop;
mod devices;
mod document;
mod files;
mod hooks;
mod lifecycle;
mod limits;
mod logging;
mod models;
mod mounts;
mod namespaces;
mod networking;
mod place;
mod platform;
mod security;
mod service;

pub use berth::{Berth, OnChange, OnUnhealthy, Owner, Ready, ReadySign};
pub use beside::{Beside, IpvlanFlag, IpvlanMode, MacvlanMode, Way};
pub use build::{
    Attestation, Build, BuildNetwork, BuildSecret, BuildSource, Cache, CacheKind, Dockerfile,
    Entitlement, GitSource, NamedContext, Ssh,
};
pub use deploy::{
    Deploy, DeployMode, EndpointMode, FailureAction, Placement, RestartCondition, RestartRule,
    Rollout, RolloutOrder,
};
pub use develop::{Watch, WatchAction};
pub use devices::{Device, DeviceAccess, DeviceChoice, DeviceKind, DeviceRequest, DeviceRule};
pub use document::Document;
pub use files::{FileContent, FileMount, FileObject, TemplateDriver};
pub use hooks::{Hook, InitStep, Provider};
pub use lifecycle::{Condition, Dependency, Healthcheck, PullPolicy, RestartPolicy};
pub use limits::{BlockIo, DeviceRate, DeviceWeight, Limits};
pub use logging::{
    Chosen, ForwardTo, Forwarding, LogDriver, Logging, Syslog, SyslogAddress, SyslogFormat, TagPart,
};
pub use models::{Model, ServiceModel};
pub use mounts::{
    Mount, MountSource, Propagation, Recursive, Relabel, Tmpfs, Volume, VolumesFrom, VolumesSource,
};
pub use namespaces::{CgroupMode, IpcMode, NetworkMode, PidMode, UsernsMode, UtsMode};
pub use networking::{IpamPool, Link, Network, NetworkDriver, Port, Protocol, ServiceNetwork};
pub use place::{Place, Places};
pub use platform::Platform;
pub use security::{AppArmor, Listed, Seccomp, SecurityOptions, SelinuxLabel};
pub use service::Service;

/// A whole project: the Compose model after profiles and selection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stack {
    /// Project name, already normalised (`[a-z0-9][a-z0-9_-]*`).
    pub name: String,
    /// Directory that relative paths count from, absolute.
    pub working_dir: PathBuf,
    /// Files the model was made from, absolute, in the order they were merged.
    pub files: Vec<PathBuf>,
    /// Active services by name.
    pub services: BTreeMap<String, Service>,
    /// Networks some active service uses (`default` included when it is used).
    pub networks: BTreeMap<String, Network>,
    /// Named volumes some active service uses.
    pub volumes: BTreeMap<String, Volume>,
    /// Configs some active service uses.
    pub configs: BTreeMap<String, FileObject>,
    /// Secrets some active service uses.
    pub secrets: BTreeMap<String, FileObject>,
    /// Models some active service uses.
    pub models: BTreeMap<String, Model>,
    /// How many generations are kept, if the file says so (`x-berth.history`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<usize>,
    /// What the top-level `x-` keys say.
    pub extensions: BTreeMap<String, serde_json::Value>,
    /// Services switched off by their profiles, or left out when others were named. They are no
    /// orphans.
    pub inactive: Vec<String>,
    /// Where each value was written, by path (`services.web.environment.LOG`).
    #[serde(skip)]
    pub places: Places,
    /// The whole canonical text as a tree: what `berth config` prints.
    #[serde(skip)]
    pub document: Document,
}
