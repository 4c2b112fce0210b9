//! `berth wait`.

use berth_planner::down::down;
use berth_planner::observed::Observed;
use berth_runtime::host::Asked;
use berth_runtime::logs::LogQuery;
use clap::Args;

use crate::failure::{Exit, Failure};
use crate::follow::{Event, Follower, Source, UNKNOWN};
use crate::project::{check_services, containers};
use crate::session::Session;
use crate::signals::Signals;
use crate::{flow, rows};

/// Arguments of `wait`.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// The services
    #[arg(required = true)]
    services: Vec<String>,
    /// Take the project down when the first has ended
    #[arg(long)]
    down_project: bool,
}

/// Waits until the containers of services have ended, and prints their exit codes.
pub(crate) async fn run(session: &Session, args: &WaitArgs) -> Result<Exit, Failure> {
    let project = session.project()?;
    let host = flow::open(session)?;
    let observed = host.observe(&Asked::default()).await?;
    check_services(&project, &observed, &args.services)?;
    let mut follower = Follower::new();
    let none = LogQuery { tail: Some(0), ..LogQuery::default() };
    for container in containers(&observed, &project.name, &args.services) {
        if rows::is_up(container.state) {
            follower.add(Source::of(host.roots(), container), none.clone());
        }
    }
    if follower.is_done() {
        let message = format!("nothing to wait for: no container of `{}` runs", project.name);
        return Err(Failure::refused(message));
    }
    let mut signals = Signals::listen()?;
    let mut code = 0;
    while !follower.is_done() {
        tokio::select! {
            Some(event) = follower.next() => {
                if let Event::Ended(source, exit) = event {
                    if exit.is_none() {
                        let name = &source.name;
                        let text = format!("`{name}` is not watched any more: its exit code is not known");
                        session.ui.warn(&text);
                    }
                    code = exit.unwrap_or(UNKNOWN);
                    session.ui.data(&code.to_string())?;
                    if args.down_project {
                        break;
                    }
                }
            }
            number = signals.next() => return Ok(Exit::Signal(number)),
        }
    }
    if args.down_project {
        let options = super::down::options(&project, false, false, None, &[]);
        let plan = |observed: &Observed| Ok(down(&project.name, observed, &options)?);
        flow::change(session, &host, &project.name, &Asked::default(), plan).await?;
    }
    Ok(Exit::Container(code))
}
