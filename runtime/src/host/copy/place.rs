//! What a path leads to: an open folder and a name in it.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use rustix::io::Errno;

use super::CopyError;
use crate::container::open_inside;
use crate::host::view::is;
#[cfg(feature = "sabotage")]
use crate::sabotage::naive;
use crate::sabotage::{defence, place};

/// Links met on the way to one thing, as the kernel has it (path_resolution(7)).
const LINKS: u32 = 40;

/// Where paths are resolved.
#[derive(Debug)]
pub(super) enum Base {
    /// Among the host's files, as everybody does it.
    Host,
    /// As if this folder were `/`, by the kernel.
    Root(OwnedFd),
}

/// A folder and a name in it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) parent: OwnedFd,
    pub(super) name: CString,
    /// What has that name; `None` when nothing has.
    pub(super) found: Option<Stat>,
    /// The path says that it is a folder.
    pub(super) asks_folder: bool,
}

impl Base {
    fn open(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { &b"."[..] } else { path };
        let path = Path::new(OsStr::from_bytes(path));
        match self {
            Base::Host => openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty()),
            Base::Root(root) => {
                let opened = open_inside(root.as_fd(), path, flags)?;
                place!("cp.resolved");
                Ok(defence!("cp.beneath", opened, naive::joined(root.as_fd(), path, flags)?))
            }
        }
    }

    /// For messages.
    pub(super) fn side(&self) -> &'static str {
        match self {
            Base::Host => "on the host",
            Base::Root(_) => "in the container",
        }
    }

    /// What `path` leads to. A link at its end is followed where `follow` says so, and where the
    /// path asks for a folder.
    ///
    /// # Errors
    /// [`CopyError::Missing`] when the folder it would be in is not there.
    pub(super) fn place(&self, path: &[u8], follow: bool) -> Result<Place, CopyError> {
        let failed = |e: Errno, path: &[u8]| match e {
            Errno::NOENT => CopyError::Missing {
                path: String::from_utf8_lossy(path).into_owned(),
                side: self.side().to_owned(),
            },
            e => CopyError::io("look at", path, e),
        };
        let asks_folder = asks_folder(path);
        let mut path = path.to_vec();
        for _ in 0..LINKS {
            let (above, name) = split(&path);
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let parent = self.open(above, flags).map_err(|e| failed(e, above))?;
            let name = CString::new(name).map_err(|_| failed(Errno::INVAL, &path))?;
            let found = match statat(&parent, &*name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Some(stat),
                Err(Errno::NOENT) => None,
                Err(e) => return Err(failed(e, &path)),
            };
            let is_link = found.is_some_and(|stat| is(&stat, FileType::Symlink));
            if !is_link || !(follow || asks_folder) {
                return Ok(Place { parent, name, found, asks_folder });
            }
            let link = readlinkat(&parent, &*name, Vec::new()).map_err(|e| failed(e, &path))?;
            path = match link.as_bytes() {
                absolute @ [b'/', ..] => absolute.to_vec(),
                relative if above.is_empty() => relative.to_vec(),
                relative => [above, b"/", relative].concat(),
            };
        }
        Err(failed(Errno::LOOP, &path))
    }
}

impl Place {
    pub(super) fn is_folder(&self) -> bool {
        self.found.is_some_and(|stat| is(&stat, FileType::Directory))
    }
}

/// The path ends with a slash or names a folder by `.` or `..`.
pub(super) fn asks_folder(path: &[u8]) -> bool {
    let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    matches!(last, b"" | b"." | b"..")
}

/// The path of the folder that something is in, and its name there; `.` is the folder itself.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let (path, slashes) = path.split_at(end);
    let at = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    match (&path[at..], path.is_empty()) {
        (_, true) if slashes.is_empty() => (b".", b"."),
        (_, true) => (b"/", b"."),
        (b"." | b"..", false) => (path, b"."),
        (name, false) => (&path[..at], name),
    }
}

/// The last name of a path; nothing for one that has none.
pub(super) fn last_name(path: &[u8]) -> Vec<u8> {
    let mut names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
    match names.next_back() {
        None | Some(b"." | b"..") => Vec::new(),
        Some(name) => name.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_folder_and_a_name() {
        let split = |path: &'static str| {
            let (above, name) = split(path.as_bytes());
            format!("{}|{}", String::from_utf8_lossy(above), String::from_utf8_lossy(name))
        };
        let paths = ["/a/b", "/a/b/", "a", "/a", "/", "//", "", ".", "/a/.", "/a/..", "../b"];
        assert_eq!(
            paths.map(split).join(" "),
            "/a/|b /a/|b |a /|a /|. /|. .|. .|. /a/.|. /a/..|. ../|b"
        );
        assert_eq!([&b"/"[..], b"/a/", b"a/.", b""].map(asks_folder), [true; 4]);
        assert!(!asks_folder(b"/a"));
        assert_eq!(last_name(b"/a/b/"), b"b");
        assert_eq!(last_name(b"/"), b"");
    }

    #[test]
    fn a_link_leads_no_further_than_the_root() {
        let dir = crate::logs::testing::Folder::new();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        std::fs::create_dir_all(root.join("in")).unwrap();
        std::fs::write(&outside, "secret").unwrap();
        for (link, to) in [
            ("abs", outside.to_str().unwrap()),
            ("up", "../../outside"),
            ("round", "round"),
            ("in/ok", "/in"),
        ] {
            std::os::unix::fs::symlink(to, root.join(link)).unwrap();
        }
        let base = Base::Root(std::fs::File::open(&root).unwrap().into());
        for path in ["abs", "/up", "/in/../../../outside"] {
            let found = base.place(path.as_bytes(), true);
            assert!(!matches!(found, Ok(Place { found: Some(_), .. })), "{path}");
        }
        assert!(matches!(base.place(b"round", true), Err(CopyError::Refused { .. })));
        assert!(base.place(b"/in/ok", true).unwrap().is_folder());
        assert!(!base.place(b"/in/ok", false).unwrap().is_folder());
        assert!(base.place(b"/in/ok/", false).unwrap().is_folder());
    }
}
