//! The canonical text of a tree, as YAML or JSON, keys sorted, in one pass into one text.

use std::fmt::Write as _;

use crate::resources::VALUE;
use crate::scalar;
use crate::tree::{Map, Node, Value};

/// The tree as YAML.
pub(crate) fn yaml(tree: &Node, raw: bool) -> String {
    let mut printer = Printer { raw, out: String::new() };
    printer.yaml(tree, 0);
    printer.out
}

/// The tree as JSON.
pub(crate) fn json(tree: &Node, raw: bool) -> String {
    let mut printer = Printer { raw, out: String::new() };
    printer.json(tree, 0);
    printer.out
}

struct Printer {
    /// Variables are still in the texts, so `$` stays as it is; else every `$` is doubled, so
    /// that reading it again changes nothing.
    raw: bool,
    out: String,
}

/// Entries that are printed: what is no part of the text stays out.
fn entries(map: &Map) -> impl Iterator<Item = (&str, &Node)> {
    map.iter().filter(|(name, _)| *name != VALUE)
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::List(items) => items.is_empty(),
        Value::Map(map) => entries(map).next().is_none(),
        _ => true,
    }
}

impl Printer {
    fn indent(&mut self, depth: usize) {
        const SPACES: &str = "                                                                ";
        let mut left = depth * 2;
        while left > 0 {
            let now = left.min(SPACES.len());
            self.out.push_str(&SPACES[..now]);
            left -= now;
        }
    }

    fn json(&mut self, node: &Node, depth: usize) {
        if is_empty(node) {
            return self.scalar(&node.value);
        }
        let (open, close) = if node.as_map().is_some() { ('{', '}') } else { ('[', ']') };
        self.out.push(open);
        let mut before = "\n";
        for (key, node) in node.as_map().into_iter().flat_map(entries) {
            self.out.push_str(before);
            self.indent(depth + 1);
            self.quoted(key, self.raw);
            self.out.push_str(": ");
            self.json(node, depth + 1);
            before = ",\n";
        }
        for node in node.items() {
            self.out.push_str(before);
            self.indent(depth + 1);
            self.json(node, depth + 1);
            before = ",\n";
        }
        self.out.push('\n');
        self.indent(depth);
        self.out.push(close);
    }

    fn yaml(&mut self, node: &Node, depth: usize) {
        for (key, value) in node.as_map().into_iter().flat_map(entries) {
            self.indent(depth);
            self.text(key, true);
            self.out.push(':');
            if is_empty(value) {
                self.out.push(' ');
                self.yaml_scalar(&value.value);
                self.out.push('\n');
            } else {
                self.out.push('\n');
                self.yaml(value, depth + 1);
            }
        }
        for item in node.items() {
            let dash = self.out.len() + depth * 2;
            if is_empty(item) {
                self.indent(depth);
                self.out.push_str("- ");
                self.yaml_scalar(&item.value);
                self.out.push('\n');
            } else {
                self.yaml(item, depth + 1);
                // The first line of the item carries the dash.
                self.out.replace_range(dash..=dash, "-");
            }
        }
    }

    fn yaml_scalar(&mut self, value: &Value) {
        match value {
            Value::Text(text) => self.text(text, self.raw),
            other => self.scalar(other),
        }
    }

    fn scalar(&mut self, value: &Value) {
        // Writing to a text cannot fail.
        let _ = match value {
            Value::Null => write!(self.out, "null"),
            Value::Bool(value) => write!(self.out, "{value}"),
            Value::Int(value) => write!(self.out, "{value}"),
            Value::Float(value) if value.is_finite() => {
                write!(self.out, "{}", scalar::print_float(*value))
            }
            Value::Float(value) => write!(self.out, "\"{}\"", scalar::print_float(*value)),
            Value::Text(text) => return self.quoted(text, self.raw),
            Value::List(_) => write!(self.out, "[]"),
            Value::Map(_) => write!(self.out, "{{}}"),
        };
    }

    /// Plain where nothing else could be read from it, else in double quotes.
    fn text(&mut self, text: &str, raw: bool) {
        match is_plain(text) {
            true => self.dollars(text, raw),
            false => self.quoted(text, raw),
        }
    }

    fn dollars(&mut self, text: &str, raw: bool) {
        if raw || !text.contains('$') {
            return self.out.push_str(text);
        }
        for (number, part) in text.split('$').enumerate() {
            self.out.push_str(if number == 0 { "" } else { "$$" });
            self.out.push_str(part);
        }
    }

    fn quoted(&mut self, text: &str, raw: bool) {
        self.out.push('"');
        let mut rest = text;
        while let Some(at) = rest.bytes().position(|byte| byte < b' ' || b"\"\\".contains(&byte)) {
            self.dollars(&rest[..at], raw);
            let _ = match rest.as_bytes()[at] {
                b'\n' => write!(self.out, "\\n"),
                b'\r' => write!(self.out, "\\r"),
                b'\t' => write!(self.out, "\\t"),
                8 => write!(self.out, "\\b"),
                12 => write!(self.out, "\\f"),
                byte @ (b'"' | b'\\') => write!(self.out, "\\{}", byte as char),
                byte => write!(self.out, "\\u{byte:04x}"),
            };
            rest = &rest[at + 1..];
        }
        self.dollars(rest, raw);
        self.out.push('"');
    }
}

/// Whether a text stays the same text when it is read without quotes.
fn is_plain(text: &str) -> bool {
    let safe = |b: u8| b.is_ascii_alphanumeric() || b"/._-@+=$ ".contains(&b);
    let Some(first) = text.bytes().next() else {
        return false;
    };
    let words = ["y", "n", "yes", "no", "on", "off"];
    (first.is_ascii_alphabetic() || b"/._$".contains(&first))
        && text.bytes().all(safe)
        && !text.ends_with(' ')
        && !words.iter().any(|word| word.eq_ignore_ascii_case(text))
        && (!b".nNtTfF".contains(&first) || matches!(scalar::plain(text), Value::Text(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Span;

    fn text(text: &str, raw: bool) -> String {
        let mut printer = Printer { raw, out: String::new() };
        printer.text(text, raw);
        printer.out
    }

    #[test]
    fn texts_are_plain_only_where_nothing_else_could_be_read() {
        for (written, shown) in [
            ("plain text", "plain text"),
            ("", "\"\""),
            ("no", "\"no\""),
            ("Null", "\"Null\""),
            (".inf", "\".inf\""),
            (".env", ".env"),
            ("1", "\"1\""),
            ("trailing ", "\"trailing \""),
            ("a: b", "\"a: b\""),
            ("$HOME", "$$HOME"),
            ("a\"\\\n\t\u{1}ü$", "\"a\\\"\\\\\\n\\t\\u0001ü$$\""),
        ] {
            assert_eq!(text(written, false), shown, "{written}");
        }
        assert_eq!(text("$HOME", true), "$HOME");
    }

    #[test]
    fn quotes_are_those_of_json() {
        let all: String = (0..0x250).filter_map(char::from_u32).collect();
        let node = Node::text(Span::default(), all.as_str());
        assert_eq!(json(&node, true), serde_json::Value::from(all).to_string());
    }

    #[test]
    fn lists_in_lists_carry_all_their_dashes() {
        let item = |value| Node::new(Span::default(), value);
        let inner = item(Value::List(vec![item(Value::Int(1)), item(Value::Null)]));
        let outer = item(Value::List(vec![inner, item(Value::List(Vec::new()))]));
        assert_eq!(yaml(&item(Value::List(vec![outer])), false), "- - - 1\n    - null\n  - []\n");
    }
}
