//! Plans of `prune` and `image rm`, for every host: what nobody needs goes, and nothing else.

use std::collections::BTreeSet;

use berth_planner::action::Action;
use berth_planner::images::{Named, StoredImage, remove_image, users};
use berth_planner::observed::{ContainerState, Observed, ObservedContainer};
use berth_planner::prune::{Prune, Reach, Thing, ThingKind, prunable, removal};
use berth_planner::room::Found;
use berth_planner::{Plan, generation};
use proptest::prelude::*;

use super::order::{has_volume, parents};
use super::stored::{Site, asked, sites};
use crate::checker::judge;
use crate::host::{Break, FakeHost, active};

fn cases() -> ProptestConfig {
    ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() }
}

type Names = BTreeSet<(ThingKind, String)>;

fn named(things: &[Thing]) -> Names {
    things.iter().map(|thing| (thing.kind, thing.name.clone())).collect()
}

/// Whether made then, and with these labels, is what is asked for.
fn fits(prune: &Prune, made: Option<i64>, labels: &[(&str, &str)]) -> bool {
    let old = match (prune.until, made) {
        (None, _) => true,
        (Some(until), Some(made)) => made <= until,
        (Some(_), None) => false,
    };
    old && prune.labels.iter().all(|filter| {
        let of_key = labels.iter().find(|(key, _)| *key == filter.key);
        let has = of_key.is_some_and(|(_, is)| filter.value.as_deref().is_none_or(|v| v == *is));
        has == filter.wanted
    })
}

