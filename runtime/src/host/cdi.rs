//! Reads the files in which makers of devices describe them, for
//! [`Library`](berth_planner::cdi::Library) to judge.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use berth_planner::cdi::{CdiFile, Library};

/// Where such files are; the later folder wins.
const FOLDERS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
/// Files of a folder, bytes of a file.
const MOST: usize = 256;
const LONGEST: u64 = 4 << 20;

/// The devices that files of this host describe.
pub fn cdi() -> Library {
    let folders = FOLDERS.iter().enumerate();
    let files = folders.flat_map(|(index, folder)| files(Path::new(folder), index));
    Library::read(&files.collect::<Vec<_>>())
}

fn files(folder: &Path, index: usize) -> Vec<CdiFile> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| is_named(path)).collect();
    paths.sort();
    paths.truncate(MOST);
    let read = |path: PathBuf| {
        let text = read(&path).map_err(|error| error.to_string());
        CdiFile { path, folder: index, text }
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
