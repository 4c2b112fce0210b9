//! Performs one action. Each creates what is not there or removes what is; anything else is a
//! stale plan.

mod images;
mod volumes;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use berth_planner::action::Action;
use berth_planner::desired::{MountSpec, SourceSpec, VolumeSpec};
use berth_planner::observed::{ContainerRecord, Health, Leftover, NetworkRecord, VolumeRecord};
use berth_schema::stack::Condition;

use super::owners::Owners;
use super::state::held_mark;
use super::{Host, StepError, Stored, borrowed, claims, network, prepare, state, volume};
use crate::bundle::{Bundle, Phase, Status};
use crate::container::cgroup;
use crate::monitor::events::{Events, Happening};
use crate::monitor::{StartFailure, client};
use crate::paths::Roots;
use crate::record::{self, Durability};
use crate::store::{LayerProgress, PullOptions};

impl Host {
    /// Performs `action`. Events of a pull go to `pulling`.
    ///
    /// # Errors
    /// [`StepError`]; what had been made by this action is then either nothing, or something that
    /// `observe` shows and the next plan removes.
    pub async fn perform(&self, action: &Action, pulling: LayerProgress) -> Result<(), StepError> {
        let roots = &self.roots;
        match action {
            Action::PullImage { reference, locked } => {
                self.pull(reference, locked.as_deref(), pulling).await
            }
            Action::CreateNetwork(network) => network::create(roots, network).await,
            Action::RepairNetwork(network) => self.repair(network).await,
            Action::RemoveNetwork { name } => network::remove(roots, name).await,
            Action::CreateVolume(record) => volume::create(roots, record),
            Action::RemoveVolume { name } => volumes::remove(self, name).await,
            Action::CreateContainer(record) => self.create(record).await,
            Action::UpdateContainer(record) => self.update(record).await,
            Action::StartContainer { name } => self.start(name).await,
            Action::AdoptContainer { name } => self.adopt(name).await,
            Action::AwaitContainer { name, condition } => self.wait_for(name, *condition).await,
            Action::StopContainer { name, grace, hold } => self.stop(name, *grace, *hold).await,
            Action::SignalContainer { name, signal } => self.signal(name, signal).await,
            Action::PauseContainer { name } => self.pause(name).await,
            Action::UnpauseContainer { name } => self.unpause(name).await,
            Action::RemoveContainer { name } => self.remove(name),
            Action::RemoveLeftover(leftover) => self.remove_leftover(leftover).await,
            Action::UntagImage { name, id } => images::untag(self, name, id).await,
            Action::RemoveImage { id, names } => images::remove(self, id, names).await,
            Action::SweepStore => images::sweep(self).await,
        }
    }

    async fn pull(
        &self,
        reference: &str,
        locked: Option<&str>,
        progress: LayerProgress,
    ) -> Result<(), StepError> {
        let options = PullOptions::default();
        let pulled = match locked {
            None => self.store.pull(reference, &options, progress).await,
            Some(digest) => self.store.pull_locked(reference, digest, &options, progress).await,
        };
        pulled.map(drop).map_err(|e| StepError::failed("pull image", reference, e))
    }

    async fn create(&self, wanted: &ContainerRecord) -> Result<(), StepError> {
        let image = wanted.image();
        // Until the record is there nothing else says what the container needs.
        let _using = images::hold(self, &image).await?;
        let _volumes = volumes::hold(self, &wanted.name).await?;
        let entry = self
            .store
            .resolve(&image)
            .map_err(|e| StepError::failed("read image", &image, e))?
            .ok_or_else(|| StepError::Stale(format!("image `{image}` is not in the store")))?;
        let stored = Stored {
            id: random_id().map_err(|e| StepError::refused("make an id for", &wanted.name, e))?,
            created_at: jiff::Timestamp::now().as_second(),
            record: ContainerRecord { image_id: entry.id, ..wanted.clone() },
        };
        let name = stored.record.name.clone();
        let roots = self.roots.clone();
        let store = self.store.clone();
        let events = Events::recorded(&roots, &stored.id, &stored.record);
        blocking(move || create_container(&roots, &store, &stored)).await?;
        events.add(Happening::Create);
        self.unsettled.lock().unwrap_or_else(|e| e.into_inner()).push(name);
        Ok(())
    }

