//! What can go wrong on the host, with the step, the object and the errno.

use std::io;
use std::path::{Path, PathBuf};

use super::Holder;

/// Looking at the host, or preparing to change it, failed; nothing was touched.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Containers need root.
    #[error("berth needs root to run containers; run it with `sudo`")]
    NotRoot,
    /// A state folder that others can write is not to be trusted.
    #[error(
        "`{path}` is not a folder that only root can write; move it away or mend its owner and mode"
    )]
    Unsafe {
        /// The folder.
        path: PathBuf,
    },
    /// Another run holds the project's lock.
    #[error("project `{project}` is locked by {holder}; wait for it, or end it")]
    Locked {
        /// The project.
        project: String,
        /// Who has it.
        holder: Holder,
    },
    /// A host call failed.
    #[error("cannot {step} `{object}`: {source}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// On what.
        object: String,
        /// What the host answered.
        source: io::Error,
    },
    /// The cgroup hierarchies could not be read.
    #[error("cannot read the host's cgroups: {0}")]
    Cgroups(String),
    /// The network could not be read.
    #[error("cannot read the host's network: {0}")]
    Network(String),
    /// The record of a generation could not be read.
    #[error("cannot read the history of `{project}`: `{path}`: {source}")]
    Generation {
        /// The project.
        project: String,
        /// Of the record.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// The image store could not be read.
    #[error("cannot read the image store: {0}")]
    Store(String),
}

impl HostError {
    pub(crate) fn io(step: &'static str, object: impl AsRef<Path>, source: io::Error) -> HostError {
        HostError::Io { step, object: object.as_ref().display().to_string(), source }
    }

    pub(crate) fn store(e: impl std::fmt::Display) -> HostError {
        HostError::Store(e.to_string())
    }
}

/// A step of a plan failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The target is already there, or already gone: the plan was made of another host.
    #[error("the plan is stale: {0}")]
    Stale(String),
    /// The host refused.
    #[error("cannot {step} `{object}`: {source}")]
    Refused {
        /// What was tried.
        step: String,
        /// On what.
        object: String,
        /// What the host answered.
        source: io::Error,
    },
    /// Something other than a host call failed.
    #[error("cannot {step} `{object}`: {why}")]
    Failed {
        /// What was tried.
        step: String,
        /// On what.
        object: String,
        /// In words.
        why: String,
    },
    /// The program of a container was not started.
    #[error("cannot start `{name}`: {why}")]
    NotStarted {
        /// Container.
        name: String,
        /// Step, object and answer of the host.
        why: String,
        /// Exit status for `run`: 127 no such program, 126 not executable, 125 else.
        exit_code: i32,
    },
    /// A container runs, and a hook of its start failed.
    #[error("`{name}` runs, but {hook} failed: it {why}")]
    HookFailed {
        /// Container.
        name: String,
        /// Which, as a path in the file.
        hook: String,
        /// How, with the last lines it wrote.
        why: String,
    },
    /// A container of `pre_start` did not succeed; it stays to be looked at.
    #[error("`pre_start[{step}]` of `{service}` failed: `{name}` {why}")]
    InitFailed {
        /// Container.
        name: String,
        /// Its place in the list.
        step: u32,
        /// The service that does not start.
        service: String,
        /// How, with the last lines it wrote.
        why: String,
    },
    /// A dependency did not become what its dependents need.
    #[error("`{name}` {why}")]
    NotReady {
        /// Container.
        name: String,
        /// What it did instead.
        why: String,
    },
}

impl StepError {
    pub(crate) fn refused(step: &str, object: impl AsRef<Path>, source: io::Error) -> StepError {
        let object = object.as_ref().display().to_string();
        StepError::Refused { step: step.to_owned(), object, source }
    }

    pub(crate) fn failed(step: &str, object: &str, why: impl std::fmt::Display) -> StepError {
        StepError::Failed { step: step.to_owned(), object: object.to_owned(), why: why.to_string() }
    }

    /// Whether observing and planning again may help.
    pub fn is_stale(&self) -> bool {
        matches!(self, StepError::Stale(_))
    }
}
