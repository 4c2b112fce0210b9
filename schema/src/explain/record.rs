//! What a load leaves behind when somebody wants to know where a value came from.

use std::path::PathBuf;

use crate::environment::Said;
use crate::interpolate::Variables;
use crate::text::Span;
use crate::tree::Node;

/// Everything that was read, in the order of reading. Only kept for `explain`.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub documents: Vec<Document>,
    pub env_files: Vec<EnvFile>,
}

/// One document of a Compose file, alone.
#[derive(Debug)]
pub(crate) struct Document {
    /// As it is written.
    pub raw: Node,
    /// Interpolated and in the long form, before anything is merged.
    pub tree: Node,
    /// Directory its paths count from.
    pub base: PathBuf,
    /// How many files include it, one through the other.
    pub depth: usize,
    /// The variables it saw.
    pub variables: Variables,
}

/// One environment file.
#[derive(Debug)]
pub(crate) struct EnvFile {
    /// Where a service names it; `None` for `.env` and the like.
    pub named_at: Option<Span>,
    /// As [`Document::depth`].
    pub depth: usize,
    /// What it says.
    pub pairs: Vec<Said>,
}
