//! The one table of everything the Compose Specification knows.
//!
//! Each row says what a value may be and in which class it is: done, refused for now, or inert
//! on one Linux host. Checking, expanding, merging and reporting all read this table.

use crate::amounts::{
    cpu_time, cpus, device_count, duration, expose, file_mode, host_ip, memory,
    memory_or_unlimited, mount_mode, port_target, published, rate, tmpfs_size,
};
use crate::shape::Bare::{Empty, Null};
use crate::shape::Shape::{
    Amount, Any, Bool, Command, Dict, Float, HostPath, Int, IntOr, Keyed, List, Loose, Map, Names,
    Nullable, OneOrList, OneOrSet, Record as Rec, Set, Short, Text, Whole, Word,
};
use crate::shape::{Attribute, Keyed as KeyedShape, Record, done, inert, later, record, requiring};
use crate::short;
use crate::tree::Node;

const ANY_INT: crate::shape::Shape = Int(i64::MIN, i64::MAX);
const NOT_NEGATIVE: crate::shape::Shape = Int(0, i64::MAX);
const SWARM: &str = "it steers a cluster, and berth runs on one host";
const WINDOWS: &str = "it is for Windows containers";

/// The whole file.
pub static FILE: Record = record(
    "a Compose file",
    &[
        done("configs", Map(&Nullable(&Rec(&CONFIG)))),
        done("include", List(&Short(short::include, &Rec(&INCLUDE)))),
        done("models", Map(&Rec(&MODEL))),
        done("name", Text),
        done("networks", Map(&Nullable(&Rec(&NETWORK)))),
        done("secrets", Map(&Nullable(&Rec(&SECRET)))),
        done("services", Map(&Nullable(&Rec(&SERVICE)))),
        inert("version", Text, "the newest specification always counts"),
        done("volumes", Map(&Nullable(&Rec(&VOLUME)))),
    ],
);

static INCLUDE: Record = requiring(
    "an included part",
    &["path"],
    &[
        done("env_file", OneOrList(&Text)),
        done("path", OneOrList(&Text)),
        done("project_directory", Text),
    ],
);

