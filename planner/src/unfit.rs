//! What a stack asks for that this host cannot give.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use berth_schema::stack::{
    ForwardTo, Limits, MountSource, Protocol, Service, Stack, SyslogAddress,
};

use crate::observed::Storage;
use crate::resolve::is_runtime;

mod modules;

pub use modules::{AppArmor, Modules, profile_of};

/// What of a host decides whether an attribute has its effect there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Cgroup controllers; `true` for those of a v1 hierarchy.
    pub controllers: BTreeMap<String, bool>,
    /// The kernel counts swap for each group.
    pub swap: bool,
    /// The kernel shares block devices by weight.
    pub block_weights: bool,
    /// Links can have IPv6 addresses.
    pub ipv6: bool,
    /// The kernel speaks SCTP, or would; looked for when [`wants_sctp`].
    pub sctp: bool,
    /// Hard limits that a process here cannot go beyond, by name; a missing one has no end.
    pub hard_limits: BTreeMap<String, u64>,
    /// The journal of systemd takes lines.
    pub journal: bool,
    /// A syslog server of this host takes lines.
    pub syslog: bool,
    /// The slices of systemd by their cgroups, `a.slice/a-b.slice`; `None` on a host without it.
    pub slices: Option<BTreeSet<String>>,
    /// Where writable layers are; `None` when nobody looked.
    pub storage: Option<Storage>,
    /// What confines by rules of the host.
    pub modules: Modules,
    /// Those of [`runtimes`] that are no programs of this host.
    pub no_runtimes: BTreeSet<String>,
    /// Files and folders of [`must_exist`] that are not there.
    pub missing: BTreeSet<PathBuf>,
}

/// An attribute that is not what it says on this host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unfit {
    /// Its path in the model.
    pub path: String,
    /// It is refused, as the service would not start; otherwise it starts as if the attribute was not there.
    pub fails: bool,
    /// What the host lacks.
    pub why: String,
    /// The service that has it; a network or a volume has none.
    pub service: Option<String>,
}

/// What a service asks of a cgroup controller.
struct Need {
    /// The attributes that ask for it.
    attributes: &'static [&'static str],
    controller: &'static str,
    /// Whether a service that asks for it does not start without it.
    fails: bool,
    asked: fn(&Limits) -> bool,
}

const NEEDS: [Need; 8] = [
    Need {
        attributes: &["mem_limit", "deploy.resources.limits.memory"],
        controller: "memory",
        fails: true,
        asked: |limits| limits.memory.is_some(),
    },
    Need {
        attributes: &["memswap_limit"],
        controller: "memory",
        fails: true,
        asked: |limits| limits.memory_swap.is_some(),
    },
    Need {
        attributes: &["mem_reservation", "deploy.resources.reservations.memory"],
        controller: "memory",
        fails: false,
        asked: |limits| limits.memory_reservation.is_some(),
    },
    Need {
        attributes: &["cpus", "cpu_quota", "deploy.resources.limits.cpus"],
        controller: "cpu",
        fails: true,
        asked: |limits| limits.cpu_micros.is_some(),
    },
    Need {
        attributes: &["cpu_period"],
        controller: "cpu",
        fails: true,
        asked: |limits| limits.cpu_period.is_some(),
    },
    Need {
        attributes: &["cpu_shares"],
        controller: "cpu",
        fails: false,
        asked: |limits| limits.cpu_shares.is_some(),
    },
    Need {
        attributes: &["cpuset"],
        controller: "cpuset",
        fails: true,
        asked: |limits| limits.cpuset.is_some(),
    },
    Need {
        attributes: &["pids_limit", "deploy.resources.limits.pids"],
        controller: "pids",
        fails: false,
        asked: |limits| limits.pids.is_some_and(|most| most > 0),
    },
];

/// Attributes that cgroup v2 has no word for, with the controller of v1 that has.
const ONLY_V1: [(&str, &str); 4] = [
    ("cpu_rt_period", "cpu"),
    ("cpu_rt_runtime", "cpu"),
    ("mem_swappiness", "memory"),
    ("oom_kill_disable", "memory"),
];

/// Programs that make containers, as the files name them.
pub fn runtimes(stack: &Stack) -> BTreeSet<String> {
    let named = stack.services.values().filter_map(|service| service.runtime.clone());
    named.filter(|name| is_runtime(name)).collect()
}

/// Sources of binds that berth does not make, so they have to be there.
pub fn must_exist(stack: &Stack) -> BTreeSet<PathBuf> {
    let mounts = stack.services.values().flat_map(|service| &service.volumes);
    mounts
        .filter_map(|mount| match &mount.source {
            MountSource::Bind { path, create_host_path: false, .. } => Some(path.clone()),
            _ => None,
        })
        .collect()
}

