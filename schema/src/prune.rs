//! Drops from the completed tree what says nothing: switches that are off, empty texts and lists.

use crate::attributes::FILE;
use crate::shape::{Keyed, Record, Shape};
use crate::trail::Trail;
use crate::tree::{Entry, Node, Value};

/// Attributes whose `false` differs from their absence.
const FALSE_COUNTS: [&str; 6] =
    ["attach", "create_host_path", "enable_ipv4", "enable_ipv6", "init", "required"];
/// Attributes whose 0 differs from their absence.
const ZERO_COUNTS: [&str; 10] = [
    "hard",
    "max_attempts",
    "mem_swappiness",
    "parallelism",
    "priority",
    "published",
    "replicas",
    "retries",
    "scale",
    "soft",
];
/// Attributes whose empty list differs from its absence.
const EMPTY_COUNTS: [&str; 2] = ["command", "entrypoint"];

/// Prunes the whole file; extension fields stay. Gives what was taken out, by path.
pub(crate) fn prune_file(tree: &mut Node) -> Vec<(String, Entry)> {
    let mut pruner = Pruner::default();
    for (name, entry) in tree.as_map_mut().into_iter().flat_map(|map| &mut map.0) {
        if let Some(attribute) = FILE.attribute(name) {
            pruner.at(name, |pruner| pruner.below(&attribute.shape, &mut entry.node));
        }
    }
    pruner.out
}

#[derive(Default)]
struct Pruner {
    path: Trail,
    out: Vec<(String, Entry)>,
}

impl Pruner {
    fn at<T>(&mut self, name: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.push(name);
        let result = work(self);
        self.path.back_to(length);
        result
    }

    /// Prunes the attributes of a record.
    fn prune(&mut self, record: &Record, node: &mut Node) {
        let Some(map) = node.as_map_mut() else {
            return;
        };
        map.0.retain(|name, entry| {
            let Some(attribute) = record.attribute(name) else {
                let kept = name.starts_with('\0') || name.starts_with("x-");
                return kept || self.take_out(name, entry);
            };
            self.at(name, |pruner| pruner.below(&attribute.shape, &mut entry.node));
            if let ("dns", Value::List(items)) = (name.as_str(), &mut entry.node.value) {
                items.retain(|item| item.as_text() != Some(""));
            }
            says_something(name, &attribute.shape, &entry.node) || self.take_out(name, entry)
        });
    }

    /// Keeps what falls out of the tree; its place is still asked for.
    fn take_out(&mut self, name: &str, entry: &mut Entry) -> bool {
        let empty = Node::new(entry.node.span, Value::Null);
        let node = std::mem::replace(&mut entry.node, empty);
        let path = self.at(name, |pruner| pruner.path.as_str().to_owned());
        self.out.push((path, Entry { key: entry.key, node }));
        false
    }

    fn below(&mut self, shape: &Shape, node: &mut Node) {
        match shape {
            Shape::Record(record) => self.prune(record, node),
            Shape::Nullable(inner)
            | Shape::Whole(inner)
            | Shape::Short(_, inner)
            | Shape::IntOr(inner)
            | Shape::BoolOr(inner) => self.below(inner, node),
            Shape::Map(inner) | Shape::Names(inner) => {
                for (name, entry) in node.as_map_mut().into_iter().flat_map(|map| &mut map.0) {
                    self.at(name, |pruner| pruner.below(inner, &mut entry.node));
                }
            }
            Shape::List(inner) | Shape::Keyed(Keyed { item: inner, .. }) => {
                if let Value::List(items) = &mut node.value {
                    let volumes = self.path.as_str().ends_with(".volumes");
                    let numbers = if volumes { numbers(items) } else { Vec::new() };
                    for (index, item) in items.iter_mut().enumerate() {
                        let number = numbers.get(index).copied().unwrap_or(index);
                        let length = self.path.push_index(number);
                        self.below(inner, item);
                        self.path.back_to(length);
                    }
                }
            }
            _ => {}
        }
    }
}

/// The number of each mount in the order they are made.
fn numbers(items: &[Node]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|index| items[*index].get_text("target").unwrap_or_default());
    let mut numbers = vec![0; items.len()];
    order.into_iter().enumerate().for_each(|(number, index)| numbers[index] = number);
    numbers
}

/// Whether there is an extension field below the top level, or a name that looks like one.
pub(crate) fn has_extensions(tree: &Node) -> bool {
    fn below(node: &Node) -> bool {
        match &node.value {
            Value::Map(map) => map.iter().any(|(name, node)| name.starts_with("x-") || below(node)),
            Value::List(items) => items.iter().any(below),
            _ => false,
        }
    }
    tree.as_map().is_some_and(|map| map.iter().any(|(_, node)| below(node)))
}

/// Takes the extension fields of a record and of all below it away. Names that people give, such
/// as those of variables and labels, stay.
pub(crate) fn without_extensions(record: &Record, node: &mut Node) {
    if let Some(map) = node.as_map_mut() {
        map.0.retain(|name, _| !name.starts_with("x-"));
    }
    without_extensions_below(record, node);
}

/// Takes the extension fields below a record away; its own stay.
pub(crate) fn without_extensions_below(record: &Record, node: &mut Node) {
    for (name, entry) in node.as_map_mut().into_iter().flat_map(|map| &mut map.0) {
        if let Some(attribute) = record.attribute(name) {
            plain(&attribute.shape, &mut entry.node);
        }
    }
}

fn plain(shape: &Shape, node: &mut Node) {
    match shape {
        Shape::Record(record) => without_extensions(record, node),
        Shape::Nullable(inner)
        | Shape::Whole(inner)
        | Shape::Short(_, inner)
        | Shape::IntOr(inner) => plain(inner, node),
        Shape::Map(inner) | Shape::Names(inner) => {
            let map = node.as_map_mut();
            let entries = map.into_iter().flat_map(|map| map.0.values_mut());
            entries.for_each(|entry| plain(inner, &mut entry.node));
        }
        Shape::List(inner) | Shape::Keyed(Keyed { item: inner, .. }) => {
            if let Value::List(items) = &mut node.value {
                items.iter_mut().for_each(|item| plain(inner, item));
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
        Value::Text(text) if text == "0" => {
            !matches!(shape, Shape::Amount(_)) || ZERO_COUNTS.contains(&name)
        }
        Value::Text(text) => !text.is_empty(),
        Value::List(items) => !items.is_empty() || EMPTY_COUNTS.contains(&name),
        Value::Map(map) => !map.0.is_empty() || is_record(shape),
    }
}
