//! `up -V`: data that goes with the volumes that are made anew.

use std::sync::Arc;

use berth_planner::loss::lost;
use berth_runtime::host::Host;
use berth_schema::stack::Stack;

use super::UpArgs;
use crate::failure::Failure;
use crate::flow::Look;
use crate::images::{Aim, Images};
use crate::loss::Loss;
use crate::session::Session;

/// What says yes beforehand.
pub(super) const YES: &str = "--yes";

/// What may go, as somebody lets it, of what was judged and pulled. The look lets go of the lock while
/// that is measured and asked.
///
/// # Errors
/// [`Failure::Unconfirmed`] when nobody says yes.
pub(super) async fn lets_go(
    session: &Session,
    host: &Arc<Host>,
    images: &mut Images,
    (stack, aim, args): (&Stack, Aim<'_>, &UpArgs),
    mut look: Look,
) -> Result<(Look, Loss), Failure> {
    if !args.shape.renew_anon_volumes || args.yes || session.global.dry_run {
        return Ok((look, Loss::any()));
    }
    let plan = images.plan(stack, &look.observed, aim)?;
    // To measure it takes long, as an answer does.
    if !lost(&plan, &look.observed).is_empty() {
        look.let_go();
    }
    let loss = Loss::of(host, &plan, &look.observed)?;
    if loss.is_none() {
        return Ok((look, loss));
    }
    let question = format!("bring `{}` up without that data?", stack.name);
    if !loss.ask(session, &question, YES)? {
        loss.refuse(YES)?;
    }
    let look = look.locked(session, host).await?;
    images.judge_again(session, (host, &look.observed), (stack, aim))?;
    Ok((look, loss))
}
