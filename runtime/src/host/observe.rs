//! Reads the host: records, status files, bridges, rules, cgroups. Changes nothing.

mod plugs;
mod spaces;
mod usage;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Barrier, Mutex, PoisonError};

use berth_planner::desired::PortSpec;
use berth_planner::observed::{
    ContainerRecord, ContainerState, HostFacts, Leftover, MovedLimit, Observed, ObservedContainer,
    ObservedImage, ObservedVolume, VolumeRecord,
};
use berth_schema::stack::Protocol;

use super::grounds::real;
use super::perform::folder::is_whole;
use super::state::{self, Folders};
use super::{Host, HostError, bound, contents, facts, listening, network, prepare};
use crate::container::cgroup::{Hierarchies, is_of_monitors};
use crate::paths::Roots;
use crate::record;

/// What is asked of the host beside what berth keeps of it.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Images, by their names.
    pub images: BTreeSet<String>,
    /// The project whose containers the plan may start, so that it counts where their paths lead.
    /// Nobody else looks: a file system behind a path may be one that never answers.
    pub to_start: Option<String>,
    /// Ports of the host that it may want for containers that it makes.
    pub ports: Wanted,
}

/// Ports of the host, each with the last one of its range.
pub type Wanted = BTreeSet<(Protocol, (u16, u16))>;

impl Asked {
    /// For a plan that may start containers of a project.
    pub fn to_start(project: &str) -> Asked {
        Asked { to_start: Some(project.to_owned()), ..Asked::default() }
    }
}

impl Host {
    /// The host as far as berth is concerned.
    ///
    /// # Errors
    /// [`HostError`] when state or kernel cannot be read; nothing is guessed.
    pub async fn observe(&self, asked: &Asked) -> Result<Observed, HostError> {
        let project = asked.to_start.as_deref();
        let reading = Reading::of(self, project);
        // The kernel's things are listed before the records that explain them: what another run
        // makes in between is then not seen, and never taken for something left over.
        let listed = Barrier::new(2);
        let (links, seen) = both(
            || {
                let links =
                    (network::links(&self.roots), facts::routes(), facts::read(&self.roots));
                listed.wait();
                (links, reading.share())
            },
            || {
                let groups = (groups_of(&self.roots), network::rules());
                listed.wait();
                (groups, reading.share())
            },
        );
        let (((links, routes, facts), first), ((groups, rules), second)) = (links, seen);
        let (routes, (hierarchies, groups)) = (routes?, groups?);
        let kernel = network::Kernel::of(&self.roots, links?, rules?);
        let mut leftovers = BTreeSet::new();
        let mut containers = self.gather(first?.into_iter().chain(second?), &mut leftovers);
        let mut ports = asked.ports.clone();
        for container in containers.values().filter(|c| Some(c.record.project.as_str()) == project)
        {
            ports.extend(wanted(&container.record.spec.ports));
        }
        let volumes = self.observe_volumes(&mut leftovers)?;
        let networks = network::observe(&self.roots, &kernel, &containers, &mut leftovers)?;
        plugs::compare(&kernel.links, &networks, &mut containers)?;
        let placed = containers.iter().filter(|(_, c)| c.record.spec.cgroup_parent.is_some());
        let elsewhere = placed.filter(|(name, container)| {
            hierarchies.group(&self.roots.cgroup_of(name, &container.record.spec)).exists()
        });
        let groups = groups.into_iter().filter(|name| !is_of_monitors(name));
        let groups = groups.chain(elsewhere.map(|(name, _)| name.clone())).collect();
        leftovers.extend(stray_cgroups(groups, &containers));
        for name in names_in(&self.roots.state.join("trash"))? {
            half_made(&self.roots, format!("trash/{name}"), &mut leftovers);
        }
        let gone = gone(&containers);
        let listening = listening::read(self, &ports, &containers, &kernel.foreign)?;
        Ok(Observed {
            host: HostFacts { routes, listening, links: facts::names(&kernel.links), ..facts },
            images: self.images(&asked.images)?,
            networks,
            volumes,
            containers,
            leftovers,
            gone,
        })
    }

    /// Every container of berth on this host, by name.
    ///
    /// # Errors
    /// [`HostError`] when a record cannot be read.
    pub fn list_containers(&self) -> Result<BTreeMap<String, ObservedContainer>, HostError> {
        let names = names_in(&self.roots.state.join("containers"))?;
        let many = names.len() >= WORTH_A_THREAD;
        let left = Mutex::new(Some(names.into_iter()));
        let reading = Reading { left, ..Reading::of(self, None) };
        let read: Vec<_> = match many {
            false => reading.share()?,
            true => {
                let (first, second) = both(|| reading.share(), || reading.share());
                first?.into_iter().chain(second?).collect()
            }
        };
        Ok(self.gather(read.into_iter(), &mut BTreeSet::new()))
    }

    /// The containers of what was read, with what they are to each other.
    fn gather(
        &self,
        read: impl Iterator<Item = (String, Option<ObservedContainer>)>,
        leftovers: &mut BTreeSet<Leftover>,
    ) -> BTreeMap<String, ObservedContainer> {
        let mut containers = BTreeMap::new();
        for (name, seen) in read {
            match seen {
                Some(seen) => drop(containers.insert(name, seen)),
                // The record is written last: a folder without one is half made.
                None => half_made(&self.roots, format!("containers/{name}"), leftovers),
            }
        }
        spaces::compare(&mut containers);
        containers
    }

