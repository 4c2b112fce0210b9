//! Configs and secrets.

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileObject {
    /// Name on the host (`PROJECT_KEY` unless given).
    pub name: String,
    /// Where the content comes from.
    pub content: FileContent,
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
}
