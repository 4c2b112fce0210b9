//! Environment files: `.env`, `env_file` and `label_file`.

use std::cell::Cell;

use crate::budget::MOST_FILLED;
use crate::interpolate::{Failure, Filler, Lookup, Variables};
use crate::tree::{Map, Value};

/// One variable of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
    /// First byte of the name.
    pub at: usize,
}

/// A line that cannot be read, or reads otherwise than it looks.
#[derive(Debug, PartialEq, Eq)]
pub struct BadLine {
    /// First byte of what is wrong.
    pub start: usize,
    /// Byte after it.
    pub end: usize,
    /// What is wrong.
    pub why: String,
    /// The next move.
    pub help: &'static str,
}

/// What a file says.
#[derive(Debug, Default)]
pub struct Lines {
    /// Its variables in order.
    pub pairs: Vec<Pair>,
    /// Lines that cannot be read.
    pub bad: Vec<BadLine>,
    /// Lines that are allowed and surely not meant.
    pub odd: Vec<BadLine>,
    /// Variables that the file asks for, and where.
    pub asked: Vec<(String, usize)>,
}

const ONE_IN_EACH_LINE: &str = "write one `NAME=value` in each line";

/// What bare names and `${…}` see in a file, the first that has the name.
pub struct Scope<'a> {
    around: &'a Variables,
    service: Option<&'a Map>,
    said: Variables,
}

impl<'a> Scope<'a> {
    /// What is set around the files, then what they say themselves, the last line of a name.
    pub fn new(around: &'a Variables) -> Self {
        Scope { around, service: None, said: Variables::new() }
    }

    /// With the `environment` of a service between the two.
    pub fn of_service(self, service: Option<&'a Map>) -> Self {
        Scope { service, ..self }
    }

    /// The value that is set outside of the files.
    fn outside(&self, name: &str) -> Option<&String> {
        let of_service = || match &self.service?.get(name)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        };
        self.around.get(name).or_else(of_service)
    }
}

impl Lookup for Scope<'_> {
    fn value(&self, name: &str) -> Option<&String> {
        self.outside(name).or_else(|| self.said.get(name))
    }
}

/// The variables of a file in order.
pub fn parse(text: &str, scope: &mut Scope<'_>) -> Lines {
    let mut reader = Reader {
        text,
        at: 0,
        line_end: Cell::new(0),
        scope,
        left: MOST_FILLED,
        lines: Lines::default(),
    };
    while reader.skip_to_statement() {
        if let Err(bad) = reader.statement() {
            reader.at = reader.line_end();
            reader.lines.bad.push(bad);
        }
    }
    reader.lines
}

/// `KEY=VALUE` lines verbatim (`format: raw`).
pub fn parse_raw(text: &str, scope: &mut Scope<'_>) -> Lines {
    let mut lines = Lines::default();
    let mut start = 0;
    for full in text.split_inclusive('\n') {
        let line = full.trim_end_matches(['\n', '\r']).trim_start();
        let end = start + full.len();
        if !line.is_empty() && !line.starts_with('#') {
            let (key, value) = match line.split_once('=') {
                Some((key, value)) => (key, Some(value.to_owned())),
                None => {
                    lines.asked.push((line.to_owned(), start + full.find(line).unwrap_or(0)));
                    (line, scope.outside(line).cloned())
                }
            };
            if key.is_empty() || key.contains(char::is_whitespace) {
                let why = format!("`{key}` is no name of a variable");
                lines.bad.push(BadLine { start, end, why, help: ONE_IN_EACH_LINE });
            } else if let Some(value) = value {
                scope.said.insert(key.to_owned(), value.clone());
                let at = start + full.find(line).unwrap_or(0);
                lines.pairs.push(Pair { key: key.to_owned(), value, at });
            }
        }
        start = end;
    }
    lines
}

struct Reader<'a, 's> {
    text: &'a str,
    at: usize,
    /// End of the line last looked at.
    line_end: Cell<usize>,
    scope: &'a mut Scope<'s>,
    /// How many bytes variables may still make.
    left: usize,
    lines: Lines,
}

/// A space that ends no line.
fn is_space(c: char) -> bool {
    matches!(c, '\t' | '\x0b' | '\x0c' | '\r' | ' ' | '\u{85}' | '\u{a0}')
}

