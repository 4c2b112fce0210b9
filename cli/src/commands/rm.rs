//! `berth rm`.

use std::collections::BTreeSet;

use berth_planner::lifecycle::{RmOptions, rm};
use berth_planner::observed::Observed;
use berth_planner::plan::Plan;
use berth_runtime::host::Asked;
use clap::Args;

use crate::failure::{Exit, Failure};
use crate::flow;
use crate::loss::Loss;
use crate::project::check_services;
use crate::session::Session;
use crate::ui::safe;

/// Arguments of `rm`.
#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// Only these services
    services: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Stop what runs before
    #[arg(short, long)]
    stop: bool,
    /// Also remove volumes that have no name
    #[arg(short, long)]
    volumes: bool,
}

/// Removes containers that do not run.
pub(crate) async fn run(session: &Session, args: &RmArgs) -> Result<Exit, Failure> {
    let project = session.project()?;
    let host = flow::open(session)?;
    let options = RmOptions {
        services: args.services.clone(),
        stop: args.stop,
        volumes: args.volumes,
        grace: None,
    };
    let plan = |observed: &Observed| -> Result<Plan, Failure> {
        check_services(&project, observed, &args.services)?;
        Ok(rm(&project.name, observed, &options)?)
    };
    let mut loss = Loss::any();
    if !args.force && !session.global.dry_run {
        let observed = host.observe(&Asked::default()).await?;
        let first = plan(&observed)?;
        if first.is_empty() {
            session.ui.note("no stopped containers");
            return Ok(Exit::Done);
        }
        let names: BTreeSet<String> = first.steps.iter().map(|step| step.action.target()).collect();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        loss = Loss::of(&host, &first, &observed)?;
        if session.ui.can_ask() {
            loss.list(session);
        }
        match session.ui.confirm(&format!("remove {names}?")) {
            Some(true) => {}
            Some(false) => return Ok(Exit::Done),
            None => {
                return Err(Failure::Unconfirmed {
                    message: safe(&format!("this removes {names}")).into(),
                    flag: "--force",
                });
            }
        }
    }
    let plan = |observed: &Observed| {
        let plan = plan(observed)?;
        loss.check(&host, (&plan, observed), "--force")?;
        Ok(plan)
    };
    let change = flow::change(session, &host, &project.name, &Asked::default(), plan).await?;
    if change.plan.is_empty() && change.done == 0 {
        session.ui.note("no stopped containers");
    }
    Ok(change.exit())
}
