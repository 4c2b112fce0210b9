//! What a container does.

use berth_planner::desired::PortSpec;
use berth_planner::observed::Health;
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
    pub health: Health,
    /// What each check comes to: the probe, then the sign of readiness, as far as it has them.
    #[serde(default)]
    pub checks: Vec<Health>,
    /// End of the last probe's output, at most 4 KiB.
    pub health_output: String,
    /// Times it was started again.
    pub restarts: u32,
    /// Those of them that count against the number of attempts.
    #[serde(default)]
    pub attempts: u32,
    /// Milliseconds since the epoch of the next start, while it waits for one.
    #[serde(default)]
    pub next_start_ms: i64,
    /// The user stopped it.
    pub held: bool,
    /// Its processes stand still until the user lets them run on.
    #[serde(default)]
    pub paused: bool,
    /// It serves nobody: another container of its replica has its ports and names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beside: bool,
    /// Host ports it really has.
    pub published: Vec<PortSpec>,
    /// Those it had before this life, which it takes again where the file leaves the choice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub had_ports: Vec<PortSpec>,
    /// Ports of its resolver on 127.0.0.11 in its network namespace, UDP and TCP.
    #[serde(default)]
    pub resolver: Option<(u16, u16)>,
    /// Why the last start failed.
    pub error: Option<String>,
    /// The hook that runs, or is about to.
    #[serde(default)]
    pub hook: Option<HookStatus>,
    /// Why a `post_start` hook of this life of the container, or a `pre_stop` one, failed.
    #[serde(default)]
    pub hook_error: Option<HookError>,
    /// It is being stopped because it is unhealthy, and is started again then.
    #[serde(default)]
    pub recycling: bool,
    /// How far its end has come that was asked for.
    #[serde(default)]
    pub stop: Option<StopStatus>,
}

/// An end that was asked for and is under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopStatus {
    /// When it is killed, in milliseconds of this boot, sleep included (`CLOCK_BOOTTIME`).
    pub kill_at_ms: i64,
    /// It was sent its signal.
    pub asked: bool,
}

/// A hook under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookStatus {
    /// Which list it is of.
    pub stage: HookStage,
    /// Its place there, from 0.
    pub index: usize,
    /// Process id; 0 while there is none.
    pub pid: i32,
    /// Start time of that process in clock ticks.
    pub pid_start: u64,
    /// When it is given up, in milliseconds of this boot, sleep included (`CLOCK_BOOTTIME`).
    pub until_ms: i64,
}

/// The two lists of hooks that are run in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookStage {
    /// After the start.
    PostStart,
    /// Before the end.
    PreStop,
}

impl HookStage {
    /// Its name in the file.
    pub fn name(self) -> &'static str {
        match self {
            HookStage::PostStart => "post_start",
            HookStage::PreStop => "pre_stop",
        }
    }
}

/// A hook that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookError {
    /// Which list it is of.
    pub stage: HookStage,
    /// Its place there, from 0.
    pub index: usize,
    /// Exit status, 128 + n for signal n, 125 to 127 when it was not started.
    pub exit_code: i32,
    /// What happened, and the last lines it wrote.
    pub why: String,
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
