//! What an image runs on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An operating system and processor, in the words of Go and of image indexes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// Operating system (`linux`).
    pub os: String,
    /// Processor (`amd64`, `arm64`); `None` is that of the host.
    pub architecture: Option<String>,
    /// Its variant (`v8`).
    pub variant: Option<String>,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.os)?;
        for part in [&self.architecture, &self.variant].into_iter().flatten() {
            write!(f, "/{part}")?;
        }
        Ok(())
    }
}
