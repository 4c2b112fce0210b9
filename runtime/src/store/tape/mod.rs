//! Reads a tar stream member by member.
//!
//! Its own reader, because the stream is hostile: extended headers are read by their lengths (a
//! record may hold a newline, a file capability often does), are capped, and where two readers
//! could disagree about an archive it is refused. Understood are v7 and ustar, GNU long names and
//! numbers, PAX, and sparse files of all four forms. Nothing is taken into memory by a number
//! that was read, but for names and extended headers, which together are below 1 MiB for a member.

mod fields;
mod sparse;
mod write;

use std::collections::BTreeMap;
use std::io::{self, Read};

use fields::{decimal, numeric, pax_records, pax_time, positive};
pub(crate) use sparse::Sparse;
pub(crate) use write::TapeWriter;

const BLOCK: usize = 512;
/// Names and extended headers together, per member.
const MAX_HEADERS: u64 = 1 << 20;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    Device,
    Directory,
    Fifo,
}

/// One member; its content, if it has any, is read from the [`Tape`].
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) kind: Kind,
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) uid: i64,
    pub(crate) gid: i64,
    /// Seconds and nanoseconds.
    pub(crate) mtime: (i64, u32),
    /// Bytes of content in the stream.
    pub(crate) stored: u64,
    /// Where the content belongs, when the file has holes.
    pub(crate) sparse: Option<Sparse>,
    /// Extended attributes by name.
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Member {
    /// Bytes of the file with its holes.
    pub(crate) fn size(&self) -> u64 {
        self.sparse.as_ref().map_or(self.stored, |sparse| sparse.size)
    }
}

