//! `berth pause` and `berth unpause`.

use berth_planner::observed::Observed;
use berth_planner::pause::{pause, unpause};
use berth_planner::plan::Plan;
use berth_planner::problem::PlanProblems;
use berth_runtime::host::Asked;
use clap::Args;

use crate::failure::{Exit, Failure};
use crate::flow;
use crate::project::check_services;
use crate::session::Session;

/// Arguments of `pause` and of `unpause`.
#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    /// Only these services
    services: Vec<String>,
}

/// What makes the plan.
type Planner = fn(&str, &Observed, &[String]) -> Result<Plan, PlanProblems>;

/// Makes what runs stand still.
pub(crate) async fn run(session: &Session, args: &PauseArgs) -> Result<Exit, Failure> {
    change(session, args, pause).await
}

/// Lets what is paused run on.
pub(crate) async fn run_on(session: &Session, args: &PauseArgs) -> Result<Exit, Failure> {
    change(session, args, unpause).await
}

async fn change(session: &Session, args: &PauseArgs, plans: Planner) -> Result<Exit, Failure> {
    let project = session.project()?;
    let host = flow::open(session)?;
    let plan = |observed: &Observed| {
        check_services(&project, observed, &args.services)?;
        Ok(plans(&project.name, observed, &args.services)?)
    };
    let change = flow::change(session, &host, &project.name, &Asked::default(), plan).await?;
    Ok(change.exit())
}
