//! Values that YAML takes for something else, and signs that stand alone.

use super::{Line, Sight, closing, directive, open_at, quote, shown};
use crate::problem::Finding;
use crate::text::Span;
use crate::value;

impl Sight<'_> {
    /// What is wrong with the value or sign at the place.
    pub(super) fn of_a_value(&self, info: &str) -> Option<Finding> {
        let says = |word: &str| info.contains(word);
        match self.rest().chars().next() {
            _ if says("intercepting") || self.goes_on_behind_a_comment() => {
                self.comment_in_a_text()
            }
            Some(open @ ('[' | '{')) if says("mismatched") => self.wrong_bracket(open),
            Some(bracket @ (']' | '}')) => Some(self.closes_nothing(bracket)),
            Some(',') => Some(self.reserved()),
            Some('|' | '>') if says("block scalar") => Some(self.behind_a_bar()),
            Some('!') if says("handle") => Some(self.tag_of_nobody()),
            Some('\u{feff}') => Some(self.mark_of_order()),
            Some('%') => self.of_a_directive(),
            Some('"') if says("hexadecimal") || says("surrogate") || says("escape code") => {
                Some(self.no_character())
            }
            Some(':') if says("mapping values") => self.colon_at_the_end(),
            _ => None,
        }
    }

    /// A sign that says nothing without what should follow it.
    pub(super) fn alone(&self, info: &str) -> Option<Finding> {
        if info.contains("document start") {
            let line = self.text.lines().position(|line| line.starts_with('%'))?;
            let start = self.text.lines().take(line).map(|line| line.len() + 1).sum();
            let end = start + self.text[start..].lines().next()?.trim_end().len();
            let message = "no document follows this directive".to_owned();
            let found = self.found(start, end, "stands alone", message);
            return Some(found.help("put `---` in the next line and the services below it"));
        }
        let rest = self.rest();
        if info.contains("unclosed quote") && rest.starts_with(['"', '\'']) {
            let quote = rest.chars().next()?;
            let message = "this quote is never closed".to_owned();
            let found = self.found(self.at, self.at + rest.len(), "opened here", message);
            return Some(found.help(format!("close it with {}", shown(quote))));
        }
        let before = self.text.get(..self.at)?.trim_end();
        let word = before.rsplit([' ', '\n']).next()?;
        if rest.starts_with('*') && word.starts_with('&') {
            let start = before.len() - word.len();
            let message = "an alias cannot have an anchor of its own".to_owned();
            let found = self.found(start, self.at + rest.len(), "both at once", message);
            return Some(found.help(format!("take `{word}` away")));
        }
        None
    }

    pub(super) fn reserved(&self) -> Finding {
        let rest = self.rest();
        let first = rest.chars().next().unwrap_or(' ');
        let message = format!("a value cannot start with {}", shown(first));
        self.found(self.at, self.at + rest.len(), "needs quotes", message).help(self.quoted())
    }

    /// `*name` without the anchor, or a `*` that was meant as one.
    pub(super) fn alias(&self) -> Finding {
        let rest = self.rest();
        let sign = rest.chars().next().unwrap_or('*');
        let word = rest.get(1..).unwrap_or_default();
        let name = word.split([' ', ',', ']', '}']).next().unwrap_or_default();
        let ok = |c: char| c.is_alphanumeric() || "_-".contains(c);
        if name.is_empty() || !name.chars().all(ok) {
            let what = if sign == '&' { "an anchor" } else { "an alias" };
            let message = format!("a value that starts with `{sign}` is {what}, and this is none");
            return self
                .found(self.at, self.at + rest.len(), "needs quotes", message)
                .help(self.quoted());
        }
        let message = format!("no anchor `&{name}` stands above this alias");
        let found = self.found(self.at, self.at + 1 + name.len(), "refers to nothing", message);
        let anchors = || anchors(self.text);
        if let Some((at, _)) = anchors().find(|(at, other)| *at > self.at && *other == name) {
            let number = self.text[..at].matches('\n').count() + 1;
            return found.help(format!("it stands below, in line {number}: move it above"));
        }
        match value::nearest(name, anchors().map(|(_, name)| name)) {
            Some(near) => found.help(format!("did you mean `*{near}`?")),
            None => found.help(format!("write `&{name}` before the value that it stands for")),
        }
    }

    pub(super) fn escape(&self) -> Option<Finding> {
        let inside = self.text.get(self.at + 1..)?;
        let end = inside.find(['"', '\n']).unwrap_or(inside.len());
        let mut rest = &inside[..end];
        let mut start = self.at + 1;
        let bad = loop {
            let at = rest.find('\\')?;
            let c = rest[at + 1..].chars().next()?;
            start += at;
            if !"0abtnvfre \"/\\N_LPxuU\t".contains(c) {
                break c;
            }
            start += 1 + c.len_utf8();
            rest = &rest[at + 1 + c.len_utf8()..];
        };
        let message = format!("`\\{bad}` means nothing in double quotes");
        let found = self.found(start, start + 1 + bad.len_utf8(), "no escape", message);
        let single = inside[..end].replace('\'', "''");
        Some(found.help(format!("single quotes keep backslashes as they are: `'{single}'`")))
    }

    pub(super) fn after_a_quote(&self) -> Finding {
        let rest = self.rest();
        let quote = self.text[..self.at].chars().next_back().unwrap_or('"');
        let message = "the quote ends before this text".to_owned();
        let found = self.found(self.at, self.at + rest.len(), "not inside the quotes", message);
        found.help(match quote {
            '\'' => "write `''` for a `'` inside single quotes",
            _ => "write `\\\"` for a `\"` inside double quotes",
        })
    }

    fn wrong_bracket(&self, open: char) -> Option<Finding> {
        let wanted = closing(open);
        let wrong = if wanted == ']' { '}' } else { ']' };
        let inside = Some(&(self.at, open));
        let mut ends = self.text[self.at..].match_indices(wrong).map(|(at, _)| self.at + at);
        // Brackets between have brackets of their own; few of them are looked at.
        let at =
            ends.by_ref().take(100).find(|at| open_at(self.text, *at).brackets.last() == inside)?;
        let message = format!("`{open}` is closed by `{wrong}`");
        let found = self.found(at, at + 1, "closed here", message);
        let span = Span { file: self.file, start: self.at as u32, end: self.at as u32 + 1 };
        Some(found.also(span, "opened here").help(format!("write `{wanted}`")))
    }

    fn closes_nothing(&self, bracket: char) -> Finding {
        let message = format!("this `{bracket}` closes nothing");
        self.found(self.at, self.at + 1, "nothing is open", message)
            .help("take it away, or put the whole value in quotes")
    }

    /// `>x` and `|x`, which start a text of several lines.
    fn behind_a_bar(&self) -> Finding {
        let rest = self.rest();
        let (bar, word) = rest.split_at(1);
        let message = format!(
            "`{bar}` starts a text that stands in the lines below, and `{}` is behind it",
            word.trim()
        );
        let found = self.found(self.at, self.at + rest.len(), "not only a sign", message);
        found.help(self.quoted())
    }

    fn tag_of_nobody(&self) -> Finding {
        let rest = self.rest();
        let tag = rest.split_whitespace().next().unwrap_or(rest);
        let message = format!("the tag `{tag}` is declared nowhere");
        let found = self.found(self.at, self.at + tag.len(), "a tag", message);
        found.help(format!(
            "Compose knows `!reset` and `!override`; for a text that starts with `!`, {}",
            self.quoted()
        ))
    }

    fn mark_of_order(&self) -> Finding {
        let message = "an invisible mark stands here that belongs to the start of files".to_owned();
        let end = self.at + '\u{feff}'.len_utf8();
        self.found(self.at, end, "a byte-order mark", message)
            .help("delete the character before this place; files that were joined often hold it")
    }

    /// A line without a key, deeper than the value above it, with a comment between.
    fn goes_on_behind_a_comment(&self) -> bool {
        let line = self.line();
        let before = self.lines().take_while(|other| other.start < line.start).last();
        let comment = before.is_some_and(|before| before.content().starts_with('#'));
        let value = self.above().next().filter(|above| above.indent() < line.indent());
        let value = value.and_then(Line::pair).is_some_and(|(_, value)| !value.is_empty());
        comment && value && line.pair().is_none() && !line.content().starts_with("- ")
    }

    /// The comment above the line that the text goes on in.
    fn comment_in_a_text(&self) -> Option<Finding> {
        let here = self.line().start;
        let above = self.lines().take_while(|line| line.start < here);
        let comment = above.filter(|line| line.content().contains('#')).last()?;
        let start = comment.start + comment.text.find('#')?;
        let message = "a comment stands in a text that goes on in the next line".to_owned();
        let found = self.found(start, comment.end(), "in the text", message);
        Some(found.help("move the comment above the text, or indent the next line as its key is"))
    }

    fn of_a_directive(&self) -> Option<Finding> {
        let line = self.line();
        let (start, end) = (line.start as u32, line.end() as u32);
        directive(Span { file: self.file, start, end }, line.text)
    }

    fn no_character(&self) -> Finding {
        let inside = &self.text[self.at + 1..];
        let end = inside.find(['"', '\n']).unwrap_or(inside.len());
        let message = "a `\\x`, `\\u` or `\\U` in double quotes names no character".to_owned();
        let found = self.found(self.at, self.at + end + 2, "in here", message);
        let single = inside[..end].replace('\'', "''");
        found.help(format!("single quotes keep backslashes as they are: `'{single}'`"))
    }

    /// `key: value:`.
    fn colon_at_the_end(&self) -> Option<Finding> {
        let line = self.line();
        let (key, value) = line.pair()?;
        if !value.ends_with(':') {
            return None;
        }
        let start = line.end() - value.len();
        let message = format!("the value of `{key}` ends with a colon");
        let found = self.found(start, line.end(), "needs quotes", message);
        Some(found.help(format!("write it in quotes: `{key}: {}`", quote(value))))
    }

    /// `-value` below `- value`.
    pub(super) fn no_space_behind_a_dash(&self, line: Line<'_>) -> Option<Finding> {
        let value = line.content().strip_prefix('-').filter(|value| !value.starts_with('-'))?;
        let mut above = self.above().filter(|above| above.start < line.start);
        let item = above.find(|above| above.indent() <= line.indent())?;
        if !item.content().starts_with("- ") || item.indent() != line.indent() {
            return None;
        }
        let message = "there is no space behind the dash".to_owned();
        let found = self.found(line.begin(), line.begin() + 1, "no space behind it", message);
        Some(found.help(format!("write `- {value}`")))
    }
}

/// Names behind `&`, with the place of the sign.
fn anchors(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices(" &").map(move |(at, _)| {
        let rest = &text[at + 2..];
        let end = rest.find(|c: char| c.is_whitespace() || ",]}".contains(c));
        (at + 1, &rest[..end.unwrap_or(rest.len())])
    })
}