/// Everything of the stack that does not have its effect on a host with these abilities, in the
/// order of the paths.
pub fn unfit(stack: &Stack, abilities: &Abilities) -> Vec<Unfit> {
    let mut judge = Judge { stack, abilities, service: None, unfit: Vec::new() };
    for (name, service) in &stack.services {
        let at = format!("services.{name}");
        judge.service = Some(name);
        judge.limits(&at, service);
        judge.ulimits(&at, service);
        judge.settings(&at);
        judge.modules(&at, service);
        judge.ports(&at, service);
        judge.binds(&at, service);
        judge.addresses(&at, service);
        judge.logging(&at, service);
        judge.storage(&at, service);
        judge.slice(&at, service);
        judge.runtime(&at, service);
    }
    judge.service = None;
    for (name, network) in &stack.networks {
        if network.enable_ipv6 && !network.external && !abilities.ipv6 {
            judge.note(format!("networks.{name}.enable_ipv6"), true, NO_IPV6);
        }
    }
    judge.unfit.sort();
    judge.unfit
}

const NO_IPV6: &str = "this host has no IPv6";
const NO_SCTP: &str = "the kernel of this host has no SCTP: its module is `sctp`, which some systems \
                       have in a package of further modules";

/// Whether some service publishes a port of SCTP.
pub fn wants_sctp(stack: &Stack) -> bool {
    let mut ports = stack.services.values().flat_map(|service| &service.ports);
    ports.any(|port| port.protocol == Protocol::Sctp)
}

struct Judge<'a> {
    stack: &'a Stack,
    abilities: &'a Abilities,
    /// Whose attributes are looked at.
    service: Option<&'a str>,
    unfit: Vec<Unfit>,
}

