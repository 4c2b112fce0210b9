//! Contents of configs (durable) and secrets (memory only), as files named by their index, which the
//! container has mounted.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use berth_planner::desired::FileSpec;
use berth_planner::generation::digest_of;
use berth_planner::observed::ContainerRecord;

use super::StepError;
use super::owners::Owners;
use crate::paths::Roots;
use crate::record::{self, Durability};
use crate::sabotage::defence;

/// Where the contents of a container's configs or secrets are.
pub(super) fn folder(roots: &Roots, name: &str, secret: bool) -> PathBuf {
    let in_memory = defence!("secret.in_memory", secret, false);
    let dir = if in_memory { roots.container_run(name) } else { roots.container(name) };
    dir.join("files")
}

/// Writes those of a container that is made.
pub(super) fn write(roots: &Roots, record: &ContainerRecord) -> Result<(), StepError> {
    let mut all = record.spec.files.iter().enumerate();
    all.try_for_each(|(index, file)| {
        let written = write_one(roots, record, (index, file), Durability::Volatile);
        written.map_err(|e| StepError::refused("write file for", &file.target, e))
    })
}

fn write_one(
    roots: &Roots,
    record: &ContainerRecord,
    (index, file): (usize, &FileSpec),
    durability: Durability,
) -> io::Result<()> {
    let dir = folder(roots, &record.name, file.secret);
    DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    let path = dir.join(index.to_string());
    record::write_given(&path, &file.content.0, (0o600, durability), |new| {
        Owners::below(&dir, record.id_base).give(new, file.uid, file.gid)?;
        fs::set_permissions(new, fs::Permissions::from_mode(file.mode))
    })
}

/// Those whose files have other contents than they say; one that is gone has none.
pub(super) fn differing<'a>(
    roots: &Roots,
    record: &'a ContainerRecord,
) -> Vec<(usize, &'a FileSpec)> {
    let differs = |(index, file): &(usize, &FileSpec)| {
        let path = folder(roots, &record.name, file.secret).join(index.to_string());
        fs::read(path).is_ok_and(|bytes| digest_of(&bytes) != file.digest)
    };
    record.spec.files.iter().enumerate().filter(differs).collect()
}

/// Whether a container that would be given them has others than its record says.
pub(super) fn have_moved(roots: &Roots, record: &ContainerRecord) -> bool {
    !record.spec.on_change.is_usual() && !differing(roots, record).is_empty()
}

/// Gives a container other contents. One that has them mounted sees those of the same file; for
/// another the file is replaced whole.
pub(super) fn renew(
    roots: &Roots,
    record: &ContainerRecord,
    files: &[(usize, &FileSpec)],
    is_mounted: bool,
) -> Result<(), StepError> {
    for (index, file) in files {
        let refused = |e| StepError::refused("write file for", &file.target, e);
        if digest_of(&file.content.0) != file.digest {
            return Err(refused(io::Error::other("its content is not at hand")));
        }
        let path = folder(roots, &record.name, file.secret).join(index.to_string());
        let renewed = match is_mounted {
            true => overwrite(&path, &file.content.0),
            false => write_one(roots, record, (*index, file), Durability::Durable),
        };
        renewed.map_err(refused)?;
    }
    Ok(())
}

/// Writes other bytes into the very same file, or leaves those that it has.
fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let before = fs::read(path)?;
    let file = OpenOptions::new().write(true).open(path)?;
    put(&file, bytes).inspect_err(|_| drop(put(&file, &before)))
}

fn put(file: &File, bytes: &[u8]) -> io::Result<()> {
    file.write_all_at(bytes, 0)?;
    file.set_len(u64::try_from(bytes.len()).map_err(io::Error::other)?)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn bytes_are_written_into_the_very_same_file_and_nothing_of_the_old_ones_stays() {
        let path = std::env::temp_dir().join(format!("berth-contents-{}", std::process::id()));
        fs::write(&path, "a long text of before").unwrap();
        let inode = || fs::metadata(&path).unwrap().ino();
        let before = inode();
        for text in ["short", "", "a text that is longer than any before it"] {
            overwrite(&path, text.as_bytes()).unwrap();
            assert_eq!((fs::read_to_string(&path).unwrap(), inode()), (text.to_owned(), before));
        }
        fs::remove_file(&path).unwrap();
        overwrite(&path, b"gone").unwrap_err();
        assert!(!path.exists(), "what is gone is mounted nowhere");
    }
}