/// Why a stream is not a tar archive berth reads.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum TapeError {
    #[error("reading the archive: {0}")]
    Io(#[from] io::Error),
    #[error("the archive ends in the middle of a member")]
    Truncated,
    #[error("the archive has a damaged header: {0}")]
    Header(&'static str),
    #[error("the archive has names or extended headers above 1 MiB")]
    HeadersTooLong,
    #[error("the archive has a member of unknown type `{}`", char::from(*.0).escape_debug())]
    Kind(u8),
}

/// A tar stream, positioned in the content of its last member.
pub(crate) struct Tape<R> {
    input: R,
    /// Content not yet read.
    left: u64,
    padding: u64,
    /// Offset in the stream.
    position: u64,
    has_end: bool,
}

/// What preceding headers say about the next member.
#[derive(Default)]
struct Ahead {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Option<BTreeMap<Vec<u8>, Vec<u8>>>,
    bytes: u64,
}

impl<R: Read> Tape<R> {
    pub(crate) fn new(input: R) -> Tape<R> {
        Tape { input, left: 0, padding: 0, position: 0, has_end: false }
    }

    /// Bytes of the stream read so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Whether the mark of the archive's end was there, when [`Tape::next`] has given `None`.
    pub(super) fn has_end(&self) -> bool {
        self.has_end
    }

    /// The next member, after skipping what is left of the last one.
    pub(crate) fn next(&mut self) -> Result<Option<Member>, TapeError> {
        self.skip(self.left + self.padding)?;
        (self.left, self.padding) = (0, 0);
        let mut ahead = Ahead::default();
        loop {
            let Some(header) = self.header()? else {
                return match (ahead.bytes, ahead.pax) {
                    (0, None) => Ok(None),
                    _ => Err(TapeError::Truncated),
                };
            };
            match header.kind() {
                b'L' => fill(&mut ahead.long_name, self.text(&header, &mut ahead.bytes)?)?,
                b'K' => fill(&mut ahead.long_link, self.text(&header, &mut ahead.bytes)?)?,
                b'x' | b'X' => {
                    let records = self.extension(&header, &mut ahead.bytes)?;
                    fill(&mut ahead.pax, pax_records(&records)?)?;
                }
                b'g' => check_global(&self.extension(&header, &mut ahead.bytes)?)?,
                _ => return self.member(&header, ahead).map(Some),
            }
        }
    }

    /// Moves to the end of the stream: what stands after the end mark.
    pub(super) fn into_input(self) -> R {
        self.input
    }

    fn member(&mut self, header: &Header, ahead: Ahead) -> Result<Member, TapeError> {
        let pax = ahead.pax.unwrap_or_default();
        let mut member = header.member()?;
        let was_folder = member.path.ends_with(b"/");
        pick(&mut member.path, ahead.long_name, pax.get(b"path".as_slice()))?;
        pick(&mut member.link, ahead.long_link, pax.get(b"linkpath".as_slice()))?;
        let number = |key: &str| pax.get(key.as_bytes()).map(|value| decimal(value)).transpose();
        member.uid = number("uid")?.unwrap_or(member.uid);
        member.gid = number("gid")?.unwrap_or(member.gid);
        if let Some(time) = pax.get(b"mtime".as_slice()) {
            member.mtime = pax_time(time)?;
        }
        // A damaged field is damage even where a record takes its place.
        let written = header.number(124..136)?;
        let stored = number("size")?.unwrap_or(written);
        let stored = u64::try_from(stored).map_err(|_| TapeError::Header("a negative size"))?;
        for (key, value) in &pax {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                member.xattrs.insert(name.to_vec(), value.clone());
            }
        }
        let slashes = [was_folder, member.path.ends_with(b"/")];
        match (member.kind, header.kind(), slashes) {
            // Of the time before folders had a type of their own.
            (Kind::File, 0, [true, true]) => member.kind = Kind::Directory,
            (Kind::File, 0, [false, true] | [true, false]) | (Kind::File, 1.., [_, true]) => {
                return Err(TapeError::Header("a file whose name ends with a slash"));
            }
            _ => {}
        }
        if member.kind == Kind::File {
            member.stored = stored;
            self.left = stored;
            self.padding = stored.wrapping_neg() % BLOCK as u64;
            stored.checked_add(BLOCK as u64).ok_or(TapeError::Header("an impossible size"))?;
            self.find_holes(header, &pax, &mut member)?;
        } else if stored != 0 {
            // Some readers skip so many bytes, others none.
            return Err(TapeError::Header("a size on a member that has no content"));
        }
        Ok(member)
    }

    fn text(&mut self, header: &Header, bytes: &mut u64) -> Result<Vec<u8>, TapeError> {
        let mut text = self.extension(header, bytes)?;
        text.truncate(text.iter().position(|&b| b == 0).unwrap_or(text.len()));
        Ok(text)
    }

    fn extension(&mut self, header: &Header, bytes: &mut u64) -> Result<Vec<u8>, TapeError> {
        // A field that no one needs here is damage all the same: some readers stop at it.
        for field in [100..108, 108..116, 116..124, 136..148] {
            header.number(field)?;
        }
        let size = positive(header.number(124..136)?)?;
        *bytes = bytes.saturating_add(size).saturating_add(1);
        if *bytes > MAX_HEADERS {
            return Err(TapeError::HeadersTooLong);
        }
        self.left = size;
        let mut content = Vec::new();
        (&mut *self).take(size).read_to_end(&mut content)?;
        self.skip(size.wrapping_neg() % BLOCK as u64)?;
        Ok(content)
    }

    fn header(&mut self) -> Result<Option<Header>, TapeError> {
        let mut bytes = [0; BLOCK];
        if !self.block(&mut bytes)? {
            return Ok(None);
        }
        if bytes == [0; BLOCK] {
            // Two of them are the end; one is too for some readers, and none for others.
            if self.block(&mut bytes)? && bytes != [0; BLOCK] {
                return Err(TapeError::Header("an empty block before it"));
            }
            self.has_end = true;
            return Ok(None);
        }
        let header = Header { bytes };
        header.check()?;
        Ok(Some(header))
    }

    /// Fills `block`; `false` at the end of the stream.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, TapeError> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(TapeError::Truncated),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.position += BLOCK as u64;
        Ok(true)
    }

    fn read_exact(&mut self, mut buf: &mut [u8]) -> Result<(), TapeError> {
        while !buf.is_empty() {
            match self.read(buf) {
                Ok(0) => return Err(TapeError::Truncated),
                Ok(n) => buf = &mut buf[n..],
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> Result<(), TapeError> {
        let skipped = io::copy(&mut (&mut self.input).take(bytes), &mut io::sink())?;
        self.position += skipped;
        if skipped < bytes { Err(TapeError::Truncated) } else { Ok(()) }
    }
}

impl<R: Read> Read for Tape<R> {
    /// The content of the last member; an early end of the stream is an error, not an end.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let want = buf.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let n = self.input.read(&mut buf[..want])?;
        if n == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the archive ends in the middle of a member",
            ));
        }
        self.left -= n as u64;
        self.position += n as u64;
        Ok(n)
    }
}

