//! The target of a copy: a tar stream becomes files, each in a folder that was opened without
//! following a link.
//!
//! The stream may be hostile, and so may whoever changes the folders meanwhile: a name is made or
//! replaced in an open folder and never looked up by a path of more than one step, but by the
//! kernel below the target without links.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, StatxAttributes, StatxFlags,
    Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod, fchown, fsetxattr, fstat, futimens,
    linkat, mkdirat, mknodat, openat, openat2, statat, statx, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::CopyError;
use super::place::{Base, Place};
use crate::host::view::is;
use crate::store::tape::{Kind, Member, Tape, TapeError};

/// Who files belong to.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) enum Owners {
    /// To those in the stream.
    Kept,
    /// All to one user and group.
    All(u32, u32),
}

impl Owners {
    /// To whoever copies.
    pub(super) fn own() -> Owners {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        Owners::All(uid.as_raw(), gid.as_raw())
    }
}

/// How files are made.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Put {
    pub(super) owners: Owners,
    /// Set-user-id and set-group-id bits stay.
    pub(super) set_ids: bool,
    /// Capabilities of files stay.
    pub(super) capabilities: bool,
}

type Steps = Vec<CString>;

/// Puts one thing with all below it where `path` leads, under the rules of `docker cp`: into a
/// folder that is there, by its `name`, or just what is in it; else in the place of what is there.
pub(super) fn thing(
    base: &Base,
    path: &[u8],
    name: &[u8],
    content: bool,
    put: Put,
    stream: &mut impl Read,
) -> Result<(), CopyError> {
    let mut tape = Tape::new(stream);
    let Some(first) = next(&mut tape)? else {
        return Err(CopyError::Broken("nothing came".to_owned()));
    };
    let place = base.place(path, true)?;
    let refused = |reason: &str| CopyError::refused("copy to", path, reason);
    if first.kind != Kind::Directory {
        if !place.is_folder() && place.asks_folder {
            return Err(refused("the folder must be there"));
        }
        let (parent, name) = match place.is_folder() {
            true => (folder(&place, path)?, c_name(name, path)?),
            false => (place.parent, place.name),
        };
        Target::new(parent, put).make(&first, &name, target_root(), &mut tape)?;
        // To the mark of the end, so that nobody writes to a pipe without a reader.
        while next(&mut tape)?.is_some() {}
        return Ok(());
    }
    if place.found.is_some() && !place.is_folder() {
        return Err(refused("a folder cannot take the place of a file"));
    }
    let (parent, name) = match (place.is_folder(), content) {
        (true, true) => (folder(&place, path)?, None),
        (true, false) => (folder(&place, path)?, Some(c_name(name, path)?)),
        (false, _) => (place.parent, Some(place.name)),
    };
    let Some(name) = name else { return Target::new(parent, put).fill(&mut tape) };
    let made = make_folder(parent.as_fd(), &name).map_err(|e| failed(path, e))?;
    let inner = openat(&parent, &*name, FOLDER, Mode::empty());
    let mut target = Target::new(inner.map_err(|e| failed(path, e))?, put);
    if made {
        target.finish_later(Vec::new(), &first);
    }
    target.fill(&mut tape)
}

/// Puts all of a stream into the folder that `path` leads to.
pub(super) fn all(
    base: &Base,
    path: &[u8],
    put: Put,
    stream: &mut impl Read,
) -> Result<(), CopyError> {
    let place = base.place(path, true)?;
    if !place.is_folder() {
        return Err(CopyError::refused("copy to", path, "it must be a folder"));
    }
    Target::new(folder(&place, path)?, put).fill(&mut Tape::new(stream))
}

const FOLDER: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn folder(place: &Place, path: &[u8]) -> Result<OwnedFd, CopyError> {
    openat(&place.parent, &*place.name, FOLDER, Mode::empty()).map_err(|e| failed(path, e))
}

fn c_name(name: &[u8], path: &[u8]) -> Result<CString, CopyError> {
    match name {
        b"" => Err(CopyError::refused("copy to", path, "what is copied has no name")),
        name => CString::new(name).map_err(|e| failed(path, io::Error::other(e))),
    }
}

fn next(tape: &mut Tape<impl Read>) -> Result<Option<Member>, CopyError> {
    tape.next().map_err(|error| match error {
        TapeError::Truncated => CopyError::Broken(error.to_string()),
        other => CopyError::Host(other.to_string()),
    })
}

/// Before a name in the target itself there are no steps.
fn target_root() -> Steps {
    Vec::new()
}

/// The folder that a stream is put into.
struct Target {
    root: OwnedFd,
    put: Put,
    /// Folders that were made, whose owner, mode and time come last: until then they can be
    /// written to, and what is put in changes their time.
    made: BTreeMap<Steps, Member>,
}

impl Target {
    fn new(root: OwnedFd, put: Put) -> Target {
        Target { root, put, made: BTreeMap::new() }
    }

    fn finish_later(&mut self, steps: Steps, member: &Member) {
        self.made.insert(steps, Member { xattrs: BTreeMap::new(), ..member.clone() });
    }

