//! Where berth keeps things: one folder per thing, durable under `state`, of this boot under `run`.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use berth_planner::desired::ContainerSpec;
use berth_planner::observed;
use sha2::{Digest, Sha256};

/// The folder of a project with a folder for each of its generations.
pub(crate) const GENERATIONS: &str = "generations";

/// The two roots. `BERTH_ROOT=/x` moves them to `/x/lib` and `/x/run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// Durable state, `/var/lib/berth`.
    pub state: PathBuf,
    /// State of this boot, `/run/berth`.
    pub run: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Roots { state: "/var/lib/berth".into(), run: "/run/berth".into() }
    }
}

impl Roots {
    /// Both roots below one folder.
    pub fn below(root: &Path) -> Roots {
        Roots { state: root.join("lib"), run: root.join("run") }
    }

    /// Tells what this state names in the kernel from what other states on the same host name;
    /// empty at the usual place.
    pub fn realm(&self) -> String {
        if *self == Roots::default() {
            return String::new();
        }
        let digest = Sha256::digest(self.state.as_os_str().as_bytes());
        digest[..4].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The cgroup above those of all containers, below the root of each hierarchy.
    pub fn cgroups(&self) -> String {
        observed::cgroups(&self.realm())
    }

    /// The cgroup of a container.
    pub fn cgroup(&self, container: &str) -> String {
        format!("{}/{container}", self.cgroups())
    }

    /// The cgroup of a container that may have its own in another one.
    pub fn cgroup_of(&self, container: &str, spec: &ContainerSpec) -> String {
        let own = self.cgroup(container);
        spec.cgroup_parent.as_ref().map_or(own.clone(), |parent| format!("{parent}/{own}"))
    }

    /// Durable folder of a container: `record.json`, `upper/`, `work/`, `logs/`.
    pub fn container(&self, name: &str) -> PathBuf {
        self.state.join("containers").join(name)
    }

    /// Folder of a container for this boot: `bundle.json`, `status.json`, `sock`, `files/`.
    pub fn container_run(&self, name: &str) -> PathBuf {
        self.run.join("containers").join(name)
    }

    /// Folder of a network: `record.json`.
    pub fn network(&self, name: &str) -> PathBuf {
        self.state.join("networks").join(name)
    }

    /// Names on a network, one file per container (see [`crate::bundle::NameRecord`]).
    pub fn names(&self, network: &str) -> PathBuf {
        self.run.join("names").join(network)
    }

    /// Folder of a volume: `record.json` and the data in `data/`.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.state.join("volumes").join(name)
    }

    /// The host's own policy: `/etc/berth/policy.json`, of a state elsewhere beside it.
    pub fn policy(&self) -> PathBuf {
        match self.state.parent() {
            Some(root) if *self != Roots::default() => root.join("policy.json"),
            _ => "/etc/berth/policy.json".into(),
        }
    }

    /// The image store.
    pub fn images(&self) -> PathBuf {
        self.state.join("images")
    }

    /// Lock, journal and history of a project.
    pub fn project(&self, name: &str) -> PathBuf {
        self.state.join("projects").join(name)
    }

    /// A generation of a project: `record.json`, `compose.yaml`, `files/`.
    pub fn generation(&self, project: &str, number: u64) -> PathBuf {
        self.project(project).join(GENERATIONS).join(number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_states_on_one_host_have_cgroups_of_their_own() {
        assert_eq!(Roots::default().cgroup("web-1"), "berth/web-1");
        let (a, b) = (Roots::below(Path::new("/a")), Roots::below(Path::new("/b")));
        assert_ne!(a.cgroups(), b.cgroups());
        assert!(a.cgroups().starts_with("berth-"));
    }
}