    /// The monitor changes what runs and what it starts next; the record comes last.
    async fn update(&self, wanted: &ContainerRecord) -> Result<(), StepError> {
        let name = &wanted.name;
        let stored = Stored::read(&self.roots, name)
            .map_err(|e| StepError::refused("read container", name, e))?
            .ok_or_else(|| StepError::Stale(format!("container `{name}` is not there")))?;
        let run_dir = self.roots.container_run(name);
        if client::is_monitored(&run_dir) {
            let cgroup = prepare::cgroup(&self.roots, wanted)?;
            let restart = prepare::restart(wanted.spec.restart);
            client::update(&run_dir, cgroup, restart)
                .await
                .map_err(|e| StepError::refused("update container", name, e))?;
        }
        let stored = Stored { record: wanted.clone(), ..stored };
        let path = self.roots.container(name).join("record.json");
        record::write(&path, &stored, Durability::Durable)
            .map_err(|e| StepError::refused("write the record of", name, e))
    }

    async fn start(&self, name: &str) -> Result<(), StepError> {
        let bundle = {
            let roots = self.roots.clone();
            let store = self.store.clone();
            let name = name.to_owned();
            let held = self.held.lock().unwrap_or_else(|e| e.into_inner()).clone();
            blocking(move || prepare::bundle(&roots, &store, &name, &held)).await?
        };
        let _ = fs::remove_file(held_mark(&self.roots, name));
        let started = self.starter().await?.start(&bundle.run_dir).await;
        started.map(|_| ()).map_err(|e| match e.step.as_str() {
            // The starter of a run that was killed has done it in the meantime.
            crate::monitor::LOCK_STEP => StepError::Stale(e.to_string()),
            crate::monitor::HOOK_STEP => hook_failed(name, e),
            _ => StepError::NotStarted {
                name: name.to_owned(),
                why: e.to_string(),
                exit_code: e.exit_code,
            },
        })
    }

    async fn adopt(&self, name: &str) -> Result<(), StepError> {
        let run_dir = self.roots.container_run(name);
        let adopted = self.starter().await?.adopt(&run_dir).await;
        adopted.map(|_| ()).map_err(|e| match e.step.as_str() {
            crate::monitor::HOOK_STEP => hook_failed(name, e),
            _ => StepError::failed("adopt container", name, e),
        })
    }

    async fn wait_for(&self, name: &str, condition: Condition) -> Result<(), StepError> {
        let run_dir = self.roots.container_run(name);
        let not_ready = |why: String| StepError::NotReady { name: name.to_owned(), why };
        let mut updates = match client::subscribe(&run_dir).await {
            Ok(updates) => updates,
            // No monitor: what the last one wrote is all there will be.
            Err(_) => {
                let last: Option<Status> = record::read(&run_dir.join("status.json"))
                    .map_err(|e| StepError::refused("read status of", name, e))?;
                let last = last.unwrap_or_default();
                return match verdict(&last, condition) {
                    Some(verdict) => verdict.map_err(not_ready),
                    None => Err(not_ready("is not running".to_owned())),
                };
            }
        };
        while let Some(status) = updates.next().await {
            if let Some(verdict) = verdict(&status, condition) {
                return verdict.map_err(not_ready);
            }
        }
        Err(not_ready("lost its monitor".to_owned()))
    }

    async fn stop(&self, name: &str, grace: Option<Duration>, hold: bool) -> Result<(), StepError> {
        let refused = |e| StepError::refused("stop container", name, e);
        if hold {
            let mark = held_mark(&self.roots, name);
            record::write_bytes(&mark, b"", 0o600, Durability::Volatile).map_err(refused)?;
        }
        let run_dir = self.roots.container_run(name);
        self.adopt_for_hooks(name, grace).await?;
        match client::stop(&run_dir, grace, hold).await {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::TimedOut => Err(hanging(&run_dir, name)),
            // Its monitor is dead: the process is ended and cleaned up after from here.
            Err(_) => {
                let grace = grace.unwrap_or(Duration::from_secs(10));
                blocking(move || {
                    crate::monitor::kill_unmonitored(&run_dir, grace)
                        .map_err(|e| StepError::refused("stop container", &run_dir, e))
                })
                .await
            }
        }
    }

