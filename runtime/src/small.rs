//! Small files, read with few calls.

use std::io;
use std::os::fd::AsFd;

use rustix::buffer::spare_capacity;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, read};
use rustix::path::Arg;

/// Room for most records, and for a page of the kernel's own files.
const ROOM: usize = 8 * 1024;

/// The whole of a file. Nobody asks for its size before: it is small, or the kernel makes it as it is
/// read and knows none.
///
/// # Errors
/// What the host answers.
pub(crate) fn bytes(folder: impl AsFd, path: impl Arg) -> io::Result<Vec<u8>> {
    whole(folder, path, false)
}

/// As [`bytes`], of a file on a disk or one that the kernel makes in one piece: what gives less than
/// there is room for was its end, and nobody asks once more.
///
/// # Errors
/// What the host answers.
pub(crate) fn piece(folder: impl AsFd, path: impl Arg) -> io::Result<Vec<u8>> {
    whole(folder, path, true)
}

fn whole(folder: impl AsFd, path: impl Arg, in_one_piece: bool) -> io::Result<Vec<u8>> {
    let file = openat(folder, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::with_capacity(ROOM);
    loop {
        if bytes.spare_capacity_mut().is_empty() {
            bytes.reserve(bytes.len());
        }
        match read(&file, spare_capacity(&mut bytes)) {
            Ok(0) => return Ok(bytes),
            Ok(_) if in_one_piece && bytes.len() < bytes.capacity() => return Ok(bytes),
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// As [`bytes`], for text.
///
/// # Errors
/// What the host answers; `InvalidData` when it is not text.
pub(crate) fn text(folder: impl AsFd, path: impl Arg) -> io::Result<String> {
    String::from_utf8(bytes(folder, path)?)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

#[cfg(test)]
mod tests {
    use rustix::fs::CWD;

    use super::*;

    #[test]
    fn a_file_of_any_size_is_read_whole() {
        let path = std::env::temp_dir().join(format!("berth-small-{}", std::process::id()));
        for size in [0, 1, ROOM - 1, ROOM, ROOM + 1, 5 * ROOM] {
            let written: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            std::fs::write(&path, &written).unwrap();
            assert!(bytes(CWD, &path).unwrap() == written, "{size} bytes");
            assert!(piece(CWD, &path).unwrap() == written, "{size} bytes");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(bytes(CWD, &path).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_the_kernel_makes_is_read_whole() {
        let by_the_library = std::fs::read_to_string("/proc/self/status").unwrap();
        let name = |text: &str| text.lines().next().map(str::to_owned);
        assert_eq!(name(&text(CWD, "/proc/self/status").unwrap()), name(&by_the_library));
    }
}
