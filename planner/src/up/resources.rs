//! The fate of networks and volumes.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::cause::{Cause, FieldChange};
use crate::desired::{NetworkSpec, SourceSpec, VolumeSpec};
use crate::diff;
use crate::ipam::{Subnets, bridge_name, overlap};
use crate::observed::{
    Addresses, ContainerRecord, ContainerState, Leftover, NetworkRecord, ObservedNetwork, Subnet,
    VolumeRecord,
};
use crate::problem::{PlanProblem, PlanProblems};

use super::Survey;

/// What becomes of a network.
#[derive(Debug)]
pub(super) struct NetworkFate {
    pub(super) fate: Fate,
    /// As it will be.
    pub(super) record: NetworkRecord,
    pub(super) changes: Vec<FieldChange>,
}

impl NetworkFate {
    /// Whether its bridge is a new one.
    pub(super) fn makes(&self) -> bool {
        matches!(self.fate, Fate::Create | Fate::Replace)
    }

    /// Whether the containers on it end before.
    pub(super) fn reconnects(&self) -> bool {
        matches!(self.fate, Fate::Create | Fate::Replace | Fate::Reconnect)
    }
}

/// What becomes of a network or volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    Create,
    /// Its containers have to lose their links before, and get new ones after.
    Reconnect,
    /// Only rules are put back.
    Repair,
    /// Only what is written down is another.
    Describe,
    Replace,
}

/// What becomes of a volume.
#[derive(Debug)]
pub(super) struct VolumeFate {
    pub(super) fate: Fate,
    pub(super) record: VolumeRecord,
}

/// Decides for every network some container of the plan is on.
pub(super) fn networks<'a>(
    survey: &'a Survey,
    problems: &mut PlanProblems,
) -> BTreeMap<&'a str, NetworkFate> {
    let used: BTreeSet<&str> =
        survey.specs().flat_map(|spec| spec.networks.keys()).map(String::as_str).collect();
    let kept = kept_networks(survey);
    let mut fates = BTreeMap::new();
    let mut open = Vec::new();
    for (name, spec) in &survey.desired.networks {
        if !used.contains(name.as_str()) && !kept.contains(name.as_str()) {
            continue;
        }
        match (survey.observed.networks.get(name), spec.external) {
            (None, true) => {
                problems.add(PlanProblem::ExternalNetwork {
                    network: name.clone(),
                    similar: similar(survey, name),
                });
            }
            (None, false) => open.push((name.as_str(), spec, Vec::new())),
            (Some(have), _) => match change(survey, have, spec, problems) {
                Some(changes) => open.push((name.as_str(), spec, changes)),
                None => {
                    fates.insert(name.as_str(), as_it_is(survey, have, spec));
                }
            },
        }
    }
    for name in kept.into_iter().filter(|name| !survey.desired.networks.contains_key(*name)) {
        if let Some(have) = survey.observed.networks.get(name) {
            fates.insert(name, as_it_is(survey, have, &have.record.spec));
        }
    }
    make_new(survey, open, &mut fates, problems);
    fates
}

/// The networks of containers that are kept whatever their services say, and may start.
fn kept_networks<'a>(survey: &'a Survey) -> BTreeSet<&'a str> {
    let options = survey.options;
    let scope = survey.scope.iter().filter(|_| options.no_recreate && !options.no_start);
    let kept = scope.filter_map(|service| survey.own.get(service)).flatten();
    let kept = kept.filter(|have| have.state != ContainerState::Broken);
    kept.flat_map(|have| have.record.spec.networks.keys()).map(String::as_str).collect()
}

/// A network that has this key in its stack: the name on the host has the project before it.
fn similar(survey: &Survey, name: &str) -> Option<String> {
    let ends = format!("_{name}");
    survey.observed.networks.keys().find(|other| other.ends_with(&ends)).cloned()
}

fn as_it_is(survey: &Survey, have: &ObservedNetwork, want: &NetworkSpec) -> NetworkFate {
    let mut record = have.record.clone();
    let mut changes = Vec::new();
    let own = record.project == survey.desired.project && !want.external;
    if own && only_described_otherwise(&record.spec, want) && !survey.options.no_recreate {
        changes = diff::networks(&record.name, &record.spec, want, survey.places);
        record.spec = want.clone();
    }
    let fate = match (have.bridge_up, have.rules_present) {
        (true, true) if record != have.record => Fate::Describe,
        (true, true) => Fate::Keep,
        (true, false) => Fate::Repair,
        (false, _) => Fate::Reconnect,
    };
    NetworkFate { fate, record, changes }
}

/// Whether two descriptions differ in nothing that the kernel knows: labels, and who may join.
fn only_described_otherwise(have: &NetworkSpec, want: &NetworkSpec) -> bool {
    let (labels, shared) = (want.labels.clone(), want.shared);
    NetworkSpec { labels, shared, ..have.clone() } == *want
}

