//! `berth pull`.

use std::collections::BTreeSet;

use berth_planner::observed::Observed;
use berth_planner::pull::pulls;
use berth_schema::stack::PullPolicy;
use clap::Args;

use crate::failure::{Exit, Failure};
use crate::flow;
use crate::project::{desired, references, unknown_service};
use crate::session::Session;

/// Arguments of `pull`.
#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// Only these services
    services: Vec<String>,
    /// Also what the named services depend on
    #[arg(long)]
    include_deps: bool,
    /// `missing` leaves images alone that are here
    #[arg(long, default_value = "always", value_parser = ["always", "missing"])]
    policy: String,
}

/// Gets the images of services.
pub(crate) async fn run(session: &Session, args: &PullArgs) -> Result<Exit, Failure> {
    let stack = session.load(&args.services)?;
    let host = flow::open(session)?;
    let wanted = selected(&stack, &args.services, args.include_deps)?;
    let plan = |observed: &Observed| {
        let mut desired = desired(&stack, &observed.host)?;
        desired.services.retain(|name, _| wanted.contains(name));
        for service in desired.services.values_mut() {
            let here = observed.images.contains_key(&service.container.image);
            let wanted = args.policy == "always" || !here;
            service.pull_policy = if wanted { PullPolicy::Always } else { PullPolicy::Never };
        }
        Ok(pulls(&desired, observed, jiff::Timestamp::now().as_second()))
    };
    let change = flow::change(session, &host, &stack.name, &references(&stack), plan).await?;
    Ok(change.exit())
}

/// The named services, with what they depend on if that was asked for; all without names.
pub(super) fn selected(
    stack: &berth_schema::stack::Stack,
    services: &[String],
    include_deps: bool,
) -> Result<BTreeSet<String>, Failure> {
    if services.is_empty() {
        return Ok(stack.services.keys().cloned().collect());
    }
    let mut selected = BTreeSet::new();
    let mut open = services.to_vec();
    while let Some(name) = open.pop() {
        let Some(service) = stack.services.get(&name) else {
            return Err(unknown_service(&name, stack.services.keys().map(String::as_str)));
        };
        if selected.insert(name) && include_deps {
            open.extend(service.depends_on.keys().cloned());
        }
    }
    Ok(selected)
}
