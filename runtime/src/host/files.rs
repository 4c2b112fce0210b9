//! A container's files, as a whole, as changes, and as a new image.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use berth_planner::desired::ContainerSpec;
use berth_planner::observed::{ContainerState, ObservedContainer};
use rustix::fs::{CWD, Mode};
use tokio::runtime::Handle;

use super::changes::{Changed, Comparison};
use super::pack::{PackError, Packed, Packer};
use super::prepare::all_mounts;
use super::view::{FOLDER, ImageView};
use super::{Host, Stored, state};
use crate::container::cgroup::Group;
use crate::monitor::client;
use crate::store::tape::TapeWriter;
use crate::store::{About, Change, Command, StoreError, Word};

/// Made for what every container mounts.
const ALWAYS_MOUNTED: [&str; 6] =
    ["/dev", "/proc", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

/// Why a container's files cannot be had.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum FilesError {
    #[error("container `{0}` is not there any more")]
    Gone(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{step} `{path}`: {source}")]
    Host { step: &'static str, path: String, source: io::Error },
    #[error("{0}")]
    Read(String),
    #[error("stop the processes of `{name}`: {source}")]
    Freeze { name: String, source: io::Error },
    #[error("the processes of `{name}` did not stand still to the end: {source}")]
    Ran { name: String, source: io::Error },
}

impl From<PackError> for FilesError {
    fn from(error: PackError) -> FilesError {
        match error {
            PackError::Store(error) => FilesError::Store(error),
            read @ PackError::Read { .. } => FilesError::Read(read.to_string()),
        }
    }
}

/// The files of one container: its image's layers and its own.
struct Files {
    layers: Vec<PathBuf>,
    upper: PathBuf,
    /// Mount targets, without the first slash.
    targets: BTreeSet<Vec<u8>>,
}

impl Host {
    /// Writes all files of a container, without its mounts, as a flat archive.
    ///
    /// # Errors
    /// When a file cannot be read or the output fails; a part is written then.
    pub fn export(&self, name: &str, out: impl Write) -> Result<Packed, FilesError> {
        let (_, files) = self.files(name)?;
        let view = files.view(true)?;
        let mut tape = TapeWriter::new(out);
        let mut packer = Packer::new(&mut tape, &files.targets);
        packer.tree(view.root(), b"")?;
        let packed = packer.packed();
        tape.finish().map_err(StoreError::Output)?;
        Ok(packed)
    }

    /// What a container changed of its image's files, by path.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn changes(&self, name: &str) -> Result<Vec<Changed>, FilesError> {
        let (_, files) = self.files(name)?;
        let view = files.view(false)?;
        let refused = |source| files.refused("compare", source);
        Comparison::of(&files.own()?, view.root(), &files.targets).map_err(refused)
    }

    /// Makes an image of a container: its image, what it changed, and how it was to be run. Its
    /// processes stand still meanwhile if `pause` says so. Gives the image's id. Blocks; `runtime`
    /// is asked to talk to its monitor.
    ///
    /// # Errors
    /// When the container cannot be frozen or read, does not stand still until it is read, or the
    /// image cannot be made.
    pub fn commit(
        &self,
        container: &ObservedContainer,
        about: &About,
        pause: bool,
        runtime: &Handle,
    ) -> Result<(String, Packed), FilesError> {
        let name = &container.record.name;
        let (stored, files) = self.files(name)?;
        let view = files.view(false)?;
        let own = files.own()?;
        let mut about = about.clone();
        let changes = as_changes(&stored.record.spec);
        about.changes.splice(0..0, changes);
        let running = matches!(container.state, ContainerState::Running { .. });
        let mut packed = Packed::default();
        let id = self.store().add_layer(&stored.record.image_id, &about, |tape| {
            let frozen = match pause && running {
                true => Some(runtime.block_on(self.freeze(name))?),
                false => None,
            };
            let mut packer = Packer::new(tape, &files.targets);
            packer.layer(&own, Some(view.root()), b"")?;
            packed = packer.packed();
            if let Some(frozen) = frozen {
                let ran = |source| FilesError::Ran { name: name.clone(), source };
                runtime.block_on(frozen.thaw()).map_err(ran)?;
            }
            Ok::<bool, FilesError>(packed.entries > 0)
        })?;
        Ok((id, packed))
    }

    async fn freeze(&self, name: &str) -> Result<client::Frozen, FilesError> {
        let refused = |source| FilesError::Freeze { name: name.to_owned(), source };
        let frozen = client::freeze(&self.roots().container_run(name)).await.map_err(refused)?;
        let path = state::cgroup(self.roots(), name).map_err(refused)?;
        Group::find(&path)
            .and_then(|group| group.await_frozen())
            .map_err(|error| refused(io::Error::other(error)))?;
        Ok(frozen)
    }

    fn files(&self, name: &str) -> Result<(Stored, Files), FilesError> {
        let folder = self.roots().container(name);
        let stored = Stored::read(self.roots(), name).map_err(|source| FilesError::Host {
            step: "read",
            path: folder.display().to_string(),
            source,
        })?;
        let stored = stored.ok_or_else(|| FilesError::Gone(name.to_owned()))?;
        let image = &stored.record.image_id;
        let config = self.store().config(image)?;
        let spec = &stored.record.spec;
        let extra = self.store().extra_mounts(image)?;
        let targets = all_mounts(&config, &stored.record)
            .into_keys()
            .chain(extra.into_iter().map(|mount| mount.target))
            .chain(spec.tmpfs.iter().map(|tmpfs| tmpfs.target.clone()))
            .chain(spec.files.iter().map(|file| file.target.clone()))
            .chain(ALWAYS_MOUNTED.map(str::to_owned));
        let targets = targets.map(|target| target.trim_matches('/').as_bytes().to_vec());
        let targets = targets.collect();
        let layers = self.store().layers(image)?;
        Ok((stored, Files { layers, upper: folder.join("upper"), targets }))
    }
}

impl Files {
    /// The image's files as one tree, with the container's own on top when `with_own` says so.
    fn view(&self, with_own: bool) -> Result<ImageView, FilesError> {
        let own = with_own.then(|| self.upper.clone());
        let folders: Vec<PathBuf> = own.into_iter().chain(self.layers.iter().cloned()).collect();
        ImageView::open(&folders).map_err(|source| self.refused("open", source))
    }

    fn own(&self) -> Result<OwnedFd, FilesError> {
        rustix::fs::openat(CWD, &self.upper, FOLDER, Mode::empty())
            .map_err(|errno| self.refused("open", errno.into()))
    }

    fn refused(&self, step: &'static str, source: io::Error) -> FilesError {
        FilesError::Host { step, path: self.upper.display().to_string(), source }
    }
}

/// How the container was to be run, as changes of its image's config.
fn as_changes(spec: &ContainerSpec) -> Vec<Change> {
    let word = |text: &String| Word::literal(text.as_str());
    let mut changes = Vec::new();
    for (key, value) in &spec.environment {
        changes.push(match value {
            Some(value) => Change::Env(vec![(word(key), word(value))]),
            None => Change::DropEnv(key.clone()),
        });
    }
    let labels = spec.labels.iter().map(|(key, value)| (word(key), word(value)));
    changes.push(Change::Label(labels.collect()));
    changes.extend(spec.entrypoint.clone().map(|words| Change::Entrypoint(Command::Exec(words))));
    changes.extend(spec.command.clone().map(|words| Change::Cmd(Command::Exec(words))));
    changes.extend(spec.user.iter().map(|user| Change::User(word(user))));
    changes.extend(spec.working_dir.iter().map(|path| Change::Workdir(word(path))));
    changes.extend(spec.stop_signal.iter().map(|signal| Change::StopSignal(word(signal))));
    changes.push(Change::Expose(spec.expose.iter().map(word).collect()));
    changes
}