/// The fields for which a network has to be made anew, if it can and has to.
fn change(
    survey: &Survey,
    have: &ObservedNetwork,
    want: &NetworkSpec,
    problems: &mut PlanProblems,
) -> Option<Vec<FieldChange>> {
    let record = &have.record;
    let others = record.project != survey.desired.project;
    if want.shared && others && !record.spec.shared {
        let (network, owner) = (record.name.clone(), record.project.clone());
        problems.add(PlanProblem::NotShared { network, owner });
        return None;
    }
    let same = only_described_otherwise(&record.spec, want);
    if want.external || (others && !want.shared) || same || survey.options.no_recreate {
        return None;
    }
    let changes = diff::networks(&record.name, &record.spec, want, survey.places);
    for container in survey.on_network.get(record.name.as_str()).into_iter().flatten() {
        let on = &container.record;
        let known = survey.desired.services.contains_key(&on.service);
        if on.project == survey.desired.project && !on.oneoff && known {
            continue;
        }
        let orphan = on.project == survey.desired.project && !on.oneoff && !known;
        if orphan && survey.other_files(on).is_empty() && survey.options.remove_orphans {
            continue;
        }
        if want.shared && on.project != survey.desired.project {
            problems.add(differs(record, on, &changes));
            continue;
        }
        problems.add(PlanProblem::NetworkInUse {
            network: record.name.clone(),
            container: on.name.clone(),
            owner: format!("project `{}`", on.project),
        });
    }
    Some(changes)
}

/// Two stacks that share a network and do not describe it alike, each with its place.
fn differs(record: &NetworkRecord, on: &ContainerRecord, changes: &[FieldChange]) -> PlanProblem {
    let files = &on.config_files;
    let fields: Vec<String> = changes.iter().map(ToString::to_string).collect();
    PlanProblem::SharedDiffers {
        network: record.name.clone(),
        owner: on.project.clone(),
        files: (!files.is_empty()).then(|| files.join(", ")),
        fields: fields.join(", "),
    }
}

/// Gives new networks their subnets: those that ask first, so that a choice never takes theirs.
fn make_new<'a>(
    survey: &'a Survey,
    mut open: Vec<(&'a str, &'a NetworkSpec, Vec<FieldChange>)>,
    fates: &mut BTreeMap<&'a str, NetworkFate>,
    problems: &mut PlanProblems,
) {
    open.sort_by_key(|(name, spec, _)| (spec.pools.is_empty(), *name));
    let renewed: BTreeSet<&str> = open.iter().map(|(name, ..)| *name).collect();
    let mut subnets = taken(survey, &renewed);
    let mut links = BTreeMap::new();
    for (name, spec, changes) in open {
        if let Some(link) = &spec.bridge.name
            && let other = links.insert(link, name).map(|other| format!("network `{other}`"))
            && let Some(owner) = link_owner(survey, name, link).or(other)
        {
            let (network, link) = (name.to_owned(), link.clone());
            problems.add(PlanProblem::LinkTaken { network, link, owner });
        }
        match subnets.choose(name, spec) {
            Ok(chosen) => {
                let exists = survey.observed.networks.contains_key(name);
                let fate = if exists { Fate::Replace } else { Fate::Create };
                let record = network_record(survey, name, spec, chosen);
                fates.insert(name, NetworkFate { fate, record, changes });
            }
            Err(several) => problems.0.extend(several),
        }
    }
}

/// Who has a link of this name that a network wants for its bridge.
fn link_owner(survey: &Survey, network: &str, link: &str) -> Option<String> {
    let observed = survey.observed;
    let bridges = observed.networks.iter().filter(|(_, other)| other.record.bridge == link);
    let (own, others): (Vec<_>, Vec<_>) = bridges.partition(|(name, _)| *name == network);
    if let Some((other, _)) = others.first() {
        return Some(format!("network `{other}`"));
    }
    // What a crash left goes before.
    let ours = !own.is_empty() || observed.leftovers.contains(&Leftover::Bridge(link.to_owned()));
    (observed.host.links.contains(link) && !ours)
        .then(|| "something on this host that is not berth's".to_owned())
}

/// Subnets nobody else may get: those of networks that stay, and of the host's routes.
///
/// A route may be that of a bridge which goes before the new one comes: of a network that is
/// made anew, or of one that a crash left.
fn taken(survey: &Survey, renewed: &BTreeSet<&str>) -> Subnets {
    let mut subnets = Subnets::default();
    let mut ours = BTreeSet::new();
    for (name, network) in &survey.observed.networks {
        // The route of such a subnet is the host's own.
        if network.record.spec.parent().is_some() {
            if !renewed.contains(name.as_str()) {
                subnets.share(name, &network.record.spec);
            }
            continue;
        }
        for subnet in &network.record.subnets {
            ours.insert(subnet.net);
            if !renewed.contains(name.as_str()) {
                subnets.take(subnet.net, format!("network `{name}`"));
            }
        }
    }
    for name in renewed {
        let Some(spec) = survey.desired.networks.get(*name) else { continue };
        let link = bridge_of(survey, name, spec);
        if survey.observed.leftovers.contains(&Leftover::Bridge(link)) {
            ours.extend(spec.pools.iter().map(|pool| pool.subnet));
        }
    }
    let routes: BTreeSet<&IpNet> = survey.observed.host.routes.iter().collect();
    for route in routes.into_iter().filter(|route| !ours.contains(*route)) {
        subnets.take(*route, format!("the route {route} of this host"));
    }
    subnets
}

