//! The life of a container beyond its policy: what paces its restarts, and what comes before it.

use std::time::Duration;

use berth_schema::stack::Condition;
use serde::{Deserialize, Serialize};

use super::ContainerSpec;

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

/// A container that runs to its end before those of its service are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InitSpec {
    /// What it is made from.
    pub container: ContainerSpec,
    /// One for each container of the service instead of one for all.
    pub per_replica: bool,
}

/// How one service needs another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DependencySpec {
    /// What opens the gate.
    pub condition: Condition,
    /// Restart the dependent when the dependency was replaced or restarted.
    pub restart: bool,
    /// Whether a failed dependency stops the dependent.
    pub required: bool,
}