    /// A container that runs hooks before its end needs a monitor for that.
    async fn adopt_for_hooks(&self, name: &str, grace: Option<Duration>) -> Result<(), StepError> {
        let run_dir = self.roots.container_run(name);
        if grace == Some(Duration::ZERO) || client::is_monitored(&run_dir) {
            return Ok(());
        }
        let bundle: Option<Bundle> = record::read(&run_dir.join("bundle.json"))
            .map_err(|e| StepError::refused("read the bundle of", name, e))?;
        if bundle.is_none_or(|bundle| bundle.hooks.pre_stop.is_empty()) {
            return Ok(());
        }
        match self.adopt(name).await {
            // One that has failed before it is stopped is no reason not to stop it.
            Ok(()) | Err(StepError::HookFailed { .. } | StepError::Failed { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn repair(&self, network: &NetworkRecord) -> Result<(), StepError> {
        let containers = self
            .list_containers()
            .map_err(|e| StepError::failed("repair network", &network.name, e))?;
        network::repair(&self.roots, network, &containers).await
    }

    async fn signal(&self, name: &str, signal: &str) -> Result<(), StepError> {
        let number = prepare::signal_number(signal)
            .ok_or_else(|| StepError::failed("signal", name, format!("no signal `{signal}`")))?;
        client::signal(&self.roots.container_run(name), number)
            .await
            .map_err(|e| StepError::refused("signal container", name, e))
    }

    async fn pause(&self, name: &str) -> Result<(), StepError> {
        let refused = |e| StepError::refused("pause container", name, e);
        client::pause(&self.roots.container_run(name)).await.map_err(refused)?;
        // Done means that nothing of it runs any more.
        let path = state::cgroup(&self.roots, name).map_err(refused)?;
        blocking(move || {
            let group = cgroup::Group::find(&path);
            group
                .and_then(|group| group.await_frozen())
                .map_err(|e| StepError::failed("pause container", &path, e))
        })
        .await
    }

    async fn unpause(&self, name: &str) -> Result<(), StepError> {
        client::unpause(&self.roots.container_run(name))
            .await
            .map_err(|e| StepError::refused("unpause container", name, e))
    }

    fn remove(&self, name: &str) -> Result<(), StepError> {
        let run_dir = self.roots.container_run(name);
        if client::is_monitored(&run_dir) {
            return Err(StepError::Stale(format!("container `{name}` runs")));
        }
        if let Err(e) = fs::remove_dir_all(&run_dir)
            && e.kind() != io::ErrorKind::NotFound
        {
            return Err(StepError::refused("remove the run folder of container", name, e));
        }
        let stored = Stored::read(&self.roots, name)
            .map_err(|e| StepError::refused("read container", name, e))?;
        let aside = set_aside(&self.roots, &self.roots.container(name), "remove container", name)?;
        if let Some(stored) = stored {
            claims::release(&self.roots, &stored.record);
            Events::recorded(&self.roots, &stored.id, &stored.record).add(Happening::Destroy);
        }
        aside.remove().map_err(|e| StepError::refused("remove container", name, e))
    }

    async fn remove_leftover(&self, leftover: &Leftover) -> Result<(), StepError> {
        let roots = &self.roots;
        match leftover {
            Leftover::Cgroup(name) => {
                self.refuse_monitored(name)?;
                let path = state::cgroup(roots, name)
                    .map_err(|e| StepError::refused("read container", name, e))?;
                blocking(move || remove_cgroup(&path)).await
            }
            Leftover::Bridge(name) => network::remove_stray_bridge(roots, name).await,
            Leftover::PortRules(container) => {
                self.refuse_monitored(container)?;
                network::remove_stray_rules(container)
            }
            Leftover::Folder(path) => {
                match path.strip_prefix("networks/") {
                    Some(name) => network::remove_half_made(roots, name).await?,
                    None => remove_folder(&roots.state.join(path))?,
                }
                claims::sweep(roots);
                Ok(())
            }
        }
    }

    /// A container that another run has started since the plan has its own again.
    fn refuse_monitored(&self, name: &str) -> Result<(), StepError> {
        match client::is_monitored(&self.roots.container_run(name)) {
            true => Err(StepError::Stale(format!("container `{name}` runs again"))),
            false => Ok(()),
        }
    }
}

/// Ends what runs in a cgroup of ours that no container explains, and removes it.
fn remove_cgroup(path: &str) -> Result<(), StepError> {
    let failed = |e| StepError::failed("remove cgroup", path, e);
    let group = cgroup::Group::find(path).map_err(failed)?;
    if !group.exists() {
        return Ok(());
    }
    group.kill_all().map_err(failed)?;
    group.remove().map_err(failed)
}

/// Removes a half-made folder, unless somebody has begun to work in it again.
pub(super) fn remove_folder(path: &Path) -> Result<(), StepError> {
    match state::busy(path) {
        Some(true) => Err(StepError::Stale(format!("`{}` is in use", path.display()))),
        Some(false) => fs::remove_dir_all(path)
            .map_err(|e| StepError::refused("remove leftover folder", path, e)),
        None => Ok(()),
    }
}

fn hook_failed(name: &str, failure: StartFailure) -> StepError {
    let hook = format!("`{}`", failure.object);
    StepError::HookFailed { name: name.to_owned(), hook, why: failure.message }
}

/// The error for a monitor that lives and does not answer.
fn hanging(run_dir: &Path, name: &str) -> StepError {
    let status: Option<Status> = record::read(&run_dir.join("status.json")).unwrap_or_default();
    let pid = status.unwrap_or_default().monitor;
    let why = format!(
        "its monitor, process {pid}, does not answer; end it with `kill -KILL {pid}` and run the \
         same command again"
    );
    StepError::failed("stop container", name, why)
}

/// What `status` means for someone who waits for `condition`; `None` while it may still come.
fn verdict(status: &Status, condition: Condition) -> Option<Result<(), String>> {
    let ended = status.phase == Phase::Exited;
    let exit = || format!("exited ({})", status.exit_code);
    match condition {
        Condition::ServiceStarted => match status.phase {
            Phase::Running | Phase::Waiting | Phase::Stopping | Phase::Exited => Some(Ok(())),
            Phase::Starting => None,
        },
        Condition::ServiceCompletedSuccessfully if ended => {
            Some(if status.exit_code == 0 { Ok(()) } else { Err(exit()) })
        }
        Condition::ServiceHealthy => match status.health {
            Health::Healthy => Some(Ok(())),
            Health::Unhealthy => Some(Err("is unhealthy".to_owned())),
            _ if ended => Some(Err(exit())),
            Health::None if status.phase == Phase::Running => {
                Some(Err("has no healthcheck, so it never becomes healthy".to_owned()))
            }
            Health::None | Health::Starting => None,
        },
        Condition::ServiceCompletedSuccessfully => None,
    }
}

/// Folders, anonymous volumes, copies and files of a container; the record comes last.
fn create_container(
    roots: &Roots,
    store: &crate::store::Store,
    stored: &Stored,
) -> Result<(), StepError> {
    let record = &stored.record;
    let dir = roots.container(&record.name);
    let borrowed = borrowed::look(roots, store, record)?;
    let record = ContainerRecord { borrowed, ..record.clone() };
    let stored = &Stored { record, ..stored.clone() };
    let record = &stored.record;
    let _working = new_folder("create container", &dir, &record.name)?;
    claims::take(roots, record)?;
    // What a failure leaves is a folder without a record, and no claims.
    fill(roots, store, stored, &dir).inspect_err(|_| claims::release(roots, record))
}

/// Everything in the folder of a container.
fn fill(
    roots: &Roots,
    store: &crate::store::Store,
    stored: &Stored,
    dir: &Path,
) -> Result<(), StepError> {
    let record = &stored.record;
    let refused = |e| StepError::refused("create container", &record.name, e);
    for below in ["upper", "work", "logs"] {
        DirBuilder::new().mode(0o700).create(dir.join(below)).map_err(refused)?;
    }
    // The root of the container is the upper folder's mode and owner.
    fs::set_permissions(dir.join("upper"), fs::Permissions::from_mode(0o755)).map_err(refused)?;
    let image = |e: &dyn std::fmt::Display| {
        StepError::failed("read image", &record.spec.image, e.to_string())
    };
    let config = store.config(&record.image_id).map_err(|e| image(&e))?;
    let lowers = store.layers(&record.image_id).map_err(|e| image(&e))?;
    for (target, mount) in prepare::all_mounts(&config, record) {
        make_mount_source(roots, record, &target, &mount, &lowers)?;
    }
    write_files(roots, record)?;
    record::write(&dir.join("record.json"), stored, Durability::Volatile).map_err(refused)
}

fn make_mount_source(
    roots: &Roots,
    record: &ContainerRecord,
    target: &str,
    mount: &MountSpec,
    lowers: &[PathBuf],
) -> Result<(), StepError> {
    match &mount.source {
        SourceSpec::Volume { name, nocopy: false, subpath: None } => {
            volume::copy_up(roots, name, lowers, target)
        }
        SourceSpec::Volume { name, .. } => volume::data(roots, name).map(|_| ()),
        SourceSpec::Anonymous { nocopy, labels } => {
            let name = volume::anonymous_name(&record.name, target);
            // A replaced container leaves its anonymous volumes to the next one of its name.
            if !roots.volume(&name).join("record.json").exists() {
                volume::create(roots, &anonymous_volume(record, name.clone(), labels))?;
            }
            if *nocopy { Ok(()) } else { volume::copy_up(roots, &name, lowers, target) }
        }
        // Its layers are held against the store when the container starts.
        SourceSpec::Image { .. } => Ok(()),
        SourceSpec::Bind { path, create_host_path, .. } => match path.symlink_metadata() {
            Ok(_) => Ok(()),
            Err(_) if *create_host_path => volume::make_source(path, record.spec.owner),
            Err(e) => Err(StepError::refused("find the source of a bind mount", path, e)),
        },
    }
}

fn anonymous_volume(
    record: &ContainerRecord,
    name: String,
    labels: &BTreeMap<String, String>,
) -> VolumeRecord {
    VolumeRecord {
        name,
        project: record.project.clone(),
        spec: VolumeSpec { labels: labels.clone(), ..VolumeSpec::default() },
        container: Some(record.name.clone()),
    }
}

/// Contents of configs (durable) and secrets (memory only), as files named by their index.
fn write_files(roots: &Roots, record: &ContainerRecord) -> Result<(), StepError> {
    for (index, file) in record.spec.files.iter().enumerate() {
        let dir = files_dir(roots, &record.name, file.secret);
        let refused = |e| StepError::refused("write file for", &file.target, e);
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(refused)?;
        let path = dir.join(index.to_string());
        let bytes = &file.content.0;
        record::write_bytes(&path, bytes, 0o600, Durability::Volatile).map_err(refused)?;
        let owners = Owners::below(&dir, record.id_base);
        owners.give(&path, file.uid, file.gid).map_err(refused)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(file.mode)).map_err(refused)?;
    }
    Ok(())
}

/// Where the contents of a container's configs or secrets are.
pub(super) fn files_dir(roots: &Roots, name: &str, secret: bool) -> std::path::PathBuf {
    let dir = if secret { roots.container_run(name) } else { roots.container(name) };
    dir.join("files")
}

/// Makes a folder that must not be there yet, and marks it as worked in until the value is dropped.
pub(super) fn new_folder(step: &str, dir: &Path, object: &str) -> Result<fs::File, StepError> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => state::work_in(dir).map_err(|e| StepError::refused(step, object, e)),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            Err(StepError::Stale(format!("`{object}` is already there")))
        }
        Err(e) => Err(StepError::refused(step, object, e)),
    }
}

