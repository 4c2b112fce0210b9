//! The texts a stack is read from, and where in them a value stands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::stack::Place;

/// Bytes of text between two remembered character counts.
const BLOCK: usize = 1024;

/// A piece of one file: number of the file and byte range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span {
    /// Number of the file in [`Files`].
    pub file: u32,
    /// First byte.
    pub start: u32,
    /// Byte after the last.
    pub end: u32,
}

impl Span {
    /// From the start of this one to the end of `other` in the same file.
    pub fn to(self, other: Span) -> Span {
        Span { end: other.end.max(self.end), ..self }
    }
}

/// One text with what is needed to turn bytes into lines and columns.
#[derive(Debug)]
pub struct File {
    /// Name as given or as found.
    pub name: PathBuf,
    /// Its text, a BOM taken away.
    pub text: Arc<str>,
    lines: Vec<u32>,
    /// Characters before each block of [`BLOCK`] bytes; empty when the text is ASCII.
    characters: Vec<u32>,
}

impl File {
    fn new(name: PathBuf, text: Arc<str>) -> File {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(newlines.map(|(at, _)| at as u32 + 1)).collect();
        let characters = if text.is_ascii() { Vec::new() } else { count_blocks(text.as_bytes()) };
        File { name, text, lines, characters }
    }

    /// Line and column, both from 1, the column in characters.
    pub fn position(&self, offset: u32) -> (u32, u32) {
        let offset = offset.min(self.text.len() as u32);
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = self.lines[line - 1];
        (line as u32, self.characters_before(offset) - self.characters_before(start) + 1)
    }

    fn characters_before(&self, offset: u32) -> u32 {
        if self.characters.is_empty() {
            return offset;
        }
        let block = offset as usize / BLOCK;
        let rest = &self.text.as_bytes()[block * BLOCK..offset as usize];
        self.characters[block] + count(rest)
    }
}

fn count(bytes: &[u8]) -> u32 {
    bytes.iter().filter(|byte| (**byte as i8) >= -0x40).count() as u32
}

fn count_blocks(bytes: &[u8]) -> Vec<u32> {
    let mut sum = 0;
    let mut blocks = vec![0];
    for block in bytes.chunks(BLOCK) {
        sum += count(block);
        blocks.push(sum);
    }
    blocks
}

/// All texts of one load.
#[derive(Debug, Clone, Default)]
pub struct Files {
    files: Vec<Arc<File>>,
    numbers: BTreeMap<PathBuf, u32>,
}

impl Files {
    /// Adds a text and gives its number.
    pub fn add(&mut self, name: PathBuf, text: impl Into<Arc<str>>) -> u32 {
        let number = self.files.len() as u32;
        self.numbers.insert(name.clone(), number);
        self.files.push(Arc::new(File::new(name, text.into())));
        number
    }

    /// The number of the last text that was added under a name.
    pub fn find(&self, name: &Path) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// The file a span points into.
    pub fn get(&self, number: u32) -> Option<&Arc<File>> {
        self.files.get(number as usize)
    }

    /// The text under a span.
    pub fn slice(&self, span: Span) -> &str {
        let text = self.get(span.file).map_or("", |file| &file.text);
        text.get(span.start as usize..span.end as usize).unwrap_or("")
    }

    /// File, line and column of the start of a span.
    pub fn place(&self, span: Span) -> Option<Place> {
        let file = self.get(span.file)?;
        let (line, column) = file.position(span.start);
        Some(Place { file: file.name.clone(), line, column })
    }
}

/// What can be read of bytes that are no text.
pub(crate) struct Undecoded {
    /// The text up to there, and a mark for what cannot be read.
    pub text: String,
    /// Byte of the mark.
    pub at: usize,
    /// What is wrong.
    pub why: &'static str,
}

impl Undecoded {
    fn after(text: &str, why: &'static str) -> Undecoded {
        Undecoded { text: format!("{text}\u{fffd}"), at: text.len(), why }
    }
}

/// Text of bytes: UTF-8 or UTF-16, with or without a BOM.
pub(crate) fn decode(bytes: &[u8]) -> Result<String, Undecoded> {
    let utf16 = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let pairs = rest.chunks_exact(2);
        let whole = pairs.remainder().is_empty();
        let mut text = String::new();
        for c in char::decode_utf16(pairs.map(|pair| unit([pair[0], pair[1]]))) {
            text.push(c.map_err(|_| Undecoded::after(&text, "is not UTF-16 throughout"))?);
        }
        if whole { Ok(text) } else { Err(Undecoded::after(&text, "is not UTF-16 throughout")) }
    };
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes)?,
        [0xef, 0xbb, 0xbf, rest @ ..] | rest => match std::str::from_utf8(rest) {
            Ok(text) => text.to_owned(),
            Err(error) => {
                let good = String::from_utf8_lossy(&rest[..error.valid_up_to()]);
                return Err(Undecoded::after(&good, "is not UTF-8 throughout"));
            }
        },
    };
    match text.find('\0') {
        Some(at) => Err(Undecoded::after(&text[..at], "has a zero byte in it")),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_not_bytes() {
        let file = File::new("a".into(), "é: ü\nbß: 1".into());
        assert_eq!(file.position(0), (1, 1));
        assert_eq!(file.position(4), (1, 4));
        assert_eq!(file.position(12), (2, 5));
        assert_eq!(file.position(900), (2, 6));
    }

    #[test]
    fn columns_are_right_far_into_a_long_line() {
        let text = "é".repeat(5000);
        let file = File::new("a".into(), text.as_str().into());
        assert_eq!(file.position(8000), (1, 4001));
    }
}
