//! What must hold for any bytes at all: the bodies of the fuzz targets of archives.
//!
//! `runtime/fuzz` runs them for as long as one likes; a test runs each of them for a moment over
//! the seeds. Each takes bytes and panics when a law is broken.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::remove;
use super::tape::{Member, Tape};
use super::unpack::{Limits, unpack};

/// A target: its name and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 2] = [("tape", tape), ("layer", layer)];

const BLOCK: usize = 512;

/// The reader sees the same however the bytes arrive, and keeps no more than they hold.
pub fn tape(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), mended(bytes)] {
        let whole = members(bytes.as_slice());
        assert_eq!(whole, members(bytes.as_slice()), "read twice, it is not the same");
        let dripping = Drip { bytes: &bytes, n: 0 };
        assert_eq!(whole, members(dripping), "read in pieces, it is not the same");
        let told: usize = whole.0.iter().map(|(_, kept)| kept).sum();
        assert!(told <= 4 * bytes.len(), "{told} bytes are kept of {}", bytes.len());
    }
}

/// A layer becomes the same twice, or the same error, and changes nothing beside its root.
pub fn layer(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), mended(bytes)] {
        let (first, second) = (Site::unpack(&bytes), Site::unpack(&bytes));
        assert_eq!(first, second, "unpacked twice, it is not the same");
    }
}

/// The members, each with the bytes it keeps and those of its content, and how it ended.
fn members(stream: impl Read) -> (Vec<(String, usize)>, String) {
    let mut tape = Tape::new(stream);
    let mut seen = Vec::new();
    loop {
        match tape.next() {
            Ok(Some(member)) => {
                let mut content = Vec::new();
                let read = tape.read_to_end(&mut content).map_err(|e| e.to_string());
                let kept = kept(&member) + content.len();
                seen.push((format!("{member:?} {read:?} {content:?}"), kept));
                if read.is_err() {
                    return (seen, "cut".to_owned());
                }
            }
            Ok(None) => return (seen, format!("end {} {}", tape.position(), tape.has_end())),
            Err(error) => return (seen, error.to_string()),
        }
    }
}

fn kept(member: &Member) -> usize {
    let attributes: usize =
        member.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
    let segments = member.sparse.as_ref().map_or(0, |sparse| sparse.segments.len());
    member.path.len() + member.link.len() + attributes + segments
}

/// The same with right checksums, so that what is in a header is reached and not only the sum.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let is_header = |block: &[u8]| block[257..262] == *b"ustar" || block[148..156] != [0; 8];
    for block in bytes.chunks_exact_mut(BLOCK).filter(|block| is_header(block)) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    }
    bytes
}

/// A reader that gives a few bytes at a time, now and then after an interruption.
struct Drip<'a> {
    bytes: &'a [u8],
    n: usize,
}

impl Read for Drip<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.n += 1;
        if self.n.is_multiple_of(5) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let most = buf.len().min(1 + self.n % 97);
        self.bytes.read(&mut buf[..most])
    }
}

/// A folder with a root to unpack into, and a file beside it.
struct Site(PathBuf);

impl Site {
    /// What becomes of a layer, as a text by path.
    fn unpack(bytes: &[u8]) -> (Result<u64, String>, BTreeMap<PathBuf, String>) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("berth-fuzz-{}-{n}", std::process::id());
        let site = Site(std::env::temp_dir().join(name));
        let root = site.0.join("root");
        let canary = site.0.join("canary");
        let made = fs::create_dir_all(&root).and_then(|()| fs::write(&canary, "alive"));
        made.expect("a folder to unpack into");
        let before = about(&canary);
        let limits = Limits { entries: 1000, bytes: 1 << 20, ..Limits::default() };
        let opened = File::open(&root).expect("the folder").into();
        let done = unpack(bytes, opened, limits).map(|layer| layer.entries);
        assert_eq!(about(&canary), before, "something beside the root has changed");
        assert_eq!(fs::read_dir(&site.0).map_or(0, Iterator::count), 2, "and something is new");
        let mut tree = BTreeMap::new();
        let mut paths = vec![root.clone()];
        while let Some(path) = paths.pop() {
            let children = fs::read_dir(&path).into_iter().flatten().flatten();
            for child in children.map(|child| child.path()) {
                let is_folder = child.symlink_metadata().is_ok_and(|there| there.is_dir());
                let inside = child.strip_prefix(&root).unwrap_or(&child).to_owned();
                // A folder that was not asked for has the time of this moment.
                tree.insert(inside, if is_folder { String::new() } else { about(&child).0 });
                paths.extend(is_folder.then_some(child));
            }
        }
        (done.map_err(|e| e.to_string()), tree)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = remove::remove(&self.0);
    }
}

