//! `berth exec`.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use berth_runtime::bundle::Bundle;
use berth_runtime::container::{Child, ExecSpec, SetupError, Stdio, exec_in};
use berth_runtime::monitor::events::{Events, Happening};
use berth_runtime::record;
use berth_runtime::starter::become_sealed;
use clap::Args;
use rustix::pipe::{PipeFlags, pipe_with};

use super::run::slug;
use crate::failure::{Exit, Failure};
use crate::keep;
use crate::relay::{self, Carried, Sink, Streams};
use crate::session::Session;
use crate::terminal::{self, Raw};
use crate::values::keys::{self, Keys, Listener};
use crate::values::pairs;
use crate::{flow, pick};

/// Arguments of `exec`.
#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// Leave it running and return
    #[arg(short, long)]
    detach: bool,
    /// What is typed on a terminal to leave it running: `ctrl-p,ctrl-q`
    #[arg(long, value_name = "KEYS", default_value = keys::USUAL, hide_default_value = true)]
    detach_keys: Keys,
    /// Set a variable, `KEY=VALUE`, or `KEY` for its value here; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = pairs::variable)]
    env: Vec<(String, Option<String>)>,
    /// Number of the container, when the service has several
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    index: u32,
    /// Pass on what is typed: always done, so scripts may say this or not
    #[arg(short, long)]
    interactive: bool,
    /// A terminal: always on when we are on one, so scripts may say this or not
    #[arg(short, long, conflicts_with = "no_tty")]
    tty: bool,
    /// No terminal, even if we are on one
    #[arg(short = 'T', long, alias = "no-TTY")]
    no_tty: bool,
    /// With all rights
    #[arg(long)]
    privileged: bool,
    /// As this user, `NAME[:GROUP]` or numbers
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// In this directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// The service, then the program and its arguments
    #[arg(required = true, num_args = 2.., trailing_var_arg = true, value_names = ["SERVICE", "COMMAND"])]
    words: Vec<String>,
}

/// Runs a program in a running container. Called while we have one thread, because whoever enters
/// a container must.
pub(crate) fn run(session: &Session, args: &ExecArgs) -> Result<Exit, Failure> {
    let Some((service, argv)) = args.words.split_first() else {
        return Err(Failure::usage("name a service and a command"));
    };
    become_sealed().map_err(|e| Failure::refused(format!("execute berth again: {e}")))?;
    let project = session.project()?;
    let host = flow::open(session)?;
    let all = host.list_containers()?;
    let container = pick::running(all.values(), &project, service, args.index)?;
    let run_dir = host.roots().container_run(&container.record.name);
    let tty = !args.no_tty && !args.detach && terminal::is_interactive();
    let spec = spec(session, args, argv, tty);
    if session.global.dry_run {
        let name = &container.record.name;
        session.ui.note(&format!("would run `{}` in `{name}`", spec.argv.join(" ")));
        return Ok(Exit::Done);
    }
    let told = Told::create(&run_dir, &spec)?;
    if args.detach {
        return detached(&run_dir, &spec, &told);
    }
    let carried = match tty {
        true => on_terminal(&run_dir, &spec, &told, args.detach_keys.clone()),
        false => on_pipes(&run_dir, &spec, &told),
    };
    match carried? {
        Carried::Ended(code) => {
            told.add(|exec, _| Happening::ExecDie { exec, exit_code: code });
            Ok(Exit::Container(code))
        }
        Carried::Left => {
            session
                .ui
                .note(&format!("detached: the process runs on in `{}`", container.record.name));
            Ok(Exit::Done)
        }
    }
}

/// What is told of one process in a container.
struct Told {
    events: Events,
    exec: String,
    command: String,
}

impl Told {
    fn create(run_dir: &Path, spec: &ExecSpec) -> Result<Told, Failure> {
        let read = record::read::<Bundle>(&run_dir.join("bundle.json"));
        let bundle = read.map_err(|e| Failure::refused(format!("read the container: {e}")))?;
        let events = Events::of(&bundle.unwrap_or_default());
        let told = Told { events, exec: slug()?, command: spec.argv.join(" ") };
        told.add(|exec, command| Happening::ExecCreate { exec, command });
        Ok(told)
    }

    fn add(&self, what: impl FnOnce(String, String) -> Happening) {
        self.events.add(what(self.exec.clone(), self.command.clone()));
    }

    fn start(&self) {
        self.add(|exec, command| Happening::ExecStart { exec, command });
    }
}

