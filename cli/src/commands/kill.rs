//! `berth kill`.

use std::collections::BTreeSet;

use berth_planner::lifecycle::kill;
use berth_planner::observed::Observed;
use berth_planner::plan::Plan;
use berth_runtime::host::Asked;
use clap::Args;

use crate::failure::{Exit, Failure};
use crate::flow;
use crate::project::{check_services, containers};
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
    /// Also containers of services that are not in the file
    #[arg(long)]
    remove_orphans: bool,
}

/// Sends a signal to what runs.
pub(crate) async fn run(session: &Session, args: &KillArgs) -> Result<Exit, Failure> {
    let project = session.project()?;
    let host = flow::open(session)?;
    let plan = |observed: &Observed| {
        check_services(&project, observed, &args.services)?;
        let named = match &project.stack {
            Some(stack) if args.services.is_empty() && !args.remove_orphans => {
                let made = containers(observed, &project.name, &[]).into_iter();
                let made: BTreeSet<&String> = made.map(|c| &c.record.service).collect();
                let in_file = |name: &&String| {
                    stack.services.contains_key(*name) || stack.inactive.contains(*name)
                };
                let named: Vec<String> = made.into_iter().filter(in_file).cloned().collect();
                if named.is_empty() {
                    return Ok(Plan { project: project.name.clone(), ..Plan::default() });
                }
                named
            }
            _ => args.services.clone(),
        };
        Ok(kill(&project.name, observed, &named, &args.signal)?)
    };
    let change = flow::change(session, &host, &project.name, &Asked::default(), plan).await?;
    if change.done == 0 && !session.global.dry_run && change.interrupted.is_none() {
        session.ui.note("no container to kill");
    }
    Ok(change.exit())
}
