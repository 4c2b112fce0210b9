//! Why a text is no YAML, in the user's words.
//!
//! A parser says what it could not go on with. People want to know what they did: a quote that
//! was never closed, a key that stands too deep, a tab. That is read from the lines around.

mod values;

use crate::problem::{Code, Finding};
use crate::text::Span;

/// The problem of a text that the parser gave up at byte `at`, saying `info`.
pub fn explain(file: u32, text: &str, at: usize, info: &str) -> Finding {
    let sight = Sight { file, text, at };
    sight
        .not_even_meant()
        .or_else(|| sight.by_words(info))
        .unwrap_or_else(|| sight.unexplained(info))
}

/// A space that is none for YAML at the start of a key.
pub fn strange_space(span: Span, key: &str) -> Finding {
    let length = key.len() - key.trim_start().len();
    let span = Span { end: span.start + length as u32, ..span };
    let message = "these look like spaces and are other characters".to_owned();
    Finding::at(Code::Syntax, span, "no spaces for YAML", message)
        .help("type the spaces anew; copied pages and chats often hold no-break spaces")
}

/// A tab in the indentation of a key, which the parser would let pass.
pub fn tab_before(text: &str, key: Span) -> Option<Finding> {
    let before = &text[..key.start as usize];
    let content = before.trim_end_matches([' ', '\t']);
    let indent = &before[content.len()..];
    if !indent.contains('\t') || !(content.is_empty() || content.ends_with('\n')) {
        return None;
    }
    let start = content.len() + indent.find('\t')?;
    Some(tab_in_indent(Span { start: start as u32, end: key.start, ..key }))
}

fn tab_in_indent(span: Span) -> Finding {
    let message = "a tab stands in the indentation, and YAML allows spaces only".to_owned();
    Finding::at(Code::Syntax, span, "a tab", message)
        .help("put spaces in the place of every tab; two for each level are usual")
}

/// What is wrong with a line like `%YAML 1.1` before a document.
pub fn directive(span: Span, line: &str) -> Option<Finding> {
    let mut words = line.split_whitespace();
    let message = match (words.next()?, words.next()) {
        ("%YAML", Some("1.1")) | ("%TAG", _) => return None,
        ("%YAML", version) => {
            format!("Compose files are YAML 1.1, and this asks for {}", version.unwrap_or("none"))
        }
        (name, _) => format!("there is no directive `{name}`"),
    };
    Some(Finding::at(Code::Syntax, span, "not known", message).help("take the line away"))
}

/// The lines around a place.
struct Sight<'t> {
    file: u32,
    text: &'t str,
    at: usize,
}

/// One line of a text.
#[derive(Clone, Copy)]
struct Line<'t> {
    start: usize,
    text: &'t str,
}

impl<'t> Line<'t> {
    fn content(self) -> &'t str {
        self.text.trim()
    }

    fn indent(self) -> usize {
        self.text.len() - self.text.trim_start().len()
    }

    /// First byte that is no space.
    fn begin(self) -> usize {
        self.start + self.indent()
    }

    fn end(self) -> usize {
        self.begin() + self.content().len()
    }

    /// Nothing but space or a comment.
    fn is_silent(self) -> bool {
        self.content().is_empty() || self.content().starts_with('#')
    }

    /// Key and value of `key: value`, dashes in front left out.
    fn pair(self) -> Option<(&'t str, &'t str)> {
        let content = self.content().trim_start_matches("- ").trim_start();
        let (key, value) = match content.split_once(": ") {
            Some((key, value)) => (key, value.trim_start()),
            None => (content.strip_suffix(':')?, ""),
        };
        (!key.is_empty() && !key.contains(char::is_whitespace)).then_some((key, value))
    }
}

/// What is open at a place: brackets, the innermost last, and a quote.
#[derive(Default)]
struct Open {
    brackets: Vec<(usize, char)>,
    quote: Option<(usize, char)>,
}

impl<'t> Sight<'t> {
    fn found(&self, start: usize, end: usize, label: &str, message: String) -> Finding {
        let end = end.max(start + 1).min(self.text.len().max(start));
        let span = Span { file: self.file, start: start as u32, end: end as u32 };
        Finding::at(Code::Syntax, span, label, message)
    }

    fn lines(&self) -> impl DoubleEndedIterator<Item = Line<'t>> + use<'t> {
        let text = self.text;
        let start = move |line: &str| line.as_ptr() as usize - text.as_ptr() as usize;
        text.lines().map(move |line| Line { start: start(line), text: line })
    }

