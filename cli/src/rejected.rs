//! What was taken back stays as it is when just that is asked for again, and the rest is done.

use std::collections::BTreeSet;
use std::sync::Mutex;

use berth_planner::desired::Desired;
use berth_planner::generation::{Rest, rest};
use berth_planner::observed::Observed;
use berth_planner::plan::Plan;
use berth_planner::up::UpOptions;
use berth_runtime::host::Host;
use berth_schema::stack::Places;

use crate::failure::Failure;
use crate::flow::Change;
use crate::generations::check_rejected;
use crate::session::Session;

/// Why services stay as they are, if some do.
#[derive(Default)]
pub(crate) struct Refusal(Mutex<Option<Failure>>);

impl Refusal {
    /// The plan to be done, and what it makes the host where that is not all that was wanted: services that
    /// were rejected as they are to be now stay as they are.
    ///
    /// # Errors
    /// The refusal, where these cannot stay as they are.
    pub(crate) fn part(
        &self,
        (session, host): (&Session, &Host),
        (desired, observed): (&Desired, &Observed),
        plan: Plan,
        (options, places): (&UpOptions, &Places),
    ) -> Result<(Option<Desired>, Plan), Failure> {
        self.keep(None);
        let failure = match check_rejected(session, host, (desired, observed), &plan) {
            Ok(()) => return Ok((None, plan)),
            Err(failure) => failure,
        };
        let Failure::Rejected { causes, tries, services, .. } = failure else {
            return Err(failure);
        };
        let refused = |kept| Failure::Rejected { causes, tries, services: services.clone(), kept };
        let names: BTreeSet<&str> = services.iter().map(String::as_str).collect();
        let Some(rest) = rest((desired, observed), &names, options, places) else {
            return Err(refused(Vec::new()));
        };
        let Rest { desired: then, plan: part, kept } = rest;
        check_rejected(session, host, (desired, observed), &part)?;
        let kept = kept.iter().map(|(service, serving)| {
            let containers = if serving.replicas == 1 { "container" } else { "containers" };
            format!(
                "`{service}` stays {} {containers} of image `{}`",
                serving.replicas, serving.image
            )
        });
        self.keep(Some(refused(kept.collect())));
        Ok((Some(then), Plan { grants: plan.grants, ..part }))
    }

    fn keep(&self, failure: Option<Failure>) {
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) = failure;
    }

    /// What came of a change, with the refusal beside it if other things were to be done; else the refusal.
    pub(crate) fn beside(
        self,
        changed: Result<Change, Failure>,
    ) -> (Result<Change, Failure>, Option<Failure>) {
        let refusal = self.0.into_inner().unwrap_or_else(|e| e.into_inner());
        let Some(Failure::Rejected { causes, tries, services, kept }) = refusal else {
            return (changed, None);
        };
        let refused = |kept| Failure::Rejected { causes, tries, services, kept };
        match &changed {
            Ok(change) if change.interrupted.is_some() => (changed, Some(refused(Vec::new()))),
            Ok(change) if change.done == 0 => (Err(refused(Vec::new())), None),
            Ok(_) => (changed, Some(refused(kept))),
            Err(_) => (changed, Some(refused(Vec::new()))),
        }
    }
}
