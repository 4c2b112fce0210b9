//! Turns a layer's stream into a folder that overlayfs takes as a lower layer.
//!
//! One pass: the compressed bytes are hashed and inflated on one thread, the plain bytes hashed,
//! parsed and written on another; what is between them is bounded. Nothing is trusted before the
//! caller has compared both digests.

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::digest::{Digest, Hasher, HashingReader};
use super::plain::plain;
use super::tape::{Kind, Member, Tape, TapeError};
use super::tree::{self, LayerPath, Meta, Refused, Tree};

const CHUNK: usize = 256 << 10;
const CHUNKS_BETWEEN: usize = 4;

/// How much a layer may hold. Docker has none of these limits; the defaults are far above what
/// images have, and below what fills a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Files, folders and links, those included that are only implied by a path.
    pub entries: u64,
    /// Bytes of all files, holes included, and of their attributes.
    pub bytes: u64,
    /// A compressed stream may become so many bytes, however short it is.
    pub plain: u64,
    /// Beyond that, so many for each byte it has.
    pub expansion: u64,
    /// Bytes of the paths of folders, which are kept in memory until the layer is done.
    pub folder_names: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            entries: 2_000_000,
            bytes: 32 << 30,
            plain: 4 << 30,
            expansion: 200,
            folder_names: 64 << 20,
        }
    }
}

