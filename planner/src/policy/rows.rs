//! The rows of the table: for each, how its cases are found in the model.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use berth_schema::stack::{BuildSource, Device, FileContent, NamedContext, Seccomp, Stack};

use super::{Case, Scene, Subject, files, others, resources, rights};
use crate::backing::Backing;
use crate::desired::{ContainerSpec, Desired, MountSpec, SourceSpec};
use crate::observed::Observed;

/// A privilege in the model, before anybody decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) case: Case,
    /// `None` is the whole stack.
    pub(super) service: Option<String>,
    /// Path of the attribute.
    pub(super) path: String,
    /// Which of the things of its kind.
    pub(super) object: String,
    /// How far it goes, where that makes a difference for a consent.
    pub(super) scope: &'static str,
    /// In plain words.
    pub(super) what: String,
}

/// What the finders of rows add to.
pub(super) struct Finds<'a> {
    pub(super) scene: &'a Scene<'a>,
    pub(super) subject: &'a Subject<'a>,
    pub(super) found: Vec<Found>,
}

impl Finds<'_> {
    /// Adds a case of the attribute `path` below the service; from the top of the model with a
    /// `/` before it, of the command line with `--`.
    pub(super) fn add(&mut self, case: Case, path: &str, object: &str, what: impl Into<String>) {
        self.add_scoped(case, path, (object, ""), what);
    }

    /// The same for an object that may be given more or less of.
    pub(super) fn add_scoped(
        &mut self,
        case: Case,
        path: &str,
        (object, scope): (&str, &'static str),
        what: impl Into<String>,
    ) {
        let path = match path.strip_prefix('/') {
            Some(top) => top.to_owned(),
            None if path.starts_with("--") => path.to_owned(),
            None => format!("services.{}.{path}", self.subject.name),
        };
        self.found.push(Found {
            case,
            service: Some(self.subject.name.to_owned()),
            path,
            object: object.to_owned(),
            scope,
            what: what.into(),
        });
    }
}