/// Global records carry comments in practice (`git archive`) and are passed over, but for those
/// that would move or rename what follows for readers that apply them.
fn check_global(records: &[u8]) -> Result<(), TapeError> {
    let moves = |key: &[u8]| {
        matches!(key, b"path" | b"linkpath" | b"size") || key.starts_with(b"GNU.sparse.")
    };
    if pax_records(records)?.keys().any(|key| moves(key)) {
        return Err(TapeError::Header("a path or size for every member"));
    }
    Ok(())
}

fn fill<T>(slot: &mut Option<T>, value: T) -> Result<(), TapeError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(TapeError::Header("two extended headers of one kind for one member")),
    }
}

/// The name from the header, a GNU long name or a PAX record; the last two must not meet.
fn pick(name: &mut Vec<u8>, long: Option<Vec<u8>>, pax: Option<&Vec<u8>>) -> Result<(), TapeError> {
    match (long, pax) {
        (Some(_), Some(_)) => Err(TapeError::Header("a GNU and a PAX name for one member")),
        (Some(long), None) => {
            *name = long;
            Ok(())
        }
        (None, Some(pax)) => {
            name.clone_from(pax);
            Ok(())
        }
        (None, None) => Ok(()),
    }
}

struct Header {
    bytes: [u8; BLOCK],
}

impl Header {
    fn kind(&self) -> u8 {
        self.bytes[156]
    }

    fn check(&self) -> Result<(), TapeError> {
        let blank = |i: usize, b: u8| if (148..156).contains(&i) { b' ' } else { b };
        let bytes = || self.bytes.iter().enumerate().map(|(i, &b)| blank(i, b));
        let unsigned: i64 = bytes().map(i64::from).sum();
        let signed: i64 = bytes().map(|b| i64::from(b.cast_signed())).sum();
        let written = self.number(148..156)?;
        if written == unsigned || written == signed {
            Ok(())
        } else {
            Err(TapeError::Header("its checksum does not match"))
        }
    }

    fn number(&self, range: std::ops::Range<usize>) -> Result<i64, TapeError> {
        numeric(&self.bytes[range])
    }

    fn text(&self, range: std::ops::Range<usize>) -> &[u8] {
        let field = &self.bytes[range];
        &field[..field.iter().position(|&b| b == 0).unwrap_or(field.len())]
    }

    fn member(&self) -> Result<Member, TapeError> {
        let mut path = self.text(0..100).to_vec();
        let prefix = self.text(345..500);
        // Of star's form, which ends so, the last bytes are times; few readers know it.
        if &self.bytes[508..512] == b"tar\0" && prefix.len() > 130 {
            return Err(TapeError::Header("a long prefix in the form of star"));
        }
        if &self.bytes[257..263] == b"ustar\0" && !prefix.is_empty() {
            path = [prefix, b"/", &path].concat();
        }
        let kind = match self.kind() {
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' | b'4' => Kind::Device,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => return Err(TapeError::Kind(other)),
        };
        Ok(Member {
            kind,
            path,
            link: self.text(157..257).to_vec(),
            mode: (self.number(100..108)? & 0o7777) as u32,
            uid: self.number(108..116)?,
            gid: self.number(116..124)?,
            mtime: (self.number(136..148)?, 0),
            stored: 0,
            sparse: None,
            xattrs: BTreeMap::new(),
        })
    }
}

#[cfg(test)]
mod tests;
