//! The plans of `volume rm` and `run --rm`: things by name, with their data.

use std::collections::BTreeSet;

use crate::action::Action;
use crate::cause::Cause;
use crate::down::{own_volumes, volumes_of};
use crate::observed::{Observed, ObservedContainer};
use crate::plan::{Draft, Plan};
use crate::problem::{PlanProblem, PlanProblems};

/// Removes these volumes, which belong to `project`.
///
/// # Errors
/// When one does not exist, or a container has it.
pub fn remove_volumes(
    project: &str,
    names: &BTreeSet<String>,
    observed: &Observed,
) -> Result<Plan, PlanProblems> {
    let mut problems = PlanProblems::default();
    let mut draft = Draft::default();
    for name in names {
        let volume = name.clone();
        let Some(found) = observed.volumes.get(name) else {
            problems.add(PlanProblem::NoVolume { volume });
            continue;
        };
        let owner = found.record.container.as_ref();
        let has = |container: &&ObservedContainer| {
            owner == Some(&container.record.name)
                || volumes_of(&container.record).any(|mounted| mounted == name)
        };
        match observed.containers.values().find(has) {
            Some(user) => {
                let container = user.record.name.clone();
                problems.add(PlanProblem::VolumeInUse { volume, container });
            }
            None => drop(draft.add(Action::RemoveVolume { name: volume }, vec![Cause::Requested])),
        }
    }
    problems.none()?;
    Ok(draft.finish(project))
}

/// Removes a container that does not run, and the anonymous volumes that are its alone.
pub fn remove_container(project: &str, name: &str, observed: &Observed) -> Plan {
    let mut draft = Draft::default();
    if observed.containers.contains_key(name) {
        let remove = Action::RemoveContainer { name: name.to_owned() };
        let removed = draft.add(remove, vec![Cause::Requested]);
        own_volumes(observed, &[(name, removed)].into(), &mut draft);
    }
    draft.finish(project)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::desired::{ContainerSpec, MountSpec, SourceSpec, VolumeSpec};
    use crate::observed::{ContainerRecord, ObservedVolume, VolumeRecord};

    /// Volumes `shop_data` (mounted by `shop-db-1`) and `shop_old`.
    fn observed() -> Observed {
        let mut observed = Observed::default();
        for name in ["shop_data", "shop_old"] {
            let record = VolumeRecord {
                name: name.into(),
                project: "shop".into(),
                spec: VolumeSpec::default(),
                container: None,
            };
            observed.volumes.insert(name.into(), ObservedVolume { record });
        }
        observed.containers.insert("shop-db-1".into(), database());
        observed
    }

    fn database() -> ObservedContainer {
        let source = SourceSpec::Volume { name: "shop_data".into(), nocopy: false, subpath: None };
        let mounts = [("/data".to_owned(), MountSpec { source, read_only: false })].into();
        let record = ContainerRecord {
            name: "shop-db-1".into(),
            project: "shop".into(),
            service: "db".into(),
            number: 1,
            succession: 0,
            oneoff: false,
            init: None,
            prepared: false,
            spec: ContainerSpec { mounts, ..ContainerSpec::default() },
            image_id: String::new(),
            borrowed: Default::default(),
            locked: None,
            addresses: BTreeMap::new(),
            id_base: None,
            layer_project: None,
            depends_on: BTreeMap::new(),
            working_dir: String::new(),
            config_files: vec![],
            grants: Default::default(),
            judged: Default::default(),
        };
        ObservedContainer::made(record)
    }

    fn told(names: &[&str]) -> String {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        match remove_volumes("shop", &names, &observed()) {
            Ok(plan) => plan.to_string(),
            Err(problems) => problems.to_string(),
        }
    }

    #[test]
    fn a_volume_that_nobody_has_is_removed() {
        insta::assert_snapshot!(told(&["shop_old"]), @r"
        remove  volume shop_old
        Plan: 1 remove
        ");
    }

    #[test]
    fn a_container_goes_with_the_volumes_that_are_its_alone() {
        let mut observed = observed();
        let old = observed.volumes.get_mut("shop_old").unwrap();
        old.record.container = Some("shop-db-1".into());
        insta::assert_snapshot!(remove_container("shop", "shop-db-1", &observed), @r"
        remove  db-1
        remove  volume shop_old
        Plan: 2 remove
        ");
        assert!(remove_container("shop", "shop-nix-1", &observed).is_empty());
    }

    #[test]
    fn one_that_a_container_has_or_nobody_knows_forbids_it_all() {
        insta::assert_snapshot!(told(&["shop_data", "shop_nix", "shop_old"]), @r"
        no such volume: `shop_nix`
        volume `shop_data` is in use: container `shop-db-1` has it
        ");
    }
}
