//! `${…}` in values: which variable a text asks for and what it becomes.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::budget::MOST_FILLED;
use crate::problem::{Code, Finding};
use crate::reads::Reads;
use crate::text::{Files, Span};
use crate::tree::{Node, Value};

/// The variables a project sees.
pub type Variables = BTreeMap<String, String>;

/// What knows the values of variables.
pub trait Lookup {
    /// The value of a variable.
    fn value(&self, name: &str) -> Option<&String>;
}

impl Lookup for Variables {
    fn value(&self, name: &str) -> Option<&String> {
        self.get(name)
    }
}

/// Most variables of one text that are told to be not set.
const MOST_UNSET: usize = 20;

/// Why a text cannot be interpolated.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The expression is none.
    Format(String),
    /// A required variable is not there: its name and the message the file gives.
    Required(String, String),
    /// Expressions inside expressions without end.
    TooDeep,
    /// Variables in variables make the text longer than anybody means.
    TooLong,
}

/// Interpolates every text below `node`. Keys stay as they are.
pub fn tree(
    node: &mut Node,
    variables: &Variables,
    files: &Files,
    (found, reads): (&mut Vec<Finding>, &mut Reads),
) {
    Interpolation { filler: Filler::new(variables, MOST_FILLED), files, found, reads }.node(node);
}

struct Interpolation<'a> {
    filler: Filler<'a>,
    files: &'a Files,
    found: &'a mut Vec<Finding>,
    reads: &'a mut Reads,
}

impl Interpolation<'_> {
    fn node(&mut self, node: &mut Node) {
        match &mut node.value {
            Value::Text(text) if text.contains('$') => self.text(text, node.span),
            Value::List(items) => items.iter_mut().for_each(|item| self.node(item)),
            Value::Map(map) => map.0.values_mut().for_each(|entry| self.node(&mut entry.node)),
            _ => {}
        }
    }

    fn text(&mut self, text: &mut String, span: Span) {
        if self.filler.left == 0 {
            return;
        }
        let result = self.filler.replace(text, 0);
        for name in std::mem::take(&mut self.filler.asked) {
            self.reads.variable(&name, narrow(self.files, span, &name));
        }
        let mut seen = BTreeSet::new();
        for name in self.filler.unset.drain(..) {
            if seen.len() < MOST_UNSET && seen.insert(name.clone()) {
                self.found.push(unset_warning(&name, narrow(self.files, span, &name)));
            }
        }
        match result {
            Ok(new) => *text = new,
            Err(failure) => self.found.push(finding(failure, self.files, span)),
        }
    }
}

fn unset_warning(name: &str, span: Span) -> Finding {
    let message = format!("the variable `{name}` is not set, empty text stands in its place");
    Finding::at(Code::UnsetVariable, span, "not set", message).help(format!(
        "set it in the environment or in `.env`, or give a default: `${{{name}:-…}}`"
    ))
}

fn finding(failure: Failure, files: &Files, span: Span) -> Finding {
    match failure {
        Failure::Format(expression) => {
            let span = narrow(files, span, &expression);
            if !expression.ends_with('}') {
                let message = format!("`{expression}` is never closed");
                return Finding::at(Code::Interpolation, span, "opened here", message)
                    .help("close it with `}`, or write `$$` where a dollar sign is meant");
            }
            let message = format!("`{expression}` is not a variable");
            Finding::at(Code::Interpolation, span, "cannot be read", message).help(
                "write `${NAME}` or `${NAME:-default}`, and `$$` where a dollar sign is meant",
            )
        }
        Failure::Required(name, text) => {
            let message = match text.as_str() {
                "" => format!("the variable `{name}` must be set"),
                text => format!("the variable `{name}` must be set: {text}"),
            };
            Finding::at(
                Code::RequiredVariable,
                narrow(files, span, &name),
                "required here",
                message,
            )
            .help(format!("set `{name}` in the environment or in `.env`"))
        }
        Failure::TooDeep => {
            let message = "variables are nested too deeply".to_owned();
            Finding::at(Code::Interpolation, span, "here", message)
        }
        Failure::TooLong => {
            let most = MOST_FILLED >> 20;
            let message = format!("variables make the texts of this file longer than {most} MiB");
            Finding::at(Code::TooLarge, span, "passes the limit here", message)
                .help("use shorter values, or put them into a file that is mounted")
        }
    }
}

