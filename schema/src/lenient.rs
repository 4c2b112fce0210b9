//! What the Compose tools' parser takes and ours refuses, made readable for ours.
//!
//! Spaces are put into a copy of the text where the stricter parser wants them: before a `#` right
//! behind a value, before the lines of a text in quotes that are not indented, between an alias
//! and its colon. Places are told in the text as it was written.

use serde_yaml::granit_parser::ErrorKind;

use crate::syntax;

/// Most bytes that are read again because of what was put in.
const MOST_READ: usize = 64 << 20;
/// Spaces before a line in quotes; deeper than files are indented.
const INDENT: usize = 64;

/// A copy of a text with spaces put in.
pub struct Lenient<'t> {
    written: &'t str,
    copy: Option<String>,
    /// Places in the copy, and how many bytes were put in there and before.
    put: Vec<(usize, usize)>,
    read: usize,
    /// Where the parser gave up last, as written.
    last: Option<usize>,
    /// A line in quotes was indented, so that a quote may be closed by a later one.
    quotes: bool,
}

impl<'t> Lenient<'t> {
    /// The text as it is written.
    pub fn new(written: &'t str) -> Self {
        Lenient { written, copy: None, put: Vec::new(), read: 0, last: None, quotes: false }
    }

    /// The text to parse.
    pub fn text(&self) -> &str {
        self.copy.as_deref().unwrap_or(self.written)
    }

    /// The text as it is written.
    pub fn as_written(&self) -> &'t str {
        self.written
    }

    /// The byte as written that a byte of the text to parse stands for.
    pub fn written(&self, at: usize) -> usize {
        let behind = self.put.partition_point(|(place, _)| *place <= at);
        match behind.checked_sub(1).map(|last| self.put[last]) {
            // Inside of what was put in is where it was put in.
            Some((place, all)) => at.saturating_sub(all).max(place - self.before(behind - 1)),
            None => at,
        }
        .min(self.written.len())
    }

    fn before(&self, number: usize) -> usize {
        number.checked_sub(1).map_or(0, |last| self.put[last].1)
    }

    /// Whether a mistake that shows later may be one of quotes that were taken as they are.
    pub fn doubts_quotes(&self) -> bool {
        self.quotes
    }

    /// Makes the text readable at a place where the parser gave up; `false` if that cannot be done.
    pub fn mend(&mut self, kind: &ErrorKind, at: usize) -> bool {
        self.read += self.text().len();
        let written = Some(self.written(at));
        if self.read > MOST_READ || std::mem::replace(&mut self.last, written) == written {
            return false;
        }
        let text = self.text();
        let places = match kind {
            ErrorKind::CommentNotSeparated if text[at..].starts_with('#') => vec![(at, 1)],
            ErrorKind::InvalidQuotedScalarIndent | ErrorKind::TabInIndentation => {
                quoted_lines(text, at)
            }
            ErrorKind::SimpleKeyExpected => {
                colon_of_alias(text, at).into_iter().map(|at| (at, 1)).collect()
            }
            _ => Vec::new(),
        };
        if places.is_empty() {
            return false;
        }
        self.quotes |= places[0].1 == INDENT;
        self.insert(&places);
        true
    }

    fn insert(&mut self, places: &[(usize, usize)]) {
        let text = self.text();
        let mut copy = String::with_capacity(text.len() + places.len() * INDENT);
        let mut from = 0;
        for (at, spaces) in places {
            copy.push_str(&text[from..*at]);
            copy.extend(std::iter::repeat_n(' ', *spaces));
            from = *at;
        }
        copy.push_str(&text[from..]);
        let mut old = self.put.iter().enumerate().peekable();
        let mut shift = 0;
        // Both lists are in order; what was put in before moves by what is put in before it.
        let mut all = Vec::new();
        for (at, spaces) in places {
            while let Some((number, (place, _))) = old.next_if(|(_, (place, _))| place <= at) {
                all.push((place + shift, self.put[number].1 - self.before(number)));
            }
            all.push((at + shift, *spaces));
            shift += spaces;
        }
        all.extend(old.map(|(number, (place, sum))| (place + shift, sum - self.before(number))));
        let mut sum = 0;
        for (_, spaces) in &mut all {
            sum += *spaces;
            *spaces = sum;
        }
        self.put = all;
        self.copy = Some(copy);
    }
}

/// The starts of the lines from `at` on that belong to the text in quotes which is open there.
fn quoted_lines(text: &str, at: usize) -> Vec<(usize, usize)> {
    let mut start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let Some(quote) = syntax::open_quote(text, start) else {
        return Vec::new();
    };
    let mut places = Vec::new();
    for line in text[start..].split_inclusive('\n') {
        if !line.trim().is_empty() {
            places.push((start, INDENT));
        }
        if closes(line, quote) {
            return places;
        }
        start += line.len();
    }
    Vec::new()
}

/// Whether a text in quotes ends in this line.
fn closes(line: &str, quote: char) -> bool {
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\\' if quote == '"' => drop(characters.next()),
            '\'' if quote == '\'' && characters.peek() == Some(&'\'') => drop(characters.next()),
            c if c == quote => return true,
            _ => {}
        }
    }
    false
}

/// The colon in `*name: value`, which the parser takes for a part of the name.
fn colon_of_alias(text: &str, at: usize) -> Option<usize> {
    let rest = text[at..].strip_prefix('*')?;
    let end = rest.find(char::is_whitespace)?;
    rest[..end].ends_with(':').then_some(at + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_text_as_it_is_written() {
        let mut lenient = Lenient::new("ab#c\nde#f\n");
        assert!(lenient.mend(&ErrorKind::CommentNotSeparated, 2));
        assert!(lenient.mend(&ErrorKind::CommentNotSeparated, 8));
        assert_eq!(lenient.text(), "ab #c\nde #f\n");
        let places: Vec<usize> = (0..13).map(|at| lenient.written(at)).collect();
        assert_eq!(places, [0, 1, 2, 2, 3, 4, 5, 6, 7, 7, 8, 9, 10]);
    }

    #[test]
    fn what_is_put_in_before_moves_what_was_put_in_behind() {
        let mut lenient = Lenient::new("ab#c\nde#f\n");
        assert!(lenient.mend(&ErrorKind::CommentNotSeparated, 7));
        assert!(lenient.mend(&ErrorKind::CommentNotSeparated, 2));
        let places: Vec<usize> = (0..13).map(|at| lenient.written(at)).collect();
        assert_eq!(places, [0, 1, 2, 2, 3, 4, 5, 6, 7, 7, 8, 9, 10]);
    }

    #[test]
    fn the_same_place_is_mended_once() {
        let mut lenient = Lenient::new("a#");
        assert!(lenient.mend(&ErrorKind::CommentNotSeparated, 1));
        assert!(!lenient.mend(&ErrorKind::CommentNotSeparated, 2));
    }
}
