//! All that is wrong with the files, errors and warnings alike, and room for what only the host
//! can tell: what `berth check` shows.

use std::path::Path;

use crate::decode::mounts;
use crate::problem::{self, Code, Finding, Problem};
use crate::project::Project;
use crate::stack::Stack;
use crate::text::{Files, Span};
use crate::tree::{Node, Value};
use crate::{LoadOptions, Source};

/// What came out of looking at the files.
#[derive(Debug)]
pub struct Checked {
    /// The model, also when something is wrong with it; `None` when there is none to make.
    pub stack: Option<Stack>,
    found: Vec<Finding>,
    files: Files,
}

/// A problem that somebody else found in the model.
#[derive(Debug, Clone)]
pub struct Remark {
    /// What kind it is.
    pub code: Code,
    /// Whether it is no error.
    pub warning: bool,
    /// Path of the value it is about, `services.web.mem_limit`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// The next move.
    pub help: Option<String>,
}

impl Remark {
    /// As a finding at the place of its value.
    pub(crate) fn found(self, span: Option<Span>) -> Finding {
        let finding = match span {
            Some(span) => Finding::at(self.code, span, "here", self.message),
            None => Finding::bare(self.code, self.message),
        };
        let finding = if self.warning { finding.warning() } else { finding };
        finding.maybe_help(self.help)
    }
}

/// Reads everything the options name and keeps whatever is found, however bad.
pub fn check(options: &LoadOptions, source: &dyn Source) -> Checked {
    let mut project = Project::new(options, source);
    let stack = crate::stack_of(&mut project);
    if stack.is_none() {
        project.without_reason();
    }
    Checked { stack, found: project.found, files: project.files }
}

impl Checked {
    /// Whether anything is an error.
    pub fn has_errors(&self) -> bool {
        self.found.iter().any(Finding::is_error)
    }

    /// Adds what was found elsewhere, each at the place of its value. What only follows from a
    /// value that is wrong already is left out.
    pub fn add(&mut self, remarks: Vec<Remark>) {
        let before = self.found.len();
        for remark in remarks {
            let tree = self.stack.as_ref().map(|stack| stack.document.tree());
            let span = tree.and_then(|tree| span_of(tree, &remark.path));
            self.found.push(remark.found(span));
        }
        problem::drop_echoes(&mut self.found, before);
    }

    /// Adds what is wrong with another file than those of the stack: its text and the byte where
    /// that is, if it could be read.
    pub fn add_elsewhere(&mut self, file: &Path, text: Option<(String, usize)>, remark: Remark) {
        let span = text.map(|(text, byte)| {
            let start = byte as u32;
            let end = text[byte..].chars().next().map_or(start, |c| start + c.len_utf8() as u32);
            Span { file: self.files.add(file.to_owned(), text), start, end }
        });
        self.found.push(remark.found(span));
    }

    /// Everything, in the order of the text, each once.
    pub fn problems(self) -> Vec<Problem> {
        problem::all(self.found, &self.files)
    }
}

/// Where the value of a path stands: its key if it holds others, else the value. Of a path that
/// leads nowhere, the nearest value around it.
fn span_of(tree: &Node, path: &str) -> Option<Span> {
    let mut node = tree;
    let mut span = None;
    for name in path.split('.') {
        let (at, next) = match &node.value {
            Value::Map(map) => match map.0.get(name) {
                Some(entry) => (place_of(entry.key, &entry.node), &entry.node),
                None => break,
            },
            Value::List(items) => {
                match name.parse().ok().and_then(|at: usize| nth(path, items, at)) {
                    Some(item) => (item.span, item),
                    None => break,
                }
            }
            _ => break,
        };
        (span, node) = (Some(at), next);
    }
    span
}

/// An item as the typed model counts it: mounts are in the order of their targets there.
fn nth<'n>(path: &str, items: &'n [Node], at: usize) -> Option<&'n Node> {
    let is_mounts = path.split('.').nth(2) == Some("volumes");
    if is_mounts { mounts(items).get(at).copied() } else { items.get(at) }
}

fn place_of(key: Span, node: &Node) -> Span {
    match node.value {
        Value::Map(_) | Value::List(_) | Value::Null => key,
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => node.span,
    }
}
