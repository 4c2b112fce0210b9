//! Where an archive goes: a file, which is there whole or not at all, or standard output, which
//! must not be a terminal.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

const BUFFER: usize = 256 << 10;

/// Writes an archive by `write` to `output`, or to standard output.
pub(crate) fn write(
    output: Option<&Path>,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Failure>,
) -> Result<(), Failure> {
    match output.filter(|path| *path != Path::new("-")) {
        Some(path) => write_file(path, write),
        None if io::stdout().is_terminal() => {
            Err(Failure::usage("an archive is nothing for a terminal")
                .with_help("give a file with `-o FILE`, or send the output to a file or a program"))
        }
        None => {
            let mut out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
            write(&mut out)?;
            Ok(out.flush()?)
        }
    }
}

/// What is no regular file, as a FIFO or `/dev/null`, is written to as it is.
fn write_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let refused = |e: io::Error| Failure::refused(format!("write `{}`: {e}", path.display()));
    let there = fs::metadata(path).ok();
    if there.as_ref().is_some_and(fs::Metadata::is_dir) {
        return Err(Failure::usage(format!("`{}` is a folder", path.display())));
    }
    let in_place = there.is_some_and(|there| !there.is_file());
    let target = if in_place { path.to_owned() } else { beside(path) };
    let file = match in_place {
        true => File::options().write(true).open(&target),
        false => File::options().write(true).create_new(true).open(&target),
    };
    let mut out = BufWriter::with_capacity(BUFFER, file.map_err(refused)?);
    let written = write(&mut out).and_then(|()| out.flush().map_err(refused));
    if in_place {
        return written;
    }
    let done = written.and_then(|()| fs::rename(&target, path).map_err(refused));
    done.inspect_err(|_| drop(fs::remove_file(&target)))
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.new", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let dir = std::env::temp_dir().join(format!("berth-sink-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let path = dir.join("out.tar");
        let failed = write(Some(&path), |out| {
            out.write_all(b"half")?;
            Err(Failure::refused("no"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
        write(Some(&path), |out| Ok(out.write_all(b"whole")?)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        assert!(write(Some(&dir), |_| Ok(())).is_err());
        fs::remove_dir_all(&dir).unwrap();
    }
}
