//! Writes one layer's files beneath a directory descriptor, and never anywhere else.
//!
//! A path is resolved by `openat2` with the layer as its root, so a link in the image can lead
//! anywhere in the layer and nowhere out of it; the last component is never followed. A member
//! that is already there is replaced: the last one wins.
//!
//! Deletions are written as overlayfs reads them: a character device 0:0 in place of what is
//! hidden, and the opaque mark both as `trusted.overlay.opaque` and as `user.overlay.opaque`,
//! which is the one that counts where the mount is made in a user namespace (`userxattr`).

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, Uid,
    XattrFlags,
};
use rustix::io::Errno;

use super::remove;

const OPAQUE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];
const MAX_PATH: usize = 4095;
/// What a file system says of a value above its own limit does not sound like it.
const TOO_LARGE: &str = "setxattr (the disk is full, or the value too large for the file system)";

/// A path in the layer: relative, without `.`, `..` or empty components. Empty is the root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LayerPath(Vec<u8>);

impl LayerPath {
    /// Leading slashes are dropped; `..`, NUL and overlong paths are refused with the reason.
    pub(super) fn new(text: &[u8]) -> Result<LayerPath, &'static str> {
        if text.len() > MAX_PATH {
            return Err("its path is longer than 4095 bytes");
        }
        if text.contains(&0) {
            return Err("its path holds a NUL byte");
        }
        let parts: Vec<&[u8]> =
            text.split(|&b| b == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
        if parts.contains(&b"..".as_slice()) {
            return Err("its path leads upwards by `..`");
        }
        Ok(LayerPath(parts.join(&b'/')))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Folder and name; `None` for the root.
    pub(super) fn split(&self) -> Option<(LayerPath, &[u8])> {
        if self.0.is_empty() {
            return None;
        }
        match self.0.iter().rposition(|&b| b == b'/') {
            Some(slash) => Some((LayerPath(self.0[..slash].to_vec()), &self.0[slash + 1..])),
            None => Some((LayerPath(Vec::new()), &self.0)),
        }
    }
}

/// A step the host refused.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) step: &'static str,
    pub(super) errno: Errno,
}

fn refused(step: &'static str) -> impl Fn(Errno) -> Refused {
    move |errno| Refused { step, errno }
}

/// Owner, mode, time and attributes.
#[derive(Debug, Clone, Default)]
pub(super) struct Meta {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: (i64, u32),
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What stands at a name.
#[derive(PartialEq)]
enum Found {
    Nothing,
    Directory,
    Whiteout,
    Other,
}

/// A layer in the making.
pub(super) struct Tree {
    root: OwnedFd,
    /// The folder used last: members of one folder come one after another.
    last: Option<(LayerPath, Rc<OwnedFd>)>,
    /// Times of folders, set at the end because every new entry changes them.
    times: BTreeMap<LayerPath, (i64, u32)>,
    /// Bytes of the paths in `times`.
    remembered: usize,
    /// Folders made that no member asked for.
    implied: u64,
}

impl Tree {
    /// Writes beneath `root`, which is a folder.
    pub(super) fn new(root: OwnedFd) -> Tree {
        Tree { root, last: None, times: BTreeMap::new(), remembered: 0, implied: 0 }
    }

    /// Bytes of the paths that are kept in memory until [`Tree::finish`].
    pub(super) fn remembered(&self) -> usize {
        self.remembered
    }

    /// How many folders were made only because something is in them.
    pub(super) fn implied(&self) -> u64 {
        self.implied
    }

    /// Makes a folder, or gives the one that is there new metadata.
    pub(super) fn directory(&mut self, path: &LayerPath, meta: &Meta) -> Result<(), Refused> {
        let fd = match path.split() {
            None => self.open(path).map_err(refused("open folder"))?,
            Some((parent, name)) => {
                let parent = self.folder(&parent)?;
                self.make_folder(&parent, name)?;
                Rc::new(open_folder(parent.as_fd(), name)?)
            }
        };
        set_meta(fd.as_fd(), meta)?;
        if self.times.insert(path.clone(), meta.mtime).is_none() {
            self.remembered += path.bytes().len();
        }
        Ok(())
    }

