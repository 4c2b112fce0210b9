//! Performs one action. Each creates what is not there or removes what is; anything else is a
//! stale plan.

pub(super) mod create;
mod drain;
pub(super) mod folder;
mod hold;
mod images;
mod inits;
mod volumes;
mod wait;

use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use berth_planner::action::Action;
use berth_planner::desired::ContainerSpec;
use berth_planner::observed::{ContainerRecord, Leftover};
use berth_schema::stack::OnChange;

use super::state::held_mark;
use super::{
    Host, StepError, Stored, claims, contents, names, network, observe, prepare, state, volume,
};
use crate::bundle::{Bundle, Phase, Status};
use crate::container::cgroup;
use crate::monitor::events::{Events, Happening};
use crate::monitor::{StartFailure, client};
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
            Action::RepairNetwork(network) => network::repair(roots, network).await,
            Action::RemoveNetwork { name } => network::remove(roots, name).await,
            Action::CreateVolume(record) => volume::create(roots, record),
            Action::RemoveVolume { name } => volumes::remove(self, name).await,
            Action::CreateContainer(record) => create::create(self, record).await,
            Action::UpdateContainer(record) => self.update(record).await,
            Action::StartContainer { name } => self.start(name, false).await,
            Action::StartBeside { name } => self.start(name, true).await,
            Action::AwaitStable { name, checked, unchecked, deadline } => {
                self.prove(name, (*checked, *unchecked), *deadline).await
            }
            Action::TakeOver { name, from } => self.take_over(name, from).await,
            Action::Watch { name, span } => wait::watch(self, name, *span).await,
            Action::Admit { delay, .. } => {
                tokio::time::sleep(*delay).await;
                Ok(())
            }
            // What waits for it is all there is to it.
            Action::Conclude { .. } => Ok(()),
            Action::Drain { name, patience } => drain::drain(self, name, *patience).await,
            Action::HoldPorts { name, ports, limit, drain } => {
                hold::hold(self, name, ports, (*limit, *drain)).await
            }
            Action::ReleasePorts { name, ports, patience } => {
                hold::release(self, name, ports, *patience).await
            }
            Action::AdoptContainer { name } => self.adopt(name).await,
            Action::AwaitContainer { name, condition, deadline } => {
                wait::wait_for(self, name, *condition, *deadline).await
            }
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

    /// The monitor changes what runs and what it starts next; the record comes last. Until then it
    /// says that a change is under way, so that the next plan repeats one that was cut short.
    async fn update(&self, wanted: &ContainerRecord) -> Result<(), StepError> {
        let name = &wanted.name;
        let stored = Stored::read(&self.roots, name)
            .map_err(|e| StepError::refused("read container", name, e))?
            .ok_or_else(|| StepError::Stale(format!("container `{name}` is not there")))?;
        let path = self.roots.container(name).join("record.json");
        let write = |stored: &Stored| {
            record::write(&path, stored, Durability::Durable)
                .map_err(|e| StepError::refused("write the record of", name, e))
        };
        // An address that somebody else has taken since the plan is found before all.
        claims::take_more(&self.roots, &stored.record, wanted)?;
        let given_back = |_: &StepError| {
            claims::release_rest(&self.roots, wanted, &stored.record);
        };
        let run_dir = self.roots.container_run(name);
        let differing = contents::differing(&self.roots, wanted);
        let is_monitored = client::is_monitored(&run_dir);
        let edited = stored.record.spec.bound_files != wanted.spec.bound_files;
        let rewriting = stored.rewriting || edited || !differing.is_empty();
        let marked = Stored { updating: true, rewriting, ..stored.clone() };
        let is_heard = || {
            stored.updating
                || !differing.is_empty()
                || !is_only_noted(&stored.record.spec, &wanted.spec)
                || self.has_moved_limits(wanted)
        };
        if is_monitored && is_heard() {
            let wiring = prepare::wiring(&self.roots, &stored, wanted).inspect_err(given_back)?;
            let cgroup = prepare::cgroup(&self.roots, wanted).inspect_err(given_back)?;
            let restart = prepare::restart(wanted.spec.restart);
            let upkeep =
                prepare::other_upkeep(&self.store, &stored, wanted).inspect_err(given_back)?;
            write(&marked).inspect_err(given_back)?;
            client::update(&run_dir, (cgroup, restart), wiring, upkeep)
                .await
                .map_err(|e| StepError::refused("update container", name, e))
                .inspect_err(given_back)?;
        } else if rewriting {
            write(&marked).inspect_err(given_back)?;
        }
        // What it uses by now it keeps: the next plan does the rest.
        let given_back = |error: &StepError| {
            if !is_monitored {
                given_back(error)
            }
        };
        contents::renew(&self.roots, wanted, &differing, is_monitored).inspect_err(given_back)?;
        if is_monitored && rewriting {
            self.signal_change(&wanted.name, &wanted.spec.on_change).await?;
        }
        let record = wanted.clone();
        let stamps = self.stamps_of(&record.spec);
        let updated =
            Stored { record, updating: false, rewriting: false, stamps, ..stored.clone() };
        if !client::is_monitored(&run_dir) {
            names::move_on(&self.roots, &stored.record, &updated).inspect_err(given_back)?;
        }
        write(&updated)?;
        claims::release_rest(&self.roots, &stored.record, wanted);
        Ok(())
    }

    fn has_moved_limits(&self, record: &ContainerRecord) -> bool {
        let here = cgroup::Hierarchies::known();
        here.is_ok_and(|here| !observe::moved_limits(&self.roots, here, record).is_empty())
    }

    async fn start(&self, name: &str, beside: bool) -> Result<(), StepError> {
        let bundle = {
            let roots = self.roots.clone();
            let store = self.store.clone();
            let name = name.to_owned();
            let held = self.held.lock().unwrap_or_else(|e| e.into_inner()).clone();
            blocking(move || prepare::bundle(&roots, &store, &name, &held, beside)).await?
        };
        let _ = fs::remove_file(held_mark(&self.roots, name));
        if !beside {
            state::mark_served(&self.roots.container(name))
                .map_err(|e| StepError::refused("start container", name, e))?;
        }
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

    /// Waits until a container is good. One that is not and was to take over is stopped, since it would
    /// do its work beside the one that serves for nothing; it stays for who wants to see why.
    async fn prove(
        &self,
        name: &str,
        times: (Duration, Duration),
        deadline: Option<Duration>,
    ) -> Result<(), StepError> {
        let proved = wait::stable(self, name, times, deadline).await;
        let status = client::status(&self.roots.container_run(name)).await;
        if proved.is_err() && status.is_ok_and(|status| status.beside) {
            // What is to be told is why it had to be stopped; the next plan sees that it runs still.
            let _ = self.stop(name, None, false).await;
        }
        proved
    }

    async fn take_over(&self, name: &str, from: &str) -> Result<(), StepError> {
        let run_dir = self.roots.container_run(name);
        let Err(e) = client::take_over(&run_dir, from).await else { return Ok(()) };
        // As it is asked for nothing else, that is what somebody else has done meanwhile.
        match client::status(&run_dir).await {
            Ok(status) if !status.beside => {
                Err(StepError::Stale(format!("container `{name}` serves already")))
            }
            Ok(_) | Err(_) => Err(StepError::refused("hand ports and names over to", name, e)),
        }
    }

    async fn adopt(&self, name: &str) -> Result<(), StepError> {
        let run_dir = self.roots.container_run(name);
        let adopted = self.starter().await?.adopt(&run_dir).await;
        adopted.map(|_| ()).map_err(|e| match e.step.as_str() {
            crate::monitor::HOOK_STEP => hook_failed(name, e),
            _ => StepError::failed("adopt container", name, e),
        })
    }

    async fn stop(&self, name: &str, grace: Option<Duration>, hold: bool) -> Result<(), StepError> {
        let refused = |e| StepError::refused("stop container", name, e);
        if hold {
            let mark = held_mark(&self.roots, name);
            record::write_bytes(&mark, b"", 0o600, Durability::Volatile).map_err(refused)?;
        }
        let run_dir = self.roots.container_run(name);
        self.adopt_to_stop(name, grace).await?;
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

    /// A container that runs hooks before its end needs a monitor for that, and one that another
    /// program made for what that program keeps of it: only a monitor calls it, never a program
    /// with threads.
    async fn adopt_to_stop(&self, name: &str, grace: Option<Duration>) -> Result<(), StepError> {
        let run_dir = self.roots.container_run(name);
        if client::is_monitored(&run_dir) {
            return Ok(());
        }
        let bundle: Option<Bundle> = record::read(&run_dir.join("bundle.json"))
            .map_err(|e| StepError::refused("read the bundle of", name, e))?;
        let hooks =
            |bundle: &Bundle| grace != Some(Duration::ZERO) && !bundle.hooks.pre_stop.is_empty();
        if bundle.is_none_or(|bundle| bundle.runtime.is_none() && !hooks(&bundle)) {
            return Ok(());
        }
        match self.adopt(name).await {
            // One that has failed before it is stopped is no reason not to stop it.
            Ok(()) | Err(StepError::HookFailed { .. } | StepError::Failed { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Tells what runs of another content, if it is to be told. One that does not run finds it when it
    /// starts.
    async fn signal_change(&self, name: &str, on_change: &OnChange) -> Result<(), StepError> {
        let OnChange::Signal(signal) = on_change else { return Ok(()) };
        let told = self.signal(name, signal).await;
        let status = client::status(&self.roots.container_run(name)).await;
        match status.is_ok_and(|status| status.phase == Phase::Running) {
            true => told,
            false => Ok(()),
        }
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
        let aside =
            folder::set_aside(&self.roots, &self.roots.container(name), "remove container", name)?;
        if let Some(stored) = stored {
            names::forget(&self.roots, &stored.record);
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
                network::remove_stray_rules(roots, container)
            }
            Leftover::Folder(path) => {
                match path.strip_prefix("networks/") {
                    Some(name) => network::remove_half_made(roots, name).await?,
                    None => folder::remove_folder(&roots.state.join(path))?,
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

/// Whether all that differs is what only the record has.
fn is_only_noted(before: &ContainerSpec, after: &ContainerSpec) -> bool {
    let (labels, annotations) = (after.labels.clone(), after.annotations.clone());
    let (expose, on_change) = (after.expose.clone(), after.on_change.clone());
    // Files that are mounted are seen as they are.
    let bound_files = after.bound_files.clone();
    *after
        == ContainerSpec { labels, annotations, expose, on_change, bound_files, ..before.clone() }
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

/// Runs host calls that may take long beside the async tasks.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StepError> + Send + 'static,
) -> Result<T, StepError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(StepError::failed("finish", "a host call", e)),
    }
}
