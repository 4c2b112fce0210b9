//! Writes a container's files as a tar stream: all of them, layers and own changes as one tree,
//! or only the changes as a layer of an image.
//!
//! Owners on disk are those the container sees, because its layers and its own files are mounted
//! with the ids mapped. Files are opened by name from an open folder, and links are not followed.
//! What changes while it is read is written as long as it was when it was found.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::holes;
use super::view::{Entry, FOLDER, Folder, is, is_gone, is_opaque, is_whiteout, names_in};
use crate::store::StoreError;
use crate::store::tape::{Kind, Member, TapeWriter};

/// The largest list of attributes and the largest attribute (xattr(7)).
const MAX_XATTR: usize = 64 << 10;

/// What was written, and what was not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Packed {
    /// Files, folders and links.
    pub entries: u64,
    /// Device nodes and sockets, which are left out.
    pub left_out: u64,
    /// Files that became shorter while they were read; the rest is zeros.
    pub shrunk: u64,
}

/// Why a tree was not written to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum PackError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("read the container's `{path}`: {source}")]
    Read { path: String, source: io::Error },
}

/// A tree on its way into a tar stream.
pub(super) struct Packer<'a, W> {
    tape: &'a mut TapeWriter<W>,
    /// Where mounts of the container are: what is only there to be covered is no change.
    targets: &'a BTreeSet<Vec<u8>>,
    /// Files of several names by device and inode, with the first of the names.
    links: BTreeMap<(u64, u64), Vec<u8>>,
    packed: Packed,
    /// For a copy: holes stay holes, and what is no file system of files is left out.
    copies: bool,
}

