//! `berth run`.

use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use berth_planner::observed::Observed;
use berth_planner::remove::remove_container;
use berth_planner::run::{self as planner, RunOptions};
use berth_runtime::host::Asked;
use berth_runtime::host::Host;
use berth_schema::stack::{PullPolicy, Stack};
use clap::Args;

use super::remove_after;
use crate::attached::{self, Parted, Ways};
use crate::failure::{Exit, Failure};
use crate::generations::Wanted;
use crate::images::{Aim, Images};
use crate::locking::LockedArg;
use crate::policy::PolicyArgs;
use crate::session::Session;
use crate::taken_back::Back;
use crate::values::keys::{self, Keys};
use crate::values::pairs;
use crate::{extra, flow, terminal};

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Show images without their layers while they are pulled
    #[arg(long)]
    quiet_pull: bool,
    /// Leave it running and print its name
    #[arg(short, long)]
    detach: bool,
    /// What is typed on a terminal to leave it running: `ctrl-p,ctrl-q`
    #[arg(long, value_name = "KEYS", default_value = keys::USUAL, hide_default_value = true)]
    detach_keys: Keys,
    /// Remove the container when it has ended
    #[arg(long)]
    rm: bool,
    /// Set a variable, `KEY=VALUE`, or `KEY` for its value here; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = pairs::variable)]
    env: Vec<(String, Option<String>)>,
    /// Set the variables of a file; may be repeated, `-e` counts more
    #[arg(long, value_name = "FILE")]
    env_from_file: Vec<PathBuf>,
    /// Show nothing but what the container prints
    #[arg(short, long)]
    quiet: bool,
    /// Remove containers of services that are not in the file
    #[arg(long)]
    remove_orphans: bool,
    /// Set a label, `KEY=VALUE`; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = pairs::variable)]
    label: Vec<(String, Option<String>)>,
    /// Program instead of the service's
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Keep standard input open; so it is unless detached
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal; so it is when we are on one
    #[arg(short = 't', long, conflicts_with = "no_tty")]
    tty: bool,
    /// No terminal, even if we are on one
    #[arg(short = 'T', long, alias = "no-TTY")]
    no_tty: bool,
    /// Name of the container
    #[arg(long)]
    name: Option<String>,
    /// Do not start what the service depends on
    #[arg(long)]
    no_deps: bool,
    /// When images are pulled, whatever the file says
    #[arg(long, value_name = "POLICY", value_parser = berth_schema::pull_policy)]
    pull: Option<PullPolicy>,
    /// Whether the lock may be behind.
    #[command(flatten)]
    locked: LockedArg,
    /// Publish a port, `8080:80`; may be repeated
    #[arg(short, long, value_name = "PORT")]
    publish: Vec<String>,
    /// Publish the service's ports
    #[arg(short = 'P', long)]
    service_ports: bool,
    /// Answer to the service's names
    #[arg(long)]
    use_aliases: bool,
    /// As this user, `NAME[:GROUP]` or numbers
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// Mount a volume or a path, `./data:/data:ro`; may be repeated
    #[arg(short, long = "volume", value_name = "MOUNT")]
    volumes: Vec<String>,
    /// In this directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Add a capability; may be repeated
    #[arg(long, value_name = "CAPABILITY", value_parser = berth_schema::capability)]
    cap_add: Vec<String>,
    /// Drop a capability; may be repeated
    #[arg(long, value_name = "CAPABILITY", value_parser = berth_schema::capability)]
    cap_drop: Vec<String>,
    /// What the container may have.
    #[command(flatten)]
    policy: PolicyArgs,
    /// The service, then a command instead of the service's
    #[arg(required = true, num_args = 1.., trailing_var_arg = true, value_names = ["SERVICE", "COMMAND"])]
    words: Vec<String>,
}