    /// Puts the rest of a stream.
    fn fill(&mut self, tape: &mut Tape<impl Read>) -> Result<(), CopyError> {
        while let Some(member) = next(tape)? {
            let mut steps = steps(&member.path)?;
            // What is there already stays as it is.
            let Some(name) = steps.pop() else { continue };
            self.make(&member, &name, steps, tape)?;
        }
        self.finish()
    }

    /// Owners, modes and times of the folders that were made, from below.
    fn finish(&mut self) -> Result<(), CopyError> {
        for (steps, member) in std::mem::take(&mut self.made).into_iter().rev() {
            let folder = self.below(&steps).map_err(|e| failed(&member.path, e))?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = openat(&folder, c".", flags, Mode::empty());
            let opened = opened.map_err(|e| failed(&member.path, e))?;
            self.settle(opened.as_fd(), &member).map_err(|e| failed(&member.path, e))?;
        }
        Ok(())
    }

    /// Opens a folder below the target, without links and not above it.
    fn below(&self, steps: &[CString]) -> Result<OwnedFd, Errno> {
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let path = match steps {
            [] => b".".to_vec(),
            steps => steps.iter().map(|s| s.as_bytes()).collect::<Vec<_>>().join(&b'/'),
        };
        let path = Path::new(OsStr::from_bytes(&path));
        for _ in 0..AGAIN {
            // The kernel gives up when something above is moved meanwhile (openat2(2)).
            match openat2(&self.root, path, FOLDER, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return opened,
            }
        }
        Err(Errno::AGAIN)
    }

    /// As [`Target::below`], making folders of which the stream did not tell.
    fn parent(&mut self, steps: &[CString], member: &Member) -> Result<OwnedFd, Errno> {
        match self.below(steps) {
            Err(Errno::NOENT) => {}
            opened => return opened,
        }
        for length in 1..=steps.len() {
            let above = self.below(&steps[..length - 1])?;
            if make_folder(above.as_fd(), &steps[length - 1])? {
                let untold = Member { kind: Kind::Directory, mode: 0o755, ..member.clone() };
                self.finish_later(steps[..length].to_vec(), &untold);
            }
        }
        self.below(steps)
    }

    /// Makes one member, by its name in the folder at `steps`.
    fn make(
        &mut self,
        member: &Member,
        name: &CString,
        steps: Steps,
        tape: &mut Tape<impl Read>,
    ) -> Result<(), CopyError> {
        let told = &member.path;
        let parent = self.parent(&steps, member).map_err(|e| match e {
            Errno::LOOP | Errno::NOTDIR => {
                CopyError::refused("copy to", told, "a link or a file is in the place of a folder")
            }
            e => failed(told, e),
        })?;
        let parent = parent.as_fd();
        match member.kind {
            Kind::Directory => {
                if make_folder(parent, name).map_err(|e| failed(told, e))? {
                    self.finish_later([steps, vec![name.clone()]].concat(), member);
                }
                return Ok(());
            }
            Kind::File => return self.file(parent, name, member, tape),
            Kind::Device => {
                return Err(CopyError::refused("copy", told, "device nodes are not copied"));
            }
            Kind::Symlink | Kind::HardLink | Kind::Fifo => {}
        }
        clear(parent, name).map_err(|e| match e {
            Errno::BUSY => CopyError::refused("copy to", told, "something is mounted there"),
            e => failed(told, e),
        })?;
        let made = match member.kind {
            Kind::Symlink => symlinkat(OsStr::from_bytes(&member.link), parent, &**name),
            Kind::HardLink => return self.link(parent, name, member),
            _ => {
                mknodat(parent, &**name, FileType::Fifo, Mode::from_raw_mode(self.mode(member)), 0)
            }
        };
        made.and_then(|()| {
            let (uid, gid) = self.owner(member)?;
            chownat(parent, &**name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
            utimensat(parent, &**name, &times(member), AtFlags::SYMLINK_NOFOLLOW)
        })
        .map_err(|e| failed(told, e))
    }

    /// A further name of something that the stream has brought before.
    fn link(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CString,
        member: &Member,
    ) -> Result<(), CopyError> {
        let mut of = steps(&member.link)?;
        let Some(first) = of.pop() else {
            return Err(CopyError::refused("link", &member.path, "to nothing"));
        };
        let folder = self.below(&of).map_err(|e| failed(&member.link, e))?;
        linkat(folder, &*first, parent, &**name, AtFlags::empty())
            .map_err(|e| failed(&member.path, e))
    }

    fn file(
        &self,
        parent: BorrowedFd<'_>,
        name: &CString,
        member: &Member,
        tape: &mut Tape<impl Read>,
    ) -> Result<(), CopyError> {
        let error = |e: io::Error| failed(&member.path, e);
        let (mut file, is_new) = match clear(parent, name) {
            // A mount is on it: its content changes, it stays.
            Err(Errno::BUSY) => (in_place(parent, name).map_err(error)?, false),
            cleared => {
                cleared.map_err(|e| failed(&member.path, e))?;
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
                let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made = openat(parent, &**name, flags, Mode::RUSR | Mode::WUSR);
                (File::from(made.map_err(|e| failed(&member.path, e))?), true)
            }
        };
        write(&mut file, member, tape).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => CopyError::Broken(e.to_string()),
            _ => error(e),
        })?;
        if is_new {
            self.settle(file.as_fd(), member).map_err(|e| failed(&member.path, e))?;
        }
        Ok(())
    }

    /// Owner before mode: a new owner takes the set-id bits away (chown(2)).
    fn settle(&self, fd: BorrowedFd<'_>, member: &Member) -> Result<(), Errno> {
        let (uid, gid) = self.owner(member)?;
        fchown(fd, Some(uid), Some(gid))?;
        fchmod(fd, Mode::from_raw_mode(self.mode(member)))?;
        for (name, value) in &member.xattrs {
            if name == b"security.capability" && !self.put.capabilities {
                continue;
            }
            match fsetxattr(fd, OsStr::from_bytes(name), value, XattrFlags::empty()) {
                // This file system has none of them, or not for us.
                Err(Errno::NOTSUP | Errno::PERM) => {}
                set => set?,
            }
        }
        futimens(fd, &times(member))
    }

    fn mode(&self, member: &Member) -> u32 {
        member.mode & if self.put.set_ids { 0o7777 } else { 0o1777 }
    }

    fn owner(&self, member: &Member) -> Result<(Uid, Gid), Errno> {
        let (uid, gid) = match self.put.owners {
            Owners::All(uid, gid) => (uid, gid),
            Owners::Kept => {
                let id = |id: i64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
                (id(member.uid).ok_or(Errno::INVAL)?, id(member.gid).ok_or(Errno::INVAL)?)
            }
        };
        Ok((Uid::from_raw(uid), Gid::from_raw(gid)))
    }
}

