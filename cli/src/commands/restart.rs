//! `berth restart`.

use std::time::Duration;

use berth_planner::lifecycle::{RestartOptions, restart};
use berth_planner::observed::Observed;
use berth_runtime::host::Asked;
use clap::Args;

use crate::failure::{Exit, Failure};
use crate::flow;
use crate::project::check_services;
use crate::session::Session;
use crate::values::moment;

/// Arguments of `restart`.
#[derive(Debug, Args)]
pub(crate) struct RestartArgs {
    /// Only these services
    services: Vec<String>,
    /// Leave dependents alone that ask to be restarted along; who shares namespaces goes along
    #[arg(long)]
    no_deps: bool,
    /// How long a container may take to stop, in seconds
    #[arg(short, long, value_name = "SECONDS", value_parser = moment::seconds)]
    timeout: Option<Duration>,
}

/// Stops containers and starts them again.
pub(crate) async fn run(session: &Session, args: &RestartArgs) -> Result<Exit, Failure> {
    let project = session.project()?;
    let host = flow::open(session)?;
    let options = RestartOptions {
        services: args.services.clone(),
        no_deps: args.no_deps,
        grace: args.timeout,
    };
    let plan = |observed: &Observed| {
        check_services(&project, observed, &args.services)?;
        Ok(restart(&project.name, observed, &options)?)
    };
    let change =
        flow::change(session, &host, &project.name, &Asked::to_start(&project.name), plan).await?;
    Ok(change.exit())
}
