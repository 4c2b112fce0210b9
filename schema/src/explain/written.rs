//! The way of a value through the text: anchors, aliases and merge keys, read from the text again.

use std::collections::{BTreeMap, BTreeSet};

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
                    passed.extend(chain(aliases, begin, entry.key, true));
                }
                (begin, node) = (entry.key.end, &entry.node);
                // An alias stands for something before it.
                if node.span.start < begin {
                    let chain = chain(aliases, begin, node.span, false);
                    begin = chain.last().map_or(node.span.start, |alias| alias.anchor.start);
                    passed.extend(chain);
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
                    passed.extend(chain(aliases, node.span.start, item.span, false));
                }
                (begin, node) = (item.span.start, item);
            }
            _ => break,
        }
    }
    passed
}

/// The aliases from the first one after `begin` that leads to `target`, over the aliases inside
/// what it stands for.
fn chain(aliases: &[Alias], begin: u32, target: Span, merged: bool) -> Vec<Alias> {
    let mut seen = BTreeSet::new();
    let mut chain = Vec::new();
    let all = Span { start: begin, end: u32::MAX, ..target };
    leads(aliases, all, target, merged, &mut seen, &mut chain);
    chain.reverse();
    chain
}

fn leads(
    aliases: &[Alias],
    within_text: Span,
    target: Span,
    merged: bool,
    seen: &mut BTreeSet<Span>,
    chain: &mut Vec<Alias>,
) -> bool {
    let from = aliases.partition_point(|alias| alias.at.start < within_text.start);
    for alias in aliases[from..].iter().take_while(|alias| alias.at.end <= within_text.end) {
        if !seen.insert(alias.anchor) {
            continue;
        }
        let here = within(target, alias.anchor);
        if here || leads(aliases, alias.anchor, target, merged, seen, chain) {
            chain.push(Alias { merged, ..*alias });
            return true;
        }
    }
    false
}

fn within(inner: Span, outer: Span) -> bool {
    inner.file == outer.file && inner.start >= outer.start && inner.end <= outer.end
}

/// The innermost value as it is written that has exactly this place, and whether it is an entry
/// of a list.
pub(crate) fn find(raw: &Node, span: Span) -> Option<(&Node, bool)> {
    let is = |node: &Node| node.span == span && node.as_map().is_none_or(|map| !map.0.is_empty());
    let mut open = vec![(raw, false)];
    while let Some((mut node, mut is_item)) = open.pop() {
        if is(node) {
            while let Some(item) = node.items().iter().find(|item| is(item)) {
                (node, is_item) = (item, true);
            }
            return Some((node, is_item));
        }
        match &node.value {
            Value::Map(map) => open.extend(map.0.values().map(|entry| (&entry.node, false))),
            Value::List(items) => open.extend(items.iter().map(|item| (item, true))),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Files;

    /// The aliases on the way to `path` in a text.
    fn passed(text: &str, path: &[&str]) -> String {
        let mut files = Files::default();
        let number = files.add("a.yaml".into(), text);
        let raw = crate::yaml::parse(&files, number, &mut Vec::new()).remove(0);
        let aliases = aliases(number, files.get(number).unwrap());
        let target = raw.at(path).unwrap().span;
        let steps: Vec<Step> = path.iter().map(|name| Step::Key((*name).to_owned())).collect();
        let passed = through(&raw, &steps, target, &aliases);
        let shown = passed.iter().map(|alias| {
            let merge = if alias.merged { "<<: " } else { "" };
            format!("{merge}{}", files.slice(alias.at))
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    const TEXT: &str = "a: &a { k: 1 }\nb: &b\n  <<: *a\n  l: 2\nc: &c { z: 3 }\n\
                        d: &d\n  e:\n    <<: [*c, *b]\n  own: 4\nf: *b\ng: { <<: *d }\n";

    #[test]
    fn merge_keys_are_followed_through_each_other() {
        assert_eq!(passed(TEXT, &["d", "e", "k"]), "<<: *b, <<: *a");
        assert_eq!(passed(TEXT, &["d", "e", "z"]), "<<: *c");
        assert_eq!(passed(TEXT, &["g", "e", "k"]), "<<: *d, <<: *b, <<: *a");
        assert_eq!(passed(TEXT, &["d", "own"]), "");
    }

    #[test]
    fn an_alias_is_followed_into_the_merge_keys_of_its_anchor() {
        assert_eq!(passed(TEXT, &["f", "l"]), "*b");
        assert_eq!(passed(TEXT, &["f", "k"]), "*b, <<: *a");
    }
}
