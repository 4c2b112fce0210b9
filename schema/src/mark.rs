//! A piece of text that a problem points at, in lines and columns for programs.

use miette::LabeledSpan;
use serde::Serialize;

/// From where to where, and what is said about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// File as the user named it or as it was found.
    pub file: String,
    /// Line of the first character, from 1.
    pub line: usize,
    /// Column of the first character, from 1, in characters.
    pub column: usize,
    /// Line of the character after the last.
    pub end_line: usize,
    /// Its column.
    pub end_column: usize,
    /// What is said about it.
    pub text: String,
}

impl Mark {
    pub(crate) fn of(file: &str, source: &str, label: &LabeledSpan) -> Mark {
        let (line, column) = position(source, label.offset());
        let (end_line, end_column) = position(source, label.offset() + label.len());
        let text = label.label().unwrap_or_default().to_owned();
        Mark { file: file.to_owned(), line, column, end_line, end_column, text }
    }
}

fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    (line, before[start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_over_two_lines_counts_characters() {
        let label = LabeledSpan::new(Some("here".into()), 4, 7);
        let mark = Mark::of("a.yaml", "é: ü\nbß: 1", &label);
        assert_eq!((mark.line, mark.column), (1, 4));
        assert_eq!((mark.end_line, mark.end_column), (2, 4));
    }
}