    /// The line of the place.
    fn line(&self) -> Line<'t> {
        let here = self.lines().take_while(|line| line.start <= self.at).last();
        here.unwrap_or(Line { start: 0, text: "" })
    }

    /// Lines above that say something, nearest first.
    fn above(&self) -> impl Iterator<Item = Line<'t>> + use<'t> {
        let start = self.line().start;
        let lines = self.lines().take_while(move |line| line.start < start);
        let mut lines: Vec<_> = lines.filter(|line| !line.is_silent()).collect();
        lines.reverse();
        lines.into_iter()
    }

    /// Texts that nobody took for YAML: a page, a conflict of git, a template.
    fn not_even_meant(&self) -> Option<Finding> {
        let first = self.lines().find(|line| !line.is_silent())?;
        if first.content().starts_with('<') && !first.content().starts_with("<<") {
            let message = "this is a web page and no Compose file".to_owned();
            let found = self.found(first.begin(), first.end(), "of a page", message);
            return Some(found.help("fetch the raw file, not the page that shows it"));
        }
        if let Some(line) = self.lines().find(|line| line.text.starts_with("<<<<<<< ")) {
            let message = "a merge of git left its conflict in this file".to_owned();
            let found = self.found(line.start, line.end(), "the conflict starts here", message);
            let help = "keep one side, and take the lines `<<<<<<<`, `=======` and `>>>>>>>` away";
            return Some(found.help(help));
        }
        let line = self.line();
        let braces = line.text.find("{{")?;
        let end = line.text.rfind("}}").map_or(line.text.len(), |end| end + 2).max(braces + 2);
        let message = "`{{ … }}` belongs to a template that was not filled in".to_owned();
        let (start, end) = (line.start + braces, line.start + end);
        let found = self.found(start, end, "not filled in", message);
        Some(found.help("fill the template in first, or use a variable: `${NAME}`"))
    }

    fn by_words(&self, info: &str) -> Option<Finding> {
        let says = |word: &str| info.contains(word);
        if says("recursion limit") {
            return Some(self.too_deep());
        }
        if let Some(found) = self.tab(info) {
            return Some(found);
        }
        if says("unexpected character") {
            return Some(self.reserved());
        }
        if says("unknown anchor") || says("anchor or alias") {
            return Some(self.alias());
        }
        if says("escape")
            && let Some(found) = self.escape()
        {
            return Some(found);
        }
        if let Some(found) = self.of_a_value(info) {
            return Some(found);
        }
        if says("unclosed bracket") {
            let bracket = self.rest().chars().next().unwrap_or('[');
            return Some(self.never_closed(self.at, bracket));
        }
        if says("trailing content") {
            return Some(self.after_a_quote());
        }
        if let Some(found) = self.alone(info) {
            return Some(found);
        }
        self.open().or_else(|| self.lists(info)).or_else(|| self.keys(info))
    }

    fn too_deep(&self) -> Finding {
        let span = Span { file: self.file, start: self.at as u32, end: self.at as u32 + 1 };
        let message = "values are nested too deep".to_owned();
        Finding::at(Code::TooLarge, span, "passes the limit here", message)
            .help("no Compose file needs more than a few levels")
    }

    fn tab(&self, info: &str) -> Option<Finding> {
        let from = self.line().start;
        let indented = |line: &Line<'_>| line.text[..line.indent()].contains('\t');
        let mut lines = self.lines().skip_while(|line| line.start < from).take(3);
        let line =
            lines.find(indented).filter(|_| info.contains("tab") || indented(&self.line()))?;
        let tab = line.start + line.text.find('\t')?;
        let (start, end) = (tab as u32, line.begin() as u32);
        Some(tab_in_indent(Span { file: self.file, start, end }))
    }

    /// The value that starts at the place, as far as its line goes.
    fn rest(&self) -> &'t str {
        let line = self.line();
        self.text.get(self.at..line.start + line.text.len()).unwrap_or_default().trim_end()
    }

    /// The line with the rest of it in quotes.
    fn quoted(&self) -> String {
        let line = self.line();
        let before = self.text.get(line.begin()..self.at).unwrap_or_default();
        format!("write it in quotes: `{before}{}`", quote(self.rest()))
    }

    /// A quote or a bracket that is open here.
    fn open(&self) -> Option<Finding> {
        let open = open_at(self.text, self.at);
        if let Some((at, quote)) = open.quote {
            let end = self.text[at..].find('\n').map_or(self.text.len(), |end| at + end);
            let message = "this quote is never closed".to_owned();
            let end = at + self.text[at..end].trim_end().len();
            let found = self.found(at, end, "opened here", message);
            return Some(found.help(format!("close it with {}", shown(quote))));
        }
        let (at, bracket) = *open.brackets.last()?;
        if open_at(self.text, self.text.len()).brackets.contains(&(at, bracket)) {
            return Some(self.never_closed(at, bracket));
        }
        let close = closing(bracket);
        let found = self.found(
            self.at,
            self.at + 1,
            "a comma goes before this",
            format!("a comma is missing between the brackets `{bracket}` and `{close}`"),
        );
        Some(found.help("separate what stands between brackets with `,`"))
    }

    fn never_closed(&self, at: usize, bracket: char) -> Finding {
        let message = format!("this `{bracket}` is never closed");
        let found = self.found(at, at + 1, "opened here", message);
        found.help(format!("close it with `{}`", closing(bracket)))
    }

    fn lists(&self, info: &str) -> Option<Finding> {
        let line = self.line();
        if info.contains("block sequence entries are not allowed") {
            let message = "a list cannot start in the line of its key".to_owned();
            let found = self.found(self.at, line.end(), "starts here", message);
            return Some(found.help("put each `- ` in a line of its own below the key"));
        }
        if !info.contains("expected '-'") {
            return None;
        }
        let content = line.content();
        let message = format!("`{content}` stands in a list and has no `- `");
        let found = self.found(line.begin(), line.end(), "no list item", message);
        Some(found.help(match line.pair() {
            Some((key, value)) if !value.is_empty() => format!(
                "write `- {key}={value}`, or write all lines without `- ` as `{key}: {value}`"
            ),
            _ => "put a `- ` before it, or indent it as deep as the key of the list".into(),
        }))
    }

    fn keys(&self, info: &str) -> Option<Finding> {
        let line = self.line();
        let above = self.above().next();
        if let Some(found) = above.and_then(|above| self.text_below_a_bar(line, above)) {
            return Some(found);
        }
        if info.contains("expected ':'") {
            return self.no_colon(line);
        }
        if let Some((key, value)) = line.pair()
            && value.contains(": ")
            && self.at > line.end() - value.len()
        {
            return Some(self.second_colon(line, key, value));
        }
        let above = above?;
        if above.pair().is_none() && !above.content().starts_with("- ") {
            return self.no_colon(above);
        }
        match above.pair() {
            Some((key, value)) if line.indent() > above.indent() && !value.is_empty() => {
                let message = format!("this line stands below `{key}`, which has a value already");
                let found = self.found(line.begin(), line.end(), "too deep", message);
                let spaces = above.indent();
                let help = format!("indent it like `{key}`, by {}", count(spaces, "space"));
                Some(found.help(help))
            }
            _ => self.between_two_levels(line),
        }
    }

    /// `command: |` with a text that is not indented.
    fn text_below_a_bar(&self, line: Line<'t>, above: Line<'t>) -> Option<Finding> {
        let (key, value) = above.pair()?;
        let bar = value.starts_with(['|', '>']) && value.len() <= 3;
        if !bar || line.indent() > above.indent() {
            return None;
        }
        let message = format!("the text of `{key}: {value}` is not indented");
        let found = self.found(line.begin(), line.end(), "belongs deeper", message);
        Some(found.help(format!("indent it deeper than `{key}`")))
    }

    /// A line that should be `key: value`.
    fn no_colon(&self, line: Line<'t>) -> Option<Finding> {
        if let Some(found) = self.no_space_behind_a_dash(line) {
            return Some(found);
        }
        let content = line.content();
        if let Some((key, value)) = content.split_once(':')
            && !value.is_empty()
        {
            let message = "there is no space behind the colon".to_owned();
            let colon = line.begin() + key.len();
            let found = self.found(colon, colon + 1, "no space behind it", message);
            return Some(found.help(format!("write `{key}: {}`", value.trim_start())));
        }
        let message = format!("there is no `:` in the line `{content}`");
        let found = self.found(line.begin(), line.end(), "no `:` here", message);
        Some(found.help(match content.split_once(['=', ' ']) {
            Some((key, value)) => format!("write `{key}: {}`", value.trim_start()),
            None => format!("write `{content}:`"),
        }))
    }

    fn second_colon(&self, line: Line<'t>, key: &str, value: &str) -> Finding {
        let start = line.end() - value.len();
        let message = format!("the value of `{key}` has a colon with a space behind it");
        let found = self.found(start, line.end(), "needs quotes", message);
        let quoted = quote(value);
        found.help(match key {
            "image" => format!("write `image: {}`", value.replace(": ", ":")),
            _ => format!("write it in quotes: `{key}: {quoted}`"),
        })
    }

    /// A line whose indentation is that of none above.
    fn between_two_levels(&self, line: Line<'t>) -> Option<Finding> {
        let deeper = self.above().take_while(|above| above.indent() > line.indent());
        let deeper = deeper.min_by_key(|above| above.indent())?;
        let outer = self.above().find(|above| above.indent() < line.indent());
        let message = format!(
            "this line is indented by {}, and no line above it is",
            count(line.indent(), "space")
        );
        let found = self.found(line.begin(), line.end(), "between two levels", message);
        let name = |line: Line<'t>| line.pair().map_or(line.content(), |(key, _)| key);
        let beside = format!("{} to stand beside `{}`", deeper.indent(), name(deeper));
        Some(found.help(match outer {
            Some(outer) => format!(
                "indent it by {beside}, or by {} to stand beside `{}`",
                outer.indent(),
                name(outer)
            ),
            None => format!("indent it by {beside}"),
        }))
    }

    fn unexplained(&self, info: &str) -> Finding {
        let message = format!("this is not YAML: {info}");
        self.found(self.at, self.at + 1, "here", message)
            .help("the mistake is here or in the line above")
    }
}

