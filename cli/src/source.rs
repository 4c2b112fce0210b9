//! The files a stack is read from: this host's, and standard input as `-`.
//!
//! What a file names is read only if it is a file. A device or a pipe might never end, or never
//! begin; a pipe that was named on the command line was meant. Nothing is read beyond the limit.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use berth_schema::{LARGEST_FILE, LoadOptions, Source};

/// Where the open files of a process stand as paths.
const STREAMS: [&str; 4] = ["/dev/stdin", "/dev/fd", "/proc/self/fd", "/proc/thread-self/fd"];
/// The number of the device `/dev/null`: major 1, minor 3.
const NULL: u64 = 0x103;

/// Reads from the disk. Standard input is read once and kept.
#[derive(Debug)]
pub(crate) struct Disk {
    input: OnceLock<Vec<u8>>,
    /// Files of the command line.
    named: Vec<PathBuf>,
}

impl Disk {
    /// The files of this host, for one load.
    pub fn new(options: &LoadOptions) -> Disk {
        let named = options.files.iter().chain(&options.env_files);
        let named = named.map(|path| options.working_dir.join(path)).collect();
        Disk { input: OnceLock::new(), named }
    }

    /// Whether a pipe at the path was meant to be read.
    fn is_stream(&self, path: &Path) -> bool {
        is_input(path) || self.named.iter().any(|named| named == path)
    }
}

impl Source for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path == Path::new("-") {
            if let Some(input) = self.input.get() {
                return Ok(input.clone());
            }
            let input = bounded(io::stdin().lock())?;
            return Ok(self.input.get_or_init(|| input).clone());
        }
        let found = fs::metadata(path)?;
        let kind = found.file_type();
        let device = kind.is_char_device() || kind.is_block_device();
        if kind.is_char_device() && found.rdev() == NULL {
            return Ok(Vec::new());
        }
        if device || kind.is_socket() || (kind.is_fifo() && !self.is_stream(path)) {
            let what = if device { "a device" } else { "a pipe or socket" };
            return Err(io::Error::other(format!("it is {what}, not a file")));
        }
        bounded(File::open(path)?)
    }

    fn exists(&self, path: &Path) -> bool {
        path == Path::new("-") || path.exists()
    }
}

/// Whether a path names standard input or another open file of ours, which can be read once only.
pub(crate) fn is_input(path: &Path) -> bool {
    path == Path::new("-") || STREAMS.iter().any(|stream| path.starts_with(stream))
}

/// At most one byte more than a file may have, so that the reader can tell.
fn bounded(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(LARGEST_FILE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str, named: bool) -> Result<usize, String> {
        let files = named.then(|| PathBuf::from(path)).into_iter().collect();
        let disk = Disk::new(&LoadOptions { files, ..LoadOptions::default() });
        disk.read(Path::new(path)).map(|bytes| bytes.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_never_ends_is_not_read() {
        for named in [true, false] {
            assert_eq!(read("/dev/null", named), Ok(0));
            assert_eq!(read("/dev/zero", named), Err("it is a device, not a file".to_owned()));
        }
        assert_eq!(bounded(io::repeat(0)).unwrap().len(), LARGEST_FILE + 1);
    }

    #[test]
    fn a_pipe_is_read_when_the_command_line_names_it() {
        let (reader, writer) = io::pipe().unwrap();
        drop(writer);
        let path = format!("/proc/{}/fd/{}", std::process::id(), {
            use std::os::fd::AsRawFd;
            reader.as_raw_fd()
        });
        assert_eq!(read(&path, true), Ok(0));
        assert_eq!(read(&path, false), Err("it is a pipe or socket, not a file".to_owned()));
    }
}
