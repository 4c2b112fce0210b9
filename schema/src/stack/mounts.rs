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
        /// Labels of the volume.
        labels: BTreeMap<String, String>,
    },
    /// A path of the host, absolute.
    Bind {
        /// Host path.
        path: PathBuf,
        /// Make a missing directory.
        create_host_path: bool,
        /// Whether mounts below it are seen on the other side; `None` is `rprivate`.
        propagation: Option<Propagation>,
        /// What becomes of mounts below it.
        recursive: Recursive,
        /// How its files are labelled for `SELinux`.
        selinux: Option<Relabel>,
    },
    /// Memory.
    Tmpfs(Tmpfs),
    /// The files of an image, never writable.
    Image {
        /// Reference of the image.
        reference: String,
        /// Folder of the image.
        subpath: Option<String>,
    },
}

/// Whether mounts below a bind mount are seen on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// Not at all; what is below it already is not there.
    Private,
    /// Not at all.
    RPrivate,
    /// Both ways, for itself only.
    Shared,
    /// Both ways.
    RShared,
    /// From the host, for itself only.
    Slave,
    /// From the host.
    RSlave,
}

impl Propagation {
    /// The word of mount(8).
    pub fn as_str(self) -> &'static str {
        match self {
            Propagation::Private => "private",
            Propagation::RPrivate => "rprivate",
            Propagation::Shared => "shared",
            Propagation::RShared => "rshared",
            Propagation::Slave => "slave",
            Propagation::RSlave => "rslave",
        }
    }
}

/// What becomes of mounts below a bind mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recursive {
    /// They are there, and not writable when the mount is not, where the kernel can do that.
    #[default]
    Enabled,
    /// They are not there.
    Disabled,
    /// They are there and stay writable.
    Writable,
    /// They are there and not writable; without a kernel that can do that it is an error.
    ReadOnly,
}

/// How files of the host are labelled for `SELinux`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relabel {
    /// `z`: for all containers.
    Shared,
    /// `Z`: for this one alone.
    Private,
}

/// Volumes of somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumesFrom {
    /// Whose.
    pub source: VolumesSource,
    /// Not writable.
    pub read_only: bool,
}

/// Whose volumes are mounted too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumesSource {
    /// Those of a service of the stack.
    Service(String),
    /// Those of a container by name.
    Container(String),
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
