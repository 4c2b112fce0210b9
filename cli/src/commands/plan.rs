//! `berth plan`.

use std::collections::BTreeSet;

use berth_planner::down::down;
use berth_planner::plan::Plan;
use clap::Args;

use super::up::Shape;
use crate::failure::{Exit, Failure};
use crate::flow;
use crate::images::Aim;
use crate::session::Session;

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Only these services and what they depend on
    services: Vec<String>,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
    /// End with 2 when there is something to do
    #[arg(long)]
    detailed_exitcode: bool,
    /// Show what `down` would do
    #[arg(long)]
    down: bool,
    /// With --down: what `down --volumes` would do
    #[arg(short, long, requires = "down")]
    volumes: bool,
    /// What is to be the same for `create`, `plan` and `up`
    #[command(flatten)]
    shape: Shape,
}

/// Shows what would be done, and does nothing.
pub(crate) async fn run(session: &Session, args: &PlanArgs) -> Result<Exit, Failure> {
    let plan =
        if args.down { plan_down(session, args).await? } else { plan_up(session, args).await? };
    if args.json {
        session.ui.json(&plan)?;
    } else {
        flow::show(session, &plan)?;
    }
    Ok(if args.detailed_exitcode && !plan.is_empty() { Exit::Changes } else { Exit::Done })
}

async fn plan_up(session: &Session, args: &PlanArgs) -> Result<Plan, Failure> {
    let stack = session.load(&args.services)?;
    let host = flow::open(session)?;
    let images = args.shape.images(session, &stack)?;
    let observed = host.observe(&images.asked(&stack)).await?;
    let options = args.shape.options(&args.services);
    let plan = images.plan(&stack, &observed, Aim::Up(&options))?;
    images.tell_open(session, &stack, &observed, Aim::Up(&options))?;
    Ok(plan)
}

async fn plan_down(session: &Session, args: &PlanArgs) -> Result<Plan, Failure> {
    let project = session.project()?;
    let host = flow::open(session)?;
    let observed = host.observe(&BTreeSet::new()).await?;
    let options =
        super::down::options(&project, args.volumes, args.shape.orphans(), None, &args.services);
    Ok(down(&project.name, &observed, &options)?)
}
