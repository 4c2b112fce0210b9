//! An image's layers seen as one tree, without mounting anything where others could see it.
//!
//! Paths inside are resolved by openat2(2) with the image as root, so a symbolic link of the
//! image leads to another place of the image and never to a file of the host.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid,
};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

/// Files like `/etc/passwd` larger than this are not read.
const SMALL: u64 = 1 << 20;

/// The tree an image's layers make together.
pub(super) struct ImageView {
    root: OwnedFd,
}

impl ImageView {
    /// Opens the tree; `lowers` are the unpacked layers, the top one first.
    ///
    /// # Errors
    /// What the host answers.
    pub(super) fn open(lowers: &[PathBuf]) -> io::Result<ImageView> {
        let root = match lowers {
            [one] => rustix::fs::openat(CWD, one, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?,
            _ => overlay(lowers)?,
        };
        Ok(ImageView { root })
    }

    /// The text of a small regular file; `None` when the image has none at `path`.
    ///
    /// # Errors
    /// What the host answers, or `InvalidData` for what is no small text file.
    pub(super) fn read_text(&self, path: &str) -> io::Result<Option<String>> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let Some(fd) = self.open_at(path, flags)? else { return Ok(None) };
        let mut file = File::from(fd);
        let meta = file.metadata()?;
        if !meta.is_file() || meta.len() > SMALL {
            let why = format!("`{path}` of the image is not a small regular file");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(Some(text))
    }

    /// Copies what the image has below `target` into the folder `to`, which takes the owner and
    /// mode of `target`. Nothing happens when the image has no such folder.
    ///
    /// # Errors
    /// What the host answers; then the copy is incomplete.
    pub(super) fn copy_tree(&self, target: &str, to: &Path) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match self.open_at(target, flags) {
            Ok(Some(from)) => {
                let to = rustix::fs::open(to, flags, Mode::empty())?;
                copy_folder(&from, &to)
            }
            Ok(None) => Ok(()),
            Err(e) if e.raw_os_error() == Some(libc::ENOTDIR) => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn open_at(&self, path: &str, flags: OFlags) -> io::Result<Option<OwnedFd>> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve) {
            Ok(fd) => Ok(Some(fd)),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

/// A read-only overlay that is mounted nowhere (fsopen(2), fsmount(2)).
fn overlay(lowers: &[PathBuf]) -> io::Result<OwnedFd> {
    let fs = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for lower in lowers {
        let lower = lower.as_os_str();
        rustix::mount::fsconfig_set_string(fs.as_fd(), "lowerdir+", lower)?;
    }
    rustix::mount::fsconfig_create(fs.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Copies entries, owner, mode and times of one folder, and what is below it.
fn copy_folder(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    for entry in rustix::fs::Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy_entry(from.as_fd(), to.as_fd(), name)?;
        }
    }
    let stat = rustix::fs::fstat(from)?;
    rustix::fs::fchown(to, owner(&stat), group(&stat))?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    rustix::fs::futimens(to, &times(&stat))?;
    Ok(())
}

fn copy_entry(from: BorrowedFd, to: BorrowedFd, name: &std::ffi::CStr) -> io::Result<()> {
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    match kind {
        FileType::Directory => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::mkdirat(to, name, Mode::RWXU)?;
            let below_from = rustix::fs::openat(from, name, flags, Mode::empty())?;
            let below_to = rustix::fs::openat(to, name, flags, Mode::empty())?;
            return copy_folder(&below_from, &below_to);
        }
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
    rustix::fs::chownat(to, name, owner(&stat), group(&stat), AtFlags::SYMLINK_NOFOLLOW)?;
    if kind != FileType::Symlink {
        rustix::fs::chmodat(to, name, mode, AtFlags::empty())?;
    }
    rustix::fs::utimensat(to, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

fn owner(stat: &rustix::fs::Stat) -> Option<Uid> {
    Some(Uid::from_raw(stat.st_uid))
}

fn group(stat: &rustix::fs::Stat) -> Option<Gid> {
    Some(Gid::from_raw(stat.st_gid))
}

fn times(stat: &rustix::fs::Stat) -> Timestamps {
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
}
