//! How a later value goes over an earlier one, attribute by attribute.
//!
//! Both sides already have the long form, so the rules are few: maps by key, lists append, lists
//! whose entries have a key by that key, the rest is replaced. An empty later value keeps the
//! earlier one; `!reset` removes it, `!override` replaces it.

use std::collections::HashMap;

use crate::problem::{Code, Finding};
use crate::shape::{Keyed, Record, Shape};
use crate::text::Span;
use crate::tree::{Entry, Map, Node, Tag, Value};

/// `right` over `left`, which has no tags. The result has none either.
pub fn merge(shape: &Shape, left: Node, right: Node, found: &mut Vec<Finding>) -> Node {
    Merge { found, keep: false }.values(shape, left, right)
}

/// Like [`merge`], but the tags of `right` stay: what comes out is to be put over other files.
pub fn merge_below(shape: &Shape, left: Node, right: Node, found: &mut Vec<Finding>) -> Node {
    Merge { found, keep: true }.values(shape, left, right)
}

fn shape_of(record: &Record, name: &str) -> &'static Shape {
    record.attribute(name).map_or(&Shape::Any, |attribute| &attribute.shape)
}

/// What tells entries of a set apart: the text before `=`.
pub fn text_key(node: &Node) -> Option<String> {
    let mut text = crate::walk::loose(&node.value)?;
    text.truncate(text.find('=').unwrap_or(text.len()));
    Some(text)
}

struct Merge<'f> {
    found: &'f mut Vec<Finding>,
    /// The tags of the later side stay.
    keep: bool,
}

impl Merge<'_> {
    fn values(&mut self, shape: &Shape, left: Node, right: Node) -> Node {
        if right.tag == Tag::Override {
            return self.taken(right);
        }
        match shape {
            Shape::Nullable(inner) | Shape::Short(_, inner) | Shape::IntOr(inner) => {
                return self.values(inner, left, right);
            }
            Shape::Command | Shape::Whole(_) => return self.taken(right),
            _ if right.is_null() => return left,
            _ if left.is_null() => return self.taken(right),
            _ => {}
        }
        match shape {
            Shape::Record(record) => match record.replaces {
                Some(replaces) if replaces(&left, &right) => self.taken(right),
                _ => self.maps(left, right, |name| shape_of(record, name)),
            },
            Shape::Map(item) | Shape::Names(item) => self.maps(left, right, |_| item),
            Shape::Dict(_) => self.dict(left, right),
            Shape::Any | Shape::BoolOr(_) => self.any(left, right),
            Shape::List(_) | Shape::Distinct(_) | Shape::OneOrList(_) => {
                self.lists(left, right, |_| None)
            }
            Shape::Set(_) | Shape::OneOrSet(_) => self.lists(left, right, text_key),
            Shape::Keyed(keyed) if keyed.joins => self.joined(keyed, left, right),
            Shape::Keyed(Keyed { key, .. }) => self.lists(left, right, key),
            Shape::Nullable(_)
            | Shape::Short(..)
            | Shape::IntOr(_)
            | Shape::Whole(_)
            | Shape::Command
            | Shape::Text
            | Shape::Loose
            | Shape::Bool
            | Shape::Int(..)
            | Shape::Float(_)
            | Shape::Word(_)
            | Shape::Amount(_)
            | Shape::HostPath => self.taken(right),
        }
    }

    /// A later value as it goes into the result.
    fn taken(&self, mut node: Node) -> Node {
        if !self.keep {
            strip(&mut node);
        }
        node
    }

    /// Of two forms one is wrong and was told already, unless a variable stands for it. The
    /// earlier one stays.
    fn clash(&mut self, left: (Span, Value), right: (Span, &Value)) -> Node {
        if !self.found.iter().any(Finding::is_error) {
            let message = format!("{} cannot be merged over {}", right.1.kind(), left.1.kind());
            self.found.push(
                Finding::at(Code::WrongType, right.0, "this", message)
                    .also(left.0, "over this")
                    .help("use the same form in both, or `!override` to replace the earlier value"),
            );
        }
        Node::new(left.0, left.1)
    }

    fn maps<'s>(&mut self, left: Node, right: Node, shape: impl Fn(&str) -> &'s Shape) -> Node {
        let (mut map, over) = match (left.value, right.value) {
            (Value::Map(map), Value::Map(over)) => (map, over),
            (value, other) => return self.clash((left.span, value), (right.span, &other)),
        };
        for (name, entry) in over.0 {
            if entry.node.tag == Tag::Reset {
                self.reset(&mut map, name, entry);
                continue;
            }
            let (key, node) = match map.0.remove(&name) {
                None => (entry.key, self.taken(entry.node)),
                Some(old) => {
                    let key = if entry.node.is_null() { old.key } else { entry.key };
                    (key, self.values(shape(&name), old.node, entry.node))
                }
            };
            map.0.insert(name, Entry { key, node });
        }
        Node { span: left.span, tag: Tag::None, value: Value::Map(map) }
    }

    fn reset(&self, map: &mut Map, name: String, entry: Entry) {
        if self.keep {
            map.0.insert(name, entry);
        } else {
            map.0.remove(&name);
        }
    }

    /// Like maps, but an empty later value counts: the variable has no value of its own any more.
    fn dict(&mut self, left: Node, right: Node) -> Node {
        let (mut map, over) = match (left.value, right.value) {
            (Value::Map(map), Value::Map(over)) => (map, over),
            (value, other) => return self.clash((left.span, value), (right.span, &other)),
        };
        for (name, mut entry) in over.0 {
            if entry.node.tag == Tag::Reset {
                self.reset(&mut map, name, entry);
            } else {
                entry.node = self.taken(entry.node);
                map.0.insert(name, entry);
            }
        }
        Node::new(left.span, Value::Map(map))
    }

    fn any(&mut self, left: Node, right: Node) -> Node {
        match (&left.value, &right.value) {
            (Value::Map(_), Value::Map(_)) => self.maps(left, right, |_| &Shape::Any),
            (Value::List(_), Value::List(_)) => self.lists(left, right, |_| None),
            _ => self.taken(right),
        }
    }

    fn lists(&mut self, left: Node, right: Node, key: impl Fn(&Node) -> Option<String>) -> Node {
        let (mut items, over) = match (left.value, right.value) {
            (Value::List(items), Value::List(over)) => (items, over),
            (value, other) => return self.clash((left.span, value), (right.span, &other)),
        };
        let over = over.into_iter().filter(|item| item.tag != Tag::Reset);
        items.extend(over.map(|item| self.taken(item)));
        let node = Node { span: left.span, tag: Tag::None, value: Value::List(items) };
        unique(node, key)
    }

    /// Entries of the same key merged, the others appended.
    fn joined(&mut self, keyed: &Keyed, left: Node, right: Node) -> Node {
        let (mut items, over) = match (left.value, right.value) {
            (Value::List(items), Value::List(over)) => (items, over),
            (value, other) => return self.clash((left.span, value), (right.span, &other)),
        };
        let known = items.iter().enumerate();
        let known: HashMap<String, usize> =
            known.filter_map(|(at, item)| Some(((keyed.key)(item)?, at))).collect();
        for item in over.into_iter().filter(|item| item.tag != Tag::Reset) {
            match (keyed.key)(&item).and_then(|key| known.get(&key)) {
                Some(at) => {
                    let earlier =
                        std::mem::replace(&mut items[*at], Node::new(item.span, Value::Null));
                    items[*at] = self.values(keyed.item, earlier, item);
                }
                None => items.push(self.taken(item)),
            }
        }
        Node::new(left.span, Value::List(items))
    }
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
