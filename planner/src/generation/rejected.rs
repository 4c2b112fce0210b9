//! What was taken back is not tried again just so.

use std::collections::BTreeSet;

use super::{Generation, manner_digest, spec_digest};
use crate::action::Action;
use crate::desired::Desired;
use crate::observed::Observed;
use crate::plan::Plan;

/// A service that is asked for once more as it was when it did not become good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The service.
    pub service: String,
    /// The generation that was taken back.
    pub generation: u64,
}

/// The services of which a plan makes containers as they are wanted.
pub fn made<'a>(plan: &Plan, desired: &'a Desired) -> BTreeSet<&'a str> {
    let of = plan.steps.iter().filter_map(|step| match &step.action {
        Action::CreateContainer(record) if record.init.is_none() && !record.oneoff => {
            let (name, service) = desired.services.get_key_value(&record.service)?;
            (record.project == desired.project && record.spec == service.container)
                .then_some(name.as_str())
        }
        _ => None,
    });
    of.collect()
}

/// Of the services that are to be made, those that were taken back when they were last tried just so:
/// the same description and image, to be replaced in the same manner, on dependencies of the same
/// descriptions and images. What has no image here is not known to be the same. `all` are by number.
pub fn rejected(
    all: &[Generation],
    (desired, observed): (&Desired, &Observed),
    made: &BTreeSet<&str>,
) -> Vec<Rejected> {
    let wanted = Wanted { desired, observed };
    let last = |service: &&str| {
        let tried = all.iter().rev().find(|one| wanted.is_of(one, service));
        tried
            .filter(|one| one.rejected.contains(*service))
            .map(|one| Rejected { service: (*service).to_owned(), generation: one.number })
    };
    made.iter().filter_map(last).collect()
}

struct Wanted<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
}

impl Wanted<'_> {
    /// Whether a service, and all that it depends on, is in a generation what it is to be now.
    fn is_of(&self, generation: &Generation, service: &str) -> bool {
        let (mut seen, mut next) = (BTreeSet::new(), vec![service]);
        while let Some(name) = next.pop() {
            if !seen.insert(name) {
                continue;
            }
            if !self.is_part_of(generation, name) {
                return false;
            }
            let depends = self.desired.services.get(name).map(|service| service.depends_on.keys());
            next.extend(depends.into_iter().flatten().map(String::as_str));
        }
        true
    }

    fn is_part_of(&self, generation: &Generation, name: &str) -> bool {
        let (Some(service), Some(part)) =
            (self.desired.services.get(name), generation.made_of.services.get(name))
        else {
            return false;
        };
        let image = self.observed.images.get(&service.image());
        image.is_some_and(|image| part.id.as_ref() == Some(&image.id))
            && part.spec == spec_digest(&service.container)
            && part.manner == manner_digest(service)
    }
}
