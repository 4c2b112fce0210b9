//! Environment files: `.env`, `env_file` and `label_file`.

use crate::interpolate::{Failure, Variables, text_with};

/// One variable of a file; no value means a bare name that is not set around it.
pub type Pair = (String, String);

/// A line that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub struct BadLine {
    /// First byte of what is wrong.
    pub start: usize,
    /// Byte after it.
    pub end: usize,
    /// What is wrong.
    pub why: String,
}

/// The variables of a file in order. `around` answers for bare names and for `${…}`, after the
/// names of the file itself.
pub fn parse(text: &str, around: &Variables) -> Result<Vec<Pair>, BadLine> {
    let mut reader = Reader { text, at: 0, around, known: around.clone(), pairs: Vec::new() };
    while reader.skip_to_statement() {
        reader.statement()?;
    }
    Ok(reader.pairs)
}

/// `KEY=VALUE` lines verbatim (`format: raw`).
pub fn parse_raw(text: &str, around: &Variables) -> Result<Vec<Pair>, BadLine> {
    let mut pairs = Vec::new();
    let mut start = 0;
    for full in text.split_inclusive('\n') {
        let line = full.trim_end_matches(['\n', '\r']).trim_start();
        let end = start + full.len();
        if !line.is_empty() && !line.starts_with('#') {
            let (key, value) = match line.split_once('=') {
                Some((key, value)) => (key, Some(value.to_owned())),
                None => (line, around.get(line).cloned()),
            };
            if key.is_empty() || key.contains(char::is_whitespace) {
                let why = format!("`{key}` is no name of a variable");
                return Err(BadLine { start, end, why });
            }
            pairs.extend(value.map(|value| (key.to_owned(), value)));
        }
        start = end;
    }
    Ok(pairs)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    around: &'a Variables,
    known: Variables,
    pairs: Vec<Pair>,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn line_end(&self) -> usize {
        self.rest().find('\n').map_or(self.text.len(), |at| self.at + at)
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

    fn bad<T>(&self, why: String) -> Result<T, BadLine> {
        Err(BadLine { start: self.at, end: self.line_end(), why })
    }

    fn statement(&mut self) -> Result<(), BadLine> {
        let rest = self.rest();
        if let Some(after) = rest.strip_prefix("export")
            && after.starts_with([' ', '\t'])
        {
            self.at += rest.len() - after.trim_start_matches([' ', '\t']).len();
        }
        let line = &self.text[self.at..self.line_end()];
        let end = line.find(['=', ':']);
        let key = line[..end.unwrap_or(line.len())].trim_end();
        let wrong = |c: char| !(c.is_alphanumeric() || "_.-[]".contains(c));
        if key.contains(char::is_whitespace) {
            return self.bad(format!("`{key}` is no name of a variable: it has a space in it"));
        }
        if let Some(c) = key.chars().find(|c| wrong(*c)) {
            return self.bad(format!("`{key}` is no name of a variable: it has a `{c}` in it"));
        }
        let key = key.to_owned();
        let Some(end) = end else {
            self.at += line.len();
            if let Some(value) = self.around.get(&key) {
                self.set(key, value.clone());
            }
            return Ok(());
        };
        if key.is_empty() {
            return self.bad("a value without a name".into());
        }
        let after = &line[end + 1..];
        self.at += end + 1 + (after.len() - after.trim_start().len());
        let value = self.value()?;
        self.set(key, value);
        Ok(())
    }

    fn set(&mut self, key: String, value: String) {
        // What is set around the file wins in `${…}` too.
        if !self.around.contains_key(&key) {
            self.known.insert(key.clone(), value.clone());
        }
        self.pairs.push((key, value));
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
            return self.bad("a quote is opened and never closed".into());
        };
        let raw = inside[..end].replace("\r\n", "\n");
        let value = match quote {
            '\'' => raw.replace("\\'", "'"),
            _ => self.expand(&unescape(&raw))?,
        };
        self.at += end + 2;
        Ok(value)
    }

    fn expand(&self, value: &str) -> Result<String, BadLine> {
        if !value.contains('$') {
            return Ok(value.to_owned());
        }
        match text_with(value, &self.known, &mut Vec::new()) {
            Ok(value) => Ok(value),
            Err(Failure::Format(expression)) => {
                self.bad(format!("`{expression}` is not a variable"))
            }
            Err(Failure::Required(name, text)) => {
                self.bad(format!("the variable `{name}` must be set: {text}"))
            }
            Err(Failure::TooDeep) => self.bad("variables are nested too deeply".into()),
        }
    }
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
                let digits =
                    rest[1..].bytes().take(3).take_while(|b| (b'0'..b'8').contains(b)).count();
                match u8::from_str_radix(&rest[1..=digits], 8) {
                    Ok(byte) if digits == 3 => {
                        out.push(char::from(byte));
                        used += digits;
                    }
                    _ => out.push_str("\\0"),
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        let around = [("HOME", "/h"), ("B", "shell")];
        let around = around.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        match parse(text, &around) {
            Ok(pairs) => pairs.iter().map(|(k, v)| format!("{k}={v:?} ")).collect(),
            Err(bad) => format!("error {}..{} {}", bad.start, bad.end, bad.why),
        }
    }

    #[test]
    fn every_form_of_a_line_is_read() {
        for (text, result) in [
            ("A=1\nexport C = 2 # no\n# x\n", "A=\"1\" C=\"2\" "),
            ("A: x:y\n", "A=\"x:y\" "),
            ("A=a#b\r\nC=\n", "A=\"a#b\" C=\"\" "),
            ("A='x $B \\n'\n", "A=\"x $B \\\\n\" "),
            ("A=\"x\\n\\\"y\\\" \\$B $HOME\"", "A=\"x\\n\\\"y\\\" $B /h\" "),
            ("A=\"two\nlines\" # c\nC=3", "A=\"two\\nlines\" C=\"3\" "),
            ("A=1\nC=$A-${B}-${X:-d}", "A=\"1\" C=\"1-shell-d\" "),
            ("HOME\nNOT_SET\n", "HOME=\"/h\" "),
            ("a.b-c[0]=1", "a.b-c[0]=\"1\" "),
            ("A B=1", "error 0..5 `A B` is no name of a variable: it has a space in it"),
            ("A=\"open\nB=1", "error 2..7 a quote is opened and never closed"),
        ] {
            assert_eq!(read(text), result, "{text:?}");
        }
    }

    #[test]
    fn raw_lines_are_taken_as_they_are() {
        let pairs = parse_raw("A='$B' # x\n#c\n\nC=\"d\"\n", &Variables::new()).unwrap();
        let show: Vec<_> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(show, ["A='$B' # x", "C=\"d\""]);
    }
}
