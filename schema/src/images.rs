//! The images and models a stack names, and the stack with its images pinned.

use std::collections::{BTreeMap, BTreeSet};

use crate::stack::{Document, Stack};
use crate::text::Span;
use crate::tree::{Map, Node, Value};

/// Images by the service that names one, as they are written.
pub fn images(stack: &Stack) -> BTreeMap<String, String> {
    texts(stack, "image")
}

/// Pull policies by the service that has one, as they are written.
pub fn pull_policies(stack: &Stack) -> BTreeMap<String, String> {
    texts(stack, "pull_policy")
}

/// What the services say under a name, by service.
fn texts(stack: &Stack, said: &str) -> BTreeMap<String, String> {
    let services = stack.document.tree().get("services").and_then(Node::as_map);
    let named = services.into_iter().flat_map(|map| map.iter());
    named
        .filter_map(|(name, service)| Some((name.to_owned(), service.get_text(said)?.to_owned())))
        .collect()
}

/// What the models of the stack are made from.
pub fn models(stack: &Stack) -> BTreeSet<String> {
    let models = stack.document.tree().get("models").and_then(Node::as_map);
    let each = models.into_iter().flat_map(|map| map.iter());
    each.filter_map(|(_, model)| model.get_text("model").map(str::to_owned)).collect()
}

/// The stack with these images in place of those that its services name.
#[must_use]
pub fn pinned(stack: &Stack, images: &BTreeMap<String, String>) -> Stack {
    let mut tree = stack.document.tree().clone();
    let services = tree.as_map_mut().and_then(|map| map.get_mut("services"));
    if let Some(services) = services.and_then(Node::as_map_mut) {
        for (name, image) in images {
            let service = services.get_mut(name).and_then(Node::as_map_mut);
            if let Some(node) = service.and_then(|service| service.get_mut("image")) {
                node.value = Value::Text(image.clone());
            }
        }
    }
    let mut stack = stack.clone();
    for (name, image) in images {
        if let Some(service) = stack.services.get_mut(name) {
            service.image = Some(image.clone());
        }
    }
    stack.document = Document::new(tree.into(), stack.document.is_raw());
    stack
}

/// An override file with nothing but these images, by service.
pub fn lock(images: &BTreeMap<String, String>) -> Stack {
    let span = Span::default();
    let map = |map| Node::new(span, Value::Map(map));
    let mut services = Map::default();
    for (name, image) in images {
        let mut service = Map::default();
        service.set("image", Node::text(span, image.as_str()));
        services.set(name.as_str(), map(service));
    }
    let mut root = Map::default();
    root.set("services", map(services));
    Stack { document: Document::new(map(root).into(), false), ..Stack::default() }
}
