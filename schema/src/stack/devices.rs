//! Devices of the host in a container.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A device a container gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// A node, or all nodes of a directory.
    Node {
        /// Path on the host, absolute.
        source: PathBuf,
        /// Path in the container, absolute.
        target: String,
        /// What may be done with it.
        access: DeviceAccess,
    },
    /// One that a CDI file of the host describes: `vendor/class=name`.
    Cdi {
        /// Vendor, a domain name.
        vendor: String,
        /// Class of device.
        class: String,
        /// Name of the device.
        name: String,
    },
}

/// What may be done with a device; never nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceAccess {
    /// Read from it.
    pub read: bool,
    /// Write to it.
    pub write: bool,
    /// Make a node for it.
    pub mknod: bool,
}

/// A rule about devices by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// Which kind.
    pub kind: DeviceKind,
    /// Major number; `None` is any.
    pub major: Option<u32>,
    /// Minor number; `None` is any.
    pub minor: Option<u32>,
    /// What may be done with them.
    pub access: DeviceAccess,
}

/// Kinds of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// All.
    All,
    /// Those of characters.
    Char,
    /// Those of blocks.
    Block,
}

/// Devices asked for by what they can do, from `gpus` and `deploy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRequest {
    /// Driver that finds them (`nvidia`, `cdi`); `None` is any.
    pub driver: Option<String>,
    /// What they must be able to do (`gpu`).
    pub capabilities: Vec<String>,
    /// Which of them.
    pub which: DeviceChoice,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
}

/// Which of the devices that fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceChoice {
    /// All.
    All,
    /// So many.
    Count(u32),
    /// These.
    Ids(Vec<String>),
}
