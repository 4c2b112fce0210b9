//! What mounts that name something else are found to be when a container is made: images by their
//! references, and the mounts of other containers.

use std::collections::BTreeMap;

use berth_planner::desired::{MountSpec, SourceSpec};
use berth_planner::observed::{Borrowed, ContainerRecord};

use super::prepare::all_mounts;
use super::{StepError, Stored, volume};
use crate::paths::Roots;
use crate::store::Store;

/// Looks at the store and at the records of the others, as they are now.
pub(super) fn look(
    roots: &Roots,
    store: &Store,
    record: &ContainerRecord,
) -> Result<Borrowed, StepError> {
    let mut borrowed = Borrowed::default();
    for reference in record.spec.other_images() {
        let entry = store
            .resolve(reference)
            .map_err(|e| StepError::failed("read image", reference, e))?
            .ok_or_else(|| StepError::Stale(format!("image `{reference}` is not in the store")))?;
        if record.borrowed.images.get(reference).is_some_and(|planned| *planned != entry.id) {
            return Err(StepError::Stale(format!("image `{reference}` is another one by now")));
        }
        borrowed.images.insert(reference.to_owned(), entry.id);
    }
    for from in &record.spec.volumes_from {
        let other = other(roots, &from.container)?;
        let judged = other.judged.iter().chain(&other.borrowed.judged);
        borrowed.judged.extend(judged.map(|(path, real)| (path.clone(), real.clone())));
        for (target, mut mount) in mounts_of(store, &other)? {
            if !is_taken(record, &target) {
                mount.read_only |= from.read_only;
                if let SourceSpec::Image { reference, .. } = &mount.source
                    && let Some(id) = other.borrowed.images.get(reference)
                {
                    borrowed.images.entry(reference.clone()).or_insert_with(|| id.clone());
                }
                borrowed.mounts.insert(target, mount);
            }
        }
    }
    Ok(borrowed)
}

fn other(roots: &Roots, name: &str) -> Result<ContainerRecord, StepError> {
    let stored =
        Stored::read(roots, name).map_err(|e| StepError::refused("read container", name, e))?;
    let stored =
        stored.ok_or_else(|| StepError::Stale(format!("container `{name}` is not there")))?;
    Ok(stored.record)
}

/// All mounts of a container but memory, as another one can have them.
fn mounts_of(
    store: &Store,
    other: &ContainerRecord,
) -> Result<BTreeMap<String, MountSpec>, StepError> {
    let config = store
        .config(&other.image_id)
        .map_err(|e| StepError::failed("read image", &other.spec.image, e))?;
    let mut mounts = all_mounts(&config, other);
    for (target, mount) in &mut mounts {
        if let SourceSpec::Anonymous { .. } = mount.source {
            let name = volume::anonymous_name(&other.name, target);
            mount.source = SourceSpec::Volume { name, nocopy: true, subpath: None };
        }
    }
    Ok(mounts)
}

/// What the description itself has at a target counts.
fn is_taken(record: &ContainerRecord, target: &str) -> bool {
    let spec = &record.spec;
    spec.mounts.contains_key(target)
        || spec.tmpfs.iter().any(|tmpfs| tmpfs.target == target)
        || spec.files.iter().any(|file| file.target == target)
}