/// Why a layer cannot be unpacked.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum UnpackError {
    #[error(transparent)]
    Tape(#[from] TapeError),
    #[error("{0}")]
    Read(io::Error),
    #[error("`{path}` is refused: {why}")]
    Member { path: String, why: &'static str },
    #[error("{step} `{path}`: {source}")]
    Host { step: &'static str, path: String, source: io::Error },
    #[error("it holds more than {0}")]
    Limit(String),
    #[error("it is compressed with {0}; gzip and zstd are read, so decompress it first")]
    Compression(&'static str),
    #[error("it ends without the mark of its end, so a part of it may be missing")]
    NoEnd,
}

/// What came out of a layer's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unpacked {
    /// Digest of the stream as it came.
    pub(super) blob: Digest,
    /// Bytes of the stream as it came.
    pub(super) blob_size: u64,
    /// Digest of the plain tar stream.
    pub(super) diff_id: Digest,
    /// Bytes of all files.
    pub(super) size: u64,
    /// Files, folders and links.
    pub(super) entries: u64,
    /// Device nodes, which are never made.
    pub(super) skipped_devices: u64,
    /// Whether the archive says where it ends. Every tool writes that; a digest makes up for it.
    pub(super) has_end: bool,
}

/// Unpacks `source` beneath `root`.
///
/// On an error `root` holds a part of the layer and is to be removed.
pub(super) fn unpack(
    source: impl Read + Send,
    root: OwnedFd,
    limits: Limits,
) -> Result<Unpacked, UnpackError> {
    let (sender, receiver) = sync_channel(CHUNKS_BETWEEN);
    std::thread::scope(|scope| {
        let inflating = scope.spawn(move || inflate(source, limits, &sender));
        let mut writer = Writer::new(root, limits);
        let written = write_all(ChunkReader::new(receiver), &mut writer);
        let inflated = inflating.join().unwrap_or_else(|_| {
            Err(UnpackError::Read(io::Error::other("the inflating thread ended")))
        });
        // A failed source also cuts what the writer sees: the source's reason is the true one.
        let ((blob, blob_size), (diff_id, has_end)) = match (inflated, written) {
            (Ok(Some(blob)), Ok(written)) => (blob, written),
            (Err(e), _) | (Ok(_), Err(e)) => return Err(e),
            (Ok(None), Ok(_)) => return Err(TapeError::Truncated.into()),
        };
        let Writer { entries, bytes: size, skipped_devices, .. } = writer;
        Ok(Unpacked { blob, blob_size, diff_id, size, entries, skipped_devices, has_end })
    })
}

/// Reads all of `source`; `None` when the receiver went away first.
fn inflate(
    source: impl Read,
    limits: Limits,
    sender: &SyncSender<Vec<u8>>,
) -> Result<Option<(Digest, u64)>, UnpackError> {
    let mut source = BufReader::with_capacity(CHUNK, HashingReader::new(source));
    let mut plain = plain(&mut source, limits)?;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        (&mut plain).take(CHUNK as u64).read_to_end(&mut chunk).map_err(UnpackError::Read)?;
        if chunk.is_empty() {
            break;
        }
        if sender.send(chunk).is_err() {
            return Ok(None);
        }
    }
    drop(plain);
    io::copy(&mut source, &mut io::sink()).map_err(UnpackError::Read)?;
    Ok(Some(source.into_inner().finish()))
}

/// The receiving end of the plain stream; hashes each chunk as it arrives.
struct ChunkReader {
    receiver: Receiver<Vec<u8>>,
    chunk: Cursor<Vec<u8>>,
    hasher: Hasher,
}

impl ChunkReader {
    fn new(receiver: Receiver<Vec<u8>>) -> ChunkReader {
        ChunkReader { receiver, chunk: Cursor::default(), hasher: Hasher::default() }
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.chunk.fill_buf()?.is_empty() {
            let Ok(chunk) = self.receiver.recv() else { return Ok(0) };
            self.hasher.update(&chunk);
            self.chunk = Cursor::new(chunk);
        }
        self.chunk.read(buf)
    }
}

/// Gives the digest of the stream and whether it has the mark of its end.
fn write_all(plain: ChunkReader, writer: &mut Writer) -> Result<(Digest, bool), UnpackError> {
    let mut tape = Tape::new(plain);
    while let Some(member) = tape.next()? {
        writer.member(&member, &mut tape)?;
    }
    writer.finish()?;
    let has_end = tape.has_end();
    let mut rest = tape.into_input();
    // What follows the end mark is padding, but it is part of the digest.
    let padding = io::copy(&mut (&mut rest).take(writer.limits.bytes), &mut io::sink())
        .map_err(UnpackError::Read)?;
    if padding == writer.limits.bytes {
        return Err(UnpackError::Limit(format!("{padding} bytes after its end")));
    }
    Ok((rest.hasher.finish(), has_end))
}

struct Writer {
    tree: Option<Tree>,
    limits: Limits,
    entries: u64,
    bytes: u64,
    attributes: u64,
    skipped_devices: u64,
    buffer: Vec<u8>,
}

impl Writer {
    fn new(root: OwnedFd, limits: Limits) -> Writer {
        Writer {
            tree: Some(Tree::new(root)),
            limits,
            entries: 0,
            bytes: 0,
            attributes: 0,
            skipped_devices: 0,
            buffer: vec![0; CHUNK],
        }
    }

    fn finish(&mut self) -> Result<(), UnpackError> {
        self.check()?;
        self.entries += self.tree.as_ref().map_or(0, Tree::implied);
        match self.tree.take() {
            Some(tree) => tree.finish().map_err(|r| host(r, b"/")),
            None => Ok(()),
        }
    }

    fn member(&mut self, member: &Member, content: &mut impl Read) -> Result<(), UnpackError> {
        self.count(member)?;
        let refuse = |why| UnpackError::Member { path: show(&member.path), why };
        let path = LayerPath::new(&member.path).map_err(refuse)?;
        if path.split().is_none() && member.kind != Kind::Directory {
            return Err(refuse("the root of a layer is a folder and nothing else"));
        }
        let Some(tree) = self.tree.as_mut() else { return Err(refuse("the layer is closed")) };
        let outcome = match deletion(&path).map_err(refuse)? {
            Deletion::Ignored => return Ok(()),
            Deletion::Opaque(folder) => tree.opaque(&folder),
            Deletion::Of(path) => tree.whiteout(&path),
            Deletion::No => {
                let meta = meta(member).map_err(refuse)?;
                match member.kind {
                    Kind::Device => {
                        self.skipped_devices += 1;
                        Ok(())
                    }
                    Kind::Directory => tree.directory(&path, &meta),
                    Kind::Symlink if member.link.is_empty() => {
                        return Err(refuse("it links nowhere"));
                    }
                    Kind::Symlink => tree.symlink(&path, &member.link, &meta),
                    Kind::HardLink => {
                        let target = LayerPath::new(&member.link)
                            .map_err(|_| refuse("it is a link to a path outside of the layer"))?;
                        tree.hard_link(&path, &target)
                    }
                    Kind::Fifo => tree.fifo(&path, &meta),
                    Kind::File => return self.file(&path, member, &meta, content),
                }
            }
        };
        outcome.map_err(|refused| host(refused, path.bytes()))
    }

    fn count(&mut self, member: &Member) -> Result<(), UnpackError> {
        let attributes: usize = member.xattrs.values().map(Vec::len).sum();
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(member.size());
        self.attributes += attributes as u64;
        self.check()
    }

    fn check(&self) -> Result<(), UnpackError> {
        let (implied, remembered) =
            self.tree.as_ref().map_or((0, 0), |tree| (tree.implied(), tree.remembered()));
        if remembered > self.limits.folder_names {
            let most = self.limits.folder_names;
            return Err(UnpackError::Limit(format!("{most} bytes of names of folders")));
        }
        if self.entries + implied > self.limits.entries {
            return Err(UnpackError::Limit(format!("{} entries", self.limits.entries)));
        }
        if self.bytes.saturating_add(self.attributes) > self.limits.bytes {
            return Err(UnpackError::Limit(format!("{} bytes", self.limits.bytes)));
        }
        Ok(())
    }

    fn file(
        &mut self,
        path: &LayerPath,
        member: &Member,
        meta: &Meta,
        content: &mut impl Read,
    ) -> Result<(), UnpackError> {
        let Some(tree) = self.tree.as_mut() else { return Ok(()) };
        let file = std::fs::File::from(tree.file(path).map_err(|r| host(r, path.bytes()))?);
        let failed =
            |step| move |source| UnpackError::Host { step, path: show(path.bytes()), source };
        let whole = [(0, member.stored)];
        let segments = member.sparse.as_ref().map_or(&whole[..], |sparse| &sparse.segments);
        for &(mut offset, mut length) in segments {
            while length > 0 {
                let want = usize::try_from(length).unwrap_or(CHUNK).min(CHUNK);
                let n = content.read(&mut self.buffer[..want]).map_err(UnpackError::Read)?;
                if n == 0 {
                    return Err(TapeError::Truncated.into());
                }
                file.write_all_at(&self.buffer[..n], offset).map_err(failed("write"))?;
                (offset, length) = (offset + n as u64, length - n as u64);
            }
        }
        if let Some(sparse) = &member.sparse {
            file.set_len(sparse.size).map_err(failed("truncate"))?;
        }
        tree::finish_file(&file.into(), meta).map_err(|r| host(r, path.bytes()))
    }
}

/// What a member's name says about the layers below.
#[derive(Debug, PartialEq, Eq)]
enum Deletion {
    /// An ordinary member.
    No,
    /// Nothing below shows through in this folder.
    Opaque(LayerPath),
    /// This path is hidden.
    Of(LayerPath),
    /// Metadata of aufs.
    Ignored,
}

fn deletion(path: &LayerPath) -> Result<Deletion, &'static str> {
    let Some((folder, name)) = path.split() else { return Ok(Deletion::No) };
    for part in folder.bytes().split(|&b| b == b'/') {
        if part.starts_with(b".wh..wh.") {
            return Ok(Deletion::Ignored);
        }
        if part.starts_with(b".wh.") {
            return Err("a deletion mark cannot be a folder");
        }
    }
    match name.strip_prefix(b".wh.") {
        None => Ok(Deletion::No),
        Some(b".wh..opq") => Ok(Deletion::Opaque(folder)),
        Some(rest) if rest.starts_with(b".wh.") => Ok(Deletion::Ignored),
        Some(b"" | b"." | b"..") => Err("a deletion mark needs the name of what is deleted"),
        Some(rest) => {
            let whole = [folder.bytes(), b"/", rest].concat();
            LayerPath::new(&whole).map(Deletion::Of)
        }
    }
}

