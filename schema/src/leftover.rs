//! What is still empty, or still missing, after everything is merged.

use std::collections::HashMap;

use crate::problem::{Code, Finding};
use crate::shape::{Keyed, Record, Shape};
use crate::text::Span;
use crate::trail::Trail;
use crate::tree::{Node, Value};

/// Notes what is still empty, or still missing, after everything is merged.
pub fn leftover(record: &Record, node: &Node, path: &mut Trail, found: &mut Vec<Finding>) {
    let Some(map) = node.as_map() else {
        return;
    };
    for name in record.required {
        if !map.has(name) {
            let message = format!("`{path}`: {} needs `{name}`", record.name);
            found.push(
                Finding::at(Code::Missing, node.span, format!("no `{name}`"), message)
                    .help(format!("add `{name}:`")),
            );
        }
    }
    for (name, entry) in &map.0 {
        if let Some(attribute) = record.attribute(name) {
            path.below(name, |path| {
                leftover_value(&attribute.shape, entry.key, &entry.node, path, found);
            });
        }
    }
}

fn leftover_value(
    shape: &Shape,
    key: Span,
    node: &Node,
    path: &mut Trail,
    found: &mut Vec<Finding>,
) {
    match shape {
        Shape::Nullable(inner) if !node.is_null() => leftover_value(inner, key, node, path, found),
        Shape::Nullable(_) | Shape::Any => {}
        Shape::IntOr(_) if matches!(node.value, Value::Int(_)) => {}
        Shape::BoolOr(_) if matches!(node.value, Value::Bool(_)) => {}
        Shape::Whole(inner)
        | Shape::Short(_, inner)
        | Shape::IntOr(inner)
        | Shape::BoolOr(inner) => {
            leftover_value(inner, key, node, path, found);
        }
        _ if node.is_null() => {
            let message = format!("`{path}` is left empty");
            found.push(
                Finding::at(Code::WrongType, key, "has no value", message)
                    .help("give it a value, or take the key away"),
            );
        }
        Shape::Record(record) => leftover(record, node, path, found),
        Shape::Map(inner) | Shape::Names(inner) => {
            for (name, entry) in node.as_map().into_iter().flat_map(|map| &map.0) {
                path.below(name, |path| leftover_value(inner, entry.key, &entry.node, path, found));
            }
        }
        Shape::Distinct(_) => distinct(node, path, found),
        Shape::Keyed(Keyed { item: inner, .. }) | Shape::List(inner) => {
            // What stood where in the text is not known any more.
            for item in node.items() {
                leftover_value(inner, item.span, item, path, found);
            }
        }
        _ => {}
    }
}

/// Notes entries that stand twice in a list where each must differ.
fn distinct(node: &Node, path: &Trail, found: &mut Vec<Finding>) {
    let mut seen: HashMap<&str, Span> = HashMap::new();
    for item in node.items() {
        let Some(text) = item.as_text() else {
            continue;
        };
        if let Some(first) = seen.insert(text, item.span) {
            let message = format!("`{path}` has `{text}` twice");
            found.push(
                Finding::at(Code::Duplicate, item.span, "again here", message)
                    .also(first, "first here")
                    .help("keep one of them"),
            );
        }
    }
}
