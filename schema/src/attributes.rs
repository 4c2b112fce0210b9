//! The one table of everything the Compose Specification knows.
//!
//! Each row says what a value may be and in which class it is: done, refused for now, or inert
//! on one Linux host. Checking, expanding, merging and reporting all read this table.

mod berth;
mod build;
mod deploy;
mod grammars;
mod life;
mod limits;
mod links;
mod mounts;
mod resources;
mod service;

use crate::shape::Shape::{Int, List, Map, Nullable, OneOrList, Record as Rec, Short, Text};
use crate::shape::{
    Brief, Inert, Record, Shape, docker, done, inert, record, requiring, swarm, windows,
};
use crate::short;
use crate::tree::Node;

use berth::STACK_BERTH;
use resources::{CONFIG, MODEL, NETWORK, SECRET, VOLUME};

pub use grammars::NUMBER;
pub use service::SERVICE;

const ANY_INT: Shape = Int(&grammars::ANY_INT);
const NOT_NEGATIVE: Shape = Int(&grammars::NOT_NEGATIVE);
const REPLICAS: Shape = Int(&grammars::REPLICAS);
const SWARM: Inert = swarm("it steers a cluster, and berth runs on one host");
const WINDOWS: Inert = windows("it is for Windows containers");

/// The whole file.
pub static FILE: Record = record(
    "a Compose file",
    &[
        done("configs", Map(&Nullable(&Rec(&CONFIG))))
            .says("Files of settings that services mount."),
        done(
            "include",
            List(&Short(Brief { expand: short::include, also: Some(&Text) }, &Rec(&INCLUDE))),
        )
        .says("Other Compose files whose services and resources become part of this stack."),
        done("models", Map(&Rec(&MODEL))).says("Language models that services use."),
        done("name", Text).says(
            "The name of the stack; its containers, networks and volumes are named after it.",
        ),
        done("networks", Map(&Nullable(&Rec(&NETWORK))))
            .says("Networks that services join; `default` is the one of services that name none."),
        done("secrets", Map(&Nullable(&Rec(&SECRET))))
            .says("Files that must stay private, mounted by services below `/run/secrets`."),
        done("services", Map(&Nullable(&Rec(&SERVICE))))
            .says("The programs that make the stack, by name."),
        inert("version", Text, docker("the newest specification always counts"))
            .says("The version of the file format, which no longer matters."),
        done("volumes", Map(&Nullable(&Rec(&VOLUME))))
            .says("Folders that outlive the containers, by name."),
        done("x-berth", Rec(&STACK_BERTH))
            .says("What berth adds to the specification; other tools do not look at it."),
    ],
);

static INCLUDE: Record = requiring(
    "an included part",
    &["path"],
    &[
        done("env_file", OneOrList(&Text))
            .says("Files with variables for the included part, instead of its `.env`.")
            .normally(".env"),
        done("path", OneOrList(&Text))
            .says("The Compose file to include; further ones override it."),
        done("project_directory", Text)
            .says("The folder that paths of the part count from; normally that of its first file."),
    ],
);

fn nothing(_: &mut crate::walk::Walk<'_>, _: &mut Node) {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Shape::{IntOr, Keyed, Names, OneOrSet, Set, Whole};

    fn look(record: &Record, seen: &mut Vec<String>) {
        let names: Vec<&str> = record.attributes.iter().map(|attribute| attribute.name).collect();
        assert!(names.is_sorted(), "{}: {names:?}", record.name);
        for attribute in record.attributes {
            below(&attribute.shape, seen);
        }
        seen.push(record.name.to_owned());
    }

    fn below(shape: &Shape, seen: &mut Vec<String>) {
        match shape {
            Rec(record) => look(record, seen),
            Keyed(keyed) => below(keyed.item, seen),
            List(inner)
            | Shape::Distinct(inner)
            | Set(inner)
            | OneOrSet(inner)
            | OneOrList(inner)
            | Map(inner)
            | Names(inner)
            | Short(_, inner)
            | IntOr(inner)
            | Nullable(inner)
            | Whole(inner) => below(inner, seen),
            _ => {}
        }
    }

    #[test]
    fn every_table_is_in_order_so_that_names_are_found() {
        let mut seen = Vec::new();
        look(&FILE, &mut seen);
        assert!(seen.len() > 40, "{seen:?}");
    }

    #[test]
    fn every_attribute_says_what_it_is_for_in_one_sentence() {
        for row in crate::reference::all() {
            let (path, says) = (row.path, row.says);
            assert!(says.ends_with('.') && !says.contains(". "), "{path}: {says}");
        }
    }
}
