//! One value with its way: which text it stands in and how it got into the model.

use std::collections::BTreeMap;

use super::layers::{Given, Layers, Step};
use super::record::EnvFile;
use super::written::{self, Alias};
use super::{Below, Origin, Variable, Way, json, layers, path, rules};
use crate::interpolate::Variables;
use crate::project::Model;
use crate::stack::Place;
use crate::text::Span;
use crate::tree::{Node, Tag, Value};
use crate::{LoadOptions, variables};

/// Everything that is asked.
pub(crate) struct Teller<'r> {
    pub layers: Layers<'r>,
    pub options: &'r LoadOptions,
    pub model: &'r Model,
    /// What the project sees when everything is read.
    pub variables: &'r Variables,
    /// The aliases of each text.
    pub aliases: BTreeMap<u32, Vec<Alias>>,
}

/// What there is to tell of one value.
pub(crate) struct Told {
    pub from: Option<Origin>,
    pub over: Vec<Origin>,
    pub rule: String,
}

/// A value that some text gives.
enum Source<'r> {
    Document(Given<'r>),
    EnvFile { file: &'r EnvFile, value: &'r str, at: Span },
}

impl<'r> Teller<'r> {
    /// Where the value of a path came from. `node` is that of the model, if it is there.
    pub fn tell(&self, steps: &[Step], node: Option<&Node>) -> Told {
        let mut sources = self.sources(steps);
        let won = match (node, steps) {
            (Some(node), [Step::Key(name)]) if name == "name" => self.named(&sources, node),
            (Some(node), _) => sources.iter().rposition(|source| source.gave(node)),
            (None, _) => None,
        };
        let rule = self.rule(steps, &sources);
        let holds = node.is_some_and(|node| matches!(node.value, Value::Map(_) | Value::List(_)));
        let winner = match (node, won) {
            // What holds others is made of all of them; the last says where it was touched last.
            (Some(_), _) if holds => sources.pop(),
            (Some(_), Some(at)) => Some(sources.remove(at)),
            _ => None,
        };
        let mut from = winner.as_ref().map(|source| self.origin(source, steps));
        if let (Some(from), Some(node)) = (&mut from, node) {
            from.value = (!holds).then(|| json(node));
            from.ways.extend(self.bare(steps, winner.as_ref()));
        }
        let from = from.or_else(|| node.map(|node| self.made(steps, node)));
        if sources.is_empty() {
            sources = self.replaced(steps, winner.as_ref());
        }
        let over = sources.iter().map(|source| self.origin(source, steps)).collect();
        Told { from, over, rule }
    }

    /// What earlier documents say around a value, when `!override` there took all of it away.
    fn replaced(&self, steps: &[Step], winner: Option<&Source<'r>>) -> Vec<Source<'r>> {
        let Some(Source::Document(Given { document, replaced: Some(length), .. })) = winner else {
            return Vec::new();
        };
        let earlier = self.layers.at(&steps[..*length]).into_iter();
        earlier
            .take_while(|given| !std::ptr::eq(given.document, *document))
            .map(Source::Document)
            .collect()
    }

    /// One line of what is below a value.
    pub fn below(&self, above: usize, steps: &[Step], node: &Node) -> Below {
        let told = self.tell(steps, Some(node));
        let mut from = told.from;
        let variables = from.as_mut().map(|from| std::mem::take(&mut from.variables));
        let mut how = from.iter().flat_map(|from| &from.ways).map(|way| way.what.clone());
        let how = how.next_back().unwrap_or_default();
        Below {
            path: path::shown(&steps[above..]),
            value: json(node),
            place: from.and_then(|from| from.place),
            how,
            variables: variables.unwrap_or_default(),
        }
    }

    /// The file that gave the project its name, unless the name came from elsewhere.
    fn named(&self, sources: &[Source<'_>], node: &Node) -> Option<usize> {
        let elsewhere = self.options.project_name.as_deref().unwrap_or_default();
        let variable = self.variables_around("COMPOSE_PROJECT_NAME");
        if !elsewhere.is_empty() || variable.is_some_and(|name| !name.is_empty()) {
            return None;
        }
        let says = |source: &Source<'_>| match source {
            Source::Document(given) => given.node.value == node.value,
            Source::EnvFile { .. } => false,
        };
        sources.iter().rposition(says)
    }

    /// A variable of the process, or of the files of variables.
    fn variables_around(&self, name: &str) -> Option<&String> {
        let files = self.layers.record.env_files.iter().filter(|file| file.named_at.is_none());
        let mut pairs = files.filter(|file| file.depth == 0).flat_map(|file| &file.pairs).rev();
        let of_files = pairs.find(|(key, ..)| key == name).map(|(_, value, _)| value);
        self.options.environment.get(name).or(of_files)
    }

    fn sources(&self, steps: &[Step]) -> Vec<Source<'r>> {
        let mut sources = self.env_files(steps);
        sources.extend(self.layers.at(steps).into_iter().map(Source::Document));
        sources
    }

