//! Why a container could not be started.

use std::fmt::Display;
use std::io;

use serde::{Deserialize, Serialize};

/// The step that failed, what it was done to, and why.
///
/// It travels from the new process to its parent as JSON, so it is plain data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{step} `{object}`: {reason}")]
pub struct SetupError {
    /// What was tried, as a phrase: `mount overlay`.
    pub step: String,
    /// What it was tried on.
    pub object: String,
    /// The kernel's answer, where it gave one.
    pub errno: Option<i32>,
    /// The reason in words.
    pub reason: String,
    /// Exit status for `run` and `exec`: 127 no such program, 126 not executable, 125 else.
    pub exit_code: i32,
}

impl SetupError {
    /// A step that we refuse ourselves.
    pub fn refused(step: &str, object: impl Display, reason: impl Display) -> Self {
        SetupError {
            step: step.into(),
            object: object.to_string(),
            errno: None,
            reason: reason.to_string(),
            exit_code: 125,
        }
    }

    /// A step that the kernel refused.
    pub fn kernel(step: &str, object: impl Display, error: &io::Error) -> Self {
        let errno = error.raw_os_error();
        let reason = match errno {
            Some(errno) => {
                let errno = nix::errno::Errno::from_raw(errno);
                format!("{} ({errno:?})", errno.desc().to_lowercase())
            }
            None => error.to_string(),
        };
        SetupError { errno, ..Self::refused(step, object, reason) }
    }
}

/// Names the step and its object on a kernel error.
pub(crate) trait Context<T> {
    /// `step` is a phrase, `object` what it was done to.
    fn step(self, step: &str, object: impl Display) -> Result<T, SetupError>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn step(self, step: &str, object: impl Display) -> Result<T, SetupError> {
        self.map_err(|error| SetupError::kernel(step, object, &error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_step_object_and_errno() {
        let refused: Result<(), _> = Err(io::Error::from_raw_os_error(libc::EPERM));
        let error = refused.step("mount overlay", "/").unwrap_err();
        assert_eq!(error.to_string(), "mount overlay `/`: operation not permitted (EPERM)");
        assert_eq!((error.errno, error.exit_code), (Some(libc::EPERM), 125));
    }
}
