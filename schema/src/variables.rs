//! The variables a project asks for, as its files write them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::Switches;
use crate::interpolate::{closing, name_length};
use crate::project::Project;
use crate::tree::{Node, Value};
use crate::{LoadOptions, Problems, Source, Stack};

/// What the files say of one variable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What stands in its place when it is not set, as written.
    pub default_value: String,
    /// What stands in its place when it is set, as written.
    pub presence_value: String,
    /// The project cannot be used without it.
    pub required: bool,
}

/// Every variable of a project by its name, whether it is set or not.
///
/// # Errors
/// All problems of all files at once.
pub fn variables(
    options: &LoadOptions,
    source: &dyn Source,
) -> Result<BTreeMap<String, Variable>, Problems> {
    let mut project = raw(options, source);
    let model = project.model();
    let mut asked = BTreeMap::new();
    if let Some(model) = &model {
        gather(&model.tree, &mut asked);
    }
    project.conclude(model.map(|_| Stack::default()))?;
    Ok(asked)
}

/// A project whose files are read and left as they are.
fn raw<'a>(options: &'a LoadOptions, source: &'a dyn Source) -> Project<'a> {
    let mut project = Project::new(options, source);
    project.switches = Switches {
        no_interpolate: true,
        no_consistency: true,
        no_normalize: true,
        no_path_resolution: true,
        no_env_resolution: true,
        all_resources: true,
        lax: true,
    };
    project
}

/// The variables that interpolation sees: those of the process over those of `.env`, and the
/// project's name.
///
/// # Errors
/// When a file cannot be read.
pub fn environment(
    options: &LoadOptions,
    source: &dyn Source,
) -> Result<BTreeMap<String, String>, Problems> {
    let mut project = Project::new(options, source);
    let documents = project.locate().map(|files| project.parse_all(&files));
    let name = documents.and_then(|documents| project.name(&documents));
    let mut variables = project.variables.clone();
    project.conclude(name.is_some().then(Stack::default))?;
    variables.extend(name.map(|name| ("COMPOSE_PROJECT_NAME".to_owned(), name)));
    Ok(variables)
}

/// The variables that one text asks for.
pub(crate) fn of_text(text: &str) -> BTreeMap<String, Variable> {
    let mut asked = BTreeMap::new();
    scan(text, &mut asked);
    asked
}

fn gather(node: &Node, asked: &mut BTreeMap<String, Variable>) {
    match &node.value {
        Value::Text(text) => scan(text, asked),
        Value::List(items) => items.iter().for_each(|item| gather(item, asked)),
        Value::Map(map) => map.iter().for_each(|(_, node)| gather(node, asked)),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {}
    }
}

/// Notes the variables of a text. What is no expression is passed over.
fn scan(text: &str, asked: &mut BTreeMap<String, Variable>) {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
        } else if let Some(length) = rest.starts_with('{').then(|| closing(rest)).flatten() {
            braced(&rest[1..length], asked);
            rest = &rest[length + 1..];
        } else {
            note(Variable { name: rest[..name_length(rest)].to_owned(), ..<_>::default() }, asked);
        }
    }
}

fn braced(inside: &str, asked: &mut BTreeMap<String, Variable>) {
    let (name, rest) = inside.split_at(name_length(inside));
    let rest = rest.strip_prefix(':').unwrap_or(rest);
    let mut variable = Variable { name: name.to_owned(), ..Variable::default() };
    let mut words = rest.chars();
    match (words.next(), words.as_str()) {
        (Some('-'), default) => variable.default_value = default.to_owned(),
        (Some('+'), present) => variable.presence_value = present.to_owned(),
        (Some('?'), _) => variable.required = true,
        _ => {}
    }
    note(variable, asked);
    scan(rest, asked);
}

/// The first place that says more than the bare name counts.
fn note(variable: Variable, asked: &mut BTreeMap<String, Variable>) {
    if variable.name.is_empty() {
        return;
    }
    let known = asked.entry(variable.name.clone()).or_default();
    let required = known.required || variable.required;
    if known.default_value.is_empty() && known.presence_value.is_empty() {
        *known = variable;
    }
    known.required = required;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_in_every_form_and_in_each_other() {
        let mut asked = BTreeMap::new();
        scan("$A ${B:-${C-c}} ${D:?no} ${E+e} $$F ${G", &mut asked);
        let told = asked
            .into_values()
            .map(|v| format!("{}|{}|{}|{}", v.name, v.default_value, v.presence_value, v.required));
        assert_eq!(
            told.collect::<Vec<_>>(),
            ["A|||false", "B|${C-c}||false", "C|c||false", "D|||true", "E||e|false"]
        );
    }

    #[test]
    fn a_default_written_once_is_told_whatever_stands_before_it() {
        let mut asked = BTreeMap::new();
        scan("$A ${A:-x} ${A?}", &mut asked);
        assert_eq!(asked["A"].default_value, "x");
        assert!(asked["A"].required);
    }
}
