//! The way of a value through the text: anchors, aliases and merge keys, read from the text again.

use std::collections::BTreeMap;

use serde_yaml::granit_parser::{Event, Parser};

use super::layers::Step;
use crate::text::{File, Span};
use crate::tree::{Node, Value};

/// An alias and what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Alias {
    /// `*name`.
    pub at: Span,
    /// The value with the anchor.
    pub anchor: Span,
    /// It stands after `<<:`.
    pub merged: bool,
}

/// All aliases of a text in their order.
pub(crate) fn aliases(number: u32, file: &File) -> Vec<Alias> {
    let mut anchors: BTreeMap<usize, Span> = BTreeMap::new();
    let mut open: Vec<(usize, u32)> = Vec::new();
    let mut found = Vec::new();
    for event in Parser::new_from_str(&file.text) {
        let Ok((event, marks)) = event else { break };
        let range = marks.byte_range().unwrap_or(0..0);
        let span = Span { file: number, start: range.start as u32, end: range.end as u32 };
        match event {
            Event::Scalar(_, _, anchor, _) if anchor != 0 => {
                anchors.insert(anchor, span);
            }
            Event::SequenceStart(_, anchor, _) | Event::MappingStart(_, anchor, _) => {
                open.push((anchor, span.start));
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some((anchor, start)) = open.pop().filter(|(anchor, _)| *anchor != 0) {
                    anchors.insert(anchor, Span { start, ..span });
                }
            }
            Event::Alias(id) => {
                let anchor = anchors.get(&id).copied();
                found.extend(anchor.map(|anchor| Alias { at: span, anchor, merged: false }));
            }
            _ => {}
        }
    }
    found
}

/// The aliases that a path goes through in a document, outermost first.
pub(crate) fn through(raw: &Node, path: &[Step], target: Span, aliases: &[Alias]) -> Vec<Alias> {
    let mut passed = Vec::new();
    let mut node = raw;
    // From here on the text of the value at hand begins.
    let mut begin = 0;
    for step in path {
        match (step, &node.value) {
            (Step::Key(name), Value::Map(map)) => {
                let Some(entry) = map.0.get(name) else { break };
                if !within(entry.key, node.span) {
                    let from = aliases
                        .iter()
                        .find(|alias| alias.at.start >= begin && within(entry.key, alias.anchor));
                    passed.extend(from.map(|alias| Alias { merged: true, ..*alias }));
                }
                (begin, node) = (entry.key.end, &entry.node);
                // An alias stands for something before it.
                if node.span.start < begin {
                    let from = aliases
                        .iter()
                        .find(|alias| alias.at.start >= begin && within(node.span, alias.anchor));
                    passed.extend(from.copied());
                    begin = from.map_or(node.span.start, |alias| alias.anchor.start);
                }
            }
            (Step::Item { .. }, Value::List(items)) => {
                // Entries that are given in a short form have the place of the whole.
                let Some(item) =
                    items.iter().find(|item| item.span == target || within(target, item.span))
                else {
                    break;
                };
                if !within(item.span, node.span) {
                    let from = aliases.iter().find(|alias| {
                        within(alias.at, node.span) && within(item.span, alias.anchor)
                    });
                    passed.extend(from.copied());
                }
                (begin, node) = (item.span.start, item);
            }
            _ => break,
        }
    }
    passed
}

fn within(inner: Span, outer: Span) -> bool {
    inner.file == outer.file && inner.start >= outer.start && inner.end <= outer.end
}

/// The value as it is written that has exactly this place.
pub(crate) fn find(raw: &Node, span: Span) -> Option<&Node> {
    let mut open = vec![raw];
    while let Some(node) = open.pop() {
        if node.span == span && node.as_map().is_none_or(|map| !map.0.is_empty()) {
            return Some(node);
        }
        match &node.value {
            Value::Map(map) => open.extend(map.0.values().map(|entry| &entry.node)),
            Value::List(items) => open.extend(items),
            _ => {}
        }
    }
    None
}
