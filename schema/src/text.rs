//! The texts a stack is read from, and where in them a value stands.

use std::path::PathBuf;
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
pub struct Files(Vec<Arc<File>>);

impl Files {
    /// Adds a text and gives its number.
    pub fn add(&mut self, name: PathBuf, text: impl Into<Arc<str>>) -> u32 {
        self.0.push(Arc::new(File::new(name, text.into())));
        self.0.len() as u32 - 1
    }

    /// The file a span points into.
    pub fn get(&self, number: u32) -> Option<&Arc<File>> {
        self.0.get(number as usize)
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
