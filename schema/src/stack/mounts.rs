//! Volumes and what is mounted into a container.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Something mounted into the container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute, cleaned path in the container.
    pub target: String,
    /// What is mounted.
    pub source: MountSource,
    /// Not writable.
    pub read_only: bool,
}

/// What a [`Mount`] shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum MountSource {
    /// A named volume: key of [`Stack::volumes`].
    Volume {
        /// Key in the stack.
        name: String,
        /// Do not copy the image's content into an empty volume.
        nocopy: bool,
        /// Folder of the volume.
        subpath: Option<String>,
    },
    /// A volume of its own for each container.
    Anonymous {
        /// Do not copy the image's content.
        nocopy: bool,
    },
    /// A path of the host, absolute.
    Bind {
        /// Host path.
        path: PathBuf,
        /// Make a missing directory.
        create_host_path: bool,
        /// `rprivate`, `rshared`, …
        propagation: Option<String>,
    },
    /// Memory.
    Tmpfs(Tmpfs),
}

/// A tmpfs mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    /// Absolute path in the container.
    pub target: String,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Mode of its root, default 0o1777.
    pub mode: Option<u32>,
    /// Further options as written (`ro`, `exec`, `uid=`, …).
    pub options: Vec<String>,
}

/// A top-level volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Name on the host (`PROJECT_KEY` unless given).
    pub name: String,
    /// Must exist already, never created or removed.
    pub external: bool,
    /// `local` here.
    pub driver: Option<String>,
    /// `type`, `o`, `device` as mount(8) reads them.
    pub driver_opts: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}
