//! What the files of a project read besides themselves: variables and other files, each with the
//! places that ask for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::text::Span;
use crate::tree::{Node, Value};

/// Everything that was read, with its places.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Reads {
    variables: BTreeMap<String, BTreeSet<Span>>,
    files: BTreeMap<PathBuf, Span>,
}

impl Reads {
    /// A text asks for a variable, whether it is set or not.
    pub fn variable(&mut self, name: &str, at: Span) {
        self.variables.entry(name.to_owned()).or_default().insert(at);
    }

    /// A file is read; the first place that names it counts.
    pub fn file(&mut self, path: &Path, at: Span) {
        self.files.entry(path.to_owned()).or_insert(at);
    }

    /// Takes out what is asked for within a part of a text that has no effect, but for what an
    /// alias or `extends` has carried into what has: values keep the place where they are written.
    pub fn forget(&mut self, part: Span, effective: &BTreeSet<Span>) {
        let is_idle = |at: &Span| {
            let inside = at.file == part.file && part.start <= at.start && at.end <= part.end;
            inside && !is_among(*at, effective)
        };
        self.variables.retain(|_, places| {
            places.retain(|at| !is_idle(at));
            !places.is_empty()
        });
    }

    /// The names of the variables.
    pub fn variables(&self) -> impl Iterator<Item = &String> {
        self.variables.keys()
    }

    /// The paths of the files.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.keys()
    }

    /// The place of `$NAME`, or of a file by its absolute path.
    pub fn place(&self, what: &str) -> Option<Span> {
        match what.strip_prefix('$') {
            Some(name) => self.variables.get(name)?.first().copied(),
            None => self.files.get(Path::new(what)).copied(),
        }
    }
}

/// Adds the places of all keys, lists and plain values below a node.
pub(crate) fn leaves(node: &Node, places: &mut BTreeSet<Span>) {
    match &node.value {
        Value::Map(map) => map.0.values().for_each(|entry| {
            places.insert(entry.key);
            leaves(&entry.node, places);
        }),
        Value::List(items) => {
            // A command that is empty once it is filled in leaves no words.
            places.insert(node.span);
            items.iter().for_each(|item| leaves(item, places));
        }
        _ => drop(places.insert(node.span)),
    }
}

/// Whether a place lies in one of others. These hardly overlap, so the nearest ones before it tell.
fn is_among(at: Span, others: &BTreeSet<Span>) -> bool {
    let before = others.range(..=Span { end: u32::MAX, ..at }).rev().take(8);
    before.into_iter().any(|other| other.file == at.file && at.start < other.end)
}
