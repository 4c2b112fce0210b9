//! The completed tree → the typed [`Stack`] with the place of every value.

mod files;
mod lifecycle;
mod limits;
mod logging;
mod mounts;
mod networking;
mod read;
mod service;

pub(crate) use mounts::mounts;

use self::read::{Reader, entries};
use crate::problem::Finding;
use crate::project::Model;
use crate::stack::{Document, Stack};

/// Makes the stack; values that cannot work are noted.
pub(crate) fn stack(model: Model, found: &mut Vec<Finding>) -> Stack {
    let Model { name, directory, files: paths, tree, places, inactive, raw } = model;
    let mut reader = Reader { found };
    let services = reader.services(&tree);
    let networks = entries(&tree, "networks", |key, node| reader.network(key, node));
    let volumes = entries(&tree, "volumes", |key, node| reader.volume(key, node));
    let configs = entries(&tree, "configs", |_, node| reader.file_object(node));
    let secrets = entries(&tree, "secrets", |_, node| reader.file_object(node));
    Stack {
        name,
        working_dir: directory,
        files: paths,
        services,
        networks,
        volumes,
        configs,
        secrets,
        inactive,
        places,
        document: Document::new(tree, raw),
    }
}
