//! The words of the command line: what is the same for every command, and the commands by name.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::Resettable;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::commands;
use crate::values::moment;

/// Runs compose stacks on this host, without Docker and without a daemon.
#[derive(Debug, Parser)]
#[command(
    name = "berth",
    version,
    max_term_width = 100,
    disable_version_flag = true,
    subcommand_required = true
)]
pub(crate) struct Cli {
    /// Print version
    #[arg(short = 'v', short_alias = 'V', long, action = ArgAction::Version)]
    version: (),
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
#[command(next_help_heading = "For every command")]
pub(crate) struct Global {
    /// Compose file, `-` for standard input; may be repeated, later files are merged over
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Name of the project
    #[arg(short = 'p', long, value_name = "NAME")]
    pub(crate) project_name: Option<String>,
    /// Directory that relative paths count from
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) project_directory: Option<PathBuf>,
    /// File of variables in place of `.env`; may be repeated
    #[arg(long = "env-file", value_name = "FILE", global = true)]
    pub(crate) env_file: Vec<PathBuf>,
    /// Profile to switch on; may be repeated
    #[arg(long = "profile", value_name = "NAME", global = true)]
    pub(crate) profile: Vec<String>,
    /// Colours and cursor control: auto, never, always
    #[arg(
        long,
        global = true,
        value_enum,
        env = "COMPOSE_ANSI",
        default_value_t,
        hide_env = true,
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub(crate) ansi: Ansi,
    /// How work under way is shown: auto, tty, plain, json, quiet
    #[arg(
        long,
        global = true,
        value_enum,
        env = "COMPOSE_PROGRESS",
        default_value_t,
        hide_env = true,
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub(crate) progress: ProgressStyle,
    /// Keep resources that no service uses
    #[arg(long, global = true)]
    pub(crate) all_resources: bool,
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
    /// How long another run may hold the lock of the project, 0 to fail at once; 10s when unset
    #[arg(long, value_name = "DURATION", global = true, value_parser = moment::seconds)]
    pub(crate) lock_timeout: Option<Duration>,
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

impl Cli {
    /// Describes all commands in full, for who asks for help or is not understood.
    pub(crate) fn all() -> clap::Command {
        let listed = Self::command();
        let mut all = listed.clone();
        all.build();
        // What a docstring says of the arguments of a command came last, and is no help.
        listed.get_subcommands().fold(all, |all, command| {
            let (about, long) = (command.get_about().cloned(), command.get_long_about().cloned());
            all.mut_subcommand(command.get_name(), |one| {
                one.about(Resettable::from(about)).long_about(Resettable::from(long))
            })
        })
    }