/// Runs one container of a service, once.
pub(crate) async fn run(session: &Session, args: &RunArgs) -> Result<Exit, Failure> {
    let Some((service, command)) = args.words.split_first() else {
        return Err(Failure::usage("name a service"));
    };
    if args.quiet_pull {
        session.ui.hide_layers();
    }
    let stack = session.load(std::slice::from_ref(service))?;
    let ways = ways(args);
    let options = options(session, args, &stack, service, command, &ways)?;
    let host = flow::open(session)?;
    let mut images =
        Images::of(session, &stack, args.locked, args.pull).map_err(Failure::of_a_start)?;
    let aim = Aim::Once(&options);
    let look = images.pass(session, &host, (&stack, aim), (&args.policy, true)).await?;
    let pulled = images.pull_first(session, &host, (&stack, aim), look).await;
    let mut look = match pulled.map_err(Failure::of_a_start)? {
        ControlFlow::Break(interrupted) => return Ok(interrupted.exit()),
        ControlFlow::Continue(look) => look,
    };
    let manner = if args.quiet { flow::Manner::Silent } else { flow::Manner::Usual };
    let wanted = Wanted::default();
    let plan = images.planning((session, &host), (&stack, aim), |images, observed| {
        let (desired, plan) = images.planned(&stack, observed, aim)?;
        wanted.keep(desired);
        Ok(plan)
    });
    let desired = |_: &Observed| Ok(wanted.last().unwrap_or_default());
    let back = Back { desired: &desired, places: &stack.places };
    let change = flow::change_or_back(session, &host, &mut look, plan, (manner, &back)).await;
    drop(look);
    let name = planner::name(&stack.name, &options);
    let ended = match change {
        Ok(change) if session.global.dry_run || change.interrupted.is_some() => {
            return Ok(change.exit());
        }
        Ok(_) if args.detach => {
            if args.rm {
                remove_after::spawn(session, &stack.name, &name)?;
            }
            session.ui.list([&name])?;
            return Ok(Exit::Done);
        }
        Ok(_) => attached::converse(&host.roots().container_run(&name), &ways).await,
        Err(failure) => Err(failure.of_a_start()),
    };
    if let Ok(Parted::Left) = ended {
        session.ui.note(&attached::farewell(&name));
        if args.rm {
            remove_after::spawn(session, &stack.name, &name)?;
        }
        return Ok(Exit::Done);
    }
    if args.rm {
        remove(session, &host, &stack.name, &name).await?;
    }
    ended.map(|parted| match parted {
        Parted::Ended(code) => Exit::Container(code),
        Parted::Signal(number) => Exit::Signal(number),
        Parted::Left => Exit::Done,
    })
}

fn ways(args: &RunArgs) -> Ways {
    let tty = !args.no_tty && !args.detach && (args.tty || terminal::is_interactive());
    let (input, keys) = (!args.detach || args.interactive, args.detach_keys.clone());
    Ways { tty, input, signals: true, keys }
}

fn options(
    session: &Session,
    args: &RunArgs,
    stack: &Stack,
    service: &str,
    command: &[String],
    ways: &Ways,
) -> Result<RunOptions, Failure> {
    let given = |(key, value): &(String, Option<String>)| {
        let value = value.clone().or_else(|| session.environment.get(key).cloned())?;
        Some((key.clone(), Some(value)))
    };
    let label =
        |(key, value): &(String, Option<String>)| (key.clone(), value.clone().unwrap_or_default());
    let from = args.env_from_file.iter().map(|file| session.working_dir.join(file));
    let from: Vec<PathBuf> = from.collect();
    let extra = extra::parse(stack, &args.publish, &args.volumes, &from)?;
    Ok(RunOptions {
        service: service.to_owned(),
        slug: slug()?,
        name: args.name.clone(),
        command: (!command.is_empty()).then(|| command.to_vec()),
        entrypoint: args.entrypoint.as_ref().map(|program| vec![program.clone()]),
        environment: extra
            .environment
            .into_iter()
            .chain(args.env.iter().filter_map(given))
            .collect(),
        remove_orphans: args.remove_orphans,
        labels: args.label.iter().map(label).collect(),
        mounts: extra.mounts,
        user: args.user.clone(),
        working_dir: args.workdir.clone(),
        cap_add: args.cap_add.clone(),
        cap_drop: args.cap_drop.clone(),
        service_ports: args.service_ports,
        ports: extra.ports,
        use_aliases: args.use_aliases,
        tty: ways.tty,
        stdin_open: ways.input,
        no_deps: args.no_deps,
    })
}

/// Twelve random hexadecimal digits.
pub(super) fn slug() -> Result<String, Failure> {
    let mut bytes = [0; 6];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|e| Failure::refused(format!("read /dev/urandom: {e}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Removes the container and its volumes without a name.
pub(super) async fn remove(
    session: &Session,
    host: &Arc<Host>,
    project: &str,
    name: &str,
) -> Result<(), Failure> {
    let plan = |observed: &Observed| Ok(remove_container(project, name, observed));
    flow::change_as(session, host, project, &Asked::default(), plan, flow::Manner::Silent)
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    #[test]
    fn everything_after_the_service_belongs_to_the_command() {
        let words =
            ["berth", "run", "--rm", "-e", "A", "-p", "80:80", "job", "sh", "-c", "x", "--rm"];
        let Command::Run(args) = Cli::try_parse_from(words).unwrap().command else {
            panic!("not `run`");
        };
        assert!(args.rm);
        assert_eq!(args.env, [("A".to_owned(), None)]);
        assert_eq!(args.publish, ["80:80"]);
        assert_eq!(args.words, ["job", "sh", "-c", "x", "--rm"]);
    }

    #[test]
    fn a_slug_is_twelve_digits() {
        let slug = slug().unwrap();
        assert!(slug.len() == 12 && slug.bytes().all(|b| b.is_ascii_hexdigit()), "{slug}");
    }
}
