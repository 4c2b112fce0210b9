//! From words to a stack, and from a stack to what it asks of this host.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use berth_planner::bound;
use berth_planner::desired::{Content, Desired, OwnerSpec};
use berth_planner::observed::{HostFacts, Observed, ObservedContainer};
use berth_planner::resolve::{self, Inputs, Invoker, ResolveProblem};
use berth_planner::unfit;
use berth_runtime::host::{self, Host};
use berth_schema::config::{self, Switches};
use berth_schema::problem::Code;
use berth_schema::stack::{Document, FileContent, FileObject, Stack};
use berth_schema::{LoadOptions, Loaded, Problems};
use miette::Diagnostic as _;

use crate::failure::Failure;
use crate::session::Session;
use crate::source::Disk;

/// A project by its name, with its file when there is one to read.
#[derive(Debug)]
pub(crate) struct Project {
    /// Its name.
    pub(crate) name: String,
    /// What the file says; `None` when only the name was given.
    pub(crate) stack: Option<Stack>,
}

impl Project {
    /// A service that the file, if there is one, does not know is a mistake of the user.
    pub(crate) fn check_name(&self, service: &str) -> Result<(), Failure> {
        let Some(stack) = &self.stack else { return Ok(()) };
        let mut known = stack.services.keys().chain(&stack.inactive);
        if known.any(|name| name == service) {
            return Ok(());
        }
        Err(unknown_service(service, stack.services.keys().map(String::as_str)))
    }
}

impl Session {
    /// Loads the stack; `services` are switched on whatever their profiles. Warnings are shown.
    pub(crate) fn load(&self, services: &[String]) -> Result<Stack, Failure> {
        let loaded = self.read_files(services)?;
        for warning in loaded.warnings {
            self.ui.report(&miette::Report::new(warning));
        }
        Ok(loaded.stack)
    }

    /// As [`Session::load`], but what berth does not do yet is no problem: for showing the model.
    pub(crate) fn load_for_show(
        &self,
        options: &LoadOptions,
        switches: Switches,
    ) -> Result<Stack, Failure> {
        let loaded = config::load_with(options, switches, &Disk::new(options)).map_err(invalid)?;
        for warning in loaded.warnings {
            self.ui.report(&miette::Report::new(warning));
        }
        Ok(loaded.stack)
    }

    /// As [`Session::load_for_show`], for printing alone.
    pub(crate) fn document(
        &self,
        options: &LoadOptions,
        switches: Switches,
    ) -> Result<Document, Failure> {
        let shown = config::show(options, switches, &Disk::new(options)).map_err(invalid)?;
        for warning in shown.warnings {
            self.ui.report(&miette::Report::new(warning));
        }
        Ok(shown.document)
    }

    /// The project a command is about: with a name and no file given, the name is enough.
    pub(crate) fn project(&self) -> Result<Project, Failure> {
        match &self.global.project_name {
            Some(name) if self.global.files.is_empty() => {
                Ok(Project { name: name.clone(), stack: None })
            }
            _ => self.project_from_file(),
        }
    }

    fn project_from_file(&self) -> Result<Project, Failure> {
        match self.read_files(&[]) {
            Ok(loaded) => {
                Ok(Project { name: loaded.stack.name.clone(), stack: Some(loaded.stack) })
            }
            Err(failure) => match self.environment.get("COMPOSE_PROJECT_NAME") {
                Some(name) if !name.is_empty() => Ok(Project { name: name.clone(), stack: None }),
                _ => Err(failure),
            },
        }
    }

    fn read_files(&self, services: &[String]) -> Result<Loaded, Failure> {
        let options = self.options(services);
        berth_schema::load(&options, &Disk::new(&options)).map_err(invalid)
    }

    pub(crate) fn options(&self, services: &[String]) -> LoadOptions {
        LoadOptions {
            files: self.global.files.clone(),
            working_dir: self.working_dir.clone(),
            project_directory: self.global.project_directory.clone(),
            project_name: self.global.project_name.clone(),
            env_files: self.global.env_file.clone(),
            profiles: self.global.profile.clone(),
            environment: self.environment.clone(),
            services: services.to_vec(),
        }
    }
}

/// What `stack` asks of a host with these abilities and networks. Reads the files of its configs
/// and secrets, but for those whose contents are `kept`.
pub(crate) fn desired(
    stack: &Stack,
    facts: &HostFacts,
    observed: &Observed,
    kept: &BTreeMap<PathBuf, Vec<u8>>,
) -> Result<Desired, Failure> {
    let networks = observed.networks.clone();
    let written = bound::written(stack, &observed.containers);
    let bound_files = Host::bound_files(&bound::counted(stack, &written), &observed.containers);
    let mut inputs = Inputs { networks, written, bound_files, ..Inputs::default() };
    for path in resolve::wanted(stack) {
        let read = || kept.get(&path).map_or_else(|| fs::read(&path), |bytes| Ok(bytes.clone()));
        match read() {
            Ok(bytes) => drop(inputs.files.insert(path, bytes)),
            Err(e) => drop(inputs.unreadable.insert(path, e.to_string())),
        }
    }
    inputs.invoker = invoker(&stack.working_dir);
    inputs.missing = host::absent(&unfit::must_exist(stack));
    inputs.unmapped = host::unmapped(&resolve::bind_sources(stack));
    inputs.devices = host::devices(&resolve::wanted_devices(stack));
    if resolve::wants_cdi(stack) {
        inputs.cdi = host::cdi();
    }
    // Binds are looked for above.
    let (runtimes, storage) = (unfit::runtimes(stack), facts.storage.clone());
    inputs.abilities =
        Some(host::abilities(&BTreeSet::new(), &runtimes, storage, unfit::wants_sctp(stack)));
    let desired = resolve::resolve(stack, &inputs, facts);
    let mut desired = desired.map_err(|problems| unresolved(stack, &problems))?;
    desired.sources = sources(stack, inputs.files);
    Ok(desired)
}