/// One service.
pub static SERVICE: Record = record(
    "a service",
    &[
        inert("annotations", Dict(Empty), "no runtime outside berth reads them"),
        done("attach", Bool),
        later("blkio_config", Rec(&BLKIO)),
        later("build", Short(short::build, &Rec(&BUILD))),
        done("cap_add", Set(&Text)),
        done("cap_drop", Set(&Text)),
        later("cgroup", Word(&["host", "private"])),
        later("cgroup_parent", Text),
        done("command", Nullable(&Command)),
        done("configs", Keyed(&CONFIG_MOUNTS)),
        done("container_name", Text),
        inert("cpu_count", Int(0, i64::MAX), WINDOWS),
        inert("cpu_percent", Float, WINDOWS),
        done("cpu_period", Amount(cpu_time)),
        done("cpu_quota", Amount(cpu_time)),
        later("cpu_rt_period", Amount(cpu_time)),
        later("cpu_rt_runtime", Amount(cpu_time)),
        done("cpu_shares", NOT_NEGATIVE),
        done("cpus", Amount(cpus)),
        done("cpuset", Text),
        inert("credential_spec", Rec(&CREDENTIAL_SPEC), WINDOWS),
        done("depends_on", Names(&Rec(&DEPENDENCY))),
        done("deploy", Nullable(&Rec(&DEPLOY))),
        inert(
            "develop",
            Nullable(&Rec(&DEVELOP)),
            "it is for watching, and `up` does not watch yet",
        ),
        later("device_cgroup_rules", List(&Text)),
        later("devices", Keyed(&DEVICES)),
        done("dns", OneOrSet(&Text)),
        done("dns_opt", Set(&Text)),
        done("dns_search", OneOrSet(&Text)),
        later("domainname", Text),
        done("entrypoint", Nullable(&Command)),
        done("env_file", Keyed(&ENV_FILES)),
        done("environment", Dict(Null)),
        done("expose", Set(&Amount(expose))),
        done("extends", Short(short::extends, &Rec(&EXTENDS))),
        later("external_links", Set(&Text)),
        done("extra_hosts", Short(short::extra_hosts, &Set(&Text))),
        later(
            "gpus",
            Short(short::gpus, &List(&Short(short::device_request, &Rec(&DEVICE_REQUEST)))),
        ),
        done("group_add", List(&Loose)),
        done("healthcheck", Rec(&HEALTHCHECK)),
        done("hostname", Text),
        done("image", Text),
        done("init", Bool),
        later("ipc", Text),
        inert("isolation", Text, WINDOWS),
        done("label_file", OneOrSet(&HostPath)),
        done("labels", Dict(Empty)),
        later("links", Set(&Text)),
        done("logging", Rec(&LOGGING)),
        later("mac_address", Text),
        done("mem_limit", Amount(memory)),
        done("mem_reservation", Amount(memory)),
        later("mem_swappiness", Amount(memory_or_unlimited)),
        done("memswap_limit", Amount(memory_or_unlimited)),
        later("models", Names(&Nullable(&Rec(&SERVICE_MODEL)))),
        done("network_mode", Text),
        done("networks", Names(&Nullable(&Rec(&SERVICE_NETWORK)))),
        later("oom_kill_disable", Bool),
        done("oom_score_adj", Int(-1000, 1000)),
        later("pid", Nullable(&Text)),
        done("pids_limit", Int(-1, i64::MAX)),
        later("platform", Text),
        done("ports", Keyed(&PORTS)),
        later("post_start", List(&Rec(&HOOK))),
        later("pre_start", List(&Rec(&PRE_START))),
        later("pre_stop", List(&Rec(&HOOK))),
        done("privileged", Bool),
        done("profiles", Set(&Text)),
        later("provider", Rec(&PROVIDER)),
        done("pull_policy", Text),
        later("pull_refresh_after", Text),
        done("read_only", Bool),
        done("restart", Text),
        later("runtime", Text),
        done("scale", NOT_NEGATIVE),
        done("secrets", Keyed(&SECRET_MOUNTS)),
        later("security_opt", Set(&Text)),
        done("shm_size", Amount(memory)),
        done("stdin_open", Bool),
        done("stop_grace_period", Amount(duration)),
        done("stop_signal", Text),
        later("storage_opt", Map(&Loose)),
        done("sysctls", Dict(Empty)),
        done("tmpfs", OneOrSet(&Text)),
        done("tty", Bool),
        done("ulimits", Map(&Whole(&IntOr(&Rec(&ULIMIT))))),
        later("use_api_socket", Bool),
        done("user", Text),
        done("userns_mode", Text),
        later("uts", Text),
        done("volumes", Keyed(&MOUNTS)),
        later("volumes_from", List(&Text)),
        done("working_dir", Text),
    ],
);

static BLKIO: Record = record(
    "block device limits",
    &[
        later("device_read_bps", List(&Rec(&BLKIO_RATE))),
        later("device_read_iops", List(&Rec(&BLKIO_RATE))),
        later("device_write_bps", List(&Rec(&BLKIO_RATE))),
        later("device_write_iops", List(&Rec(&BLKIO_RATE))),
        later("weight", Int(0, 1000)),
        later("weight_device", List(&Rec(&BLKIO_WEIGHT))),
    ],
);
static BLKIO_WEIGHT: Record =
    record("a device weight", &[later("path", Text), later("weight", Int(0, 1000))]);
static BLKIO_RATE: Record =
    record("a device rate", &[later("path", Text), later("rate", Amount(rate))]);

static BUILD: Record = record(
    "a build",
    &[
        done("additional_contexts", Short(short::contexts, &Dict(Empty))),
        done("args", Dict(Null)),
        done("cache_from", List(&Text)),
        done("cache_to", List(&Text)),
        done("context", Text),
        done("dockerfile", Text),
        done("dockerfile_inline", Text),
        done("entitlements", Set(&Text)),
        done("extra_hosts", Short(short::extra_hosts, &Set(&Text))),
        done("isolation", Text),
        done("labels", Dict(Empty)),
        done("network", Text),
        done("no_cache", Bool),
        done("no_cache_filter", OneOrList(&Text)),
        done("platforms", List(&Text)),
        done("privileged", Bool),
        done("provenance", Loose),
        done("pull", Bool),
        done("sbom", Loose),
        done("secrets", Keyed(&SECRET_MOUNTS)),
        done("shm_size", Amount(memory)),
        done("ssh", Short(short::ssh, &List(&Text))),
        done("tags", Set(&Text)),
        done("target", Text),
        done("ulimits", Map(&Whole(&IntOr(&Rec(&ULIMIT))))),
    ],
);

static CREDENTIAL_SPEC: Record = record(
    "a credential specification",
    &[done("config", Text), done("file", Text), done("registry", Text)],
);

