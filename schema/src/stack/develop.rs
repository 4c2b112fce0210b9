//! What happens when a source file changes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Hook;

/// A path that is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// File or directory of the host, absolute.
    pub path: PathBuf,
    /// What a change does.
    pub action: WatchAction,
    /// Patterns of what does not count, as in `.dockerignore`.
    pub ignore: Vec<String>,
    /// Patterns of what counts; empty is everything.
    pub include: Vec<String>,
    /// Copy everything once at the start.
    pub initial_sync: bool,
}

/// What a change does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchAction {
    /// Build the image and replace the container.
    Rebuild,
    /// Start the container again.
    Restart,
    /// Copy what changed.
    Sync {
        /// Path in the container.
        target: String,
    },
    /// Copy what changed and start the container again.
    SyncRestart {
        /// Path in the container.
        target: String,
    },
    /// Copy what changed and run a command.
    SyncExec {
        /// Path in the container.
        target: String,
        /// The command.
        hook: Hook,
    },
}