    /// Describes as much as these words may name: the options of every command, and few commands.
    /// What it takes means the same as by the description of all; what it refuses, only that one
    /// can explain.
    pub(crate) fn described(words: &[OsString]) -> clap::Command {
        let all = Command::augment_subcommands(clap::Command::new(""));
        let is_named = |command: &&clap::Command| {
            let mut names = std::iter::once(command.get_name()).chain(command.get_all_aliases());
            names.any(|name| words.iter().skip(1).any(|word| word == name))
        };
        let named = all.get_subcommands().filter(is_named).cloned();
        let options = Global::augment_args(clap::Command::new("berth"));
        options.subcommand_required(true).subcommands(named)
    }
}

/// The commands. Each is described in full when it is asked for.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Bring the stack up: create, replace and start what differs from the file
    Up(commands::up::UpArgs),
    /// Stop and remove the stack's containers and networks
    Down(commands::down::DownArgs),
    /// Show what `up` would do and why
    Plan(commands::plan::PlanArgs),
    /// List what was applied: the generations of the stack
    History(commands::generations::HistoryArgs),
    /// Bring the stack back to a generation: unless one is named, to the last good one before the one
    /// that is applied
    Rollback(commands::rollback::RollbackArgs),
    /// List the stack's containers
    Ps(commands::ps::PsArgs),
    /// Show the output of services
    Logs(commands::logs::LogsArgs),
    /// Run a command in a running container
    Exec(commands::exec::ExecArgs),
    /// Run a command once in a new container of a service
    Run(commands::run::RunArgs),
    /// Remove a container of `run --rm` when it has ended
    #[command(hide = true, name = commands::remove_after::WORD)]
    RemoveAfter(commands::remove_after::RemoveAfterArgs),
    /// Start stopped services
    Start(commands::start::StartArgs),
    /// Stop services without removing their containers
    Stop(commands::stop::StopArgs),
    /// Stop services and start them again
    Restart(commands::restart::RestartArgs),
    /// Make the processes of services stand still
    Pause(commands::pause::PauseArgs),
    /// Let the processes of paused services run on
    Unpause(commands::pause::PauseArgs),
    /// Send a signal to services, SIGKILL unless told otherwise
    Kill(commands::kill::KillArgs),
    /// Remove stopped containers
    Rm(commands::rm::RmArgs),
    /// Get the images of services from their registries
    Pull(commands::pull::PullArgs),
    /// Write down which images the files mean, in berth.lock
    Lock(commands::lock::LockArgs),
    /// Tell which images have moved on in their registries
    Outdated(commands::outdated::OutdatedArgs),
    /// Send the images of services to their registries
    Push(commands::push::PushArgs),
    /// Log in to a registry, as `docker login`
    Login(commands::login::LoginArgs),
    /// Forget the login for a registry
    Logout(commands::login::LogoutArgs),
    /// Create containers without starting them
    Create(commands::create::CreateArgs),
    /// Set how many containers services have
    Scale(commands::scale::ScaleArgs),
    /// Tell everything that is wrong with the files, and what has no effect on this host
    Check(commands::check::CheckArgs),
    /// Tell where a value came from, what it went over, and why
    Explain(commands::explain::ExplainArgs),
    /// Show who needs whom in the file, and what they have in common
    Graph(commands::graph::GraphArgs),
    /// Tell what took how long in the last run that changed something of the stack
    #[command(subcommand)]
    Analyze(commands::analyze::AnalyzeCommand),
    /// Check the file and print the model it makes
    Config(commands::config::ConfigArgs),
    /// List the images that the stack's containers were made from
    Images(commands::images::ImagesArgs),
    /// The image store
    #[command(subcommand)]
    Image(commands::image::ImageCommand),
    /// Take names away from images, as `image rm`
    #[command(hide = true)]
    Rmi(commands::image_rm::RmArgs),
    /// Give an image a further name, as `image tag`
    #[command(hide = true)]
    Tag(commands::tag::TagArgs),
    /// Copy files into a container or out of it
    Cp(commands::cp::CpArgs),
    /// Make an image of a container: its image, and what it changed
    Commit(commands::commit::CommitArgs),
    /// List the files a container added (A), changed (C) and deleted (D); or how two generations differ
    Diff(commands::diff::DiffArgs),
    /// Write the files of a container as an archive
    Export(commands::export::ExportArgs),
    /// Write images as an archive, as `image save`
    #[command(hide = true)]
    Save(commands::save::SaveArgs),
    /// Load images from an archive, as `image load`
    #[command(hide = true)]
    Load(commands::image::LoadArgs),
    /// The containers of this host, whatever stack they are of
    #[command(subcommand)]
    Container(ContainerCommand),
    /// What takes room on this host
    #[command(subcommand)]
    System(commands::system::SystemCommand),
    /// The volumes of this host
    #[command(subcommand)]
    Volume(commands::volume::VolumeCommand),
    /// The networks of this host
    #[command(subcommand)]
    Network(commands::network::NetworkCommand),
    /// List the projects of this host
    Ls(commands::ls::LsArgs),
    /// Print the host address of a published port
    Port(commands::port::PortArgs),
    /// Tell who reaches which port, and what is in the way
    Ports(commands::ports::PortsArgs),
    /// List the processes of the stack's containers
    Top(commands::top::TopArgs),
    /// Tell what happens to the stack's containers
    Events(commands::events::EventsArgs),
    /// Show what the stack's containers use, again and again
    Stats(commands::stats::StatsArgs),
    /// Show a running container's output and type into it
    Attach(commands::attach::AttachArgs),
    /// Wait until containers of services end
    Wait(commands::wait::WaitArgs),
    /// Print the version
    Version(commands::version::VersionArgs),
    /// Tell what this host can and cannot do
    Doctor(commands::doctor::DoctorArgs),
}