fn pairs(labels: &std::collections::BTreeMap<String, String>) -> Vec<(&str, &str)> {
    labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// What goes, said without the planner.
fn promised(site: &Site, prune: &Prune) -> Names {
    promised_of(site, prune, &|_| true)
}

/// The same where of the containers only these may go.
fn promised_of(site: &Site, prune: &Prune, may_go: &dyn Fn(&str) -> bool) -> Names {
    let observed = &site.observed;
    let ended = |have: &&ObservedContainer| {
        prune.containers && may_go(&have.record.name) && has_ended(have, prune, observed)
    };
    let (going, staying): (Vec<_>, Vec<_>) = observed.containers.values().partition(ended);
    let going = going.iter().map(|have| (ThingKind::Container, have.record.name.clone()));
    let mut names: Names = going.collect();
    for (name, network) in observed.networks.iter().filter(|_| prune.networks) {
        let record = &network.record;
        let mut labels = pairs(&record.spec.labels);
        labels.push(("com.docker.compose.project", &record.project));
        let made = site.usage.networks.get(name).copied();
        let used = staying.iter().any(|have| have.record.spec.networks.contains_key(name));
        if !used && !record.spec.external && fits(prune, made, &labels) {
            names.insert((ThingKind::Network, name.clone()));
        }
    }
    for (name, volume) in observed.volumes.iter().filter(|_| prune.volumes.is_some()) {
        let record = &volume.record;
        let mut labels = pairs(&record.spec.labels);
        labels.push(("com.docker.compose.project", &record.project));
        let asked = prune.volumes == Some(Reach::Named) || record.container.is_some();
        let used = staying.iter().any(|have| has_volume(have, name, observed));
        // It is not known how old data is.
        let any_age = Prune { until: None, ..prune.clone() };
        if asked && !used && !record.spec.external && fits(&any_age, None, &labels) {
            names.insert((ThingKind::Volume, name.clone()));
        }
    }
    for (id, image) in site.images.iter().filter(|_| prune.images.is_some()) {
        let asked = prune.images == Some(Reach::Named) || image.tags.is_empty();
        let needed = staying.iter().any(|have| is_of(have, id)) || site.keeps(id, &staying);
        if asked && !needed && fits(prune, image.created, &pairs(&image.labels)) {
            names.insert((ThingKind::Image, id.clone()));
        }
    }
    if prune.unfinished && prune.until.is_none() && prune.labels.is_empty() && site.swept(prune) {
        names.insert((ThingKind::Unfinished, "unfinished work".to_owned()));
    }
    names
}

/// Whether a container that fits neither runs nor may yet, nor lends its namespaces to one that does.
fn has_ended(have: &ObservedContainer, prune: &Prune, observed: &Observed) -> bool {
    let record = &have.record;
    let mut labels = pairs(&record.spec.labels);
    labels.push(("com.docker.compose.project", &record.project));
    labels.push(("com.docker.compose.service", &record.service));
    let restarts =
        |have: &ObservedContainer| matches!(have.state, ContainerState::Restarting { .. });
    let may_run = |have: &ObservedContainer| active(have) || have.monitored || restarts(have);
    let mut sharers = observed.containers.values().filter(|other| may_run(other));
    let is_shared = sharers.any(|other| parents(&other.record).contains(record.name.as_str()));
    !may_run(have) && !is_shared && fits(prune, Some(have.created_at), &labels)
}

/// Whether a container is made from an image, or has it mounted.
fn is_of(have: &ObservedContainer, id: &str) -> bool {
    let record = &have.record;
    record.image_id == id || record.borrowed.images.values().any(|of| of == id)
}

impl Site {
    pub fn found(&self) -> Found<'_> {
        let Site { observed, images, usage, kept } = self;
        Found { observed, images, usage, kept }
    }

    /// Whether one of these containers is of a project whose way back needs the image.
    fn keeps(&self, id: &str, staying: &[&ObservedContainer]) -> bool {
        let mut keepers = self.kept.get(id).into_iter().flatten();
        keepers.any(|keeper| staying.iter().any(|have| have.record.project == keeper.project))
    }

    /// Whether there is unfinished work that nobody is at.
    fn swept(&self, prune: &Prune) -> bool {
        let begun = self.usage.unfinished.iter();
        let mut begun = begun.filter(|(path, _)| prune.containers || path.starts_with("images/"));
        let left = prune.containers && !self.observed.leftovers.is_empty();
        let some = begun.clone().next().is_some() || left || self.parts_of_nobody() > 0;
        some && begun.all(|(_, work)| !work.busy)
    }

    fn parts_of_nobody(&self) -> u64 {
        let nobody =
            |part: &&String| !self.images.values().any(|image| image.parts.contains(*part));
        self.usage.parts.keys().filter(nobody).map(|part| self.usage.parts[part]).sum()
    }

    /// Bytes of all there is; those of unfinished work only if it is of the kind that a prune is about.
    fn bytes(&self, prune: &Prune) -> u64 {
        let Site { observed, usage, .. } = self;
        let containers = observed.containers.keys().filter_map(|name| usage.containers.get(name));
        let containers: u64 = containers.map(|usage| usage.files + usage.logs).sum();
        let volumes: u64 = observed.volumes.keys().filter_map(|name| usage.volumes.get(name)).sum();
        let parts: u64 = usage.parts.values().sum();
        let begun = usage.unfinished.iter();
        let begun = begun.filter(|(path, _)| prune.containers || path.starts_with("images/"));
        containers + volumes + parts + begun.map(|(_, work)| work.bytes).sum::<u64>()
    }

    /// Does a plan, and fails where it takes what somebody needs.
    fn perform(&mut self, plan: &Plan, (prune, seed): (&Prune, u64), broken: Option<Break>) {
        let mut host = FakeHost::at(&self.observed);
        let ran = host.apply_watched(plan, seed, broken, |host, action| {
            let staying: Vec<&ObservedContainer> = host.observed.containers.values().collect();
            match action {
                Action::RemoveImage { id, names } => {
                    assert!(!staying.iter().any(|have| is_of(have, id)), "{id} is used\n{plan}");
                    assert!(!self.keeps(id, &staying), "{id} is needed to go back\n{plan}");
                    let image = self.images.remove(id).expect("an image");
                    assert_eq!(&image.names(), names);
                    // Parts go with the last image that has them.
                    let others: BTreeSet<&String> =
                        self.images.values().flat_map(|other| &other.parts).collect();
                    let alone =
                        |part: &String| image.parts.contains(part) && !others.contains(part);
                    self.usage.parts.retain(|part, _| !alone(part));
                }
                Action::UntagImage { name, id } => {
                    let image = self.images.get_mut(id).expect("an image");
                    let before = image.names().len();
                    image.tags.retain(|tag| tag != name);
                    image.digests.retain(|digest| digest != name);
                    assert_eq!(image.names().len() + 1, before, "{name} is no name of {id}");
                }
                Action::RemoveVolume { name } => {
                    let user = staying.iter().find(|have| has_volume(have, name, &self.observed));
                    assert_eq!(user.map(|have| &have.record.name), None, "{name} is used\n{plan}");
                }
                Action::SweepStore => {
                    self.usage
                        .unfinished
                        .retain(|path, _| !(prune.containers || path.starts_with("images/")));
                    let images = &self.images;
                    self.usage
                        .parts
                        .retain(|part, _| images.values().any(|image| image.parts.contains(part)));
                }
                Action::RemoveContainer { .. }
                | Action::RemoveNetwork { .. }
                | Action::RemoveLeftover(_) => {}
                other => panic!("{other:?} is no part of a prune"),
            }
        });
        assert!(ran.errors.is_empty(), "{:?}\n{plan}", ran.errors);
        self.observed = host.observed;
    }

    /// The same without these things.
    fn without(&self, gone: &Names) -> Observed {
        let mut left = self.observed.clone();
        let is = |kind, name: &String| gone.contains(&(kind, name.clone()));
        left.containers.retain(|name, _| !is(ThingKind::Container, name));
        left.networks.retain(|name, _| !is(ThingKind::Network, name));
        left.volumes.retain(|name, _| !is(ThingKind::Volume, name));
        left
    }
}

