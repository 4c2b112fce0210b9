//! The commands, one module each: arguments, the order of the calls, the wording. No rules.

pub(crate) mod analyze;
pub(crate) mod attach;
pub(crate) mod check;
pub(crate) mod commit;
pub(crate) mod config;
pub(crate) mod cp;
pub(crate) mod create;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod generations;
pub(crate) mod graph;
pub(crate) mod history;
pub(crate) mod image;
pub(crate) mod image_ls;
pub(crate) mod image_rm;
pub(crate) mod images;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod kill;
pub(crate) mod lock;
pub(crate) mod login;
pub(crate) mod logs;
pub(crate) mod ls;
pub(crate) mod network;
pub(crate) mod outdated;
pub(crate) mod pause;
pub(crate) mod plan;
pub(crate) mod port;
pub(crate) mod ports;
pub(crate) mod prune;
pub(crate) mod ps;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod remove_after;
pub(crate) mod restart;
pub(crate) mod rm;
pub(crate) mod rollback;
pub(crate) mod run;
pub(crate) mod save;
pub(crate) mod scale;
pub(crate) mod start;
pub(crate) mod stats;
pub(crate) mod stop;
pub(crate) mod system;
pub(crate) mod tag;
pub(crate) mod top;
pub(crate) mod up;
pub(crate) mod version;
pub(crate) mod volume;
pub(crate) mod wait;

use crate::args::{Command, ContainerCommand};
use crate::commands::image::ImageCommand;
use crate::failure::{Exit, Failure};
use crate::session::Session;

/// Runs a command that waits for nothing. `None` for one that does.
pub(crate) fn at_once(session: &Session, command: &Command) -> Option<Result<Exit, Failure>> {
    match command {
        Command::Version(args) => Some(version::run(&session.ui, args)),
        Command::Check(args) => Some(check::run(session, args)),
        Command::Explain(args) => Some(explain::run(session, args)),
        Command::Graph(args) => Some(graph::run(session, args)),
        Command::Config(args) if !args.pins() => Some(config::run(session, args)),
        Command::Exec(args) => Some(exec::run(session, args)),
        Command::Cp(args) => Some(cp::run(session, args)),
        Command::Doctor(args) => Some(doctor::run(session, args)),
        Command::Analyze(command) => Some(analyze::run(session, command)),
        _ => None,
    }
}

/// Runs a command.
pub(crate) async fn run(session: &Session, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Up(args) => up::run(session, &args).await,
        Command::Down(args) => down::run(session, &args).await,
        Command::Plan(args) => plan::run(session, &args).await,
        Command::Ps(args) => ps::run(session, &args).await,
        Command::Logs(args) => logs::run(session, &args).await,
        Command::Exec(args) => exec::run(session, &args),
        Command::Cp(args) => cp::run(session, &args),
        Command::History(args) => generations::run(session, &args).await,
        Command::Rollback(args) => rollback::run(session, &args).await,
        Command::Run(args) => run::run(session, &args).await,
        Command::Start(args) => start::run(session, &args).await,
        Command::Stop(args) => stop::run(session, &args).await,
        Command::RemoveAfter(args) => remove_after::run(session, &args).await,
        Command::Restart(args) => restart::run(session, &args).await,
        Command::Pause(args) => pause::run(session, &args).await,
        Command::Unpause(args) => pause::run_on(session, &args).await,
        Command::Kill(args) => kill::run(session, &args).await,
        Command::Rm(args) => rm::run(session, &args).await,
        Command::Pull(args) => pull::run(session, &args).await,
        Command::Lock(args) => lock::run(session, &args).await,
        Command::Outdated(args) => outdated::run(session, &args).await,
        Command::Push(args) => push::run(session, &args).await,
        Command::Login(args) => login::run(session, &args).await,
        Command::Logout(args) => login::run_out(session, &args).await,
        Command::Create(args) => create::run(session, args).await,
        Command::Scale(args) => scale::run(session, args).await,
        Command::Check(args) => check::run(session, &args),
        Command::Explain(args) => explain::run(session, &args),
        Command::Graph(args) => graph::run(session, &args),
        Command::Config(args) => config::run_pinned(session, &args).await,
        Command::Images(args) => images::run(session, &args).await,
        Command::Image(command) => image::run(session, &command).await,
        Command::Rmi(args) => image::run(session, &ImageCommand::Rm(args)).await,
        Command::Tag(args) => image::run(session, &ImageCommand::Tag(args)).await,
        Command::Save(args) => image::run(session, &ImageCommand::Save(args)).await,
        Command::Load(args) => image::run(session, &ImageCommand::Load(args)).await,
        Command::Commit(args) => commit::run(session, &args).await,
        Command::Diff(args) => diff::run(session, &args),
        Command::Export(args) => export::run(session, &args),
        Command::Container(ContainerCommand::Prune(args)) => {
            prune::containers(session, &args).await
        }
        Command::System(command) => system::run(session, &command).await,
        Command::Volume(command) => volume::run(session, &command).await,
        Command::Network(command) => network::run(session, &command).await,
        Command::Ls(args) => ls::run(session, &args).await,
        Command::Port(args) => port::run(session, &args).await,
        Command::Ports(args) => ports::run(session, &args).await,
        Command::Top(args) => top::run(session, &args).await,
        Command::Events(args) => events::run(session, &args).await,
        Command::Stats(args) => stats::run(session, &args).await,
        Command::Attach(args) => attach::run(session, &args).await,
        Command::Wait(args) => wait::run(session, &args).await,
        Command::Version(args) => version::run(&session.ui, &args),
        Command::Doctor(args) => doctor::run(session, &args),
        Command::Analyze(command) => analyze::run(session, &command),
    }
}
