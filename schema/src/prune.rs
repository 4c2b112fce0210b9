//! Drops from the completed tree what says nothing: switches that are off, empty texts and lists,
//! extension fields below the top level.

use crate::attributes::FILE;
use crate::shape::{Keyed, Record, Shape};
use crate::tree::{Node, Value};

/// Attributes whose `false` differs from their absence.
const FALSE_COUNTS: [&str; 6] =
    ["attach", "create_host_path", "enable_ipv4", "enable_ipv6", "init", "required"];
/// Attributes whose 0 differs from their absence.
const ZERO_COUNTS: [&str; 8] =
    ["hard", "mem_swappiness", "parallelism", "priority", "replicas", "retries", "scale", "soft"];
/// Attributes whose empty list differs from its absence.
const EMPTY_COUNTS: [&str; 2] = ["command", "entrypoint"];

/// Prunes the whole file; extension fields of the top level stay.
pub(crate) fn prune_file(tree: &mut Node) {
    for (name, entry) in tree.as_map_mut().into_iter().flat_map(|map| &mut map.0) {
        if let Some(attribute) = FILE.attribute(name) {
            below(&attribute.shape, &mut entry.node);
        }
    }
}

/// Prunes the attributes of a record.
fn prune(record: &Record, node: &mut Node) {
    let Some(map) = node.as_map_mut() else {
        return;
    };
    map.0.retain(|name, entry| {
        let Some(attribute) = record.attribute(name) else {
            return name.starts_with('\0');
        };
        below(&attribute.shape, &mut entry.node);
        if let ("dns", Value::List(items)) = (name.as_str(), &mut entry.node.value) {
            items.retain(|item| item.as_text() != Some(""));
        }
        says_something(name, &attribute.shape, &entry.node)
    });
}

fn below(shape: &Shape, node: &mut Node) {
    match shape {
        Shape::Record(record) => prune(record, node),
        Shape::Nullable(inner)
        | Shape::Whole(inner)
        | Shape::Short(_, inner)
        | Shape::IntOr(inner) => {
            below(inner, node);
        }
        Shape::Map(inner) | Shape::Names(inner) => {
            let map = node.as_map_mut();
            map.into_iter()
                .flat_map(|map| map.0.values_mut())
                .for_each(|entry| below(inner, &mut entry.node));
        }
        Shape::List(inner) | Shape::Keyed(Keyed { item: inner, .. }) => {
            if let Value::List(items) = &mut node.value {
                items.iter_mut().for_each(|item| below(inner, item));
            }
        }
        _ => {}
    }
}

fn is_record(shape: &Shape) -> bool {
    match shape {
        Shape::Record(_) => true,
        Shape::Nullable(inner) | Shape::Short(_, inner) => is_record(inner),
        _ => false,
    }
}

fn says_something(name: &str, shape: &Shape, node: &Node) -> bool {
    match &node.value {
        Value::Null => false,
        Value::Bool(value) => *value || FALSE_COUNTS.contains(&name),
        Value::Int(number) => *number != 0 || ZERO_COUNTS.contains(&name),
        Value::Float(number) => *number != 0.0,
        Value::Text(text) if text == "0" => !matches!(shape, Shape::Amount(_)),
        Value::Text(text) => !text.is_empty(),
        Value::List(items) => !items.is_empty() || EMPTY_COUNTS.contains(&name),
        Value::Map(map) => !map.0.is_empty() || is_record(shape),
    }
}
