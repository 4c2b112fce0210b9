//! The cgroup of a container, with its limits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A cgroup and its limits. `None` leaves the kernel's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cgroup {
    /// Path below the root of each hierarchy, `berth/NAME` or `PARENT/berth/NAME`.
    pub path: String,
    /// The container sees the groups of the host instead of its own.
    pub host_view: bool,
    /// Bytes.
    pub memory: Option<u64>,
    /// Bytes of memory and swap together; −1 unlimited. `None` beside a limit of memory is twice
    /// that.
    pub memory_swap: Option<i64>,
    /// Bytes kept under pressure.
    pub memory_reservation: Option<u64>,
    /// How readily it is swapped out, 0…100.
    pub swappiness: Option<u8>,
    /// Nothing is killed when the memory is used up.
    pub oom_kill_disable: bool,
    /// Millionths of a CPU.
    pub cpu_micros: Option<u64>,
    /// Microseconds in which they are counted.
    pub cpu_period: Option<u64>,
    /// Microseconds of the period of real-time processes.
    pub cpu_rt_period: Option<u64>,
    /// Microseconds that they may run in it.
    pub cpu_rt_runtime: Option<u64>,
    /// Weight as v1 counts it.
    pub cpu_shares: Option<u64>,
    /// CPU list.
    pub cpuset: Option<String>,
    /// Processes; −1 unlimited.
    pub pids: i64,
    /// Block devices.
    pub io: BlockLimits,
    /// Further device rules beyond the default ones (`c 10:200 rwm`).
    pub devices: Vec<String>,
}

/// Shares and limits of block devices, these by their numbers (`8:0`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockLimits {
    /// Weight, 10…1000.
    pub weight: Option<u16>,
    /// Weights of single devices.
    pub weights: BTreeMap<String, u16>,
    /// Most bytes read in a second.
    pub read_bytes: BTreeMap<String, u64>,
    /// Most bytes written in a second.
    pub write_bytes: BTreeMap<String, u64>,
    /// Most reads in a second.
    pub read_operations: BTreeMap<String, u64>,
    /// Most writes in a second.
    pub write_operations: BTreeMap<String, u64>,
}
