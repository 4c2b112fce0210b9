//! I13. Another reader sees the same members in an archive as we do, or we refuse it.
//!
//! Archives are made at random from a fixed start: members of every kind, extended headers that
//! agree and disagree, damaged ones. Python's reader says what it sees.
//! `BERTH_FUZZ_ROUNDS` makes it more archives.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use super::super::digest::Digest;
use super::super::tape::{Kind, Tape};
use super::super::test_images::Numbers;
use super::*;

/// Reads file names from its input; prints the members of each on one line.
const PYTHON: &str = r#"
import sys, tarfile, hashlib
for path in sys.stdin.read().split():
    said = []
    try:
        with tarfile.open(path, "r:", errorlevel=2) as archive:
            for m in archive:
                kind = "f" if m.isreg() else "d" if m.isdir() else "l" if m.issym() else "h" if m.islnk() else "p" if m.isfifo() else "c"
                data = archive.extractfile(m).read() if m.isreg() else b""
                name = m.name.rstrip("/").encode("utf-8", "surrogateescape").hex()
                said.append(f"{kind} {name} {hashlib.sha256(data).hexdigest()[:8]}")
        print("; ".join(said))
    except (tarfile.TarError, EOFError, ValueError, OverflowError, OSError):
        print("refused")
"#;

impl Numbers {
    fn of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }

    fn archive(&mut self) -> Vec<u8> {
        let mut archive = Archive::default();
        for _ in 0..1 + self.below(5) {
            archive = self.extension(archive);
            let name = self.of(&["a", "b/c", "d/", "e", "./f"]);
            let kind = *self.of(&[&b'0', &b'0', &b'0', &b'1', &b'2', &b'5', &b'6', &0, &b'7']);
            let length = [0, 0, 1, 511, 512, 513, 1024][self.below(7)];
            let content = match (kind, self.below(8)) {
                (b'1' | b'2' | b'5' | b'6', 1..) => Vec::new(),
                // What looks like members to a reader that skips too little.
                (_, 0) => Archive::default().file("hidden", "x").file("also", "y").open_end(),
                _ => vec![b'x'; length],
            };
            archive = archive.member(name, kind, "a", 0o644, &content);
            if self.below(12) == 0 {
                archive = archive.raw(&vec![0; 512 * self.below(2)]);
            }
        }
        let mut bytes = archive.end();
        if self.below(4) == 0 {
            // Damage in a header, its sum made right again.
            let at = 512 * self.below(bytes.len() / 512);
            let field = [0, 100, 124, 125, 130, 135, 156, 257, 262][self.below(9)];
            bytes[at + field] = *self.of(&[&0_u8, &b'1', &b'7', &b'8', &b' ', &0x80, &0xff, &b'-']);
            let header = &mut bytes[at..at + 512];
            if header.iter().any(|&b| b != 0) {
                header[148..156].fill(b' ');
                let sum: u32 = header.iter().map(|&b| u32::from(b)).sum();
                header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            }
        }
        if self.below(20) == 0 {
            bytes.truncate(1 + self.below(bytes.len() - 1));
        }
        bytes
    }

    fn extension(&mut self, archive: Archive) -> Archive {
        match self.below(12) {
            0 => archive
                .pax(&[("size", self.of(&[&b"0"[..], b"1", b"512", b"513", b"1024", b"07"]))]),
            1 => archive.pax(&[("path", self.of(&[&b"p"[..], b"q/r", b"two\nlines"]))]),
            2 => archive.member(
                "L",
                b'L',
                "",
                0,
                self.of(&[&b"long\0"[..], b"long", b"l/m\0rest", b""]),
            ),
            3 => archive.member(
                "g",
                b'g',
                "",
                0,
                self.of(&[&b"11 size=99\n"[..], b"13 comment=x\n"]),
            ),
            4 => archive.member(
                "x",
                b'x',
                "",
                0,
                self.of(&[&b"12 path=abc\n"[..], b"11 path=a\n", b"x"]),
            ),
            5 => archive.pax(&[("mtime", b"1.5"), ("size", b"512"), ("size", b"0")]),
            6 => archive.pax(&[("SCHILY.xattr.user.a", b"\n11 path=zz\n")]),
            _ => archive,
        }
    }
}

/// What we see, in the words of the program above; `None` when we refuse.
fn ours(archive: &[u8]) -> Option<String> {
    let mut tape = Tape::new(archive);
    let mut said = Vec::new();
    while let Some(member) = tape.next().ok()? {
        let mut content = Vec::new();
        tape.read_to_end(&mut content).ok()?;
        let kind = match member.kind {
            Kind::File => 'f',
            Kind::Directory => 'd',
            Kind::Symlink => 'l',
            Kind::HardLink => 'h',
            Kind::Fifo => 'p',
            Kind::Device => 'c',
        };
        let slashes = member.path.iter().rev().take_while(|&&b| b == b'/').count();
        let name = &member.path[..member.path.len() - slashes];
        let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        said.push(format!("{kind} {name} {}", &Digest::of(&content).hex()[..8]));
    }
    Some(said.join("; "))
}

fn rounds() -> usize {
    let asked = std::env::var("BERTH_FUZZ_ROUNDS").ok();
    asked.and_then(|rounds| rounds.parse().ok()).unwrap_or(400)
}

#[test]
fn python_sees_the_members_that_we_see() {
    let scratch = Scratch::new("readers");
    let mut numbers = Numbers(11);
    let archives: Vec<Vec<u8>> = (0..rounds()).map(|_| numbers.archive()).collect();
    let mut paths = String::new();
    for (n, archive) in archives.iter().enumerate() {
        let path = scratch.path().join(format!("{n}.tar"));
        fs::write(&path, archive).unwrap();
        paths.push_str(&format!("{}\n", path.display()));
    }
    let mut python = Command::new("python3");
    python.args(["-c", PYTHON]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut python) = python.spawn() else {
        return eprintln!("skipped: no python3 here");
    };
    let mut input = python.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(paths.as_bytes()).unwrap());
        let mut said = String::new();
        python.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(python.wait().unwrap().success());
        let said: Vec<&str> = said.lines().collect();
        assert_eq!(said.len(), archives.len());
        let (mut agreed, mut refused) = (0, 0);
        for (n, (theirs, archive)) in said.iter().zip(&archives).enumerate() {
            match ours(archive) {
                None => refused += 1,
                Some(ours) => {
                    if ours != **theirs {
                        let kept = std::env::temp_dir().join("berth-readers.tar");
                        fs::write(&kept, archive).unwrap();
                        panic!("archive {n}, {}: {ours} for us, {theirs}", kept.display());
                    }
                    agreed += 1;
                }
            }
        }
        eprintln!("{agreed} read alike, {refused} refused by us");
        assert!(agreed > archives.len() / 4, "only {agreed} of {} were read", archives.len());
    });
}
