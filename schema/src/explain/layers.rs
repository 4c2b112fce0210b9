//! All values that the documents of a load give for one path, weakest first.
//!
//! Nothing is merged here: a value of the model carries the place where it was written, so the
//! one that won is known by its place, and the others are what it went over.

use std::path::{Path, PathBuf};

use super::record::{Document, Record};
use crate::text::{Files, Span};
use crate::tree::{Node, Tag, Value};
use crate::value;

/// Longest way through `extends` and `include` that is followed.
const LONGEST: usize = 100;

/// One step of a path.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A key of a map.
    Key(String),
    /// An entry of a list.
    Item {
        /// Its number in the model.
        index: usize,
        /// Where it is written.
        span: Span,
        /// What makes it the same as another entry.
        key: Option<String>,
        /// How to find that of another entry.
        key_of: fn(&Node) -> Option<String>,
    },
}

impl Step {
    /// The key, or the number of the entry.
    pub fn name(&self) -> String {
        match self {
            Step::Key(name) => name.clone(),
            Step::Item { index, .. } => index.to_string(),
        }
    }
}

/// On which way a document came into the model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Way {
    /// It stands over a file before it.
    Override,
    /// It stands in one file with a document before it.
    Later,
    /// Another file includes it, named here.
    Included(Span),
    /// A service starts from this one.
    Extended { service: String, at: Span },
}

/// A value that a document gives.
#[derive(Debug, Clone)]
pub(crate) struct Given<'r> {
    pub document: &'r Document,
    pub ways: Vec<Way>,
    /// What is written at the path, or around it where that decides about all below.
    pub node: &'r Node,
    /// Its key; of an entry of a list, the entry.
    pub key: Span,
    /// What a tag at it, or around it, asks for.
    pub tag: Tag,
    /// Steps to the value around it whose tag replaces what earlier files say.
    pub replaced: Option<usize>,
    /// The path that was gone, for the way through the text.
    pub gone: usize,
    /// It is the value of the path, and not one around it.
    pub whole: bool,
    /// The value around it has the same place: it is part of a short form.
    pub short: bool,
}

/// The documents of a load, and how they refer to each other.
pub(crate) struct Layers<'r> {
    pub record: &'r Record,
    pub files: &'r Files,
    /// Files that were asked for, in the order they are merged.
    pub main: &'r [PathBuf],
    pub working_dir: &'r Path,
}

