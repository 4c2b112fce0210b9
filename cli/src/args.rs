//! The words of the command line: what is the same for every command, and the commands by name.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands;

/// Runs compose stacks on this host, without Docker and without a daemon.
#[derive(Debug, Parser)]
#[command(name = "berth", version, max_term_width = 100, subcommand_required = true)]
pub(crate) struct Cli {
    /// What counts for every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What is to be done.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command. `-f` and `-p` stand before the command, as some commands use these
/// letters themselves; the long ones may stand anywhere.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Global {
    /// Compose file, `-` for standard input; may be repeated, later files are merged over
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Name of the project
    #[arg(short = 'p', long, value_name = "NAME")]
    pub(crate) project_name: Option<String>,
    /// Directory that relative paths count from
    #[arg(long, value_name = "DIR", global = true, alias = "workdir")]
    pub(crate) project_directory: Option<PathBuf>,
    /// File of variables in place of `.env`; may be repeated
    #[arg(long = "env-file", value_name = "FILE", global = true)]
    pub(crate) env_file: Vec<PathBuf>,
    /// Profile to switch on; may be repeated
    #[arg(long = "profile", value_name = "NAME", global = true)]
    pub(crate) profile: Vec<String>,
    /// Colours and cursor control
    #[arg(long, global = true, value_enum, env = "COMPOSE_ANSI", default_value_t, hide_env = true)]
    pub(crate) ansi: Ansi,
    /// How work under way is shown
    #[arg(
        long,
        global = true,
        value_enum,
        env = "COMPOSE_PROGRESS",
        default_value_t,
        hide_env = true
    )]
    pub(crate) progress: ProgressStyle,
    /// Keep all state below this folder instead of /var/lib/berth and /run/berth
    #[arg(long, value_name = "DIR", global = true, env = "BERTH_ROOT")]
    pub(crate) root: Option<PathBuf>,
    /// How many steps run at once, -1 for no limit
    #[arg(
        long,
        value_name = "N",
        global = true,
        env = "COMPOSE_PARALLEL_LIMIT",
        hide_env = true,
        allow_hyphen_values = true,
        value_parser = clap::value_parser!(i32).range(-1..)
    )]
    pub(crate) parallel: Option<i32>,
    /// Show what would be done and do nothing
    #[arg(long, global = true)]
    pub(crate) dry_run: bool,
}

/// When colours and cursor control are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ansi {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Not at all.
    Never,
    /// Also into pipes and files.
    Always,
}

/// How work under way is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressStyle {
    /// As `tty` on a terminal, else as `plain`.
    #[default]
    Auto,
    /// One line per object, redrawn.
    Tty,
    /// One line per event.
    Plain,
    /// One JSON object per event.
    Json,
    /// Nothing but problems.
    Quiet,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the version
    Version(commands::version::VersionArgs),
    /// Tell what this host can and cannot do
    Doctor(commands::doctor::DoctorArgs),
}

/// How a table is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    #[value(alias = "pretty")]
    Table,
    /// For programs.
    Json,
}
