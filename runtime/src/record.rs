//! How records are written: beside their place, synced, and renamed into it, so that a reader
//! sees the old or the new one and never a half.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::sabotage::defence;
use crate::small;

/// Whether a record has to survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Synced before it gets its name.
    Durable,
    /// Of this boot only: no sync.
    Volatile,
}

/// Writes `value` as JSON to `path`, mode 0600.
///
/// # Errors
/// What the host answers; the old record, if any, is then untouched.
pub fn write<T: Serialize>(path: &Path, value: &T, durability: Durability) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(value).map_err(io::Error::other)?;
    text.push(b'\n');
    write_bytes(path, &text, 0o600, durability)
}

/// Writes `bytes` to `path` with `mode`, in the same way.
///
/// # Errors
/// What the host answers; the old file, if any, is then untouched.
pub fn write_bytes(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    write_given(path, bytes, (mode, durability), |_| Ok(()))
}

/// Writes `bytes` to `path`, in the same way; `give` makes the new file what it is to be before anybody
/// finds it.
///
/// # Errors
/// What the host answers; the old file, if any, is then untouched.
pub fn write_given(
    path: &Path,
    bytes: &[u8],
    (mode, durability): (u32, Durability),
    give: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::other("a record needs a folder"))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = dir.join(format!(".{name}.{}.new", std::process::id()));
    let _ = fs::remove_file(&beside);
    let written = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(defence!("record.private", mode, 0o666))
            .open(&beside)?;
        file.write_all(bytes)?;
        give(&beside)?;
        if durability == Durability::Durable {
            file.sync_all()?;
        }
        fs::rename(&beside, path)
    };
    // Half a file on a full disk is in the way of whoever makes room.
    written().inspect_err(|_| drop(fs::remove_file(&beside)))?;
    if durability == Durability::Durable {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

/// Makes what was written volatile durable. A record that is not there any more is none to keep.
///
/// Several wait for the disk at once, so that the file system writes them down together.
///
/// # Errors
/// The first of the host's refusals, with the record it is about.
pub fn settle(records: &[PathBuf]) -> Result<(), (PathBuf, io::Error)> {
    const AT_ONCE: usize = 8;
    let share = records.len().div_ceil(AT_ONCE).max(1);
    std::thread::scope(|scope| {
        let waiting: Vec<_> = records
            .chunks(share)
            .map(|some| {
                let settle = |path: &PathBuf| settle_one(path).map_err(|e| (path.clone(), e));
                scope.spawn(move || some.iter().try_for_each(settle))
            })
            .collect();
        waiting.into_iter().try_for_each(|one| one.join().unwrap_or(Ok(())))
    })
}

fn settle_one(path: &Path) -> io::Result<()> {
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    file.sync_all()?;
    let dir = path.parent().ok_or_else(|| io::Error::other("a record needs a folder"))?;
    File::open(dir)?.sync_all()
}

/// Reads a record. `Ok(None)` when there is none, or an empty one: that is what a power cut leaves
/// of one that was not settled.
///
/// # Errors
/// What the host answers, or `InvalidData` naming the file when it is not what we wrote.
pub fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    read_at(CWD, path)
}

/// As [`read`], the path as seen from a folder.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_at<T: DeserializeOwned>(
    folder: impl AsFd,
    path: &Path,
) -> io::Result<Option<T>> {
    let text = match small::piece(folder, path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    if text.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {e}", path.display())))
}