impl Reader<'_, '_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn line_end(&self) -> usize {
        if self.at > self.line_end.get() || self.line_end.get() == 0 {
            let end = self.rest().find('\n').map_or(self.text.len(), |at| self.at + at);
            self.line_end.set(end);
        }
        self.line_end.get()
    }

    /// Passes blank lines and comments; `false` at the end.
    fn skip_to_statement(&mut self) -> bool {
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start().len();
            if !self.rest().starts_with('#') {
                return self.at < self.text.len();
            }
            self.at = self.line_end();
        }
    }

    /// What is wrong from here to the end of the line.
    fn line(&self, why: String, help: &'static str) -> BadLine {
        let line = &self.text[self.at..self.line_end()];
        BadLine { start: self.at, end: self.at + line.trim_end().len(), why, help }
    }

    fn bad<T>(&self, why: String) -> Result<T, BadLine> {
        Err(self.line(why, ONE_IN_EACH_LINE))
    }

    fn statement(&mut self) -> Result<(), BadLine> {
        let rest = self.rest();
        if let Some(after) = rest.strip_prefix("export")
            && after.starts_with(char::is_whitespace)
        {
            self.at += rest.len() - after.trim_start_matches(is_space).len();
        }
        let line = &self.text[self.at..self.line_end()];
        let end = line.find(['=', ':']);
        let key = line[..end.unwrap_or(line.len())].trim_end_matches(is_space);
        let wrong = |c: char| !(c.is_alphanumeric() || "_.-[]".contains(c));
        if key.contains(char::is_whitespace) {
            let key = shorten(key);
            return self.bad(format!("`{key}` is no name of a variable: it has a space in it"));
        }
        if let Some(c) = key.chars().find(|c| wrong(*c)) {
            let key = shorten(key);
            return self.bad(format!("`{key}` is no name of a variable: it has a `{c}` in it"));
        }
        let (key, at) = (key.to_owned(), self.at);
        let Some(end) = end else {
            self.at += line.len();
            self.lines.asked.push((key.clone(), at));
            if let Some(value) = self.scope.outside(&key).cloned() {
                self.set(Pair { key, value, at });
            }
            return Ok(());
        };
        if key.is_empty() {
            let odd = self.line("a value without a name".into(), "write the name before the `=`");
            self.lines.odd.push(odd);
        }
        let after = &line[end + 1..];
        self.at += end + 1 + (after.len() - after.trim_start_matches(is_space).len());
        let value = self.value()?;
        self.set(Pair { key, value, at });
        Ok(())
    }

    fn set(&mut self, pair: Pair) {
        self.scope.said.insert(pair.key.clone(), pair.value.clone());
        self.lines.pairs.push(pair);
    }

    fn value(&mut self) -> Result<String, BadLine> {
        match self.rest().chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote),
            _ => {
                let line = &self.text[self.at..self.line_end()];
                let value = line.find(" #").map_or(line, |at| &line[..at]).trim_end().to_owned();
                let value = self.expand(&value);
                self.at = self.line_end();
                value
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, BadLine> {
        let inside = &self.text[self.at + 1..];
        let mut escaped = false;
        let mut end = None;
        for (at, c) in inside.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if c == quote => {
                    end = Some(at);
                    break;
                }
                _ => {}
            }
        }
        let Some(end) = end else {
            let help = "close it where the value ends; a value in quotes may have several lines";
            let bad = self.line("a quote is opened and never closed".into(), help);
            self.at = self.text.len();
            return Err(bad);
        };
        let raw = &inside[..end];
        let value = match quote {
            '\'' => unquote(raw),
            _ => self.expand(&unescape(raw))?,
        };
        self.at += end + 2;
        self.after_quote();
        Ok(value)
    }

    /// What follows a closing quote in the same line is the next variable, whatever it looks like.
    fn after_quote(&mut self) {
        let line = &self.text[self.at..self.line_end()];
        let rest = shorten(line.trim());
        if !rest.is_empty() && !rest.starts_with('#') {
            let why = format!("`{rest}` stands behind the closing quote and is read as a variable");
            let help = "put the whole value in quotes, or begin a new line";
            let odd = self.line(why, help);
            self.lines.odd.push(odd);
        }
    }

    fn expand(&mut self, value: &str) -> Result<String, BadLine> {
        if !value.contains('$') {
            return Ok(value.to_owned());
        }
        let left = self.left;
        let mut filler = Filler::new(&*self.scope, left);
        let filled = filler.replace(value, 0);
        self.left = filler.left;
        self.lines.asked.extend(filler.asked.into_iter().map(|name| (name, self.at)));
        match filled {
            Ok(value) => Ok(value),
            Err(Failure::Format(expression)) => Err(self.line(
                format!("`{expression}` is not a variable"),
                "write `${NAME}`, and `$$` or single quotes where a dollar sign is meant",
            )),
            Err(Failure::Required(name, text)) => {
                let text = if text.is_empty() { text } else { format!(": {text}") };
                let help = "set it in the environment or above this line";
                Err(self.line(format!("the variable `{name}` must be set{text}"), help))
            }
            Err(Failure::TooDeep) => self.bad("variables are nested too deeply".into()),
            Err(Failure::TooLong) => {
                let most = MOST_FILLED >> 20;
                self.bad(format!("variables make this file longer than {most} MiB"))
            }
        }
    }
}

/// As much of a text as a message needs.
fn shorten(text: &str) -> &str {
    text.char_indices().nth(60).map_or(text, |(at, _)| &text[..at])
}