/// A row: its id, and what looks for its cases in a container.
struct Row {
    id: &'static str,
    find: fn(&mut Finds<'_>),
}

/// The rows about single containers. One that is taken out lets its attributes pass, and turns its
/// test red.
const ROWS: [Row; 28] = [
    Row { id: "G-PRIV", find: rights::privileged },
    Row { id: "G-CAP-HOST", find: rights::host_capabilities },
    Row { id: "G-CAP-NET", find: rights::network_capabilities },
    Row { id: "G-CAP-LOW", find: rights::other_capabilities },
    Row { id: "G-SEC", find: rights::defences },
    Row { id: "G-NS", find: rights::namespaces },
    Row { id: "G-LINK", find: resources::links },
    Row { id: "G-USERNS", find: rights::userns },
    Row { id: "G-NS-PEER", find: rights::peers },
    Row { id: "G-EXEC", find: rights::provider },
    Row { id: "G-HOOK", find: rights::hooks },
    Row { id: "G-CG", find: rights::placement },
    Row { id: "G-ROOT", find: rights::root },
    Row { id: "G-SOCK", find: files::sockets },
    Row { id: "G-BIND-ROOT", find: files::host_roots },
    Row { id: "G-BIND", find: files::binds },
    Row { id: "G-BIND-HIDDEN", find: files::hidden_binds },
    Row { id: "G-PROP", find: files::propagation },
    Row { id: "G-FILE", find: files::contents },
    Row { id: "G-RW", find: files::writable },
    Row { id: "G-DEV", find: resources::devices },
    Row { id: "G-LIM", find: resources::limits },
    Row { id: "G-SYSCTL", find: resources::sysctls },
    Row { id: "G-PUBLIC", find: resources::ports },
    Row { id: "G-LOG", find: files::logs },
    Row { id: "G-IMG", find: resources::images },
    Row { id: "G-REMOTE", find: resources::remote },
    Row { id: "G-XSTACK", find: resources::foreign },
];

/// All that the rows of which `keep` says so find in these containers and in their stack.
pub(super) fn all(
    scene: &Scene<'_>,
    subjects: &[Subject<'_>],
    keep: impl Fn(&str) -> bool,
) -> Vec<Found> {
    let mut found = Vec::new();
    for subject in subjects {
        let mut finds = Finds { scene, subject, found };
        let rows = ROWS.iter().filter(|row| keep(row.id));
        rows.for_each(|row| (row.find)(&mut finds));
        found = finds.found;
    }
    found.extend(of_stack(scene).into_iter().filter(|found| keep(found.case.id())));
    found
}

/// What is handed to the stack as a whole: of the rows `G-FILE`, `G-ENV` and `G-UNSIGNED`.
fn of_stack(scene: &Scene<'_>) -> Vec<Found> {
    let facts = scene.facts;
    let mut found = Vec::new();
    let mut add = |case: Case, path: String, object: &str, what: String| {
        let object = object.to_owned();
        found.push(Found { case, service: None, path, object, scope: "", what });
    };
    for name in &facts.variables {
        let open = facts.open_variables.contains(name);
        let case = if open { Case::OpenVariable } else { Case::Variable };
        add(case, format!("${name}"), name, format!("the variable {name} of the host"));
    }
    for file in &facts.files {
        let real = files::fact(facts, file).real;
        // Beside the stack it is of it, also where its folder holds more than the stack.
        if facts.is_project(&real) || real.parent() == Some(&facts.project) {
            continue;
        }
        let shown = real.display().to_string();
        let (at, what) =
            (file.display().to_string(), format!("what is in {shown}, outside the project"));
        add(Case::File, at, &shown, what);
    }
    if facts.unsigned {
        let what = "whoever can push to the repository decides what runs".to_owned();
        add(Case::Unsigned, "--".to_owned(), "", what);
    }
    found
}

/// Paths of the host that a judgement has to know: [`Facts::paths`](super::Facts::paths).
pub fn wanted(
    stack: &Stack,
    desired: &Desired,
    observed: &Observed,
    subjects: &[Subject<'_>],
) -> BTreeSet<PathBuf> {
    let mut paths = BTreeSet::new();
    for subject in subjects {
        paths.extend(given(desired, observed, &subject.spec));
        paths.extend(files::log_socket(&subject.spec).map(Path::to_owned));
        let lent = others::lent(desired, observed, &subject.spec);
        paths.extend(lent.iter().flat_map(|lent| of_mount(desired, observed, lent.mount)));
    }
    for service in stack.services.values() {
        if let Seccomp::Profile(path) = &service.security.seccomp {
            paths.insert(path.clone());
        }
        let Some(build) = &service.build else { continue };
        let named = build.contexts.values().filter_map(|context| match context {
            NamedContext::Files(source) => Some(source),
            NamedContext::Image(_) | NamedContext::OciLayout(_) | NamedContext::Service(_) => None,
        });
        for source in named.chain([&build.context]) {
            if let BuildSource::Path(path) = source {
                paths.insert(path.clone());
            }
        }
    }
    for object in stack.configs.values().chain(stack.secrets.values()) {
        if let FileContent::File(path) = &object.content {
            paths.insert(path.clone());
        }
    }
    paths
}

/// Host paths that a container is given: of binds, of volumes that are binds, of devices.
pub(crate) fn given(
    desired: &Desired,
    observed: &Observed,
    spec: &ContainerSpec,
) -> BTreeSet<PathBuf> {
    let mounts = spec.mounts.values().flat_map(|mount| of_mount(desired, observed, mount));
    mounts.chain(nodes(spec)).collect()
}

/// Devices, and folders of devices, that a container is given.
fn nodes(spec: &ContainerSpec) -> impl Iterator<Item = PathBuf> {
    spec.devices.iter().filter_map(|device| match device {
        Device::Node { source, .. } => Some(source.clone()),
        Device::Cdi { .. } => None,
    })
}

/// Paths below which a judgement has to know the devices:
/// [`Facts::devices`](super::Facts::devices).
pub fn wanted_devices(subjects: &[Subject<'_>]) -> BTreeSet<PathBuf> {
    subjects.iter().flat_map(|subject| nodes(&subject.spec)).collect()
}

fn of_mount(desired: &Desired, observed: &Observed, mount: &MountSpec) -> BTreeSet<PathBuf> {
    match &mount.source {
        SourceSpec::Bind { path, .. } => [path.clone()].into(),
        SourceSpec::Volume { name, .. } => devices(desired, observed, name),
        SourceSpec::Anonymous { .. } | SourceSpec::Image { .. } => BTreeSet::new(),
    }
}

/// The paths of the host that a volume is: the one it was made of if it is there, whoever made it,
/// and the one the stack wants.
pub(super) fn devices(desired: &Desired, observed: &Observed, volume: &str) -> BTreeSet<PathBuf> {
    let there = observed.volumes.get(volume).map(|volume| &volume.record.spec);
    let specs = there.into_iter().chain(desired.volumes.get(volume));
    specs.filter_map(|spec| device(&spec.driver_opts)).collect()
}

fn device(options: &BTreeMap<String, String>) -> Option<PathBuf> {
    match Backing::of(options) {
        Ok(Backing::Bind { device, .. }) => Some(device),
        Ok(Backing::Own | Backing::Memory { .. }) => None,
        // Refused elsewhere; until then it is what it says.
        Err(_) => options.get("device").map(PathBuf::from),
    }
}
