//! Values that hold no others: texts, numbers, words, amounts with a unit.

use super::Walk;
use crate::problem::{Code, Finding};
use crate::shape::{Grammar, Range, Shape};
use crate::tree::{Node, Value};
use crate::value::{self, Bad};

impl Walk<'_> {
    /// Holds a value without parts against its type.
    pub(super) fn scalar(&mut self, shape: &Shape, node: &mut Node) {
        match shape {
            Shape::Text if node.as_text().is_none() => self.wrong(node, "text"),
            Shape::Loose => match super::loose(&node.value) {
                Some(text) => node.value = Value::Text(text),
                None => self.wrong(node, "text or a number"),
            },
            Shape::Bool => self.boolean(node),
            Shape::Int(range) => self.int(range, node),
            Shape::Float(range) => self.float(range, node),
            Shape::Word(words) => self.word(words, node),
            Shape::Amount(grammar) => self.amount(grammar, node),
            Shape::HostPath => match node.as_text() {
                Some(path) => node.value = Value::Text(self.absolute(path)),
                None => self.wrong(node, "text"),
            },
            Shape::Command => self.command(node),
            _ => {}
        }
    }

    pub(super) fn boolean(&mut self, node: &mut Node) {
        let word = node.as_text().map(|text| (text.to_owned(), value::boolean(text)));
        match (&node.value, word) {
            (Value::Bool(_), _) => {}
            (_, Some((text, Some((value, old))))) => {
                if old {
                    let message = format!("`{}`: `{text}` is read as {value}", self.path);
                    self.found.push(
                        Finding::at(Code::Obsolete, node.span, "an old word", message)
                            .help(format!("write `{value}`")),
                    );
                }
                node.value = Value::Bool(value);
            }
            _ => self.wrong(node, "true or false"),
        }
    }

    fn int(&mut self, range: &Range, node: &mut Node) {
        let number = node.as_text().map_or(Some(node.value.clone()), value::number);
        let number = match number {
            Some(Value::Int(number)) => number,
            Some(Value::Float(number)) if number.fract() == 0.0 => number as i128,
            _ => return self.wrong(node, "a whole number"),
        };
        if self.within(range, number, node) {
            node.value = Value::Int(number);
        }
    }

    fn float(&mut self, range: &Range, node: &mut Node) {
        let number = match node.as_text().map_or(Some(node.value.clone()), value::number) {
            Some(Value::Float(number)) => number,
            Some(Value::Int(number)) => number as f64,
            _ => return self.wrong(node, "a number"),
        };
        if range.spans(number) || (self.lax && !range.firm) {
            node.value = Value::Float(number);
        } else {
            self.bad(node, Bad { why: format!("is not {}", range.words()), help: None });
        }
    }

    fn amount(&mut self, grammar: &Grammar, node: &mut Node) {
        let value = match (grammar.read)(&node.value) {
            Ok(value) => value,
            Err(_) if self.lax && !grammar.firm && node.as_text().is_some() => return,
            Err(reason) => return self.bad(node, reason),
        };
        let number = match (grammar.range, &value) {
            (Some(range), Value::Int(number)) => Some((range, *number)),
            (Some(range), Value::Text(text)) => text.parse().ok().map(|number| (range, number)),
            _ => None,
        };
        if number.is_none_or(|(range, number)| self.within(range, number, node)) {
            node.value = value;
        }
    }

    /// Whether a number is of its range; notes when not.
    fn within(&mut self, range: &Range, number: i128, node: &Node) -> bool {
        let fits = range.holds(number) || (self.lax && !range.firm);
        if !fits {
            self.bad(node, Bad { why: range.refusal(number), help: None });
        }
        fits
    }

    fn word(&mut self, words: &[&str], node: &Node) {
        let Some(text) = node.as_text() else {
            return self.wrong(node, "text");
        };
        if !words.contains(&text) {
            let part = || words.iter().copied().find(|word| word.contains(text));
            let help = match value::nearest(text, words.iter().copied()).or_else(part) {
                Some(word) => format!("did you mean `{word}`?"),
                None => format!("it is one of {}", words.join(", ")),
            };
            self.bad(node, Bad { why: "is not known here".into(), help: Some(help) });
        }
    }

    fn command(&mut self, node: &mut Node) {
        match &node.value {
            Value::Text(text) => match value::words(text) {
                Ok(words) => {
                    let items = words.into_iter().map(|word| Node::text(node.span, word));
                    node.value = Value::List(items.collect());
                }
                Err(reason) => self.bad(node, reason),
            },
            Value::List(_) => self.list(&Shape::Text, node),
            _ => self.wrong(node, "text or a list of texts"),
        }
    }
}
