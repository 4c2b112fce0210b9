//! Data that a plan takes away for good.

use std::collections::BTreeSet;

use crate::action::Action;
use crate::backing::Backing;
use crate::observed::Observed;
use crate::plan::Plan;

/// Volumes whose data goes. That of one which only shows a folder of the host stays where it is.
pub fn lost<'a>(plan: &'a Plan, observed: &Observed) -> BTreeSet<&'a str> {
    let removed = plan.steps.iter().filter_map(|step| match &step.action {
        Action::RemoveVolume { name } => Some(name.as_str()),
        _ => None,
    });
    let has_data = |name: &&str| {
        let options = observed.volumes.get(*name).map(|seen| &seen.record.spec.driver_opts);
        match options.map(Backing::of) {
            Some(Ok(Backing::Bind { .. } | Backing::Memory { .. })) => false,
            Some(Ok(Backing::Own) | Err(_)) | None => true,
        }
    };
    removed.filter(has_data).collect()
}