/// Takes a folder's name away at once, then its content.
pub(super) fn discard(
    roots: &Roots,
    dir: &Path,
    step: &str,
    object: &str,
) -> Result<(), StepError> {
    let aside = set_aside(roots, dir, step, object)?;
    aside.remove().map_err(|e| StepError::refused(step, object, e))
}

/// A folder that has lost its name, in `trash`; that is where a crash leaves it.
struct Aside {
    path: PathBuf,
    _working: io::Result<fs::File>,
}

impl Aside {
    fn remove(self) -> io::Result<()> {
        fs::remove_dir_all(&self.path)
    }
}

fn set_aside(roots: &Roots, dir: &Path, step: &str, object: &str) -> Result<Aside, StepError> {
    let kind = dir.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let name = format!("{}-{kind}-{object}", std::process::id());
    let path = roots.state.join("trash").join(name);
    let _working = state::work_in(dir);
    match fs::rename(dir, &path) {
        Ok(()) => Ok(Aside { path, _working }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            Err(StepError::Stale(format!("`{object}` is already gone")))
        }
        Err(e) => Err(StepError::refused(step, object, e)),
    }
}

/// 32 random bytes in hexadecimal.
fn random_id() -> io::Result<String> {
    let mut bytes = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Runs host calls that may take long beside the async tasks.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StepError> + Send + 'static,
) -> Result<T, StepError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(StepError::failed("finish", "a host call", e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_without_probe_never_becomes_healthy() {
        let status = Status { phase: Phase::Running, ..Status::default() };
        let verdict = verdict(&status, Condition::ServiceHealthy);
        let why = "has no healthcheck, so it never becomes healthy";
        assert_eq!(verdict, Some(Err(why.to_owned())));
    }

    #[test]
    fn only_status_zero_completes_successfully() {
        let wait = Condition::ServiceCompletedSuccessfully;
        let mut status = Status { phase: Phase::Running, ..Status::default() };
        assert_eq!(verdict(&status, wait), None);
        status.phase = Phase::Exited;
        assert_eq!(verdict(&status, wait), Some(Ok(())));
        status.exit_code = 3;
        assert_eq!(verdict(&status, wait), Some(Err("exited (3)".to_owned())));
    }
}