    /// The environment files of a service that have the variable at the path, in their order.
    fn env_files(&self, steps: &[Step]) -> Vec<Source<'r>> {
        let [Step::Key(section), Step::Key(service), Step::Key(attribute), Step::Key(name)] = steps
        else {
            return Vec::new();
        };
        let list = match (section.as_str(), attribute.as_str()) {
            ("services", "environment") => "env_file",
            ("services", "labels") => "label_file",
            _ => return Vec::new(),
        };
        let of_list = ["services", service, list].map(|name| Step::Key(name.to_owned()));
        let given = self.layers.at(&of_list);
        let within = |span: Span| given.iter().any(|given| holds(given.node, span));
        let files = self.layers.record.env_files.iter();
        files
            .filter(|file| file.named_at.is_some_and(within))
            .filter_map(|file| {
                let (_, value, at) = file.pairs.iter().rfind(|(key, ..)| key == name)?;
                Some(Source::EnvFile { file, value, at: *at })
            })
            .collect()
    }

    fn place(&self, span: Span) -> Option<Place> {
        self.layers.files.place(span)
    }

    /// The text of the line a span starts in.
    fn line(&self, span: Span) -> Option<&str> {
        let file = self.layers.files.get(span.file)?;
        let (line, _) = file.position(span.start);
        file.text.lines().nth(line as usize - 1)
    }

    /// What is written under a span, as far as its first line goes.
    fn first_line(&self, span: Span) -> Option<String> {
        let line = self.layers.files.slice(span).lines().next()?.trim();
        (!line.is_empty()).then(|| line.to_owned())
    }

    /// Key and value as they are written, as far as their line goes, and nothing of what stands
    /// beside them. Of what holds others it is the key.
    fn own_line(&self, given: &Given<'_>) -> Option<String> {
        let (key, value) = (given.key, given.node.span);
        let raw = written::find(&given.document.raw, value);
        if !raw.is_some_and(|(raw, _)| is_flat(raw))
            || matches!(given.node.value, Value::Map(_)) && key != value
        {
            let key = self.first_line(key).filter(|_| key != value)?;
            return Some(key + ":");
        }
        let place = given.place();
        let together = key.file == value.file
            && key.end <= value.start
            && !self.layers.files.slice(Span { end: value.start, ..key }).contains('\n');
        match together {
            true => self.first_line(key.to(value)),
            false => self.first_line(place),
        }
    }

    fn origin(&self, source: &Source<'_>, steps: &[Step]) -> Origin {
        match source {
            Source::EnvFile { file, value, at } => Origin {
                place: self.place(*at),
                line: self.line(*at).map(|line| line.trim().to_owned()),
                value: Some((*value).into()),
                variables: Vec::new(),
                ways: file
                    .named_at
                    .map(|at| self.way("environment file", at))
                    .into_iter()
                    .collect(),
            },
            Source::Document(given) => {
                let span = given.place();
                let value = match (given.tag, &given.node.value) {
                    (Tag::Reset, _) | (_, Value::Map(_) | Value::List(_)) => None,
                    _ => Some(json(given.node)),
                };
                let ways = self.ways(given, steps);
                let (place, line) = (self.place(span), self.own_line(given));
                Origin { place, line, value, variables: self.used(given), ways }
            }
        }
    }

    fn way(&self, what: impl Into<String>, at: Span) -> Way {
        Way { what: what.into(), place: self.place(at) }
    }

    fn ways(&self, given: &Given<'_>, steps: &[Step]) -> Vec<Way> {
        let mut ways: Vec<Way> = given.ways.iter().map(|way| self.of_documents(way)).collect();
        if let Some(aliases) = self.aliases.get(&given.document.raw.span.file) {
            let mut steps = steps[..given.gone].to_vec();
            if let Some(Step::Key(service)) = given.ways.iter().rev().find_map(layers::Way::renames)
                && let Some(name) = steps.get_mut(1)
            {
                *name = Step::Key(service);
            }
            let passed = written::through(&given.document.raw, &steps, given.node.span, aliases);
            ways.extend(passed.iter().map(|alias| self.of_alias(alias)));
        }
        ways.extend(match given.tag {
            Tag::None => None,
            Tag::Reset => Some(Way { what: "`!reset`".into(), place: None }),
            Tag::Override => Some(Way { what: "`!override`".into(), place: None }),
        });
        ways.extend(self.short(given, steps));
        ways
    }

    fn of_documents(&self, way: &layers::Way) -> Way {
        match way {
            layers::Way::Override => Way { what: "override file".into(), place: None },
            layers::Way::Later => Way { what: "later document".into(), place: None },
            layers::Way::Included(at) => self.way("included", *at),
            layers::Way::Extended { service, at } => self.way(format!("extends `{service}`"), *at),
        }
    }

    fn of_alias(&self, alias: &Alias) -> Way {
        let name = self.layers.files.slice(alias.at).trim();
        match alias.merged {
            true => self.way(format!("merge key `<<: {name}`"), alias.at),
            false => self.way(format!("alias `{name}`"), alias.at),
        }
    }

    /// The short form that a value is part of.
    fn short(&self, given: &Given<'_>, steps: &[Step]) -> Option<Way> {
        let (raw, is_item) = written::find(&given.document.raw, given.node.span)?;
        // A list has the place of its only entry.
        if is_item && matches!(steps[..given.gone].last(), Some(Step::Item { .. })) {
            return None;
        }
        let is_text = matches!(raw.value, Value::Text(_) | Value::Int(_) | Value::Float(_));
        let what = match (given.short, is_text) {
            (true, true) => format!("short form `{}`", self.layers.files.slice(raw.span).trim()),
            (true, false) => "a default of the Compose Specification".to_owned(),
            (false, _) => return None,
        };
        Some(Way { what, place: None })
    }

    /// The variables in the text of a value.
    fn used(&self, given: &Given<'_>) -> Vec<Variable> {
        let raw = written::find(&given.document.raw, given.node.span);
        let raw = raw.and_then(|(raw, _)| raw.as_text());
        let Some(raw) = raw.filter(|raw| raw.contains('$')) else { return Vec::new() };
        let asked = variables::of_text(raw);
        asked.into_values().map(|asked| self.variable(given, raw, &asked)).collect()
    }

    fn variable(&self, given: &Given<'_>, raw: &str, asked: &variables::Variable) -> Variable {
        let name = asked.name.clone();
        let value = given.document.variables.get(&name);
        let counts = |value: &&String| !value.is_empty() || !raw.contains(&format!("${{{name}:"));
        match value.filter(counts) {
            Some(value) => {
                let (from, at) = self.variable_source(&name, value, given.document.depth);
                let place = at.and_then(|at| self.place(at));
                Variable { name, value: Some(value.clone()), default: None, from, place }
            }
            None => {
                let (default, present) = (&asked.default_value, &asked.presence_value);
                let from = match (default.as_str(), present.as_str()) {
                    ("", "") => "not set, empty text stands in its place".to_owned(),
                    ("", _) => "not set".to_owned(),
                    (default, _) => format!("not set, the default `{default}` counts"),
                };
                let default = Some(default.clone()).filter(|default| !default.is_empty());
                Variable { name, value: None, default, from, place: None }
            }
        }
    }

    /// Where a variable of the project got its value.
    fn variable_source(&self, name: &str, value: &str, depth: usize) -> (String, Option<Span>) {
        if self.options.environment.get(name).is_some_and(|around| around == value) {
            return ("the environment of the process".to_owned(), None);
        }
        let files = self.layers.record.env_files.iter();
        let files = files.filter(|file| file.named_at.is_none() && file.depth <= depth);
        let said = files.filter_map(|file| {
            let (_, said, at) = file.pairs.iter().rfind(|(key, ..)| key == name)?;
            (said == value).then_some((std::cmp::Reverse(file.depth), *at))
        });
        match said.max() {
            Some((_, at)) => ("an environment file".to_owned(), Some(at)),
            None if name == "COMPOSE_PROJECT_NAME" => ("the name of the project".to_owned(), None),
            None => ("berth".to_owned(), None),
        }
    }

    /// A variable named without a value takes it from around.
    fn bare(&self, steps: &[Step], winner: Option<&Source<'_>>) -> Option<Way> {
        let (Some(Source::Document(given)), Some(Step::Key(name))) = (winner, steps.last()) else {
            return None;
        };
        let takes = steps
            .iter()
            .any(|step| matches!(step, Step::Key(name) if name == "environment" || name == "args"));
        if !takes || !given.node.is_null() {
            return None;
        }
        let value = self.variables.get(name)?;
        let (from, at) = self.variable_source(name, value, given.document.depth);
        Some(Way {
            what: format!("named without a value, so it takes that of {from}"),
            place: at.and_then(|at| self.place(at)),
        })
    }

    /// A value that no document has.
    fn made(&self, steps: &[Step], node: &Node) -> Origin {
        let names: Vec<&str> = steps
            .iter()
            .map(|step| match step {
                Step::Key(name) => name.as_str(),
                Step::Item { .. } => "[]",
            })
            .collect();
        let what = match names.as_slice() {
            ["name"] => self.project_name(),
            ["networks" | "volumes" | "configs" | "secrets", key, "name"] => {
                match node.as_text() == Some(key) {
                    true => "the key, as it is external".to_owned(),
                    false => "made of the project's name and the key".to_owned(),
                }
            }
            ["networks", "default", ..] => "the network of services that name none".to_owned(),
            ["services", _, "networks", ..] => {
                "a service that names no network is on `default`".to_owned()
            }
            ["services", _, "depends_on", ..] => {
                "follows from an attribute that needs the other service".to_owned()
            }
            _ => "a default of the Compose Specification".to_owned(),
        };
        let follows = names.get(2) == Some(&"depends_on");
        let place = if follows { self.place(node.span) } else { None };
        let line = if follows { self.first_line(node.span) } else { None };
        let line = line.filter(|line| !line.starts_with(['{', '[']));
        let holds = matches!(node.value, Value::Map(_) | Value::List(_));
        let value = (!holds).then(|| json(node));
        let ways = vec![Way { what, place: None }];
        Origin { place, line, value, variables: Vec::new(), ways }
    }

    fn project_name(&self) -> String {
        let name = &self.model.name;
        let is = |other: Option<&String>| other == Some(name);
        if is(self.options.project_name.as_ref()) {
            return "`--project-name`".to_owned();
        }
        if is(self.variables_around("COMPOSE_PROJECT_NAME")) {
            return "the variable COMPOSE_PROJECT_NAME".to_owned();
        }
        "made of the name of the folder".to_owned()
    }

    fn rule(&self, steps: &[Step], sources: &[Source<'_>]) -> String {
        let tag = sources.iter().rev().find_map(|source| match source {
            Source::Document(given) if given.tag != Tag::None => Some(given.tag),
            _ => None,
        });
        match tag {
            Some(Tag::Reset) => return "`!reset` takes away what earlier files say".to_owned(),
            Some(Tag::Override) => return "`!override` replaces what earlier files say".to_owned(),
            Some(Tag::None) | None => {}
        }
        let is_file = |source: &Source<'_>| matches!(source, Source::EnvFile { .. });
        if sources.iter().any(is_file) {
            return match sources.iter().all(is_file) {
                true => "a later environment file counts more than an earlier one".to_owned(),
                false => "`environment` counts more than `env_file`".to_owned(),
            };
        }
        let known = rules::known(steps);
        known.map_or("extension fields are merged like maps", |known| known.rule()).to_owned()
    }
}

