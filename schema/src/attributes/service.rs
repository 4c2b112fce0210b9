//! One service: what is written below `services.NAME`.

use super::build::BUILD;
use super::deploy::{DEPLOY, DEVICE_REQUEST};
use super::grammars::{
    CPU_PERIOD, CPU_QUOTA, CPU_TIME, CPUS, DURATION, EXPOSED, MEMORY, MEMORY_OR_NONE, OOM_SCORE,
    PERCENT, PIDS, SWAP_SHARE,
};
use super::life::{
    DEPENDENCY, DEVELOP, ENV_FILES, EXTENDS, HEALTHCHECK, HOOK, LOGGING, PRE_START, PROVIDER,
    SERVICE_MODEL,
};
use super::limits::{BLKIO, CREDENTIAL_SPEC, DEVICES, ULIMIT};
use super::links::{PORTS, SERVICE_NETWORK};
use super::mounts::{CONFIG_MOUNTS, MOUNTS, SECRET_MOUNTS};
use super::{NOT_NEGATIVE, WINDOWS};
use crate::shape::Bare::{Empty, Null};
use crate::shape::Shape::{
    Amount, Bool, Command, Dict, HostPath, Int, IntOr, Keyed, List, Loose, Map, Names, Nullable,
    OneOrList, OneOrSet, Record as Rec, Set, Short, Text, Whole, Word,
};
use crate::shape::{Brief, Record, done, inert, later, record};
use crate::short;

/// One service.
pub static SERVICE: Record = record(
    "a service",
    &[
        inert("annotations", Dict(Empty), "no runtime outside berth reads them"),
        done("attach", Bool),
        later("blkio_config", Rec(&BLKIO)),
        later("build", Short(Brief { expand: short::build, also: Some(&Text) }, &Rec(&BUILD))),
        done("cap_add", Set(&Text)),
        done("cap_drop", Set(&Text)),
        later("cgroup", Word(&["host", "private"])),
        later("cgroup_parent", Text),
        done("command", Nullable(&Command)),
        done("configs", Keyed(&CONFIG_MOUNTS)),
        done("container_name", Text),
        inert("cpu_count", NOT_NEGATIVE, WINDOWS),
        inert("cpu_percent", Int(&PERCENT), WINDOWS),
        done("cpu_period", Amount(&CPU_PERIOD)),
        done("cpu_quota", Amount(&CPU_QUOTA)),
        later("cpu_rt_period", Amount(&CPU_TIME)),
        later("cpu_rt_runtime", Amount(&CPU_TIME)),
        done("cpu_shares", NOT_NEGATIVE),
        done("cpus", Amount(&CPUS)),
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
        done("expose", Set(&Amount(&EXPOSED))),
        done("extends", Short(Brief { expand: short::extends, also: Some(&Text) }, &Rec(&EXTENDS))),
        later("external_links", Set(&Text)),
        done(
            "extra_hosts",
            Short(
                Brief { expand: short::extra_hosts, also: Some(&Map(&OneOrList(&Text))) },
                &Set(&Text),
            ),
        ),
        later(
            "gpus",
            Short(
                Brief { expand: short::gpus, also: Some(&Word(&["all"])) },
                &List(&Short(
                    Brief { expand: short::device_request, also: None },
                    &Rec(&DEVICE_REQUEST),
                )),
            ),
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
        done("mem_limit", Amount(&MEMORY)),
        done("mem_reservation", Amount(&MEMORY)),
        later("mem_swappiness", Amount(&SWAP_SHARE)),
        done("memswap_limit", Amount(&MEMORY_OR_NONE)),
        later("models", Names(&Nullable(&Rec(&SERVICE_MODEL)))),
        done("network_mode", Text),
        done("networks", Names(&Nullable(&Rec(&SERVICE_NETWORK)))),
        later("oom_kill_disable", Bool),
        done("oom_score_adj", Int(&OOM_SCORE)),
        later("pid", Nullable(&Text)),
        done("pids_limit", Int(&PIDS)),
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
        done("shm_size", Amount(&MEMORY)),
        done("stdin_open", Bool),
        done("stop_grace_period", Amount(&DURATION)),
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
