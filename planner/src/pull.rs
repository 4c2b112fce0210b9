//! Which images are pulled before anything else is looked at.

use std::collections::BTreeSet;

use berth_schema::stack::PullPolicy;

use crate::action::Action;
use crate::cause::Cause;
use crate::desired::Desired;
use crate::observed::Observed;
use crate::plan::{Draft, Plan};

/// Whether a reference is the root made from the host's own programs, which nobody pulls.
pub(crate) fn is_host(reference: &str) -> bool {
    reference == "localhost/host" || reference == "localhost/host:latest"
}

/// Pulls that policies ask for although an image may be here: each time, or when it is older
/// than so many seconds. `now` is in seconds since the epoch.
///
/// Whoever runs this plan observes again before the next one, to see which images moved.
pub fn pulls(desired: &Desired, observed: &Observed, now: i64) -> Plan {
    let due = desired.services.values().filter(|service| {
        let image = observed.images.get(&service.container.image);
        match (service.pull_policy, image) {
            (PullPolicy::Always, _) | (PullPolicy::Every(_), None) => true,
            (PullPolicy::Every(age), Some(image)) => {
                now.saturating_sub(image.pulled_at) >= i64::try_from(age).unwrap_or(i64::MAX)
            }
            (PullPolicy::Missing | PullPolicy::Never, _) => false,
        }
    });
    let references: BTreeSet<&str> =
        due.map(|service| service.container.image.as_str()).filter(|name| !is_host(name)).collect();
    let mut draft = Draft::default();
    for reference in references {
        let action = Action::PullImage { reference: reference.to_string() };
        draft.add(action, vec![Cause::Requested]);
    }
    draft.finish(&desired.project)
}
