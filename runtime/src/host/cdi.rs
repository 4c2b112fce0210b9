//! Reads the files in which makers of devices describe them, for
//! [`Library`](berth_planner::cdi::Library) to judge.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use berth_planner::cdi::{CdiFile, Library};

/// Where such files are; the later folder wins.
const FOLDERS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
/// Files of a folder, bytes of a file.
const MOST: usize = 256;
const LONGEST: u64 = 4 << 20;
/// Links that a path may go through, as for the kernel.
const MOST_LINKS: usize = 40;

/// The devices that files of this host describe.
pub fn cdi() -> Library {
    let folders = FOLDERS.iter().enumerate();
    let files = folders.flat_map(|(index, folder)| files(Path::new(folder), index));
    let mut library = Library::read(&files.collect::<Vec<_>>());
    let programs = library.programs().into_iter();
    let doubts = programs.filter_map(|program| doubt(&program).map(|why| (program, why)));
    library.doubt(doubts.collect());
    library
}

/// Why somebody besides root can change what is at a path, itself or something on the way there.
fn doubt(path: &Path) -> Option<String> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match first_link(&path) {
            Ok(Some(next)) => path = next,
            Ok(None) => return None,
            Err(why) => return Some(why),
        }
    }
    Some("leads in circles".to_owned())
}

/// Looks at a path down to its first link, and says where that leads.
fn first_link(path: &Path) -> Result<Option<PathBuf>, String> {
    let (mut way, mut rest) = (PathBuf::new(), path.components());
    while let Some(part) = rest.next() {
        match part {
            Component::ParentDir => drop(way.pop()),
            part => way.push(part),
        }
        let unseen = |error: io::Error| format!("cannot be looked at: {error}");
        let found = fs::symlink_metadata(&way).map_err(unseen)?;
        let is_link = found.is_symlink();
        // In a sticky folder nobody takes away what is root's.
        let is_closed = is_link || found.mode() & 0o022 == 0;
        let is_sticky = found.is_dir() && found.mode() & 0o1000 != 0;
        if found.uid() != 0 || !(is_closed || is_sticky) {
            return Err(format!("can be changed by others than root (`{}`)", way.display()));
        }
        if is_link {
            let target = fs::read_link(&way).map_err(unseen)?;
            way.pop();
            return Ok(Some(way.join(target).join(rest.as_path())));
        }
    }
    Ok(None)
}

fn files(folder: &Path, index: usize) -> Vec<CdiFile> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| is_named(path)).collect();
    paths.sort();
    paths.truncate(MOST);
    let read = |path: PathBuf| {
        let text = read(&path).map_err(|error| error.to_string());
        CdiFile { doubt: doubt(&path), path, folder: index, text }
    };
    paths.into_iter().map(read).collect()
}

fn is_named(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|extension| extension.to_str());
    !hidden && matches!(extension, Some("json" | "yaml" | "yml"))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A FIFO would keep the reader waiting.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.len() > LONGEST {
        return Err(io::Error::other("it is no file, or larger than 4 MiB"));
    }
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text)?;
    Ok(text)
}
