//! What `deploy` says beyond limits and numbers. Most of it is for clusters.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a service is rolled out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Deploy {
    /// One for each host, or as many as are asked for.
    pub mode: DeployMode,
    /// How others reach it.
    pub endpoint_mode: Option<EndpointMode>,
    /// Labels of the service, not of its containers.
    pub labels: BTreeMap<String, String>,
    /// How a new description replaces the old one.
    pub update: Option<Rollout>,
    /// How the old one comes back.
    pub rollback: Option<Rollout>,
    /// Where it runs.
    pub placement: Placement,
    /// When containers are started again; it wins over `restart`.
    pub restart: Option<RestartRule>,
    /// Millionths of a CPU that are kept for it.
    pub reserved_cpu_micros: Option<u64>,
    /// Things of a host that are kept for it, by kind: how many of them.
    pub generic_resources: BTreeMap<String, u64>,
}

/// How many containers a service has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeployMode {
    /// As many as are asked for.
    #[default]
    Replicated,
    /// One for each host, so one here.
    Global,
}

/// How others reach a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointMode {
    /// By one address for all containers.
    Vip,
    /// By the addresses of the containers.
    Dnsrr,
}

/// How one description replaces another. `None` leaves it to berth.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// How many containers at once; 0 is all.
    pub parallelism: Option<u32>,
    /// Wait between two groups.
    pub delay: Option<Duration>,
    /// What happens when a container fails.
    pub on_failure: Option<FailureAction>,
    /// How long a container is watched for failure.
    pub monitor: Option<Duration>,
    /// Part of the containers that may fail, 0 to 1.
    pub max_failure_ratio: Option<f64>,
    /// Which of the two comes first.
    pub order: Option<RolloutOrder>,
}

/// What happens when a new container fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureAction {
    /// Go on.
    Continue,
    /// Stop where it is.
    Pause,
    /// Go back; only when updating.
    Rollback,
}

/// Whether the old or the new container is there alone for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutOrder {
    /// The old one ends before the new one starts.
    StopFirst,
    /// The new one starts before the old one ends.
    StartFirst,
}

/// Where in a cluster a service runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// What must be true of the host, as written.
    pub constraints: Vec<String>,
    /// Attributes of hosts over whose values it is spread.
    pub spread: Vec<String>,
    /// Most containers on one host; `None` is any number.
    pub max_replicas_per_node: Option<u32>,
}

/// When a container that ended is started again, as `deploy` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartRule {
    /// Which ends count.
    pub condition: RestartCondition,
    /// Wait before it is started again.
    pub delay: Option<Duration>,
    /// Most attempts; `None` is without end.
    pub max_attempts: Option<u32>,
    /// How long it must run to count as started.
    pub window: Option<Duration>,
}

/// Which ends of a container count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartCondition {
    /// None.
    None,
    /// Those with an exit status that is not 0.
    OnFailure,
    /// All.
    Any,
    /// All but those the user asked for.
    UnlessStopped,
}