fn spec(session: &Session, args: &ExecArgs, argv: &[String], tty: bool) -> ExecSpec {
    let variable = |(key, value): &(String, Option<String>)| {
        let value = value.as_ref().or_else(|| session.environment.get(key))?;
        Some(format!("{key}={value}"))
    };
    ExecSpec {
        argv: argv.to_vec(),
        env: args.env.iter().filter_map(variable).collect(),
        cwd: args.workdir.clone(),
        user: args.user.clone(),
        tty,
        privileged: args.privileged,
    }
}

fn detached(run_dir: &Path, spec: &ExecSpec, told: &Told) -> Result<Exit, Failure> {
    let null = File::options().read(true).write(true).open("/dev/null");
    let null = null.map_err(|e| Failure::refused(format!("open /dev/null: {e}")))?;
    let (stdin, stdout, stderr) = (null.as_fd(), null.as_fd(), null.as_fd());
    exec_in(run_dir, spec, Stdio::Files { stdin, stdout, stderr }).map_err(not_started)?;
    told.start();
    Ok(Exit::Done)
}

fn on_terminal(
    run_dir: &Path,
    spec: &ExecSpec,
    told: &Told,
    keys: Keys,
) -> Result<Carried, Failure> {
    let child = exec_in(run_dir, spec, Stdio::Terminal).map_err(not_started)?;
    told.start();
    let master = child.terminal.as_ref().map(|master| (master.try_clone(), master.try_clone()));
    let Some((Ok(input), Ok(output))) = master else {
        return Err(Failure::refused("the terminal of the new process cannot be used"));
    };
    let streams = Streams { input: Some(input), outputs: vec![(output, Sink::Stdout)] };
    let _raw = Raw::enter().map_err(|e| Failure::refused(format!("set up the terminal: {e}")))?;
    let carried = carry(&child, streams, Some(Listener::new(keys)))?;
    if carried == Carried::Left {
        let master = child.terminal.and_then(|master| master.try_clone().ok());
        let kept = master.map_or(Ok(()), keep::spawn);
        kept.map_err(|e| Failure::refused(format!("keep the terminal of the process: {e}")))?;
    }
    Ok(carried)
}

fn on_pipes(run_dir: &Path, spec: &ExecSpec, told: &Told) -> Result<Carried, Failure> {
    let (stdin, input) = pipe()?;
    let (output, stdout) = pipe()?;
    let (errors, stderr) = pipe()?;
    let files =
        Stdio::Files { stdin: stdin.as_fd(), stdout: stdout.as_fd(), stderr: stderr.as_fd() };
    let child = exec_in(run_dir, spec, files).map_err(not_started)?;
    told.start();
    // The process has its own copies; with ours open, no stream would ever end.
    drop((stdin, stdout, stderr));
    let outputs = vec![(output, Sink::Stdout), (errors, Sink::Stderr)];
    carry(&child, Streams { input: Some(input), outputs }, None)
}

fn carry(child: &Child, streams: Streams, listener: Option<Listener>) -> Result<Carried, Failure> {
    relay::carry(child, streams, listener)
        .map_err(|e| Failure::refused(format!("carry the streams of the process: {e}")))
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Failure> {
    pipe_with(PipeFlags::CLOEXEC).map_err(|e| Failure::refused(format!("make a pipe: {e}")))
}

fn not_started(error: SetupError) -> Failure {
    let code = u8::try_from(error.exit_code).unwrap_or(125);
    Failure::NotStarted { code, message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn parse(words: &[&str]) -> ExecArgs {
        match Cli::try_parse_from(words).unwrap().command {
            Command::Exec(args) => args,
            other => panic!("not `exec`: {other:?}"),
        }
    }

    #[test]
    fn everything_after_the_service_belongs_to_the_command() {
        let args = parse(&["berth", "exec", "-T", "-e", "A=1", "web", "ls", "-la", "--", "-T"]);
        assert!(args.no_tty);
        assert_eq!(args.env, [("A".to_owned(), Some("1".to_owned()))]);
        assert_eq!(args.words, ["web", "ls", "-la", "--", "-T"]);
    }

    #[test]
    fn an_option_that_is_none_is_a_usage_error() {
        assert!(Cli::try_parse_from(["berth", "exec", "-Z", "web", "ls"]).is_err());
        assert!(Cli::try_parse_from(["berth", "exec", "web"]).is_err());
    }
}