/// Mode, owner, links and size; and the time of the last change of anything.
fn about(path: &Path) -> (String, (i64, i64)) {
    let Ok(there) = path.symlink_metadata() else { return Default::default() };
    let (mode, owner) = (there.mode(), (there.uid(), there.gid()));
    let text = format!("{mode:o} {owner:?} {} {}", there.nlink(), there.size());
    (text, (there.ctime(), there.ctime_nsec()))
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::super::test_images::Numbers;
    use super::*;

    impl Numbers {
        /// Changes an archive in one place. `other` is another seed.
        fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
            let blocks = bytes.len() / BLOCK;
            let block = BLOCK * self.below(blocks);
            match self.below(8) {
                0 => bytes.truncate(self.below(bytes.len() + 1)),
                1 => {
                    let from = BLOCK * self.below(other.len() / BLOCK);
                    let piece = &other[from..(from + BLOCK * (1 + self.below(3))).min(other.len())];
                    bytes.splice(block..block, piece.iter().copied());
                }
                2 => drop(bytes.drain(block..(block + BLOCK).min(bytes.len()))),
                3 | 4 => {
                    // A byte of the fields of a header, or of the first record after one.
                    let at = block
                        + [0, 100, 108, 124, 130, 136, 156, 157, 257, 345, 386, 482, 483, 3]
                            [self.below(14)];
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte =
                            [0, b'0', b'7', b'5', b'1', b'x', b'S', b'L', b'/', b'.', 0x80, 0xff]
                                [self.below(12)];
                    }
                }
                5 => {
                    let at = self.below(bytes.len());
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << self.below(8);
                    }
                }
                _ => {
                    let word =
                        [&b"../"[..], b"/.wh.", b".wh..wh..opq", b"\n20 ", b"size=", b"a", b"99"]
                            [self.below(7)];
                    let at = block + self.below(120);
                    if let Some(place) = bytes.get_mut(at..at + word.len()) {
                        place.copy_from_slice(word);
                    }
                }
            }
            bytes.truncate(20_000);
        }
    }

    fn a_moment((name, body): Target, usual: usize) {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/tape");
        let mut paths: Vec<_> =
            fs::read_dir(here).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let seeds: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
        let asked = std::env::var("BERTH_FUZZ_ROUNDS").ok();
        let rounds = asked.and_then(|rounds| rounds.parse().ok()).unwrap_or(usual);
        let mut numbers = Numbers(7);
        for round in 0..seeds.len() + rounds {
            let mut bytes = seeds[round % seeds.len()].clone();
            for _ in 0..if round < seeds.len() { 0 } else { 1 + numbers.below(5) } {
                let other = &seeds[numbers.below(seeds.len())];
                numbers.change(&mut bytes, other);
            }
            if catch_unwind(|| body(&bytes)).is_err() {
                let place = std::env::temp_dir().join(format!("berth-fuzz-{name}.tar"));
                fs::write(&place, &bytes).unwrap();
                panic!("`{name}` breaks a law, the reason is above: {}", place.display());
            }
        }
    }

    #[test]
    fn any_bytes_are_the_same_members_however_they_arrive() {
        a_moment(TARGETS[0], 2000);
    }

    #[test]
    fn any_layer_is_the_same_tree_or_error_twice_and_nothing_beside() {
        a_moment(TARGETS[1], 150);
    }
}