    /// Makes an empty file to be filled and given to [`finish_file`].
    pub(super) fn file(&mut self, path: &LayerPath) -> Result<OwnedFd, Refused> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.place(path, |parent, name| {
            rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600))
        })
        .map_err(refused("create file"))
    }

    /// Makes a symbolic link; its target is text and is not looked at.
    pub(super) fn symlink(
        &mut self,
        path: &LayerPath,
        target: &[u8],
        meta: &Meta,
    ) -> Result<(), Refused> {
        self.place(path, |parent, name| {
            rustix::fs::symlinkat(target, parent, name)?;
            set_link_meta(parent, name, meta)
        })
        .map_err(refused("symlink"))
    }

    /// Makes a FIFO.
    pub(super) fn fifo(&mut self, path: &LayerPath, meta: &Meta) -> Result<(), Refused> {
        // Opened for reading without waiting, it needs no writer, and nothing is followed.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fifo = self
            .place(path, |parent, name| {
                rustix::fs::mknodat(parent, name, FileType::Fifo, Mode::empty(), 0)?;
                rustix::fs::openat(parent, name, flags, Mode::empty())
            })
            .map_err(refused("mkfifo"))?;
        finish_file(&fifo, meta)
    }

    /// Makes another name of a file of this layer. A link at the end of `target` is not followed.
    pub(super) fn hard_link(
        &mut self,
        path: &LayerPath,
        target: &LayerPath,
    ) -> Result<(), Refused> {
        let missing = refused("find the target of hard link");
        let (folder, name) = target.split().ok_or_else(|| missing(Errno::ISDIR))?;
        if path == target {
            return Err(refused("link to itself the hard link")(Errno::INVAL));
        }
        let folder = self.open(&folder).map_err(&missing)?;
        match look(folder.as_fd(), name).map_err(&missing)? {
            Found::Nothing | Found::Whiteout => return Err(missing(Errno::NOENT)),
            Found::Directory => return Err(missing(Errno::ISDIR)),
            Found::Other => {}
        }
        self.place(path, |parent, new| {
            rustix::fs::linkat(&*folder, name, parent, new, AtFlags::empty())
        })
        .map_err(refused("link"))
    }

    /// Hides `path` of the layers below; what this layer has there itself stays.
    pub(super) fn whiteout(&mut self, path: &LayerPath) -> Result<(), Refused> {
        let Some((folder, name)) = path.split() else { return Err(refused("hide")(Errno::INVAL)) };
        let parent = self.folder(&folder)?;
        match look(parent.as_fd(), name).map_err(refused("hide"))? {
            Found::Nothing => {
                rustix::fs::mknodat(&*parent, name, FileType::CharacterDevice, Mode::empty(), 0)
                    .map_err(refused("mknod"))
            }
            Found::Directory => mark_opaque(open_folder(parent.as_fd(), name)?.as_fd()),
            Found::Whiteout | Found::Other => Ok(()),
        }
    }

    /// Hides everything the layers below have in the folder `path`.
    pub(super) fn opaque(&mut self, path: &LayerPath) -> Result<(), Refused> {
        let folder = self.folder(path)?;
        mark_opaque(folder.as_fd())
    }

    /// Sets the times of the folders. Nothing may be written after it.
    pub(super) fn finish(self) -> Result<(), Refused> {
        for (path, time) in &self.times {
            match open_in(self.root.as_fd(), path) {
                Ok(fd) => {
                    rustix::fs::futimens(&fd, &stamps(*time)).map_err(refused("set time"))?;
                }
                // A later member of the same name replaced the folder.
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => return Err(refused("open")(errno)),
            }
        }
        Ok(())
    }

    /// Runs `make` at `path`, once more after removing what stands there.
    fn place<T>(
        &mut self,
        path: &LayerPath,
        make: impl Fn(BorrowedFd<'_>, &[u8]) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let (folder, name) = path.split().ok_or(Errno::ISDIR)?;
        let parent = self.folder(&folder).map_err(|refused| refused.errno)?;
        match make(parent.as_fd(), name) {
            Err(Errno::EXIST) => {
                self.remove(&parent, name)?;
                make(parent.as_fd(), name)
            }
            done => done,
        }
    }

    /// Opens the folder `path`, making what is missing of it, `root:root` 0755.
    fn folder(&mut self, path: &LayerPath) -> Result<Rc<OwnedFd>, Refused> {
        match self.open(path) {
            Ok(fd) => return Ok(fd),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => return Err(refused("open folder")(errno)),
        }
        let (parent, name) = path.split().ok_or(refused("open folder")(Errno::NOENT))?;
        let parent = self.folder(&parent)?;
        self.implied += 1;
        self.make_folder(&parent, name)?;
        self.open(path).map_err(refused("open folder"))
    }

    fn open(&mut self, path: &LayerPath) -> Result<Rc<OwnedFd>, Errno> {
        if let Some((last, fd)) = &self.last
            && last == path
        {
            return Ok(Rc::clone(fd));
        }
        let fd = Rc::new(open_in(self.root.as_fd(), path)?);
        self.last = Some((path.clone(), Rc::clone(&fd)));
        Ok(fd)
    }

    /// A folder at `name`, whatever stood there before; over a whiteout it is opaque.
    fn make_folder(&mut self, parent: &OwnedFd, name: &[u8]) -> Result<(), Refused> {
        let found = look(parent.as_fd(), name).map_err(refused("look at"))?;
        match found {
            Found::Directory => return Ok(()),
            Found::Nothing => {}
            Found::Whiteout | Found::Other => {
                self.remove(parent, name).map_err(refused("replace"))?
            }
        }
        rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)).map_err(refused("mkdir"))?;
        let fd = open_folder(parent.as_fd(), name)?;
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(0o755)).map_err(refused("chmod"))?;
        if found == Found::Whiteout { mark_opaque(fd.as_fd()) } else { Ok(()) }
    }

    fn remove(&mut self, parent: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        self.last = None;
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => remove::remove_at(parent.as_fd(), name),
            done => done,
        }
    }
}

