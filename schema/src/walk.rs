//! Holds one file's tree against the attribute table: types, unknown keys, short forms, paths.
//!
//! What comes out has one form only: long syntax, canonical texts, absolute paths. Empty values
//! stay, because a later file's empty value means "keep" (`leftover` reports the rest).

mod scalars;

use std::path::{Path, PathBuf};

use crate::budget::MOST_ENTRIES;
use crate::hints;
use crate::merge;
use crate::problem::{Code, Finding};
use crate::scalar;
use crate::shape::{Bare, Keyed, Record, Shape};
use crate::text::Span;
use crate::trail::Trail;
use crate::tree::{Entry, Map, Node, Tag, Value};
use crate::value::{self, Bad};

/// One walk over one tree.
pub struct Walk<'a> {
    /// Directory that relative paths count from.
    pub base: &'a Path,
    /// What `~` stands for.
    pub home: Option<&'a str>,
    /// Variables are still in the text, so texts that hold one are left alone.
    pub raw: bool,
    /// Relative paths stay as they are.
    pub keep_paths: bool,
    /// The stack is described, not run: numbers that only cannot work stay.
    pub lax: bool,
    /// What was found.
    pub found: &'a mut Vec<Finding>,
    /// Path of the value at hand.
    path: Trail,
    /// Entries that short forms stood for.
    entries: usize,
}

impl<'a> Walk<'a> {
    /// A walk that starts at `path`.
    pub fn new(base: &'a Path, home: Option<&'a str>, found: &'a mut Vec<Finding>) -> Self {
        Walk {
            base,
            home,
            raw: false,
            keep_paths: false,
            lax: false,
            found,
            path: Trail::default(),
            entries: 0,
        }
    }

    /// Whether short forms may stand for so many more entries; the first time they may not is a
    /// problem.
    fn takes(&mut self, entries: usize, at: Span) -> bool {
        let before = self.entries;
        self.entries += entries;
        if before <= MOST_ENTRIES && self.entries > MOST_ENTRIES {
            let message =
                format!("the ranges of this file stand for more than {MOST_ENTRIES} entries");
            let finding = Finding::at(Code::TooLarge, at, "passes the limit here", message);
            self.found.push(finding.help("name only what is used"));
        }
        self.entries <= MOST_ENTRIES
    }

    /// Does `work` one name deeper.
    fn below(&mut self, name: &str, work: impl FnOnce(&mut Self)) {
        let length = self.path.push(name);
        work(self);
        self.path.back_to(length);
    }

    /// Does `work` at an index.
    fn at(&mut self, index: usize, work: impl FnOnce(&mut Self)) {
        let length = self.path.push_index(index);
        work(self);
        self.path.back_to(length);
    }

    /// Notes a value of the wrong type.
    pub fn wrong(&mut self, node: &Node, want: &str) {
        let message = format!("`{}` must be {want}, and this is {}", self.path, node.value.kind());
        let finding = Finding::at(Code::WrongType, node.span, format!("not {want}"), message);
        let help = hints::wrong_type(self.path.as_str(), node, want);
        self.found.push(finding.maybe_help(help));
    }

    /// Notes a value that cannot work.
    pub fn bad(&mut self, node: &Node, bad: Bad) {
        let shown = match &node.value {
            Value::Text(text) => format!("`{}` ", shorten(text)),
            Value::Int(number) => format!("`{number}` "),
            Value::Float(number) => format!("`{}` ", scalar::print_float(*number)),
            Value::Bool(value) => format!("`{value}` "),
            Value::List(_) => "the list ".into(),
            Value::Null | Value::Map(_) if bad.why.starts_with("is ") => "this ".into(),
            Value::Null | Value::Map(_) => String::new(),
        };
        let message = format!("`{}`: {shown}{}", self.path, bad.why);
        self.found.push(
            Finding::at(Code::BadValue, node.span, "cannot work", message).maybe_help(bad.help),
        );
    }

    /// Notes a dash without anything behind it.
    fn empty_item(&mut self, node: &Node) {
        let message = format!("`{}` is left empty", self.path);
        self.found.push(
            Finding::at(Code::WrongType, node.span, "nothing here", message)
                .help("write something behind the dash, or take the dash away"),
        );
    }

    fn is_variable(&self, node: &Node) -> bool {
        self.raw && node.as_text().is_some_and(|text| text.contains('$'))
    }

