//! What a container uses: figures of one moment, and what two of them say together.

use std::fs;

use berth_planner::desired::NetworkMode;
use berth_planner::observed::{ContainerState, ObservedContainer};

use super::Host;
use crate::container::Target;
use crate::container::cgroup::{Group, Usage};

/// Clock ticks in a second as `/proc/stat` counts (proc_stat(5)).
const TICKS: u64 = 100;

/// Figures of one moment, all of it since the container was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// Of its cgroup; nothing for one that does not run.
    usage: Option<Usage>,
    /// Bytes received and sent.
    network: (u64, u64),
    /// Nanoseconds that all CPUs of the host have spent, whatever on.
    host_nanos: u64,
    /// CPUs of the host.
    cpus: u64,
    /// Bytes of the host's memory.
    host_memory: u64,
}

/// What a container uses, as `docker stats` works it out.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    /// Hundredths of one CPU between the two moments.
    pub cpu: f64,
    /// Bytes, without file pages that can be dropped at once.
    pub memory: u64,
    /// Bytes it may have: its limit or all of the host's.
    pub memory_limit: u64,
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Bytes read from block devices.
    pub read: u64,
    /// Bytes written to block devices.
    pub written: u64,
    /// Processes and threads.
    pub pids: u64,
}

impl Host {
    /// Looks at a container. One that does not run uses nothing.
    pub fn sample(&self, container: &ObservedContainer) -> Sample {
        let ContainerState::Running { pid, .. } = container.state else {
            return Sample::default();
        };
        let record = &container.record;
        let Ok(group) = Group::find(&self.roots.cgroup_of(&record.name, &record.spec)) else {
            return Sample::default();
        };
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let shares_host = matches!(record.spec.network_mode, NetworkMode::Host);
        Sample {
            usage: Some(group.usage()),
            // The host's own traffic is not the container's.
            network: if shares_host { (0, 0) } else { traffic(pid) },
            host_nanos: host_nanos(&stat),
            cpus: cpus(&stat),
            host_memory: host_memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
        }
    }
}

impl Sample {
    /// What this sample says, with one that was taken `before`.
    pub fn since(&self, before: &Sample) -> Figures {
        let Some(usage) = self.usage else { return Figures::default() };
        let nanos = |sample: &Sample| sample.usage.and_then(|usage| usage.cpu_nanos);
        let spent =
            nanos(self).zip(nanos(before)).map_or(0, |(now, then)| now.saturating_sub(then));
        let passed = self.host_nanos.saturating_sub(before.host_nanos);
        let cpu = match passed {
            0 => 0.0,
            passed => spent as f64 / passed as f64 * self.cpus as f64 * 100.0,
        };
        let (read, written) = usage.block.unwrap_or_default();
        Figures {
            cpu,
            memory: usage.memory.unwrap_or(0),
            memory_limit: usage.memory_limit.unwrap_or(u64::MAX).min(self.host_memory),
            received: self.network.0,
            sent: self.network.1,
            read,
            written,
            pids: usage.pids.unwrap_or(0),
        }
    }
}

/// Bytes received and sent on all links of a process but its loopback.
fn traffic(pid: i32) -> (u64, u64) {
    let Some(target) = Target::of(pid) else { return (0, 0) };
    let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    // Read by number: make sure that it was still the same process then.
    if target.is_alive() { counted(&text) } else { (0, 0) }
}

/// Reads `/proc/PID/net/dev` (proc_pid_net(5)).
fn counted(text: &str) -> (u64, u64) {
    let link = |line: &str| {
        let (name, fields) = line.split_once(':')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let bytes = |index: usize| fields.get(index)?.parse::<u64>().ok();
        (name.trim() != "lo").then(|| Some((bytes(0)?, bytes(8)?)))?
    };
    text.lines().filter_map(link).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
}

/// The first seven figures: user, nice, system, idle, iowait, irq, softirq.
fn host_nanos(stat: &str) -> u64 {
    let line = stat.lines().next().unwrap_or_default();
    let ticks = line.split_whitespace().skip(1).take(7).filter_map(|n| n.parse::<u64>().ok());
    ticks.fold(0, u64::saturating_add).saturating_mul(1_000_000_000 / TICKS)
}

fn cpus(stat: &str) -> u64 {
    let is_cpu = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    stat.lines().filter(is_cpu).count() as u64
}

fn host_memory(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(cpu: u64, host: u64) -> Sample {
        let usage = Usage { cpu_nanos: Some(cpu), memory: Some(5), ..Usage::default() };
        Sample {
            usage: Some(usage),
            host_nanos: host,
            cpus: 2,
            host_memory: 100,
            ..Sample::default()
        }
    }

    #[test]
    fn one_busy_cpu_of_two_is_a_hundred_percent() {
        let figures = sample(1_500, 4_000).since(&sample(500, 2_000));
        assert_eq!(figures.cpu, 100.0);
        assert_eq!((figures.memory, figures.memory_limit), (5, 100));
    }

    #[test]
    fn what_began_anew_between_the_moments_has_used_nothing_yet() {
        assert_eq!(sample(1, 4_000).since(&sample(500, 2_000)).cpu, 0.0);
        assert_eq!(sample(1, 2_000).since(&sample(500, 2_000)).cpu, 0.0);
        assert_eq!(Sample::default().since(&sample(1, 1)), Figures::default());
    }

    #[test]
    fn the_files_of_the_kernel_are_read() {
        let stat = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 1\ncpu1 1 1\nctxt 5\n";
        assert_eq!((host_nanos(stat), cpus(stat)), (28 * 10_000_000, 2));
        assert_eq!(host_memory("MemFree: 1 kB\nMemTotal:       2048 kB\n"), 2 << 20);
        let dev = "Inter-| Receive\n face |bytes\n    lo: 9 0 0 0 0 0 0 0 9 0\n  eth0: 736 1 0 0 0 0 0 0 126 2\n";
        assert_eq!(counted(dev), (736, 126));
    }
}
