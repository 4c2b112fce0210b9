//! `berth start`.

use std::time::Duration;

use berth_planner::lifecycle::start;
use berth_planner::observed::Observed;
use berth_runtime::host::Asked;
use clap::Args;

use crate::failure::{Exit, Failure};
use crate::project::check_services;
use crate::session::Session;
use crate::values::moment;
use crate::{flow, ready};

/// Arguments of `start`.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// Only these services
    services: Vec<String>,
    /// Return when every service that it starts is as its file declares (healthy, running, or ended well)
    #[arg(long)]
    wait: bool,
    /// Wait so long at most, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = moment::seconds, requires = "wait")]
    wait_timeout: Option<Duration>,
}

/// Starts containers that are there and do not run.
pub(crate) async fn run(session: &Session, args: &StartArgs) -> Result<Exit, Failure> {
    let project = session.project()?;
    let host = flow::open(session)?;
    let plan = |observed: &Observed| {
        check_services(&project, observed, &args.services)?;
        Ok(start(&project.name, observed, &args.services)?)
    };
    let change =
        flow::change(session, &host, &project.name, &Asked::to_start(&project.name), plan).await?;
    if args.wait && change.interrupted.is_none() && !session.global.dry_run {
        let services = args.services.iter().cloned().collect();
        return ready::wait(&host, &project.name, &services, args.wait_timeout).await;
    }
    Ok(change.exit())
}
