//! Which images are pulled before anything else is looked at.

use std::collections::{BTreeMap, BTreeSet};

use berth_schema::stack::PullPolicy;

use crate::action::Action;
use crate::cause::Cause;
use crate::desired::{Desired, ServiceSpec};
use crate::lock;
use crate::observed::Observed;
use crate::plan::{Draft, Plan};

/// Whether a reference is the root made from the host's own programs, which nobody pulls.
pub fn is_host(reference: &str) -> bool {
    reference == "localhost/host" || reference == "localhost/host:latest"
}

/// What the store is asked for when an image is looked for.
pub(crate) fn image(reference: &str, locked: Option<&str>) -> String {
    locked.map_or(reference.to_owned(), |digest| lock::reference(reference, digest))
}

/// The pull of an image, with the reason unless a lock is the reason.
pub(crate) fn step(reference: &str, locked: Option<&str>, cause: Cause) -> (Action, Cause) {
    let digest = locked.map(str::to_owned);
    let cause = digest.clone().map_or(cause, |digest| Cause::Locked { digest });
    (Action::PullImage { reference: reference.to_owned(), locked: digest }, cause)
}

/// Pulls that the policies of these services ask for although an image may be here: each time, or
/// when it is older than so many seconds. `now` is in seconds since the epoch. With `all_locked`
/// also those that the lock names and that are not here.
///
/// What a lock names is pulled once: a digest means the same image for ever. Whoever runs this
/// plan observes again before the next one, to see which images moved.
pub fn pulls(
    desired: &Desired,
    covered: &BTreeSet<&str>,
    observed: &Observed,
    now: i64,
    all_locked: bool,
) -> Plan {
    let due = |service: &&ServiceSpec| {
        let image = observed.images.get(&service.image());
        match (service.pull_policy, image) {
            (_, Some(_)) if service.locked.is_some() => false,
            (PullPolicy::Always, _) | (PullPolicy::Every(_), None) => true,
            (PullPolicy::Every(age), Some(image)) => {
                now.saturating_sub(image.pulled_at) >= i64::try_from(age).unwrap_or(i64::MAX)
            }
            (PullPolicy::Missing, None) => all_locked && service.locked.is_some(),
            (PullPolicy::Missing | PullPolicy::Never, _) => false,
        }
    };
    let covers = |name: &String| covered.contains(name.as_str());
    let services = desired.services.iter().filter(|(name, _)| covers(name));
    let mounted = services.clone().flat_map(|(_, service)| {
        let images = service.container.other_images();
        images.filter(|image| mount_is_due(service.pull_policy, image, observed, now))
    });
    let mounted = mounted.map(|image| (image, None));
    let images = services
        .map(|(_, service)| service)
        .filter(due)
        .map(|service| (service.container.image.as_str(), service.locked.as_deref()));
    let own = images.filter(|(image, _)| !is_host(image));
    plan_of(&desired.project, own.chain(mounted).collect())
}

/// Whether the policy of a service asks for the pull of an image that it mounts, or that its
/// `pre_start` runs.
fn mount_is_due(policy: PullPolicy, image: &str, observed: &Observed, now: i64) -> bool {
    match (policy, observed.images.get(image)) {
        // A digest means the same image for ever.
        (_, Some(_)) if image.contains('@') => false,
        _ if is_host(image) => false,
        (PullPolicy::Always, _) | (PullPolicy::Every(_), None) => true,
        (PullPolicy::Every(age), Some(image)) => {
            now.saturating_sub(image.pulled_at) >= i64::try_from(age).unwrap_or(i64::MAX)
        }
        (PullPolicy::Missing | PullPolicy::Never, _) => false,
    }
}

/// Images that a plan pulls by a name alone: what comes is known only then.
pub fn unpinned(plan: &Plan) -> impl Iterator<Item = &str> {
    plan.steps.iter().filter_map(|step| match &step.action {
        Action::PullImage { reference, locked: None } if !reference.contains('@') => {
            Some(reference.as_str())
        }
        _ => None,
    })
}

