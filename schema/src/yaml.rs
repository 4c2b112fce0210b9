//! YAML events → [`Node`]: aliases, merge keys, duplicate keys, limits.
//!
//! The builder keeps its own stack, so no input can exhaust the thread's.

use std::collections::HashMap;

use serde_yaml::granit_parser::{Event, Parser, ScalarStyle, Span as Marks, Tag as YamlTag};

use crate::problem::{Code, Finding};
use crate::scalar;
use crate::syntax;
use crate::text::{Files, Span};
use crate::tree::{Entry, Map, Node, Tag, Value};
use crate::value;

/// Most values one file may hold once its aliases are expanded.
const MOST_NODES: usize = 1_000_000;
/// How deep values may be nested once aliases are expanded.
const DEEPEST: usize = 400;

/// The documents of a file, and what is wrong with it. With a syntax error the documents before
/// it are given.
pub fn parse(files: &Files, file: u32, found: &mut Vec<Finding>) -> Vec<Node> {
    let Some(text) = files.get(file).map(|file| file.text.clone()) else {
        return Vec::new();
    };
    let mut builder = Builder::new(file, text.len() as u32, found);
    for event in Parser::new_from_str(&text) {
        let (event, marks) = match event {
            Ok(event) => event,
            Err(error) => {
                let at = text.floor_char_boundary(error.marker().byte_offset().unwrap_or(0));
                builder.syntax(&text, at, &error.info());
                break;
            }
        };
        if builder.event(event, marks).is_err() {
            break;
        }
    }
    builder.documents
}

/// Nothing more is read; the finding is already written.
struct TooMuch;

struct Anchored {
    node: Node,
    weight: usize,
    height: usize,
}

struct Frame {
    span: Span,
    tag: Tag,
    anchor: usize,
    /// Nodes before this one, to know its weight.
    before: usize,
    height: usize,
    kind: Kind,
}

enum Kind {
    List(Vec<Node>),
    Map { map: Map, key: Option<Key>, merge: Option<Span>, merged: Vec<Node> },
}

enum Key {
    Name(String, Span),
    /// A key that is none, already noted.
    Wrong,
    Merge,
}

struct Builder<'a> {
    file: u32,
    length: u32,
    found: &'a mut Vec<Finding>,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    documents: Vec<Node>,
    root: Option<Node>,
}

impl<'a> Builder<'a> {
    fn new(file: u32, length: u32, found: &'a mut Vec<Finding>) -> Self {
        Builder {
            file,
            length,
            found,
            stack: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            documents: Vec::new(),
            root: None,
        }
    }

    fn span(&self, marks: Marks) -> Span {
        let range = marks.byte_range().unwrap_or(0..0);
        let (start, end) = (range.start as u32, range.end as u32);
        Span { file: self.file, start: start.min(self.length), end: end.min(self.length) }
    }

    /// Notes why the text is no YAML. What was said about the same line follows from it.
    fn syntax(&mut self, text: &str, at: usize, info: &str) {
        let line = text[..at].rfind('\n').map_or(0, |start| start as u32 + 1);
        self.found.retain(|finding| !finding.is_key_from(self.file, line));
        self.found.push(syntax::explain(self.file, text, at, info));
    }

