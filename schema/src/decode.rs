//! The completed tree → the typed [`Stack`] with the place of every value.
//!
//! A value that cannot work is noted and left out, so that all of them come in one run. After
//! this nothing reads text again.

mod berth;
mod beside;
mod build;
mod deploy;
mod develop;
mod devices;
mod endpoint;
mod files;
mod forwarding;
mod grammar;
mod lifecycle;
mod limits;
mod logging;
mod models;
mod mounts;
mod namespaces;
mod networking;
mod read;
mod security;
mod service;
mod tmpfs;

pub(crate) use grammar::platform;
pub(crate) use mounts::mounts;

use self::read::{Reader, number};
use crate::problem::Finding;
use crate::project::Model;
use crate::stack::{Document, Stack};
use crate::trail::Trail;

/// Makes the stack; values that cannot work are noted.
pub(crate) fn stack(model: Model, found: &mut Vec<Finding>) -> Stack {
    let Model { name, directory, files, tree, places, inactive, raw } = model;
    let mut reader = Reader { found, directory: &directory, path: Trail::default() };
    let services = reader.entries(&tree, "services", |r, _, node| Some(r.service(node)));
    let networks = reader.entries(&tree, "networks", |r, _, node| Some(r.network(node)));
    let volumes = reader.entries(&tree, "volumes", |r, _, node| Some(r.volume(node)));
    let configs = reader.entries(&tree, "configs", |r, _, node| Some(r.file_object(node)));
    let secrets = reader.entries(&tree, "secrets", |r, _, node| Some(r.file_object(node)));
    let models = reader.entries(&tree, "models", |r, _, node| r.model(node));
    Stack {
        name,
        files,
        services,
        networks,
        volumes,
        configs,
        secrets,
        models,
        history: tree.get("x-berth").and_then(|berth| number(berth, "history")),
        extensions: models::extensions(&tree),
        inactive,
        places,
        working_dir: directory,
        document: Document::new(tree, raw),
    }
}
