//! What can go wrong: the request as `strace` would name it, its object, and the host's answer.

use std::io;

/// Result of a step of this crate.
pub type Result<T> = std::result::Result<T, NetError>;

/// A step that the host refused.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The kernel answered with an error.
    #[error("{step} `{object}`: {source}{}", detail.as_ref().map(|d| format!(" ({d})")).unwrap_or_default())]
    Refused {
        /// The request.
        step: &'static str,
        /// What it was about.
        object: String,
        /// The errno.
        source: io::Error,
        /// The kernel's own words, where it has some.
        detail: Option<String>,
    },
    /// A host port that another container has.
    #[error("port {port} is already published{}", owner.as_ref().map(|o| format!(" by `{o}`")).unwrap_or_default())]
    PortTaken {
        /// Port as people write it (`127.0.0.1:80/tcp`).
        port: String,
        /// Who published it, if it said so.
        owner: Option<String>,
    },
    /// A request that makes no sense, found before the kernel was asked.
    #[error("{0}")]
    Invalid(String),
}

impl NetError {
    /// The errno, when the kernel gave one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            NetError::Refused { source, .. } => source.raw_os_error(),
            NetError::PortTaken { .. } => Some(libc::EEXIST),
            NetError::Invalid(_) => None,
        }
    }

    /// The target already is there: the plan was stale.
    #[must_use]
    pub fn already_exists(&self) -> bool {
        self.errno() == Some(libc::EEXIST)
    }

    /// The target is not there (any more).
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self.errno(), Some(libc::ENOENT | libc::ENODEV))
    }
}

/// Turns an I/O error into a [`NetError`] that says what was tried.
pub(crate) fn refused<E: Into<io::Error>>(
    step: &'static str,
    object: impl Into<String>,
) -> impl FnOnce(E) -> NetError {
    let object = object.into();
    move |source| NetError::Refused { step, object, source: source.into(), detail: None }
}
