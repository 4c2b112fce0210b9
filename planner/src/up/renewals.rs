//! Volumes without a name that are made anew with the container they belong to
//! (`--renew-anon-volumes`), and who has them too.

use std::collections::{BTreeMap, BTreeSet};

use super::Survey;
use super::containers::{Change, Part};
use crate::down::volumes_of;

/// The volumes that go, each with the container whose next one shall have a new one.
pub(super) fn renewed<'a>(survey: &Survey<'a>, changes: &[Change]) -> BTreeMap<&'a str, &'a str> {
    if !survey.options.renew_volumes {
        return BTreeMap::new();
    }
    let made = changes.iter().filter(|change| change.verdict.fate.makes() && !change.oneoff);
    let made: BTreeSet<&str> = made.map(|change| change.name.as_str()).collect();
    let volumes = survey.observed.volumes.iter().filter_map(|(name, volume)| {
        let owner = volume.record.container.as_deref()?;
        made.contains(owner).then_some((name.as_str(), owner))
    });
    volumes.collect()
}

/// A container that would outlive a volume it has, beside the one that replaces it; and the
/// container whose volume that is. The new one may wait for the new volume.
pub(super) fn outlived<'a>(
    survey: &Survey<'a>,
    changes: &[Change<'a>],
) -> Option<(&'a str, &'a str)> {
    let renewed = renewed(survey, changes);
    let mut stay = changes.iter().filter(|change| matches!(change.part, Part::Old | Part::Kept));
    stay.find_map(|change| {
        let record = &change.have?.record;
        let owner = volumes_of(record).find_map(|volume| renewed.get(volume))?;
        Some((record.name.as_str(), *owner))
    })
}