/// The escapes of double quotes; `\$` becomes the `$$` that interpolation turns into one.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(c) = rest.chars().next() else {
            out.push('\\');
            break;
        };
        let mut used = c.len_utf8();
        match c {
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'a' => out.push('\x07'),
            'b' => out.push('\x08'),
            'f' => out.push('\x0c'),
            'v' => out.push('\x0b'),
            '\\' | '"' => out.push(c),
            '$' => out.push_str("$$"),
            '0' => {
                let octal = digits(&rest[1..]);
                match u8::from_str_radix(octal, 8) {
                    Ok(byte) if octal.len() == 3 => out.push(char::from(byte)),
                    // The zero is lost where no three digits make a byte, as in the Compose tools.
                    _ => out.extend(["\\", octal]),
                }
                used += octal.len();
            }
            _ => {
                out.push('\\');
                out.push(c);
            }
        }
        rest = &rest[used..];
    }
    out.push_str(rest);
    out
}

/// Up to three digits that `text` starts with.
fn digits(text: &str) -> &str {
    let length = text.bytes().take(3).take_while(u8::is_ascii_digit).count();
    &text[..length]
}

/// The one escape of single quotes, `\'`.
fn unquote(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let next = rest[at + 1..].chars().next();
        out.push_str(&rest[..at]);
        let kept = if next == Some('\'') { "" } else { "\\" };
        out.push_str(kept);
        out.extend(next);
        rest = &rest[at + 1 + next.map_or(0, char::len_utf8)..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        let around = [("HOME", "/h"), ("B", "shell")];
        let around = around.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let lines = parse(text, &mut Scope::new(&around));
        let mut told: String =
            lines.pairs.iter().map(|p| format!("{}={:?} ", p.key, p.value)).collect();
        for (word, list) in [("error", lines.bad), ("odd", lines.odd)] {
            for bad in list {
                told += &format!("{word} {}..{} {} ", bad.start, bad.end, bad.why);
            }
        }
        told.trim_end().to_owned()
    }

    #[test]
    fn every_form_of_a_line_is_read() {
        for (text, result) in [
            ("A=1\nexport C = 2 # no\n# x\n", "A=\"1\" C=\"2\""),
            ("A: x:y\n", "A=\"x:y\""),
            ("A=a#b\r\nC=\n", "A=\"a#b\" C=\"\""),
            ("A='x $B \\n'\n", "A=\"x $B \\\\n\""),
            ("A=\"x\\n\\\"y\\\" \\$B $HOME\"", "A=\"x\\n\\\"y\\\" $B /h\""),
            ("A=\"two\nlines\" # c\nC=3", "A=\"two\\nlines\" C=\"3\""),
            ("A=1\nC=$A-${B}-${X:-d}", "A=\"1\" C=\"1-shell-d\""),
            ("HOME\nNOT_SET\n", "HOME=\"/h\""),
            ("a.b-c[0]=1", "a.b-c[0]=\"1\""),
            ("A B=1", "error 0..5 `A B` is no name of a variable: it has a space in it"),
            ("A=\"open\nB=1", "error 2..7 a quote is opened and never closed"),
            ("HOME", "HOME=\"/h\""),
            ("A=\"x\\0123\\012\\0\"", "A=\"xS\\\\12\\\\\""),
            ("A=\"\\0777 \\0089\"", "A=\"\\\\777 \\\\089\""),
            ("A='it\\'s \\\\'", "A=\"it's \\\\\\\\\""),
            ("A=\"a\r\nb\"\r\nC=1\r\n", "A=\"a\\r\\nb\" C=\"1\""),
            ("A=\u{2003}x", "A=\"\\u{2003}x\""),
            ("=x\n", "=\"x\" odd 0..2 a value without a name"),
            (
                "A='a' b\n",
                "A=\"a\" odd 5..7 `b` stands behind the closing quote and is read as a variable",
            ),
            (
                "A B=1\nC=2\nD!=3\n",
                "C=\"2\" error 0..5 `A B` is no name of a variable: it has a space in it \
                 error 10..14 `D!` is no name of a variable: it has a `!` in it",
            ),
            ("A=${B\nC=1", "C=\"1\" error 2..5 `${B` is not a variable"),
        ] {
            assert_eq!(read(text), result, "{text:?}");
        }
    }

    #[test]
    fn raw_lines_are_taken_as_they_are() {
        let pairs =
            parse_raw("A='$B' # x\n#c\n\nC=\"d\"\n", &mut Scope::new(&Variables::new())).pairs;
        let show: Vec<_> = pairs.iter().map(|p| format!("{}={}", p.key, p.value)).collect();
        assert_eq!(show, ["A='$B' # x", "C=\"d\""]);
    }

    #[test]
    fn a_variable_knows_where_its_name_stands() {
        let text = "# x\n export  A = 1\r\nB: \"two\nlines\"\n  C=3\n";
        let pairs = parse(text, &mut Scope::new(&Variables::new())).pairs;
        assert_eq!(pairs.len(), 3);
        for pair in pairs {
            assert!(text[pair.at..].starts_with(&pair.key), "{pair:?}");
        }
        for pair in parse_raw("\tA=1\nB=2", &mut Scope::new(&Variables::new())).pairs {
            assert!("\tA=1\nB=2"[pair.at..].starts_with(&pair.key), "{pair:?}");
        }
    }
}