static DEPENDENCY: Record = requiring(
    "a dependency",
    &["condition"],
    &[
        done(
            "condition",
            Word(&["service_started", "service_healthy", "service_completed_successfully"]),
        ),
        done("required", Bool),
        done("restart", Bool),
    ],
);

static DEPLOY: Record = record(
    "a deployment",
    &[
        inert("endpoint_mode", Text, SWARM),
        inert("labels", Dict(Empty), "they label a service of a cluster, not its containers"),
        done("mode", Text),
        inert("placement", Rec(&PLACEMENT), SWARM),
        done("replicas", NOT_NEGATIVE),
        done("resources", Nullable(&Rec(&RESOURCES))),
        done("restart_policy", Rec(&DEPLOY_RESTART)),
        inert("rollback_config", Rec(&UPDATE_CONFIG), SWARM),
        inert("update_config", Rec(&UPDATE_CONFIG), SWARM),
    ],
);
static PLACEMENT: Record = record(
    "a placement",
    &[
        done("constraints", List(&Text)),
        done("max_replicas_per_node", ANY_INT),
        done("preferences", List(&Rec(&PREFERENCE))),
    ],
);
static PREFERENCE: Record = record("a preference", &[done("spread", Text)]);
static DEPLOY_RESTART: Record = record(
    "a restart policy",
    &[
        done("condition", Word(&["none", "on-failure", "any", "unless-stopped"])),
        inert("delay", Amount(duration), "berth waits as its own back-off says"),
        done("max_attempts", NOT_NEGATIVE),
        inert("window", Amount(duration), "berth forgets failures after ten seconds of running"),
    ],
);
static UPDATE_CONFIG: Record = record(
    "an update",
    &[
        done("delay", Amount(duration)),
        done("failure_action", Text),
        done("max_failure_ratio", Float),
        done("monitor", Amount(duration)),
        done("order", Word(&["start-first", "stop-first"])),
        done("parallelism", ANY_INT),
    ],
);
static RESOURCES: Record = record(
    "resources",
    &[done("limits", Rec(&RESOURCE_LIMITS)), done("reservations", Rec(&RESERVATIONS))],
);
static RESOURCE_LIMITS: Record = record(
    "limits",
    &[done("cpus", Amount(cpus)), done("memory", Amount(memory)), done("pids", Int(-1, i64::MAX))],
);
static RESERVATIONS: Record = record(
    "reservations",
    &[
        inert("cpus", Amount(cpus), "nothing reserves processor time on one host"),
        later("devices", List(&Short(short::device_request, &Rec(&DEVICE_REQUEST_STRICT)))),
        inert("generic_resources", List(&Rec(&GENERIC_RESOURCE)), SWARM),
        done("memory", Amount(memory)),
    ],
);
static GENERIC_RESOURCE: Record =
    record("a generic resource", &[done("discrete_resource_spec", Rec(&DISCRETE_RESOURCE))]);
static DISCRETE_RESOURCE: Record =
    record("a discrete resource", &[done("kind", Text), done("value", Float)]);
const DEVICE_REQUEST_ATTRIBUTES: &[Attribute] = &[
    done("capabilities", Set(&Text)),
    done("count", Amount(device_count)),
    done("device_ids", List(&Text)),
    done("driver", Text),
    done("options", Dict(Null)),
];
static DEVICE_REQUEST: Record = record("a device request", DEVICE_REQUEST_ATTRIBUTES);
static DEVICE_REQUEST_STRICT: Record =
    requiring("a device request", &["capabilities"], DEVICE_REQUEST_ATTRIBUTES);

static DEVELOP: Record =
    record("a development section", &[done("watch", List(&Short(short::watch, &Rec(&WATCH))))]);
