//! Where berth keeps things: one folder per thing, durable under `state`, of this boot under `run`.

use std::path::{Path, PathBuf};

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

    /// Names on a network, one file per running container (see [`crate::bundle::NameRecord`]).
    pub fn names(&self, network: &str) -> PathBuf {
        self.run.join("names").join(network)
    }

    /// Folder of a volume: `record.json` and the data in `data/`.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.state.join("volumes").join(name)
    }

    /// The image store.
    pub fn images(&self) -> PathBuf {
        self.state.join("images")
    }

    /// Lock and journal of a project.
    pub fn project(&self, name: &str) -> PathBuf {
        self.state.join("projects").join(name)
    }
}
