//! Rows about devices, limits, ports, images and things of other stacks.

use std::collections::BTreeSet;

use berth_schema::stack::{
    BuildSource, Device, DeviceAccess, DeviceKind, DeviceRule, GitSource, NamedContext,
    VolumesSource,
};

use super::files::{fact, mounts};
use super::rights::is_own;
use super::rows::Finds;
use super::{Case, Node};
use crate::desired::SourceSpec;
use crate::{pull, text};

pub(super) fn devices(finds: &mut Finds<'_>) {
    let (subject, facts) = (finds.subject, finds.scene.facts);
    for device in &subject.spec.devices {
        let written = subject.service.devices.iter().position(|own| own == device);
        let written = written.map(|index| format!("devices.{index}"));
        match device {
            Device::Node { source, access, .. } => {
                let fact = fact(facts, source);
                let path = fact.real.display().to_string();
                let access = words(*access);
                let inside = facts.devices.get(source).cloned().unwrap_or_default();
                let (object, what) = match fact.device {
                    Some(node) => (format!("{path} {node}"), format!("the device {path}")),
                    None => of_folder(&path, &inside),
                };
                let is_host = fact.device.iter().chain(&inside).any(|node| node.is_the_host());
                let case = if is_host { Case::HostDevice } else { Case::Device };
                let held = if is_host { ": memory or a disk of the host" } else { "" };
                let at = written.unwrap_or_else(|| "devices".to_owned());
                finds.add_scoped(case, &at, (&object, access), format!("{what} ({access}){held}"));
            }
            Device::Cdi { vendor, class, name } => {
                let (case, by) = match class.as_str() {
                    "gpu" => (Case::Gpu, "gpus"),
                    _ => (Case::Device, "deploy.resources.reservations.devices"),
                };
                let device = format!("{vendor}/{class}={name}");
                let at = written.unwrap_or_else(|| by.to_owned());
                finds.add(case, &at, &device, format!("the device {device}"));
                hooks(finds, &at, &device);
            }
        }
    }
    rules(finds);
}

/// A folder of devices, as an object and in words. The drivers of what is in it tell it from
/// another: a stick that is plugged in is no new thing, a disk among sound cards is.
fn of_folder(path: &str, inside: &BTreeSet<Node>) -> (String, String) {
    let driver = |node: &Node| format!("{} {}:*", if node.block { 'b' } else { 'c' }, node.major);
    let drivers = Vec::from_iter(inside.iter().map(driver).collect::<BTreeSet<_>>()).join(", ");
    match drivers.as_str() {
        "" => (path.to_owned(), format!("the device {path}")),
        drivers => (format!("{path} {drivers}"), format!("all devices in {path}, {drivers}")),
    }
}

/// Programs that come with a device. One that gets more rights than before is another thing.
fn hooks(finds: &mut Finds<'_>, at: &str, device: &str) {
    let facts = finds.scene.facts;
    for hook in facts.device_hooks.get(device).into_iter().flatten() {
        let (case, whose) = match hook.moment.has_the_host(finds.subject.spec.userns) {
            true => (Case::DeviceProgram, "the host's root"),
            false => (Case::DeviceHook, "the container"),
        };
        let (moment, path) = (hook.moment.word(), &hook.path);
        let what = format!(
            "the program {path} ({moment}) of the device {device}, with the rights of {whose}"
        );
        finds.add(case, at, &format!("{device} {moment} {path} as {whose}"), what);
    }
}

fn rules(finds: &mut Finds<'_>) {
    for (index, rule) in finds.subject.service.device_rules.iter().enumerate() {
        let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
        let kind = match rule.kind {
            DeviceKind::All => "all devices",
            DeviceKind::Char => "character devices",
            DeviceKind::Block => "block devices",
        };
        let devices = format!("{kind} {}:{}", number(rule.major), number(rule.minor));
        let access = words(rule.access);
        let at = format!("device_cgroup_rules.{index}");
        let what = format!("{devices} ({access})");
        let case = if may_be_the_host(rule) { Case::HostDevice } else { Case::Device };
        finds.add_scoped(case, &at, (&devices, access), what);
    }
}

/// Whether a rule lets at the memory or a disk of the host.
fn may_be_the_host(rule: &DeviceRule) -> bool {
    let node = |block, major, minor| Node { block, major, minor };
    let chars = [node(false, 1, 1), node(false, 1, 2), node(false, 1, 4), node(false, 21, 0)];
    let is_meant = |node: &Node| {
        rule.major.is_none_or(|major| major == node.major)
            // Of a driver whose every device is the host, any will do.
            && (node.major == 21 || rule.minor.is_none_or(|minor| minor == node.minor))
    };
    rule.kind != DeviceKind::Char || chars.iter().any(is_meant)
}

