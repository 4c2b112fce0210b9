//! The canonical form of a stack: what `berth config` prints. It can be loaded again.

use std::borrow::Cow;

use crate::attributes::{FILE, SERVICE};
use crate::project::Project;
use crate::stack::Stack;
use crate::tree::Node;
use crate::{LoadOptions, Loaded, Problems, Source, decode, print, prune};

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
    print::yaml(&shown(stack), stack.document.is_raw())
}

/// The canonical form as JSON, keys sorted, without the extension fields below the top level, as
/// the Compose tools print it.
pub fn to_json(stack: &Stack) -> String {
    let mut tree = shown(stack);
    if prune::has_extensions(&tree) {
        prune::without_extensions_below(&FILE, tree.to_mut());
    }
    print::json(&tree, stack.document.is_raw()) + "\n"
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

/// The tree as it is printed: without the models, as the Compose tools print it.
fn shown(stack: &Stack) -> Cow<'_, Node> {
    let tree = stack.document.tree();
    if tree.get("models").is_none() {
        return Cow::Borrowed(tree);
    }
    let mut tree = tree.clone();
    if let Some(map) = tree.as_map_mut() {
        map.remove("models");
    }
    Cow::Owned(tree)
}