/// The names that go with one of an image.
fn going(image: &StoredImage, named: &Named) -> BTreeSet<String> {
    let repository = |name: &str| {
        let end = name.find('@').or(name.rfind(':')).unwrap_or(name.len());
        name[..end].to_owned()
    };
    let Named::Name(name) = named else { return image.names().into_iter().collect() };
    let mut going: BTreeSet<String> = [name.clone()].into();
    let mut others = image.tags.iter().filter(|tag| *tag != name);
    let last = !others.any(|tag| repository(tag) == repository(name));
    if image.tags.contains(name) && last {
        let digests = image.digests.iter().filter(|digest| repository(digest) == repository(name));
        going.extend(digests.cloned());
    }
    going
}

fn same_bytes(plan: &Plan, again: &Plan) {
    assert_eq!(plan.to_string(), again.to_string());
    assert_eq!(serde_json::to_string(plan).unwrap(), serde_json::to_string(again).unwrap());
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_prune_takes_what_nobody_needs_and_nothing_else(
        site in sites(),
        prune in asked(),
        seed in any::<u64>(),
    ) {
        let site = site.site();
        let chosen = prunable(&site.found(), &prune);
        let promised = promised(&site, &prune);
        prop_assert_eq!(&named(&chosen), &promised);
        let plan = removal(&chosen, &prune, &site.found());
        let reversed: Vec<Thing> = chosen.iter().rev().cloned().collect();
        same_bytes(&plan, &removal(&reversed, &prune, &site.found()));
        judge(&plan, None, &site.observed);

        let mut after = site.clone();
        after.perform(&plan, (&prune, seed), None);
        let mut left = site.without(&promised);
        left.host = after.observed.host.clone();
        if promised.iter().any(|(kind, _)| *kind == ThingKind::Unfinished) && prune.containers {
            left.leftovers.clear();
        }
        prop_assert_eq!(&after.observed, &left);
        let told: u64 = chosen.iter().map(|thing| thing.bytes).sum();
        prop_assert_eq!(site.bytes(&prune) - after.bytes(&prune), told);
        prop_assert_eq!(named(&prunable(&after.found(), &prune)), Names::new(), "{}", plan);
    }

    #[test]
    fn a_prune_that_broke_off_goes_on_when_it_is_given_again(
        site in sites(),
        prune in asked(),
        (seed, at, dies) in any::<(u64, prop::sample::Index, bool)>(),
    ) {
        let mut site = site.site();
        let chosen = prunable(&site.found(), &prune);
        let plan = removal(&chosen, &prune, &site.found());
        let mut whole = site.clone();
        whole.perform(&plan, (&prune, seed), None);
        let at = at.index(plan.steps.len().max(1));
        let broken = if dies { Break::Dies(at) } else { Break::Fails(at) };
        site.perform(&plan, (&prune, seed), Some(broken));
        let rest = prunable(&site.found(), &prune);
        let rest = removal(&rest, &prune, &site.found());
        site.perform(&rest, (&prune, seed.rotate_left(9)), None);
        prop_assert_eq!(site.observed, whole.observed);
        prop_assert_eq!(site.images, whole.images);
        prop_assert_eq!(site.usage.parts, whole.usage.parts);
    }

    #[test]
    fn what_came_while_somebody_was_asked_stays(
        (before, now) in (sites(), sites()),
        prune in asked(),
        seed in any::<u64>(),
    ) {
        let (before, mut now) = (before.site(), now.site());
        let chosen = prunable(&before.found(), &prune);
        let names = |thing: &Thing| (thing.kind, thing.name.clone(), thing.names.clone());
        let shown: BTreeSet<_> = chosen.iter().map(names).collect();
        let mut promised = promised_of(&now, &prune, &|name| {
            shown.contains(&(ThingKind::Container, name.to_owned(), Vec::new()))
        });
        promised.retain(|(kind, name)| {
            let names = now.images.get(name).filter(|_| *kind == ThingKind::Image);
            shown.contains(&(*kind, name.clone(), names.map_or(Vec::new(), StoredImage::names)))
        });
        let (left, images) = (now.without(&promised), now.images.clone());
        let plan = removal(&chosen, &prune, &now.found());
        now.perform(&plan, (&prune, seed), None);
        prop_assert_eq!(now.observed.containers, left.containers);
        prop_assert_eq!(now.observed.networks, left.networks);
        prop_assert_eq!(now.observed.volumes, left.volumes);
        let goes = |id: &String| promised.contains(&(ThingKind::Image, id.clone()));
        let left: Vec<&String> = images.keys().filter(|id| !goes(id)).collect();
        prop_assert_eq!(now.images.keys().collect::<Vec<_>>(), left);
    }

    #[test]
    fn a_name_of_an_image_goes_and_the_image_only_with_its_last_and_unneeded(
        site in sites(),
        (at, of, by_id, force) in any::<(prop::sample::Index, prop::sample::Index, bool, bool)>(),
    ) {
        let site = site.site();
        let all: Vec<&StoredImage> = site.images.values().collect();
        prop_assume!(!all.is_empty());
        let image = all[at.index(all.len())];
        let names = image.names();
        let named = match by_id || names.is_empty() {
            true => Named::Id,
            false => Named::Name(names[of.index(names.len())].clone()),
        };
        let containers: Vec<&ObservedContainer> = site.observed.containers.values().collect();
        let used = containers.iter().any(|have| is_of(have, &image.id));
        let kept = site.keeps(&image.id, &containers);
        let going = going(image, &named);
        let last = going.len() == names.len();
        let unclear = named == Named::Id && image.tags.len() > 1;
        let refused = last && !force && (used || kept || unclear) || going.is_empty() && used;

        let by_image = users(&site.observed.containers);
        let users = by_image.get(image.id.as_str()).map_or(&[][..], Vec::as_slice);
        let keeper = generation::keeper(&site.kept, &image.id, &site.observed, &|_| true);
        let made = || remove_image(image, &named, (users, keeper), force);
        prop_assert_eq!(made().is_err(), refused, "{:?} of {:?}: {:?}", named, image, made());
        let Ok(plan) = made() else { return Ok(()) };
        same_bytes(&plan, &made().unwrap());
        judge(&plan, None, &site.observed);
        let mut after = Site { kept: Default::default(), ..site.clone() };
        after.perform(&plan, (&Prune::default(), 1), None);
        let mut left = site.images.clone();
        if last && !used {
            left.remove(&image.id);
        } else {
            let image = left.get_mut(&image.id).unwrap();
            image.tags.retain(|tag| !going.contains(tag));
            image.digests.retain(|digest| !going.contains(digest));
        }
        prop_assert_eq!(after.images, left);
        prop_assert_eq!(after.observed, site.observed);
    }
}