/// Attempts to open a folder.
const AGAIN: u32 = 100;

/// The steps of a path in a stream, which begins at the target whatever it says.
fn steps(path: &[u8]) -> Result<Steps, CopyError> {
    let steps = path.split(|byte| *byte == b'/').filter(|step| !matches!(*step, b"" | b"."));
    steps
        .map(|step| match step {
            b".." => Err(CopyError::refused("copy to", path, "it leads out of the target")),
            step => CString::new(step).map_err(|e| failed(path, io::Error::other(e))),
        })
        .collect()
}

/// Whether the folder was made; one that is there is as good.
fn make_folder(parent: BorrowedFd<'_>, name: &CString) -> Result<bool, Errno> {
    match mkdirat(parent, &**name, Mode::RWXU) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => {
            let stat = statat(parent, &**name, AtFlags::SYMLINK_NOFOLLOW)?;
            if is(&stat, FileType::Directory) { Ok(false) } else { Err(Errno::NOTDIR) }
        }
        Err(e) => Err(e),
    }
}

/// Takes the name away from what has it, if that is no folder. What a mount is on is busy: the
/// kernel says so of the mounts of its caller's namespace alone, and lets go of those of others.
fn clear(parent: BorrowedFd<'_>, name: &CString) -> Result<(), Errno> {
    if is_mounted(parent, name)? {
        return Err(Errno::BUSY);
    }
    match unlinkat(parent, &**name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e),
    }
}

/// Whether the name is that of a mount, in whatever mount namespace the folder is.
fn is_mounted(parent: BorrowedFd<'_>, name: &CString) -> Result<bool, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match statx(parent, &**name, flags, StatxFlags::TYPE) {
        Ok(stat) => Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Opens a file that stays, to be filled anew.
fn in_place(parent: BorrowedFd<'_>, name: &CString) -> io::Result<File> {
    // Something else may have taken its place, a FIFO for instance, which must not be waited for.
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(parent, &**name, flags, Mode::empty())?;
    let stat: Stat = fstat(&file)?;
    if !is(&stat, FileType::RegularFile) {
        return Err(io::Error::other("something is mounted there that is no file"));
    }
    let file = File::from(file);
    file.set_len(0)?;
    Ok(file)
}

/// Writes the content, with its holes.
fn write(file: &mut File, member: &Member, tape: &mut Tape<impl Read>) -> io::Result<()> {
    let Some(sparse) = &member.sparse else {
        return copy(tape, file, member.stored);
    };
    file.set_len(sparse.size)?;
    for (offset, length) in &sparse.segments {
        file.seek(SeekFrom::Start(*offset))?;
        copy(tape, file, *length)?;
    }
    Ok(())
}

fn copy(tape: &mut Tape<impl Read>, file: &mut File, length: u64) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut left = length;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        match tape.read(&mut buffer[..most])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                file.write_all(&buffer[..read])?;
                left -= read as u64;
            }
        }
    }
    Ok(())
}

/// Bytes written at once.
const PIECE: usize = 256 << 10;

fn times(member: &Member) -> Timestamps {
    let time = Timespec { tv_sec: member.mtime.0, tv_nsec: member.mtime.1.into() };
    Timestamps { last_access: time, last_modification: time }
}

fn failed(path: &[u8], error: impl Into<io::Error>) -> CopyError {
    CopyError::io("copy to", path, error)
}
