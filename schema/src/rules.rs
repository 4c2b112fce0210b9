//! What a file may say and no host can do: found in the completed model, before anything is
//! touched.
//!
//! The Compose tools accept most of it and fail half way. So `config`, which only shows the model,
//! does not look here. Each rule is a small function; a rule that holds two values against each
//! other shows both places.

mod addresses;
mod commands;
mod health;
mod lifecycle;
mod limits;
mod modes;
mod mounts;
mod names;
mod networks;
mod ports;
mod rollout;
mod system;
mod written;

use crate::problem::{Code, Finding};
use crate::project::Model;
use crate::text::{Files, Span};
use crate::tree::{Map, Node, Value};

/// The completed model as the rules see it.
pub(crate) struct Sheet<'n> {
    tree: &'n Node,
    project: &'n str,
    files: &'n Files,
}

impl<'n> Sheet<'n> {
    /// The entries of a section that are maps; whatever else they are is noted where it stands.
    fn section(&self, name: &str) -> impl Iterator<Item = (&'n str, &'n Node)> + use<'n> {
        let map = self.tree.get(name).and_then(Node::as_map);
        let entries = map.into_iter().flat_map(Map::iter);
        entries.filter(|(_, node)| node.as_map().is_some())
    }

    fn services(&self) -> impl Iterator<Item = (&'n str, &'n Node)> + use<'n> {
        self.section("services")
    }
}

/// Notes everything that cannot work, or hardly as it was meant.
pub(crate) fn report(model: &Model, files: &Files, found: &mut Vec<Finding>) {
    let sheet = Sheet { tree: &model.tree, project: &model.name, files };
    nothing_to_run(&sheet, &model.inactive, found);
    ports::check(&sheet, found);
    names::check(&sheet, found);
    networks::check(&sheet, found);
    addresses::check(&sheet, found);
    lifecycle::check(&sheet, found);
    rollout::check(&sheet, found);
    for (name, service) in sheet.services() {
        commands::check(name, service, found);
        health::check(name, service, found);
        limits::check(name, service, found);
        modes::check(name, service, found);
        mounts::check(name, service, found);
        system::check(name, service, found);
    }
    written::check(&sheet, found);
}

fn nothing_to_run(sheet: &Sheet<'_>, inactive: &[String], found: &mut Vec<Finding>) {
    if sheet.tree.get("services").and_then(Node::as_map).is_some_and(|map| !map.0.is_empty()) {
        return;
    }
    let (message, help) = match inactive {
        [] => ("the stack has no services", "add one below `services:`"),
        _ => (
            "every service of the stack is switched off by its profiles",
            "activate a profile with `--profile`",
        ),
    };
    found.push(Finding::bare(Code::NoServices, message).help(help));
}

/// How many containers a service has, and where that stands.
fn containers(service: &Node) -> (i128, Option<Span>) {
    let count = service.at(&["deploy", "replicas"]).or_else(|| service.get("scale"));
    match count.map(|node| (&node.value, node.span)) {
        Some((Value::Int(count), span)) => (*count, Some(span)),
        _ => (1, None),
    }
}

/// A number, also where it is kept as text.
fn number(node: &Node) -> Option<i128> {
    match &node.value {
        Value::Int(number) => Some(*number),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// The entries below a name.
fn entries<'n>(node: &'n Node, name: &str) -> impl Iterator<Item = (&'n str, &'n Node)> {
    node.get(name).and_then(Node::as_map).into_iter().flat_map(Map::iter)
}

/// The items below a name.
fn items<'n>(node: &'n Node, name: &str) -> &'n [Node] {
    node.get(name).map(Node::items).unwrap_or_default()
}

/// Whether there is something below a name.
fn says_something<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    node.get(name).filter(|node| match &node.value {
        Value::Null | Value::Bool(false) => false,
        Value::Text(text) => !text.is_empty(),
        Value::List(items) => !items.is_empty(),
        Value::Map(map) => !map.0.is_empty(),
        Value::Bool(true) | Value::Int(_) | Value::Float(_) => true,
    })
}

/// Two values that cannot be together; the later one is where the problem stands.
fn both(a: (Span, String), b: (Span, String), code: Code, message: String) -> Finding {
    let (first, second) = if a.0 <= b.0 { (a, b) } else { (b, a) };
    Finding::at(code, second.0, second.1, message).also(first.0, first.1)
}

/// A value that cannot work.
fn bad(node: &Node, path: &str, why: &str, help: impl Into<String>) -> Finding {
    let shown = crate::walk::loose(&node.value).map_or(String::new(), |text| format!("`{text}` "));
    let message = format!("`{path}`: {shown}{why}");
    Finding::at(Code::BadValue, node.span, "cannot work", message).help(help)
}

/// A setting that can work, but hardly as it was meant.
fn doubtful(span: Span, label: &str, message: String, help: impl Into<String>) -> Finding {
    Finding::at(Code::Doubtful, span, label, message).help(help)
}