impl<'a, W: Write> Packer<'a, W> {
    pub(super) fn new(
        tape: &'a mut TapeWriter<W>,
        targets: &'a BTreeSet<Vec<u8>>,
    ) -> Packer<'a, W> {
        let (links, packed) = (BTreeMap::new(), Packed::default());
        Packer { tape, targets, links, packed, copies: false }
    }

    /// One that writes what is copied: not the files of `/proc` and the like, which are no
    /// files, and no zeros for holes.
    pub(super) fn for_copy(
        tape: &'a mut TapeWriter<W>,
        targets: &'a BTreeSet<Vec<u8>>,
    ) -> Packer<'a, W> {
        Packer { copies: true, ..Packer::new(tape, targets) }
    }

    pub(super) fn packed(&self) -> Packed {
        self.packed
    }

    /// Writes everything that is to be seen in `folder`, which is at `path`.
    pub(super) fn tree(&mut self, folder: &Folder, path: &[u8]) -> Result<(), PackError> {
        for name in folder.names().map_err(|e| failed(path, e))? {
            let below = join(path, name.to_bytes());
            match found(folder.entry(&name)).map_err(|e| failed(&below, e))? {
                Entry::Nothing => {}
                Entry::Folder(inner) => {
                    let Some(top) = inner.top() else { continue };
                    if self.copies && is_the_kernels(top) {
                        self.packed.left_out += 1;
                        continue;
                    }
                    self.folder(top, &below)?;
                    self.tree(&inner, &below)?;
                }
                Entry::Other(layer, stat) => self.other(layer, &name, &below, &stat)?,
            }
        }
        Ok(())
    }

    /// Writes what `upper` changes of `lower`, with the marks of an image's layer.
    pub(super) fn layer(
        &mut self,
        upper: &OwnedFd,
        lower: Option<&Folder>,
        path: &[u8],
    ) -> Result<(), PackError> {
        for name in names_in(upper).map_err(|e| failed(path, e))? {
            let below = join(path, name.to_bytes());
            let stat = match rustix::fs::statat(upper, &*name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(errno) if is_gone(errno) => continue,
                stat => stat.map_err(|e| failed(&below, e.into()))?,
            };
            let under = match lower {
                Some(lower) => lower.entry(&name).map_err(|e| failed(&below, e))?,
                None => Entry::Nothing,
            };
            if is_whiteout(&stat) {
                if !matches!(under, Entry::Nothing) {
                    self.mark(path, &[b".wh.", name.to_bytes()].concat())?;
                }
            } else if is(&stat, FileType::Directory) {
                self.changed_folder(upper, &name, &below, under)?;
            } else if name.to_bytes().starts_with(b".wh.") {
                self.packed.left_out += 1;
            } else if !(matches!(under, Entry::Nothing) && self.is_mount_point(&below, &stat)) {
                self.other(upper.as_fd(), &name, &below, &stat)?;
            }
        }
        Ok(())
    }

    fn changed_folder(
        &mut self,
        upper: &OwnedFd,
        name: &CStr,
        path: &[u8],
        under: Entry<'_>,
    ) -> Result<(), PackError> {
        let folder = match rustix::fs::openat(upper, name, FOLDER, Mode::empty()) {
            Err(errno) if is_gone(errno) => return Ok(()),
            folder => folder.map_err(|e| failed(path, e.into()))?,
        };
        let is_new = matches!(under, Entry::Nothing);
        let is_empty = || names_in(&folder).map(|names| names.is_empty());
        if is_new && self.targets.contains(path) && is_empty().map_err(|e| failed(path, e))? {
            return Ok(());
        }
        self.folder(folder.as_fd(), path)?;
        match under {
            Entry::Folder(below) if is_opaque(&folder) => {
                self.mark(path, b".wh..wh..opq")?;
                drop(below);
                self.layer(&folder, None, path)
            }
            Entry::Folder(below) => self.layer(&folder, Some(&below), path),
            Entry::Nothing | Entry::Other(..) => self.layer(&folder, None, path),
        }
    }

    /// An empty file that was made for a mount to cover.
    fn is_mount_point(&self, path: &[u8], stat: &Stat) -> bool {
        is(stat, FileType::RegularFile) && stat.st_size == 0 && self.targets.contains(path)
    }

    fn mark(&mut self, folder: &[u8], name: &[u8]) -> Result<(), PackError> {
        let member = Member {
            kind: Kind::File,
            path: join(folder, name),
            link: Vec::new(),
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            stored: 0,
            sparse: None,
            xattrs: BTreeMap::new(),
        };
        self.add(&member, io::empty())
    }

    /// Writes a folder without what is in it.
    pub(super) fn folder(&mut self, folder: BorrowedFd<'_>, path: &[u8]) -> Result<(), PackError> {
        let stat = rustix::fs::fstat(folder).map_err(|e| failed(path, e.into()))?;
        let mut member = member(Kind::Directory, path, &stat);
        member.xattrs = xattrs(folder).map_err(|e| failed(path, e))?;
        self.add(&member, io::empty())
    }

    /// Anything but a folder, by its name in the open folder `layer`.
    pub(super) fn other(
        &mut self,
        layer: BorrowedFd<'_>,
        name: &CStr,
        path: &[u8],
        stat: &Stat,
    ) -> Result<(), PackError> {
        let inode = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1
            && let Some(first) = self.links.get(&inode)
        {
            let member = Member { link: first.clone(), ..member(Kind::HardLink, path, stat) };
            return self.add(&member, io::empty());
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                if !self.file(layer, name, path)? {
                    return Ok(());
                }
            }
            FileType::Symlink => {
                let link = match rustix::fs::readlinkat(layer, name, Vec::new()) {
                    Err(errno) if is_gone(errno) => return Ok(()),
                    link => link.map_err(|e| failed(path, e.into()))?.into_bytes(),
                };
                self.add(&Member { link, ..member(Kind::Symlink, path, stat) }, io::empty())?;
            }
            FileType::Fifo => self.add(&member(Kind::Fifo, path, stat), io::empty())?,
            _ => {
                self.packed.left_out += 1;
                return Ok(());
            }
        }
        if stat.st_nlink > 1 {
            self.links.insert(inode, path.to_vec());
        }
        Ok(())
    }

    /// Whether it was still there.
    fn file(&mut self, layer: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> Result<bool, PackError> {
        // What was a file a moment ago may be a FIFO now, which must not be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(layer, name, flags, Mode::empty()) {
            Err(errno) if is_gone(errno) => return Ok(false),
            file => file.map_err(|e| failed(path, e.into()))?,
        };
        let stat = rustix::fs::fstat(&file).map_err(|e| failed(path, e.into()))?;
        if !is(&stat, FileType::RegularFile) {
            return Ok(false);
        }
        let mut member = member(Kind::File, path, &stat);
        member.stored = u64::try_from(stat.st_size).unwrap_or(0);
        member.xattrs = xattrs(file.as_fd()).map_err(|e| failed(path, e))?;
        let file = File::from(file);
        if self.copies && stat.st_blocks.saturating_mul(512) < stat.st_size {
            member.sparse = holes::find(&file, member.stored).map_err(|e| failed(path, e))?;
        }
        let content = member.sparse.as_ref().map(|sparse| sparse.segments.clone());
        member.stored = member.sparse.as_ref().map_or(member.stored, holes::stored);
        let file = holes::Content::of(file, content);
        let mut content = Steady { file, ended: false, problem: None };
        self.add(&member, &mut content)?;
        self.packed.shrunk += u64::from(content.ended);
        match content.problem {
            Some(problem) => Err(failed(path, problem)),
            None => Ok(true),
        }
    }

    fn add(&mut self, member: &Member, content: impl Read) -> Result<(), PackError> {
        self.packed.entries += 1;
        self.tape.add(member, content).map_err(|e| StoreError::Output(e).into())
    }
}

