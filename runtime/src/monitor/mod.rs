//! One monitor per container: the parent of its first process, for as long as it lives.
//!
//! A monitor is a single thread that waits in one poll(2): for the end of the container, for its
//! output, for names it asks for, for clients, for the next probe. It starts the container again
//! where the file says so, writes `status.json` at each change, takes everything away when the
//! container has ended for good, and ends itself.
//!
//! Architecture invariant: nothing is lost with a monitor but its own memory. The container and
//! its published ports live on, its output waits in the FIFOs, and a new monitor goes on from
//! `bundle.json` and `status.json`.
//!
//! Reading order: `keep` (the loop), `life` (start, end, stop, adoption), `leave` (what is taken
//! away), `frozen` (standing still for a client), `update` (other limits, with `settle`), `succession` (ports and
//! names pass to another container), `hooks` and `checks` (what
//! is run and looked at), then the parts: `output`, `ports`, `network`, `relay`, `errand` with `probe`,
//! `look`, [`events`] with [`watch`], `server`, `sentry` (what others take from our networks is put
//! back); pure are `backoff`, `health`, `pattern` and `protocol`; `clock` is for what outlives a
//! monitor. For everybody
//! else there is [`client`].

mod backoff;
mod checks;
pub mod client;
mod clock;
mod deaf;
mod errand;
pub mod events;
mod frozen;
mod health;
mod hooks;
mod keep;
mod leave;
mod life;
mod look;
mod names;
mod network;
mod output;
mod pattern;
mod poll;
mod ports;
mod probe;
mod protocol;
mod relay;
mod resolver;
mod rewire;
mod sentry;
mod server;
mod settle;
mod succession;
mod update;
pub mod watch;

use std::fmt::Display;
use std::io;

use serde::{Deserialize, Serialize};

use crate::container::SetupError;

pub(crate) use keep::{Mode, run};
pub use leave::kill_unmonitored;
pub(crate) use network::published;
pub use protocol::Frame;

/// Locked exclusively for as long as a monitor lives.
const LOCK: &str = "lock";
/// The control socket.
const SOCKET: &str = "sock";
/// All that the container was made from.
const BUNDLE: &str = "bundle.json";
/// Links, names and ports that it is to have instead.
const WIRING: &str = "wiring.json";
/// What is to be done about it instead.
const UPKEEP: &str = "upkeep.json";
/// What it does.
const STATUS: &str = "status.json";

/// Why a container was not started or adopted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{step} `{object}`: {message}")]
pub struct StartFailure {
    /// What was tried, as a phrase: `reserve port`.
    pub step: String,
    /// What it was tried on.
    pub object: String,
    /// Why it failed.
    pub message: String,
    /// Exit status for `run`: 127 no such program, 126 not executable, 125 else.
    pub exit_code: i32,
}

/// The step of a [`StartFailure`] that says there is a monitor already.
pub(crate) const LOCK_STEP: &str = "lock";
/// The step of a [`StartFailure`] of a container that runs, and whose hook failed.
pub(crate) const HOOK_STEP: &str = "run";

impl StartFailure {
    pub(crate) fn new(step: &str, object: impl Display, message: impl Display) -> StartFailure {
        StartFailure {
            step: step.to_owned(),
            object: object.to_string(),
            message: message.to_string(),
            exit_code: 125,
        }
    }
}

impl From<SetupError> for StartFailure {
    fn from(error: SetupError) -> StartFailure {
        StartFailure {
            step: error.step,
            object: error.object,
            message: error.reason,
            exit_code: error.exit_code,
        }
    }
}

/// Names the step and its object on an error of the host.
trait Step<T> {
    fn step(self, step: &str, object: impl Display) -> Result<T, StartFailure>;
}

impl<T> Step<T> for io::Result<T> {
    fn step(self, step: &str, object: impl Display) -> Result<T, StartFailure> {
        self.map_err(|error| StartFailure::new(step, object, error))
    }
}
