//! How a line is cut into words, as a Dockerfile's lines are: quotes, backslashes, variables.

/// A word: text and variables in turn, whose values are the image's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Word(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(String),
}

impl Word {
    /// Text without variables.
    pub fn literal(text: impl Into<String>) -> Word {
        Word(vec![Part::Text(text.into())])
    }

    /// A whole text as one word, spaces included.
    pub(super) fn of(text: &str) -> Result<Word, String> {
        Reader { rest: text.chars().peekable() }.word(false)
    }

    /// The text, with the variables as `value` has them; unknown ones are empty.
    pub(super) fn fill(&self, value: impl Fn(&str) -> Option<String>) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Variable(name) => value(name).unwrap_or_default(),
        };
        self.0.iter().map(part).collect()
    }

    /// What stands before and after the first `=` of its text.
    pub(super) fn pair(self) -> Option<(Word, Word)> {
        let mut name = Vec::new();
        let mut parts = self.0.into_iter();
        while let Some(part) = parts.next() {
            match part {
                Part::Text(text) if text.contains('=') => {
                    let (before, after) = text.split_once('=').unwrap_or((&text, ""));
                    name.push(Part::Text(before.to_owned()));
                    let value = std::iter::once(Part::Text(after.to_owned())).chain(parts);
                    return Some((Word(name), Word(value.collect())));
                }
                part => name.push(part),
            }
        }
        None
    }

    fn push(&mut self, letter: char) {
        match self.0.last_mut() {
            Some(Part::Text(text)) => text.push(letter),
            _ => self.0.push(Part::Text(letter.into())),
        }
    }
}

/// The words of a line.
pub(super) fn split(line: &str) -> Result<Vec<Word>, String> {
    let mut reader = Reader { rest: line.chars().peekable() };
    let mut words = Vec::new();
    loop {
        while reader.rest.next_if(|letter| letter.is_whitespace()).is_some() {}
        if reader.rest.peek().is_none() {
            return Ok(words);
        }
        words.push(reader.word(true)?);
    }
}

struct Reader<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
}

impl Reader<'_> {
    /// Up to the next space, or to the end.
    fn word(&mut self, to_space: bool) -> Result<Word, String> {
        let mut word = Word::default();
        let mut quote = None;
        while let Some(&letter) = self.rest.peek() {
            if to_space && quote.is_none() && letter.is_whitespace() {
                break;
            }
            self.rest.next();
            match (letter, quote) {
                ('\'' | '"', None) => {
                    quote = Some(letter);
                    // An empty word in quotes is a word.
                    word.0.push(Part::Text(String::new()));
                }
                (letter, Some(open)) if letter == open => quote = None,
                ('\\', None | Some('"')) => match (self.rest.next(), quote) {
                    (Some(next @ ('"' | '\\' | '$')), Some(_)) | (Some(next), None) => {
                        word.push(next);
                    }
                    (Some(next), Some(_)) => ['\\', next].into_iter().for_each(|l| word.push(l)),
                    (None, _) => word.push('\\'),
                },
                ('$', None | Some('"')) => self.variable(&mut word)?,
                (letter, _) => word.push(letter),
            }
        }
        if quote.is_some() { Err("a quote is never closed".to_owned()) } else { Ok(word) }
    }

    /// `$NAME` or `${NAME}`; a lone dollar is a dollar.
    fn variable(&mut self, word: &mut Word) -> Result<(), String> {
        let braces = self.rest.next_if_eq(&'{').is_some();
        let mut name = String::new();
        while let Some(letter) = self.rest.next_if(|l| l.is_ascii_alphanumeric() || *l == '_') {
            name.push(letter);
        }
        if braces && (name.is_empty() || self.rest.next_if_eq(&'}').is_none()) {
            return Err("of variables only `$NAME` and `${NAME}` can be written here".to_owned());
        }
        match name.is_empty() {
            true => word.push('$'),
            false => word.0.push(Part::Variable(name)),
        }
        Ok(())
    }
}

/// Nanoseconds of `1h30m`, `90s`, `1.5s`, `500ms`.
pub(super) fn duration(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is no duration; write `30s`, `1m30s` or `500ms`");
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|l: char| !l.is_ascii_digit() && l != '.').ok_or_else(bad)?;
        let number: f64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let units = [
            ("ms", 1e6),
            ("us", 1e3),
            ("µs", 1e3),
            ("ns", 1.0),
            ("h", 3.6e12),
            ("m", 6e10),
            ("s", 1e9),
        ];
        let (unit, nanos) =
            units.into_iter().find(|(unit, _)| rest.starts_with(unit)).ok_or_else(bad)?;
        rest = &rest[unit.len()..];
        sum += number * nanos;
    }
    // Within nine years every nanosecond is exact enough.
    if text.is_empty() || sum >= 3e17 { Err(bad()) } else { Ok(sum as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let value = |name: &str| (name == "A").then(|| "x y".to_owned());
        split(line).unwrap().iter().map(|word| word.fill(value)).collect()
    }

    #[test]
    fn a_line_is_cut_at_spaces_outside_of_quotes() {
        assert_eq!(words(r#" a  'b  c'd "e \" f" g\ h "" "#), ["a", "b  cd", "e \" f", "g h", ""]);
    }

    #[test]
    fn variables_are_filled_but_not_in_single_quotes() {
        assert_eq!(
            words(r#"$A:${A}b '$A' "$A" \$A $ $NO."#),
            ["x y:x yb", "$A", "x y", "$A", "$", "."]
        );
        assert!(split("${A:-b}").is_err());
    }

    #[test]
    fn durations_are_those_of_go() {
        assert_eq!(duration("1h2m3s"), Ok(3_723_000_000_000));
        assert_eq!(duration("1.5s"), Ok(1_500_000_000));
        assert_eq!(duration("500ms"), Ok(500_000_000));
        for bad in ["", "5", "s", "1x", "-1s", "1e9h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
