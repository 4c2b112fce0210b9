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

impl Platform {
    /// Whether programs for it run on a host of this platform, without an emulator. What is not
    /// said is no obstacle.
    pub fn runs_on(&self, host: &Platform) -> bool {
        fn level(variant: Option<&str>) -> Option<u32> {
            variant?.strip_prefix('v')?.parse().ok()
        }
        let levels = level(self.variant.as_deref()).zip(level(host.variant.as_deref()));
        self.os == host.os
            && (self.architecture.is_none() || self.architecture == host.architecture)
            && levels.is_none_or(|(wanted, has)| wanted <= has)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        let mut parts = text.split('/').map(str::to_owned);
        let os = parts.next().unwrap();
        Platform { os, architecture: parts.next(), variant: parts.next() }
    }

    #[test]
    fn programs_run_where_system_and_processor_are_the_same_and_new_enough() {
        for (wanted, host, runs) in [
            ("linux", "linux/amd64", true),
            ("linux/amd64", "linux/amd64", true),
            ("linux/amd64/v3", "linux/amd64", true),
            ("linux/arm/v6", "linux/arm/v7", true),
            ("linux/arm/v8", "linux/arm/v7", false),
            ("linux/arm64", "linux/arm64/v8", true),
            ("linux/arm64", "linux/amd64", false),
            ("windows", "linux/amd64", false),
        ] {
            assert_eq!(platform(wanted).runs_on(&platform(host)), runs, "{wanted} on {host}");
        }
    }
}
