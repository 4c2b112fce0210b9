//! Writes a tar stream member by member: the mirror of the reader.
//!
//! The same members give the same bytes. What the ustar header cannot hold (long names, large
//! numbers, fractions of seconds, extended attributes) stands in a PAX header before it.

use std::io::{self, Read, Write};

use super::{BLOCK, Kind, Member, Sparse};

const CHUNK: usize = 256 << 10;

/// A tar stream in the making.
pub(crate) struct TapeWriter<W> {
    out: W,
    buffer: Vec<u8>,
}

impl<W: Write> TapeWriter<W> {
    pub(crate) fn new(out: W) -> TapeWriter<W> {
        TapeWriter { out, buffer: vec![0; CHUNK] }
    }

    /// Adds a member; `content` gives the `stored` bytes of a file, which are those around its
    /// holes if it is `sparse` (PAX 1.0: the map stands before them).
    ///
    /// # Errors
    /// What the output answers, or `UnexpectedEof` when there is less content than promised.
    pub(crate) fn add(&mut self, member: &Member, content: impl Read) -> io::Result<()> {
        let name = shown_name(member);
        let extension = extension(member, &name);
        if !extension.is_empty() {
            let header = header(b'x', b"PaxHeaders.0", b"", 0o644, [0, 0], 0, extension.len());
            self.out.write_all(&header)?;
            self.out.write_all(&extension)?;
            self.pad(extension.len() as u64)?;
        }
        let map = member.sparse.as_ref().map(map).unwrap_or_default();
        let content = map.as_slice().chain(content);
        let size = if member.kind == Kind::File { member.stored + map.len() as u64 } else { 0 };
        let ids = [member.uid, member.gid].map(|id| fitting(id, 7));
        let (mtime, stored) = (fitting(member.mtime.0, 11), fitting_size(size));
        let kind = letter(member.kind);
        self.out.write_all(&header(kind, &name, &member.link, member.mode, ids, mtime, stored))?;
        self.copy(content, size)?;
        self.pad(size)
    }

    /// Writes the end mark and gives the output back.
    ///
    /// # Errors
    /// What the output answers.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn copy(&mut self, mut content: impl Read, mut left: u64) -> io::Result<()> {
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            match content.read(&mut self.buffer[..want]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    self.out.write_all(&self.buffer[..n])?;
                    left -= n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let padding = usize::try_from(size.wrapping_neg() % BLOCK as u64).unwrap_or(0);
        self.out.write_all(&[0; BLOCK][..padding])
    }
}

/// The path; that of a folder ends with a slash.
fn shown_name(member: &Member) -> Vec<u8> {
    let mut name = member.path.clone();
    if member.kind == Kind::Directory && !name.ends_with(b"/") {
        name.push(b'/');
    }
    name
}

