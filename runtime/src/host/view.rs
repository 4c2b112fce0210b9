//! An image's layers seen as one tree, by the rules of overlayfs and without mounting one: kernels
//! before 6.8 mount none without a place for it, and looking is cheaper.
//!
//! Every step of a path is taken by name from an open folder, and symbolic links are followed here,
//! with the image as root: none leads to a file of the host.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::sabotage::defence;

/// Files like `/etc/passwd` larger than this are not read.
const SMALL: i64 = 1 << 20;
/// Symbolic links followed in one path, as the kernel counts them (path_resolution(7)).
const LINKS: u32 = 40;
pub(super) const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The tree an image's layers make together.
pub(super) struct ImageView {
    root: Folder,
}

/// A folder of the image: the same folder in each layer that has it, the top one first.
pub(super) struct Folder {
    parts: Vec<OwnedFd>,
}

/// What a folder has by a name.
pub(super) enum Entry<'a> {
    Nothing,
    Folder(Folder),
    /// Anything else, in the folder of the layer that has it.
    Other(BorrowedFd<'a>, Stat),
}

impl ImageView {
    /// Opens the tree; `lowers` are the unpacked layers, the top one first.
    ///
    /// # Errors
    /// What the host answers.
    pub(super) fn open(lowers: &[PathBuf]) -> io::Result<ImageView> {
        let open = |lower: &PathBuf| rustix::fs::openat(CWD, lower, FOLDER, Mode::empty());
        let parts = lowers.iter().map(open).collect::<Result<_, _>>()?;
        Ok(ImageView { root: Folder { parts } })
    }

    /// The root of the tree.
    pub(super) fn root(&self) -> &Folder {
        &self.root
    }

    /// The text of a small regular file; `None` when the image has none at `path`.
    ///
    /// # Errors
    /// What the host answers, or `InvalidData` for what is no small text file.
    pub(super) fn read_text(&self, path: &str) -> io::Result<Option<String>> {
        self.at(path, |name, entry| {
            let Entry::Other(layer, stat) = entry else { return Ok(None) };
            let small = is(&stat, FileType::RegularFile) && stat.st_size <= SMALL;
            if !defence!("users.bounds", small, true) {
                let why = format!("`{path}` of the image is not a small regular file");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut text = String::new();
            File::from(rustix::fs::openat(layer, name, flags, Mode::empty())?)
                .read_to_string(&mut text)?;
            Ok(Some(text))
        })
    }

    /// Copies what the image has below `target` into the folder `to`, which takes the owner and
    /// mode of `target`. Nothing happens when the image has no such folder.
    ///
    /// # Errors
    /// What the host answers; then the copy is incomplete.
    pub(super) fn copy_tree(&self, target: &str, to: &Path) -> io::Result<()> {
        let to = rustix::fs::open(to, FOLDER, Mode::empty())?;
        self.at(target, |_, entry| match entry {
            Entry::Folder(from) => copy_folder(&from, &to),
            Entry::Nothing | Entry::Other(..) => Ok(()),
        })
    }

    /// Gives what is at `path`, its symbolic links followed, to `use_it`.
    fn at<T>(
        &self,
        path: &str,
        use_it: impl FnOnce(&CStr, Entry<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut to_go = names(path.as_bytes())?;
        to_go.reverse();
        let mut below: Vec<Folder> = Vec::new();
        let mut links = 0;
        while let Some(name) = to_go.pop() {
            if name.as_bytes() == b".." {
                below.pop();
                continue;
            }
            match below.last().unwrap_or(&self.root).entry(&name)? {
                Entry::Other(layer, stat) if is(&stat, FileType::Symlink) => {
                    links += 1;
                    if links > LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    let link = rustix::fs::readlinkat(layer, &*name, Vec::new())?;
                    to_go.extend(names(link.as_bytes())?.into_iter().rev());
                    if link.as_bytes().starts_with(b"/") {
                        below.clear();
                    }
                }
                Entry::Folder(folder) if !to_go.is_empty() => below.push(folder),
                Entry::Other(..) if !to_go.is_empty() => return use_it(&name, Entry::Nothing),
                found => return use_it(&name, found),
            }
        }
        let parts = &below.last().unwrap_or(&self.root).parts;
        let again = parts.iter().map(OwnedFd::try_clone).collect::<Result<_, _>>()?;
        use_it(c".", Entry::Folder(Folder { parts: again }))
    }
}

/// The steps of a path.
fn names(path: &[u8]) -> io::Result<Vec<CString>> {
    let steps = path.split(|byte| *byte == b'/').filter(|step| !matches!(*step, b"" | b"."));
    Ok(steps.map(CString::new).collect::<Result<_, _>>()?)
}

impl Folder {
    /// One folder alone.
    pub(super) fn plain(folder: OwnedFd) -> Folder {
        Folder { parts: vec![folder] }
    }

    /// What the layers together have by this name: the topmost counts, folders are one with those
    /// below them, and a whiteout or an opaque folder hides what is below it (overlayfs.rst).
    pub(super) fn entry(&self, name: &CStr) -> io::Result<Entry<'_>> {
        let mut parts = Vec::new();
        for layer in &self.parts {
            let stat = match rustix::fs::statat(layer, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                stat => stat?,
            };
            if !is(&stat, FileType::Directory) {
                if parts.is_empty() && !is_whiteout(&stat) {
                    return Ok(Entry::Other(layer.as_fd(), stat));
                }
                break;
            }
            let part = rustix::fs::openat(layer, name, FOLDER, Mode::empty())?;
            let hides = is_opaque(&part);
            parts.push(part);
            if hides {
                break;
            }
        }
        Ok(if parts.is_empty() { Entry::Nothing } else { Entry::Folder(Folder { parts }) })
    }

    /// Every name some layer has here, hidden ones included.
    pub(super) fn names(&self) -> io::Result<BTreeSet<CString>> {
        let mut names = BTreeSet::new();
        for part in &self.parts {
            names.append(&mut names_in(part)?);
        }
        Ok(names)
    }

    /// The one whose owner, mode and time count.
    pub(super) fn top(&self) -> Option<BorrowedFd<'_>> {
        self.parts.first().map(OwnedFd::as_fd)
    }
}