fn closing(bracket: char) -> char {
    if bracket == '[' { ']' } else { '}' }
}

fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        many => format!("{many} {what}s"),
    }
}

/// A character in backticks, or in quotes when it is a backtick.
fn shown(c: char) -> String {
    if c == '`' { "a backtick".into() } else { format!("`{c}`") }
}

/// A text in the quotes that need no escapes.
fn quote(text: &str) -> String {
    match text.contains(['"', '\\']) {
        true => format!("'{}'", text.replace('\'', "''")),
        false => format!("\"{text}\""),
    }
}

/// The quote that is open at byte `end`.
pub fn open_quote(text: &str, end: usize) -> Option<char> {
    open_at(text, end).quote.map(|(_, quote)| quote)
}

/// What is open at byte `end`. Reads as much of YAML as brackets and quotes need.
fn open_at(text: &str, end: usize) -> Open {
    let mut open = Open::default();
    let mut fresh = true;
    let mut last = '\n';
    let mut at = 0;
    while let Some(c) = text[at..].chars().next().filter(|_| at < end) {
        let mut next = at + c.len_utf8();
        match (open.quote, c) {
            (Some((_, '"')), '\\') => next += text[next..].chars().next().map_or(0, char::len_utf8),
            (Some((_, '\'')), '\'') if text[next..].starts_with('\'') => next += 1,
            (Some((_, quote)), _) if c == quote => {
                open.quote = None;
                fresh = false;
            }
            (Some(_), _) => {}
            (None, '#') if last.is_whitespace() => {
                next = text[at..].find('\n').map_or(text.len(), |end| at + end);
            }
            (None, '"' | '\'') if fresh => open.quote = Some((at, c)),
            (None, '[' | '{') if fresh => open.brackets.push((at, c)),
            (None, ']' | '}') => drop(open.brackets.pop()),
            (None, '|' | '>') if fresh && open.brackets.is_empty() => next = block_end(text, at),
            (None, '\n') => fresh = true,
            (None, ',') => fresh = !open.brackets.is_empty(),
            (None, _) if c.is_whitespace() => fresh |= matches!(last, ':' | '-'),
            (None, _) => fresh = false,
        }
        (last, at) = (c, next);
    }
    open
}

/// The end of the block of text that a `|` or `>` at `at` starts.
fn block_end(text: &str, at: usize) -> usize {
    let start = text[..at].rfind('\n').map_or(0, |start| start + 1);
    let indent = |line: &str| line.len() - line.trim_start().len();
    let least = indent(&text[start..]);
    let mut end = text[at..].find('\n').map_or(text.len(), |end| at + end + 1);
    for line in text[end..].split_inclusive('\n') {
        if !line.trim().is_empty() && indent(line) <= least {
            break;
        }
        end += line.len();
    }
    // The line end before it stays to be read.
    let end = if text[..end].ends_with('\n') { end - 1 } else { end };
    end.max(at + 1)
}
