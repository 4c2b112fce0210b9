//! Where a value of the model came from, what it went over, and why.
//!
//! A normal load keeps nothing of this. Here the same load keeps every document as it was alone;
//! a value of the model carries its place, so its way is found by looking for that place.
//!
//! Reading order: `record` (what a load keeps), `layers` (what each document says of a path),
//! `written` (the way through anchors), `rules` (why), `path` (from words to a value), `source`
//! (one value with its way), and here the whole answer.

mod layers;
mod path;
mod record;
mod rules;
mod source;
mod written;

use std::collections::BTreeSet;

use serde::Serialize;

use crate::config::Switches;
use crate::problem::Problems;
use crate::project::{Model, Project};
use crate::shape::Class;
use crate::stack::Place;
use crate::tree::{Node, Value};
use crate::{LoadOptions, Source as Files, Stack, reference};
use layers::{Layers, Step};
use source::Teller;

pub(crate) use record::{Document, EnvFile, Record};

/// What there is to say about a path.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// Whole path in the model, `services.web.image`.
    pub path: String,
    /// The value; `null` when it is not set.
    pub value: Option<serde_json::Value>,
    /// The entry before it, of a list; what it says may make this one a secret.
    #[serde(skip)]
    pub previous: Option<serde_json::Value>,
    /// Where it came from; `None` when it is not set.
    pub from: Option<Origin>,
    /// Variables in the text it came from.
    pub variables: Vec<Variable>,
    /// What it went over, weakest first.
    pub over: Vec<Origin>,
    /// Why: the rule by which values go over each other. `None` when there was only one.
    pub rule: Option<String>,
    /// What the attribute is; `None` for what is no part of the specification.
    pub attribute: Option<Attribute>,
    /// Everything below it, when it holds others.
    pub values: Vec<Below>,
}

/// An attribute of the specification.
#[derive(Debug, Clone, Serialize)]
pub struct Attribute {
    /// Its path in the specification, `services.*.image`.
    #[serde(skip)]
    pub path: String,
    /// What berth does with it: `done`, `later`, `inert`.
    pub class: &'static str,
    /// Why it has no effect.
    pub why: Option<&'static str>,
    /// What it is for.
    pub says: &'static str,
    /// What may be written.
    pub kind: String,
    /// What holds when it is not written; may be empty.
    pub normal: &'static str,
}

/// A value as some text gives it.
#[derive(Debug, Clone, Serialize)]
pub struct Origin {
    /// Where it is written; `None` when no text has it.
    pub place: Option<Place>,
    /// Its key and value as they are written, as far as the first line goes.
    pub line: Option<String>,
    /// The value there; `None` for one that takes others away, and for one that holds others.
    pub value: Option<serde_json::Value>,
    /// Variables in its text.
    #[serde(skip)]
    pub variables: Vec<Variable>,
    /// Its way into the model.
    pub ways: Vec<Way>,
}

/// One step of a value's way into the model.
#[derive(Debug, Clone, Serialize)]
pub struct Way {
    /// What happened, in words.
    pub what: String,
    /// Where, if it has a place.
    pub place: Option<Place>,
}

/// A variable that a value was made with.
#[derive(Debug, Clone, Serialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What stood in its place; `None` when it is not set.
    pub value: Option<String>,
    /// The default that counts, as it is written.
    pub default: Option<String>,
    /// Where that came from, in words.
    pub from: String,
    /// Its place, if it is in a file.
    pub place: Option<Place>,
}

/// A value below the one that was asked for.
#[derive(Debug, Clone, Serialize)]
pub struct Below {
    /// Its path from there on.
    pub path: String,
    /// The value.
    pub value: serde_json::Value,
    /// Where it is written.
    pub place: Option<Place>,
    /// How it came into the model when it was not simply written there.
    pub how: String,
    /// Variables in its text.
    #[serde(skip)]
    pub variables: Vec<Variable>,
}

/// Why there is nothing to explain.
#[derive(Debug)]
pub enum Unexplained {
    /// The files are wrong.
    Files(Problems),
    /// There is no such value: what is missing, and what may be meant.
    Path {
        /// What is missing.
        message: String,
        /// The next move.
        help: Option<String>,
    },
}

