//! Folders of containers, networks and volumes: made whole, and gone at once.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::super::{StepError, state};
use crate::paths::Roots;

/// Makes a folder that must not be there yet, and marks it as worked in until the value is dropped.
pub(in super::super) fn new_folder(
    step: &str,
    dir: &Path,
    object: &str,
) -> Result<fs::File, StepError> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => state::work_in_new(dir).map_err(|e| StepError::refused(step, object, e)),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            Err(StepError::Stale(format!("`{object}` is already there")))
        }
        Err(e) => Err(StepError::refused(step, object, e)),
    }
}

/// Takes a folder's name away at once, then its content.
pub(in super::super) fn discard(
    roots: &Roots,
    dir: &Path,
    step: &str,
    object: &str,
) -> Result<(), StepError> {
    let aside = set_aside(roots, dir, step, object)?;
    aside.remove().map_err(|e| StepError::refused(step, object, e))
}

/// A folder that has lost its name, in `trash`; that is where a crash leaves it.
pub(super) struct Aside {
    path: PathBuf,
    _working: io::Result<fs::File>,
}

impl Aside {
    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_dir_all(&self.path)
    }
}

/// Takes a folder's name away at once.
pub(super) fn set_aside(
    roots: &Roots,
    dir: &Path,
    step: &str,
    object: &str,
) -> Result<Aside, StepError> {
    let kind = dir.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let name = format!("{}-{kind}-{object}", std::process::id());
    let path = roots.state.join("trash").join(name);
    let _working = state::work_in(dir);
    match fs::rename(dir, &path) {
        Ok(()) => Ok(Aside { path, _working }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            Err(StepError::Stale(format!("`{object}` is already gone")))
        }
        Err(e) => Err(StepError::refused(step, object, e)),
    }
}

/// Whether this is the folder of something that is there: its record comes last. An empty one is none, as
/// for who reads it. In the trash nothing is.
pub(in super::super) fn is_whole(path: &Path) -> bool {
    let is_trash = path.parent().is_some_and(|parent| parent.ends_with("trash"));
    !is_trash && fs::metadata(path.join("record.json")).is_ok_and(|record| record.len() > 0)
}

/// Removes a half-made folder, unless somebody has begun to work in it again, or has made it whole.
pub(in super::super) fn remove_folder(path: &Path) -> Result<(), StepError> {
    match state::busy(path) {
        _ if is_whole(path) => Err(StepError::Stale(format!("`{}` is whole", path.display()))),
        Some(true) => Err(StepError::Stale(format!("`{}` is in use", path.display()))),
        Some(false) => fs::remove_dir_all(path)
            .map_err(|e| StepError::refused("remove leftover folder", path, e)),
        None => Ok(()),
    }
}
