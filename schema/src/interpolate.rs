//! `${…}` in values: which variable a text asks for and what it becomes.

use std::collections::BTreeMap;

use crate::problem::{Code, Finding};
use crate::text::{Files, Span};
use crate::tree::{Node, Value};

/// The variables a project sees.
pub type Variables = BTreeMap<String, String>;

/// Why a text cannot be interpolated.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The expression is none.
    Format(String),
    /// A required variable is not there: its name and the message the file gives.
    Required(String, String),
    /// Expressions inside expressions without end.
    TooDeep,
}

/// Interpolates every text below `node`. Keys stay as they are.
pub fn tree(node: &mut Node, variables: &Variables, files: &Files, found: &mut Vec<Finding>) {
    match &mut node.value {
        Value::Text(text) => {
            if text.contains('$') {
                let mut unset = Vec::new();
                let result = text_with(text, variables, &mut unset);
                for name in unset {
                    found.push(unset_warning(&name, narrow(files, node.span, &name)));
                }
                match result {
                    Ok(new) => *text = new,
                    Err(failure) => found.push(finding(failure, files, node.span)),
                }
            }
        }
        Value::List(items) => {
            items.iter_mut().for_each(|item| tree(item, variables, files, found));
        }
        Value::Map(map) => {
            map.0.values_mut().for_each(|entry| tree(&mut entry.node, variables, files, found));
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {}
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
    replace(text, variables, unset, 0)
}

fn replace(
    text: &str,
    variables: &Variables,
    unset: &mut Vec<String>,
    depth: usize,
) -> Result<String, Failure> {
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
            out.push_str(&braced(&after[1..length], expression, variables, unset, depth)?);
            rest = &after[length + 1..];
        } else {
            let name = &after[..name_length(after)];
            match (name, variables.get(name)) {
                ("", _) => out.push('$'),
                (_, Some(value)) => out.push_str(value),
                (_, None) => unset.push(name.to_owned()),
            }
            rest = &after[name.len()..];
        }
    }
    out.push_str(rest);
    Ok(out)
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

/// What stands between the braces. The part behind the operator must be right even when it is
/// not used, but a variable that is not set matters only where it is.
fn braced(
    inside: &str,
    expression: &str,
    variables: &Variables,
    unset: &mut Vec<String>,
    depth: usize,
) -> Result<String, Failure> {
    let name = &inside[..name_length(inside)];
    let wrong = || Err(Failure::Format(expression.to_owned()));
    if name.is_empty() {
        return wrong();
    }
    let value = variables.get(name);
    if name == inside {
        if value.is_none() {
            unset.push(name.to_owned());
        }
        return Ok(value.cloned().unwrap_or_default());
    }
    let rest = &inside[name.len()..];
    let (value, rest) = match rest.strip_prefix(':') {
        Some(rest) => (value.filter(|value| !value.is_empty()), rest),
        None => (value, rest),
    };
    let Some(operator @ (b'-' | b'?' | b'+')) = rest.bytes().next() else {
        return wrong();
    };
    let mut inner_unset = Vec::new();
    let inner = replace(&rest[1..], variables, &mut inner_unset, depth + 1)?;
    match (operator, value) {
        (b'?', None) => Err(Failure::Required(name.to_owned(), inner)),
        (b'+', None) => Ok(String::new()),
        (b'-' | b'?', Some(value)) => Ok(value.clone()),
        _ => {
            unset.append(&mut inner_unset);
            Ok(inner)
        }
    }
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
