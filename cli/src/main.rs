//! The program `berth`: words in, calls to the other crates, answers for people.
//!
//! Architecture invariant: nothing here decides what happens to a stack. A command module holds
//! its arguments, the order of the calls and the wording.
//!
//! Reading order: [`args`] (the words), [`session`] (what a command works with), [`commands`]
//! (one module each), [`ui`] (the only place that prints), [`failure`] (how it ends).

mod args;
mod asking;
mod attach;
mod attached;
mod commands;
mod doctor;
mod extra;
mod failure;
mod flow;
mod follow;
mod form;
mod generations;
mod images;
mod inspected;
mod keep;
mod layers;
mod locking;
mod loss;
mod next;
mod pick;
mod policy;
mod ports;
mod printer;
mod project;
mod reach;
mod ready;
mod rejected;
mod relay;
mod rows;
mod saved;
mod secrets;
mod session;
mod signals;
mod sink;
mod source;
mod taken_back;
mod template;
mod terminal;
mod ui;
mod values;
mod views;
mod wording;

use std::ffi::OsString;
use std::mem::ManuallyDrop;
use std::process::ExitCode;

use berth_runtime::apply::end_workers;
use berth_runtime::{container, starter};
use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory, FromArgMatches};

use crate::args::{Ansi, Cli, Command, ProgressStyle};
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::ui::Ui;

fn main() -> ExitCode {
    // Monitors look after the packet rules too.
    #[cfg(feature = "sabotage")]
    let _ = berth_network::sabotage::ASK.set(berth_runtime::sabotaged);
    enter_hidden();
    #[cfg(feature = "sabotage")]
    if berth_runtime::sabotaged("names.grammar") {
        berth_schema::ANY_NAME.store(true, std::sync::atomic::Ordering::Relaxed);
    }
    #[cfg(feature = "sabotage")]
    if berth_runtime::sabotaged("sysctl.grammar") {
        berth_schema::ANY_SETTING.store(true, std::sync::atomic::Ordering::Relaxed);
    }
    let cli = match words() {
        Ok(cli) => cli,
        Err(error) => return usage(error),
    };
    trace();
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

/// What was asked for. All commands are described for who asks for help or is not understood; the
/// thousands of parts of that are more work than many a command.
fn words() -> Result<Cli, clap::Error> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let mut few = ManuallyDrop::new(Cli::described(&words));
    if let Ok(mut matches) = few.try_get_matches_from_mut(&words)
        && let Ok(cli) = Cli::from_arg_matches_mut(&mut matches)
    {
        return Ok(cli);
    }
    let mut all = ManuallyDrop::new(Cli::all());
    let mut matches = all.try_get_matches_from_mut(words)?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut all))
}

/// Our own program executed again as a small process of one thread: the parent of monitors, and
/// the parent of a process in a container, the relay of a port, and the keeper of a terminal. These never return, and nothing may come before them.
fn enter_hidden() {
    match std::env::args_os().nth(1) {
        Some(word) if word == starter::WORD => starter::main(),
        Some(word) if word == container::HELPER_WORD => container::helper_main(),
        Some(word) if word == berth_runtime::relay::WORD => berth_runtime::relay::main(),
        Some(word) if word == keep::WORD => keep::main(),
        _ => {}
    }
}

/// `BERTH_LOG=debug` tells on standard error what goes on inside.
fn trace() {
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("BERTH_LOG") {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
}

/// Help and version are answers (0); anything else is a usage error (64).
fn usage(mut error: clap::Error) -> ExitCode {
    if error.kind() == ErrorKind::MissingSubcommand {
        tell_help();
        return ExitCode::from(64);
    }
    // What is no option of ours is seldom meant as a value.
    error.remove(ContextKind::Suggested);
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => return ExitCode::SUCCESS,
        ErrorKind::UnknownArgument if misplaced(&error) => {
            let ui = Ui::new(Ansi::Auto, ProgressStyle::Auto);
            ui.note("  `-f` and `-p` stand before the command: berth -f FILE -p NAME up");
        }
        _ => {}
    }
    ExitCode::from(64)
}

/// Nothing was asked for: what there is to ask for.
fn tell_help() {
    let help = Cli::command().render_help();
    Ui::new(Ansi::Auto, ProgressStyle::Auto).note(help.to_string().trim_end());
}

/// Whether the unknown word is one of ours that stands after the command.
fn misplaced(error: &clap::Error) -> bool {
    let word = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    ["-f", "--file", "-p", "--project-name"].contains(&word.as_str())
}

/// Commands that need no waiting run as they are; the others in a small async runtime, built
/// only then, so that the first answer takes about a millisecond.
fn run(session: &Session, command: Command) -> Result<Exit, Failure> {
    if let Some(ended) = commands::at_once(session, &command) {
        return ended;
    }
    let runtime = runtime(&command);
    let runtime = runtime.map_err(|e| Failure::refused(format!("start the async runtime: {e}")))?;
    let ended = runtime.block_on(commands::run(session, command));
    end_workers();
    ended
}

/// Bytes of the heap that a look at fifty containers takes, about.
const LOOK: usize = 1 << 20;

/// Most runs of these look, and find nothing to do: one thread is made sooner than three, and steps get
/// threads of their own.
fn runtime(command: &Command) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = match command {
        Command::Up(_) | Command::Down(_) | Command::Plan(_) | Command::Ps(_) => {
            berth_runtime::sys::warm_heap(LOOK);
            tokio::runtime::Builder::new_current_thread()
        }
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(2).enable_all().build()
}
