//! The root file system of a container and what is mounted in it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Bundle;

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

/// A device node in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleDevice {
    /// The node on the host; it has to be this device still when the container starts.
    pub source: PathBuf,
    /// Absolute path in the container.
    pub target: String,
    /// A block device, not a character device.
    pub block: bool,
    /// Its number.
    pub major: u32,
    /// Its number.
    pub minor: u32,
    /// Owner, as the container counts.
    pub uid: u32,
    /// Group, as the container counts.
    pub gid: u32,
    /// Mode bits.
    pub mode: u32,
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

/// What a path was when the policy judged it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// Where it led, without links.
    pub real: PathBuf,
    /// Device and inode, for the first start after the judgement. Later another file may be at
    /// the same path, as when an editor has written it anew.
    pub object: Option<(u64, u64)>,
}

impl Bundle {
    /// The first start after a judgement is over: from now on where a path leads is what counts.
    pub(crate) fn forget_objects(&mut self) {
        for mount in &mut self.mounts {
            if let BundleSource::Bind { judged: Some(judged), .. } = &mut mount.source {
                judged.object = None;
            }
        }
    }
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
        /// What it was judged to be; nothing else is mounted.
        #[serde(default)]
        judged: Option<Judged>,
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
