//! What a container may use.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::read::{Reader, int, is_on, number};
use crate::stack::{BlockIo, DeviceRate, DeviceWeight, Limits, Service};
use crate::tree::{Node, Value};
use crate::value;
use crate::words::cpuset;

/// Names of the limits that the kernel has for a process.
const ULIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

impl Reader<'_> {
    pub(super) fn resources(&mut self, node: &Node, service: &mut Service) {
        service.limits = self.limits(node);
        service.shm_size = number(node, "shm_size");
        service.ulimits = self.ulimits(node);
        service.block_io = self.get(node, "blkio_config", |r, node| Some(r.block_io(node)));
        service.mem_swappiness = self.swappiness(node);
        service.oom_kill_disable = is_on(node, "oom_kill_disable");
        service.cpu_rt_period = self.real_time(node, "cpu_rt_period");
        service.cpu_rt_runtime = self.real_time(node, "cpu_rt_runtime");
        self.real_time_fits(node, service);
    }

    /// −1 leaves it to the host.
    fn swappiness(&mut self, node: &Node) -> Option<u8> {
        if number(node, "mem_swappiness") == Some(-1_i64) {
            return None;
        }
        self.within(node, "mem_swappiness", 0..=100, " percent")
    }

    fn limits(&mut self, node: &Node) -> Limits {
        let limits = node.at(&["deploy", "resources", "limits"]);
        let reserved = node.at(&["deploy", "resources", "reservations"]);
        let either = |name: &str, group: Option<&Node>, inner: &str| -> Option<Node> {
            node.get(name).or_else(|| group?.get(inner)).cloned()
        };
        let cpus = match either("cpus", limits, "cpus").map(|node| node.value) {
            Some(Value::Float(cpus)) if cpus > 0.0 => Some((cpus * 1e6).round() as u64),
            _ => cpu_quota(node),
        };
        let positive = |value: Option<u64>| value.filter(|value| *value > 0);
        let memory = positive(either("mem_limit", limits, "memory").as_ref().and_then(int));
        Limits {
            memory,
            memory_swap: self.memory_swap(node, memory),
            memory_reservation: positive(
                either("mem_reservation", reserved, "memory").as_ref().and_then(int),
            ),
            cpu_micros: cpus,
            cpu_period: number(node, "cpu_period").filter(|period: &u64| *period > 0),
            cpu_shares: number(node, "cpu_shares").filter(|shares: &u64| *shares > 0),
            cpuset: self.read(node, "cpuset", cpuset),
            pids: either("pids_limit", limits, "pids")
                .as_ref()
                .and_then(int)
                .filter(|pids| *pids != 0),
            oom_score_adj: number(node, "oom_score_adj"),
        }
    }

    fn memory_swap(&mut self, node: &Node, memory: Option<u64>) -> Option<i64> {
        let swap: i64 = number(node, "memswap_limit").filter(|swap| *swap != 0)?;
        let less = u64::try_from(swap).is_ok_and(|swap| memory.is_none_or(|memory| swap < memory));
        if less {
            self.get(node, "memswap_limit", |reader, at| {
                let why = "is memory and swap together, and there is less of it than `mem_limit`";
                reader.refuse(at, why, "set `mem_limit` to no more than it");
                Some(())
            });
        }
        Some(swap)
    }

    /// Limits of a process by name, −1 for unlimited.
    pub(super) fn ulimits(&mut self, node: &Node) -> BTreeMap<String, (i64, i64)> {
        self.entries(node, "ulimits", |reader, name, node| {
            let limit = |name| number(node, name).unwrap_or(-1);
            let (soft, hard) = match int(node) {
                Some(both) => (both, both),
                None => (limit("soft"), limit("hard")),
            };
            reader.ulimit(node, name, soft, hard);
            Some((soft, hard))
        })
    }

    fn ulimit(&mut self, node: &Node, name: &str, soft: i64, hard: i64) {
        if !ULIMITS.contains(&name) {
            let help = match value::nearest(name, ULIMITS) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", ULIMITS.join(", ")),
            };
            self.wrong(node, "the kernel has no limit of this name", help);
        } else if soft < -1 || hard < -1 {
            self.refuse(node, "is below -1", "write a number, or -1 for no limit");
        } else if hard != -1 && (soft == -1 || soft > hard) {
            let why = "has a soft limit above the hard one";
            self.refuse(node, why, "write a soft limit no higher than the hard one");
        }
    }

    fn block_io(&mut self, node: &Node) -> BlockIo {
        BlockIo {
            weight: self.weight(node),
            weights: self.list(node, "weight_device", |reader, node| {
                Some(DeviceWeight { path: reader.device_path(node)?, weight: reader.weight(node)? })
            }),
            read_bytes: self
                .list(node, "device_read_bps", |r, node| r.rate(node, " bytes in a second")),
            write_bytes: self
                .list(node, "device_write_bps", |r, node| r.rate(node, " bytes in a second")),
            read_operations: self
                .list(node, "device_read_iops", |r, node| r.rate(node, " reads in a second")),
            write_operations: self
                .list(node, "device_write_iops", |r, node| r.rate(node, " writes in a second")),
        }
    }

    fn weight(&mut self, node: &Node) -> Option<u16> {
        // 0 leaves it to the kernel.
        let weight = self.within(node, "weight", 0..=1000, "")?;
        (weight > 0).then_some(weight)
    }

    fn rate(&mut self, node: &Node, unit: &str) -> Option<DeviceRate> {
        let rate = self.within(node, "rate", 1..=u64::MAX, unit)?;
        Some(DeviceRate { path: self.device_path(node)?, rate })
    }

    fn device_path(&mut self, node: &Node) -> Option<PathBuf> {
        match node.get_text("path") {
            Some(path) if path.starts_with('/') => Some(PathBuf::from(path)),
            _ => {
                let at = node.get("path").unwrap_or(node);
                self.refuse(at, "names no device of the host", "add `path: /dev/DEVICE`");
                None
            }
        }
    }

    /// Microseconds of real-time scheduling.
    fn real_time(&mut self, node: &Node, name: &str) -> Option<Duration> {
        self.within(node, name, 1..=1_000_000_000_u64, " microseconds").map(Duration::from_micros)
    }

    fn real_time_fits(&mut self, node: &Node, service: &Service) {
        let period = service.cpu_rt_period.unwrap_or(Duration::from_secs(1));
        if service.cpu_rt_runtime.is_some_and(|runtime| runtime > period) {
            self.get(node, "cpu_rt_runtime", |reader, at| {
                let why = format!("is more than the period of {} microseconds", period.as_micros());
                reader.refuse(at, &why, "raise `cpu_rt_period`, or lower it");
                Some(())
            });
        }
    }
}

fn cpu_quota(node: &Node) -> Option<u64> {
    let quota: u64 = number(node, "cpu_quota").filter(|quota| *quota > 0)?;
    let period: u64 = number(node, "cpu_period").filter(|period| *period > 0).unwrap_or(100_000);
    Some(quota.saturating_mul(1_000_000) / period)
}
