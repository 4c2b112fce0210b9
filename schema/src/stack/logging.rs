//! How output is kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How output is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    /// Where it goes.
    pub driver: LogDriver,
    /// Size in bytes at which a file is rotated.
    pub max_size: u64,
    /// How many files are kept.
    pub max_files: u32,
    /// Options of the drivers that keep nothing on this host.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// Where output goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// Files beside the container's state.
    #[default]
    Local,
    /// The same; people know it under this name.
    JsonFile,
    /// Nowhere.
    None,
    /// The journal of systemd.
    Journald,
    /// A syslog server.
    Syslog,
    /// A Graylog server.
    Gelf,
    /// A fluentd server.
    Fluentd,
    /// Amazon `CloudWatch`.
    Awslogs,
    /// Google Cloud.
    Gcplogs,
    /// A Splunk server.
    Splunk,
}

impl Default for Logging {
    fn default() -> Self {
        Logging {
            driver: LogDriver::Local,
            max_size: 10 << 20,
            max_files: 3,
            options: BTreeMap::new(),
        }
    }
}
