//! Rows about files of the host: binds, sockets, volumes that are binds, contents.

use std::net::IpAddr;
use std::path::Path;

use berth_schema::stack::{
    BuildSource, FileContent, FileMount, FileObject, ForwardTo, NamedContext, SyslogAddress,
};

use super::paths::{Kind, Weight, weigh};
use super::rows::{Finds, devices};
use super::{Case, Facts, PathFact, others};
use crate::desired::{ContainerSpec, SourceSpec};

/// A path of the host in a container.
struct HostPath {
    /// Path of the attribute.
    at: String,
    fact: PathFact,
    read_only: bool,
    propagation: Option<String>,
    /// It is a volume.
    hidden: bool,
}

/// What is known of a path; of one that nobody looked at, that it has no links.
pub(super) fn fact(facts: &Facts, path: &Path) -> PathFact {
    facts.paths.get(path).cloned().unwrap_or_else(|| PathFact {
        real: path.to_owned(),
        kind: Kind::Missing,
        object: None,
        device: None,
        sockets: Vec::new(),
    })
}

/// Whether a path, resolved already, is of the project.
pub(super) fn in_project(facts: &Facts, path: &Path) -> bool {
    facts.is_project(&fact(facts, path).real)
}

/// A mount of a container, its own or one that it has of another one.
pub(super) struct Mounted<'a> {
    /// Path of the attribute.
    pub(super) at: String,
    pub(super) source: &'a SourceSpec,
    pub(super) read_only: bool,
    /// It stands among the volumes of the service.
    own: bool,
}

/// Every mount of the container.
pub(super) fn mounts<'a>(finds: &Finds<'a>) -> Vec<Mounted<'a>> {
    let (subject, scene) = (finds.subject, finds.scene);
    let own = subject.spec.mounts.iter().map(|(target, mount)| {
        let index = subject.service.volumes.iter().position(|own| own.target == *target);
        let at = index.map_or("--volume".to_owned(), |index| format!("volumes.{index}"));
        let (source, read_only) = (&mount.source, mount.read_only);
        Mounted { at, source, read_only, own: index.is_some() }
    });
    let lent = others::lent(scene.desired, scene.observed, &subject.spec).into_iter();
    let lent = lent.map(|lent| {
        let (at, source) = (lent.at, &lent.mount.source);
        Mounted { at, source, read_only: lent.read_only, own: false }
    });
    own.chain(lent).collect()
}

/// Every path of the host that the container mounts.
fn host_paths(finds: &Finds<'_>) -> Vec<HostPath> {
    let (subject, scene) = (finds.subject, finds.scene);
    let mut paths = Vec::new();
    for mount in mounts(finds) {
        let read_only = mount.read_only;
        let mut add = |at: &str, path: &Path, propagation: Option<&String>, hidden: bool| {
            let (at, fact) = (at.to_owned(), fact(scene.facts, path));
            let propagation = propagation.cloned();
            paths.push(HostPath { at, fact, read_only, propagation, hidden });
        };
        match mount.source {
            SourceSpec::Bind { path, propagation, .. } => {
                add(&mount.at, path, propagation.as_ref(), false);
            }
            SourceSpec::Volume { name, .. } => {
                let written = scene.stack.volumes.iter().find(|(_, volume)| {
                    mount.own && volume.name == *name && !volume.driver_opts.is_empty()
                });
                let at = written.map_or(mount.at.clone(), |(key, _)| {
                    format!("/volumes.{key}.driver_opts.device")
                });
                for device in devices(scene.desired, scene.observed, name) {
                    add(&at, &device, None, true);
                }
            }
            SourceSpec::Anonymous { .. } | SourceSpec::Image { .. } => {}
        }
    }
    if let Some(path) = log_socket(&subject.spec) {
        let (at, fact) = ("logging.options.syslog-address".to_owned(), fact(scene.facts, path));
        paths.push(HostPath { at, fact, read_only: false, propagation: None, hidden: false });
    }
    paths
}

/// The socket of the host to which the container's output goes, if it is not the usual one.
pub(super) fn log_socket(spec: &ContainerSpec) -> Option<&Path> {
    match syslog(spec)? {
        SyslogAddress::Unix(path) | SyslogAddress::Unixgram(path) => {
            Some(path.as_path()).filter(|path| *path != Path::new("/dev/log"))
        }
        SyslogAddress::Local | SyslogAddress::Udp(..) | SyslogAddress::Tcp(..) => None,
    }
}

fn syslog(spec: &ContainerSpec) -> Option<&SyslogAddress> {
    match &spec.logging.forwarding.as_ref()?.to {
        ForwardTo::Syslog(syslog) => Some(&syslog.address),
        ForwardTo::Journal => None,
    }
}