/// Explains the value at `path`: `web.image`, `services.web.ports[0]`, `networks.front`.
///
/// # Errors
/// When the files cannot be loaded, or have no such value.
pub fn explain(
    options: &LoadOptions,
    switches: Switches,
    source: &dyn Files,
    path: &str,
) -> Result<Explanation, Unexplained> {
    let mut project = Project::new(options, source);
    project.switches = Switches { lax: true, ..switches };
    project.record = Some(Record::default());
    let model = project.model();
    let record = project.record.take().unwrap_or_default();
    let files = std::mem::take(&mut project.files);
    let variables = std::mem::take(&mut project.variables);
    // The texts are needed for the problems too.
    project.files = files.clone();
    project.conclude(model.as_ref().map(|_| Stack::default())).map_err(Unexplained::Files)?;
    let Some(model) = model else {
        let message = "there is nothing in the Compose files".to_owned();
        return Err(Unexplained::Path { message, help: None });
    };
    let layers = Layers {
        record: &record,
        files: &files,
        main: &model.files,
        working_dir: &options.working_dir,
    };
    let texts = record.documents.iter().map(|document| document.raw.span.file);
    let texts: BTreeSet<u32> = texts.collect();
    let aliases = texts
        .into_iter()
        .filter_map(|number| Some((number, written::aliases(number, files.get(number)?))));
    let aliases = aliases.collect();
    let teller = Teller { layers, options, model: &model, variables: &variables, aliases };
    answer(&teller, &model, path)
}

fn answer(teller: &Teller<'_>, model: &Model, path: &str) -> Result<Explanation, Unexplained> {
    let written = |steps: &[Step]| !teller.layers.at(steps).is_empty();
    let (steps, node) = path::find(model, path, written)?;
    let told = teller.tell(&steps, node);
    let several = !told.over.is_empty();
    let below = node.map(|node| leaves(teller, &steps, node)).unwrap_or_default();
    Ok(Explanation {
        path: path::shown(&steps),
        value: node.map(json),
        previous: previous(model, &steps),
        variables: told.from.as_ref().map(|from| from.variables.clone()).unwrap_or_default(),
        from: told.from,
        over: told.over,
        rule: several.then_some(told.rule),
        attribute: attribute(&steps),
        values: below,
    })
}

fn previous(model: &Model, steps: &[Step]) -> Option<serde_json::Value> {
    let (Step::Item { index, .. }, above) = steps.split_last()? else {
        return None;
    };
    let list = above.iter().try_fold(&*model.tree, |node, step| match step {
        Step::Key(name) => node.get(name),
        Step::Item { index, .. } => node.items().get(*index),
    })?;
    Some(json(list.items().get(index.checked_sub(1)?)?))
}

fn attribute(steps: &[Step]) -> Option<Attribute> {
    let names: Vec<String> = steps.iter().map(Step::name).collect();
    let found = reference::describe(&names.join("."))?;
    let (class, why) = match found.class {
        Class::Done => ("done", None),
        Class::Later => ("later", None),
        Class::Inert(inert) => ("inert", Some(inert.why)),
    };
    let reference::Description { path, says, kind, normal, .. } = found;
    Some(Attribute { path, class, why, says, kind, normal })
}

/// Every value below `node` that holds no others.
fn leaves(teller: &Teller<'_>, above: &[Step], node: &Node) -> Vec<Below> {
    let mut open: Vec<(Vec<Step>, &Node)> = path::children(above, node);
    open.reverse();
    let mut found = Vec::new();
    while let Some((steps, node)) = open.pop() {
        let mut children = path::children(&steps, node);
        if children.is_empty() {
            found.push(teller.below(above.len(), &steps, node));
        }
        children.reverse();
        open.append(&mut children);
    }
    found
}

/// A value for programs.
pub(crate) fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => {
            i64::try_from(*value).map_or_else(|_| value.to_string().into(), Into::into)
        }
        Value::Float(value) => (*value).into(),
        Value::Text(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(map) => {
            let shown = map.iter().filter(|(name, _)| !name.starts_with('\0'));
            shown.map(|(name, node)| (name.to_owned(), json(node))).collect()
        }
    }
}
