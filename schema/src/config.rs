//! The canonical form of a stack: what `berth config` prints. It can be loaded again.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::attributes::{FILE, SERVICE};
use crate::project::Project;
use crate::stack::{Document, Stack};
use crate::text::Span;
use crate::tree::{Map, Node, Value};
use crate::{LoadOptions, Loaded, Problem, Problems, Source, decode, print, prune};

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

/// The canonical form alone, and what the user should know about it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The canonical form.
    pub document: Document,
    /// What is no error, in the order of the text.
    pub warnings: Vec<Problem>,
}

/// Like [`load_with`], for printing alone: the typed stack is not made.
///
/// # Errors
/// All problems of all files at once.
pub fn show(
    options: &LoadOptions,
    switches: Switches,
    source: &dyn Source,
) -> Result<Shown, Problems> {
    let mut project = Project::new(options, source);
    project.switches = Switches { lax: true, ..switches };
    let document = project.model().map(|model| Document::new(model.tree, switches.no_interpolate));
    let warnings = project.conclude(document.as_ref().map(|_| Stack::default()))?.warnings;
    Ok(Shown { document: document.unwrap_or_default(), warnings })
}

/// The canonical form as YAML, keys sorted.
pub fn to_yaml(stack: &Stack) -> String {
    stack.document.to_yaml()
}

/// The canonical form as JSON, keys sorted, for programs that read what the Compose tools print.
pub fn to_json(stack: &Stack) -> String {
    stack.document.to_json()
}

impl Document {
    /// As YAML, keys sorted.
    pub fn to_yaml(&self) -> String {
        print::yaml(self.tree(), self.is_raw())
    }

    /// As JSON, keys sorted, without the extension fields below the top level.
    pub fn to_json(&self) -> String {
        let mut tree = for_programs(self.tree());
        if prune::has_extensions(&tree) {
            prune::without_extensions_below(&FILE, tree.to_mut());
        }
        print::json(&tree, self.is_raw()) + "\n"
    }
}

impl Document {
    /// All of it as one value, extension fields too, for comparing.
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::from_str(&print::json(self.tree(), true)).unwrap_or_default()
    }

    /// These services of the document in place of those that `before` has, or beside them, and all
    /// else that either has: what is in both is as here. With `scale` services have so many containers.
    #[must_use]
    pub fn over(
        &self,
        before: Option<&Document>,
        services: &BTreeSet<&str>,
        scale: &BTreeMap<String, u32>,
    ) -> Document {
        let mut tree = self.tree().clone();
        let root = tree.as_map_mut();
        if let Some(Value::Map(own)) =
            root.and_then(|map| map.get_mut("services")).map(|node| &mut node.value)
        {
            own.0.retain(|name, _| services.contains(name.as_str()));
            for (name, number) in scale {
                if let Some(service) = own.get_mut(name).and_then(Node::as_map_mut) {
                    set_scale(service, *number);
                }
            }
        }
        for (section, node) in
            before.and_then(|b| b.tree().as_map()).into_iter().flat_map(Map::iter)
        {
            let Some(old) = node.as_map() else { continue };
            let Some(root) = tree.as_map_mut() else { break };
            root.set_default(section, Node::new(node.span, Value::Map(Map::default())));
            let Some(own) = root.get_mut(section).and_then(Node::as_map_mut) else { continue };
            for (name, node) in old.iter() {
                own.set_default(name, node.clone());
            }
        }
        Document::new(tree.into(), self.is_raw())
    }
}

/// Both ways to say how many containers there are, if the file has the second.
fn set_scale(service: &mut Map, number: u32) {
    let node = Node::new(Span::default(), Value::Int(number.into()));
    let deploy = service.get_mut("deploy").and_then(Node::as_map_mut);
    if let Some(replicas) = deploy.and_then(|deploy| deploy.get_mut("replicas")) {
        replicas.value = node.value.clone();
    }
    service.set("scale", node);
}

/// What of a service decides whether its containers are as it says, as one text: not how it is
/// built or pulled, how many there are, what it depends on, or when it is switched on.
pub fn identity(stack: &Stack, service: &str) -> Option<String> {
    let mut node = stack.document.tree().at(&["services", service])?.clone();
    let map = node.as_map_mut()?;
    for name in ["build", "pull_policy", "scale", "depends_on", "profiles"] {
        map.remove(name);
    }
    prune::without_extensions(&SERVICE, &mut node);
    Some(print::json(&node, stack.document.is_raw()))
}

/// The tree with the habits of the Compose tools' JSON: no models, no time after which an image is
/// pulled again, and other names for the limits of a block device.
fn for_programs(tree: &Node) -> Cow<'_, Node> {
    let odd = |service: &Node| ODD.iter().any(|name| service.get(name).is_some());
    let mut services = tree.get("services").and_then(Node::as_map).into_iter().flat_map(Map::iter);
    if tree.get("models").is_none() && !services.any(|(_, service)| odd(service)) {
        return Cow::Borrowed(tree);
    }
    let mut tree = tree.clone();
    let Some(map) = tree.as_map_mut() else {
        return Cow::Owned(tree);
    };
    map.remove("models");
    let services = map.get_mut("services").and_then(Node::as_map_mut);
    for service in services.into_iter().flat_map(|services| services.0.values_mut()) {
        let Some(service) = service.node.as_map_mut() else {
            continue;
        };
        service.remove(ODD[1]);
        let limits = service.get_mut(ODD[0]).and_then(Node::as_map_mut);
        for limit in limits.into_iter().flat_map(|limits| limits.0.values_mut()) {
            if let Value::List(devices) = &mut limit.node.value {
                devices.iter_mut().filter_map(Node::as_map_mut).for_each(capitalise);
            }
        }
    }
    Cow::Owned(tree)
}

/// Attributes of a service that look different in JSON.
const ODD: [&str; 2] = ["blkio_config", "pull_refresh_after"];

fn capitalise(map: &mut Map) {
    for (name, other) in [("path", "Path"), ("rate", "Rate"), ("weight", "Weight")] {
        if let Some(node) = map.remove(name) {
            map.set(other, node);
        }
    }
}
