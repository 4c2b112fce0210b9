//! Copies files into a container and out of it.
//!
//! A process of ours, in the container's user namespace if it has one, has the container's side:
//! it resolves paths by the kernel below the container's root, and has no more rights there than
//! the container's root. Between it and us goes a tar stream, so nothing of the one side is ever
//! resolved on the other, and no program of the container or of the host is run.
//!
//! Reading order: this file, `place` (what a path leads to), `give` (its files into a stream),
//! `put` (a stream into files), `side` (the process).

mod give;
mod place;
mod put;
mod side;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use berth_planner::observed::{ContainerState, ObservedContainer};

use super::pack::Packed;
use super::prepare;
use super::{Host, StepError};
use crate::bundle::{Bundle, Status};
use crate::container::{SetupError, Target, hold};
use crate::record;
use give::Given;
use place::Base;
use put::{Owners, Put};
use side::Side;

/// The end of a copy that is not in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostEnd {
    /// Files of the host.
    Path(PathBuf),
    /// A tar stream: our standard input or output.
    Stream,
}

/// What a copy is asked for besides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopyOptions {
    /// Into a container: everything belongs to its user. Out of it: owners and set-id bits stay.
    pub archive: bool,
    /// Copy what a link at the source leads to instead of the link.
    pub follow: bool,
}

/// Why something was not copied. A part of it may have been.
#[derive(Debug, Clone, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum CopyError {
    #[error("there is no `{path}` {side}")]
    Missing { path: String, side: String },
    #[error("{step} `{path}`: {reason}")]
    Refused { step: String, path: String, reason: String },
    /// The other side broke off; its reason counts.
    #[error("the copy was broken off: {0}")]
    Broken(String),
    #[error(transparent)]
    Container(#[from] SetupError),
    #[error("{0}")]
    Host(String),
}

impl CopyError {
    fn refused(step: &str, path: &[u8], reason: impl std::fmt::Display) -> CopyError {
        let path = String::from_utf8_lossy(path).into_owned();
        CopyError::Refused { step: step.to_owned(), path, reason: reason.to_string() }
    }

    fn io(step: &str, path: &[u8], error: impl Into<io::Error>) -> CopyError {
        let told = SetupError::kernel(step, String::from_utf8_lossy(path), &error.into());
        CopyError::Refused { step: told.step, path: told.object, reason: told.reason }
    }
}

impl From<StepError> for CopyError {
    fn from(error: StepError) -> CopyError {
        CopyError::Host(error.to_string())
    }
}

impl Host {
    /// Copies `path` of a container to the host. For a process with one thread; the lock of the
    /// project is held when the container does not run.
    ///
    /// # Errors
    /// [`CopyError`].
    pub fn copy_out(
        &self,
        container: &ObservedContainer,
        path: &str,
        to: &HostEnd,
        options: CopyOptions,
    ) -> Result<Packed, CopyError> {
        let reached = self.reach(container)?;
        let given = Given { path: path.as_bytes().to_vec(), follow: options.follow };
        let streams = *to == HostEnd::Stream;
        let (side, mut stream) = Side::giving(&reached.side()?, &given, streams)?;
        let put = match to {
            HostEnd::Stream => {
                let copied = io::copy(&mut stream, &mut io::stdout().lock());
                copied.map(drop).map_err(|e| CopyError::io("write", b"-", e))
            }
            HostEnd::Path(to) => {
                let to = os_bytes(to);
                let owners = match options.archive {
                    true => Owners::Kept,
                    false => Owners::own(),
                };
                let put = Put { owners, set_ids: options.archive, capabilities: false };
                let base = Base::Host;
                put::thing(&base, &to, &given.name(), given.is_content(), put, &mut stream)
            }
        };
        drop(stream);
        settled(side.end(), put)
    }

