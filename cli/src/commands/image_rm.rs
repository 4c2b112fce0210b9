//! `berth image rm`.

use std::collections::BTreeSet;
use std::sync::Arc;

use berth_planner::action::Action;
use berth_planner::generation::keeper;
use berth_planner::images::{Named, remove_image, users};
use berth_planner::observed::Observed;
use berth_planner::plan::Plan;
use berth_runtime::host::Asked;
use berth_runtime::host::Host;
use berth_runtime::store::{Reference, StoreError};
use clap::Args;

use crate::failure::{Exit, Failure, tried};
use crate::flow::{self, Manner};
use crate::session::Session;
use crate::ui::safe;

/// Arguments of `image rm`.
#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// Their names, or ids (at least four digits)
    #[arg(required = true)]
    references: Vec<String>,
    /// Also the names of images that containers were made from, and all names for one id; no
    /// failure when there is no such image
    #[arg(short, long)]
    force: bool,
}

/// Takes names away, each for itself; what cannot go does not keep the others.
pub(crate) async fn run(
    session: &Session,
    host: &Arc<Host>,
    args: &RmArgs,
) -> Result<Exit, Failure> {
    let mut causes = Vec::new();
    let mut done = 0;
    for text in &args.references {
        match remove(session, host, text, args.force).await {
            Ok(exit @ Exit::Signal(_)) => return Ok(exit),
            Ok(_) => done += 1,
            Err(failure @ Failure::Output(_)) => return Err(failure),
            Err(failure) if args.references.len() == 1 => return Err(failure),
            Err(failure) => causes.push(failure.to_string()),
        }
    }
    tried(done, causes)
}

async fn remove(
    session: &Session,
    host: &Arc<Host>,
    text: &str,
    force: bool,
) -> Result<Exit, Failure> {
    let (id, named) = match find(host, text) {
        Err(error @ StoreError::Missing(_)) if force => {
            session.ui.warn(&error.to_string());
            return Ok(Exit::Done);
        }
        found => found?,
    };
    let kept = host.kept_images()?;
    let plan = |observed: &Observed| -> Result<Plan, Failure> {
        let images = host.store().images()?;
        let image = images.get(&id).ok_or_else(|| StoreError::Missing(text.to_owned()))?;
        let users = users(&observed.containers);
        let users = users.get(id.as_str()).map_or(&[][..], Vec::as_slice);
        let keeper = keeper(&kept, &id, observed, &|_| true);
        remove_image(image, &named, (users, keeper), force).map_err(|problems| {
            Failure::from(problems)
                .with_help("`--force` takes the names away; what containers need is kept")
        })
    };
    if session.global.dry_run {
        let plan = plan(&host.observe(&Asked::default()).await?)?;
        tell(&plan, |line| {
            session.ui.note(&safe(&format!("would be {line}")));
            Ok(())
        })?;
        return Ok(Exit::Done);
    }
    let change = flow::change_across(session, host, &BTreeSet::new(), plan, Manner::Silent).await?;
    tell(&change.plan, |line| session.ui.list([line]))?;
    Ok(change.exit())
}

/// In Docker's words: what was untagged, what was deleted.
fn tell(plan: &Plan, mut say: impl FnMut(String) -> Result<(), Failure>) -> Result<(), Failure> {
    for step in &plan.steps {
        match &step.action {
            Action::UntagImage { name, .. } => say(format!("Untagged: {name}"))?,
            Action::RemoveImage { id, names } => {
                for name in names {
                    say(format!("Untagged: {name}"))?;
                }
                say(format!("Deleted: {id}"))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The image that is meant, and whether by a name of it or by its id.
fn find(host: &Host, text: &str) -> Result<(String, Named), StoreError> {
    if Reference::parse(text).is_ok_and(|reference| reference.is_host()) {
        return Err(StoreError::Reserved);
    }
    let found = host.store().resolve(text);
    if let Ok(Some(entry)) = found {
        let by_name = entry.reference.filter(|_| !is_whole_id(text));
        return Ok((entry.id, by_name.map_or(Named::Id, Named::Name)));
    }
    match host.store().find(text)? {
        Some(entry) => Ok((entry.id, Named::Id)),
        None => {
            found?;
            Err(StoreError::Missing(text.to_owned()))
        }
    }
}

/// `sha256:` with 64 digits, or the digits alone.
fn is_whole_id(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit())
}
