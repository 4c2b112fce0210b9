//! When containers are pulled, started, probed and started again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a service needs another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// What must be true before the dependent starts.
    pub condition: Condition,
    /// Whether a replaced or restarted dependency restarts the dependent.
    pub restart: bool,
    /// `false`: a missing or failed dependency only warns.
    pub required: bool,
}

/// State of a dependency that opens the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Its process runs.
    ServiceStarted,
    /// Its probe succeeded.
    ServiceHealthy,
    /// It ended with exit status 0.
    ServiceCompletedSuccessfully,
}

/// The probe of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]`, `["CMD-SHELL", line]`; `None` keeps the image's test.
    pub test: Option<Vec<String>>,
    /// Default 30 s.
    pub interval: Option<Duration>,
    /// Default 30 s.
    pub timeout: Option<Duration>,
    /// Default 0 s.
    pub start_period: Option<Duration>,
    /// Default 5 s.
    pub start_interval: Option<Duration>,
    /// Default 3.
    pub retries: Option<u32>,
    /// No probe, not even the image's.
    pub disable: bool,
}

/// When a container that ended is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// Always, also after a reboot.
    Always,
    /// Always, unless the user stopped it.
    UnlessStopped,
    /// When it failed, at most so many times (0: without end).
    OnFailure(u32),
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullPolicy {
    /// When it is not there.
    #[default]
    Missing,
    /// Each time.
    Always,
    /// Not at all.
    Never,
    /// When the local one is older than so many seconds.
    Every(u64),
}