/// A file that gives zeros after its end and after a problem, so that what stands in the header
/// is true.
struct Steady {
    file: holes::Content,
    ended: bool,
    problem: Option<io::Error>,
}

impl Read for Steady {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if !self.ended && self.problem.is_none() {
            match self.file.read(buf) {
                Ok(0) => self.ended = true,
                Ok(n) => return Ok(n),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => return Err(e),
                Err(e) => self.problem = Some(e),
            }
        }
        buf.fill(0);
        Ok(buf.len())
    }
}

/// What a running container removed in between is not there.
fn found(entry: io::Result<Entry<'_>>) -> io::Result<Entry<'_>> {
    match entry {
        Err(e) if Errno::from_io_error(&e).is_some_and(is_gone) => Ok(Entry::Nothing),
        entry => entry,
    }
}

/// `/proc`, `/sys` and cgroups hold no files but answers of the kernel, some without an end.
pub(super) fn is_the_kernels(fd: BorrowedFd<'_>) -> bool {
    crate::container::is_kernel_file_system(fd).unwrap_or(true)
}

fn member(kind: Kind, path: &[u8], stat: &Stat) -> Member {
    Member {
        kind,
        path: path.to_vec(),
        link: Vec::new(),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid.into(),
        gid: stat.st_gid.into(),
        // Whole seconds, as Docker's layers have them: a fraction would cost a kilobyte each.
        mtime: (stat.st_mtime, 0),
        stored: 0,
        sparse: None,
        xattrs: BTreeMap::new(),
    }
}

/// `user.*` without overlayfs's own, and the file capability.
fn xattrs(fd: BorrowedFd<'_>) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut list = vec![0; MAX_XATTR];
    let length = match rustix::fs::flistxattr(fd, &mut list[..]) {
        Err(Errno::NOTSUP) => 0,
        length => length?,
    };
    let mut found = BTreeMap::new();
    for name in list[..length].split(|&byte| byte == 0) {
        let is_users = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
        if !is_users && name != b"security.capability" {
            continue;
        }
        let mut value = vec![0; MAX_XATTR];
        let length = match rustix::fs::fgetxattr(fd, name, &mut value[..]) {
            Err(Errno::NODATA) => continue,
            length => length?,
        };
        value.truncate(length);
        found.insert(name.to_vec(), if is_users { value } else { without_owner(value) });
    }
    Ok(found)
}

/// A capability of version 3 belongs to a user namespace; an image's is of version 2
/// (`vfs_ns_cap_data`: the same words with the owner after them).
fn without_owner(mut value: Vec<u8>) -> Vec<u8> {
    if value.len() == 24 && value[3] == 3 {
        value.truncate(20);
        value[3] = 2;
    }
    value
}

fn failed(path: &[u8], source: io::Error) -> PackError {
    let path = format!("/{}", String::from_utf8_lossy(path).escape_debug());
    PackError::Read { path, source }
}

pub(super) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    match folder.is_empty() {
        true => name.to_vec(),
        false => [folder, b"/", name].concat(),
    }
}
