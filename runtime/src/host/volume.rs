//! Volumes: a folder with a record and the data, and the copy of an image's content into it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use berth_planner::observed::VolumeRecord;
use sha2::{Digest, Sha256};

use super::view::ImageView;
use super::{StepError, perform};
use crate::paths::Roots;
use crate::record::{self, Durability};

/// Makes an empty volume.
pub(super) fn create(roots: &Roots, volume: &VolumeRecord) -> Result<(), StepError> {
    let dir = roots.volume(&volume.name);
    let _working = perform::new_folder("create volume", &dir, &volume.name)?;
    let refused = |e| StepError::refused("create volume", &volume.name, e);
    let device = bind_device(volume)?;
    if device.is_none() {
        let data = dir.join("data");
        fs::create_dir(&data).map_err(refused)?;
        fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).map_err(refused)?;
    }
    record::write(&dir.join("record.json"), volume, Durability::Durable).map_err(refused)
}

/// Where the data of a volume is: its own folder, or the `device` of a bind.
pub(super) fn data(roots: &Roots, name: &str) -> Result<PathBuf, StepError> {
    let dir = roots.volume(name);
    let stored: Option<VolumeRecord> = record::read(&dir.join("record.json"))
        .map_err(|e| StepError::refused("read volume", name, e))?;
    let Some(stored) = stored else {
        return Err(StepError::Stale(format!("volume `{name}` is not there")));
    };
    Ok(bind_device(&stored)?.unwrap_or_else(|| dir.join("data")))
}

/// The folder that `driver_opts` bind (`type: none`, `o: bind`, `device: /path`), if they do.
fn bind_device(volume: &VolumeRecord) -> Result<Option<PathBuf>, StepError> {
    let opts = &volume.spec.driver_opts;
    if opts.is_empty() {
        return Ok(None);
    }
    let binds = opts.get("o").is_some_and(|o| o.split(',').any(|o| o == "bind" || o == "rbind"));
    match opts.get("device") {
        Some(device) if binds && Path::new(device).is_dir() => Ok(Some(device.into())),
        Some(device) if binds => Err(StepError::failed(
            "create volume",
            &volume.name,
            format!("its device `{device}` is not a folder of this host"),
        )),
        _ => Err(StepError::failed(
            "create volume",
            &volume.name,
            "of its driver_opts berth does `o: bind` with a `device` only",
        )),
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

/// A folder of a volume, which must be there and must not lead out of it.
pub(super) fn below(data: &Path, subpath: &str) -> Result<PathBuf, StepError> {
    let refused = |e| StepError::refused("find in volume", subpath, e);
    let real = data.join(subpath).canonicalize().map_err(refused)?;
    let root = data.canonicalize().map_err(refused)?;
    if !real.starts_with(&root) {
        return Err(StepError::failed("find in volume", subpath, "it leads out of the volume"));
    }
    Ok(real)
}

/// Makes a missing source of a bind, as Compose does with `create_host_path`.
pub(super) fn make_source(path: &Path) -> Result<(), StepError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(|e| StepError::refused("make the source of a bind mount", path, e))
}
