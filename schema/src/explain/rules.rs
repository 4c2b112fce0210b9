//! What the table says about a path: how values of several files go together, in words.

use super::layers::Step;
use crate::attributes::FILE;
use crate::shape::{Attribute, Record, Shape};

/// What the table says about the value of a path.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    /// The attribute it is, or belongs to.
    pub attribute: &'static Attribute,
    /// What the value may be; `None` inside what the specification leaves open.
    pub shape: Option<&'static Shape>,
    /// What holds the value.
    holder: Option<&'static Shape>,
}

/// The attribute at a path, if the specification has it.
pub(crate) fn known(path: &[Step]) -> Option<Known> {
    let mut record = Some(&FILE);
    let mut known: Option<Known> = None;
    for step in path {
        known = Some(match (step, record, known) {
            (Step::Key(name), Some(of), _) => {
                let attribute = of.attribute(name)?;
                let holder = known.and_then(|known| known.shape);
                Known { attribute, shape: Some(&attribute.shape), holder }
            }
            (_, _, Some(before)) => {
                let shape = before.shape.and_then(inner);
                Known { shape, holder: before.shape, ..before }
            }
            _ => return None,
        });
        record = known.and_then(|known| known.shape).and_then(attributes);
    }
    known
}

/// The names that may stand at a path.
pub(crate) fn names(path: &[Step]) -> Vec<&'static str> {
    let record = match path {
        [] => Some(&FILE),
        path => known(path).and_then(|known| known.shape).and_then(attributes),
    };
    let attributes = record.map(|record| record.attributes).unwrap_or_default();
    attributes.iter().map(|attribute| attribute.name).collect()
}

/// The shape without what only says how it is written.
fn plain(shape: &'static Shape) -> &'static Shape {
    match shape {
        Shape::Nullable(inner) | Shape::Short(_, inner) | Shape::IntOr(inner) => plain(inner),
        other => other,
    }
}

fn inner(shape: &'static Shape) -> Option<&'static Shape> {
    match plain(shape) {
        Shape::Map(inner)
        | Shape::Names(inner)
        | Shape::List(inner)
        | Shape::Set(inner)
        | Shape::OneOrSet(inner)
        | Shape::OneOrList(inner) => Some(inner),
        Shape::Keyed(keyed) => Some(keyed.item),
        Shape::Whole(whole) => inner(whole),
        _ => None,
    }
}

fn attributes(shape: &'static Shape) -> Option<&'static Record> {
    match plain(shape) {
        Shape::Record(record) => Some(record),
        Shape::Whole(inner) => attributes(inner),
        _ => None,
    }
}

impl Known {
    /// How a later value goes over an earlier one.
    pub fn rule(&self) -> &'static str {
        let (Some(shape), holder) = (self.shape, self.holder) else {
            return "a later value of the same name replaces the earlier one";
        };
        match (plain(shape), holder.map(plain)) {
            (_, Some(Shape::Keyed(_))) => self.entry(),
            (Shape::Map(_) | Shape::Names(_) | Shape::Dict(_) | Shape::Record(_), _) => {
                "maps are merged name by name"
            }
            (Shape::Any, _) => "maps are merged, lists appended, other values replaced",
            (Shape::Keyed(_), _) => self.entries(),
            (Shape::Set(_) | Shape::OneOrSet(_), _) => {
                "lists are appended, equal entries count once"
            }
            (Shape::List(_) | Shape::OneOrList(_), _) => "lists are appended",
            (Shape::Whole(_) | Shape::Command, _) => {
                "a later value replaces the earlier one as a whole"
            }
            _ => "a later value replaces the earlier one",
        }
    }

    /// Of lists whose entries have a key.
    fn entries(&self) -> &'static str {
        match self.attribute.name {
            "ports" => {
                "lists are appended; of two equal ports the later entry replaces the earlier one"
            }
            "env_file" => {
                "lists are appended; of two entries with the same path the later one replaces"
            }
            _ => "lists are appended; of two entries with the same target the later one replaces",
        }
    }

    fn entry(&self) -> &'static str {
        match self.attribute.name {
            "ports" => "same address, ports and protocol: the later entry replaces the earlier one",
            "env_file" => "same path: the later entry replaces the earlier one",
            _ => "same target: the later entry replaces the earlier one",
        }
    }

    /// How to tell which entries of a list are the same.
    pub fn key_of(&self) -> Option<fn(&crate::tree::Node) -> Option<String>> {
        match plain(self.shape?) {
            Shape::Keyed(keyed) => Some(keyed.key),
            Shape::Set(_) | Shape::OneOrSet(_) => Some(|node| crate::walk::loose(&node.value)),
            _ => None,
        }
    }
}
