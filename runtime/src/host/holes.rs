//! Files with holes: where their content is, and reading no more than that.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom as From};

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use crate::store::tape::Sparse;

/// A file in more pieces is read as a whole.
const PIECES: usize = 4096;

/// Where a file of `size` bytes has content (lseek(2)); `None` when it has no holes, or too many.
///
/// # Errors
/// What the host answers.
pub(super) fn find(file: &File, size: u64) -> io::Result<Option<Sparse>> {
    let mut segments = Vec::new();
    let mut at = 0;
    while at < size {
        let begin = match seek(file, SeekFrom::Data(at)) {
            Ok(begin) => begin.min(size),
            // No more content.
            Err(Errno::NXIO) => size,
            // This file system does not know.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        if begin >= size {
            break;
        }
        let end = seek(file, SeekFrom::Hole(begin))?.min(size);
        segments.push((begin, end.saturating_sub(begin)));
        if segments.len() > PIECES || end <= begin {
            return Ok(None);
        }
        at = end;
    }
    (&*file).rewind()?;
    let whole = segments.as_slice() == [(0, size)];
    Ok((!whole && size > 0).then_some(Sparse { size, segments }))
}

/// Bytes of content in all.
pub(super) fn stored(sparse: &Sparse) -> u64 {
    sparse.segments.iter().map(|(_, length)| length).sum()
}

/// The content of a file, without its holes.
pub(super) struct Content {
    file: File,
    /// Pieces to come; `None` when the file is read as it is.
    pieces: Option<VecDeque<(u64, u64)>>,
    /// Bytes of the present piece.
    left: u64,
}

impl Content {
    pub(super) fn of(file: File, pieces: Option<Vec<(u64, u64)>>) -> Content {
        Content { file, pieces: pieces.map(VecDeque::from), left: 0 }
    }
}

impl Read for Content {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(pieces) = &mut self.pieces else { return self.file.read(buf) };
        while self.left == 0 {
            let Some((offset, length)) = pieces.pop_front() else { return Ok(0) };
            self.file.seek(From::Start(offset))?;
            self.left = length;
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let read = self.file.read(&mut buf[..most])?;
        self.left -= read as u64;
        Ok(read)
    }
}
