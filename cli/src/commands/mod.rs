//! The commands, one module each: arguments, the order of the calls, the wording. No rules.

pub(crate) mod doctor;
pub(crate) mod version;

use crate::args::Command;
use crate::failure::{Exit, Failure};
use crate::session::Session;

/// Runs a command.
pub(crate) async fn run(session: &Session, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Version(args) => version::run(&session.ui, &args),
        Command::Doctor(args) => doctor::run(session, &args).await,
    }
}