fn words(access: DeviceAccess) -> &'static str {
    match (access.read, access.write, access.mknod) {
        (true, true, true) => "rwm",
        (true, true, false) => "rw",
        (true, false, true) => "rm",
        (true, false, false) => "r",
        (false, true, true) => "wm",
        (false, true, false) => "w",
        (false, false, true) => "m",
        (false, false, false) => "",
    }
}

pub(super) fn limits(finds: &mut Finds<'_>) {
    let (subject, facts) = (finds.subject, finds.scene.facts);
    let limits = &subject.spec.limits;
    if limits.memory.is_none() {
        finds.add(Case::NoLimit, "mem_limit", "memory", "as much memory as there is");
    }
    for tmpfs in subject.spec.tmpfs.iter().filter(|tmpfs| tmpfs.size.is_none()) {
        let what = format!("as much memory as there is, at {}", tmpfs.target);
        finds.add(Case::NoLimit, "tmpfs", &tmpfs.target, what);
    }
    if limits.pids.is_some_and(|most| most <= 0) {
        finds.add(Case::Starving, "pids_limit", "pids", "as many processes as it wants");
    }
    if limits.oom_score_adj.is_some_and(|score| score < 0) {
        let what = "others end before it when memory runs out";
        finds.add(Case::Starving, "oom_score_adj", "oom_score_adj", what);
    }
    if subject.service.oom_kill_disable {
        let what = "it is not ended when memory runs out";
        finds.add(Case::Starving, "oom_kill_disable", "oom_kill_disable", what);
    }
    for (name, (_, hard)) in &subject.spec.ulimits {
        let most = facts.hard_limits.get(name).copied().unwrap_or(u64::MAX);
        if u64::try_from(*hard).unwrap_or(u64::MAX) > most {
            let what = format!("more `{name}` than processes of the host have ({most})");
            finds.add(Case::Starving, &format!("ulimits.{name}"), &format!("ulimit={name}"), what);
        }
    }
}

pub(super) fn sysctls(finds: &mut Finds<'_>) {
    for (key, value) in &finds.subject.spec.sysctls {
        let what = format!("the kernel setting {key}={value} of its own namespaces");
        finds.add(Case::Sysctl, &format!("sysctls.{key}"), key, what);
    }
    for endpoint in finds.subject.spec.networks.values() {
        for (key, value) in &endpoint.sysctls {
            let what = format!("the kernel setting {key}={value} of its own link");
            finds.add(Case::Sysctl, "networks", key, what);
        }
    }
}

/// Beside a link of the host no rule of the host's firewall is asked.
pub(super) fn links(finds: &mut Finds<'_>) {
    let scene = finds.scene;
    for name in finds.subject.spec.networks.keys() {
        let there = scene.observed.networks.get(name).map(|network| &network.record.spec);
        let specs = there.into_iter().chain(scene.desired.networks.get(name));
        let mut parents: Vec<&str> = specs.filter_map(|spec| spec.parent()).collect();
        parents.dedup();
        for parent in parents {
            let what =
                format!("the network that the host's link `{parent}` leads to, past its firewall");
            finds.add(Case::HostLink, "networks", parent, what);
        }
    }
}

pub(super) fn ports(finds: &mut Finds<'_>) {
    let (subject, service) = (finds.subject, finds.subject.service);
    for port in &subject.spec.ports {
        if port.host_ip.is_some_and(|ip| ip.is_loopback()) {
            continue;
        }
        let own = service.ports.iter().position(|own| {
            (own.target, own.published, own.host_ip, own.protocol)
                == (port.target, port.published, port.host_ip, port.protocol)
        });
        let at = own.map_or("--publish".to_owned(), |index| format!("ports.{index}"));
        let written = text::port(port);
        let mark = if text::is_public(port) { "PUBLIC " } else { "" };
        finds.add(Case::Public, &at, &written, format!("{mark}{written}"));
    }
}

