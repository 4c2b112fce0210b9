//! Rows about what processes may do: capabilities, defences, namespaces, hooks.

use berth_schema::stack::{
    AppArmor, BuildNetwork, CgroupMode, Entitlement, IpcMode, NetworkMode, PidMode, Seccomp,
    UtsMode,
};

use super::Case;
use super::files::fact;
use super::host_file::Userns;
use super::others::{Shared, has_host_ids, service_of};
use super::rows::Finds;
use crate::desired::{self, DEFAULT_CAPABILITIES};

/// Capabilities over the host as a whole.
const OVER_HOST: [&str; 18] = [
    "ALL",
    "BPF",
    "CHECKPOINT_RESTORE",
    "DAC_READ_SEARCH",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "PERFMON",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_MODULE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
];
/// What the right to mount means without a user namespace: with one, mounts are locked.
const UNCOVERS: &str = "over the host: it has no user namespace, and can take off what covers parts of `/proc` and `/sys`";
/// Capabilities over the networks a container is on.
const OVER_NETWORKS: [&str; 2] = ["NET_ADMIN", "NET_RAW"];
/// The one capability that may be added under `strict`.
const HARMLESS: &str = "NET_BIND_SERVICE";

pub(super) fn privileged(finds: &mut Finds<'_>) {
    let subject = finds.subject;
    if subject.service.berth.contained {
        let (case, what) = match subject.spec.userns {
            true => (Case::Contained, "all capabilities within its user namespace"),
            false => (Case::Privileged, "all capabilities without a user namespace: the host"),
        };
        finds.add(case, "x-berth.privileged", "", what);
    } else if subject.service.privileged {
        let what = "the host: all capabilities and devices, no defences";
        finds.add(Case::Privileged, "privileged", "", what);
    }
    for (index, step) in subject.service.pre_start.iter().enumerate() {
        if step.privileged {
            let what = "the host, for a step before it starts";
            finds.add(Case::Privileged, &format!("pre_start.{index}.privileged"), "", what);
        }
    }
    if let Some(build) = &subject.service.build {
        let insecure = build.entitlements.contains(&Entitlement::SecurityInsecure);
        if build.privileged || insecure {
            let at = if build.privileged { "build.privileged" } else { "build.entitlements" };
            finds.add(Case::Privileged, at, "build", "the host, for its build");
        }
    }
    // A process with all capabilities and the host's user ids is one of the host.
    if !subject.spec.userns {
        for (path, hook) in named_hooks(finds) {
            if hook.privileged {
                let what = "the host, for a hook without a user namespace";
                finds.add(Case::Privileged, &format!("{path}.privileged"), &path, what);
            }
        }
    }
}

/// Capabilities that are asked for, as the kernel writes them without `CAP_`, with their paths.
fn asked(finds: &Finds<'_>) -> Vec<(String, String)> {
    let plain = |cap: &String| {
        let cap = cap.to_ascii_uppercase();
        cap.strip_prefix("CAP_").unwrap_or(&cap).to_owned()
    };
    let written: Vec<String> = finds.subject.service.cap_add.iter().map(plain).collect();
    let path = |cap: &String| match written.iter().position(|own| own == cap) {
        Some(index) => format!("cap_add.{index}"),
        None => "--cap-add".to_owned(),
    };
    let caps = finds.subject.spec.cap_add.iter().map(plain);
    caps.map(|cap| (path(&cap), cap)).collect()
}

pub(super) fn host_capabilities(finds: &mut Finds<'_>) {
    let mapped = finds.subject.spec.userns;
    for (path, cap) in asked(finds) {
        if OVER_HOST.contains(&cap.as_str()) {
            let uncovers = ["ALL", "SYS_ADMIN"].contains(&cap.as_str());
            let (case, what) = match mapped {
                true => (Case::CapHostMapped, "within its user namespace"),
                false if uncovers => (Case::CapHost, UNCOVERS),
                false => (Case::CapHost, "over the host: it has no user namespace"),
            };
            finds.add(case, &path, &cap, format!("the capability {cap} {what}"));
        }
    }
}

