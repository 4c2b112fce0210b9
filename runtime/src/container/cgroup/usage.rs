//! What a group uses.

use std::fs;
use std::path::Path;

use super::{Group, Version};

/// Figures of one moment. `None` where the host does not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes, without file pages that can be dropped at once.
    pub memory: Option<u64>,
    /// Bytes it may use, when limited.
    pub memory_limit: Option<u64>,
    /// Nanoseconds of CPU since the group was made.
    pub cpu_nanos: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Bytes read from and written to block devices since the group was made.
    pub block: Option<(u64, u64)>,
}

impl Group {
    /// What the group uses now.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        match self.controller("memory") {
            Some((folder, Version::V1)) => {
                let inactive = keyed(&folder.join("memory.stat"), "total_inactive_file");
                usage.memory = less(number(&folder.join("memory.usage_in_bytes")), inactive);
                // Without a limit v1 shows the largest page-aligned number.
                usage.memory_limit =
                    number(&folder.join("memory.limit_in_bytes")).filter(|n| *n < 1 << 62);
            }
            Some((folder, Version::V2)) => {
                let inactive = keyed(&folder.join("memory.stat"), "inactive_file");
                usage.memory = less(number(&folder.join("memory.current")), inactive);
                usage.memory_limit = number(&folder.join("memory.max"));
            }
            None => {}
        }
        usage.cpu_nanos = match (self.controller("cpuacct"), self.unified()) {
            (Some((folder, _)), _) => number(&folder.join("cpuacct.usage")),
            (None, Some(folder)) => {
                keyed(&folder.join("cpu.stat"), "usage_usec").map(|micros| micros * 1000)
            }
            (None, None) => None,
        };
        usage.pids =
            self.controller("pids").and_then(|(folder, _)| number(&folder.join("pids.current")));
        usage.block = self.block();
        usage
    }

    /// Bytes that count against the limit of v2 and that a lower one does not get back: all but file
    /// pages that are on the disk as they are.
    pub(super) fn memory_held(&self) -> Option<u64> {
        let (folder, _) = self.controller("memory")?;
        let stat = |key| keyed(&folder.join("memory.stat"), key).unwrap_or(0);
        let unwritten = stat("file_dirty") + stat("file_writeback");
        let clean = (stat("active_file") + stat("inactive_file")).saturating_sub(unwritten);
        less(number(&folder.join("memory.current")), Some(clean))
    }

    /// cgroup-v1/blkio-controller.rst and cgroup-v2.rst (`io.stat`). The scheduler of a device
    /// counts for it where it is one that counts.
    fn block(&self) -> Option<(u64, u64)> {
        if let Some((folder, Version::V2)) = self.controller("io") {
            let text = fs::read_to_string(folder.join("io.stat")).ok()?;
            return Some((tagged(&text, "rbytes="), tagged(&text, "wbytes=")));
        }
        let (folder, _) = self.controller("blkio")?;
        let files =
            ["blkio.bfq.io_service_bytes_recursive", "blkio.throttle.io_service_bytes_recursive"];
        let read = |file| fs::read_to_string(folder.join(file)).ok();
        let sums = files
            .into_iter()
            .filter_map(read)
            .map(|text| (lined(&text, "Read"), lined(&text, "Write")));
        sums.max_by_key(|(read, written)| read + written)
    }

    /// How many of its processes the kernel has killed for memory.
    pub fn oom_kills(&self) -> u64 {
        let file = match self.controller("memory") {
            Some((folder, Version::V1)) => folder.join("memory.oom_control"),
            Some((folder, Version::V2)) => folder.join("memory.events"),
            None => return 0,
        };
        keyed(&file, "oom_kill").unwrap_or(0)
    }
}

fn less(value: Option<u64>, part: Option<u64>) -> Option<u64> {
    Some(value?.saturating_sub(part.unwrap_or(0)))
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The sum of all `KEY=NUMBER` words.
fn tagged(text: &str, key: &str) -> u64 {
    let words =
        text.split_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok());
    words.fold(0, u64::saturating_add)
}

/// The sum of all `DEVICE KEY NUMBER` lines.
fn lined(text: &str, key: &str) -> u64 {
    let of = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        (words.next()? == key).then(|| words.next()?.parse::<u64>().ok())?
    };
    text.lines().filter_map(of).fold(0, u64::saturating_add)
}

/// The number behind `key` in a file of `key number` lines.
fn keyed(file: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_all_devices_are_added() {
        let legacy = "8:0 Read 4096\n8:0 Write 512\n8:0 Total 4608\n8:16 Read 1\nTotal 4609\n";
        assert_eq!((lined(legacy, "Read"), lined(legacy, "Write")), (4097, 512));
        let unified = "8:0 rbytes=4096 wbytes=512 rios=1\n8:16 rbytes=1 wbytes=0\n";
        assert_eq!((tagged(unified, "rbytes="), tagged(unified, "wbytes=")), (4097, 512));
    }
}