static WATCH: Record = requiring(
    "a watch",
    &["action", "path"],
    &[
        done("action", Word(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"])),
        done("exec", Rec(&WATCH_HOOK)),
        done("ignore", OneOrList(&Text)),
        done("include", OneOrList(&Text)),
        done("initial_sync", Bool),
        done("path", HostPath),
        done("target", Text),
    ],
);

static DEVICES: KeyedShape = KeyedShape {
    expand: short::device,
    item: &Rec(&DEVICE),
    finish: nothing,
    key: short::by_target,
    single: false,
};
static DEVICE: Record = requiring(
    "a device",
    &["source", "target"],
    &[done("permissions", Text), done("source", Text), done("target", Text)],
);

static ENV_FILES: KeyedShape = KeyedShape {
    expand: short::env_file,
    item: &Rec(&ENV_FILE),
    finish: nothing,
    key: |node| node.get_text("path").map(str::to_owned),
    single: true,
};
static ENV_FILE: Record = requiring(
    "an environment file",
    &["path"],
    &[done("format", Text), done("path", HostPath), done("required", Bool)],
);

static EXTENDS: Record =
    requiring("an extension", &["service"], &[done("file", Text), done("service", Text)]);

static HEALTHCHECK: Record = record(
    "a health check",
    &[
        done("disable", Bool),
        done("interval", Amount(duration)),
        done("retries", NOT_NEGATIVE),
        done("start_interval", Amount(duration)),
        done("start_period", Amount(duration)),
        done("test", Short(short::health_test, &Whole(&List(&Text)))),
        done("timeout", Amount(duration)),
    ],
);

static LOGGING: Record = Record {
    name: "logging",
    attributes: &[done("driver", Text), done("options", Map(&Nullable(&Loose)))],
    required: &[],
    replaces: Some(short::other_driver),
};

static SERVICE_MODEL: Record =
    record("a model of a service", &[done("endpoint_var", Text), done("model_var", Text)]);

static SERVICE_NETWORK: Record = record(
    "a network of a service",
    &[
        done("aliases", Set(&Text)),
        later("driver_opts", Map(&Loose)),
        done("gw_priority", ANY_INT),
        later("interface_name", Text),
        done("ipv4_address", Text),
        done("ipv6_address", Text),
        later("link_local_ips", Set(&Text)),
        done("mac_address", Text),
        done("priority", ANY_INT),
    ],
);

static PORTS: KeyedShape = KeyedShape {
    expand: short::port,
    item: &Rec(&PORT),
    finish: nothing,
    key: short::port_key,
    single: false,
};
static PORT: Record = requiring(
    "a port",
    &["target"],
    &[
        done("app_protocol", Text),
        done("host_ip", Amount(host_ip)),
        done("mode", Text),
        done("name", Text),
        done("protocol", Text),
        done("published", Amount(published)),
        done("target", Amount(port_target)),
    ],
);

const HOOK_ATTRIBUTES: &[Attribute] = &[
    done("command", Command),
    done("environment", Dict(Null)),
    done("privileged", Bool),
    done("user", Text),
    done("working_dir", Text),
];
static HOOK: Record = requiring("a hook", &["command"], HOOK_ATTRIBUTES);
static WATCH_HOOK: Record = record("a hook", HOOK_ATTRIBUTES);
static PRE_START: Record = record(
    "a hook",
    &[
        done("command", Command),
        done("environment", Dict(Null)),
        done("image", Text),
        done("per_replica", Bool),
        done("privileged", Bool),
        done("user", Text),
        done("working_dir", Text),
    ],
);

static PROVIDER: Record = requiring(
    "a provider",
    &["type"],
    &[done("options", Map(&OneOrList(&Loose))), done("type", Text)],
);

static ULIMIT: Record =
    requiring("a limit", &["soft", "hard"], &[done("hard", ANY_INT), done("soft", ANY_INT)]);

static MOUNTS: KeyedShape = KeyedShape {
    expand: short::mount,
    item: &Rec(&MOUNT),
    finish: short::finish_mount,
    key: short::by_target,
    single: false,
};
static MOUNT: Record = requiring(
    "a mount",
    &["type"],
    &[
        done("bind", Nullable(&Rec(&MOUNT_BIND))),
        inert("consistency", Text, "a Linux host has one file system"),
        later("image", Rec(&MOUNT_IMAGE)),
        done("read_only", Bool),
        done("source", Text),
        done("target", Text),
        done("tmpfs", Nullable(&Rec(&MOUNT_TMPFS))),
        done("type", Word(&["bind", "volume", "tmpfs", "image", "cluster", "npipe"])),
        done("volume", Nullable(&Rec(&MOUNT_VOLUME))),
    ],
);
static MOUNT_BIND: Record = record(
    "a bind mount",
    &[
        done("create_host_path", Bool),
        done("propagation", Text),
        later("recursive", Word(&["enabled", "disabled", "writable", "readonly"])),
        inert("selinux", Word(&["z", "Z"]), "berth does not label files for SELinux"),
    ],
);
static MOUNT_IMAGE: Record = record("an image mount", &[done("subpath", Text)]);
static MOUNT_TMPFS: Record =
    record("a tmpfs mount", &[done("mode", Amount(mount_mode)), done("size", Amount(tmpfs_size))]);
static MOUNT_VOLUME: Record = record(
    "a volume mount",
    &[later("labels", Dict(Empty)), done("nocopy", Bool), done("subpath", Text)],
);

static CONFIG_MOUNTS: KeyedShape = KeyedShape {
    expand: short::file_mount,
    item: &Rec(&FILE_MOUNT),
    finish: nothing,
    key: |node| short::file_target(node, ""),
    single: false,
};
static SECRET_MOUNTS: KeyedShape = KeyedShape {
    expand: short::file_mount,
    item: &Rec(&FILE_MOUNT),
    finish: nothing,
    key: |node| short::file_target(node, "/run/secrets"),
    single: false,
};
static FILE_MOUNT: Record = record(
    "a mounted file",
    &[
        done("gid", Text),
        done("mode", Amount(file_mode)),
        done("source", Text),
        done("target", Text),
        done("uid", Text),
    ],
);

static NETWORK: Record = record(
    "a network",
    &[
        inert("attachable", Bool, SWARM),
        done("driver", Text),
        done("driver_opts", Map(&Loose)),
        later("enable_ipv4", Bool),
        done("enable_ipv6", Bool),
        done("external", Short(short::external, &Any)),
        done("internal", Bool),
        done("ipam", Rec(&IPAM)),
        done("labels", Dict(Empty)),
        done("name", Text),
    ],
);
static IPAM: Record = record(
    "address management",
    &[done("config", Keyed(&IPAM_POOLS)), later("driver", Text), later("options", Map(&Loose))],
);
static IPAM_POOLS: KeyedShape = KeyedShape {
    expand: |_, node| vec![node],
    item: &Rec(&IPAM_POOL),
    finish: nothing,
    key: |node| node.get_text("subnet").map(str::to_owned),
    single: false,
};
static IPAM_POOL: Record = record(
    "an address pool",
    &[
        done("aux_addresses", Map(&Text)),
        done("gateway", Text),
        done("ip_range", Text),
        done("subnet", Text),
    ],
);

static VOLUME: Record = record(
    "a volume",
    &[
        done("driver", Text),
        done("driver_opts", Map(&Loose)),
        done("external", Short(short::external, &Any)),
        done("labels", Dict(Empty)),
        done("name", Text),
    ],
);

static CONFIG: Record = record(
    "a config",
    &[
        done("content", Text),
        done("environment", Text),
        later("external", Short(short::external, &Any)),
        done("file", HostPath),
        inert("labels", Dict(Empty), "nothing reads them"),
        done("name", Text),
        later("template_driver", Text),
    ],
);
static SECRET: Record = record(
    "a secret",
    &[
        later("driver", Text),
        later("driver_opts", Map(&Loose)),
        done("environment", Text),
        later("external", Short(short::external, &Any)),
        done("file", HostPath),
        inert("labels", Dict(Empty), "nothing reads them"),
        done("name", Text),
        later("template_driver", Text),
    ],
);
static MODEL: Record = requiring(
    "a model",
    &["model"],
    &[
        later("context_size", NOT_NEGATIVE),
        later("model", Text),
        later("name", Text),
        later("runtime_flags", List(&Text)),
    ],
);

fn nothing(_: &mut crate::walk::Walk<'_>, _: &mut Node) {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Shape;

    fn look(record: &Record, seen: &mut Vec<String>) {
        let names: Vec<&str> = record.attributes.iter().map(|attribute| attribute.name).collect();
        assert!(names.is_sorted(), "{}: {names:?}", record.name);
        for attribute in record.attributes {
            below(&attribute.shape, seen);
        }
        seen.push(record.name.to_owned());
    }

    fn below(shape: &Shape, seen: &mut Vec<String>) {
        match shape {
            Rec(record) => look(record, seen),
            Keyed(keyed) => below(keyed.item, seen),
            List(inner)
            | Set(inner)
            | OneOrSet(inner)
            | OneOrList(inner)
            | Map(inner)
            | Names(inner)
            | Short(_, inner)
            | IntOr(inner)
            | Nullable(inner)
            | Whole(inner) => below(inner, seen),
            _ => {}
        }
    }

    #[test]
    fn every_table_is_in_order_so_that_names_are_found() {
        let mut seen = Vec::new();
        look(&FILE, &mut seen);
        assert!(seen.len() > 40, "{seen:?}");
    }
}
