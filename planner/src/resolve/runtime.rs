//! The program that makes a container, and what it cannot make.

use berth_schema::stack::{IpcMode, MountSource, PidMode, Service};

use super::{ResolveProblem, Resolver};

/// Runtimes that keep the program away from this kernel: it cannot be checked or entered from here.
const SANDBOXES: [&str; 4] = ["kata", "kata-runtime", "krun", "runsc"];

impl Resolver<'_> {
    /// The name of the runtime, if it is not berth itself.
    pub(super) fn runtime(&mut self, name: &str, service: &Service) -> Option<String> {
        let runtime = service.runtime.as_ref()?;
        if let Some(why) = why_not(runtime) {
            let (service, runtime) = (name.to_owned(), runtime.clone());
            self.problems.insert(ResolveProblem::Runtime { service, runtime, why });
        }
        for (attribute, what) in beyond(service) {
            let (service, runtime) = (name.to_owned(), runtime.clone());
            let problem = ResolveProblem::BeyondRuntime { service, runtime, attribute, what };
            self.problems.insert(problem);
        }
        Some(runtime.clone())
    }
}

/// Whether a host may have a program of this name that makes containers.
pub(crate) fn is_runtime(runtime: &str) -> bool {
    why_not(runtime).is_none()
}

/// Why this cannot be a runtime, whatever the host has.
fn why_not(runtime: &str) -> Option<String> {
    let file = runtime.rsplit('/').next().unwrap_or_default();
    if let Some(shim) = runtime.strip_prefix("io.containerd.") {
        let program = shim.split('.').next().unwrap_or_default();
        return Some(format!(
            "this is the name of a shim of containerd, which has no part here: write the runtime \
             itself, `{program}`"
        ));
    }
    if SANDBOXES.contains(&file) {
        let why = "it keeps the program away from the kernel of this host, where berth could check, \
                   enter and copy from the container; such a sandbox cannot be had yet";
        return Some(why.to_owned());
    }
    if file.is_empty() || (runtime.contains('/') && !runtime.starts_with('/')) {
        return Some("it is a program on PATH by its name, or an absolute path".to_owned());
    }
    None
}

/// What the service asks for that only berth itself makes: the attribute, and what it is about.
fn beyond(service: &Service) -> Vec<(String, &'static str)> {
    let shared = "namespaces shared with another container";
    let mut found = Vec::new();
    if service.init == Some(true) {
        found.push(("init".to_owned(), "the small init as process 1"));
    }
    if matches!(service.pid, PidMode::Container(_) | PidMode::Service(_)) {
        found.push(("pid".to_owned(), shared));
    }
    if matches!(service.ipc, IpcMode::Container(_) | IpcMode::Service(_)) {
        found.push(("ipc".to_owned(), shared));
    }
    for (index, mount) in service.volumes.iter().enumerate() {
        if let MountSource::Bind { propagation: Some(word), .. } = &mount.source
            && !["private", "rprivate"].contains(&word.as_str())
        {
            let path = format!("volumes.{index}.bind.propagation");
            found.push((path, "mounts that come and go with those of the host"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_is_a_name_or_an_absolute_path() {
        for good in ["crun", "runc", "/opt/bin/crun", "nvidia-container-runtime"] {
            assert_eq!(why_not(good), None, "{good}");
        }
        for bad in ["io.containerd.runc.v2", "runsc", "/usr/bin/runsc", "bin/crun", "", "/"] {
            assert!(why_not(bad).is_some(), "{bad}");
        }
        assert!(why_not("io.containerd.runc.v2").unwrap().ends_with("`runc`"));
    }
}
