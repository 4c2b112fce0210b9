//! What everything takes on the disk: the state as a whole, and each thing in it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use berth_planner::room::{ContainerUsage, Unfinished, Usage};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::super::{Host, HostError, state};
use crate::meter::{self, Meter};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Host {
    /// Measures the state. What changes meanwhile is counted as it was when it was passed.
    ///
    /// # Errors
    /// [`HostError`] when something cannot be read.
    pub fn usage(&self) -> Result<Usage, HostError> {
        let state = self.roots.state.clone();
        let mut look =
            Look { state: state.clone(), meter: Meter::default(), usage: Usage::default() };
        look.all().map_err(|e| HostError::io("measure", state, e))?;
        Ok(look.usage)
    }

    /// What these volumes take; nothing of one that is not there.
    ///
    /// # Errors
    /// [`HostError`] when something cannot be read.
    pub fn volume_sizes(&self, names: &BTreeSet<&str>) -> Result<BTreeMap<String, u64>, HostError> {
        let size = |name: &&str| -> io::Result<(String, u64)> {
            let folder = self.roots.volume(name);
            let bytes = match rustix::fs::open(&folder, FOLDER, Mode::empty()) {
                Err(Errno::NOENT) => 0,
                folder => Meter::default().tree(folder?.as_fd(), c".")?,
            };
            Ok(((*name).to_owned(), bytes))
        };
        let sizes = names.iter().map(size).collect::<io::Result<_>>();
        sizes.map_err(|e| HostError::io("measure", self.roots.state.join("volumes"), e))
    }
}

struct Look {
    state: PathBuf,
    meter: Meter,
    usage: Usage,
}

impl Look {
    fn all(&mut self) -> io::Result<()> {
        let root = match rustix::fs::open(&self.state, FOLDER, Mode::empty()) {
            // Who only looks makes no state.
            Err(Errno::NOENT) => return Ok(()),
            root => root?,
        };
        for name in meter::names(root.as_fd())? {
            let Some(folder) = meter::open(root.as_fd(), &name)? else {
                self.tree(root.as_fd(), &name)?;
                continue;
            };
            match name.to_bytes() {
                b"images" => self.images(&folder)?,
                b"containers" => self.containers(&folder)?,
                b"volumes" => self.volumes(&folder)?,
                b"trash" => {
                    self.unfinished("trash", &folder)?;
                    continue;
                }
                other => {
                    if other == b"networks" {
                        self.networks(&folder)?;
                    }
                    self.tree(root.as_fd(), &name)?;
                    continue;
                }
            }
            self.folder(&folder)?;
        }
        self.folder(&root)
    }

    /// The store: parts of images and what is being made; the rest is names.
    fn images(&mut self, store: &OwnedFd) -> io::Result<()> {
        for name in meter::names(store.as_fd())? {
            let Some(folder) = meter::open(store.as_fd(), &name)? else {
                self.tree(store.as_fd(), &name)?;
                continue;
            };
            match name.to_bytes() {
                b"images" => self.parts("images", &folder)?,
                b"layers" => self.parts("layers", &folder)?,
                b"making" => self.unfinished("images/making", &folder)?,
                b"blobs" => {
                    if let Some(blobs) = meter::open(folder.as_fd(), c"sha256")? {
                        self.parts("blobs/sha256", &blobs)?;
                    }
                    self.folder(&folder)?;
                }
                _ => drop(self.tree(store.as_fd(), &name)?),
            }
        }
        Ok(())
    }

    fn parts(&mut self, place: &str, folder: &OwnedFd) -> io::Result<()> {
        for name in meter::names(folder.as_fd())? {
            let bytes = self.tree(folder.as_fd(), &name)?;
            self.usage.parts.insert(format!("{place}/{}", name.to_string_lossy()), bytes);
        }
        self.folder(folder)
    }

    fn unfinished(&mut self, place: &str, folder: &OwnedFd) -> io::Result<()> {
        for name in meter::names(folder.as_fd())? {
            self.unfinished_one(place, folder, &name)?;
        }
        self.folder(folder)
    }

    fn unfinished_one(&mut self, place: &str, folder: &OwnedFd, name: &CStr) -> io::Result<()> {
        let bytes = self.tree(folder.as_fd(), name)?;
        let path = format!("{place}/{}", name.to_string_lossy());
        let busy = state::busy(&self.state.join(&path)) == Some(true);
        self.usage.unfinished.insert(path, Unfinished { bytes, busy });
        Ok(())
    }

    fn containers(&mut self, folder: &OwnedFd) -> io::Result<()> {
        for name in meter::names(folder.as_fd())? {
            let Some(own) = recorded(folder, &name)? else {
                self.unfinished_one("containers", folder, &name)?;
                continue;
            };
            // Logs have one name each, so what they take is the same counted for itself.
            let logs = Meter::default().tree(own.as_fd(), c"logs")?;
            let files = self.tree(folder.as_fd(), &name)?.saturating_sub(logs);
            let name = name.to_string_lossy().into_owned();
            self.usage.containers.insert(name, ContainerUsage { files, logs });
        }
        Ok(())
    }

    fn volumes(&mut self, folder: &OwnedFd) -> io::Result<()> {
        for name in meter::names(folder.as_fd())? {
            if recorded(folder, &name)?.is_none() {
                self.unfinished_one("volumes", folder, &name)?;
                continue;
            }
            let bytes = self.tree(folder.as_fd(), &name)?;
            self.usage.volumes.insert(name.to_string_lossy().into_owned(), bytes);
        }
        Ok(())
    }

    /// A network's record is written once, when it is made.
    fn networks(&mut self, folder: &OwnedFd) -> io::Result<()> {
        for name in meter::names(folder.as_fd())? {
            let name = name.to_string_lossy().into_owned();
            let record = self.state.join("networks").join(&name).join("record.json");
            if let Ok(record) = record.symlink_metadata() {
                self.usage.networks.insert(name, record.mtime());
            }
        }
        Ok(())
    }

    /// A folder itself, without what is in it.
    fn folder(&mut self, folder: &OwnedFd) -> io::Result<()> {
        self.usage.total += self.meter.entry(folder.as_fd(), c".")?;
        Ok(())
    }

    /// Something with all below it.
    fn tree(&mut self, folder: BorrowedFd<'_>, name: &CStr) -> io::Result<u64> {
        let bytes = self.meter.tree(folder, name)?;
        self.usage.total += bytes;
        Ok(bytes)
    }
}

/// The folder of a thing that is there: it has a record.
fn recorded(folder: &OwnedFd, name: &CStr) -> io::Result<Option<OwnedFd>> {
    let Some(own) = meter::open(folder.as_fd(), name)? else { return Ok(None) };
    let record = rustix::fs::statat(&own, c"record.json", AtFlags::SYMLINK_NOFOLLOW);
    Ok(record.is_ok().then_some(own))
}
