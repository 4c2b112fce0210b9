//! `berth plan`.

use berth_planner::down::down;
use berth_planner::plan::Plan;
use berth_runtime::host::Asked;
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
    let (plan, verdict) = match args.down {
        true => (plan_down(session, args).await?, Ok(())),
        false => plan_up(session, args).await?,
    };
    if args.json {
        session.ui.json(&plan)?;
    } else {
        flow::show(session, &plan)?;
    }
    verdict?;
    Ok(if args.detailed_exitcode && !plan.is_empty() { Exit::Changes } else { Exit::Done })
}

/// The plan, and what of it the policy does not let happen.
async fn plan_up(
    session: &Session,
    args: &PlanArgs,
) -> Result<(Plan, Result<(), Failure>), Failure> {
    let stack = session.load(&args.services)?;
    let host = flow::open(session)?;
    let mut images = args.shape.images(session, &stack)?;
    let options = args.shape.options(&args.services);
    let judged = (&stack, Aim::Up(&options));
    let verdict = images.judge(session, &host, judged, &args.shape.policy).await?.check(&stack);
    let observed = host.observe(&images.asked(&stack)).await?;
    let plan = images.plan(&stack, &observed, Aim::Up(&options))?;
    images.tell_open(session, &stack, &observed, Aim::Up(&options))?;
    Ok((plan, verdict))
}

async fn plan_down(session: &Session, args: &PlanArgs) -> Result<Plan, Failure> {
    let project = session.project()?;
    let host = flow::open(session)?;
    let observed = host.observe(&Asked::default()).await?;
    let options =
        super::down::options(&project, args.volumes, args.shape.orphans(), None, &args.services);
    Ok(down(&project.name, &observed, &options)?)
}
