//! The program `berth`: words in, calls to the other crates, answers for people.
//!
//! Architecture invariant: nothing here decides what happens to a stack. A command module holds
//! its arguments, the order of the calls and the wording.
//!
//! Reading order: [`args`] (the words), [`session`] (what a command works with), [`commands`]
//! (one module each), [`ui`] (the only place that prints), [`failure`] (how it ends).

mod args;
mod commands;
mod doctor;
mod failure;
mod session;
mod ui;
mod values;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::args::{Cli, Command};
use crate::failure::{Exit, Failure};
use crate::session::Session;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let session = match Session::new(cli.global) {
        Ok(session) => session,
        Err(failure) => return ExitCode::from(failure.code()),
    };
    match run(&session, cli.command) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(failure) => {
            session.ui.failure(&failure);
            ExitCode::from(failure.code())
        }
    }
}

/// Help and version are answers (0); anything else is a usage error (64).
fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(64),
    }
}

/// Commands that need no waiting run as they are; the others in a small async runtime, built
/// only then, so that the first answer takes about a millisecond.
fn run(session: &Session, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Version(args) => commands::version::run(&session.ui, &args),
        command => runtime()?.block_on(commands::run(session, command)),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Failure::refused(format!("start the async runtime: {e}")))
}