    fn container(
        &self,
        folders: &Folders,
        name: &str,
        project: Option<&str>,
    ) -> Result<Option<ObservedContainer>, HostError> {
        let failed = |e| HostError::io("read container", self.roots.container(name), e);
        let Some(stored) = folders.read(name).map_err(failed)? else { return Ok(None) };
        let mut seen = state::observe(folders, stored).map_err(failed)?;
        seen.content_moved = contents::have_moved(&self.roots, &seen.record);
        if project == Some(seen.record.project.as_str()) {
            self.look_closer(&mut seen)?;
        }
        Ok(Some(seen))
    }

    /// What is looked at of the containers of the project that the plan may start.
    fn look_closer(&self, container: &mut ObservedContainer) -> Result<(), HostError> {
        container.moved = moved(&container.record);
        container.swapped = bound::swapped(container);
        let runs = matches!(container.state, ContainerState::Running { .. });
        if runs && !container.updating {
            let hierarchies = hierarchies()?;
            container.moved_limits = moved_limits(&self.roots, hierarchies, &container.record);
        }
        Ok(())
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
                None => half_made(&self.roots, format!("volumes/{name}"), leftovers),
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
}

/// From how many containers on reading some of them is worth a thread that does nothing else.
const WORTH_A_THREAD: usize = 16;

/// Containers that are being read by several, each container by one of them.
struct Reading<'a> {
    host: &'a Host,
    /// The project whose containers the plan may start.
    project: Option<&'a str>,
    /// Those that nobody reads yet, once the first one has asked.
    left: Mutex<Option<std::vec::IntoIter<String>>>,
}

impl<'a> Reading<'a> {
    fn of(host: &'a Host, project: Option<&'a str>) -> Reading<'a> {
        Reading { host, project, left: Mutex::new(None) }
    }

    /// Reads one after the other until none is left.
    fn share(&self) -> Result<Vec<(String, Option<ObservedContainer>)>, HostError> {
        let (mut read, mut opened) = (Vec::new(), None);
        let dir = self.host.roots.state.join("containers");
        while let Some(name) = self.next(&dir)? {
            let folders = match opened.take() {
                Some(folders) => folders,
                None => Folders::open(&self.host.roots)
                    .map_err(|e| HostError::io("open the folders of", &dir, e))?,
            };
            let seen = self.host.container(opened.insert(folders), &name, self.project)?;
            read.push((name, seen));
        }
        Ok(read)
    }

    fn next(&self, dir: &Path) -> Result<Option<String>, HostError> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let left = match left.take() {
            Some(names) => left.insert(names),
            None => left.insert(names_in(dir)?.into_iter()),
        };
        Ok(left.next())
    }
}

/// Both results, found at the same time.
pub(super) fn both<A, B: Send>(
    one: impl FnOnce() -> A,
    other: impl FnOnce() -> B + Send,
) -> (A, B) {
    std::thread::scope(|scope| {
        let other = scope.spawn(other);
        let one = one();
        match other.join() {
            Ok(other) => (one, other),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn hierarchies() -> Result<&'static Hierarchies, HostError> {
    Hierarchies::known().map_err(|e| HostError::Cgroups(e.to_string()))
}

/// The hierarchies of cgroups, and the names of ours.
fn groups_of(roots: &Roots) -> Result<(&'static Hierarchies, BTreeSet<String>), HostError> {
    let hierarchies = hierarchies()?;
    let groups = hierarchies.below(&roots.cgroups());
    Ok((hierarchies, groups))
}

/// Files that containers were made from and that are not there any more. One that nobody can look
/// at, as standard input, counts as there.
fn gone(containers: &BTreeMap<String, ObservedContainer>) -> BTreeSet<String> {
    let files: BTreeSet<&String> =
        containers.values().flat_map(|container| &container.record.config_files).collect();
    let gone = files.into_iter().filter(|file| {
        let path = Path::new(file.as_str());
        path.is_absolute() && matches!(path.try_exists(), Ok(false))
    });
    gone.cloned().collect()
}

/// What these ask for; a port of which any will do asks for none.
fn wanted(ports: &[PortSpec]) -> impl Iterator<Item = (Protocol, (u16, u16))> {
    ports.iter().filter_map(|port| Some((port.protocol, port.published?)))
}

/// Notes a folder without a record, unless another run is just making it.
pub(super) fn half_made(roots: &Roots, folder: String, leftovers: &mut BTreeSet<Leftover>) {
    let path = roots.state.join(&folder);
    // Who was just making it may have come to the end since it was looked at.
    if state::busy(&path) == Some(false) && !is_whole(&path) {
        leftovers.insert(Leftover::Folder(folder));
    }
}

/// Paths that lead elsewhere than where they led when they were judged, those of others that it
/// mounts too.
fn moved(record: &ContainerRecord) -> BTreeMap<PathBuf, PathBuf> {
    let judged = record.judged.iter().chain(&record.borrowed.judged);
    let now = judged.map(|(path, before)| (path, before, real(path)));
    let moved = now.filter(|(_, before, now)| before != &now);
    moved.map(|(path, _, now)| (path.clone(), now)).collect()
}

/// Limits that the kernel has otherwise than a container that runs was given them.
pub(super) fn moved_limits(
    roots: &Roots,
    hierarchies: &Hierarchies,
    record: &ContainerRecord,
) -> Vec<MovedLimit> {
    hierarchies.moved_limits(&prepare::without_devices(roots, record))
}

/// Cgroups of ours whose container has no record, or neither runs nor has a monitor.
fn stray_cgroups(
    groups: BTreeSet<String>,
    containers: &BTreeMap<String, ObservedContainer>,
) -> impl Iterator<Item = Leftover> {
    use berth_planner::observed::ContainerState::Running;
    let kept = |name: &String| {
        containers.get(name).is_some_and(|c| c.monitored || matches!(c.state, Running { .. }))
    };
    groups.into_iter().filter(move |name| !kept(name)).map(Leftover::Cgroup)
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
