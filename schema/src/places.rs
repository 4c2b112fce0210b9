//! Where each value of the completed tree was written.

use std::sync::Arc;

use crate::checked::Remark;
use crate::decode::mounts;
use crate::problem::{self, Problem};
use crate::reads::Reads;
use crate::stack::Place;
use crate::text::{Files, Span};
use crate::tree::{Entry, Node, Value};

/// A completed tree with the texts it was read from: enough to tell the place of any path.
pub(crate) struct Written {
    /// The tree as it is printed.
    pub tree: Arc<Node>,
    /// What was taken out of it because it says nothing, by path.
    pub silent: Vec<(String, Entry)>,
    /// The texts.
    pub files: Files,
    /// What they read besides themselves.
    pub reads: Reads,
}

impl PartialEq for Written {
    fn eq(&self, other: &Written) -> bool {
        self.tree == other.tree && self.silent == other.silent
    }
}

impl Written {
    /// Where the value under a path stands.
    pub fn place(&self, path: &str) -> Option<Place> {
        self.files.place(self.span(path)?)
    }

    /// Problems of values, each at the nearest place around it, in the order of the text.
    pub fn problems(&self, remarks: Vec<Remark>) -> Vec<Problem> {
        let found = remarks.into_iter().map(|remark| {
            let mut path = remark.path.as_str();
            let span = loop {
                match self.span(path) {
                    Some(span) => break Some(span),
                    None => match path.rfind('.') {
                        Some(end) => path = &path[..end],
                        None => break None,
                    },
                }
            };
            remark.found(span)
        });
        problem::all(found.collect(), &self.files)
    }

    /// The span of a value; of `$NAME` and of an absolute path, where they are asked for.
    fn span(&self, path: &str) -> Option<Span> {
        match path.starts_with(['$', '/']) {
            true => self.reads.place(path),
            false => below(&self.tree, path, false).or_else(|| self.silent(path)),
        }
    }

    fn silent(&self, path: &str) -> Option<Span> {
        self.silent.iter().find_map(|(start, entry)| match path.strip_prefix(start.as_str())? {
            "" => Some(standing(entry)),
            rest => below(&entry.node, rest.strip_prefix('.')?, false),
        })
    }
}

/// Where an entry stands: a scalar at its value, all else at its key.
fn standing(entry: &Entry) -> Span {
    match entry.node.value {
        Value::Map(_) | Value::List(_) | Value::Null => entry.key,
        _ => entry.node.span,
    }
}

/// The place of a path below a value. A name may have dots in it.
fn below(node: &Node, path: &str, volumes: bool) -> Option<Span> {
    match &node.value {
        Value::Map(map) => {
            let ends = path.match_indices('.').map(|(at, _)| at).chain([path.len()]);
            ends.into_iter().find_map(|end| {
                let name = &path[..end];
                let entry = map.0.get(name)?;
                match path.get(end + 1..) {
                    None => Some(standing(entry)),
                    Some(rest) => below(&entry.node, rest, name == "volumes"),
                }
            })
        }
        Value::List(items) => {
            let (index, rest) = match path.split_once('.') {
                Some((index, rest)) => (index, Some(rest)),
                None => (path, None),
            };
            let index = index.parse::<usize>().ok()?;
            let item = if volumes { mounts(items).get(index).copied() } else { items.get(index) }?;
            match rest {
                None => Some(item.span),
                Some(rest) => below(item, rest, false),
            }
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => None,
    }
}
