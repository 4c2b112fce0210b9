//! The life of a container beyond its policy: what paces its restarts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How restarts follow each other (`deploy.restart_policy` of the Compose Specification).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPace {
    /// Starts that may fail before it is given up, where the policy itself has no such number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Time before each restart; `None` backs off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// A start whose process ran so long has not failed; `None` lets every one count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Duration>,
}

impl RestartPace {
    /// Whether it leaves everything to berth.
    pub fn is_default(&self) -> bool {
        *self == RestartPace::default()
    }
}