impl Source<'_> {
    /// Whether the value of the model is this one.
    fn gave(&self, node: &Node) -> bool {
        match self {
            Source::Document(given) => {
                given.whole && given.tag != Tag::Reset && given.node.span == node.span
            }
            Source::EnvFile { at, .. } => node.span == *at,
        }
    }
}

impl Given<'_> {
    /// Where people look for it: the value, or the key of what holds others.
    fn place(&self) -> Span {
        match self.node.value {
            Value::Map(_) | Value::List(_) | Value::Null => self.key,
            _ => self.node.span,
        }
    }
}

impl layers::Way {
    /// The name under which the service is found in the text.
    fn renames(&self) -> Option<Step> {
        match self {
            layers::Way::Extended { service, .. } => Some(Step::Key(service.clone())),
            _ => None,
        }
    }
}

/// Whether it can be shown without showing names and values of others.
fn is_flat(raw: &Node) -> bool {
    let holds = |node: &Node| matches!(node.value, Value::Map(_) | Value::List(_));
    raw.as_map().is_none() && !raw.items().iter().any(holds)
}

/// Whether some value in it has this place.
fn holds(node: &Node, span: Span) -> bool {
    node.span == span
        || node.items().iter().any(|item| holds(item, span))
        || node.as_map().is_some_and(|map| map.iter().any(|(_, node)| holds(node, span)))
}
