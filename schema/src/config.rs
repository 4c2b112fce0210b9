//! The canonical form of a stack: what `berth config` prints. It can be loaded again.

use std::fmt::Write as _;

use crate::project::Project;
use crate::stack::Stack;
use crate::tree::{Node, Value};
use crate::{LoadOptions, Loaded, Problems, Source, decode, scalar};

/// What `berth config` leaves out on request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Switches {
    /// `--no-interpolate`: variables stay as they are written.
    pub no_interpolate: bool,
    /// `--no-consistency`: references and conflicts are not looked at.
    pub no_consistency: bool,
    /// `--no-normalize`: no names, no default network, no implied dependencies.
    pub no_normalize: bool,
    /// `--no-path-resolution`: paths stay relative.
    pub no_path_resolution: bool,
    /// `--no-env-resolution`: environment files are not read.
    pub no_env_resolution: bool,
    /// `--all-resources`: resources stay when no service uses them.
    pub all_resources: bool,
    /// Accept what can be described but not be run: one host port twice, and the like.
    pub lax: bool,
}

/// Like [`crate::load`], but accepts what berth does not do yet: for showing the model, not for
/// running it.
///
/// # Errors
/// All problems of all files at once.
pub fn load(options: &LoadOptions, source: &dyn Source) -> Result<Loaded, Problems> {
    load_with(options, Switches::default(), source)
}

/// Like [`load`], with parts of the work left out.
///
/// # Errors
/// All problems of all files at once.
pub fn load_with(
    options: &LoadOptions,
    switches: Switches,
    source: &dyn Source,
) -> Result<Loaded, Problems> {
    let mut project = Project::new(options, source);
    project.switches = Switches { lax: true, ..switches };
    let model = project.model();
    // What the typed stack cannot carry is no fault of the text.
    let stack = model.map(|mut model| {
        model.raw = switches.no_interpolate;
        decode::stack(model, &mut Vec::new())
    });
    project.conclude(stack)
}

/// The canonical form as YAML, keys sorted.
pub fn to_yaml(stack: &Stack) -> String {
    let mut out = String::new();
    Printer { raw: stack.document.is_raw() }.yaml(&shown(stack), 0, &mut out);
    out
}

/// The canonical form as JSON, keys sorted.
pub fn to_json(stack: &Stack) -> String {
    let mut out = String::new();
    Printer { raw: stack.document.is_raw() }.json(&shown(stack), 0, &mut out);
    out.push('\n');
    out
}

/// What of a service decides whether its containers are as it says, as one text: not how it is
/// built or pulled, how many there are, what it depends on, or when it is switched on.
pub fn identity(stack: &Stack, service: &str) -> Option<String> {
    let mut node = stack.document.tree().at(&["services", service])?.clone();
    let map = node.as_map_mut()?;
    for name in ["build", "pull_policy", "scale", "depends_on", "profiles"] {
        map.remove(name);
    }
    map.0.retain(|name, _| !name.starts_with("x-"));
    let mut out = String::new();
    Printer { raw: stack.document.is_raw() }.json(&node, 0, &mut out);
    Some(out)
}

/// The tree as it is printed: without the models, as the Compose tools print it.
fn shown(stack: &Stack) -> Node {
    let mut tree = stack.document.tree().clone();
    if let Some(map) = tree.as_map_mut() {
        map.remove("models");
    }
    tree
}

/// How texts are printed.
struct Printer {
    /// Variables are still in the texts, so `$` stays as it is.
    raw: bool,
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Entries that are printed: what is no part of the text stays out.
fn entries(node: &Node) -> Vec<(&str, &Node)> {
    let map = node.as_map();
    let all = map.iter().flat_map(|map| map.iter());
    all.filter(|(name, _)| *name != crate::resources::VALUE).collect()
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::List(items) => items.is_empty(),
        Value::Map(_) => entries(node).is_empty(),
        _ => true,
    }
}

impl Printer {
    /// Every `$` doubled, so that reading it again changes nothing.
    fn escaped(&self, text: &str) -> String {
        if self.raw { text.to_owned() } else { text.replace('$', "$$") }
    }

    fn scalar(&self, value: &Value) -> String {
        match value {
            Value::Null => "null".into(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Float(value) if value.is_finite() => scalar::print_float(*value),
            Value::Float(value) => quoted(&scalar::print_float(*value)),
            Value::Text(text) => quoted(&self.escaped(text)),
            Value::List(_) => "[]".into(),
            Value::Map(_) => "{}".into(),
        }
    }

    fn json(&self, node: &Node, depth: usize, out: &mut String) {
        if is_empty(node) {
            out.push_str(&self.scalar(&node.value));
            return;
        }
        let indent = "  ".repeat(depth + 1);
        let map = node.as_map().is_some();
        out.push(if map { '{' } else { '[' });
        let mut first = true;
        let mut item = |key: Option<&str>, node: &Node, out: &mut String| {
            out.push_str(if first { "\n" } else { ",\n" });
            first = false;
            out.push_str(&indent);
            if let Some(key) = key {
                let _ = write!(out, "{}: ", quoted(&self.escaped(key)));
            }
            self.json(node, depth + 1, out);
        };
        for (key, node) in entries(node) {
            item(Some(key), node, out);
        }
        for node in node.items() {
            item(None, node, out);
        }
        let _ = write!(out, "\n{}{}", "  ".repeat(depth), if map { '}' } else { ']' });
    }

    fn yaml(&self, node: &Node, depth: usize, out: &mut String) {
        let indent = "  ".repeat(depth);
        for (key, value) in entries(node) {
            let _ = write!(out, "{indent}{}:", yaml_text(key));
            if is_empty(value) {
                let _ = writeln!(out, " {}", self.yaml_scalar(&value.value));
            } else {
                out.push('\n');
                self.yaml(value, depth + 1, out);
            }
        }
        for item in node.items() {
            if is_empty(item) {
                let _ = writeln!(out, "{indent}- {}", self.yaml_scalar(&item.value));
                continue;
            }
            let start = out.len();
            self.yaml(item, depth + 1, out);
            // The first line of the item carries the dash.
            out.replace_range(start..start + indent.len() + 2, &format!("{indent}- "));
        }
    }

    fn yaml_scalar(&self, value: &Value) -> String {
        match value {
            Value::Text(text) => yaml_text(&self.escaped(text)),
            other => self.scalar(other),
        }
    }
}

/// Plain where nothing else could be read from it, else in double quotes.
fn yaml_text(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "/._-@+=$".contains(c);
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || "/._$".contains(c));
    let words = ["y", "n", "yes", "no", "on", "off"];
    let plain = first
        && text.chars().all(|c| safe(c) || c == ' ')
        && !text.ends_with(' ')
        && matches!(scalar::plain(text), Value::Text(_))
        && !words.contains(&text.to_ascii_lowercase().as_str());
    if plain { text.to_owned() } else { quoted(text) }
}
