//! `berth logs`.

use std::time::Duration;

use berth_planner::observed::ObservedContainer;
use berth_runtime::host::Asked;
use berth_runtime::host::Host;
use berth_runtime::logs::{LogQuery, merge, read};
use clap::Args;
use jiff::Timestamp;

use crate::failure::{Exit, Failure};
use crate::flow;
use crate::follow::{Follower, Source};
use crate::printer::Printer;
use crate::project::{Project, check_services, containers};
use crate::rows;
use crate::session::Session;
use crate::signals::Signals;
use crate::values::amount::Tail;
use crate::values::moment;

/// How often we look for containers that were started while we follow.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Only these services
    services: Vec<String>,
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
    /// Only the container of this number
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    index: u32,
    /// Not what is older: `10m`, `2026-01-31T08:00:00Z`, seconds since 1970
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Not what is younger
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only so many lines of each container
    #[arg(
        short = 'n',
        long,
        value_name = "LINES",
        default_value = "all",
        allow_hyphen_values = true
    )]
    tail: Tail,
    /// With the time of each line
    #[arg(short, long)]
    timestamps: bool,
    /// Without colours
    #[arg(long)]
    no_color: bool,
    /// Without the name in front of each line
    #[arg(long)]
    no_log_prefix: bool,
    /// Print what was written as it is, also on a terminal, which it can then control
    #[arg(long)]
    raw: bool,
}

/// Prints the output of services, and goes on with it if asked to.
pub(crate) async fn run(session: &Session, args: &LogsArgs) -> Result<Exit, Failure> {
    let query = query(args, Timestamp::now()).map_err(Failure::usage)?;
    let project = session.project()?;
    let host = flow::open_to_look(session)?;
    let observed = host.observe(&Asked::default()).await?;
    check_services(&project, &observed, &args.services)?;
    let chosen = containers(&observed, &project.name, &args.services);
    let chosen: Vec<_> =
        chosen.into_iter().filter(|c| args.index == 0 || c.record.number == args.index).collect();
    let mut printer =
        Printer::new(&session.ui, !args.no_color, !args.no_log_prefix, args.timestamps)
            .raw(args.raw);
    chosen.iter().for_each(|container| printer.know(&rows::label(container)));
    if args.follow {
        return follow(&host, &project, args, &query, &chosen, &mut printer).await;
    }
    let sources = chosen.iter().map(|container| Source::of(host.roots(), container));
    let logs = sources.map(|source| {
        let lines = read(source.logs(), &query);
        lines.map(|lines| (source.clone(), lines)).map_err(|e| unreadable(&source, &e))
    });
    let logs = logs.collect::<Result<Vec<_>, _>>()?;
    for line in merge(logs) {
        let (source, line) = line.map_err(|e| Failure::refused(format!("read logs: {e}")))?;
        printer.line(&source.label, &line)?;
    }
    session.ui.flush()?;
    Ok(Exit::Done)
}

fn query(args: &LogsArgs, now: Timestamp) -> Result<LogQuery, String> {
    let point = |text: &Option<String>| text.as_deref().map(|t| moment::point(t, now)).transpose();
    Ok(LogQuery {
        since: point(&args.since)?,
        until: point(&args.until)?,
        tail: args.tail.limit(),
        follow: args.follow,
    })
}

fn unreadable(source: &Source, error: &std::io::Error) -> Failure {
    Failure::refused(format!("read the log of `{}`: {error}", source.name))
}

/// Prints what comes until every container has ended or the user has seen enough.
async fn follow(
    host: &Host,
    project: &Project,
    args: &LogsArgs,
    query: &LogQuery,
    chosen: &[&ObservedContainer],
    printer: &mut Printer<'_>,
) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let mut follower = Follower::new();
    for container in chosen {
        follower.add(Source::of(host.roots(), container), query.clone());
    }
    let mut look = tokio::time::interval(LOOK_AGAIN);
    let mut seen = Timestamp::now();
    while !follower.is_done() {
        tokio::select! {
            Some(event) = follower.next() => {
                printer.event(&event)?;
                while let Some(event) = follower.try_next() {
                    printer.event(&event)?;
                }
                printer.flush()?;
            }
            number = signals.next() => return Ok(Exit::Signal(number)),
            _ = look.tick() => {
                let since = std::mem::replace(&mut seen, Timestamp::now());
                for container in started(host, project, args)? {
                    if !follower.follows(&container.record.name) {
                        let query = LogQuery { since: Some(since), follow: true, ..LogQuery::default() };
                        printer.know(&rows::label(&container));
                        follower.add(Source::of(host.roots(), &container), query);
                    }
                }
            }
        }
    }
    Ok(Exit::Done)
}

/// Containers of the wanted services that run now.
fn started(
    host: &Host,
    project: &Project,
    args: &LogsArgs,
) -> Result<Vec<ObservedContainer>, Failure> {
    let wanted = |c: &ObservedContainer| {
        c.record.project == project.name
            && rows::is_up(c.state)
            && c.monitored
            && (args.services.is_empty() || args.services.contains(&c.record.service))
            && (args.index == 0 || args.index == c.record.number)
    };
    Ok(host.list_containers()?.into_values().filter(wanted).collect())
}