/// Gives a written file its metadata, in the order in which none undoes another.
pub(super) fn finish_file(fd: &OwnedFd, meta: &Meta) -> Result<(), Refused> {
    set_meta(fd.as_fd(), meta)?;
    rustix::fs::futimens(fd, &stamps(meta.mtime)).map_err(refused("set time"))
}

/// Owner first: a change of owner clears the set-id bits and the file capability.
fn set_meta(fd: BorrowedFd<'_>, meta: &Meta) -> Result<(), Refused> {
    let (uid, gid) = (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid));
    rustix::fs::fchown(fd, Some(uid), Some(gid)).map_err(refused("chown"))?;
    rustix::fs::fchmod(fd, Mode::from_raw_mode(meta.mode)).map_err(refused("chmod"))?;
    for (name, value) in &meta.xattrs {
        rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty()).map_err(
            |errno| match errno {
                Errno::NOSPC | Errno::TOOBIG | Errno::RANGE => refused(TOO_LARGE)(errno),
                errno => refused("setxattr")(errno),
            },
        )?;
    }
    Ok(())
}

fn set_link_meta(parent: BorrowedFd<'_>, name: &[u8], meta: &Meta) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid));
    rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    rustix::fs::utimensat(parent, name, &stamps(meta.mtime), AtFlags::SYMLINK_NOFOLLOW)
}

fn stamps((seconds, nanos): (i64, u32)) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanos.into() },
    }
}

fn mark_opaque(folder: BorrowedFd<'_>) -> Result<(), Refused> {
    OPAQUE.iter().try_for_each(|name| {
        rustix::fs::fsetxattr(folder, *name, b"y", XattrFlags::empty())
            .map_err(refused("mark opaque"))
    })
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens a folder with `root` as the root of every link on the way.
fn open_in(root: BorrowedFd<'_>, path: &LayerPath) -> Result<OwnedFd, Errno> {
    let path: &[u8] = if path.bytes().is_empty() { b"." } else { path.bytes() };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    // EAGAIN: a rename elsewhere on the host raced with the look-up (openat2(2)).
    for _ in 0..32 {
        match rustix::fs::openat2(root, path, FOLDER, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            done => return done,
        }
    }
    Err(Errno::AGAIN)
}

fn open_folder(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Refused> {
    rustix::fs::openat(parent, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())
        .map_err(refused("open folder"))
}

fn look(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Found, Errno> {
    let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(Found::Nothing),
        Err(errno) => return Err(errno),
    };
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Found::Directory,
        FileType::CharacterDevice if stat.st_rdev == 0 => Found::Whiteout,
        _ => Found::Other,
    })
}
