//! A container that is made: its folder, its anonymous volumes, copies and files, and last its record.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use berth_planner::desired::{MountSpec, SourceSpec, VolumeSpec};
use berth_planner::observed::{ContainerRecord, VolumeRecord};
use berth_planner::pull::is_host;

use super::super::{
    Host, StepError, Stored, borrowed, claims, contents, names, prepare, quota, volume,
};
use super::folder::new_folder;
use super::{blocking, images, volumes};
use crate::monitor::events::{Events, Happening};
use crate::paths::Roots;
use crate::record::{self, Durability};
use crate::store::Store;

/// Makes a container that is not there yet.
pub(super) async fn create(host: &Host, wanted: &ContainerRecord) -> Result<(), StepError> {
    let image = made_from(wanted);
    // Until the record is there nothing else says what the container needs.
    let _using = images::hold(host, &image).await?;
    let _volumes = volumes::hold(host, &wanted.name).await?;
    let entry = host
        .store
        .resolve(&image)
        .map_err(|e| StepError::failed("read image", &image, e))?
        .ok_or_else(|| StepError::Stale(format!("image `{image}` is not in the store")))?;
    // One that was not here when it was planned is whatever the plan's pull brought.
    if !wanted.image_id.is_empty() && entry.id != wanted.image_id {
        return Err(StepError::Stale(format!("image `{image}` is another one by now")));
    }
    let stored = Stored {
        id: random_id().map_err(|e| StepError::refused("make an id for", &wanted.name, e))?,
        created_at: jiff::Timestamp::now().as_second(),
        record: ContainerRecord { image_id: entry.id, ..wanted.clone() },
        updating: false,
        rewriting: false,
        stamps: host.stamps_of(&wanted.spec),
    };
    let name = stored.record.name.clone();
    let roots = host.roots.clone();
    let store = host.store.clone();
    let events = Events::recorded(&roots, &stored.id, &stored.record);
    blocking(move || create_container(&roots, &store, &stored)).await?;
    events.add(Happening::Create);
    host.unsettled.lock().unwrap_or_else(|e| e.into_inner()).push(name);
    Ok(())
}

/// What the store is asked for. An image that the plan has seen is that one, whatever its name means
/// by now; the root of the host's own programs is made when it is asked for by name.
fn made_from(wanted: &ContainerRecord) -> String {
    match wanted.image_id.is_empty() || is_host(&wanted.spec.image) {
        true => wanted.image(),
        false => wanted.image_id.clone(),
    }
}

/// Folders, anonymous volumes, copies and files of a container; the record comes last.
fn create_container(roots: &Roots, store: &Store, stored: &Stored) -> Result<(), StepError> {
    let record = &stored.record;
    let dir = roots.container(&record.name);
    let borrowed = borrowed::look(roots, store, record)?;
    let record = ContainerRecord { borrowed, ..record.clone() };
    let stored = &Stored { record, ..stored.clone() };
    let record = &stored.record;
    let _working = new_folder("create container", &dir, &record.name)?;
    claims::take(roots, record)?;
    // What a failure leaves is a folder without a record, and no claims and names.
    names::reserve(roots, stored).and_then(|()| fill(roots, store, stored, &dir)).inspect_err(
        |_| {
            names::forget(roots, record);
            claims::release(roots, record);
        },
    )
}

/// Everything in the folder of a container.
fn fill(roots: &Roots, store: &Store, stored: &Stored, dir: &Path) -> Result<(), StepError> {
    let record = &stored.record;
    let refused = |e| StepError::refused("create container", &record.name, e);
    for below in ["upper", "work", "logs"] {
        DirBuilder::new().mode(0o700).create(dir.join(below)).map_err(refused)?;
    }
    quota::limit(roots, record)?;
    // The root of the container is the upper folder's mode and owner.
    fs::set_permissions(dir.join("upper"), fs::Permissions::from_mode(0o755)).map_err(refused)?;
    let image = |e: &dyn std::fmt::Display| {
        StepError::failed("read image", &record.spec.image, e.to_string())
    };
    let config = store.config(&record.image_id).map_err(|e| image(&e))?;
    let lowers = store.layers(&record.image_id).map_err(|e| image(&e))?;
    for (target, mount) in prepare::all_mounts(&config, record) {
        make_mount_source(roots, record, &target, &mount, &lowers)?;
    }
    contents::write(roots, record)?;
    record::write(&dir.join("record.json"), stored, Durability::Volatile).map_err(refused)
}

fn make_mount_source(
    roots: &Roots,
    record: &ContainerRecord,
    target: &str,
    mount: &MountSpec,
    lowers: &[PathBuf],
) -> Result<(), StepError> {
    match &mount.source {
        SourceSpec::Volume { name, nocopy: false, subpath: None } => {
            volume::copy_up(roots, name, lowers, target)
        }
        SourceSpec::Volume { name, .. } => volume::data(roots, name).map(|_| ()),
        SourceSpec::Anonymous { nocopy, labels } => {
            let name = volume::anonymous_name(&record.name, target);
            // A replaced container leaves its anonymous volumes to the next one of its name.
            if !roots.volume(&name).join("record.json").exists() {
                volume::create(roots, &anonymous_volume(record, name.clone(), labels))?;
            }
            if *nocopy { Ok(()) } else { volume::copy_up(roots, &name, lowers, target) }
        }
        // Its layers are held against the store when the container starts.
        SourceSpec::Image { .. } => Ok(()),
        SourceSpec::Bind { path, create_host_path, .. } => match path.symlink_metadata() {
            Ok(_) => Ok(()),
            Err(_) if *create_host_path => volume::make_source(path, record.spec.owner),
            Err(e) => Err(StepError::refused("find the source of a bind mount", path, e)),
        },
    }
}

fn anonymous_volume(
    record: &ContainerRecord,
    name: String,
    labels: &BTreeMap<String, String>,
) -> VolumeRecord {
    VolumeRecord {
        name,
        project: record.project.clone(),
        spec: VolumeSpec { labels: labels.clone(), ..VolumeSpec::default() },
        container: Some(record.name.clone()),
    }
}

/// 32 random bytes in hexadecimal.
fn random_id() -> io::Result<String> {
    let mut bytes = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