/// The part of the written value that names the variable, if it is written out.
fn narrow(files: &Files, span: Span, part: &str) -> Span {
    let raw = files.slice(span);
    let find = |text: &str| raw.find(text).map(|at| (at, text.len()));
    let range = if part.starts_with('$') {
        find(part)
    } else {
        find(&format!("${{{part}")).or_else(|| find(&format!("${part}")))
    };
    let Some((at, length)) = range else {
        return span;
    };
    let closed = raw[at + length..].starts_with('}');
    let start = span.start + at as u32;
    Span { start, end: start + length as u32 + u32::from(closed), ..span }
}

/// `text` with its variables replaced. Variables that are not set are added to `unset`.
pub fn text_with(
    text: &str,
    variables: &Variables,
    unset: &mut Vec<String>,
) -> Result<String, Failure> {
    let mut filler = Filler::new(variables, MOST_FILLED);
    let result = filler.replace(text, 0);
    unset.append(&mut filler.unset);
    result
}

/// Fills texts with the values of variables.
pub struct Filler<'a> {
    /// The values.
    pub variables: &'a dyn Lookup,
    /// Variables that were asked for.
    pub asked: BTreeSet<String>,
    /// Those of them that are not set and count.
    pub unset: Vec<String>,
    /// How many bytes may still be made.
    pub left: usize,
}

impl<'a> Filler<'a> {
    /// With these variables, and room for so many bytes.
    pub fn new(variables: &'a dyn Lookup, left: usize) -> Filler<'a> {
        Filler { variables, asked: BTreeSet::new(), unset: Vec::new(), left }
    }

    fn value(&mut self, name: &str) -> Option<&'a String> {
        if !name.is_empty() {
            self.asked.insert(name.to_owned());
        }
        self.variables.value(name)
    }

    /// `text` with its variables replaced, `depth` expressions deep.
    pub fn replace(&mut self, text: &str, depth: usize) -> Result<String, Failure> {
        if depth > 100 {
            return Err(Failure::TooDeep);
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            let after = &rest[1..];
            if let Some(after) = after.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if after.starts_with('{') {
                let Some(length) = closing(after) else {
                    return Err(Failure::Format(unclosed(rest).to_owned()));
                };
                let expression = &rest[..length + 2];
                let value = self.braced(&after[1..length], expression, depth)?;
                self.push(&mut out, &value)?;
                rest = &after[length + 1..];
            } else {
                let name = &after[..name_length(after)];
                match (name, self.value(name)) {
                    ("", _) => out.push('$'),
                    (_, Some(value)) => self.push(&mut out, value)?,
                    (_, None) => self.unset.push(name.to_owned()),
                }
                rest = &after[name.len()..];
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    fn push(&mut self, out: &mut String, value: &str) -> Result<(), Failure> {
        match self.left.checked_sub(value.len()) {
            Some(left) => self.left = left,
            None => {
                self.left = 0;
                return Err(Failure::TooLong);
            }
        }
        out.push_str(value);
        Ok(())
    }

    /// What stands between the braces. The part behind the operator must be right even when it
    /// is not used, but a variable that is not set matters only where it is.
    fn braced(
        &mut self,
        inside: &str,
        expression: &str,
        depth: usize,
    ) -> Result<Cow<'a, str>, Failure> {
        let name = &inside[..name_length(inside)];
        let wrong = || Err(Failure::Format(expression.to_owned()));
        if name.is_empty() {
            return wrong();
        }
        let value = self.value(name).map(String::as_str);
        if name == inside {
            if value.is_none() {
                self.unset.push(name.to_owned());
            }
            return Ok(value.unwrap_or_default().into());
        }
        let rest = &inside[name.len()..];
        let (value, rest) = match rest.strip_prefix(':') {
            Some(rest) => (value.filter(|value| !value.is_empty()), rest),
            None => (value, rest),
        };
        let Some(operator @ (b'-' | b'?' | b'+')) = rest.bytes().next() else {
            return wrong();
        };
        let known = self.unset.len();
        let inner = self.replace(&rest[1..], depth + 1)?;
        match (operator, value) {
            (b'?', None) => Err(Failure::Required(name.to_owned(), inner)),
            (b'-', None) | (b'+', Some(_)) => Ok(inner.into()),
            (_, value) => {
                self.unset.truncate(known);
                Ok(value.unwrap_or_default().into())
            }
        }
    }
}

/// Where the brace that opens `text` is closed: the first place where all braces are in balance,
/// else the last brace, always in the same line. What follows a brace that opens is never the one
/// that closes it, so `{}` in a default counts as open.
pub(crate) fn closing(text: &str) -> Option<usize> {
    let mut open = 0usize;
    let mut last = None;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\n' => break,
            b'{' => {
                open += 1;
                match bytes.next() {
                    Some((_, b'\n')) => break,
                    Some((at, b'}')) => last = Some(at),
                    _ => {}
                }
            }
            b'}' if open == 1 => return Some(at),
            b'}' => {
                open -= 1;
                last = Some(at);
            }
            _ => {}
        }
    }
    last
}

