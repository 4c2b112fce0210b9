//! One service: what is written below `services.NAME`.

use super::berth::BERTH;
use super::build::BUILD;
use super::deploy::{DEPLOY, DEVICE_REQUEST};
use super::grammars::{
    CONTAINER_NAME, CPU_PERIOD, CPU_QUOTA, CPU_TIME, CPUS, DURATION, EXPOSED, MEMORY,
    MEMORY_OR_NONE, OOM_SCORE, PERCENT, PIDS, PULL_POLICY, SHARES, SWAP_SHARE,
};
use super::life::{
    DEPENDENCY, DEVELOP, ENV_FILES, EXTENDS, HEALTHCHECK, HOOK, LOGGING, PRE_START, PROVIDER,
    SERVICE_MODEL,
};
use super::limits::{BLKIO, CREDENTIAL_SPEC, DEVICES, ULIMIT};
use super::links::{PORTS, SERVICE_NETWORK};
use super::mounts::{CONFIG_MOUNTS, MOUNTS, SECRET_MOUNTS};
use super::{NOT_NEGATIVE, REPLICAS, WINDOWS};
use crate::shape::Bare::{Empty, Null};
use crate::shape::Shape::{
    Amount, Bool, Command, Dict, Distinct, HostPath, Int, IntOr, Keyed, List, Loose, Map, Names,
    Nullable, OneOrList, OneOrSet, Record as Rec, Set, Short, Text, Whole, Word,
};
use crate::shape::{Brief, Record, docker, done, inert, later, record};
use crate::short;

