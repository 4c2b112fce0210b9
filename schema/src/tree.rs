//! What a text says before anybody knows what it means: values with their place.

use std::collections::BTreeMap;

use crate::text::Span;

/// One value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its place.
    pub span: Span,
    /// What the text asks to be done with it when files are merged.
    pub tag: Tag,
    /// The value.
    pub value: Value,
}

/// The two tags that Compose gives a meaning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tag {
    /// Merge as the attribute says.
    #[default]
    None,
    /// `!reset`: take away what earlier files said.
    Reset,
    /// `!override`: replace what earlier files said.
    Override,
}

/// A value of the YAML core schema.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// Another number.
    Float(f64),
    /// Text.
    Text(String),
    /// Values in order.
    List(Vec<Node>),
    /// Values by name.
    Map(Map),
}

impl Value {
    /// What it is, in words for a message.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "empty",
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "a number",
            Value::Float(number) if !number.is_finite() => "not a finite number",
            Value::Float(_) => "a number with a fraction",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

impl Node {
    /// A value at a place.
    pub fn new(span: Span, value: Value) -> Node {
        Node { span, tag: Tag::None, value }
    }

    /// Text at a place.
    pub fn text(span: Span, text: impl Into<String>) -> Node {
        Node::new(span, Value::Text(text.into()))
    }

    /// The text, if it is text.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The entries, if it is a map.
    pub fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The entries, if it is a map.
    pub fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The items; none if it is no list.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The value under a name, if it is a map that has it.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.as_map()?.get(name)
    }

    /// The text under a name.
    pub fn get_text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_text()
    }

    /// Whether there is nothing in it.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// How many values it is made of, itself included.
    pub fn weight(&self) -> usize {
        1 + match &self.value {
            Value::List(items) => items.iter().map(Node::weight).sum(),
            Value::Map(map) => map.0.values().map(|entry| entry.node.weight()).sum::<usize>(),
            _ => 0,
        }
    }

    /// The value under a path of names.
    pub fn at<'a>(&'a self, path: &[&str]) -> Option<&'a Node> {
        path.iter().try_fold(self, |node, name| node.get(name))
    }
}

/// One entry of a map.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Place of the key.
    pub key: Span,
    /// The value.
    pub node: Node,
}

/// Values by name, with the places of the names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map(pub BTreeMap<String, Entry>);

impl Map {
    /// The value under a name.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.0.get(name).map(|entry| &entry.node)
    }

    /// The value under a name.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Node> {
        self.0.get_mut(name).map(|entry| &mut entry.node)
    }

    /// Whether a name has a value.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Sets the value under a name; the key's place becomes the value's.
    pub fn set(&mut self, name: impl Into<String>, node: Node) {
        self.0.insert(name.into(), Entry { key: node.span, node });
    }

    /// Sets the value under a name unless there is one.
    pub fn set_default(&mut self, name: &str, node: Node) {
        if !self.has(name) {
            self.set(name, node);
        }
    }

    /// Takes the value under a name away.
    pub fn remove(&mut self, name: &str) -> Option<Node> {
        self.0.remove(name).map(|entry| entry.node)
    }

    /// Names and values in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().map(|(name, entry)| (name.as_str(), &entry.node))
    }
}