/// The records of the PAX header; none when the ustar header holds everything.
fn extension(member: &Member, name: &[u8]) -> Vec<u8> {
    let mut records = Vec::new();
    if name.len() > 100 {
        record(&mut records, b"path", name);
    }
    if member.link.len() > 100 {
        record(&mut records, b"linkpath", &member.link);
    }
    if let Some(sparse) = &member.sparse {
        record(&mut records, b"GNU.sparse.major", b"1");
        record(&mut records, b"GNU.sparse.minor", b"0");
        record(&mut records, b"GNU.sparse.name", name);
        record(&mut records, b"GNU.sparse.realsize", sparse.size.to_string().as_bytes());
    }
    for (key, id) in [("uid", member.uid), ("gid", member.gid)] {
        if !fits(id, 7) {
            record(&mut records, key.as_bytes(), id.to_string().as_bytes());
        }
    }
    let stored =
        member.stored + member.sparse.as_ref().map_or(0, |sparse| map(sparse).len() as u64);
    if member.kind == Kind::File && i64::try_from(stored).is_ok_and(|size| !fits(size, 11)) {
        record(&mut records, b"size", stored.to_string().as_bytes());
    }
    if member.mtime.1 != 0 || !fits(member.mtime.0, 11) {
        record(&mut records, b"mtime", time(member.mtime).as_bytes());
    }
    for (name, value) in &member.xattrs {
        record(&mut records, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }
    records
}

/// Where the content of a sparse file belongs: decimal lines, filled up to a block.
fn map(sparse: &Sparse) -> Vec<u8> {
    let mut text = format!("{}\n", sparse.segments.len());
    for (offset, length) in &sparse.segments {
        text.push_str(&format!("{offset}\n{length}\n"));
    }
    let mut map = text.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}

/// `-0.25` is a quarter of a second before the epoch, which is kept as −1 and 750 000 000.
fn time((seconds, nanos): (i64, u32)) -> String {
    let fraction = |nanos: u32| format!("{nanos:09}").trim_end_matches('0').to_owned();
    match (seconds, nanos) {
        (seconds, 0) => seconds.to_string(),
        (0.., nanos) => format!("{seconds}.{}", fraction(nanos)),
        (..0, nanos) => format!("-{}.{}", -(seconds + 1), fraction(1_000_000_000 - nanos)),
    }
}

/// `LENGTH KEY=VALUE\n`; the length counts itself.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let body = key.len() + value.len() + 3;
    let mut length = body + 1;
    while length != body + length.to_string().len() {
        length = body + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// Whether a number fits into so many octal digits.
fn fits(value: i64, digits: u32) -> bool {
    value >= 0 && value < 1 << (3 * digits)
}

/// The number, or 0 where the PAX header has it.
fn fitting(value: i64, digits: u32) -> u64 {
    if fits(value, digits) { value.unsigned_abs() } else { 0 }
}

fn fitting_size(size: u64) -> usize {
    let size = i64::try_from(size).map_or(0, |size| fitting(size, 11));
    usize::try_from(size).unwrap_or(0)
}

fn letter(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::Device => b'3',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    }
}

fn header(
    kind: u8,
    name: &[u8],
    link: &[u8],
    mode: u32,
    [uid, gid]: [u64; 2],
    mtime: u64,
    size: usize,
) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut text = |at: usize, text: &[u8], most: usize| {
        let length = text.len().min(most);
        block[at..at + length].copy_from_slice(&text[..length]);
    };
    text(0, name, 100);
    text(100, format!("{mode:07o}").as_bytes(), 7);
    text(108, format!("{uid:07o}").as_bytes(), 7);
    text(116, format!("{gid:07o}").as_bytes(), 7);
    text(124, format!("{size:011o}").as_bytes(), 11);
    text(136, format!("{mtime:011o}").as_bytes(), 11);
    text(148, b"        ", 8);
    text(156, &[kind], 1);
    text(157, link, 100);
    text(257, b"ustar\x0000", 8);
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Tape;
    use super::*;

    fn member(kind: Kind, path: &str) -> Member {
        Member {
            kind,
            path: path.as_bytes().to_vec(),
            link: Vec::new(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: (1_000_000_000, 0),
            stored: 0,
            sparse: None,
            xattrs: BTreeMap::new(),
        }
    }

    /// What the reader makes of what the writer wrote.
    fn again(members: &[(Member, &[u8])]) -> Vec<(Member, Vec<u8>)> {
        let mut writer = TapeWriter::new(Vec::new());
        for (member, content) in members {
            writer.add(member, *content).unwrap();
        }
        let bytes = writer.finish().unwrap();
        let mut tape = Tape::new(bytes.as_slice());
        let mut read = Vec::new();
        while let Some(member) = tape.next().unwrap() {
            let mut content = Vec::new();
            tape.read_to_end(&mut content).unwrap();
            read.push((member, content));
        }
        read
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let long = "a/".repeat(90);
        let xattrs = BTreeMap::from([
            (b"user.two\nlines".to_vec(), b"a\nb=c\0d".to_vec()),
            (b"user.empty".to_vec(), Vec::new()),
            (b"user.long".to_vec(), vec![b'x'; 994]),
        ]);
        let holes = Sparse { size: 1 << 40, segments: vec![(4096, 3), (1 << 39, 4)] };
        let members: Vec<(Member, &[u8])> = vec![
            (member(Kind::Directory, "etc/"), b""),
            (Member { stored: 5, mode: 0o4755, ..member(Kind::File, "etc/a") }, b"hello"),
            (Member { stored: 512, xattrs, ..member(Kind::File, "etc/b") }, &[7; 512]),
            (Member { link: b"etc/a".to_vec(), ..member(Kind::HardLink, "hard") }, b""),
            (Member { link: long.clone().into(), ..member(Kind::Symlink, &(long + "f")) }, b""),
            (member(Kind::Fifo, "fifo"), b""),
            (Member { uid: 4_000_000_000, gid: 2_097_152, ..member(Kind::File, "big ids") }, b""),
            (Member { mtime: (-1, 750_000_000), ..member(Kind::File, "before") }, b""),
            (Member { mtime: (-70, 0), ..member(Kind::File, "long before") }, b""),
            (Member { mtime: (1 << 40, 1), ..member(Kind::File, "late") }, b""),
            (member(Kind::File, &"n".repeat(100)), b""),
            (member(Kind::File, &"n".repeat(101)), b""),
            (Member { stored: 7, sparse: Some(holes), ..member(Kind::File, "holes") }, b"onetwo!"),
        ];
        let read = again(&members);
        assert_eq!(read.len(), members.len());
        for ((member, content), (wanted, bytes)) in read.iter().zip(&members) {
            assert_eq!(format!("{member:?}"), format!("{wanted:?}"));
            assert_eq!(content, bytes);
        }
    }

    #[test]
    fn a_record_counts_its_own_digits() {
        for length in 80..120 {
            let value = "v".repeat(length);
            let mut records = Vec::new();
            record(&mut records, b"path", value.as_bytes());
            let whole = String::from_utf8(records).unwrap();
            let (count, _) = whole.split_once(' ').unwrap();
            assert_eq!(count.parse(), Ok(whole.len()));
        }
    }

    #[test]
    fn less_content_than_promised_is_an_error() {
        let promised = Member { stored: 9, ..member(Kind::File, "f") };
        let error = TapeWriter::new(Vec::new()).add(&promised, b"short".as_slice()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