/// Every name in one folder. One that was removed has none.
pub(super) fn names_in(folder: &OwnedFd) -> io::Result<BTreeSet<CString>> {
    let mut names = BTreeSet::new();
    let entries = match Dir::read_from(folder) {
        Err(Errno::NOENT) => return Ok(names),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.insert(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// Whether a running container has removed what was there a moment ago, or put something of
/// another kind in its place.
pub(super) fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::INVAL | Errno::NXIO)
}

pub(super) fn is(stat: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(stat.st_mode) == kind
}

pub(super) fn is_whiteout(stat: &Stat) -> bool {
    is(stat, FileType::CharacterDevice) && stat.st_rdev == 0
}

pub(super) fn is_opaque(folder: &OwnedFd) -> bool {
    ["user.overlay.opaque", "trusted.overlay.opaque"].iter().any(|name| {
        let mut value = [0; 1];
        matches!(rustix::fs::fgetxattr(folder, *name, &mut value[..]), Ok(1)) && value == *b"y"
    })
}

/// Copies entries, owner, mode and times of one folder, and what is below it.
fn copy_folder(from: &Folder, to: &OwnedFd) -> io::Result<()> {
    for name in from.names()? {
        match from.entry(&name)? {
            Entry::Nothing => {}
            Entry::Folder(below) => {
                rustix::fs::mkdirat(to, &*name, Mode::RWXU)?;
                copy_folder(&below, &rustix::fs::openat(to, &*name, FOLDER, Mode::empty())?)?;
            }
            Entry::Other(layer, stat) => copy_entry(layer, to.as_fd(), &name, &stat)?,
        }
    }
    let Some(top) = from.parts.first() else { return Ok(()) };
    let stat = rustix::fs::fstat(top)?;
    rustix::fs::fchown(to, owner(&stat), group(&stat))?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    rustix::fs::futimens(to, &times(&stat))?;
    Ok(())
}

fn copy_entry(from: BorrowedFd, to: BorrowedFd, name: &CStr, stat: &Stat) -> io::Result<()> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    match kind {
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut source = File::from(rustix::fs::openat(from, name, flags, Mode::empty())?);
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mut copy = File::from(rustix::fs::openat(to, name, flags, Mode::RUSR)?);
            io::copy(&mut source, &mut copy)?;
        }
        FileType::Symlink => {
            let link = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(link.as_c_str(), to, name)?;
        }
        FileType::Fifo => rustix::fs::mknodat(to, name, FileType::Fifo, mode, 0)?,
        // Sockets mean nothing without their process, and device nodes have no place in a volume.
        _ => return Ok(()),
    }
    rustix::fs::chownat(to, name, owner(stat), group(stat), AtFlags::SYMLINK_NOFOLLOW)?;
    if kind != FileType::Symlink {
        rustix::fs::chmodat(to, name, mode, AtFlags::empty())?;
    }
    rustix::fs::utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

