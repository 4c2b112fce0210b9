//! `berth stop`.

use std::time::Duration;

use berth_planner::lifecycle::stop;
use berth_planner::observed::Observed;
use berth_runtime::host::Asked;
use clap::Args;

use crate::failure::{Exit, Failure};
use crate::flow;
use crate::project::check_services;
use crate::session::Session;
use crate::values::moment;

/// Arguments of `stop`.
#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// Only these services
    services: Vec<String>,
    /// How long a container may take to stop, in seconds
    #[arg(short, long, value_name = "SECONDS", value_parser = moment::seconds)]
    timeout: Option<Duration>,
}

/// Stops containers, dependents first.
pub(crate) async fn run(session: &Session, args: &StopArgs) -> Result<Exit, Failure> {
    let project = session.project()?;
    let host = flow::open(session)?;
    let plan = |observed: &Observed| {
        check_services(&project, observed, &args.services)?;
        Ok(stop(&project.name, observed, &args.services, args.timeout)?)
    };
    let change = flow::change(session, &host, &project.name, &Asked::default(), plan).await?;
    Ok(change.exit())
}