pub(super) fn logs(finds: &mut Finds<'_>) {
    let (kind, host, port) = match syslog(&finds.subject.spec) {
        Some(SyslogAddress::Tcp(host, port)) => ("tcp", host, port),
        Some(SyslogAddress::Udp(host, port)) => ("udp", host, port),
        _ => return,
    };
    let is_here = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !is_here {
        let (at, to) = ("logging.options.syslog-address", format!("{kind}://{host}:{port}"));
        finds.add(Case::LogAway, at, &to, format!("a place at {to}, where all it writes goes"));
    }
}

/// Adds the binds of which `case` makes something.
fn add_binds(finds: &mut Finds<'_>, case: fn(&Weight, hidden: bool) -> Option<Case>) {
    for path in host_paths(finds) {
        let weight = weigh(&path.fact, path.read_only, finds.scene.facts);
        let Some(case) = case(&weight, path.hidden) else { continue };
        let shown = path.fact.real.display().to_string();
        let (scope, mode) = if path.read_only { ("ro", ", read-only") } else { ("rw", "") };
        let what = match weight {
            Weight::Own => format!("{shown}, which is berth's own"),
            Weight::Socket(programs) => format!("the socket of {programs} ({shown}): the host"),
            Weight::Root(why) => format!("{shown}{mode}: {why}"),
            Weight::Outside | Weight::Public | Weight::Project => format!("{shown}{mode}"),
        };
        finds.add_scoped(case, &path.at, (&shown, scope), what);
    }
}

pub(super) fn sockets(finds: &mut Finds<'_>) {
    add_binds(finds, |weight, hidden| {
        (!hidden && matches!(weight, Weight::Socket(_))).then_some(Case::Socket)
    });
    if finds.subject.service.use_api_socket {
        let what = "the socket of whoever runs it: the host";
        finds.add(Case::Socket, "use_api_socket", "", what);
    }
}

pub(super) fn host_roots(finds: &mut Finds<'_>) {
    add_binds(finds, |weight, hidden| match weight {
        Weight::Own => Some(Case::OwnState),
        Weight::Root(_) if !hidden => Some(Case::HostRoot),
        _ => None,
    });
}

pub(super) fn binds(finds: &mut Finds<'_>) {
    add_binds(finds, |weight, hidden| match weight {
        _ if hidden => None,
        Weight::Outside => Some(Case::Bind),
        Weight::Public => Some(Case::PublicData),
        _ => None,
    });
}

pub(super) fn hidden_binds(finds: &mut Finds<'_>) {
    add_binds(finds, |weight, hidden| match weight {
        _ if !hidden => None,
        Weight::Own => None,
        Weight::Socket(_) | Weight::Root(_) => Some(Case::HiddenHostRoot),
        Weight::Outside => Some(Case::HiddenBind),
        Weight::Public | Weight::Project => Some(Case::HiddenOwn),
    });
}

pub(super) fn propagation(finds: &mut Finds<'_>) {
    for path in host_paths(finds) {
        if matches!(path.propagation.as_deref(), Some("shared" | "rshared")) {
            let shown = path.fact.real.display().to_string();
            let what = format!("mounts it makes in {shown} appear on the host");
            finds.add(Case::Propagation, &path.at, &shown, what);
        }
    }
}

pub(super) fn contents(finds: &mut Finds<'_>) {
    let (stack, service) = (finds.scene.stack, finds.subject.service);
    let configs = service.configs.iter().map(|mount| (mount, "configs", &stack.configs));
    let secrets = service.secrets.iter().map(|mount| (mount, "secrets", &stack.secrets));
    let mut add = |at: String, path: &Path| {
        if !in_project(finds.scene.facts, path) {
            let shown = fact(finds.scene.facts, path).real.display().to_string();
            let what = format!("what is in {shown}, outside the project");
            finds.add(Case::File, &at, &shown, what);
        }
    };
    for (mount, kind, objects) in configs.chain(secrets) {
        let mount: &FileMount = mount;
        let object: Option<&FileObject> = objects.get(&mount.source);
        if let Some(FileContent::File(path)) = object.map(|object| &object.content) {
            add(format!("/{kind}.{}.file", mount.source), path);
        }
    }
    let Some(build) = &service.build else { return };
    let named = build.contexts.iter().filter_map(|(name, context)| match context {
        NamedContext::Files(BuildSource::Path(path)) => Some((name, path)),
        _ => None,
    });
    for (name, path) in named {
        add(format!("build.additional_contexts.{name}"), path);
    }
    if let BuildSource::Path(path) = &build.context {
        add("build.context".to_owned(), path);
    }
}

pub(super) fn writable(finds: &mut Finds<'_>) {
    if !finds.subject.spec.read_only {
        finds.add(Case::Writable, "read_only", "", "files of its root that it may change");
    }
}