impl Judge<'_> {
    fn note(&mut self, path: String, fails: bool, why: impl Into<String>) {
        let service = self.service.map(str::to_owned);
        self.unfit.push(Unfit { path, fails, why: why.into(), service });
    }

    /// Those of these attributes of a service that the files have.
    fn written(&self, at: &str, attributes: &[&str]) -> Vec<String> {
        let paths = attributes.iter().map(|attribute| format!("{at}.{attribute}"));
        paths.filter(|path| self.stack.places.has(path)).collect()
    }

    fn limits(&mut self, at: &str, service: &Service) {
        for need in NEEDS.iter().filter(|need| (need.asked)(&service.limits)) {
            if !self.abilities.controllers.contains_key(need.controller) {
                let why = format!("this host has no `{}` cgroup controller", need.controller);
                for path in self.written(at, need.attributes) {
                    self.note(path, need.fails, why.as_str());
                }
            }
        }
        let swap = service.limits.memory_swap.is_some() && !self.abilities.swap;
        if swap && self.abilities.controllers.contains_key("memory") {
            let why = "the kernel of this host counts no swap for each container";
            self.note(format!("{at}.memswap_limit"), false, why);
        }
    }

    fn ulimits(&mut self, at: &str, service: &Service) {
        for (name, (_, hard)) in &service.ulimits {
            let Some(most) = self.abilities.hard_limits.get(name) else { continue };
            // A negative one has no end.
            if u64::try_from(*hard).unwrap_or(u64::MAX) > *most {
                let why = format!(
                    "{most} is the most a process gets here, and raising it needs CAP_SYS_RESOURCE"
                );
                self.note(format!("{at}.ulimits.{name}"), true, why);
            }
        }
    }

    fn settings(&mut self, at: &str) {
        let controllers = &self.abilities.controllers;
        if !controllers.contains_key("io") && !controllers.contains_key("blkio") {
            for path in self.written(at, &["blkio_config"]) {
                self.note(path, false, "this host has no `io` cgroup controller");
            }
        } else if !self.abilities.block_weights {
            for path in self.written(at, &["blkio_config.weight", "blkio_config.weight_device"]) {
                self.note(path, false, "the kernel of this host has no weights for block devices");
            }
        }
        for (attribute, controller) in ONLY_V1 {
            if self.abilities.controllers.get(controller) == Some(&false) {
                for path in self.written(at, &[attribute]) {
                    self.note(path, false, "this host has cgroup v2, which has no such setting");
                }
            }
        }
    }

    fn ports(&mut self, at: &str, service: &Service) {
        for (index, port) in service.ports.iter().enumerate() {
            let path = || format!("{at}.ports.{index}");
            if port.protocol == Protocol::Sctp && !self.abilities.sctp {
                self.note(path(), true, NO_SCTP);
            }
            match port.host_ip {
                Some(IpAddr::V6(_)) if !self.abilities.ipv6 => self.note(path(), true, NO_IPV6),
                Some(IpAddr::V6(Ipv6Addr::LOCALHOST)) => {
                    let why = "the kernel lets no packet from ::1 leave the loopback link";
                    self.note(path(), false, why);
                }
                _ => {}
            }
        }
    }

    fn binds(&mut self, at: &str, service: &Service) {
        for (index, mount) in service.volumes.iter().enumerate() {
            if let MountSource::Bind { path, create_host_path: false, .. } = &mount.source
                && self.abilities.missing.contains(path)
            {
                let why = format!("`{}` is not there", path.display());
                self.note(format!("{at}.volumes.{index}.source"), true, why);
            }
        }
    }

    fn logging(&mut self, at: &str, service: &Service) {
        let Some(forwarding) = &service.logging.forwarding else { return };
        match &forwarding.to {
            ForwardTo::Journal if !self.abilities.journal => {
                let why = "this host has no journal: nothing listens on \
                           /run/systemd/journal/socket";
                self.note(format!("{at}.logging.driver"), true, why);
            }
            ForwardTo::Syslog(syslog)
                if syslog.address == SyslogAddress::Local && !self.abilities.syslog =>
            {
                let why = "this host has no syslog server at /dev/log; `syslog-address` names \
                           another";
                self.note(format!("{at}.logging.driver"), true, why);
            }
            ForwardTo::Journal | ForwardTo::Syslog(_) => {}
        }
    }

    fn storage(&mut self, at: &str, service: &Service) {
        let limited = service.storage_size.is_some_and(|size| size > 0);
        let Some(storage) = self.abilities.storage.as_ref().filter(|_| limited) else { return };
        if !storage.limits_projects {
            self.note(format!("{at}.storage_opt.size"), true, no_quotas(storage));
        }
    }

    /// A slice that systemd has not made has no limits, whatever its unit says.
    fn slice(&mut self, at: &str, service: &Service) {
        let (Some(parent), Some(slices)) = (&service.cgroup_parent, &self.abilities.slices) else {
            return;
        };
        let ends = parent.match_indices(".slice").map(|(start, found)| start + found.len());
        let above = ends
            .map(|end| parent.split_at(end))
            .filter(|(_, rest)| rest.is_empty() || rest.starts_with('/'));
        for (slice, _) in above {
            if !slices.contains(slice) {
                let unit = slice.rsplit('/').next().unwrap_or(slice);
                let why = format!(
                    "the slice `{unit}` is not active, so nothing that systemd knows of it would \
                     hold; `systemctl start {unit}` first"
                );
                return self.note(format!("{at}.cgroup_parent"), true, why);
            }
        }
    }

    fn runtime(&mut self, at: &str, service: &Service) {
        let missing = |name: &&String| self.abilities.no_runtimes.contains(*name);
        let Some(name) = service.runtime.as_ref().filter(missing) else { return };
        let next = match name.as_str() {
            "crun" | "runc" | "youki" => format!("install the package `{name}`, or leave it out"),
            // What Docker is told of it in daemon.json.
            "nvidia" => "install the program and write its own name, `nvidia-container-runtime`; \
                         or ask for the device alone, by `gpus`"
                .to_owned(),
            _ => "install it, or write the path of the program that Docker's `daemon.json` gives \
                  that name"
                .to_owned(),
        };
        let place = if name.starts_with('/') { "here" } else { "on PATH" };
        let why = format!("there is no program `{name}` {place}: {next}");
        self.note(format!("{at}.runtime"), true, why);
    }

    fn addresses(&mut self, at: &str, service: &Service) {
        for (name, on) in &service.networks {
            if on.ipv6_address.is_some() && !self.abilities.ipv6 {
                self.note(format!("{at}.networks.{name}.ipv6_address"), true, NO_IPV6);
            }
        }
    }
}

/// Why this file system cannot limit a writable layer, and what would.
fn no_quotas(storage: &Storage) -> String {
    let (mount, kind) = (storage.mount.display(), storage.kind.as_str());
    let next = match kind {
        "ext4" => {
            "mount it with `prjquota`, which it can after `tune2fs -O project,quota -Q prjquota` on \
             its device while it is not mounted"
        }
        "xfs" => "mount it with `prjquota`, from the start and not by remounting",
        _ => {
            return format!(
                "containers are written to `{mount}`, which is {kind} and cannot limit folders; \
                 ext4 and xfs can, mounted with `prjquota`"
            );
        }
    };
    format!("containers are written to `{mount}`, which is {kind} without project quotas; {next}")
}