/// The pulls of these images with their digests.
fn plan_of(project: &str, images: BTreeSet<(&str, Option<&str>)>) -> Plan {
    let mut draft = Draft::default();
    for (reference, locked) in images {
        let (action, cause) = step(reference, locked, Cause::Requested);
        draft.add(action, vec![cause]);
    }
    draft.finish(project)
}

/// What `pull` is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullOptions {
    /// Only what is not here, whatever the file says; `None` leaves it to the file.
    pub policy: Option<Fetch>,
    /// Leave out what can be built.
    pub ignore_buildable: bool,
}

/// When `pull` fetches an image that is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetch {
    /// Each time.
    Always,
    /// Not at all.
    Missing,
}

/// What decides about the pull of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// Its image as the file has it; without one it is only built.
    pub image: Option<String>,
    /// It has a `build`.
    pub build: bool,
    /// Its `pull_policy` as the file has it.
    pub policy: Option<String>,
    /// Digest that the lock gives to its image.
    pub locked: Option<String>,
    /// It is for a platform that does not run here.
    pub foreign: bool,
    /// Images of its `pre_start` and those it mounts, by digest where the lock has one.
    pub others: Vec<String>,
}

/// Whether an image is fetched by `pull`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict<'a> {
    Fetch(&'a str),
    LeaveOut(&'static str),
}

/// The pulls of `pull`, and the services that are left out, each with the reason.
///
/// As for the Compose tools, a service without a policy is pulled even if its image is here.
pub fn fetches(
    project: &str,
    sources: &BTreeMap<String, Source>,
    observed: &Observed,
    options: &PullOptions,
) -> (Plan, BTreeMap<String, &'static str>) {
    let mut left_out = BTreeMap::new();
    let mut images = BTreeSet::new();
    for (name, source) in sources {
        match source.verdict(observed, options) {
            Verdict::LeaveOut(why) => drop(left_out.insert(name.clone(), why)),
            Verdict::Fetch(image) => drop(images.insert((image, source.locked.as_deref()))),
        }
        let others =
            source.others.iter().filter(|image| source.fetches_other(image, observed, options));
        images.extend(others.map(|image| (image.as_str(), None)));
    }
    (plan_of(project, images), left_out)
}

impl Source {
    /// Whether an image that is not the service's own is fetched, too.
    fn fetches_other(&self, image: &str, observed: &Observed, options: &PullOptions) -> bool {
        let here = observed.images.contains_key(image);
        let wanted = match (options.policy, self.policy.as_deref()) {
            (_, _) if here && image.contains('@') => false,
            (Some(fetch), _) => fetch == Fetch::Always || !here,
            (None, Some("never" | "build")) => false,
            (None, Some("missing" | "if_not_present")) => !here,
            (None, _) => true,
        };
        wanted && !self.foreign && !is_host(image)
    }

    fn verdict(&self, observed: &Observed, options: &PullOptions) -> Verdict<'_> {
        let Some(reference) = &self.image else {
            return Verdict::LeaveOut("it has no `image` to pull, it is built");
        };
        let here = observed.images.contains_key(&image(reference, self.locked.as_deref()));
        let only_missing = match (options.policy, self.policy.as_deref()) {
            (Some(fetch), _) => fetch == Fetch::Missing,
            (None, Some("never")) => return Verdict::LeaveOut("its `pull_policy` is `never`"),
            (None, Some("build")) => return Verdict::LeaveOut("its `pull_policy` is `build`"),
            (None, policy) => policy.is_some_and(|p| p == "missing" || p == "if_not_present"),
        };
        if is_host(reference) {
            Verdict::LeaveOut("`localhost/host` is this host itself")
        } else if self.foreign {
            Verdict::LeaveOut("it is for a platform that this host does not run")
        } else if here && self.locked.is_some() {
            Verdict::LeaveOut("the image that the lock names is here")
        } else if here && only_missing {
            Verdict::LeaveOut("its image is here")
        } else if self.build && options.ignore_buildable {
            Verdict::LeaveOut("it can be built")
        } else {
            Verdict::Fetch(reference)
        }
    }
}