pub(super) fn network_capabilities(finds: &mut Finds<'_>) {
    for (path, cap) in asked(finds) {
        if OVER_NETWORKS.contains(&cap.as_str()) {
            let what = format!("the capability {cap}: it can listen and lie on its networks");
            finds.add(Case::CapNet, &path, &cap, what);
        }
    }
}

pub(super) fn other_capabilities(finds: &mut Finds<'_>) {
    for (path, cap) in asked(finds) {
        let name = cap.as_str();
        if OVER_HOST.contains(&name) || OVER_NETWORKS.contains(&name) || name == HARMLESS {
            continue;
        }
        let case = if DEFAULT_CAPABILITIES.contains(&name) { Case::CapUsual } else { Case::CapLow };
        finds.add(case, &path, &cap, format!("the capability {cap}"));
    }
}

pub(super) fn defences(finds: &mut Finds<'_>) {
    let (subject, facts) = (finds.subject, finds.scene.facts);
    let security = &subject.service.security;
    let digest = match &subject.spec.security.seccomp {
        desired::Seccomp::Profile { digest, .. } => digest.as_str(),
        desired::Seccomp::Builtin | desired::Seccomp::Unconfined => "",
    };
    let mut add = |object: &str, what: String| {
        finds.add(Case::Defences, "security_opt", object, what);
    };
    match &security.seccomp {
        Seccomp::Builtin => {}
        Seccomp::Unconfined => add("seccomp", "every system call: seccomp is off".to_owned()),
        Seccomp::Profile(path) => {
            // What it says is consented to: whoever may write to it could say another thing.
            let path = fact(facts, path).real.display().to_string();
            add(&format!("seccomp={path} {digest}"), format!("the system calls that {path} lists"));
        }
    }
    if security.unconfined_paths {
        let what = "all of /proc and /sys: nothing in them is hidden or read-only";
        add("systempaths", what.to_owned());
    }
    // A profile takes away, it gives nothing.
    if security.apparmor.as_ref().is_some_and(|option| option.value == AppArmor::Unconfined) {
        add("apparmor", "what AppArmor keeps from containers".to_owned());
    }
    if !security.selinux.is_empty() {
        add("label", "what SELinux keeps from containers".to_owned());
    }
}

pub(super) fn namespaces(finds: &mut Finds<'_>) {
    let service = finds.subject.service;
    let reaches = |shared: Shared| shared.reach(finds.scene, &finds.subject.spec).0;
    let processes = service.pid == PidMode::Host || reaches(Shared::Processes);
    let memory = service.ipc == IpcMode::Host || reaches(Shared::Memory);
    let network = service.network_mode == Some(NetworkMode::Host) || reaches(Shared::Network);
    let host_ids = has_host_ids(finds.scene.stack, service);
    let mut add = |is_host: bool, attribute: &str, what: &str| {
        if is_host {
            finds.add(Case::Namespace, attribute, attribute, what);
        }
    };
    add(processes, "pid", "the processes of the host");
    add(memory, "ipc", "the shared memory of the host");
    add(service.uts == UtsMode::Host, "uts", "the name of the host");
    add(service.cgroup == Some(CgroupMode::Host), "cgroup", "the cgroups of the host");
    add(host_ids, "userns_mode", "the user ids of the host");
    if network {
        let what = "the network of the host: all its addresses, ports and local services";
        finds.add(Case::HostNetwork, "network_mode", "network_mode", what);
    }
    if let Some(build) = &service.build
        && (build.network == BuildNetwork::Host
            || build.entitlements.contains(&Entitlement::NetworkHost))
    {
        finds.add(Case::HostNetwork, "build.network", "build", "the host's network, for its build");
    }
}

pub(super) fn userns(finds: &mut Finds<'_>) {
    let (subject, scene) = (finds.subject, finds.scene);
    if subject.spec.userns {
        return;
    }
    let required = scene.facts.userns == Userns::Require;
    if required || scene.facts.userns == Userns::Off || !scene.observed.host.userns {
        let case = if required { Case::UsernsRequired } else { Case::NoUserns };
        finds.add(case, "image", "", "no user namespace: its user 0 is that of the host");
    }
}

