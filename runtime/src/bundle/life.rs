//! How a container is probed, what is run around its life, and when it is started again.

use berth_schema::stack::ReadySign;
use serde::{Deserialize, Serialize};

use crate::container::ExecSpec;

/// A health probe with every default filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Program and arguments (`CMD-SHELL` already is `/bin/sh -c LINE`).
    pub argv: Vec<String>,
    /// When it is run and what its results mean.
    #[serde(flatten)]
    pub times: Times,
}

/// When a check is made and what its results mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// Milliseconds between checks.
    pub interval_ms: u64,
    /// Milliseconds until a check counts as failed and is given up.
    pub timeout_ms: u64,
    /// Milliseconds in which failures do not count.
    pub start_period_ms: u64,
    /// Milliseconds between checks in the start period.
    pub start_interval_ms: u64,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
}

/// A check from outside: it needs nothing in the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// What is looked at.
    pub sign: ReadySign,
    /// When it is looked at and what that means.
    #[serde(flatten)]
    pub times: Times,
}

/// Commands run in a container, each list in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    /// After each start of its process.
    pub post_start: Vec<ExecSpec>,
    /// Before its process is asked to end.
    pub pre_stop: Vec<ExecSpec>,
}

/// When a container that ended is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// Whenever it ends, unless the user stopped it.
    Always,
    /// When its status is not 0, at most so many times (0: without end).
    OnFailure(u32),
}

/// How restarts follow each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// Failed starts after which it is given up, where [`Restart`] has no such number.
    pub most: Option<u32>,
    /// Milliseconds before each restart; `None` backs off.
    pub delay_ms: Option<u64>,
    /// A start whose process ran so many milliseconds has not failed; `None` lets every one count.
    pub window_ms: Option<u64>,
}
