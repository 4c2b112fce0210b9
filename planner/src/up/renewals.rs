//! Volumes without a name that are made anew with the container they belong to
//! (`--renew-anon-volumes`), and who has them too.

use std::collections::{BTreeMap, BTreeSet};

use super::Survey;
use super::containers::{Change, Fate, Part};
use crate::down::volumes_of;

/// A volume whose container is made, and shall have a new one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Renewal<'a> {
    /// The container it belongs to.
    pub(super) owner: &'a str,
    /// One that has it too and is left as it is: the volume stays, and its container keeps it.
    pub(super) user: Option<&'a str>,
}

/// The volumes of containers that are made.
pub(super) fn of<'a>(survey: &Survey<'a>, changes: &[Change]) -> BTreeMap<&'a str, Renewal<'a>> {
    if !survey.options.renew_volumes {
        return BTreeMap::new();
    }
    let named = |counts: fn(&Change) -> bool| -> BTreeSet<&str> {
        let all = changes.iter().filter(|change| counts(change));
        all.map(|change| change.name.as_str()).collect()
    };
    let made = named(|change| change.verdict.fate.makes() && !change.oneoff);
    let ends = named(|change| matches!(change.verdict.fate, Fate::Replace | Fate::Remove));
    let mut users = BTreeMap::new();
    for (name, have) in &survey.observed.containers {
        let stays = !ends.contains(name.as_str());
        let has = volumes_of(&have.record).filter(|_| stays);
        users.extend(has.map(|volume| (volume, name.as_str())));
    }
    let volumes = survey.observed.volumes.iter().filter_map(|(name, volume)| {
        let owner = volume.record.container.as_deref().filter(|owner| made.contains(owner))?;
        Some((name.as_str(), Renewal { owner, user: users.get(name.as_str()).copied() }))
    });
    volumes.collect()
}

/// Containers that would outlive a volume they have, beside those that replace them; each with the
/// container whose volume that is. The new ones may wait for the new volume.
pub(super) fn outlived<'a>(survey: &Survey<'a>, changes: &[Change<'a>]) -> Vec<(&'a str, &'a str)> {
    let renewals = of(survey, changes);
    let stay = changes.iter().filter(|change| matches!(change.part, Part::Old | Part::Kept));
    let outlived = stay.filter_map(|change| {
        let record = &change.have?.record;
        let mut has = volumes_of(record).filter_map(|volume| renewals.get(volume));
        let goes = has.find(|renewal| renewal.user.is_none())?;
        Some((record.name.as_str(), goes.owner))
    });
    outlived.collect()
}

/// Says which stay all the same.
pub(super) fn notices(renewals: &BTreeMap<&str, Renewal>) -> Vec<String> {
    let kept = renewals.iter().filter_map(|(volume, renewal)| {
        let (owner, user) = (renewal.owner, renewal.user?);
        Some(format!("volume `{volume}` stays, and `{owner}` keeps it: container `{user}` has it"))
    });
    kept.collect()
}