/// Says of each network that stays which route came to lead where its addresses are: that of a
/// VPN, say, that was started after.
pub(super) fn overlapped(survey: &Survey, fates: &BTreeMap<&str, NetworkFate>) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, fate) in fates {
        let Some(have) = survey.observed.networks.get(*name) else { continue };
        if fate.makes() || have.record.spec.parent().is_some() {
            continue;
        }
        for subnet in &have.record.subnets {
            let routes = &survey.observed.host.routes;
            // One of these is the way to the bridge itself.
            let same = routes.iter().filter(|route| **route == subnet.net).count();
            let doubled = same > usize::from(have.bridge_up);
            let other = |route: &&IpNet| match **route == subnet.net {
                true => doubled,
                false => overlap(route, &subnet.net),
            };
            for route in routes.iter().filter(other).collect::<BTreeSet<_>>() {
                lines.push(format!(
                    "network `{name}` has {}, and the route {route} of this host overlaps it: \
                     its containers and whoever is behind that route may not reach each other; \
                     name another `subnet` in its `ipam.config`",
                    subnet.net
                ));
            }
        }
    }
    lines
}

/// Link name of the bridge of a network.
fn bridge_of(survey: &Survey, name: &str, spec: &NetworkSpec) -> String {
    let own = || bridge_name(&survey.observed.host.realm, name);
    spec.bridge.name.clone().unwrap_or_else(own)
}

fn network_record(
    survey: &Survey,
    name: &str,
    spec: &NetworkSpec,
    subnets: Vec<Subnet>,
) -> NetworkRecord {
    NetworkRecord {
        name: name.to_string(),
        project: survey.desired.project.clone(),
        spec: spec.clone(),
        bridge: bridge_of(survey, name, spec),
        realm: spec.bridge.name.as_ref().map(|_| survey.observed.host.realm.clone()),
        subnets,
    }
}

/// Decides for every named volume some container of the plan has.
pub(super) fn volumes<'a>(
    survey: &'a Survey,
    problems: &mut PlanProblems,
) -> BTreeMap<&'a str, VolumeFate> {
    let mounts = survey.specs().flat_map(|spec| spec.mounts.values());
    let used: BTreeSet<&str> = mounts
        .filter_map(|mount| match &mount.source {
            SourceSpec::Volume { name, .. } => Some(name.as_str()),
            SourceSpec::Anonymous { .. } | SourceSpec::Image { .. } | SourceSpec::Bind { .. } => {
                None
            }
        })
        .collect();
    let mut fates = BTreeMap::new();
    for (name, spec) in &survey.desired.volumes {
        if !used.contains(name.as_str()) {
            continue;
        }
        let record = VolumeRecord {
            name: name.clone(),
            project: survey.desired.project.clone(),
            spec: spec.clone(),
            container: None,
        };
        let fate = match (survey.observed.volumes.get(name), spec.external) {
            (None, true) => {
                problems.add(PlanProblem::ExternalVolume { volume: name.clone() });
                continue;
            }
            (None, false) => Fate::Create,
            (Some(have), _) => {
                check_volume(survey, &have.record, spec, problems);
                Fate::Keep
            }
        };
        fates.insert(name.as_str(), VolumeFate { fate, record });
    }
    fates
}

/// A volume that would have to be made anew is never made anew silently.
fn check_volume(
    survey: &Survey,
    have: &VolumeRecord,
    want: &VolumeSpec,
    problems: &mut PlanProblems,
) {
    let foreign = want.external || have.project != survey.desired.project;
    if foreign || have.spec.driver_opts == want.driver_opts {
        return;
    }
    let changes = diff::volumes(&have.name, &have.spec, want, survey.places);
    let fields: Vec<String> = changes.iter().map(ToString::to_string).collect();
    let problem =
        PlanProblem::VolumeChanged { volume: have.name.clone(), fields: fields.join(", ") };
    problems.add(problem);
}

/// Why a network is made.
pub(super) fn network_causes(fate: &NetworkFate) -> Vec<Cause> {
    match fate.fate {
        Fate::Keep => Vec::new(),
        Fate::Create => vec![Cause::Missing],
        Fate::Reconnect | Fate::Repair => vec![drift(&fate.record, fate.fate == Fate::Repair)],
        Fate::Describe | Fate::Replace => vec![Cause::Changed],
    }
}

/// What is wrong with a network that is put right.
pub(crate) fn drift(record: &NetworkRecord, bridge_up: bool) -> Cause {
    let what = match (bridge_up, record.spec.beside.is_some()) {
        (true, false) => "its firewall rules are gone",
        (true, true) => "the names on it are gone",
        (false, false) => "its bridge is gone or down",
        (false, true) => "its link is gone",
    };
    Cause::Drift { what }
}

/// Whether addresses lie in the subnets of a network.
pub(super) fn has(record: &NetworkRecord, addresses: &Addresses) -> bool {
    let inside = |address| record.subnets.iter().any(|subnet| subnet.net.contains(&address));
    addresses.iter().all(inside)
}
