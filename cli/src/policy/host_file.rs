//! Reading the host's own policy, which only root may have written.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use berth_planner::policy::{HostPolicy, Level};
use berth_runtime::paths::Roots;
use rustix::fs::OFlags;

use crate::failure::Failure;

/// Most bytes of it.
const LARGEST: u64 = 1 << 20;

/// The host's policy, read.
#[derive(Debug, Clone, Default)]
pub(crate) struct HostFile {
    /// What it says.
    pub(crate) policy: HostPolicy,
    /// Where it is.
    pub(super) path: PathBuf,
}

/// Why the host's policy is not used. Nothing is done without it then.
#[derive(Debug)]
pub(crate) struct Unusable {
    /// The file.
    pub(crate) path: PathBuf,
    /// In words, as what follows the name of the file.
    pub(crate) why: String,
    /// The text, and the byte where something is wrong with it.
    pub(crate) text: Option<(String, usize)>,
    /// It is closed to whoever asks, but not to root.
    pub(crate) closed: bool,
}

impl Unusable {
    /// The next move.
    pub(crate) const HELP: &str =
        "it has to be a file that root owns and nobody else can write to, in such a folder";
}

impl From<Unusable> for Failure {
    fn from(unusable: Unusable) -> Failure {
        let Unusable { path, why, text, .. } = unusable;
        let place = text.map(|(text, byte)| {
            let before = &text.as_bytes()[..byte];
            let line = before.split(|byte| *byte == b'\n');
            let column = line.clone().next_back().map_or(0, <[u8]>::len) + 1;
            format!(":{}:{column}", line.count())
        });
        let place = place.unwrap_or_default();
        Failure::refused(format!("the host's policy `{}{place}` {why}", path.display()))
            .with_help(Unusable::HELP)
    }
}

impl HostFile {
    /// Reads the one of this host; without one everything is as it is by default.
    pub(crate) fn read(roots: &Roots) -> Result<HostFile, Unusable> {
        let path = roots.policy();
        let unusable = |why: String, e: Option<&io::Error>| {
            let closed = e.is_some_and(|e| e.kind() == io::ErrorKind::PermissionDenied);
            Unusable { path: path.clone(), why, text: None, closed }
        };
        let mut text = Vec::new();
        match open_private(&path) {
            Ok(None) => return Ok(HostFile { path, ..HostFile::default() }),
            Ok(Some(file)) => file
                .take(LARGEST)
                .read_to_end(&mut text)
                .map_err(|e| unusable(format!("cannot be read: {e}"), Some(&e)))?,
            Err(e) => return Err(unusable(format!("is not used: {e}"), Some(&e))),
        };
        let policy = HostPolicy::parse(&text).map_err(|bad| {
            let text = String::from_utf8_lossy(&text).into_owned();
            let byte = bad.at.map(|(line, column)| byte(&text, line, column));
            let of_text = byte.map(|byte| (text, byte));
            Unusable { text: of_text, ..unusable(format!("is wrong: {}", bad.why), None) }
        })?;
        Ok(HostFile { policy, path })
    }

    /// The level that counts when `asked` was asked for.
    pub(super) fn held(&self, asked: Option<Level>) -> Level {
        asked.unwrap_or_default().max(self.policy.policy)
    }
}

/// The byte at a line and column of bytes, both from 1.
fn byte(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let byte = (before + column - 1).min(text.len());
    (0..=byte).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
}

/// Opens a file that only root can have written; `None` when there is none.
fn open_private(path: &Path) -> io::Result<Option<File>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let opened = File::options().read(true).custom_flags(flags).open(path);
    let file = match opened {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let folder = path.parent().unwrap_or(Path::new("/")).metadata()?;
    for (what, found) in [("it", &found), ("its folder", &folder)] {
        if found.uid() != 0 {
            return Err(io::Error::other(format!("{what} belongs to user {}", found.uid())));
        }
        if found.mode() & 0o022 != 0 {
            let mode = found.mode() & 0o7777;
            return Err(io::Error::other(format!("{what} can be written by others ({mode:o})")));
        }
    }
    Ok(Some(file))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    fn roots(name: &str) -> (PathBuf, Roots) {
        let dir = std::env::temp_dir().join(format!("berth-policy-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        (dir.clone(), Roots::below(&dir))
    }

    #[test]
    fn the_hosts_policy_is_read_only_if_root_alone_can_have_written_it() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let (dir, roots) = roots("file");
        let path = roots.policy();
        assert_eq!(path, dir.join("policy.json"));
        assert_eq!(HostFile::read(&roots).unwrap().policy, HostPolicy::default());
        fs::write(&path, r#"{"policy":"strict"}"#).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let read = || {
            HostFile::read(&roots)
                .map(|file| file.held(None))
                .map_err(|e| Failure::from(e).to_string())
        };
        assert_eq!(read(), Ok(Level::Strict));
        for mode in [0o664, 0o646] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(read().unwrap_err().contains("written by others"), "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&path, Some(1), None).unwrap();
        assert!(read().unwrap_err().contains("belongs to user 1"));
        chown(&path, Some(0), None).unwrap();
        fs::rename(&path, dir.join("real")).unwrap();
        symlink("real", &path).unwrap();
        assert!(read().is_err());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(read().is_err());
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_flag_goes_above_the_floor_and_not_below() {
        let policy = HostPolicy { policy: Level::Guarded, ..HostPolicy::default() };
        let file = HostFile { policy, path: PathBuf::new() };
        assert_eq!(file.held(None), Level::Guarded);
        assert_eq!(file.held(Some(Level::Default)), Level::Guarded);
        assert_eq!(file.held(Some(Level::Strict)), Level::Strict);
    }
}
