//! `berth kill`.

use std::collections::BTreeSet;

use berth_planner::lifecycle::kill;
use berth_planner::observed::Observed;
use clap::Args;

use crate::failure::{Exit, Failure};
use crate::flow;
use crate::project::check_services;
use crate::session::Session;
use crate::values::signal;

/// Arguments of `kill`.
#[derive(Debug, Args)]
pub(crate) struct KillArgs {
    /// Only these services
    services: Vec<String>,
    /// The signal, by name or number
    #[arg(short, long, default_value = "SIGKILL", value_parser = signal::name)]
    signal: String,
}

/// Sends a signal to what runs.
pub(crate) async fn run(session: &Session, args: &KillArgs) -> Result<Exit, Failure> {
    let project = session.project()?;
    let host = flow::open(session)?;
    let plan = |observed: &Observed| {
        check_services(&project, observed, &args.services)?;
        Ok(kill(&project.name, observed, &args.services, &args.signal)?)
    };
    let change = flow::change(session, &host, &project.name, &BTreeSet::new(), plan).await?;
    if change.done == 0 && !session.global.dry_run && change.interrupted.is_none() {
        return Err(Failure::refused("no container runs that the signal could be sent to"));
    }
    Ok(change.exit())
}
