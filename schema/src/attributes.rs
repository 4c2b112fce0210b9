//! The one table of everything the Compose Specification knows.
//!
//! Each row says what a value may be and in which class it is: done, refused for now, or inert
//! on one Linux host. Checking, expanding, merging and reporting all read this table.

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
use crate::shape::{Brief, Record, Shape, done, inert, record, requiring};
use crate::short;
use crate::tree::Node;

use resources::{CONFIG, MODEL, NETWORK, SECRET, VOLUME};

pub use service::SERVICE;

const ANY_INT: Shape = Int(&grammars::ANY_INT);
const NOT_NEGATIVE: Shape = Int(&grammars::NOT_NEGATIVE);
const SWARM: &str = "it steers a cluster, and berth runs on one host";
const WINDOWS: &str = "it is for Windows containers";

/// The whole file.
pub static FILE: Record = record(
    "a Compose file",
    &[
        done("configs", Map(&Nullable(&Rec(&CONFIG)))),
        done(
            "include",
            List(&Short(Brief { expand: short::include, also: Some(&Text) }, &Rec(&INCLUDE))),
        ),
        done("models", Map(&Rec(&MODEL))),
        done("name", Text),
        done("networks", Map(&Nullable(&Rec(&NETWORK)))),
        done("secrets", Map(&Nullable(&Rec(&SECRET)))),
        done("services", Map(&Nullable(&Rec(&SERVICE)))),
        inert("version", Text, "the newest specification always counts"),
        done("volumes", Map(&Nullable(&Rec(&VOLUME)))),
    ],
);

static INCLUDE: Record = requiring(
    "an included part",
    &["path"],
    &[
        done("env_file", OneOrList(&Text)),
        done("path", OneOrList(&Text)),
        done("project_directory", Text),
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
}