/// The files a stack was resolved with, without those that are read for secrets alone.
fn sources(stack: &Stack, mut files: BTreeMap<PathBuf, Vec<u8>>) -> BTreeMap<PathBuf, Content> {
    let path = |object: &FileObject| match &object.content {
        FileContent::File(path) => Some(path.clone()),
        FileContent::Environment(..) | FileContent::Inline(_) | FileContent::External => None,
    };
    let configs: BTreeSet<PathBuf> = stack.configs.values().filter_map(path).collect();
    let secrets: BTreeSet<PathBuf> = stack.secrets.values().filter_map(path).collect();
    files.retain(|path, _| configs.contains(path) || !secrets.contains(path));
    files.into_iter().map(|(path, bytes)| (path, Content(Arc::new(bytes)))).collect()
}

/// Who may be meant by `owner: host`: root by sudo(8), or the owner of the project's folder.
pub(crate) fn invoker(folder: &Path) -> Invoker {
    let id = |name: &str| std::env::var(name).ok().and_then(|id| id.parse().ok());
    let sudo = id("SUDO_UID").zip(id("SUDO_GID")).map(|(uid, gid)| OwnerSpec { uid, gid });
    let folder = fs::metadata(folder).ok().map(|at| OwnerSpec { uid: at.uid(), gid: at.gid() });
    Invoker { sudo, folder }
}

/// Images the containers of a stack are made from, run in `pre_start`, or mount.
pub(crate) fn references(stack: &Stack) -> BTreeSet<String> {
    let services = stack.services.values();
    services
        .flat_map(|service| service.image.iter().chain(service.other_images()))
        .cloned()
        .collect()
}

/// Containers of `project`, in the order of service and number; `services` empty means all.
pub(crate) fn containers<'a>(
    observed: &'a Observed,
    project: &str,
    services: &[String],
) -> Vec<&'a ObservedContainer> {
    let of_project = observed.containers.values().filter(|c| c.record.project == project);
    let wanted =
        |c: &&ObservedContainer| services.is_empty() || services.contains(&c.record.service);
    let mut containers: Vec<_> = of_project.filter(wanted).collect();
    containers.sort_by_key(|c| (c.record.service.clone(), c.record.oneoff, c.record.number));
    containers
}

/// A service that neither the file nor a container knows is a mistake of the user.
pub(crate) fn check_services(
    project: &Project,
    observed: &Observed,
    services: &[String],
) -> Result<(), Failure> {
    let known = |service: &String| {
        let in_file = project.stack.as_ref().is_some_and(|stack| {
            stack.services.contains_key(service) || stack.inactive.contains(service)
        });
        in_file || !containers(observed, &project.name, std::slice::from_ref(service)).is_empty()
    };
    match services.iter().find(|service| !known(service)) {
        None => Ok(()),
        Some(service) => {
            let in_file = project.stack.iter().flat_map(|stack| stack.services.keys());
            let made = containers(observed, &project.name, &[]);
            let made = made.iter().map(|container| &container.record.service);
            Err(unknown_service(service, in_file.chain(made).map(String::as_str)))
        }
    }
}

/// A service that is not among the `known` ones, with the one that may be meant.
pub(crate) fn unknown_service<'a>(service: &str, known: impl Iterator<Item = &'a str>) -> Failure {
    let failure = Failure::refused(format!("no such service: `{service}`"));
    match berth_schema::nearest(service, known) {
        Some(near) => failure.with_help(format!("did you mean `{near}`?")),
        None => failure,
    }
}

/// Problems of a file.
pub(crate) fn invalid(problems: Problems) -> Failure {
    // A name on the command line is no fault of a file.
    if let [only] = problems.0.as_slice()
        && only.problem_code() == Some(Code::UnknownService)
        && only.place().is_none()
    {
        let help = only.help().map(|help| help.to_string());
        return Failure::Refused { message: only.to_string(), help };
    }
    Failure::Invalid(problems.0.into_iter().map(miette::Report::new).collect())
}

fn unresolved(stack: &Stack, problems: &[ResolveProblem]) -> Failure {
    let report = |problem: &ResolveProblem| match stack.places.find(&problem.path()) {
        Some(place) => miette::Report::msg(format!("{place}: {problem}")),
        None => miette::Report::msg(problem.to_string()),
    };
    Failure::Invalid(problems.iter().map(report).collect())
}
