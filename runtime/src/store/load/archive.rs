//! The parts of an archive by their paths: in a folder, or in a tar that is indexed once.
//!
//! Nothing of the archive is written out to be read; a compressed or piped one is put aside in a
//! nameless file first, because its parts come in any order.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::super::progress::{Counted, LayerProgress};
use super::super::reference::Reference;
use super::super::tape::{Kind, Tape};
use super::super::{StoreError, plain};

const MAX_MEMBERS: usize = 100_000;
/// Names are kept in memory.
const MAX_NAME: usize = 4096;
/// Bytes of all names and links together.
const MAX_NAMES: usize = 64 << 20;
const MAX_LINKS: usize = 8;

/// An archive, open.
pub(super) struct Archive {
    path: PathBuf,
    parts: Parts,
}

enum Parts {
    Folder(OwnedFd),
    Tar { file: File, members: BTreeMap<String, Part> },
}

enum Part {
    Content { offset: u64, size: u64 },
    Link(String),
}

impl Archive {
    /// Opens a folder or a file; `aside` is where an archive that is compressed is put.
    pub(super) fn open(
        path: &Path,
        aside: &Path,
        progress: &LayerProgress,
    ) -> Result<Archive, StoreError> {
        let mut file = File::open(path).map_err(StoreError::host("open", path))?;
        if file.metadata().is_ok_and(|there| there.is_dir()) {
            return Ok(Archive { path: path.to_owned(), parts: Parts::Folder(file.into()) });
        }
        let mut magic = Vec::new();
        (&mut file).take(4).read_to_end(&mut magic).map_err(StoreError::host("read", path))?;
        if plain::is_compressed(&magic) || file.rewind().is_err() {
            let size = file.metadata().map_or(0, |there| there.len());
            let stream = Counted::whole(io::Cursor::new(magic).chain(file), size, progress);
            return Archive::spool(stream, path, aside);
        }
        Archive::index(file, path)
    }

    /// Puts a stream aside, plain, in a file that has no name and so is gone with this process.
    pub(super) fn spool(
        stream: impl Read,
        path: &Path,
        aside: &Path,
    ) -> Result<Archive, StoreError> {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        let file = rustix::fs::open(aside, flags, Mode::from_raw_mode(0o600))
            .map_err(|errno| StoreError::host("make a file in", aside)(errno.into()))?;
        let mut file = File::from(file);
        plain::copy_plain(stream, &mut file).map_err(|e| problem(path, &e.to_string()))?;
        Archive::index(file, path)
    }

    fn index(file: File, path: &Path) -> Result<Archive, StoreError> {
        let failed =
            |e: &dyn std::fmt::Display| problem(path, &format!("it is not an image archive: {e}"));
        let end = file.metadata().map_err(StoreError::host("stat", path))?.len();
        let mut members = BTreeMap::new();
        let (mut at, mut names) = (0, 0);
        for count in 0.. {
            let mut input = &file;
            input.seek(SeekFrom::Start(at)).map_err(StoreError::host("seek in", path))?;
            let mut tape = Tape::new(BufReader::with_capacity(4096, input));
            let Some(member) = tape.next().map_err(|e| failed(&e))? else { break };
            let offset = at + tape.position();
            at = offset.saturating_add(member.stored.next_multiple_of(512));
            if at > end {
                return Err(failed(&"it ends in the middle of a member"));
            }
            if count >= MAX_MEMBERS {
                return Err(failed(&"it has more than 100000 members"));
            }
            if member.path.len().max(member.link.len()) > MAX_NAME {
                return Err(failed(&"it has a name of more than 4096 bytes"));
            }
            names += member.path.len() + member.link.len();
            if names > MAX_NAMES {
                return Err(failed(&"it has more than 64 MiB of names"));
            }
            let Some(name) = inside("", &String::from_utf8_lossy(&member.path)) else { continue };
            let part = match member.kind {
                Kind::File if member.sparse.is_none() => {
                    Part::Content { offset, size: member.stored }
                }
                Kind::Symlink | Kind::HardLink => {
                    let folder = if member.kind == Kind::Symlink { parent(&name) } else { "" };
                    let Some(target) = inside(folder, &String::from_utf8_lossy(&member.link))
                    else {
                        continue;
                    };
                    Part::Link(target)
                }
                _ => continue,
            };
            members.insert(name, part);
        }
        Ok(Archive { path: path.to_owned(), parts: Parts::Tar { file, members } })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.content(name).is_ok()
    }

    /// A part's content and its size.
    pub(super) fn content(
        &self,
        name: &str,
    ) -> Result<(Box<dyn Read + Send + '_>, u64), StoreError> {
        let absent = || self.problem(&format!("it has no `{}`", name.escape_debug()));
        match &self.parts {
            Parts::Folder(folder) => {
                let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
                let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
                let file = rustix::fs::openat2(folder, name, flags, Mode::empty(), resolve);
                let file = File::from(file.map_err(|_| absent())?);
                let there = file.metadata().map_err(StoreError::host("stat", &self.path))?;
                if !there.is_file() {
                    return Err(absent());
                }
                Ok((Box::new(file), there.len()))
            }
            Parts::Tar { file, members } => {
                let mut name = inside("", name).ok_or_else(absent)?;
                for _ in 0..MAX_LINKS {
                    match members.get(&name).ok_or_else(absent)? {
                        Part::Link(target) => name.clone_from(target),
                        &Part::Content { offset, size } => {
                            return Ok((Box::new(Slice { file, offset, left: size }), size));
                        }
                    }
                }
                Err(absent())
            }
        }
    }

    /// A small part, whole.
    pub(super) fn read(&self, name: &str, max: u64) -> Result<Vec<u8>, StoreError> {
        let (content, size) = self.content(name)?;
        if size > max {
            return Err(
                self.problem(&format!("its `{}` is larger than {max} bytes", name.escape_debug()))
            );
        }
        let mut bytes = Vec::new();
        content.take(max).read_to_end(&mut bytes).map_err(StoreError::host("read", &self.path))?;
        Ok(bytes)
    }

    /// The name that an annotation gives: a whole one, or the tag of one that is the archive's.
    pub(super) fn name_of(&self, annotation: &str) -> Result<Reference, StoreError> {
        if annotation.contains(['/', ':']) {
            return Ok(Reference::parse(annotation)?);
        }
        let stem = self.path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let stem = stem.split_once('.').map_or(stem.as_str(), |(stem, _)| stem);
        Ok(Reference::parse(&format!("{stem}:{annotation}"))?)
    }

    pub(super) fn problem(&self, text: &str) -> StoreError {
        problem(&self.path, text)
    }
}

fn problem(path: &Path, text: &str) -> StoreError {
    StoreError::Archive { path: path.to_owned(), problem: text.to_owned() }
}

/// `path` seen from `folder`, without `.` and `..`; `None` when it leads out of the archive.
fn inside(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A part of a file, read at its own position.
struct Slice<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl Read for Slice<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let want = buf.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let n = self.file.read_at(&mut buf[..want], self.offset)?;
        if n == 0 && want > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        (self.offset, self.left) = (self.offset + n as u64, self.left - n as u64);
        Ok(n)
    }
}
