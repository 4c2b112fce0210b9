//! What people should know of the containers that a plan makes.

use std::collections::{BTreeMap, BTreeSet};

use crate::desired::Desired;
use crate::observed::ContainerRecord;

/// Says of each service whose containers are made what of it this host does not do.
pub(super) fn without_effect(
    desired: &Desired,
    records: &BTreeMap<String, ContainerRecord>,
) -> Vec<String> {
    let made: BTreeSet<&str> = records.values().map(|record| record.service.as_str()).collect();
    let services = made.into_iter().filter_map(|name| Some((name, desired.services.get(name)?)));
    let lines = services.flat_map(|(name, service)| {
        service.no_effect.iter().map(move |what| format!("{name}: {what}"))
    });
    lines.collect()
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