impl<'r> Layers<'r> {
    /// Every value that some document has at the path, weakest first.
    pub fn at(&self, path: &[Step]) -> Vec<Given<'r>> {
        let mut given = Vec::new();
        let documents = self.main_documents();
        self.documents(&documents, path, &[], &mut given);
        given
    }

    fn main_documents(&self) -> Vec<&'r Document> {
        let firsts = self.main.iter().filter_map(|path| self.first_text(path));
        firsts.flat_map(|file| self.of_text(file)).collect()
    }

    /// The first text that was read from a path.
    fn first_text(&self, path: &Path) -> Option<u32> {
        let number = |document: &&Document| document.raw.span.file;
        let mut here = self.record.documents.iter().filter(|document| self.is_of(document, path));
        here.next().as_ref().map(number)
    }

    fn of_text(&self, file: u32) -> impl Iterator<Item = &'r Document> {
        self.record.documents.iter().filter(move |document| document.raw.span.file == file)
    }

    fn is_of(&self, document: &Document, path: &Path) -> bool {
        let shown = path.strip_prefix(self.working_dir).unwrap_or(path);
        let name = self.files.get(document.raw.span.file).map(|file| file.name.as_path());
        name == Some(shown)
    }

    fn documents(
        &self,
        documents: &[&'r Document],
        path: &[Step],
        ways: &[Way],
        given: &mut Vec<Given<'r>>,
    ) {
        if ways.len() > LONGEST {
            return;
        }
        for document in documents {
            let parts = document.tree.get("include").map(Node::items).unwrap_or_default();
            // Of two parts the first one wins.
            for part in parts.iter().rev() {
                let ways = with(ways, Way::Included(part.span));
                self.documents(&self.included(document, part), path, &ways, given);
            }
        }
        for (number, document) in documents.iter().enumerate() {
            let before = number.checked_sub(1).map(|before| documents[before].raw.span.file);
            let ways = match before {
                None => ways.to_vec(),
                Some(file) if file == document.raw.span.file => with(ways, Way::Later),
                Some(_) => with(ways, Way::Override),
            };
            self.document(document, path, &ways, given);
        }
    }

    fn included(&self, by: &Document, part: &Node) -> Vec<&'r Document> {
        let paths = part.get("path").map(Node::items).unwrap_or_default();
        let paths = paths.iter().filter_map(Node::as_text).map(|path| by.base.join(path));
        let depth = by.depth + 1;
        let all = &self.record.documents;
        paths
            .flat_map(|path| {
                all.iter().filter(move |other| other.depth == depth && self.is_of(other, &path))
            })
            .collect()
    }

    fn document(
        &self,
        document: &'r Document,
        path: &[Step],
        ways: &[Way],
        given: &mut Vec<Given<'r>>,
    ) {
        if let [Step::Key(section), Step::Key(service), _, ..] = path
            && section == "services"
            && ways.len() < LONGEST
            && let Some(extends) = document
                .tree
                .at(&["services", service.as_str(), "extends"])
                .filter(|node| !node.is_null())
        {
            let name = extends.get_text("service").unwrap_or_default().to_owned();
            let mut base = path.to_vec();
            base[1] = Step::Key(name.clone());
            let ways = with(ways, Way::Extended { service: name, at: extends.span });
            match extends.get_text("file") {
                None if name_of(path) != name_of(&base) => {
                    self.document(document, &base, &ways, given);
                }
                None => {}
                Some(file) => {
                    let full = document.base.join(file);
                    let full = PathBuf::from(value::clean_path(&full.to_string_lossy()));
                    let all = &self.record.documents;
                    let last = all.iter().rfind(|other| {
                        let has = other.tree.at(&["services", name_of(&base)]).is_some();
                        has && other.raw.span.file != document.raw.span.file
                            && self.is_of(other, &full)
                    });
                    if let Some(last) = last {
                        self.document(last, &base, &ways, given);
                    }
                }
            }
        }
        given.extend(own(document, path, ways));
    }
}

fn name_of(path: &[Step]) -> &str {
    match path.get(1) {
        Some(Step::Key(name)) => name,
        _ => "",
    }
}

fn with(ways: &[Way], way: Way) -> Vec<Way> {
    let mut ways = ways.to_vec();
    ways.push(way);
    ways
}

/// What one document says at the path.
fn own<'r>(document: &'r Document, path: &[Step], ways: &[Way]) -> Option<Given<'r>> {
    let mut node = &document.tree;
    let mut key = node.span;
    let mut tag = Tag::None;
    let mut short = false;
    let mut replaced = None;
    let given = |node, key, tag, replaced, gone, short| {
        let whole = gone == path.len();
        let ways = ways.to_vec();
        Some(Given { document, ways, node, key, tag, replaced, gone, whole, short })
    };
    for (gone, step) in path.iter().enumerate() {
        if node.tag == Tag::Reset {
            return given(node, key, Tag::Reset, replaced, gone, false);
        }
        if node.tag == Tag::Override {
            tag = Tag::Override;
            replaced = Some(gone);
        }
        let around = node.span;
        let next = match (step, &node.value) {
            (Step::Key(name), Value::Map(map)) => {
                map.0.get(name).map(|entry| (entry.key, &entry.node))
            }
            (Step::Item { span, key, key_of, .. }, Value::List(items)) => {
                let same = |item: &&Node| match key {
                    Some(_) => key_of(item) == *key,
                    None => item.span == *span,
                };
                items.iter().rfind(same).map(|item| (item.span, item))
            }
            _ => None,
        };
        (key, node) = match next {
            Some(next) => next,
            // It says that there is nothing like this.
            None if tag == Tag::Override => return given(node, key, tag, replaced, gone, false),
            None => return None,
        };
        short = node.span == around;
    }
    let tag = if node.tag == Tag::None { tag } else { node.tag };
    given(node, key, tag, replaced, path.len(), short)
}
