//! Configs and secrets.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A config or secret mounted into a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMount {
    /// Key in [`Stack::configs`] or [`Stack::secrets`].
    pub source: String,
    /// Absolute path in the container.
    pub target: String,
    /// Owner in the container, default 0.
    pub uid: Option<u32>,
    /// Group in the container, default 0.
    pub gid: Option<u32>,
    /// Mode, default 0444 (config) or 0400 as the service user sees it (secret: 0444 as Docker).
    pub mode: Option<u32>,
}

/// A top-level config or secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileObject {
    /// Name on the host (`PROJECT_KEY` unless given).
    pub name: String,
    /// Where the content comes from.
    pub content: FileContent,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Driver that keeps a secret.
    pub driver: Option<String>,
    /// Options of the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// What fills in the content as a template.
    pub template: Option<TemplateDriver>,
}

/// What fills in a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TemplateDriver {
    /// The templates of Go.
    Golang,
}

/// Where the content of a config or secret comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileContent {
    /// A file of the host, absolute.
    File(PathBuf),
    /// A variable of the project environment, with its value (`None`: not set, an error at `up`).
    Environment(String, Option<String>),
    /// Text in the Compose file.
    Inline(String),
    /// Kept by the host under its name, never created or removed.
    External,
}

impl Default for FileContent {
    fn default() -> Self {
        FileContent::Inline(String::new())
    }
}
