//! How output is kept.

use serde::{Deserialize, Serialize};

/// How output is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    /// `json-file`, `local` or `none`.
    pub driver: String,
    /// Size in bytes at which a file is rotated.
    pub max_size: u64,
    /// How many files are kept.
    pub max_files: u32,
}

impl Default for Logging {
    fn default() -> Self {
        Logging { driver: "local".into(), max_size: 10 << 20, max_files: 3 }
    }
}
