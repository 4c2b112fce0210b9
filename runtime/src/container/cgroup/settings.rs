//! Limits → the files of the controllers and what they shall say. Pure.

use super::Version;
use crate::bundle::{BlockLimits, Cgroup};

/// The period that CPU quotas are counted in when nothing else is said, in microseconds.
const PERIOD: u64 = 100_000;

/// What a file of a controller shall say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// The attribute of the file that asks for it.
    pub(super) attribute: &'static str,
    pub(super) controller: &'static str,
    pub(super) file: &'static str,
    /// The device, where the file has a line for each.
    pub(super) device: Option<String>,
    /// The text to write, without the device.
    pub(super) value: String,
    pub(super) reset: Reset,
    pub(super) weight: Weight,
}

/// How it becomes again what it is when nobody asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reset {
    /// By this text.
    To(&'static str),
    /// By what the group above says.
    Parent,
}

/// What happens on a host that does not have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// The container does not start.
    Must,
    /// It is left out with a warning: it only shares or protects.
    May,
    /// It is left out: nobody asked for it by name.
    Silent,
}

impl Setting {
    fn new(
        attribute: &'static str,
        controller: &'static str,
        (file, value): (&'static str, String),
        reset: &'static str,
    ) -> Setting {
        let (reset, weight) = (Reset::To(reset), Weight::Must);
        Setting { attribute, controller, file, device: None, value, reset, weight }
    }

    fn may(self) -> Setting {
        Setting { weight: Weight::May, ..self }
    }

    fn silent_if(self, silent: bool) -> Setting {
        if silent { Setting { weight: Weight::Silent, ..self } } else { self }
    }

    fn of(self, device: &str) -> Setting {
        Setting { device: Some(device.to_owned()), ..self }
    }

    /// Whether both are about the same thing.
    pub(super) fn same_place(&self, other: &Setting) -> bool {
        let place = |s: &Setting| (s.file, s.device.clone(), key(&s.value));
        place(self) == place(other)
    }

    /// What is written to the file.
    pub(super) fn line(&self) -> String {
        with_device(self.device.as_deref(), &self.value)
    }

    /// What is written to take it back, when that is no matter of the group above.
    pub(super) fn reset_line(&self) -> Option<String> {
        match self.reset {
            Reset::To(text) => Some(with_device(self.device.as_deref(), text)),
            Reset::Parent => None,
        }
    }
}

/// The key of `key=value`, as `io.max` has several in a line.
fn key(value: &str) -> Option<String> {
    value.split_once('=').map(|(key, _)| key.to_owned())
}

fn with_device(device: Option<&str>, text: &str) -> String {
    device.map_or(text.to_owned(), |device| format!("{device} {text}"))
}

/// Everything the limits ask for, in the order in which a new group gets it. `version` tells the
/// interface of a controller; one that is not there counts as v2.
pub(super) fn settings(limits: &Cgroup, version: impl Fn(&str) -> Option<Version>) -> Vec<Setting> {
    let legacy = |controller: &str| version(controller) == Some(Version::V1);
    let mut all = memory(limits, legacy("memory"));
    all.extend(processors(limits, legacy("cpu")));
    if let Some(cpus) = &limits.cpuset {
        let mut cpuset = Setting::new("cpuset", "cpuset", ("cpuset.cpus", cpus.clone()), "\n");
        if legacy("cpuset") {
            cpuset.reset = Reset::Parent;
        }
        all.push(cpuset);
    }
    let pids = if limits.pids > 0 { limits.pids.to_string() } else { "max".to_owned() };
    let pids = Setting::new("pids_limit", "pids", ("pids.max", pids), "max").may();
    all.push(pids.silent_if(limits.pids <= 0));
    all.extend(if legacy("blkio") { blkio(&limits.io) } else { io(&limits.io) });
    all
}

fn memory(limits: &Cgroup, legacy: bool) -> Vec<Setting> {
    let set = |attribute, v1, v2, value, v1_reset, v2_reset| {
        let (file, reset) = if legacy { (v1, v1_reset) } else { (v2, v2_reset) };
        Setting::new(attribute, "memory", (file, value), reset)
    };
    let mut all = Vec::new();
    if let Some(bytes) = limits.memory {
        let (v1, v2) = ("memory.limit_in_bytes", "memory.max");
        all.push(set("mem_limit", v1, v2, bytes.to_string(), "-1", "max"));
    }
    if let Some(total) = total(limits) {
        let value = match (legacy, u64::try_from(total)) {
            (true, _) => total.to_string(),
            (false, Err(_)) => "max".to_owned(),
            (false, Ok(total)) => total.saturating_sub(limits.memory.unwrap_or(0)).to_string(),
        };
        let (v1, v2) = (SWAP_V1, "memory.swap.max");
        let swap = set("memswap_limit", v1, v2, value, "-1", "max").may();
        all.push(swap.silent_if(limits.memory_swap.is_none()));
    }
    if let Some(bytes) = limits.memory_reservation {
        let (v1, v2) = ("memory.soft_limit_in_bytes", "memory.low");
        all.push(set("mem_reservation", v1, v2, bytes.to_string(), "-1", "0").may());
    }
    if legacy {
        if let Some(percent) = limits.swappiness {
            let place = ("memory.swappiness", percent.to_string());
            let set = Setting::new("mem_swappiness", "memory", place, "60");
            all.push(Setting { reset: Reset::Parent, ..set });
        }
        if limits.oom_kill_disable {
            let place = ("memory.oom_control", "1".to_owned());
            all.push(Setting::new("oom_kill_disable", "memory", place, "0"));
        }
    }
    all
}

/// Memory and swap together; they are never less than the memory, so this is raised before it.
pub(super) const SWAP_V1: &str = "memory.memsw.limit_in_bytes";

/// Memory and swap together, as Docker has it: twice the memory when only that is said.
fn total(limits: &Cgroup) -> Option<i64> {
    let twice = limits.memory.map(|bytes| i64::try_from(bytes.saturating_mul(2)));
    limits.memory_swap.or(twice.map(|twice| twice.unwrap_or(-1)))
}

/// The files that a new period makes wait: they are emptied before it changes.
pub(super) const QUOTA_V1: &str = "cpu.cfs_quota_us";
pub(super) const PERIOD_V1: &str = "cpu.cfs_period_us";
pub(super) const RT_RUNTIME: &str = "cpu.rt_runtime_us";
pub(super) const RT_PERIOD: &str = "cpu.rt_period_us";

fn processors(limits: &Cgroup, legacy: bool) -> Vec<Setting> {
    let cpu = |attribute, file, value, reset| Setting::new(attribute, "cpu", (file, value), reset);
    let period = limits.cpu_period.unwrap_or(PERIOD);
    // Less than a millisecond of quota is refused by the kernel.
    let quota = |micros: u64| (micros.saturating_mul(period) / 1_000_000).max(1000);
    let mut all = Vec::new();
    match (legacy, limits.cpu_micros, limits.cpu_period) {
        (_, None, None) => {}
        (true, micros, _) => {
            all.push(cpu("cpu_period", PERIOD_V1, period.to_string(), "100000"));
            let quota = micros.map(|micros| cpu("cpus", QUOTA_V1, quota(micros).to_string(), "-1"));
            all.extend(quota);
        }
        (false, micros, _) => {
            let quota = micros.map_or("max".to_owned(), |micros| quota(micros).to_string());
            all.push(cpu("cpus", "cpu.max", format!("{quota} {period}"), "max 100000"));
        }
    }
    if let Some(shares) = limits.cpu_shares {
        all.push(match legacy {
            true => cpu("cpu_shares", "cpu.shares", shares.to_string(), "1024").may(),
            false => cpu("cpu_shares", "cpu.weight", weight(shares).to_string(), "100").may(),
        });
    }
    if legacy && (limits.cpu_rt_period.is_some() || limits.cpu_rt_runtime.is_some()) {
        let period = limits.cpu_rt_period.unwrap_or(1_000_000).to_string();
        all.push(cpu("cpu_rt_period", RT_PERIOD, period, "1000000"));
        let runtime = limits.cpu_rt_runtime.map(|micros| micros.to_string());
        all.extend(runtime.map(|micros| cpu("cpu_rt_runtime", RT_RUNTIME, micros, "0")));
    }
    all
}

/// v1 shares 2…262144 on the v2 scale 1…10000.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

/// The files of v1: those of the schedulers CFQ, which old kernels have, and BFQ.
fn blkio(io: &BlockLimits) -> Vec<Setting> {
    const WEIGHT: &str = "blkio_config.weight";
    const WEIGHTS: &str = "blkio_config.weight_device";
    let blkio = |attribute, file, value: String, reset| {
        Setting::new(attribute, "blkio", (file, value), reset)
    };
    let mut all = Vec::new();
    if let Some(weight) = io.weight {
        all.push(blkio(WEIGHT, "blkio.weight", weight.to_string(), "500").may());
        all.push(blkio(WEIGHT, "blkio.bfq.weight", weight.to_string(), "100").may());
    }
    for (device, weight) in &io.weights {
        let weight = weight.to_string();
        all.push(blkio(WEIGHTS, "blkio.weight_device", weight.clone(), "0").of(device).may());
        let bfq = "blkio.bfq.weight_device";
        all.push(blkio(WEIGHTS, bfq, weight, "default").of(device).may());
    }
    for (attribute, rates, file, _) in rates(io) {
        let rate = |(device, rate): (&String, &u64)| {
            blkio(attribute, file, rate.to_string(), "0").of(device).may()
        };
        all.extend(rates.iter().map(rate));
    }
    all
}

/// The files of v2: the weights of BFQ and of the cost model, each on its own scale.
fn io(io: &BlockLimits) -> Vec<Setting> {
    const WEIGHT: &str = "blkio_config.weight";
    const WEIGHTS: &str = "blkio_config.weight_device";
    let set =
        |attribute, file, value: String, reset| Setting::new(attribute, "io", (file, value), reset);
    let mut all = Vec::new();
    if let Some(weight) = io.weight {
        all.push(set(WEIGHT, "io.bfq.weight", weight.to_string(), "100").may());
        let cost = format!("default {}", io_weight(weight));
        all.push(set(WEIGHT, "io.weight", cost, "default 100").may());
    }
    for (device, weight) in &io.weights {
        let reset = "default";
        all.push(set(WEIGHTS, "io.bfq.weight", weight.to_string(), reset).of(device).may());
        let cost = io_weight(*weight).to_string();
        all.push(set(WEIGHTS, "io.weight", cost, reset).of(device).may());
    }
    for (attribute, rates, _, (key, reset)) in rates(io) {
        let rate = |(device, rate): (&String, &u64)| {
            set(attribute, "io.max", format!("{key}={rate}"), reset).of(device).may()
        };
        all.extend(rates.iter().map(rate));
    }
    all
}

/// 10…1000 on the scale 1…10000 of the cost model.
fn io_weight(weight: u16) -> u32 {
    1 + (u32::from(weight.clamp(10, 1000)) - 10) * 9999 / 990
}

type Rates<'a> = &'a std::collections::BTreeMap<String, u64>;

/// Attribute, devices, file of v1, key in `io.max` of v2 with what takes it back.
fn rates(
    io: &BlockLimits,
) -> [(&'static str, Rates<'_>, &'static str, (&'static str, &'static str)); 4] {
    [
        (
            "blkio_config.device_read_bps",
            &io.read_bytes,
            "blkio.throttle.read_bps_device",
            ("rbps", "rbps=max"),
        ),
        (
            "blkio_config.device_write_bps",
            &io.write_bytes,
            "blkio.throttle.write_bps_device",
            ("wbps", "wbps=max"),
        ),
        (
            "blkio_config.device_read_iops",
            &io.read_operations,
            "blkio.throttle.read_iops_device",
            ("riops", "riops=max"),
        ),
        (
            "blkio_config.device_write_iops",
            &io.write_operations,
            "blkio.throttle.write_iops_device",
            ("wiops", "wiops=max"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Cgroup {
        let device = |value| [("8:0".to_owned(), value)].into();
        Cgroup {
            memory: Some(64 << 20),
            memory_reservation: Some(32 << 20),
            swappiness: Some(10),
            oom_kill_disable: true,
            cpu_micros: Some(500_000),
            cpu_period: Some(50_000),
            cpu_rt_runtime: Some(1000),
            cpu_shares: Some(512),
            cpuset: Some("0-1".into()),
            pids: 30,
            io: BlockLimits {
                weight: Some(500),
                weights: [("8:0".to_owned(), 200)].into(),
                read_bytes: device(1 << 20),
                write_operations: device(100),
                ..BlockLimits::default()
            },
            ..Cgroup::default()
        }
    }

    fn text(version: Option<Version>) -> String {
        let line = |s: Setting| format!("{} = {}", s.file, s.line());
        let all = settings(&everything(), |_| version);
        all.into_iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn limits_in_the_words_of_v1() {
        insta::assert_snapshot!(text(Some(Version::V1)), @"
        memory.limit_in_bytes = 67108864
        memory.memsw.limit_in_bytes = 134217728
        memory.soft_limit_in_bytes = 33554432
        memory.swappiness = 10
        memory.oom_control = 1
        cpu.cfs_period_us = 50000
        cpu.cfs_quota_us = 25000
        cpu.shares = 512
        cpu.rt_period_us = 1000000
        cpu.rt_runtime_us = 1000
        cpuset.cpus = 0-1
        pids.max = 30
        blkio.weight = 500
        blkio.bfq.weight = 500
        blkio.weight_device = 8:0 200
        blkio.bfq.weight_device = 8:0 200
        blkio.throttle.read_bps_device = 8:0 1048576
        blkio.throttle.write_iops_device = 8:0 100
        ");
    }

    #[test]
    fn limits_in_the_words_of_v2() {
        insta::assert_snapshot!(text(Some(Version::V2)), @"
        memory.max = 67108864
        memory.swap.max = 67108864
        memory.low = 33554432
        cpu.max = 25000 50000
        cpu.weight = 20
        cpuset.cpus = 0-1
        pids.max = 30
        io.bfq.weight = 500
        io.weight = default 4950
        io.bfq.weight = 8:0 200
        io.weight = 8:0 1920
        io.max = 8:0 rbps=1048576
        io.max = 8:0 wiops=100
        ");
    }

    #[test]
    fn scales_are_met_at_both_ends() {
        assert_eq!([weight(2), weight(1024), weight(262_144)], [1, 39, 10_000]);
        assert_eq!([io_weight(10), io_weight(500), io_weight(1000)], [1, 4950, 10_000]);
    }

    #[test]
    fn swap_is_as_much_as_memory_unless_the_file_says_otherwise() {
        let mut limits = everything();
        assert_eq!(total(&limits), Some(128 << 20));
        limits.memory_swap = Some(-1);
        assert_eq!(total(&limits), Some(-1));
        assert_eq!(total(&Cgroup::default()), None);
    }
}
