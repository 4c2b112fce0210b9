//! `berth down`.

use std::time::Duration;

use berth_planner::down::{DownOptions, Known, down};
use berth_planner::observed::Observed;
use berth_planner::plan::Plan;
use berth_runtime::host::Asked;
use clap::Args;

use crate::failure::{Exit, Failure};
use crate::flow::{self, Manner};
use crate::loss::Loss;
use crate::project::Project;
use crate::session::Session;
use crate::ui::safe;
use crate::values::moment;

/// What says yes beforehand.
const YES: &str = "--yes";

/// Arguments of `down`.
#[derive(Debug, Args)]
pub(crate) struct DownArgs {
    /// Only these services
    services: Vec<String>,
    /// Remove the project's volumes with their data, too; without services also its history, and with it
    /// what was rejected
    #[arg(short, long)]
    volumes: bool,
    /// Do not ask before data is lost
    #[arg(short, long)]
    yes: bool,
    /// Remove containers whose service is not in the file
    #[arg(long, env = "COMPOSE_REMOVE_ORPHANS", hide_env = true, value_parser = clap::builder::FalseyValueParser::new())]
    remove_orphans: bool,
    /// How long a container may take to stop, in seconds
    #[arg(short, long, value_name = "SECONDS", value_parser = moment::seconds)]
    timeout: Option<Duration>,
}

/// Stops and removes the project's containers and networks.
pub(crate) async fn run(session: &Session, args: &DownArgs) -> Result<Exit, Failure> {
    let project = session.project()?;
    let host = flow::open(session)?;
    let options =
        options(&project, args.volumes, args.remove_orphans, args.timeout, &args.services);
    let plan = |observed: &Observed| -> Result<Plan, Failure> {
        Ok(down(&project.name, observed, &options)?)
    };
    let loss = match args.yes || session.global.dry_run || !args.volumes {
        true => Loss::any(),
        false => {
            let observed = host.observe(&Asked::default()).await?;
            Loss::of(&host, &plan(&observed)?, &observed)?
        }
    };
    if !loss.ask(session, &question(&project.name, &args.services), YES)? {
        return Ok(Exit::Done);
    }
    let plan = |observed: &Observed| {
        let plan = plan(observed)?;
        loss.check(&host, (&plan, observed), YES)?;
        Ok(plan)
    };
    let mut look = flow::look(session, &host, &project.name, Asked::default()).await?;
    let change = flow::change_under(session, &host, &mut look, plan, Manner::Usual).await?;
    if let (Some(lock), None) = (look.lock(), change.interrupted) {
        let forgotten = match is_end(args) {
            true => host.numbers_of_generations(&project.name)?,
            false => Vec::new(),
        };
        // With none this takes away what a kill left half written.
        host.forget_generations(lock, &project.name, &forgotten)?;
    }
    if change.done == 0 && !session.global.dry_run {
        session.ui.note(&safe(&format!("{}: nothing to remove", project.name)));
    }
    Ok(change.exit())
}

/// What is asked before data is lost.
fn question(project: &str, services: &[String]) -> String {
    let services: Vec<String> = services.iter().map(|service| format!("`{service}`")).collect();
    match services.as_slice() {
        [] => format!("take `{project}` down with its data?"),
        [one] => format!("take {one} of `{project}` down with its data?"),
        all => format!("take {} of `{project}` down with their data?", all.join(", ")),
    }
}

/// Whether nothing is to be left of the project: its data goes, and its history with it.
fn is_end(args: &DownArgs) -> bool {
    args.volumes && args.services.is_empty()
}

/// Options of the planner.
pub(crate) fn options(
    project: &Project,
    volumes: bool,
    remove_orphans: bool,
    grace: Option<Duration>,
    services: &[String],
) -> DownOptions {
    let known = project.stack.as_ref().map(|stack| Known {
        active: stack.services.keys().cloned().collect(),
        inactive: stack.inactive.iter().cloned().collect(),
        files: stack.files.iter().map(|file| file.display().to_string()).collect(),
    });
    DownOptions { services: services.to_vec(), known, remove_orphans, volumes, grace }
}
