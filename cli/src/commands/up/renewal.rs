//! `up -V`: data that goes with the volumes that are made anew.

use std::sync::Arc;

use berth_planner::up::UpOptions;
use berth_runtime::host::Host;
use berth_schema::stack::Stack;

use super::UpArgs;
use crate::failure::Failure;
use crate::flow;
use crate::images::Aim;
use crate::loss::Loss;
use crate::session::Session;

/// What says yes beforehand.
pub(super) const YES: &str = "--yes";

/// What may go, if somebody lets it. Nobody holds the lock while that is asked.
pub(super) async fn lets_go(
    session: &Session,
    host: &Arc<Host>,
    stack: &Stack,
    args: &UpArgs,
) -> Result<Option<Loss>, Failure> {
    if !args.shape.renew_anon_volumes || args.yes || session.global.dry_run {
        return Ok(Some(Loss::any()));
    }
    let images = args.shape.images(session, stack)?;
    let options = UpOptions { no_start: args.no_start, ..args.shape.options(&args.services) };
    let aim = Aim::Up(&options);
    let look = flow::glance(host, &stack.name, images.asked(stack, aim)).await?;
    let plan = images.plan(stack, &look.observed, aim)?;
    let loss = Loss::of(host, &plan, &look.observed)?;
    let question = format!("bring `{}` up without that data?", stack.name);
    Ok(loss.ask(session, &question, YES)?.then_some(loss))
}
