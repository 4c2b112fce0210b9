//! Commands around the life of a container, and programs that stand in for one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A command run in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Program and arguments, never empty.
    pub command: Vec<String>,
    /// Variables beside those of the container; `None` takes one away.
    pub environment: BTreeMap<String, Option<String>>,
    /// User instead of the container's.
    pub user: Option<String>,
    /// Directory instead of the container's.
    pub working_dir: Option<String>,
    /// All capabilities.
    pub privileged: bool,
}

/// A container that runs to its end before the service's own is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitStep {
    /// Image reference; `None` is the service's.
    pub image: Option<String>,
    /// Arguments; `None` keeps the image's.
    pub command: Option<Vec<String>>,
    /// Variables beside those of the service; `None` takes one away.
    pub environment: BTreeMap<String, Option<String>>,
    /// User instead of the service's.
    pub user: Option<String>,
    /// Directory instead of the service's.
    pub working_dir: Option<String>,
    /// All capabilities.
    pub privileged: bool,
    /// Once for each container instead of once for the service.
    pub per_replica: bool,
}

/// A program of the host that provides what the service stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// Its name.
    pub kind: String,
    /// Its options, each with one or more values.
    pub options: BTreeMap<String, Vec<String>>,
}
