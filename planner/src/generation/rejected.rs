//! What was taken back is not tried again just so.

use std::collections::{BTreeMap, BTreeSet};

use berth_schema::stack::Places;

use super::{Generation, bound_digest, manner_digest, spec_digest};
use crate::action::Action;
use crate::desired::{Desired, ServiceSpec};
use crate::observed::{ContainerState, Observed, ObservedContainer};
use crate::plan::Plan;
use crate::rollback::{Serving, version};
use crate::rollout;
use crate::up::{UpOptions, up};

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

/// What is left of a run when services stay as they are.
#[derive(Debug)]
pub struct Rest {
    /// What is wanted then: these services are what they were made from.
    pub desired: Desired,
    /// The plan for it.
    pub plan: Plan,
    /// What serves of these services.
    pub kept: BTreeMap<String, Serving>,
}

/// What is wanted and planned when these services stay what their containers were made from: those that
/// run go on, those that are down start. `None` where that cannot be: one has no container, a
/// broken one or several versions of them, or would have to be made anew.
pub fn rest(
    (desired, observed): (&Desired, &Observed),
    services: &BTreeSet<&str>,
    options: &UpOptions,
    places: &Places,
) -> Option<Rest> {
    let (mut then, mut kept) = (desired.clone(), BTreeMap::new());
    for &name in services {
        let (was, networks) = as_it_is(desired, observed, name)?;
        let (replicas, image) = (was.replicas, was.container.image.clone());
        kept.insert(name.to_owned(), Serving { replicas, image });
        then.services.insert(name.to_owned(), was);
        for network in networks {
            let spec = &observed.networks.get(&network)?.record.spec;
            then.networks.entry(network).or_insert_with(|| spec.clone());
        }
    }
    let mut options = options.clone();
    options.scale.retain(|service, _| !services.contains(service.as_str()));
    let plan = up(&then, observed, &options, places).ok()?;
    let makes = plan.steps.iter().any(|step| match &step.action {
        Action::CreateContainer(record) => services.contains(record.service.as_str()),
        _ => false,
    });
    (!makes).then_some(Rest { desired: then, plan, kept })
}

/// A service as its containers are, and the networks these are on.
fn as_it_is(
    desired: &Desired,
    observed: &Observed,
    name: &str,
) -> Option<(ServiceSpec, Vec<String>)> {
    let wanted = desired.services.get(name)?;
    let own = observed.containers.values().filter(|have| {
        let record = &have.record;
        record.project == desired.project && record.service == name && !record.oneoff
    });
    let own: Vec<&ObservedContainer> = own.collect();
    let serving = rollout::serving(&own);
    let first = serving.first()?;
    let is_whole = |have: &&ObservedContainer| {
        version(have) == version(first) && have.state != ContainerState::Broken
    };
    let record = &first.record;
    let was = serving.iter().all(is_whole).then(|| ServiceSpec {
        replicas: u32::try_from(serving.len()).unwrap_or(u32::MAX),
        container: record.spec.clone(),
        locked: record.locked.clone(),
        pinned: Some(record.image_id.clone()),
        depends_on: record.depends_on.clone(),
        rollout: None,
        order: None,
        goes_back: true,
        pre_start: Vec::new(),
        ..wanted.clone()
    })?;
    Some((was, record.spec.networks.keys().cloned().collect()))
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
            && part.bound == bound_digest(&service.container)
            && part.manner == manner_digest(service)
    }
}
