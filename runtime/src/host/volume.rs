//! Volumes: a folder with a record and the data, and the copy of an image's content into it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use berth_planner::backing::Backing;
use berth_planner::desired::OwnerSpec;
use berth_planner::observed::VolumeRecord;
use sha2::{Digest, Sha256};

use super::view::ImageView;
use super::{StepError, perform};
use crate::paths::Roots;
use crate::record::{self, Durability};

/// Makes an empty volume.
pub(super) fn create(roots: &Roots, volume: &VolumeRecord) -> Result<(), StepError> {
    let dir = roots.volume(&volume.name);
    let _working = perform::folder::new_folder("create volume", &dir, &volume.name)?;
    let refused = |e| StepError::refused("create volume", &volume.name, e);
    if backing(volume)? == Backing::Own {
        let data = dir.join("data");
        fs::create_dir(&data).map_err(refused)?;
        fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).map_err(refused)?;
    }
    record::write(&dir.join("record.json"), volume, Durability::Durable).map_err(refused)
}

/// What keeps the data of a volume, with the folder that it is in.
pub(super) fn data(roots: &Roots, name: &str) -> Result<(Backing, PathBuf), StepError> {
    let dir = roots.volume(name);
    let stored: Option<VolumeRecord> = record::read(&dir.join("record.json"))
        .map_err(|e| StepError::refused("read volume", name, e))?;
    let Some(stored) = stored else {
        return Err(StepError::Stale(format!("volume `{name}` is not there")));
    };
    let backing = backing(&stored)?;
    let path = match &backing {
        Backing::Bind { device, .. } => device.clone(),
        Backing::Own | Backing::Memory { .. } => dir.join("data"),
    };
    Ok((backing, path))
}

/// What keeps its data; a bound folder has to be there.
fn backing(volume: &VolumeRecord) -> Result<Backing, StepError> {
    let failed = |why: String| StepError::failed("find the data of volume", &volume.name, why);
    match Backing::of(&volume.spec.driver_opts).map_err(failed)? {
        Backing::Bind { device, .. } if !device.is_dir() => {
            let device = device.display();
            Err(failed(format!("its device `{device}` is not a folder of this host")))
        }
        backing => Ok(backing),
    }
}

/// Name of the volume that a container keeps at `target` over its replacements.
pub(super) fn anonymous_name(container: &str, target: &str) -> String {
    let digest = Sha256::digest(format!("{container}\0{target}"));
    let short: String = digest[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{container}-anon-{short}")
}

/// Copies what the image has at `target` into the volume, with owner, mode and times, when the
/// volume is empty. `lowers` are the image's layers, the top one first.
///
/// A mark beside the data tells that a copy is under way, so that one cut off by a crash is
/// begun again, not taken for the user's data.
pub(super) fn copy_up(
    roots: &Roots,
    name: &str,
    lowers: &[PathBuf],
    target: &str,
) -> Result<(), StepError> {
    let dir = roots.volume(name);
    let data = dir.join("data");
    let mark = dir.join(".copy-up");
    let refused = |e| StepError::refused("copy the image's content into volume", name, e);
    if !data.is_dir() {
        return Ok(());
    }
    let lock = fs::File::open(&dir).map_err(refused)?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|e| refused(e.into()))?;
    let empty = fs::read_dir(&data).map_err(refused)?.next().is_none();
    if !empty && !mark.exists() {
        return Ok(());
    }
    if !empty {
        clear(&data).map_err(refused)?;
    }
    fs::write(&mark, b"").map_err(refused)?;
    ImageView::open(lowers).and_then(|image| image.copy_tree(target, &data)).map_err(refused)?;
    fs::remove_file(&mark).map_err(refused)
}

fn clear(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Makes a missing source of a bind, as Compose does with `create_host_path`. It belongs to `owner`
/// if there is one, with what had to be made above it.
pub(super) fn make_source(path: &Path, owner: Option<OwnerSpec>) -> Result<(), StepError> {
    let refused = |e| StepError::refused("make the source of a bind mount", path, e);
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(refused)?;
    for made in missing {
        if let Some(OwnerSpec { uid, gid }) = owner {
            std::os::unix::fs::lchown(made, Some(uid), Some(gid)).map_err(refused)?;
        }
    }
    Ok(())
}
