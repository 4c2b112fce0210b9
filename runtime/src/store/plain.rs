//! A stream without its compression: gzip of many members, zstd of many frames, or none.
//!
//! Its first bytes tell the form, as they do for Docker, whatever its media type says; a wrong
//! form cannot go unseen, because the digest of the plain bytes is promised too. A decoder takes
//! memory for one window, and a stream that becomes far more than it can account for is an error.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::rc::Rc;

use super::unpack::{Limits, UnpackError};

const CHUNK: usize = 256 << 10;
/// A zstd frame may ask for a window of so many bytes (as a power of two), no more.
const ZSTD_WINDOW_LOG: u32 = 27;

/// The stream without its compression, which its first bytes tell.
pub(super) fn plain<'a>(
    mut source: impl BufRead + 'a,
    limits: Limits,
) -> Result<Box<dyn Read + 'a>, UnpackError> {
    let mut magic = Vec::with_capacity(6);
    (&mut source).take(6).read_to_end(&mut magic).map_err(UnpackError::Read)?;
    let form = compression(&magic);
    let consumed = Rc::new(Cell::new(0));
    let stream = Cursor::new(magic).chain(source);
    let counted = Counted { stream, consumed: Rc::clone(&consumed) };
    let plain: Box<dyn Read + 'a> = match form {
        Compression::None => return Ok(Box::new(counted)),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(counted)),
        Compression::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(counted).map_err(UnpackError::Read)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(UnpackError::Read)?;
            Box::new(decoder)
        }
        Compression::Other(name) => return Err(UnpackError::Compression(name)),
    };
    Ok(Box::new(Expanding { plain, produced: 0, consumed, limits }))
}

/// A compressed stream that is counted as the decoder takes it.
struct Counted<R> {
    stream: R,
    consumed: Rc<Cell<u64>>,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.stream.read(buf)?;
        self.consumed.set(self.consumed.get() + n as u64);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.stream.fill_buf()
    }

    fn consume(&mut self, n: usize) {
        self.consumed.set(self.consumed.get() + n as u64);
        self.stream.consume(n);
    }
}

/// A decompressed stream that must not become more than its source can account for.
struct Expanding<'a> {
    plain: Box<dyn Read + 'a>,
    produced: u64,
    consumed: Rc<Cell<u64>>,
    limits: Limits,
}

impl Read for Expanding<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.plain.read(buf)?;
        self.produced += n as u64;
        let Limits { plain, expansion, .. } = self.limits;
        if self.produced > plain.saturating_add(self.consumed.get().saturating_mul(expansion)) {
            return Err(io::Error::other(format!(
                "it holds more than {plain} bytes and {expansion} times as many as it has compressed"
            )));
        }
        Ok(n)
    }
}

enum Compression {
    None,
    Gzip,
    Zstd,
    Other(&'static str),
}

fn compression(magic: &[u8]) -> Compression {
    match magic {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        // A frame, or one to be skipped before it (RFC 8878).
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        [0xfd, b'7', b'z', b'X', ..] => Compression::Other("xz"),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Compression::Other("bzip2"),
        _ => Compression::None,
    }
}

/// Whether a stream that begins so (with at least 4 bytes) is compressed.
pub(super) fn is_compressed(magic: &[u8]) -> bool {
    !matches!(compression(magic), Compression::None)
}

/// Copies a stream without its compression.
pub(super) fn copy_plain(source: impl Read, to: &mut impl io::Write) -> Result<(), UnpackError> {
    let source = BufReader::with_capacity(CHUNK, source);
    let mut plain = plain(source, Limits::default())?;
    io::copy(&mut plain, to).map(drop).map_err(UnpackError::Read)
}
