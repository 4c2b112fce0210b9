//! The files a stack is read from: this host's, and standard input as `-`.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::OnceLock;

use berth_schema::Source;

/// Reads from the disk. Standard input is read once and kept.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    input: OnceLock<Vec<u8>>,
}

impl Source for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path != Path::new("-") {
            return fs::read(path);
        }
        if let Some(input) = self.input.get() {
            return Ok(input.clone());
        }
        let mut input = Vec::new();
        io::stdin().lock().read_to_end(&mut input)?;
        Ok(self.input.get_or_init(|| input).clone())
    }

    fn exists(&self, path: &Path) -> bool {
        path == Path::new("-") || path.exists()
    }
}
