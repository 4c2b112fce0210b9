//! The piece of a text that a report shows: a few lines, and of a very long one what stands around
//! the place.

use std::sync::Arc;

use miette::{LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

/// Bytes of the longest line that is shown whole.
const WIDEST: usize = 400;
/// Bytes shown on each side of a place in a longer one.
const AROUND: usize = 50;
/// Bytes that are marked in a longer one.
const MARKED: usize = 60;

/// A text with its name, shown in pieces.
#[derive(Debug, Clone)]
pub(crate) struct Excerpt {
    name: String,
    text: Arc<str>,
}

impl Excerpt {
    pub fn new(name: String, text: Arc<str>) -> Excerpt {
        Excerpt { name, text }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The label as far as it can be drawn.
    pub fn fitting(&self, label: &LabeledSpan) -> LabeledSpan {
        let (start, end) = (label.offset(), label.offset() + label.len());
        if label.len() <= MARKED || !self.is_wide(start, end) {
            return label.clone();
        }
        let end = self.boundary(start + MARKED);
        LabeledSpan::new(label.label().map(str::to_owned), start, end - start)
    }

    /// Whether a line of the piece, or one beside it, is too long to be shown.
    fn is_wide(&self, start: usize, end: usize) -> bool {
        let first = self.line_start(self.line_start(start).saturating_sub(1));
        let last = self.line_end((self.line_end(end) + 1).min(self.text.len()));
        self.text.get(first..last).is_some_and(|lines| lines.lines().any(|l| l.len() > WIDEST))
    }

    fn line_start(&self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1)
    }

    fn line_end(&self, at: usize) -> usize {
        let after = self.text.as_bytes().get(at..).unwrap_or_default();
        after.iter().position(|byte| *byte == b'\n').map_or(self.text.len(), |length| at + length)
    }

    /// The beginning of the character at an offset.
    fn boundary(&self, at: usize) -> usize {
        self.text.floor_char_boundary(at.min(self.text.len()))
    }
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let (start, end) = (span.offset(), span.offset() + span.len());
        let cropped = before + after > 0 && self.is_wide(start, end);
        // Without lines around it only tells where the piece is.
        let whole = match cropped {
            false => self.text.read_span(span, before, after)?,
            true => self.text.read_span(&(start, 0).into(), 0, 0)?,
        };
        let (mut from, mut to) =
            (whole.span().offset(), whole.span().offset() + whole.data().len());
        if cropped {
            from = self.boundary(start.saturating_sub(AROUND)).max(self.line_start(start));
            to = self.boundary(end + AROUND).min(self.line_end(end));
            // Two places too far from each other are shown apart.
            if to - from > WIDEST {
                return Err(MietteError::OutOfBounds);
            }
        }
        let data = self.text.as_bytes().get(from..to).ok_or(MietteError::OutOfBounds)?;
        let (name, piece) = (self.name.clone(), (from, to - from).into());
        let (line, column, count) = (whole.line(), whole.column(), whole.line_count());
        Ok(Box::new(MietteSpanContents::new_named(name, data, piece, line, column, count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, start: usize, length: usize) -> String {
        let excerpt = Excerpt::new("a".into(), text.into());
        let label = excerpt.fitting(&LabeledSpan::new(None, start, length));
        let piece = excerpt.read_span(label.inner(), 1, 1).unwrap();
        String::from_utf8(piece.data().to_vec()).unwrap()
    }

    #[test]
    fn of_short_lines_the_neighbours_are_shown() {
        assert_eq!(shown("a\nbc\nd\ne\n", 2, 2), "a\nbc\nd\n");
    }

    #[test]
    fn of_a_long_line_only_the_place_is_shown() {
        let line = "é".repeat(5000);
        let piece = shown(&format!("a: 1\nb: {line}\nc: 2\n"), 2000, 3000);
        assert!(
            piece.len() <= 2 * AROUND + MARKED + 2 && piece.chars().all(|c| c == 'é'),
            "{piece}"
        );
        assert_eq!(shown(&format!("a: 1\nb: {line}\n"), 0, 1), "a: 1");
        assert_eq!(shown(&format!("b: {line}"), 10_003, 0).chars().count(), AROUND / 2);
    }
}
