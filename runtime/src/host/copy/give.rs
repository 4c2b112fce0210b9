//! The source of a copy: a thing and all below it, as a tar stream.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::fs::{FileType, Mode, OFlags, openat};
use serde::{Deserialize, Serialize};

use super::CopyError;
use super::place::{Base, asks_folder, last_name};
use crate::host::pack::{PackError, Packed, Packer, is_the_kernels};
use crate::host::view::{FOLDER, Folder};
use crate::store::StoreError;
use crate::store::tape::TapeWriter;

/// What is copied.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Given {
    /// Its path.
    pub(super) path: Vec<u8>,
    /// What a link at its end leads to, not the link.
    pub(super) follow: bool,
}

impl Given {
    /// What is in the folder, not the folder: its path ends with `/.`, or it has no name.
    pub(super) fn is_content(&self) -> bool {
        self.path.ends_with(b"/.") || self.name().is_empty()
    }

    /// Its name, which it keeps in a folder that is there.
    pub(super) fn name(&self) -> Vec<u8> {
        last_name(&self.path)
    }
}

/// Writes what is given, under the name `top`; what is below it, below that.
pub(super) fn give(
    base: &Base,
    given: &Given,
    top: &[u8],
    out: &mut impl Write,
) -> Result<Packed, CopyError> {
    let path = given.path.as_slice();
    let place = base.place(path, given.follow)?;
    let Some(stat) = place.found else {
        let path = String::from_utf8_lossy(path).into_owned();
        return Err(CopyError::Missing { path, side: base.side().to_owned() });
    };
    let refused = |reason: &str| CopyError::refused("copy", path, reason);
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let itself = openat(&place.parent, &*place.name, flags, Mode::empty())
        .map_err(|e| CopyError::io("open", path, e))?;
    if is_the_kernels(itself.as_fd()) {
        return Err(refused(
            "it is an answer of the kernel and no file: `exec` a program that reads it",
        ));
    }
    let targets = BTreeSet::new();
    let mut tape = TapeWriter::new(out);
    let mut packer = Packer::for_copy(&mut tape, &targets);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let folder =
                openat(&place.parent, &*place.name, FOLDER | OFlags::NOFOLLOW, Mode::empty())
                    .map_err(|e| CopyError::io("open", path, e))?;
            packer.folder(folder.as_fd(), top)?;
            packer.tree(&Folder::plain(folder), top)?;
        }
        _ if asks_folder(path) => return Err(refused("it is not a folder")),
        FileType::RegularFile | FileType::Symlink | FileType::Fifo => {
            packer.other(place.parent.as_fd(), &place.name, top, &stat)?;
        }
        FileType::Socket => return Err(refused("it is a socket, which means nothing elsewhere")),
        _ => return Err(refused("it is a device, whose content has no end")),
    }
    let packed = packer.packed();
    if packed.entries == 0 {
        return Err(refused("it went while it was looked at"));
    }
    tape.finish().map_err(|e| CopyError::from(PackError::Store(StoreError::Output(e))))?;
    Ok(packed)
}

impl From<PackError> for CopyError {
    fn from(error: PackError) -> CopyError {
        match error {
            PackError::Store(StoreError::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => {
                CopyError::Broken(e.to_string())
            }
            other => CopyError::Host(other.to_string()),
        }
    }
}
