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
