//! Attributes without a row of their own, and why.

const V1: &str = "not every kernel has this file of cgroup v1: rows_changes/limits.rs";
const GPU: &str = "devices by what they can do need a description of the host: rows_devices.rs";

/// By the path in `schema/ATTRIBUTES.md` below a service.
pub const ELSEWHERE: &[(&str, &str)] = &[
    ("blkio_config.device_read_bps[].path", BLOCK),
    ("blkio_config.device_read_bps[].rate", BLOCK),
    ("blkio_config.device_read_iops[].path", BLOCK),
    ("blkio_config.device_read_iops[].rate", BLOCK),
    ("blkio_config.device_write_bps[].path", BLOCK),
    ("blkio_config.device_write_bps[].rate", BLOCK),
    ("blkio_config.device_write_iops[].path", BLOCK),
    ("blkio_config.device_write_iops[].rate", BLOCK),
    ("blkio_config.weight", BLOCK),
    ("blkio_config.weight_device[].path", BLOCK),
    ("blkio_config.weight_device[].weight", BLOCK),
    ("container_name", "the container has another name, so no process is the same: rows_names.rs"),
    ("cpu_rt_period", V1),
    ("cpu_rt_runtime", V1),
    ("deploy.resources.reservations.devices[].capabilities", GPU),
    ("deploy.resources.reservations.devices[].count", GPU),
    ("deploy.resources.reservations.devices[].device_ids", GPU),
    ("deploy.resources.reservations.devices[].driver", GPU),
    ("deploy.resources.reservations.devices[].options", GPU),
    ("gpus[].capabilities", GPU),
    ("gpus[].count", GPU),
    ("gpus[].device_ids", GPU),
    ("gpus[].driver", GPU),
    ("gpus[].options", GPU),
    ("mem_swappiness", V1),
    ("networks.*.driver_opts", "settings of a link are those of a new one: rows_links.rs"),
    (
        "networks.*.ipv6_address",
        "as ipv4_address; the machine's networks have no IPv6 unless asked",
    ),
    ("oom_kill_disable", V1),
    ("pull_refresh_after", "it says when an image is fetched, and the machine has no registry"),
    ("runtime", "an OCI runtime need not be on the host: rows_runtime.rs"),
    ("storage_opt", "it needs a file system that counts projects: rows_limits.rs"),
    ("volumes[].bind.selinux", "the host has no SELinux, and without it nothing differs"),
    ("x-berth.owner", "it needs a user namespace and a user of the host: rows_mounts.rs"),
];

const BLOCK: &str = "limits of block devices need a disk: rows_changes/limits.rs";

/// Attributes whose rows show a value that takes another way than usual.
pub const EXCEPTIONS: &[&str] = &["logging.driver", "sysctls", "depends_on"];
