//! The host as berth sees and changes it: [`Host::observe`] reads, [`Host::perform`] does one
//! [`Action`](berth_planner::action::Action), nothing else touches it.

mod beside;
mod borrowed;
mod bound;
mod cdi;
mod changes;
mod claims;
mod contents;
mod copy;
mod devices;
mod error;
pub(crate) mod etc;
mod facts;
mod files;
mod generations;
mod grounds;
mod holes;
mod journal;
mod listening;
mod lock;
mod mapping;
mod modules;
mod names;
pub(crate) mod network;
mod observe;
mod owners;
mod pack;
mod perform;
mod prepare;
mod quota;
pub(crate) mod state;
mod stats;
mod view;
mod volume;
mod who;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use berth_planner::bound::Stamp;
use berth_planner::policy::Facts;
use berth_planner::ran::Ran;
use tokio::sync::OnceCell;

use crate::paths::Roots;
use crate::record;
use crate::sabotage::defence;
use crate::starter::Starter;
use crate::store::Store;

pub use cdi::cdi;
pub use changes::{Changed, How};
pub use copy::{CopyError, CopyOptions, HostEnd};
pub use devices::devices;
pub use error::{HostError, StepError};
pub use facts::{abilities, absent, platform, program, selinux, userns};
pub use files::FilesError;
pub(crate) use grounds::path_of;
pub use grounds::{grounds, nodes, real};
pub use journal::{Interrupted, Journal};
pub use lock::{Holder, Lock, command_line};
pub use mapping::unmapped;
pub use observe::{Asked, Wanted};
pub use pack::Packed;
pub use quota::storage;
pub use state::Stored;
pub use stats::{Figures, Sample};

/// A handle to the host: where its state is, the image store, and the starter once it is needed.
pub struct Host {
    roots: Roots,
    store: Arc<Store>,
    starter: OnceCell<Starter>,
    /// Containers whose records are not yet on the disk.
    unsettled: Mutex<Vec<String>>,
    /// What the paths of this run were judged to lead to.
    held: Mutex<grounds::Held>,
    /// What was read of files that containers mount.
    stamps: Mutex<BTreeMap<PathBuf, Stamp>>,
    run: journal::Run,
}

impl Host {
    /// Opens the state below `roots`, making its folders (mode 0700) when they are missing.
    ///
    /// # Errors
    /// [`HostError`] when we are not root, or when a root exists and is not ours alone.
    pub fn open(roots: Roots) -> Result<Host, HostError> {
        only_root()?;
        for dir in folders(&roots) {
            private_folder(&dir)?;
        }
        Ok(Host::at(without_detours(roots)?))
    }

    /// Opens the state below `roots` to look at it. Nothing is made: what is not there is empty.
    ///
    /// # Errors
    /// As [`Host::open`].
    pub fn look(roots: Roots) -> Result<Host, HostError> {
        only_root()?;
        for dir in folders(&roots) {
            is_private(&dir)?;
        }
        Ok(Host::at(without_detours(roots)?))
    }

    fn at(roots: Roots) -> Host {
        let store = Store::open(roots.images());
        Host {
            roots,
            store: Arc::new(store),
            starter: OnceCell::new(),
            unsettled: Mutex::default(),
            held: Mutex::default(),
            stamps: Mutex::default(),
            run: journal::Run::since(Instant::now()),
        }
    }

    /// The command that opened it began then: from there on its journal counts the time.
    pub fn begun_at(mut self, began: Instant) -> Host {
        self.run = journal::Run::since(began);
        self
    }

    /// From now on mounts of these paths are of what was judged, or they fail.
    pub fn hold_to(&self, facts: &Facts) {
        *self.held.lock().unwrap_or_else(|e| e.into_inner()) = grounds::held(facts);
    }

    /// Where things are.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// The image store.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Waits up to `wait` for the lock of a project and holds it until the value is dropped.
    ///
    /// # Errors
    /// [`HostError::Locked`] names who holds it.
    pub async fn lock(&self, project: &str, wait: std::time::Duration) -> Result<Lock, HostError> {
        lock::acquire(&self.roots.project(project), wait).await
    }

    /// Opens the journal of a project; also tells what an interrupted run was doing.
    ///
    /// # Errors
    /// What the host answers.
    pub fn journal(&self, project: &str) -> Result<(Journal, Option<Interrupted>), HostError> {
        Journal::open(&self.roots.project(project), &self.run)
    }

    /// When the last run began that changed something of a project, if there was one.
    ///
    /// # Errors
    /// What the host answers.
    pub fn last_run(&self, project: &str) -> Result<Option<String>, HostError> {
        journal::began(&self.roots.project(project))
    }

    /// The last run that changed something of a project, if there was one; the error says when it
    /// began, if it is of a version that wrote no times.
    ///
    /// # Errors
    /// What the host answers.
    pub fn ran(&self, project: &str) -> Result<Option<Result<Ran, String>>, HostError> {
        journal::ran(&self.roots.project(project))
    }

    /// Puts on the disk what was created; success may be told only after it.
    ///
    /// # Errors
    /// What the host answers.
    pub(crate) fn settle(&self) -> Result<(), StepError> {
        let names = std::mem::take(&mut *self.unsettled.lock().unwrap_or_else(|e| e.into_inner()));
        let record = |name: &String| self.roots.container(name).join("record.json");
        let records: Vec<PathBuf> = names.iter().map(record).collect();
        record::settle(&records)
            .map_err(|(path, e)| StepError::refused("write to the disk", path, e))
    }

    /// The process that starts monitors, spawned at first use.
    pub(crate) async fn starter(&self) -> Result<&Starter, StepError> {
        self.starter
            .get_or_try_init(|| async {
                Starter::spawn(&self.roots)
                    .map_err(|e| StepError::refused("start the starter", "berth", e))
            })
            .await
    }
}

fn only_root() -> Result<(), HostError> {
    rustix::process::geteuid().is_root().then_some(()).ok_or(HostError::NotRoot)
}

/// The folders that are ours alone, those above others first.
fn folders(roots: &Roots) -> Vec<PathBuf> {
    let durable = ["containers", "networks", "volumes", "projects", "images", "trash"];
    let of_boot = ["containers", "names"];
    let mut all = vec![roots.state.clone(), roots.run.clone()];
    all.extend(durable.iter().map(|name| roots.state.join(name)));
    all.extend(of_boot.iter().map(|name| roots.run.join(name)));
    all
}

/// Another spelling of the same place is the same realm; the usual place is known by its name.
fn without_detours(roots: Roots) -> Result<Roots, HostError> {
    if roots == Roots::default() {
        return Ok(roots);
    }
    let real = |dir: &Path| match fs::canonicalize(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(mapping::real(dir)),
        found => found.map_err(|e| HostError::io("find", dir, e)),
    };
    Ok(Roots { state: real(&roots.state)?, run: real(&roots.run)? })
}

/// Whether `dir` is there, and then ours alone.
fn is_private(dir: &Path) -> Result<bool, HostError> {
    match fs::symlink_metadata(dir) {
        Ok(meta) if !meta.is_dir() || meta.uid() != 0 || meta.mode() & 0o022 != 0 => {
            Err(HostError::Unsafe { path: dir.to_owned() })
        }
        Ok(_) => Ok(true),
        Err(_) => Ok(false),
    }
}

/// Makes `dir` with mode 0700, or checks that the one that is there is ours alone.
fn private_folder(dir: &Path) -> Result<(), HostError> {
    if is_private(dir)? {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(defence!("state.private", 0o700, 0o755))
        .create(dir)
        .map_err(|e| HostError::io("make folder", dir, e))
}