pub(super) fn peers(finds: &mut Finds<'_>) {
    let shared = [
        ("network_mode", Shared::Network, "network"),
        ("pid", Shared::Processes, "processes"),
        ("ipc", Shared::Memory, "shared memory"),
    ];
    for (attribute, shared, of) in shared {
        let (_, names) = shared.reach(finds.scene, &finds.subject.spec);
        for name in names {
            if !is_own(finds, &name) {
                let what = format!("the {of} of the container {name}, which is not of this stack");
                finds.add(Case::Peer, attribute, &format!("{attribute}={name}"), what);
            }
        }
    }
}

/// Whether a container is, or will be, one of this project.
pub(super) fn is_own(finds: &Finds<'_>, name: &str) -> bool {
    let scene = finds.scene;
    match scene.observed.containers.get(name) {
        Some(container) => container.record.project == scene.desired.project,
        None => service_of(scene.desired, name).is_some(),
    }
}

pub(super) fn provider(finds: &mut Finds<'_>) {
    if let Some(provider) = &finds.subject.service.provider {
        let what = format!("the program {} runs on the host", provider.kind);
        finds.add(Case::Provider, "provider", &provider.kind, what);
    }
}

/// The hooks of a service with their paths.
fn named_hooks<'a>(finds: &Finds<'a>) -> Vec<(String, &'a berth_schema::stack::Hook)> {
    let service = finds.subject.service;
    let after = service.post_start.iter().enumerate();
    let before = service.pre_stop.iter().enumerate();
    let after = after.map(|(index, hook)| (format!("post_start.{index}"), hook));
    after.chain(before.map(|(index, hook)| (format!("pre_stop.{index}"), hook))).collect()
}

pub(super) fn hooks(finds: &mut Finds<'_>) {
    let subject = finds.subject;
    for (path, hook) in named_hooks(finds) {
        if hook.privileged {
            let what = "all capabilities, for a hook";
            finds.add(Case::Hook, &format!("{path}.privileged"), &path, what);
        }
        let other = hook.user.as_ref().filter(|user| Some(*user) != subject.service.user.as_ref());
        if let Some(user) = other {
            let object = format!("{path}={user}");
            let what = format!("the user {user} in the container, for a hook");
            finds.add(Case::Hook, &format!("{path}.user"), &object, what);
        }
    }
    for (index, step) in subject.service.pre_start.iter().enumerate() {
        let other = step.user.as_ref().filter(|user| Some(*user) != subject.service.user.as_ref());
        if let Some(user) = other {
            let path = format!("pre_start.{index}.user");
            let what = format!("the user {user}, for a step before it starts");
            finds.add(Case::Hook, &path, &format!("pre_start.{index}={user}"), what);
        }
    }
}

pub(super) fn placement(finds: &mut Finds<'_>) {
    let service = finds.subject.service;
    if let Some(parent) = &service.cgroup_parent {
        let what = format!("a place in the cgroup {parent}, outside our own");
        finds.add(Case::Placement, "cgroup_parent", &format!("cgroup={parent}"), what);
    }
    if let Some(runtime) = &service.runtime {
        let what = format!("the program {runtime} of the host runs it");
        finds.add(Case::Placement, "runtime", &format!("runtime={runtime}"), what);
    }
}

pub(super) fn root(finds: &mut Finds<'_>) {
    let subject = finds.subject;
    let user = subject.spec.user.as_deref();
    let known = finds.scene.facts.uids.get(subject.name).copied();
    let what = match (user.and_then(number), known, user) {
        (Some(0), ..) | (None, Some(0), None | Some("")) => "user 0 of the container".to_owned(),
        (None, Some(0), Some(user)) => {
            format!("user 0 of the container: its image calls it {user}")
        }
        (Some(_), ..) | (None, Some(_), _) => return,
        (None, None, None | Some("")) => "the user of its image, and nobody knows which".to_owned(),
        (None, None, Some(user)) => {
            format!("whoever {user} is in its image, and nobody knows")
        }
    };
    finds.add(Case::Root, "user", "", what);
}

/// The id in `user[:group]`, if it is one and no name. What is too large is no other user: nothing
/// starts with it.
fn number(user: &str) -> Option<u64> {
    let id = user.split(':').next().unwrap_or_default();
    let is_number = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| id.parse().unwrap_or(u64::MAX))
}
