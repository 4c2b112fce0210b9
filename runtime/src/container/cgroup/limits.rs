//! Limits, in the words of both interfaces.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use super::{Group, Version, device, put};
use crate::bundle::Cgroup;
use crate::container::error::{Context, SetupError};

/// The period that CPU quotas are counted in, in microseconds.
const PERIOD: u64 = 100_000;

/// Which device nodes work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Devices {
    /// The default ones and those of the description.
    Listed,
    /// The same where the host can keep to it. For a user namespace: it cannot make nodes, and
    /// its mounts have none but the listed ones.
    ListedIfPossible,
    /// As on the host.
    All,
}

impl Group {
    /// Writes the limits. A limit that was asked for and cannot be kept is an error; what only
    /// shares or protects is left out with a warning.
    pub(crate) fn set_limits(
        &self,
        limits: &Cgroup,
        devices: Devices,
    ) -> Result<Vec<String>, SetupError> {
        let mut warnings = Vec::new();
        self.limit_memory(limits, &mut warnings)?;
        self.limit_cpu(limits, &mut warnings)?;
        if let Some(cpus) = &limits.cpuset {
            let (folder, _) = self.needed("cpuset", "cpuset")?;
            write(folder, "cpuset.cpus", cpus)?;
        }
        match self.controller("pids") {
            Some((folder, _)) if limits.pids > 0 => {
                write(folder, "pids.max", &limits.pids.to_string())?;
            }
            Some((folder, _)) => write(folder, "pids.max", "max")?,
            None if limits.pids > 0 => warnings.push(unavailable("pids_limit", "pids")),
            None => {}
        }
        match (devices, self.limit_devices(devices, &limits.devices)) {
            (Devices::All | Devices::ListedIfPossible, _) => {}
            (Devices::Listed, limited) => limited?,
        }
        Ok(warnings)
    }

    fn limit_memory(&self, limits: &Cgroup, warnings: &mut Vec<String>) -> Result<(), SetupError> {
        if let Some(bytes) = limits.memory {
            let (folder, version) = self.needed("memory", "mem_limit")?;
            let file = match version {
                Version::V1 => "memory.limit_in_bytes",
                Version::V2 => "memory.max",
            };
            write(folder, file, &bytes.to_string())?;
        }
        if let Some(total) = limits.memory_swap {
            let (folder, version) = self.needed("memory", "memswap_limit")?;
            let memory = i64::try_from(limits.memory.unwrap_or(0)).unwrap_or(i64::MAX);
            let (file, value) = match (version, total) {
                (Version::V1, total) => ("memory.memsw.limit_in_bytes", total.to_string()),
                (Version::V2, -1) => ("memory.swap.max", "max".into()),
                (Version::V2, total) => ("memory.swap.max", (total - memory).max(0).to_string()),
            };
            // Kernels without swap accounting lack the file.
            match fs::exists(folder.join(file)).step("look for", file)? {
                true => write(folder, file, &value)?,
                false => warnings.push(unavailable("memswap_limit", "swap accounting")),
            }
        }
        if let Some(bytes) = limits.memory_reservation {
            match self.controller("memory") {
                Some((folder, Version::V1)) => {
                    write(folder, "memory.soft_limit_in_bytes", &bytes.to_string())?;
                }
                Some((folder, Version::V2)) => write(folder, "memory.low", &bytes.to_string())?,
                None => warnings.push(unavailable("mem_reservation", "memory")),
            }
        }
        Ok(())
    }

    fn limit_cpu(&self, limits: &Cgroup, warnings: &mut Vec<String>) -> Result<(), SetupError> {
        if let Some(micros) = limits.cpu_micros {
            // Less than a millisecond of quota is refused by the kernel.
            let quota = (micros.saturating_mul(PERIOD) / 1_000_000).max(1000);
            match self.needed("cpu", "cpus")? {
                (folder, Version::V1) => {
                    write(folder, "cpu.cfs_period_us", &PERIOD.to_string())?;
                    write(folder, "cpu.cfs_quota_us", &quota.to_string())?;
                }
                (folder, Version::V2) => write(folder, "cpu.max", &format!("{quota} {PERIOD}"))?,
            }
        }
        if let Some(shares) = limits.cpu_shares {
            match self.controller("cpu") {
                Some((folder, Version::V1)) => write(folder, "cpu.shares", &shares.to_string())?,
                Some((folder, Version::V2)) => {
                    write(folder, "cpu.weight", &weight(shares).to_string())?;
                }
                None => warnings.push(unavailable("cpu_shares", "cpu")),
            }
        }
        Ok(())
    }

    fn limit_devices(&self, devices: Devices, further: &[String]) -> Result<(), SetupError> {
        if devices == Devices::All {
            return Ok(());
        }
        let rules = device::rules(further);
        if let Some((folder, Version::V1)) = self.controller("devices") {
            write(folder, "devices.deny", "a")?;
            let allow = folder.join("devices.allow");
            let file = File::options().write(true).open(&allow).step("open", allow.display())?;
            return rules.iter().try_for_each(|rule| {
                (&file).write_all(rule.as_bytes()).step("allow device", rule)
            });
        }
        match &self.unified {
            Some(unified) => device::attach(unified, &rules),
            None => Err(SetupError::refused(
                "set device rules",
                &self.path,
                "this host has neither the devices controller nor cgroup v2",
            )),
        }
    }

    fn needed(&self, controller: &str, attribute: &str) -> Result<(&Path, Version), SetupError> {
        self.controller(controller).ok_or_else(|| {
            let reason = format!("this host has no `{controller}` cgroup controller");
            SetupError::refused("set limit", attribute, reason)
        })
    }
}

/// v1 shares 2…262144 on the v2 scale 1…10000.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

fn unavailable(attribute: &str, what: &str) -> String {
    format!("`{attribute}` is not in force: this host has no {what} cgroup controller")
}

fn write(folder: &Path, file: &str, value: &str) -> Result<(), SetupError> {
    let path = folder.join(file);
    match put(&path, value) {
        Err(error) if error.kind() == ErrorKind::InvalidInput => Err(SetupError::refused(
            "set limit",
            format!("{file} = {value}"),
            "the kernel refuses this value (EINVAL)",
        )),
        written => written.step("set limit", format!("{} = {value}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_at_both_ends() {
        assert_eq!([weight(2), weight(1024), weight(262_144)], [1, 39, 10_000]);
    }
}