fn owner(stat: &Stat) -> Option<Uid> {
    Some(Uid::from_raw(stat.st_uid))
}

fn group(stat: &Stat) -> Option<Gid> {
    Some(Gid::from_raw(stat.st_gid))
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanos| Timespec { tv_sec: seconds, tv_nsec: nanos };
    Timestamps {
        last_access: time(stat.st_atime as _, stat.st_atime_nsec as _),
        last_modification: time(stat.st_mtime as _, stat.st_mtime_nsec as _),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("berth-view-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn a_symbolic_link_of_the_image_never_leads_to_the_host() {
        let dir = folder("link");
        fs::create_dir(dir.join("etc")).unwrap();
        symlink("/etc/hostname", dir.join("etc/passwd")).unwrap();
        let view = ImageView::open(std::slice::from_ref(&dir)).unwrap();
        assert_eq!(view.read_text("/etc/passwd").unwrap(), None);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_copy_has_content_links_and_modes_and_not_sockets() {
        let image = folder("image");
        let volume = folder("volume");
        fs::create_dir_all(image.join("data/sub")).unwrap();
        fs::write(image.join("data/sub/file"), "text").unwrap();
        symlink("sub/file", image.join("data/link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(image.join("data/socket")).unwrap();
        let view = ImageView::open(std::slice::from_ref(&image)).unwrap();
        view.copy_tree("/data", &volume).unwrap();
        assert_eq!(fs::read_to_string(volume.join("link")).unwrap(), "text");
        assert!(!volume.join("socket").exists());
        let kinds = fs::read_dir(&volume).unwrap().count();
        assert_eq!(kinds, 2);
        assert!(!fs::metadata(volume.join("sub")).unwrap().file_type().is_socket());
        assert_eq!(
            fs::metadata(&volume).unwrap().mode(),
            fs::metadata(image.join("data")).unwrap().mode()
        );
        fs::remove_dir_all(image).unwrap();
        fs::remove_dir_all(volume).unwrap();
    }

    #[test]
    fn layers_are_one_tree_by_the_rules_of_overlayfs() {
        let (top, bottom) = (folder("top"), folder("bottom"));
        for (layer, path) in [(&bottom, "d/kept"), (&bottom, "d/gone"), (&bottom, "o/hidden")] {
            fs::create_dir_all(layer.join(path).parent().unwrap()).unwrap();
            fs::write(layer.join(path), "bottom").unwrap();
        }
        fs::create_dir_all(top.join("d")).unwrap();
        fs::create_dir_all(top.join("o")).unwrap();
        let dir = rustix::fs::open(top.join("d"), FOLDER, Mode::empty()).unwrap();
        rustix::fs::mknodat(&dir, "gone", FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        let opaque = rustix::fs::open(top.join("o"), FOLDER, Mode::empty()).unwrap();
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::fsetxattr(&opaque, "trusted.overlay.opaque", b"y", flags).unwrap();
        fs::write(top.join("o/own"), "top").unwrap();
        symlink("/d/./../d", top.join("l")).unwrap();
        symlink("round", top.join("round")).unwrap();

        let view = ImageView::open(&[top.clone(), bottom.clone()]).unwrap();
        let text = |path| view.read_text(path).unwrap();
        assert_eq!(text("/d/kept").as_deref(), Some("bottom"));
        assert_eq!(text("l/kept").as_deref(), Some("bottom"));
        assert_eq!(text("d/gone"), None);
        assert_eq!(text("o/hidden"), None);
        assert_eq!(text("o/own").as_deref(), Some("top"));
        assert_eq!(text("d/kept/no"), None);
        assert!(view.read_text("round").is_err());

        let volume = folder("merged");
        view.copy_tree("/l", &volume).unwrap();
        let copied: Vec<_> =
            fs::read_dir(&volume).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(copied, ["kept"]);
        for dir in [top, bottom, volume] {
            fs::remove_dir_all(dir).unwrap();
        }
    }
}