/// One service.
pub static SERVICE: Record = record(
    "a service",
    &[
        done("annotations", Dict(Empty))
            .says("Notes in the configuration of the container, for runtimes that read them."),
        done("attach", Bool)
            .says("Whether `up` shows the output of this service.")
            .normally("true"),
        done("blkio_config", Rec(&BLKIO)).says("Shares and limits of block devices."),
        later("build", Short(Brief { expand: short::build, also: Some(&Text) }, &Rec(&BUILD)))
            .says("How the image is made from a Dockerfile; the text is its context."),
        done("cap_add", Set(&Text))
            .says("Capabilities of the kernel the container gets beside the usual ones.")
            .like(&["NET_ADMIN", "SYS_TIME", "ALL"]),
        done("cap_drop", Set(&Text))
            .says("Capabilities of the kernel the container does not get.")
            .like(&["ALL", "NET_RAW"]),
        done("cgroup", Word(&["host", "private"]))
            .says("Whether the container sees a cgroup tree of its own or that of the host.")
            .normally("private"),
        done("cgroup_parent", Text).says("The cgroup below which that of the container is made."),
        done("command", Nullable(&Command)).says(
            "What is run, as the arguments of the entry point; instead of that of the image.",
        ),
        done("configs", Keyed(&CONFIG_MOUNTS))
            .says("Configs that are mounted, each at `/NAME` unless it says otherwise."),
        done("container_name", Amount(&CONTAINER_NAME))
            .says("The name of the container; the service can then have only one."),
        inert("cpu_count", NOT_NEGATIVE, WINDOWS)
            .says("How many processors a Windows container has."),
        inert("cpu_percent", Int(&PERCENT), WINDOWS)
            .says("The share of the processors a Windows container may use, in percent."),
        done("cpu_period", Amount(&CPU_PERIOD))
            .says("The period of `cpu_quota`, in microseconds.")
            .normally("100000"),
        done("cpu_quota", Amount(&CPU_QUOTA)).says(
            "The processor time the container may use in each `cpu_period`, in microseconds.",
        ),
        done("cpu_rt_period", Amount(&CPU_TIME))
            .says("The period of `cpu_rt_runtime`, in microseconds."),
        done("cpu_rt_runtime", Amount(&CPU_TIME))
            .says("The time real-time processes may run in each period, in microseconds."),
        done("cpu_shares", Int(&SHARES))
            .says("The weight of the container when processors are short.")
            .normally("1024"),
        done("cpus", Amount(&CPUS))
            .says("How many processors the container may use, a fraction allowed."),
        done("cpuset", Text)
            .says("The processors the container may use, by number.")
            .like(&["0-3", "0,1"]),
        inert("credential_spec", Rec(&CREDENTIAL_SPEC), WINDOWS)
            .says("A managed account for a Windows container."),
        done("depends_on", Names(&Rec(&DEPENDENCY))).says(
            "Services that must have started, be healthy or have ended well before this one.",
        ),
        done("deploy", Nullable(&Rec(&DEPLOY)))
            .says("How many containers there are, what they may use, and when they start again."),
        inert(
            "develop",
            Nullable(&Rec(&DEVELOP)),
            docker("it is for watching, and `up` does not watch yet"),
        )
        .says("What is done when files change while `watch` runs."),
        done("device_cgroup_rules", Distinct(&Text))
            .says("Rules for devices, as the kernel writes them.")
            .like(&["c 1:3 mr", "a 7:* rmw"]),
        done("devices", Keyed(&DEVICES))
            .says("Devices of the host the container can open.")
            .like(&["/dev/fuse", "/dev/ttyUSB0:/dev/tty0:rw"]),
        done("dns", OneOrSet(&Text))
            .says("Name servers that answer what the stack does not know; asked from the container.")
            .like(&["1.1.1.1"]),
        done("dns_opt", Set(&Text))
            .says("Options of name resolution.")
            .like(&["ndots:1", "timeout:2"]),
        done("dns_search", OneOrSet(&Text))
            .says("Domains that are tried for short names.")
            .like(&["example.com"]),
        done("domainname", Text).says("The domain part of the host name."),
        done("entrypoint", Nullable(&Command))
            .says("The program that is run; the command of the image is dropped with its own."),
        done("env_file", Keyed(&ENV_FILES))
            .says("Files of variables for the container; later ones win, `environment` over all."),
        done("environment", Dict(Null)).says(
            "Variables of the container; a name alone takes its value from where berth runs.",
        ),
        done("expose", Set(&Amount(&EXPOSED)))
            .says("Ports the service listens on, for people and tools; nothing is published."),
        done("extends", Short(Brief { expand: short::extends, also: Some(&Text) }, &Rec(&EXTENDS)))
            .says("A service to start from, of this file or another one."),
        done("external_links", Distinct(&Text))
            .says("Containers of other stacks to be reached by name."),
        done(
            "extra_hosts",
            Short(
                Brief { expand: short::extra_hosts, also: Some(&Map(&OneOrList(&Text))) },
                &List(&Text),
            ),
        )
        .says("Names with addresses for `/etc/hosts`; `host-gateway` is this host.")
        .like(&["host.internal=host-gateway"]),
        done(
            "gpus",
            Short(
                Brief { expand: short::gpus, also: Some(&Word(&["all"])) },
                &List(&Short(
                    Brief { expand: short::device_request, also: None },
                    &Rec(&DEVICE_REQUEST),
                )),
            ),
        )
        .says("Graphics processors the container can use."),
        done("group_add", Distinct(&Loose))
            .says("Further groups of the process, by name or number."),
        done("healthcheck", Rec(&HEALTHCHECK))
            .says("How it is found out whether the service works; instead of that of the image."),
        done("hostname", Text).says("The host name inside the container."),
        done("image", Text)
            .says("The image the container is made from; `localhost/host` is made of this host.")
            .like(&["localhost/host", "nginx:1.27"]),
        done("init", Bool)
            .says("Whether a small first process passes on signals and reaps ended processes.")
            .normally("false"),
        done("ipc", Text)
            .says("Whose shared memory and queues the container sees.")
            .normally("private")
            .like(&["private", "host", "shareable", "service:NAME"]),
        inert("isolation", Text, WINDOWS).says("How a Windows container is kept apart."),
        done("label_file", OneOrList(&HostPath))
            .says("Files with labels; `labels` wins over them."),
        done("labels", Dict(Empty))
            .says("Labels of the container; `com.docker.compose.*` are set by berth."),
        done("links", Set(&Text))
            .says("Services to be reached by another name; they start first."),
        done("logging", Rec(&LOGGING)).says("How the output of the container is kept."),
        done("mac_address", Text)
            .says("The hardware address of the container on its first network."),
        done("mem_limit", Amount(&MEMORY))
            .says("The most memory the container may use; beyond it the kernel ends a process."),
        done("mem_reservation", Amount(&MEMORY))
            .says("Memory the kernel tries to leave the container when memory is short."),
        done("mem_swappiness", Amount(&SWAP_SHARE))
            .says("How readily memory of the container is swapped out."),
        done("memswap_limit", Amount(&MEMORY_OR_NONE))
            .says("The most memory and swap together; -1 for no limit."),
        later("models", Names(&Nullable(&Rec(&SERVICE_MODEL))))
            .says("Language models the service uses; their address and name come in as variables."),
        done("network_mode", Text)
            .says("Instead of `networks`: no network, that of the host, or that of a service; `bridge` is the default network.")
            .like(&["host", "none", "service:NAME", "bridge"]),
        done("networks", Names(&Nullable(&Rec(&SERVICE_NETWORK))))
            .says("The networks the service joins."),
        done("oom_kill_disable", Bool)
            .says("Whether the kernel ends no process when memory is short.")
            .normally("false"),
        done("oom_score_adj", Int(&OOM_SCORE))
            .says("How readily the kernel ends the process when memory is short, -1000 for never.")
            .normally("0"),
        done("pid", Nullable(&Text))
            .says("Whose processes the container sees.")
            .like(&["host", "service:NAME"]),
        done("pids_limit", Int(&PIDS))
            .says("The most processes the container may have; -1 for no limit."),
        done("platform", Text)
            .says("The system and processor the image is for; the host must be able to run it.")
            .like(&["linux/amd64", "linux/arm64"]),
        done("ports", Keyed(&PORTS))
            .says("Ports of the container that are published on this host."),
        done("post_start", List(&Rec(&HOOK)))
            .says(
                "Commands that are run in the container once it has started; each is begun at most \
                 once for a start, and one whose end nobody saw counts as failed.",
            ),
        done("pre_start", List(&Rec(&PRE_START)))
            .says(
                "Containers that run to their end, one by one, before the service starts; one whose \
                 end nobody saw counts as failed, and is run again by the next `up`.",
            ),
        done("pre_stop", List(&Rec(&HOOK)))
            .says(
                "Commands that are run in the container before it is stopped; each is begun at most \
                 once for a stop, and one whose end nobody saw is told, and the stop goes on.",
            ),
        done("privileged", Bool)
            .says("Whether the container gets every capability and device, and hides nothing.")
            .normally("false"),
        done("profiles", Set(&Text))
            .says("The service belongs to the stack only when one of these profiles is active."),
        later("provider", Rec(&PROVIDER))
            .says("A program that provides the service instead of a container."),
        done("pull_policy", Amount(&PULL_POLICY))
            .says("When the image is fetched.")
            .normally("missing")
            .like(&["always", "missing", "never", "build", "daily", "weekly", "every_12h"]),
        done("pull_refresh_after", Text)
            .says("After what time the image is fetched again, with `pull_policy: refresh`."),
        done("read_only", Bool)
            .says("Whether the root file system cannot be written to.")
            .normally("false"),
        done("restart", Text).says("When an ended container starts again.").normally("no").like(&[
            "no",
            "always",
            "on-failure",
            "on-failure:3",
            "unless-stopped",
        ]),
        done("runtime", Text)
            .says(
                "An OCI runtime of the host that makes the container, instead of berth itself: its \
                 name on `PATH`, or its whole path.",
            )
            .like(&["crun", "runc"]),
        done("scale", REPLICAS)
            .says("How many containers the service has; `deploy.replicas` says the same.")
            .normally("1"),
        done("secrets", Keyed(&SECRET_MOUNTS)).says(
            "Secrets that are mounted, each at `/run/secrets/NAME` unless it says otherwise.",
        ),
        done("security_opt", Distinct(&Text))
            .says(
                "Rules of the kernel for the container; a profile of AppArmor has to be loaded on the \
                 host, and labels of SELinux are refused but for `label=disable`.",
            )
            .like(&["no-new-privileges:true", "seccomp=unconfined", "apparmor=NAME"]),
        done("shm_size", Amount(&MEMORY)).says("The size of `/dev/shm`, in bytes.").normally("64m"),
        done("stdin_open", Bool).says("Whether the standard input stays open.").normally("false"),
        done("stop_grace_period", Amount(&DURATION))
            .says("How long the container may take to stop before it is killed.")
            .normally("10s"),
        done("stop_signal", Text)
            .says("The signal that asks the container to stop; the image may name another.")
            .normally("SIGTERM")
            .like(&["SIGTERM", "SIGINT", "SIGQUIT"]),
        done("storage_opt", Map(&Loose))
            .says("Options of the writable layer; there is `size`, the most bytes of it."),
        done("sysctls", Dict(Empty))
            .says("Settings of the kernel that each container has of its own.")
            .like(&["net.core.somaxconn=1024"]),
        done("tmpfs", OneOrSet(&Text))
            .says("Folders in memory, gone when the container ends.")
            .like(&["/tmp", "/run:size=64m,mode=1777"]),
        done("tty", Bool)
            .says("Whether the container has a terminal; its output is then one stream.")
            .normally("false"),
        done("ulimits", Map(&Whole(&IntOr(&Rec(&ULIMIT)))))
            .says("Limits of each process, such as open files."),
        later("use_api_socket", Bool)
            .says("Whether the container gets the socket and credentials of the engine.")
            .normally("false"),
        done("user", Text)
            .says("The user and group of the process, by name or number.")
            .like(&["1000:1000", "www-data"]),
        done("userns_mode", Text)
            .says("Whose users the container has: of its own, or those of the host.")
            .normally("auto")
            .like(&["auto", "host"]),
        done("uts", Text).says("Whose host name the container has.").like(&["host"]),
        done("volumes", Keyed(&MOUNTS))
            .says("What is mounted: volumes, folders of the host, memory.")
            .like(&["data:/var/lib/data", "./src:/app:ro"]),
        done("volumes_from", Distinct(&Text))
            .says("Services whose mounts the container gets too.")
            .like(&["db", "db:ro"]),
        done("working_dir", Text)
            .says("The folder the process starts in; instead of that of the image."),
        done("x-berth", Rec(&BERTH))
            .says("What berth adds to the specification; other tools do not look at it."),
    ],
);
