//! The cgroup of a container: where it is, and its limits with devices by their numbers.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use berth_planner::observed::ContainerRecord;
use berth_schema::stack::{BlockIo, DeviceRate};

use crate::bundle::{BlockLimits, Cgroup};
use crate::host::StepError;
use crate::paths::Roots;

/// Processes a container may have when the file gives no limit.
const PIDS: i64 = 2048;

/// The cgroup of a container.
///
/// # Errors
/// A block device of the description is not there.
pub(in crate::host) fn cgroup(
    roots: &Roots,
    record: &ContainerRecord,
) -> Result<Cgroup, StepError> {
    let io = record.spec.blkio_config.as_ref();
    let io = io.map(|io| block_limits(&record.name, io)).transpose()?;
    Ok(Cgroup { io: io.unwrap_or_default(), ..without_devices(roots, record) })
}

/// The same without the limits of block devices, for which the host has to be asked.
pub(in crate::host) fn without_devices(roots: &Roots, record: &ContainerRecord) -> Cgroup {
    let spec = &record.spec;
    let limits = &spec.limits;
    Cgroup {
        path: roots.cgroup_of(&record.name, spec),
        host_view: spec.cgroup_host,
        memory: limits.memory,
        memory_swap: limits.memory_swap,
        memory_reservation: limits.memory_reservation,
        swappiness: spec.mem_swappiness,
        oom_kill_disable: spec.oom_kill_disable,
        cpu_micros: limits.cpu_micros,
        cpu_period: limits.cpu_period,
        cpu_rt_period: spec.cpu_rt_period,
        cpu_rt_runtime: spec.cpu_rt_runtime,
        cpu_shares: limits.cpu_shares,
        cpuset: limits.cpuset.clone(),
        pids: limits.pids.unwrap_or(PIDS),
        io: BlockLimits::default(),
        devices: Vec::new(),
    }
}

fn block_limits(container: &str, io: &BlockIo) -> Result<BlockLimits, StepError> {
    let rates = |rates: &[DeviceRate]| -> Result<BTreeMap<String, u64>, StepError> {
        rates.iter().map(|one| Ok((numbers(container, &one.path)?, one.rate))).collect()
    };
    let weights = io.weights.iter();
    let weights = weights.map(|one| Ok((numbers(container, &one.path)?, one.weight)));
    Ok(BlockLimits {
        weight: io.weight,
        weights: weights.collect::<Result<_, StepError>>()?,
        read_bytes: rates(&io.read_bytes)?,
        write_bytes: rates(&io.write_bytes)?,
        read_operations: rates(&io.read_operations)?,
        write_operations: rates(&io.write_operations)?,
    })
}

/// `8:0` for `/dev/sda`, or for a link to it.
fn numbers(container: &str, path: &Path) -> Result<String, StepError> {
    let refuse = |why: String| {
        let step = format!("limit the device `{}` for", path.display());
        StepError::failed(&step, container, why)
    };
    let device = fs::metadata(path).map_err(|error| refuse(error.to_string()))?;
    if !device.file_type().is_block_device() {
        return Err(refuse("it is no block device".to_owned()));
    }
    let number = device.rdev();
    Ok(format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number)))
}
