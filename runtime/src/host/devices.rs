//! What the host has where a stack says that devices are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use berth_planner::resolve::HostDevice;

/// Looks at these paths; links are followed.
pub fn devices(paths: &BTreeSet<PathBuf>) -> BTreeMap<PathBuf, HostDevice> {
    paths.iter().map(|path| (path.clone(), look(path))).collect()
}

fn look(path: &Path) -> HostDevice {
    let kind = match fs::metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return HostDevice::Missing("it is not there".to_owned());
        }
        Err(error) => return HostDevice::Missing(error.to_string()),
    };
    match () {
        () if kind.is_char_device() => HostDevice::Char,
        () if kind.is_block_device() => HostDevice::Block,
        () if kind.is_dir() => HostDevice::Folder,
        () => HostDevice::Other,
    }
}