    /// Brings `node` to the form of `shape`, or notes why it does not fit.
    pub fn conform(&mut self, shape: &Shape, node: &mut Node) {
        if node.tag == Tag::Reset {
            return;
        }
        if let Shape::Short(brief, inner) = shape {
            if !node.is_null() && !self.is_variable(node) {
                let taken = std::mem::replace(node, Node::new(node.span, Value::Null));
                let (span, tag) = (taken.span, taken.tag);
                *node = (brief.expand)(self, taken);
                (node.span, node.tag) = (span, tag);
            }
            return self.conform(inner, node);
        }
        if let Shape::BoolOr(inner) = shape {
            return match node.value {
                Value::Map(_) => self.conform(inner, node),
                Value::Null => {}
                _ if self.is_variable(node) => {}
                _ => self.boolean(node),
            };
        }
        if let Shape::IntOr(inner) = shape {
            let number = node.as_text().map_or(Some(node.value.clone()), value::number);
            match number {
                Some(number @ Value::Int(_)) => node.value = number,
                _ => self.conform(inner, node),
            }
            return;
        }
        if let Shape::Nullable(inner) | Shape::Whole(inner) = shape {
            return self.conform(inner, node);
        }
        if node.is_null() || self.is_variable(node) {
            return;
        }
        match shape {
            Shape::List(item) | Shape::Distinct(item) => self.list(item, node),
            Shape::Set(item) => {
                self.list(item, node);
                once(node);
            }
            Shape::OneOrSet(item) | Shape::OneOrList(item) => {
                if !matches!(node.value, Value::List(_)) {
                    let taken = std::mem::replace(&mut node.value, Value::Null);
                    let only = Node::new(node.span, taken);
                    node.value = Value::List(vec![only]);
                }
                self.list(item, node);
                if matches!(shape, Shape::OneOrSet(_)) {
                    once(node);
                }
            }
            Shape::Keyed(keyed) => self.keyed(keyed, node),
            Shape::Dict(bare) => self.dict(*bare, node),
            Shape::Map(item) => self.map(item, node),
            Shape::Names(item) => self.names(item, node),
            Shape::Record(record) => self.record(record, node),
            Shape::Any
            | Shape::Short(..)
            | Shape::IntOr(_)
            | Shape::BoolOr(_)
            | Shape::Nullable(_)
            | Shape::Whole(_) => {}
            scalar => self.scalar(scalar, node),
        }
    }

    /// A path made absolute against the base directory.
    pub fn absolute(&self, path: &str) -> String {
        absolute(self.base, self.home, self.keep_paths, path)
    }

    fn list(&mut self, item: &Shape, node: &mut Node) {
        let Value::List(items) = &mut node.value else {
            return self.wrong(node, "a list");
        };
        for (index, node) in items.iter_mut().enumerate() {
            self.at(index, |walk| walk.item(item, node));
        }
    }

    fn item(&mut self, shape: &Shape, node: &mut Node) {
        if node.is_null() && node.tag == Tag::None && !matches!(shape, Shape::Nullable(_)) {
            return self.empty_item(node);
        }
        self.conform(shape, node);
    }

    fn keyed(&mut self, keyed: &Keyed, node: &mut Node) {
        if keyed.single && matches!(node.value, Value::Text(_)) {
            let only = Node::new(node.span, node.value.clone());
            node.value = Value::List(vec![only]);
        }
        let Value::List(items) = &mut node.value else {
            return self.wrong(node, "a list");
        };
        let written = std::mem::take(items);
        for (index, mut item) in written.into_iter().enumerate() {
            self.at(index, |walk| {
                if item.tag == Tag::Reset || walk.is_variable(&item) {
                    items.push(item);
                } else if item.is_null() {
                    walk.empty_item(&item);
                } else if walk.entries <= MOST_ENTRIES {
                    let tag = item.tag;
                    item.tag = Tag::None;
                    let span = item.span;
                    let entries = (keyed.expand)(walk, item);
                    if !walk.takes(entries.len().saturating_sub(1), span) {
                        items.clear();
                        return;
                    }
                    for mut expanded in entries {
                        expanded.tag = tag;
                        let before = walk.found.len();
                        walk.conform(keyed.item, &mut expanded);
                        if walk.found.len() == before {
                            (keyed.finish)(walk, &mut expanded);
                        } else if hints::is_foreign(keyed.item, &expanded) {
                            continue;
                        }
                        items.push(expanded);
                    }
                }
            });
        }
    }

    fn dict(&mut self, bare: Bare, node: &mut Node) {
        let mut map = match std::mem::replace(&mut node.value, Value::Null) {
            Value::Map(map) => map,
            Value::List(items) => self.pairs(items, bare),
            other => {
                node.value = other;
                return self.wrong(node, "a map or a list of `KEY=value`");
            }
        };
        for (name, entry) in &mut map.0 {
            let node = &mut entry.node;
            if node.tag == Tag::Reset {
                continue;
            }
            match loose(&node.value) {
                Some(text) => node.value = Value::Text(text),
                None if node.is_null() && bare == Bare::Null => {}
                None if node.is_null() => node.value = Value::Text(String::new()),
                None => self.below(name, |walk| walk.wrong(node, "text or a number")),
            }
        }
        node.value = Value::Map(map);
    }