/// The commands about containers of any stack.
#[derive(Debug, Subcommand)]
pub(crate) enum ContainerCommand {
    /// Remove all containers that do not run
    Prune(commands::prune::PruneArgs),
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

#[cfg(test)]
mod tests {
    use super::*;
    use berth_planner::hidden;
    use clap::FromArgMatches;

    #[test]
    fn what_options_of_run_and_exec_are_given_is_not_written_down() {
        let cli = Cli::command();
        for name in ["run", "exec"] {
            let options = cli.find_subcommand(name).expect("a command").get_arguments();
            for option in options.filter(|option| option.get_action().takes_values()) {
                let long = option.get_long().map(|long| format!("--{long}"));
                let short = option.get_short().map(|short| format!("-{short}"));
                for said in long.into_iter().chain(short) {
                    let words = ["berth", name, said.as_str(), "hunter2"].map(str::to_owned);
                    assert_eq!(hidden::command(words), format!("berth {name} {said} …"));
                }
            }
        }
    }

    #[test]
    fn the_definitions_of_all_commands_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_command_says_in_its_help_what_the_list_of_commands_says() {
        let all = Cli::all();
        for command in Cli::command().get_subcommands() {
            let told = all.find_subcommand(command.get_name()).unwrap();
            assert_eq!(told.get_about(), command.get_about());
            assert!(told.get_arguments().next().is_some() || told.has_subcommands());
        }
    }

    #[test]
    fn of_the_commands_none_but_the_named_ones_are_described() {
        let words = |words: &str| -> Vec<OsString> { words.split(' ').map(Into::into).collect() };
        for (said, named) in [
            ("berth up -d", vec!["up"]),
            ("berth -p down up", vec!["up", "down"]),
            ("berth rmi x", vec!["rmi"]),
            ("berth", vec![]),
        ] {
            let described = Cli::described(&words(said));
            let names = described.get_subcommands().map(|command| command.get_name().to_owned());
            assert_eq!(names.collect::<Vec<_>>(), named);
        }
        for said in ["berth -p down up --dry-run", "berth logs -f up", "berth system df"] {
            let few = Cli::described(&words(said)).get_matches_from(words(said));
            let few = Cli::from_arg_matches(&few).unwrap();
            let all = Cli::try_parse_from(words(said)).unwrap();
            assert_eq!(format!("{few:?}"), format!("{all:?}"));
        }
    }

    #[test]
    fn long_options_may_stand_after_the_command() {
        let cli =
            Cli::try_parse_from(["berth", "-f", "a.yaml", "up", "--dry-run", "--profile", "x"]);
        let global = cli.unwrap().global;
        assert!(global.dry_run);
        assert_eq!(global.profile, ["x"]);
        assert_eq!(global.files, [PathBuf::from("a.yaml")]);
    }

    #[test]
    fn a_letter_of_a_command_is_not_taken_for_ours() {
        let cli =
            Cli::try_parse_from(["berth", "-p", "shop", "logs", "-f", "-n", "5", "web"]).unwrap();
        assert_eq!(cli.global.project_name.as_deref(), Some("shop"));
        assert_eq!(cli.global.files, Vec::<PathBuf>::new());
        assert!(matches!(cli.command, Command::Logs(_)));
    }

    #[test]
    fn parallel_is_a_number_from_minus_one() {
        let parallel =
            |n| Cli::try_parse_from(["berth", "--parallel", n, "ls"]).map(|c| c.global.parallel);
        assert_eq!(parallel("-1").unwrap(), Some(-1));
        assert_eq!(parallel("8").unwrap(), Some(8));
        assert!(parallel("-2").is_err());
    }
}
