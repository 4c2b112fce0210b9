//! `berth plan`.

use berth_planner::down::down;
use berth_runtime::host::Asked;
use clap::Args;

use super::up::Shape;
use crate::failure::{Exit, Failure};
use crate::flow;
use crate::images::Aim;
use crate::session::Session;
use crate::views::{self, Made, ViewArgs};

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Only these services and what they depend on
    services: Vec<String>,
    /// How it is shown
    #[command(flatten)]
    view: ViewArgs,
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
    let (made, verdict) = match args.down {
        true => (plan_down(session, args).await?, Ok(())),
        false => plan_up(session, args).await?,
    };
    views::show(session, &args.view, &made)?;
    verdict?;
    Ok(if args.detailed_exitcode && !made.plan.is_empty() { Exit::Changes } else { Exit::Done })
}

/// The plan, and what of it the policy does not let happen.
async fn plan_up(
    session: &Session,
    args: &PlanArgs,
) -> Result<(Made, Result<(), Failure>), Failure> {
    let stack = session.load(&args.services)?;
    let host = flow::open_to_look(session)?;
    let mut images = args.shape.images(session, &stack)?;
    let options = args.shape.options(&args.services);
    let judged = (&stack, Aim::Up(&options));
    let observed = host.observe(&images.asked(&stack, judged.1)).await?;
    let seen = (&host, &observed);
    let verdict = images.judge(session, seen, judged, &args.shape.policy)?.check(&stack);
    let plan = images.plan(&stack, &observed, Aim::Up(&options))?;
    images.tell_open(session, &stack, &observed, Aim::Up(&options))?;
    let desired = Some(images.desired(&stack, &observed)?);
    Ok((Made { plan, observed, stack: Some(stack), desired }, verdict))
}

async fn plan_down(session: &Session, args: &PlanArgs) -> Result<Made, Failure> {
    let project = session.project()?;
    let host = flow::open_to_look(session)?;
    let observed = host.observe(&Asked::default()).await?;
    let options =
        super::down::options(&project, args.volumes, args.shape.orphans(), None, &args.services);
    let plan = down(&project.name, &observed, &options)?;
    Ok(Made { plan, observed, stack: project.stack, desired: None })
}
