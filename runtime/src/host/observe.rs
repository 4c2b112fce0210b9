//! Reads the host: records, status files, bridges, rules, cgroups. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use berth_planner::observed::{
    Leftover, Observed, ObservedContainer, ObservedImage, ObservedVolume, VolumeRecord,
};

use super::{Host, HostError, Stored, facts, network, prepare, state};
use crate::container::cgroup::Hierarchies;
use crate::record;

impl Host {
    /// The host as far as berth is concerned; `references` are the images asked about.
    ///
    /// # Errors
    /// [`HostError`] when state or kernel cannot be read; nothing is guessed.
    pub async fn observe(&self, references: &BTreeSet<String>) -> Result<Observed, HostError> {
        let mut leftovers = BTreeSet::new();
        let containers = self.containers(&mut leftovers)?;
        let volumes = self.observe_volumes(&mut leftovers)?;
        let networks = network::observe(&self.roots, &containers, &mut leftovers).await?;
        self.stray_cgroups(&containers, &mut leftovers)?;
        for name in names_in(&self.roots.state.join("trash"))? {
            leftovers.insert(Leftover::Folder(format!("trash/{name}")));
        }
        Ok(Observed {
            host: facts::read(&self.roots).await?,
            images: self.images(references)?,
            networks,
            volumes,
            containers,
            leftovers,
        })
    }

    /// Every container of berth on this host, by name.
    ///
    /// # Errors
    /// [`HostError`] when a record cannot be read.
    pub fn list_containers(&self) -> Result<BTreeMap<String, ObservedContainer>, HostError> {
        self.containers(&mut BTreeSet::new())
    }

    fn containers(
        &self,
        leftovers: &mut BTreeSet<Leftover>,
    ) -> Result<BTreeMap<String, ObservedContainer>, HostError> {
        let dir = self.roots.state.join("containers");
        let mut containers = BTreeMap::new();
        for name in names_in(&dir)? {
            let read = |e| HostError::io("read container", dir.join(&name), e);
            match Stored::read(&self.roots, &name).map_err(read)? {
                Some(stored) => {
                    let seen = state::observe(&self.roots, stored).map_err(read)?;
                    containers.insert(name, seen);
                }
                // The record is written last: a folder without one is half made.
                None => {
                    leftovers.insert(Leftover::Folder(format!("containers/{name}")));
                }
            }
        }
        Ok(containers)
    }

    fn observe_volumes(
        &self,
        leftovers: &mut BTreeSet<Leftover>,
    ) -> Result<BTreeMap<String, ObservedVolume>, HostError> {
        let dir = self.roots.state.join("volumes");
        let mut volumes = BTreeMap::new();
        for name in names_in(&dir)? {
            let path = self.roots.volume(&name).join("record.json");
            let stored: Option<VolumeRecord> =
                record::read(&path).map_err(|e| HostError::io("read volume", &path, e))?;
            match stored {
                Some(record) => {
                    volumes.insert(name, ObservedVolume { record });
                }
                None => {
                    leftovers.insert(Leftover::Folder(format!("volumes/{name}")));
                }
            }
        }
        Ok(volumes)
    }

    fn images(
        &self,
        references: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, ObservedImage>, HostError> {
        let mut images = BTreeMap::new();
        for reference in references {
            if let Some(entry) = self.store.resolve(reference).map_err(HostError::store)? {
                let image = ObservedImage {
                    id: entry.id,
                    pulled_at: entry.pulled_at,
                    repo_digests: entry.digests,
                };
                images.insert(reference.clone(), image);
            }
        }
        Ok(images)
    }

    /// Cgroups below ours whose container has no record, or does not run and has no monitor.
    fn stray_cgroups(
        &self,
        containers: &BTreeMap<String, ObservedContainer>,
        leftovers: &mut BTreeSet<Leftover>,
    ) -> Result<(), HostError> {
        use berth_planner::observed::ContainerState::Running;
        let groups = Hierarchies::discover()
            .map_err(|e| HostError::Cgroups(e.to_string()))?
            .below(prepare::CGROUPS);
        for name in groups {
            let kept = containers
                .get(&name)
                .is_some_and(|c| c.monitored || matches!(c.state, Running { .. }));
            if !kept {
                leftovers.insert(Leftover::Cgroup(name));
            }
        }
        Ok(())
    }
}

/// Names in a folder, sorted; hidden ones are files being written.
pub(super) fn names_in(dir: &Path) -> Result<Vec<String>, HostError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(HostError::io("list", dir, e)),
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    Ok(names)
}