fn meta(member: &Member) -> Result<Meta, &'static str> {
    // 2³²−1 means "leave it" to chown, which would leave the entry to root.
    let id = |id: i64| u32::try_from(id).ok().filter(|&id| id != u32::MAX);
    let kept = member.xattrs.iter().filter(|(name, value)| keeps(member.kind, name, value));
    Ok(Meta {
        mode: member.mode,
        uid: id(member.uid).ok_or("its owner is not a valid id")?,
        gid: id(member.gid).ok_or("its group is not a valid id")?,
        mtime: member.mtime,
        xattrs: kept.map(|(name, value)| (name.clone(), value.clone())).collect(),
    })
}

/// Only what cannot speak to the kernel's own layers: `user.*` without overlayfs's, and file
/// capabilities of version 2 (`vfs_cap_data`: magic 0x02 in the last byte of the first word).
fn keeps(kind: Kind, name: &[u8], value: &[u8]) -> bool {
    match kind {
        Kind::File if name == b"security.capability" => value.len() == 20 && value[3] == 2,
        Kind::File | Kind::Directory => {
            name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")
        }
        _ => false,
    }
}

fn host(refused: Refused, path: &[u8]) -> UnpackError {
    UnpackError::Host { step: refused.step, path: show(path), source: refused.errno.into() }
}

/// A path for people: bytes that are not text or move the cursor are escaped.
fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(300).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