    /// Copies files of the host, or a tar stream, to `path` of a container. As
    /// [`Host::copy_out`].
    ///
    /// # Errors
    /// [`CopyError`].
    pub fn copy_in(
        &self,
        from: &HostEnd,
        container: &ObservedContainer,
        path: &str,
        options: CopyOptions,
    ) -> Result<Packed, CopyError> {
        let reached = self.reach(container)?;
        let owners = match reached.user() {
            Some((uid, gid)) if options.archive => Owners::All(uid, gid),
            _ => Owners::Kept,
        };
        let put = Put { owners, set_ids: true, capabilities: true };
        let given = match from {
            HostEnd::Stream => None,
            HostEnd::Path(from) => Some(Given { path: os_bytes(from), follow: options.follow }),
        };
        let (side, mut stream) = Side::putting(&reached.side()?, path, given.as_ref(), put)?;
        let gave = match &given {
            None => pass(&mut io::stdin().lock(), &mut stream).map(|()| Packed::default()),
            Some(given) => give::give(&Base::Host, given, b".", &mut stream),
        };
        drop(stream);
        settled(gave, side.end().map(drop))
    }

    /// The container with its mounts, whether it runs or not.
    fn reach(&self, container: &ObservedContainer) -> Result<Reached, CopyError> {
        let name = &container.record.name;
        match container.state {
            ContainerState::Running { .. } => {
                let gone = || SetupError::refused("reach container", name, "it has just ended");
                let run_dir = self.roots.container_run(name);
                let target = first_process(&run_dir)?.ok_or_else(gone)?;
                let bundle: Option<Bundle> = read(&run_dir.join("bundle.json"))?;
                Ok(Reached { target, bundle: bundle.ok_or_else(gone)?, held: None })
            }
            ContainerState::Created | ContainerState::Exited { .. } => {
                let bundle = prepare::to_reach(&self.roots, &self.store, name)?;
                let held = hold(&bundle)?;
                Ok(Reached { target: held.target, bundle, held: Some(held) })
            }
            ContainerState::Restarting { .. } => {
                let reason = "it is about to be started again: stop it or try once more";
                Err(SetupError::refused("reach container", name, reason).into())
            }
            ContainerState::Broken => {
                Err(SetupError::refused("reach container", name, "it is half made").into())
            }
        }
    }
}

/// The first process of a container as its monitor has written it down, with its start time: the
/// number alone may be another's by now.
fn first_process(run_dir: &Path) -> Result<Option<Target>, CopyError> {
    let status: Option<Status> = read(&run_dir.join("status.json"))?;
    Ok(status.as_ref().and_then(Target::from_status))
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, CopyError> {
    record::read(path).map_err(|e| CopyError::Host(e.to_string()))
}

/// A container whose files can be reached.
struct Reached {
    target: Target,
    bundle: Bundle,
    held: Option<crate::container::Held>,
}

impl Reached {
    fn side(&self) -> Result<side::Door, CopyError> {
        side::Door::open(&self.target, self.bundle.id_base.is_some(), self.held.is_some())
    }

    /// The user that the container runs as, if that is not its root.
    fn user(&self) -> Option<(u32, u32)> {
        let ids = (self.bundle.process.uid, self.bundle.process.gid);
        (ids != (0, 0)).then_some(ids)
    }
}

/// What the two sides came to: the reason that is not the other's end counts.
fn settled(
    gave: Result<Packed, CopyError>,
    put: Result<(), CopyError>,
) -> Result<Packed, CopyError> {
    match (gave, put) {
        (Ok(packed), Ok(())) => Ok(packed),
        // What comes after the end of a stream is nothing that anybody wants.
        (Err(CopyError::Broken(_)), Ok(())) => Ok(Packed::default()),
        (Err(CopyError::Broken(_)), Err(error)) => Err(error),
        (Err(error), _) | (Ok(_), Err(error)) => Err(error),
    }
}

/// Hands a stream on.
fn pass(from: &mut impl Read, to: &mut impl Write) -> Result<(), CopyError> {
    match io::copy(from, to) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Err(CopyError::Broken(e.to_string())),
        Err(e) => Err(CopyError::io("read", b"-", e)),
    }
}

fn os_bytes(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_another_process_has_by_now_is_not_the_container() {
        let folder = std::env::temp_dir().join(format!("berth-reach-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let ours = Target::of(std::process::id().cast_signed()).unwrap();
        let write = |pid_start| {
            let status = Status { pid: ours.pid, pid_start, ..Status::default() };
            let text = serde_json::to_vec(&status).unwrap();
            std::fs::write(folder.join("status.json"), text).unwrap();
            first_process(&folder).unwrap().unwrap()
        };
        assert!(write(ours.start).is_alive());
        assert!(side::Door::open(&write(ours.start), false, false).is_ok());
        assert!(side::Door::open(&write(ours.start - 1), false, false).is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
