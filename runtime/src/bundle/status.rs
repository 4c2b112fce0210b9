//! What a container does.

use berth_planner::desired::PortSpec;
use serde::{Deserialize, Serialize};

/// What the monitor writes to `status.json` at each change (volatile, atomic).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Boot it was written on (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// Process id of the monitor.
    pub monitor: i32,
    /// Start time of the monitor in clock ticks (`/proc/PID/stat` field 22).
    pub monitor_start: u64,
    /// What the container does.
    pub phase: Phase,
    /// Process id of the container's init; 0 without one.
    pub pid: i32,
    /// Start time of that process in clock ticks.
    pub pid_start: u64,
    /// Milliseconds since the epoch of the last start.
    pub started_ms: i64,
    /// Milliseconds since the epoch of the last end.
    pub finished_ms: i64,
    /// Last exit status, 128 + n for signal n, −1 when it is not known.
    pub exit_code: i32,
    /// The kernel killed a process of it for memory.
    pub oom_killed: bool,
    /// Result of the probe: `none`, `starting`, `healthy`, `unhealthy`.
    pub health: berth_planner::observed::Health,
    /// End of the last probe's output, at most 4 KiB.
    pub health_output: String,
    /// Times it was started again.
    pub restarts: u32,
    /// The user stopped it.
    pub held: bool,
    /// Its processes stand still until the user lets them run on.
    #[serde(default)]
    pub paused: bool,
    /// Host ports it really has.
    pub published: Vec<PortSpec>,
    /// Ports of its resolver on 127.0.0.11 in its network namespace, UDP and TCP.
    #[serde(default)]
    pub resolver: Option<(u16, u16)>,
    /// Why the last start failed.
    pub error: Option<String>,
}

/// What a container does, for its monitor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The monitor is about to start it.
    #[default]
    Starting,
    /// It runs.
    Running,
    /// It ended and is to be started again.
    Waiting,
    /// A stop was asked for and is under way.
    Stopping,
    /// It ended for good.
    Exited,
}