    fn event(&mut self, event: Event<'_>, marks: Marks) -> Result<(), TooMuch> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let span = self.span(marks);
                self.scalar(&text, style, anchor, tag.as_deref(), span)
            }
            Event::SequenceStart(_, anchor, tag) => {
                let span = self.span(marks);
                self.open(span, anchor, tag.as_deref(), Kind::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                let kind =
                    Kind::Map { map: Map::default(), key: None, merge: None, merged: Vec::new() };
                let span = self.span(marks);
                self.open(span, anchor, tag.as_deref(), kind)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let span = self.span(marks);
                self.close(span)
            }
            Event::Alias(id) => self.alias(id, marks),
            Event::DocumentEnd => {
                let here = Span { file: self.file, start: 0, end: 0 };
                let root = self.root.take().unwrap_or(Node::new(here, Value::Null));
                self.documents.push(root);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self, weight: usize, height: usize, span: Span) -> Result<(), TooMuch> {
        self.nodes += weight;
        let message = if self.nodes > MOST_NODES {
            format!("the file holds more than {MOST_NODES} values once its aliases are expanded")
        } else if self.stack.len() + height > DEEPEST {
            format!("values are nested more than {DEEPEST} deep")
        } else {
            return Ok(());
        };
        self.found.push(Finding::at(Code::TooLarge, span, "passes the limit here", message));
        Err(TooMuch)
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&YamlTag>,
        span: Span,
    ) -> Result<(), TooMuch> {
        self.count(1, 1, span)?;
        let plain = style == ScalarStyle::Plain;
        if plain && tag.is_none() && text == "<<" && self.wants_key() {
            self.merge_key(span);
            return Ok(());
        }
        if plain && self.wants_key() && text.starts_with(char::is_whitespace) {
            self.found.push(syntax::strange_space(span, text));
            return Err(TooMuch);
        }
        let core = tag.and_then(|tag| tag.suffix_in_namespace("tag:yaml.org,2002:"));
        let core = core.as_deref();
        let value = match core {
            Some(suffix) => scalar::tagged(suffix, text).unwrap_or_else(|| {
                let message = format!("`{text}` is not what its tag `!!{suffix}` says");
                self.found.push(Finding::at(Code::BadValue, span, "does not fit its tag", message));
                Value::Text(text.into())
            }),
            None if plain => scalar::plain(text),
            None => Value::Text(text.into()),
        };
        if self.wants_key() && !matches!(value, Value::Text(_)) || self.is_date_key(plain, text) {
            let kind = if value.kind() == "text" { "a date" } else { value.kind() };
            let message = format!("the key `{text}` is {kind}, keys are text");
            self.found.push(
                Finding::at(Code::KeyNotText, span, "not text", message)
                    .help(format!("write it in quotes: `\"{text}\":`")),
            );
            return self.done(Node::text(span, text), 1, anchor, self.nodes - 1);
        }
        self.strange_tag(tag, span, text);
        let node = Node { span, tag: merge_tag(tag), value };
        self.done(node, 1, anchor, self.nodes - 1)
    }

    /// A tag that neither YAML nor Compose gives a meaning: most often a `!` that belongs to the
    /// text.
    fn strange_tag(&mut self, tag: Option<&YamlTag>, span: Span, text: &str) {
        let Some(("!", name)) = tag.map(YamlTag::parts) else {
            return;
        };
        if matches!(name, "" | "reset" | "override") {
            return;
        }
        let message = format!("the tag `!{name}` has no meaning here and is left out");
        let help = match value::nearest(name, ["reset", "override"]) {
            Some(near) => format!("did you mean `!{near}`?"),
            None => format!("if it belongs to the text, write it in quotes: `\"!{name} {text}\"`"),
        };
        self.found.push(Finding::at(Code::Doubtful, span, "without its tag", message).help(help));
    }

    fn is_date_key(&self, plain: bool, text: &str) -> bool {
        plain && self.wants_key() && scalar::is_timestamp(text)
    }

    fn wants_key(&self) -> bool {
        let frame = self.stack.last();
        matches!(frame, Some(Frame { kind: Kind::Map { key: None, .. }, .. }))
    }

    fn merge_key(&mut self, span: Span) {
        let Some(Frame { kind: Kind::Map { key, merge, .. }, .. }) = self.stack.last_mut() else {
            return;
        };
        *key = Some(Key::Merge);
        if let Some(first) = merge.replace(span) {
            self.found.push(
                Finding::at(
                    Code::DuplicateKey,
                    span,
                    "again here",
                    "the key `<<` stands twice".into(),
                )
                .also(first, "first here")
                .help("merge several maps with one list: `<<: [*a, *b]`"),
            );
        }
    }

    fn open(
        &mut self,
        span: Span,
        anchor: usize,
        tag: Option<&YamlTag>,
        kind: Kind,
    ) -> Result<(), TooMuch> {
        self.count(1, 1, span)?;
        let before = self.nodes - 1;
        self.stack.push(Frame { span, tag: merge_tag(tag), anchor, before, height: 0, kind });
        Ok(())
    }

    fn close(&mut self, end: Span) -> Result<(), TooMuch> {
        let Some(frame) = self.stack.pop() else {
            return Ok(());
        };
        let flow_end = if end.end > end.start { Some(end.end) } else { None };
        let (value, first, last) = match frame.kind {
            Kind::List(items) => {
                let (first, last) = (items.first().map(|n| n.span), items.last().map(|n| n.span));
                (Value::List(items), first, last)
            }
            Kind::Map { mut map, merged, .. } => {
                let spans = || map.0.values();
                let first = spans().map(|entry| entry.key).min();
                let last = spans().map(|entry| entry.key.to(entry.node.span)).max_by_key(|s| s.end);
                self.merge(&mut map, merged);
                (Value::Map(map), first, last)
            }
        };
        let start = match first {
            Some(first) if frame.span.end == frame.span.start => first.start,
            _ => frame.span.start,
        };
        let end = flow_end.or(last.map(|last| last.end)).unwrap_or(frame.span.end).max(start);
        let span = Span { file: self.file, start, end };
        let node = Node { span, tag: frame.tag, value };
        self.done(node, frame.height + 1, frame.anchor, frame.before)
    }

    /// Local keys win, then the first of the merged maps that has the key.
    fn merge(&mut self, map: &mut Map, merged: Vec<Node>) {
        for node in merged {
            let span = node.span;
            let maps = match node.value {
                Value::List(items) => items,
                value => vec![Node::new(span, value)],
            };
            for source in maps {
                match source.value {
                    Value::Map(source) => {
                        for (name, entry) in source.0 {
                            map.0.entry(name).or_insert(entry);
                        }
                    }
                    other => {
                        let message = format!("`<<` merges maps, and this is {}", other.kind());
                        self.found.push(
                            Finding::at(Code::WrongType, source.span, "not a map", message)
                                .help("write `<<: *anchor` with the anchor on a map"),
                        );
                    }
                }
            }
        }
    }

    fn alias(&mut self, id: usize, marks: Marks) -> Result<(), TooMuch> {
        let span = self.span(marks);
        let Some(anchored) = self.anchors.get(&id) else {
            let message = "this alias stands inside the value it refers to".to_owned();
            self.found.push(
                Finding::at(Code::Cycle, span, "refers to what holds it", message)
                    .help("write the value out here"),
            );
            return self.done(Node::new(span, Value::Null), 1, 0, self.nodes);
        };
        let (weight, height) = (anchored.weight, anchored.height);
        let node = anchored.node.clone();
        let before = self.nodes;
        self.count(weight, height, span)?;
        self.done(node, height, 0, before)
    }

    /// A value is whole: it becomes an item, a key, the value of a key, or the document.
    fn done(
        &mut self,
        node: Node,
        height: usize,
        anchor: usize,
        before: usize,
    ) -> Result<(), TooMuch> {
        if anchor != 0 {
            let weight = self.nodes - before;
            self.anchors.insert(anchor, Anchored { node: node.clone(), weight, height });
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.height = frame.height.max(height);
        match &mut frame.kind {
            Kind::List(items) => items.push(node),
            Kind::Map { map, key, merged, .. } => match key.take() {
                None => *key = Some(key_of(node, self.found)),
                Some(Key::Wrong) => {}
                Some(Key::Merge) => merged.push(node),
                Some(Key::Name(name, span)) => {
                    if let Some(first) = map.0.get(&name) {
                        let message = format!("the key `{name}` stands twice in one map");
                        self.found.push(
                            Finding::at(Code::DuplicateKey, span, "again here", message)
                                .also(first.key, "first here")
                                .help("keep one of them"),
                        );
                    } else {
                        map.0.insert(name, Entry { key: span, node });
                    }
                }
            },
        }
        Ok(())
    }
}

fn key_of(node: Node, found: &mut Vec<Finding>) -> Key {
    match node.value {
        Value::Text(name) => Key::Name(name, node.span),
        other => {
            let message = format!("a key is {}, keys are text", other.kind());
            let help = match other {
                Value::Map(_) => "fill a template `{{ … }}` in first, or put the value in quotes",
                _ => "write the key as text, without `?`",
            };
            found.push(Finding::at(Code::KeyNotText, node.span, "not text", message).help(help));
            Key::Wrong
        }
    }
}

fn merge_tag(tag: Option<&YamlTag>) -> Tag {
    match tag.map(YamlTag::parts) {
        Some(("!", "reset")) => Tag::Reset,
        Some(("!", "override")) => Tag::Override,
        _ => Tag::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<Node>, Vec<Finding>) {
        let mut files = Files::default();
        let file = files.add("a.yaml".into(), text);
        let mut found = Vec::new();
        let nodes = parse(&files, file, &mut found);
        (nodes, found)
    }

    #[test]
    fn values_know_their_bytes() {
        let text = "a:\n  b: [x, 'yé', {c: 1}]\nz: 2\n";
        let (documents, found) = read(text);
        assert!(found.is_empty(), "{found:?}");
        let slice = |node: &Node| &text[node.span.start as usize..node.span.end as usize];
        let list = documents[0].at(&["a", "b"]).unwrap();
        assert_eq!(slice(list), "[x, 'yé', {c: 1}]");
        assert_eq!(slice(&list.items()[1]), "'yé'");
        assert_eq!(slice(list.items()[2].get("c").unwrap()), "1");
        assert_eq!(slice(documents[0].get("a").unwrap()), "b: [x, 'yé', {c: 1}]");
    }

    #[test]
    fn local_keys_win_over_merged_ones_and_the_first_map_wins() {
        let (documents, found) =
            read("a: &a {k: 1, l: 1}\nb: &b {k: 2, m: 2}\nc: {<<: [*a, *b], l: 3}\n");
        assert!(found.is_empty());
        let c = documents[0].get("c").unwrap();
        let int = |name| c.get(name).map(|node| node.value.clone());
        assert_eq!(int("k"), Some(Value::Int(1)));
        assert_eq!(int("l"), Some(Value::Int(3)));
        assert_eq!(int("m"), Some(Value::Int(2)));
    }

    #[test]
    fn an_alias_bomb_stops_at_the_limit() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..10 {
            let items = vec![format!("*a{}", level - 1); 9].join(", ");
            text += &format!("a{level}: &a{level} [{items}]\n");
        }
        let (_, found) = read(&text);
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn deep_nesting_by_aliases_stops_at_the_limit() {
        let mut text = format!("a0: &a0 {}x{}\n", "[".repeat(100), "]".repeat(100));
        for level in 1..10 {
            let (open, close) = ("[".repeat(100), "]".repeat(100));
            text += &format!("a{level}: &a{level} {open}*a{}{close}\n", level - 1);
        }
        let (_, found) = read(&text);
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn an_anchor_inside_itself_is_a_problem_and_no_loop() {
        let (_, found) = read("a: &a {b: *a}\n");
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn several_documents_are_kept_apart() {
        let (documents, found) = read("a: 1\n---\nb: 2\n");
        assert!(found.is_empty());
        assert_eq!(documents.len(), 2);
    }
}