pub(super) fn images(finds: &mut Finds<'_>) {
    let (subject, facts) = (finds.subject, finds.scene.facts);
    let image = subject.spec.image.as_str();
    let is_pulled = !pull::is_host(image) && subject.service.build.is_none();
    let own =
        is_pulled.then_some((!subject.locked || image.contains('@'), "image".to_owned(), image));
    let steps = subject.spec.pre_start.iter().enumerate().filter_map(|(index, step)| {
        Some((true, format!("pre_start.{index}.image"), step.image.as_deref()?))
    });
    let steps = steps.filter(|(_, _, step)| !pull::is_host(step));
    let mounts = mounts(finds).into_iter().filter_map(|mount| match mount.source {
        SourceSpec::Image { reference, .. } if !pull::is_host(reference) => {
            Some((true, mount.at, reference.as_str()))
        }
        _ => None,
    });
    for (asked, at, image) in own.into_iter().chain(steps).chain(mounts) {
        if asked && !image.contains('@') {
            let what = format!("whatever `{image}` is at its registry");
            finds.add(Case::Unpinned, &at, image, what);
        }
        if facts.insecure.iter().any(|registry| image.starts_with(&format!("{registry}/"))) {
            let what = format!("whatever the network says `{image}` is: its registry has no TLS");
            finds.add(Case::Insecure, &at, &format!("insecure={image}"), what);
        }
    }
}

pub(super) fn remote(finds: &mut Finds<'_>) {
    let Some(build) = &finds.subject.service.build else { return };
    let named = build.contexts.iter().filter_map(|(name, context)| match context {
        NamedContext::Files(source) => Some((format!("build.additional_contexts.{name}"), source)),
        _ => None,
    });
    for (at, source) in named.chain([("build.context".to_owned(), &build.context)]) {
        match source {
            BuildSource::Path(_) => {}
            BuildSource::Git(git) if is_commit(git) => {
                let what = format!("the code of {} at one commit", git.repository);
                finds.add(Case::RemotePinned, &at, &git.repository, what);
            }
            BuildSource::Git(git) => {
                let what = format!("whatever the code of {} is", git.repository);
                finds.add(Case::Remote, &at, &git.repository, what);
            }
            BuildSource::Web(address) => {
                finds.add(Case::Remote, &at, address, format!("whatever is behind {address}"));
            }
        }
    }
}

/// Whether a repository is named at a state that nobody can change.
fn is_commit(git: &GitSource) -> bool {
    git.reference.as_ref().is_some_and(|reference| {
        matches!(reference.len(), 40 | 64) && reference.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

pub(super) fn foreign(finds: &mut Finds<'_>) {
    let (subject, scene) = (finds.subject, finds.scene);
    for name in subject.spec.networks.keys() {
        let wanted = scene.desired.networks.get(name);
        let owner = scene.observed.networks.get(name).map(|network| &network.record.project);
        let others = owner.is_some_and(|owner| *owner != scene.desired.project);
        let external = wanted.is_some_and(|network| network.external || (network.shared && others));
        let key = scene.stack.networks.iter().find(|(_, network)| network.name == *name);
        let at = key.map_or("networks".to_owned(), |(key, _)| format!("networks.{key}"));
        add_foreign(finds, (&at, "network", name), external, owner);
    }
    for mount in mounts(finds) {
        let SourceSpec::Volume { name, .. } = mount.source else { continue };
        let external = scene.desired.volumes.get(name).is_some_and(|volume| volume.external);
        let owner = scene.observed.volumes.get(name).map(|volume| &volume.record.project);
        add_foreign(finds, (&mount.at, "volume", name), external, owner);
    }
    for (index, from) in subject.service.volumes_from.iter().enumerate() {
        if let VolumesSource::Container(name) = &from.source
            && !is_own(finds, name)
        {
            let what = format!("the volumes of the container {name}, which is not of this stack");
            finds.add(Case::Foreign, &format!("volumes_from.{index}"), name, what);
        }
    }
}

/// A network or volume that is external, or that another project owns.
fn add_foreign(
    finds: &mut Finds<'_>,
    (at, kind, name): (&str, &str, &str),
    external: bool,
    owner: Option<&String>,
) {
    let object = format!("{kind}={name}");
    match owner {
        Some(owner) if *owner == finds.scene.desired.project => {}
        Some(owner) if external => {
            let what = format!("the {kind} {name} of the project {owner}");
            finds.add(Case::Foreign, at, &object, what);
        }
        Some(owner) => {
            let what = format!("the {kind} {name}, which belongs to the project {owner}");
            finds.add(Case::Taken, at, &object, what);
        }
        None if external => {
            finds.add(Case::Foreign, at, &object, format!("the {kind} {name} of another stack"));
        }
        None => {}
    }
}
