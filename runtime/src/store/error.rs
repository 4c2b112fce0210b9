//! Why the store could not do what it was asked.

use std::io;
use std::path::{Path, PathBuf};

use super::digest::Digest;
use super::document::DocumentError;
use super::reference::ReferenceError;
use super::registry::RegistryError;
use super::unpack::UnpackError;

/// Anything that goes wrong in the store. The half-made is never visible under its final name.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum StoreError {
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error("{step} `{}`: {source}", path.display())]
    Host { step: &'static str, path: PathBuf, source: io::Error },
    #[error("image `{0}` is not in the store")]
    Missing(String),
    #[error("`{0}` is the beginning of {1} image ids: write more of it")]
    Ambiguous(String, usize),
    #[error("image `{0}` has changed in the meantime")]
    Moved(String),
    #[error(
        "`localhost/host` is the host's own programs; it cannot be tagged, pushed, removed or replaced"
    )]
    Reserved,
    #[error("`{0}` has a digest, and an image is pushed under a tag: push it by `NAME:TAG`")]
    NoTag(String),
    #[error(
        "the bytes of {0} are not in the store; pull the image from where it came from, then push it"
    )]
    NotKept(Digest),
    #[error("the {what} has digest {found}, {expected} was promised")]
    Digest { what: &'static str, expected: Digest, found: Digest },
    #[error("the {what} {digest} has {found} bytes, {expected} were promised")]
    Size { what: &'static str, digest: Digest, expected: u64, found: u64 },
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error("layer {digest}: {source}")]
    Layer { digest: Digest, source: UnpackError },
    #[error("`{}`: {problem}", path.display())]
    Archive { path: PathBuf, problem: String },
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("another berth is pulling or loading an image; run this again when it is done")]
    Busy,
    #[error("{}", .0.iter().map(|name| format!("image `{name}` is not in the store")).collect::<Vec<_>>().join("\n"))]
    MissingAll(Vec<String>),
    #[error("`localhost/host` is the host's own programs; it cannot be {0}")]
    HostImage(&'static str),
    #[error("`{0}` has a digest, which a new image only gets from its content; name it by a tag")]
    NewName(String),
    #[error("{0}")]
    Change(String),
    #[error("write the archive: {0}")]
    Output(io::Error),
    #[error("the work was stopped")]
    Stopped,
}

impl StoreError {
    /// For `map_err`: which step on which path the host refused.
    pub(super) fn host(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.to_owned();
        move |source| StoreError::Host { step, path, source }
    }
}
