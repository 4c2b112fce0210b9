//! `berth.lock`: where it is, how it is read and written, and what it says of a run's images.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;

use berth_planner::lock::{self, Difference, Names, Need, Pins};
use berth_runtime::record::{self, Durability};
use berth_runtime::store::{Platform, Reference};
use berth_schema::LARGEST_FILE;
use berth_schema::config::{self, Switches};
use berth_schema::lockfile::{FILE_NAME, Lock};
use berth_schema::stack::Stack;
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::project::{invalid, references};
use crate::session::Session;
use crate::source::Disk;

/// Whether the lock may be behind.
#[derive(Debug, Clone, Copy, Default, Args, Serialize, Deserialize)]
pub(crate) struct LockedArg {
    /// Fail unless berth.lock names every image of the files and no other
    #[arg(long)]
    pub(crate) locked: bool,
}

/// The lock of a stack on the disk.
#[derive(Debug)]
pub(crate) struct LockFile {
    path: PathBuf,
    /// As people call it here.
    shown: PathBuf,
}

impl LockFile {
    /// The one beside the first Compose file.
    pub(crate) fn of(session: &Session, stack: &Stack) -> LockFile {
        let beside = stack.files.first().and_then(|file| file.parent());
        // Standard input is in no folder.
        let folder = beside.filter(|folder| folder.is_absolute()).unwrap_or(&stack.working_dir);
        let path = folder.join(FILE_NAME);
        let shown = path.strip_prefix(&session.working_dir).unwrap_or(&path).to_path_buf();
        LockFile { path, shown }
    }

    /// Its name, as people call it here.
    pub(crate) fn name(&self) -> String {
        self.shown.display().to_string()
    }

    /// What it says; `None` when there is none.
    pub(crate) fn read(&self) -> Result<Option<Lock>, Failure> {
        let refused = |e: io::Error| Failure::refused(format!("read `{}`: {e}", self.name()));
        let bytes = match fs::metadata(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Ok(found) if !found.is_file() => {
                return Err(refused(io::Error::other("it is no file")));
            }
            Ok(found) if found.len() > LARGEST_FILE as u64 => {
                return Err(refused(io::Error::other("it is too large for a lock")));
            }
            _ => fs::read(&self.path).map_err(refused)?,
        };
        Lock::parse(&self.shown, &bytes).map(Some).map_err(invalid)
    }

    /// Writes it at once and whole; one that is there keeps its mode and owner.
    pub(crate) fn write(&self, lock: &Lock) -> Result<(), Failure> {
        self.put(lock).map_err(|e| Failure::refused(format!("write `{}`: {e}", self.name())))
    }

    fn put(&self, lock: &Lock) -> io::Result<()> {
        // What a link points to is what changes.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let before = fs::metadata(&path).ok();
        let mode = before.as_ref().map_or(0o644, |found| found.mode() & 0o7777);
        record::write_bytes(&path, lock.to_text().as_bytes(), mode, Durability::Durable)?;
        if let Some(before) = before {
            let _ = chown(&path, Some(before.uid()), Some(before.gid()));
            fs::set_permissions(&path, Permissions::from_mode(mode))?;
        }
        Ok(())
    }
}

/// The images of a stack that a lock may name, by what the files call them.
pub(crate) fn names(stack: &Stack) -> Result<Names, Failure> {
    let mut names = Names::new();
    for image in references(stack) {
        let reference = Reference::parse(&image).map_err(Failure::refused)?;
        if reference.digest().is_none() && !reference.is_host() {
            names.insert(image, reference.canonical());
        }
    }
    Ok(names)
}

/// The platform of services that name none.
pub(crate) fn here() -> String {
    Platform::host().to_string()
}

impl Session {
    /// All services of the files, whatever their profiles, also those that berth cannot run yet.
    pub(crate) fn all_services(&self) -> Result<Stack, Failure> {
        let mut options = self.options(&[]);
        options.profiles = vec!["*".into()];
        let loaded = config::load_with(&options, Switches::default(), &Disk::new(&options));
        Ok(loaded.map_err(invalid)?.stack)
    }

    /// The digests that the lock beside the files gives to the stack's images. With `locked` it
    /// has to be there and to fit.
    pub(crate) fn pins(&self, stack: &Stack, locked: LockedArg) -> Result<Pins, Failure> {
        let file = LockFile::of(self, stack);
        let Some(lock) = file.read()? else {
            return match locked.locked {
                false => Ok(Pins::default()),
                true => Err(Failure::refused(format!("there is no `{}`", file.name()))
                    .with_help("`berth lock` makes it")),
            };
        };
        let names = names(stack)?;
        if locked.locked {
            self.check(&file, &lock)?;
        } else {
            self.tell_missing(&lock::needs(stack, &names, &here()), &file, &lock);
        }
        Ok(Pins::of(&names, &lock))
    }

    /// The lock has to name every image of the files and no other.
    pub(crate) fn check(&self, file: &LockFile, lock: &Lock) -> Result<(), Failure> {
        let all = self.all_services()?;
        let needs = lock::needs(&all, &names(&all)?, &here());
        let differences = lock::differences(&needs, lock);
        if differences.is_empty() {
            return Ok(());
        }
        let causes = differences.iter().map(ToString::to_string).collect();
        Err(Failure::LockDiffers { file: file.name(), causes })
    }

    /// Images without an entry are what their tags say, which may not be what was meant.
    fn tell_missing(&self, needs: &BTreeMap<String, Need>, file: &LockFile, lock: &Lock) {
        let open: Vec<String> = lock::differences(needs, lock)
            .into_iter()
            .filter_map(|difference| match difference {
                Difference::Without { image, .. } => Some(format!("`{image}`")),
                Difference::Unused { .. } => None,
            })
            .collect();
        if !open.is_empty() {
            self.ui.warn(&format!(
                "{} has no entry for {}, so the tag counts; `berth lock` adds it",
                file.name(),
                open.join(", ")
            ));
        }
    }
}

/// What the store is asked about: the stack's images, and what the lock makes of them.
pub(crate) fn asked(stack: &Stack, pins: &Pins) -> BTreeSet<String> {
    references(stack).into_iter().chain(pins.references()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_written_whole_and_keeps_its_mode_and_a_link_stays_one() {
        let dir = std::env::temp_dir().join(format!("berth-lock-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join(FILE_NAME);
        let file = LockFile { path: path.clone(), shown: FILE_NAME.into() };
        assert_eq!(file.read().unwrap(), None);
        file.write(&Lock::default()).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        fs::rename(&path, dir.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        file.write(&Lock::default()).unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(file.read().unwrap(), Some(Lock::default()));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn what_is_no_file_is_no_lock() {
        let file = LockFile { path: "/dev/zero".into(), shown: "berth.lock".into() };
        assert_eq!(file.read().unwrap_err().to_string(), "read `berth.lock`: it is no file");
    }
}
