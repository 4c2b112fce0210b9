//! What people should know of a plan beside its steps.

use std::collections::{BTreeMap, BTreeSet};

use berth_schema::stack::OnChange;

use super::containers::{self, Change};
use super::resources::{Fate, NetworkFate, VolumeFate};
use super::{Survey, is_active};
use crate::class;
use crate::desired::{Desired, EndpointSpec, Inert};
use crate::observed::ContainerRecord;
use crate::orphan;

/// Says which networks and volumes are another project's, and which have changed and stay.
pub(super) fn of_others(
    survey: &Survey,
    networks: &BTreeMap<&str, NetworkFate>,
    volumes: &BTreeMap<&str, VolumeFate>,
) -> Vec<String> {
    let desired = survey.desired;
    let mut told = Vec::new();
    for (name, fate) in networks {
        let spec = desired.networks.get(*name);
        let foreign = fate.record.project != desired.project;
        if foreign && spec.is_some_and(|spec| !spec.external && !spec.shared) {
            let owner = &fate.record.project;
            told.push(format!(
                "network `{name}` belongs to project `{owner}` and is used as it is"
            ));
        }
        let kept = matches!(fate.fate, Fate::Keep | Fate::Repair);
        if !foreign && kept && spec.is_some_and(|spec| *spec != fate.record.spec) {
            told.push(format!(
                "network `{name}` has changed and stays as it is, because no container may \
                 be made anew"
            ));
        }
    }
    for name in volumes.keys() {
        let Some(have) = survey.observed.volumes.get(*name) else { continue };
        let external = desired.volumes.get(*name).is_some_and(|spec| spec.external);
        if have.record.project != desired.project && !external {
            let owner = &have.record.project;
            told.push(format!("volume `{name}` belongs to project `{owner}` and is used as it is"));
        }
    }
    told
}

/// Names the containers whose service is not in the stack and which the plan leaves alone.
pub(super) fn orphans(survey: &Survey, going: &BTreeMap<&str, usize>) -> Vec<String> {
    let left = survey.unexplained().map(|have| &have.record);
    let left = left.filter(|record| !going.contains_key(record.name.as_str()));
    left.map(|record| orphan::notice(record, &survey.other_files(record))).collect()
}

/// Says of each container that runs on, as its service wants it, which files of the host it has mounted are
/// not those at their paths any more.
pub(super) fn old_files(changes: &[Change]) -> Vec<String> {
    let runs_on = |change: &&Change| {
        let quiet = change.want.is_some_and(|spec| spec.on_change == OnChange::None);
        let kept = matches!(
            change.verdict.fate,
            containers::Fate::Keep | containers::Fate::Adopt | containers::Fate::Unpause
        );
        quiet && kept
    };
    let mut lines = Vec::new();
    for change in changes.iter().filter(runs_on) {
        for path in change.have.into_iter().flat_map(|have| &have.swapped) {
            lines.push(format!(
                "{}: `{}` was replaced by another file, and it sees the old one until it is \
                 started again: `x-berth.on_change` is `none`",
                change.name,
                path.display()
            ));
        }
    }
    lines
}

/// Says of each container that is changed as it is which network it is cut off for a moment,
/// because its link there is to be another one.
pub(super) fn gaps(changes: &[Change], updated: &BTreeMap<String, ContainerRecord>) -> Vec<String> {
    let mut lines = Vec::new();
    for change in changes {
        let Some(have) = change.have.filter(|have| is_active(have)) else { continue };
        let Some(after) = updated.get(&change.name) else { continue };
        let before = &have.record;
        for (network, on) in &before.spec.networks {
            let Some(then) = after.spec.networks.get(network) else { continue };
            let addresses = |record: &ContainerRecord| record.addresses.get(network).copied();
            if link(on) != link(then) || addresses(before) != addresses(after) {
                let name = &change.name;
                lines.push(format!("{name}: it is cut off network `{network}` for a moment"));
            }
        }
    }
    lines
}

/// What of an endpoint is the link itself.
fn link(endpoint: &EndpointSpec) -> EndpointSpec {
    EndpointSpec { aliases: Vec::new(), priority: 0, gw_priority: 0, ..endpoint.clone() }
}

/// Says of each service whose containers are made what of it this host does not do, and of one whose
/// containers change as they are what of that.
pub(super) fn without_effect(
    desired: &Desired,
    changes: &[Change],
    records: &BTreeMap<String, ContainerRecord>,
) -> Vec<String> {
    let made: BTreeSet<&str> = records.values().map(|record| record.service.as_str()).collect();
    let mut updates: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for change in changes {
        updates.entry(change.service).or_default().extend(&change.verdict.updates);
    }
    let mut lines = BTreeSet::new();
    for (name, service) in &desired.services {
        let own = updates.get(name.as_str());
        let changed = |inert: &&Inert| {
            let concerns = |path: &str| class::concerns(&inert.attribute, path);
            own.is_some_and(|own| own.iter().any(|update| concerns(&update.path)))
        };
        let told = |inert: &&Inert| made.contains(name.as_str()) || changed(inert);
        let told = service.no_effect.iter().filter(told);
        lines.extend(told.map(|inert| format!("{name}: {}", inert.why)));
    }
    lines.into_iter().collect()
}

/// Says of each service whose containers are made with a user namespace which device rules let
/// it make nodes: the kernel lets nobody in such a namespace do so (`mknod(2)`, EPERM).
pub(super) fn without_nodes(records: &BTreeMap<String, ContainerRecord>) -> Vec<String> {
    let mapped = records.values().filter(|record| record.id_base.is_some());
    let makes = |record: &&ContainerRecord| {
        record.spec.device_cgroup_rules.iter().any(|rule| rule.access.mknod)
    };
    let made: BTreeSet<&str> = mapped.filter(makes).map(|record| record.service.as_str()).collect();
    let line = |service| {
        format!(
            "{service}: the `m` of `device_cgroup_rules` has no effect: in a user namespace the \
             kernel makes no device nodes; `devices` brings one, `userns_mode: host` lets it make them"
        )
    };
    made.into_iter().map(line).collect()
}

/// Says of each service whose containers are made why they have no user namespace.
pub(super) fn without_userns(
    desired: &Desired,
    records: &BTreeMap<String, ContainerRecord>,
) -> Vec<String> {
    let mut told = BTreeMap::new();
    for record in records.values().filter(|record| record.id_base.is_none()) {
        let service = desired.services.get(&record.service);
        let kin = || {
            let parent = record.spec.kin().into_iter().next()?;
            Some(format!("it shares that of `{parent}`, which has none"))
        };
        let why = service.and_then(|service| service.no_userns.clone()).or_else(kin);
        told.extend(why.map(|why| (record.service.as_str(), why)));
    }
    let line = |(service, why)| format!("{service}: without a user namespace: {why}");
    told.into_iter().map(line).collect()
}