    fn pairs(&mut self, items: Vec<Node>, bare: Bare) -> Map {
        let mut map = Map::default();
        for item in items {
            let Some(text) = item.as_text() else {
                self.wrong(&item, "`KEY=value`");
                continue;
            };
            let (key, value) = match text.split_once('=') {
                Some((key, _)) if key.ends_with(char::is_whitespace) => {
                    let why = "has a space before its `=`".to_owned();
                    let help = Some("write `KEY=value` without spaces around `=`".to_owned());
                    self.bad(&item, Bad { why, help });
                    continue;
                }
                Some((key, value)) => (key, Value::Text(value.to_owned())),
                None if bare == Bare::Null => (text, Value::Null),
                None => (text, Value::Text(String::new())),
            };
            let node = Node { span: item.span, tag: item.tag, value };
            map.0.insert(key.to_owned(), Entry { key: item.span, node });
        }
        map
    }

    fn map(&mut self, item: &Shape, node: &mut Node) {
        let Value::Map(map) = &mut node.value else {
            return self.wrong(node, "a map");
        };
        let services = self.path.as_str() == "services";
        for (name, entry) in &mut map.0 {
            match hints::among_services(name, entry).filter(|_| services) {
                Some(finding) => self.found.push(finding),
                None => self.below(name, |walk| walk.conform(item, &mut entry.node)),
            }
        }
    }

    fn names(&mut self, item: &Shape, node: &mut Node) {
        if let Value::List(names) = &node.value {
            let mut map = Map::default();
            for name in names.clone() {
                match name.value {
                    Value::Text(text) => {
                        let value = default_entry(item, name.span);
                        if let Some(first) =
                            map.0.insert(text.clone(), Entry { key: name.span, node: value })
                        {
                            let message = format!("`{}` names `{text}` twice", self.path);
                            self.found.push(
                                Finding::at(Code::Duplicate, name.span, "again here", message)
                                    .also(first.key, "first here")
                                    .help("keep one of them"),
                            );
                        }
                    }
                    _ => self.wrong(&name, "text"),
                }
            }
            node.value = Value::Map(map);
        }
        if node.as_text().is_some() {
            return self.wrong(node, "a list or a map");
        }
        self.map(item, node);
    }

    fn record(&mut self, record: &Record, node: &mut Node) {
        let Value::Map(map) = &mut node.value else {
            return self.wrong(node, "a map");
        };
        if let (true, Some(finding)) = (self.path.is_empty(), hints::not_compose(map)) {
            return self.found.push(finding);
        }
        let mut unknown = Vec::new();
        for (name, entry) in &mut map.0 {
            match record.attribute(name) {
                Some(attribute) => {
                    self.below(name, |walk| walk.conform(&attribute.shape, &mut entry.node));
                }
                None if name.starts_with("x-") => {}
                None => unknown.push(name.clone()),
            }
        }
        for name in unknown {
            if let Some(entry) = map.0.get(&name) {
                let path = self.path.as_str();
                self.found.push(hints::unknown(record, path, &name, entry, map));
            }
        }
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Keeps the last of the texts that a set takes for the same, at the place of the first.
fn once(node: &mut Node) {
    if node.items().len() > 1 {
        let taken = std::mem::replace(node, Node::new(node.span, Value::Null));
        *node = Node { tag: taken.tag, ..merge::unique(taken, merge::text_key) };
    }
}

/// The long form that a bare name in a list stands for.
fn default_entry(shape: &Shape, span: Span) -> Node {
    let mut node = Node::new(span, Value::Null);
    if let Shape::Record(_) = shape {
        let mut map = Map::default();
        map.set("condition", Node::text(span, "service_started"));
        map.set("required", Node::new(span, Value::Bool(true)));
        node.value = Value::Map(map);
    }
    node
}

/// Text, number or boolean as text.
pub fn loose(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        Value::Float(number) if number.is_finite() => Some(scalar::print_float(*number)),
        Value::Bool(value) => Some(value.to_string()),
        Value::Float(_) | Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

/// A path made absolute: `~` is the home directory, a path of Windows stays what it is.
pub fn absolute(base: &Path, home: Option<&str>, keep: bool, path: &str) -> String {
    if keep || path.starts_with('/') || is_windows_path(path) {
        return path.to_owned();
    }
    if let (Some(rest), Some(home)) = (path.strip_prefix('~'), home) {
        return value::clean_path(&format!("{home}/{rest}"));
    }
    let joined: PathBuf = base.join(path);
    value::clean_path(&joined.to_string_lossy())
}

/// Whether a path has a drive letter or is a share of Windows.
pub fn is_windows_path(path: &str) -> bool {
    match path.as_bytes() {
        [drive, b':', b'/' | b'\\', ..] => drive.is_ascii_alphabetic(),
        start => start.starts_with(b"\\\\"),
    }
}
