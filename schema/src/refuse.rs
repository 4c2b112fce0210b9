//! Tells what the file asks for that berth does not do: refused for now, or without effect here.

use crate::attributes::FILE;
use crate::problem::{Code, Finding};
use crate::shape::{Class, Inert, Keyed, Record, Shape};
use crate::trail::Trail;
use crate::tree::{Entry, Node, Value};

/// Notes every attribute of the completed tree that is not done.
pub(crate) fn report(tree: &Node, found: &mut Vec<Finding>) {
    record(&FILE, tree, &mut Trail::default(), found);
}

fn record(record: &Record, node: &Node, path: &mut Trail, found: &mut Vec<Finding>) {
    for (name, entry) in node.as_map().iter().flat_map(|map| &map.0) {
        let Some(attribute) = record.attribute(name) else {
            continue;
        };
        if says_nothing(&entry.node) {
            continue;
        }
        path.below(name, |path| match attribute.class {
            Class::Done => below(&attribute.shape, &entry.node, path, found),
            Class::Later => found.push(not_yet(entry, path)),
            Class::Inert(inert) => found.push(no_effect(inert, entry, path)),
        });
    }
}

/// Empty values and switches that are off ask for nothing.
fn says_nothing(node: &Node) -> bool {
    match &node.value {
        Value::Null | Value::Bool(false) => true,
        Value::List(items) => items.is_empty(),
        Value::Map(map) => map.0.is_empty(),
        Value::Bool(true) | Value::Int(_) | Value::Float(_) | Value::Text(_) => false,
    }
}

fn not_yet(entry: &Entry, path: &Trail) -> Finding {
    let message =
        format!("`{path}` is part of the Compose Specification, but berth does not do it yet");
    Finding::at(Code::NotYet, entry.key, "not done yet", message)
        .help("take it away to go on without it")
}

fn no_effect(inert: Inert, entry: &Entry, path: &Trail) -> Finding {
    let message = format!("`{path}` has no effect: {}", inert.why);
    Finding::at(Code::Inert, entry.key, "no effect here", message)
        .help(format!("take it away, or keep it for {}", inert.elsewhere))
}

fn below(shape: &Shape, node: &Node, path: &mut Trail, found: &mut Vec<Finding>) {
    match shape {
        Shape::Record(inner) => record(inner, node, path, found),
        Shape::Map(inner) | Shape::Names(inner) => {
            for (name, value) in node.as_map().iter().flat_map(|map| map.iter()) {
                path.below(name, |path| below(inner, value, path, found));
            }
        }
        Shape::Nullable(inner)
        | Shape::Whole(inner)
        | Shape::IntOr(inner)
        | Shape::BoolOr(inner)
        | Shape::Short(_, inner) => {
            below(inner, node, path, found);
        }
        Shape::List(inner) | Shape::Keyed(Keyed { item: inner, .. }) => {
            for (index, value) in node.items().iter().enumerate() {
                path.item(index, |path| below(inner, value, path, found));
            }
        }
        _ => {}
    }
}
