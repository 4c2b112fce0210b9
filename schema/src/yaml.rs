//! YAML events → [`Node`]: aliases, merge keys, duplicate keys, limits.
//!
//! The builder keeps its own stack, so no input can exhaust the thread's.

use std::collections::HashMap;

use serde_yaml::granit_parser::{
    Event, Parser, ScalarStyle, ScanError, Span as Marks, StructureStyle, Tag as YamlTag,
};

use crate::lenient::Lenient;
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
    let before = found.len();
    let mut lenient = Lenient::new(&text);
    let mut stop = Stop::default();
    loop {
        let mut builder = Builder::new(file, &lenient, found);
        let stopped = builder.read();
        let documents = builder.documents;
        let Some(error) = stopped else {
            return documents;
        };
        let at = text_at(lenient.text(), &error);
        let found_here = found.split_off(before);
        // What follows a quote that was left open explains nothing, so the first stop is told.
        if !lenient.doubts_quotes() {
            let (at, info) = (lenient.written(at), error.info().to_owned());
            stop = Stop { documents, found: found_here, at, info };
        }
        if !lenient.mend(error.kind(), at) {
            found.append(&mut stop.found);
            syntax_error(file, &text, stop.at, &stop.info, found);
            return stop.documents;
        }
    }
}

/// What is known when the parser gives up.
#[derive(Default)]
struct Stop {
    documents: Vec<Node>,
    found: Vec<Finding>,
    at: usize,
    info: String,
}

/// Where the parser gave up.
fn text_at(text: &str, error: &ScanError) -> usize {
    text.floor_char_boundary(error.marker().byte_offset().unwrap_or(0))
}

/// Notes why the text is no YAML. What was said about the same line follows from it.
fn syntax_error(file: u32, text: &str, at: usize, info: &str, found: &mut Vec<Finding>) {
    let line = text[..at].rfind('\n').map_or(0, |start| start as u32 + 1);
    found.retain(|finding| !finding.is_key_from(file, line));
    found.push(syntax::explain(file, text, at, info));
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
    Map { map: Map, key: Option<Key>, merge: Option<Span>, merged: Vec<Node>, block: bool },
}

enum Key {
    Name(String, Span),
    /// A key that is none, already noted.
    Wrong,
    Merge,
}

struct Builder<'a> {
    file: u32,
    lenient: &'a Lenient<'a>,
    found: &'a mut Vec<Finding>,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    documents: Vec<Node>,
    root: Option<Node>,
    /// End of the last document.
    ended: u32,
}

impl<'a> Builder<'a> {
    fn new(file: u32, lenient: &'a Lenient<'a>, found: &'a mut Vec<Finding>) -> Self {
        Builder {
            file,
            lenient,
            found,
            stack: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            documents: Vec::new(),
            root: None,
            ended: 0,
        }
    }

    /// Reads to the end, or to what is no YAML.
    fn read(&mut self) -> Option<ScanError> {
        let lenient = self.lenient;
        for event in Parser::new_from_str(lenient.text()) {
            let (event, marks) = match event {
                Ok(event) => event,
                Err(error) => return Some(error),
            };
            if self.event(event, marks).is_err() {
                return None;
            }
        }
        None
    }

    fn span(&self, marks: Marks) -> Span {
        let range = marks.byte_range().unwrap_or(0..0);
        let written = |at| self.lenient.written(at) as u32;
        Span { file: self.file, start: written(range.start), end: written(range.end) }
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
            Event::MappingStart(style, anchor, tag) => {
                let kind = Kind::Map {
                    map: Map::default(),
                    key: None,
                    merge: None,
                    merged: Vec::new(),
                    block: style == StructureStyle::Block,
                };
                let span = self.span(marks);
                self.open(span, anchor, tag.as_deref(), kind)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let span = self.span(marks);
                self.close(span)
            }
            Event::Alias(id) => self.alias(id, marks),
            Event::DocumentStart(true, _) => {
                let span = self.span(marks);
                self.directives(span.end);
                Ok(())
            }
            Event::DocumentEnd => {
                let here = Span { file: self.file, start: 0, end: 0 };
                let root = self.root.take().unwrap_or(Node::new(here, Value::Null));
                self.ended = self.span(marks).end;
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
        let core = tag.and_then(|tag| tag.suffix_in_namespace("tag:yaml.org,2002:"));
        let core = core.as_deref();
        if plain && text == "<<" && matches!(core, None | Some("merge")) && self.wants_key() {
            self.merge_key(span);
            return Ok(());
        }
        if plain && self.wants_key() && text.starts_with(char::is_whitespace) {
            self.found.push(syntax::strange_space(span, text));
            return Err(TooMuch);
        }
        if self.wants_block_key()
            && let Some(found) = syntax::tab_before(self.lenient.as_written(), span)
        {
            self.found.push(found);
        }
        let value = match core {
            Some(suffix) => scalar::tagged(suffix, text).unwrap_or_else(|| {
                let message = format!("`{text}` is not what its tag `!!{suffix}` says");
                self.found.push(Finding::at(Code::BadValue, span, "does not fit its tag", message));
                Value::Text(text.into())
            }),
            None if plain && tag.is_none_or(is_ours) => scalar::plain(text),
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
            None => {
                let whole = format!("!{name} {text}");
                format!("if it belongs to the text, write it in quotes: `\"{}\"`", whole.trim_end())
            }
        };
        self.found.push(Finding::at(Code::Doubtful, span, "without its tag", message).help(help));
    }

    fn is_date_key(&self, plain: bool, text: &str) -> bool {
        plain && self.wants_key() && scalar::is_timestamp(text)
    }

    fn wants_block_key(&self) -> bool {
        let frame = self.stack.last();
        matches!(frame, Some(Frame { kind: Kind::Map { key: None, block: true, .. }, .. }))
    }

    /// Looks at the lines with `%` above a document that starts before `end`.
    fn directives(&mut self, end: u32) {
        let text = self.lenient.as_written();
        let head = &text[self.ended as usize..end as usize];
        for line in head.lines().filter(|line| line.starts_with('%')) {
            let start = (line.as_ptr() as usize - text.as_ptr() as usize) as u32;
            let span = Span { file: self.file, start, end: start + line.trim_end().len() as u32 };
            self.found.extend(syntax::directive(span, line));
        }
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
        for node in merged.into_iter().filter(|node| node.tag != Tag::Reset) {
            let span = node.span;
            let maps = match node.value {
                Value::List(items) => items,
                value => vec![Node::new(span, value)],
            };
            for source in maps {
                match source.value {
                    _ if source.tag == Tag::Reset => {}
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

/// Whether a tag is one that Compose gives a meaning, beside those of YAML.
fn is_ours(tag: &YamlTag) -> bool {
    merge_tag(Some(tag)) != Tag::None
}

fn merge_tag(tag: Option<&YamlTag>) -> Tag {
    match tag.map(YamlTag::parts) {
        Some(("!", "reset")) => Tag::Reset,
        Some(("!", "override")) => Tag::Override,
        _ => Tag::None,
    }
}

#[cfg(test)]
mod tests;
