//! The root file system of a container and what is mounted in it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where the root file system comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rootfs {
    /// Unpacked layers, the top one first. Read-only, shared.
    pub lowers: Vec<PathBuf>,
    /// Files of this container (`state_dir/upper`), work folder beside it.
    pub upper: PathBuf,
    /// The overlay's work folder.
    pub work: PathBuf,
}

/// A mount in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleMount {
    /// Absolute path in the container; made when missing (a folder, or a file for a file).
    pub target: String,
    /// What is mounted.
    pub source: BundleSource,
    /// Not writable, recursively unless its source says otherwise.
    pub read_only: bool,
}

/// What a [`BundleMount`] shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BundleSource {
    /// A folder or file of the host.
    Bind {
        /// Absolute path on the host; it exists.
        path: PathBuf,
        /// The part of it that is shown. It is looked up when the container starts, and never
        /// leads out of `path`.
        #[serde(default)]
        below: Option<String>,
        /// Map ids so that owners on disk equal owners in the container. `false` for what is
        /// already shifted or must show the host's owners.
        idmap: bool,
        /// Files of this user of the host are those of the container's user.
        #[serde(default)]
        owner: Option<BindOwner>,
        /// Include mounts below it.
        recursive: bool,
        /// When it is read-only: mounts below it are not.
        #[serde(default)]
        writable_below: bool,
        /// A word of mount(8), from `private` to `rshared`; default `rprivate`.
        propagation: Option<String>,
        /// Device nodes work on it (off by default).
        dev: bool,
    },
    /// The files of an image, not writable.
    Image {
        /// Its unpacked layers, the top one first.
        lowers: Vec<PathBuf>,
        /// The part of it that is shown.
        below: Option<String>,
    },
    /// Memory.
    Tmpfs {
        /// Bytes.
        size: Option<u64>,
        /// Mode of its root.
        mode: u32,
        /// `exec`, `suid`, `dev`, `uid=…`, `gid=…`, …
        options: Vec<String>,
    },
}

/// Whose the files of a bind are on both sides, user and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindOwner {
    /// On the host.
    pub host: (u32, u32),
    /// In the container.
    pub inside: (u32, u32),
}