/// As much of an expression that is never closed as a message needs.
fn unclosed(text: &str) -> &str {
    let line = text.split('\n').next().unwrap_or(text);
    line.char_indices().nth(60).map_or(line, |(at, _)| &line[..at])
}

/// Bytes of the variable name that `text` starts with.
pub(crate) fn name_length(text: &str) -> usize {
    let first = text.bytes().next();
    if !first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_') {
        return 0;
    }
    text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> String {
        let variables = [("A", "a"), ("E", ""), ("D", "$A")];
        let variables = variables.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        match text_with(text, &variables, &mut Vec::new()) {
            Ok(text) => text,
            Err(failure) => format!("{failure:?}"),
        }
    }

    #[test]
    fn every_form_of_the_specification_is_known() {
        for (text, result) in [
            ("$A-${A}", "a-a"),
            ("${X}", ""),
            ("${E:-d} ${E-d} ${X-d}", "d  d"),
            ("${A:+y} ${E:+y} ${E+y} ${X+y}", "y  y "),
            ("${X:-${Y:-$A}}", "a"),
            ("${X:-{\"k\": \"v\"}}", "{\"k\": \"v\"}"),
            ("${X:-http://h:80/}", "http://h:80/"),
            ("$$A $$$A", "$A $a"),
            ("$1 $ x 5$ ^re$", "$1 $ x 5$ ^re$"),
            ("${D}", "$A"),
            ("${X:?no $A}", "Required(\"X\", \"no a\")"),
            ("${X?}", "Required(\"X\", \"\")"),
            ("${}", "Format(\"${}\")"),
            ("${1a}", "Format(\"${1a}\")"),
            ("${A.b}", "Format(\"${A.b}\")"),
            ("${ A }", "Format(\"${ A }\")"),
            ("${A:1}", "Format(\"${A:1}\")"),
            ("${A:}", "Format(\"${A:}\")"),
            ("${A", "Format(\"${A\")"),
            ("${X:-{}}", "{}"),
            ("${X:-{}", "{"),
            ("${X:-a{b}", "a{b"),
            ("${X:-a}b}", "ab}"),
            ("${X:-{a}}$A", "{a}a"),
            ("${X:-{}}${A}", "Format(\"${A\")"),
            ("${X:-a\nb}", "Format(\"${X:-a\")"),
            ("${X:-a}\n${A}", "a\na"),
            ("${A:-${X:?no}}", "Required(\"X\", \"no\")"),
            ("${X:+${}}", "Format(\"${}\")"),
        ] {
            assert_eq!(with(text), result, "{text}");
        }
    }

    #[test]
    fn a_variable_in_a_default_that_is_not_used_need_not_be_set() {
        let variables = [("A".to_owned(), "a".to_owned())].into();
        let mut unset = Vec::new();
        assert_eq!(
            text_with("${A:-$X} ${X:+$Y} ${Y:-$Z}", &variables, &mut unset),
            Ok("a  ".into())
        );
        assert_eq!(unset, ["Z"]);
    }

    #[test]
    fn endless_nesting_is_an_error_and_no_overflow() {
        let text = format!("{}{}", "${X:-".repeat(10_000), "}".repeat(10_000));
        assert_eq!(with(&text), "TooDeep");
    }
}
