//! How a later value goes over an earlier one, attribute by attribute.
//!
//! Both sides already have the long form, so the rules are few: maps by key, lists append, lists
//! whose entries have a key by that key, the rest is replaced. An empty later value keeps the
//! earlier one; `!reset` removes it, `!override` replaces it.

use std::collections::HashMap;

use crate::problem::{Code, Finding};
use crate::shape::{Keyed, Record, Shape};
use crate::tree::{Entry, Map, Node, Tag, Value};

/// `right` over `left`.
pub fn merge(shape: &Shape, left: Node, right: Node, found: &mut Vec<Finding>) -> Node {
    if right.tag == Tag::Override {
        return Node { tag: Tag::None, ..right };
    }
    if right.is_null() {
        return left;
    }
    if left.is_null() {
        return right;
    }
    match shape {
        Shape::Nullable(inner) | Shape::Short(_, inner) | Shape::IntOr(inner) => {
            merge(inner, left, right, found)
        }
        Shape::Record(record) => match record.replaces {
            Some(replaces) if replaces(&left, &right) => right,
            _ => maps(left, right, found, |name| shape_of(record, name)),
        },
        Shape::Map(item) | Shape::Names(item) => maps(left, right, found, |_| item),
        Shape::Dict(_) => dict(left, right, found),
        Shape::Any | Shape::BoolOr(_) => any(left, right, found),
        Shape::List(_) | Shape::OneOrList(_) => lists(left, right, found, |_| None),
        Shape::Set(_) | Shape::OneOrSet(_) => lists(left, right, found, text_key),
        Shape::Keyed(Keyed { key, .. }) => lists(left, right, found, key),
        Shape::Text
        | Shape::Loose
        | Shape::Bool
        | Shape::Int(..)
        | Shape::Float
        | Shape::Word(_)
        | Shape::Amount(_)
        | Shape::HostPath
        | Shape::Command
        | Shape::Whole(_) => right,
    }
}

fn shape_of(record: &Record, name: &str) -> &'static Shape {
    record.attribute(name).map_or(&Shape::Any, |attribute| &attribute.shape)
}

fn text_key(node: &Node) -> Option<String> {
    crate::walk::loose(&node.value)
}

fn clash(left: &Node, right: &Node, found: &mut Vec<Finding>) {
    let message = format!("{} cannot be merged over {}", right.value.kind(), left.value.kind());
    found.push(
        Finding::at(Code::WrongType, right.span, "this", message)
            .also(left.span, "over this")
            .help("use the same form in both, or `!override` to replace the earlier value"),
    );
}

fn maps<'s>(
    left: Node,
    right: Node,
    found: &mut Vec<Finding>,
    shape: impl Fn(&str) -> &'s Shape,
) -> Node {
    let (mut map, over) = match (left.value, right.value) {
        (Value::Map(map), Value::Map(over)) => (map, over),
        (left_value, right_value) => {
            let left = Node { value: left_value, ..left };
            let right = Node { value: right_value, ..right };
            clash(&left, &right, found);
            return left;
        }
    };
    for (name, entry) in over.0 {
        if entry.node.tag == Tag::Reset {
            map.0.remove(&name);
            continue;
        }
        match map.0.remove(&name) {
            None => {
                map.0.insert(name, entry);
            }
            Some(old) => {
                let keep = entry.node.is_null();
                let node = merge(shape(&name), old.node, entry.node, found);
                let key = if keep { old.key } else { entry.key };
                map.0.insert(name, Entry { key, node });
            }
        }
    }
    Node { span: left.span, tag: Tag::None, value: Value::Map(map) }
}

/// Like maps, but an empty later value counts: the variable has no value of its own any more.
fn dict(left: Node, right: Node, found: &mut Vec<Finding>) -> Node {
    let (Some(_), Some(_)) = (left.as_map(), right.as_map()) else {
        clash(&left, &right, found);
        return left;
    };
    let (Value::Map(mut map), Value::Map(over)) = (left.value, right.value) else {
        return Node::new(left.span, Value::Null);
    };
    for (name, entry) in over.0 {
        match entry.node.tag {
            Tag::Reset => map.0.remove(&name),
            Tag::None | Tag::Override => map.0.insert(name, entry),
        };
    }
    Node::new(left.span, Value::Map(map))
}

fn any(left: Node, right: Node, found: &mut Vec<Finding>) -> Node {
    match (&left.value, &right.value) {
        (Value::Map(_), Value::Map(_)) => maps(left, right, found, |_| &Shape::Any),
        (Value::List(_), Value::List(_)) => lists(left, right, found, |_| None),
        _ => right,
    }
}

fn lists(
    left: Node,
    right: Node,
    found: &mut Vec<Finding>,
    key: impl Fn(&Node) -> Option<String>,
) -> Node {
    let (mut items, over) = match (left.value, right.value) {
        (Value::List(items), Value::List(over)) => (items, over),
        (left_value, right_value) => {
            let left = Node { value: left_value, ..left };
            let right = Node { value: right_value, ..right };
            clash(&left, &right, found);
            return left;
        }
    };
    items.extend(over.into_iter().filter(|item| item.tag != Tag::Reset));
    let node = Node { span: left.span, tag: Tag::None, value: Value::List(items) };
    unique(node, key)
}

/// One entry of each key, the later one at the place of the first.
pub fn unique(mut node: Node, key: impl Fn(&Node) -> Option<String>) -> Node {
    let Value::List(items) = &mut node.value else {
        return node;
    };
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut kept: Vec<Node> = Vec::with_capacity(items.len());
    for item in items.drain(..) {
        match key(&item).map(|key| seen.entry(key).or_insert(kept.len()).to_owned()) {
            Some(at) if at < kept.len() => kept[at] = item,
            _ => kept.push(item),
        }
    }
    *items = kept;
    node
}

/// Takes out what `!reset` marks in a tree that is merged over nothing, and the other tags.
pub fn strip(node: &mut Node) {
    node.tag = Tag::None;
    match &mut node.value {
        Value::Map(Map(map)) => {
            map.retain(|_, entry| entry.node.tag != Tag::Reset);
            map.values_mut().for_each(|entry| strip(&mut entry.node));
        }
        Value::List(items) => {
            items.retain(|item| item.tag != Tag::Reset);
            items.iter_mut().for_each(strip);
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {}
    }
}
