//! What a container may use.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Limits of one container. `None` means none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes.
    pub memory: Option<u64>,
    /// Bytes of memory plus swap; −1 for unlimited.
    pub memory_swap: Option<i64>,
    /// Bytes kept under pressure.
    pub memory_reservation: Option<u64>,
    /// Millionths of a CPU (1.5 CPUs are 1 500 000).
    pub cpu_micros: Option<u64>,
    /// Microseconds in which that share of processor time is counted; `None` is 100 000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_period: Option<u64>,
    /// Relative weight as cgroup v1 counts it (2…262144).
    pub cpu_shares: Option<u64>,
    /// CPUs it may use (`0-1,3`).
    pub cpuset: Option<String>,
    /// Number of processes; `None` is berth's default, −1 unlimited.
    pub pids: Option<i64>,
    /// −1000…1000.
    pub oom_score_adj: Option<i32>,
}

/// Limits of block devices. Zero never stands for "none".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockIo {
    /// Relative weight, 10…1000; `None` is 500.
    pub weight: Option<u16>,
    /// Weights of single devices.
    pub weights: Vec<DeviceWeight>,
    /// Most bytes read in a second.
    pub read_bytes: Vec<DeviceRate>,
    /// Most bytes written in a second.
    pub write_bytes: Vec<DeviceRate>,
    /// Most reads in a second.
    pub read_operations: Vec<DeviceRate>,
    /// Most writes in a second.
    pub write_operations: Vec<DeviceRate>,
}

/// Weight of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceWeight {
    /// The device, absolute.
    pub path: PathBuf,
    /// 10…1000.
    pub weight: u16,
}

/// Limit of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRate {
    /// The device, absolute.
    pub path: PathBuf,
    /// So much in a second, at least 1.
    pub rate: u64,
}
