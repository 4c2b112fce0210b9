//! Who said yes to what.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Case, Grant};

/// Somebody's yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// To what.
    pub to: Subjects,
    /// Where it was said.
    pub source: Source,
}

/// Which grants a consent covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subjects {
    /// Everything that can be consented to.
    All,
    /// This one grant, by its digest.
    One(String),
    /// Grants of a row, in the stack at hand.
    Row {
        /// `G-SOCK`.
        id: String,
        /// The service, or the name of the stack for what is handed to all of it.
        service: String,
        /// One of the things of its kind; `None` is all of them.
        object: Option<String>,
    },
    /// What a host file says: the same for one stack by name. Of paths, each is named.
    Host {
        /// The project.
        stack: String,
        /// As in [`Subjects::Row`].
        id: String,
        /// As in [`Subjects::Row`].
        service: String,
        /// Path without links, or another object.
        object: Option<String>,
        /// Only to what cannot be written to.
        read_only: bool,
    },
}

/// Where a consent was said; shown as what follows "consented".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `--allow`.
    Flag,
    /// An answer to a question of this run.
    Answer,
    /// An earlier run.
    Before,
    /// A file of the host.
    File(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Flag => f.write_str("by --allow"),
            Source::Answer => f.write_str("just now"),
            Source::Before => f.write_str("in an earlier run"),
            Source::File(path) => write!(f, "in {path}"),
        }
    }
}

impl Consent {
    /// Whether it is about this grant of `project`.
    pub(super) fn covers(&self, grant: &Grant, project: &str) -> bool {
        match &self.to {
            Subjects::All => true,
            Subjects::One(digest) => *digest == grant.digest,
            Subjects::Row { id, service, object } => {
                is_row(id, grant)
                    && is_of(service, grant, project)
                    && object.as_ref().is_none_or(|object| is_named(object, grant))
            }
            Subjects::Host { stack, id, service, object, read_only } => {
                stack == project
                    && is_row(id, grant)
                    && is_of(service, grant, project)
                    && (!read_only || grant.is_read_only())
                    && match object {
                        Some(object) => *object == grant.object,
                        None => !needs_object(grant),
                    }
            }
        }
    }
}

fn is_row(id: &str, grant: &Grant) -> bool {
    id == grant.id
}

fn is_of(service: &str, grant: &Grant, project: &str) -> bool {
    grant.service.as_deref().unwrap_or(project) == service
}

/// Whether somebody who runs a command means a grant by this word: a device also by its path, for
/// what is there now is remembered.
fn is_named(object: &str, grant: &Grant) -> bool {
    let path = match grant.case {
        Case::Device | Case::HostDevice => grant.object.split_once(' ').map(|(path, _)| path),
        _ => None,
    };
    object == grant.object || path == Some(object)
}

/// A host file names each path, device and profile that it gives away.
fn needs_object(grant: &Grant) -> bool {
    grant.object.starts_with('/') || grant.object.starts_with("seccomp=")
}

impl FromStr for Subjects {
    type Err = String;

    /// Reads `GRANT:SERVICE` and `GRANT:SERVICE:OBJECT`. The row may be written without `G-` and
    /// in any case, and `privileged` for `G-PRIV`. `all` is whatever the stack asks for now.
    fn from_str(text: &str) -> Result<Subjects, String> {
        if text == "all" {
            return Ok(Subjects::All);
        }
        let wrong = || format!("`{text}` is no consent: write `G-PRIV:web` or `G-BIND:web:/srv`");
        let (grant, rest) = text.split_once(':').ok_or_else(wrong)?;
        let (service, object) = match rest.split_once(':') {
            Some((service, object)) => (service, Some(object.to_owned())),
            None => (rest, None),
        };
        if service.is_empty() || object.as_ref().is_some_and(String::is_empty) {
            return Err(wrong());
        }
        let id = row(grant).ok_or_else(|| format!("`{grant}` is no grant: see `berth plan`"))?;
        Ok(Subjects::Row { id: id.to_owned(), service: service.to_owned(), object })
    }
}

/// The row somebody means.
pub(super) fn row(word: &str) -> Option<&'static str> {
    if word.eq_ignore_ascii_case("privileged") {
        return Some(Case::Privileged.id());
    }
    let is_meant = |id: &&str| {
        id.eq_ignore_ascii_case(word)
            || id.strip_prefix("G-").is_some_and(|id| id.eq_ignore_ascii_case(word))
    };
    Case::ALL.iter().map(|case| case.id()).find(is_meant)
}
