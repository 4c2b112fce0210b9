//! The language the attribute table is written in: what a value may be, how it merges, and
//! whether berth does it.

use crate::tree::{Node, Value};
use crate::value::Bad;
use crate::walk::Walk;

/// What a value may be. One description serves checking, expanding, merging and listing.
pub enum Shape {
    /// Anything; extension fields.
    Any,
    /// Text only.
    Text,
    /// Text, number or boolean; becomes text.
    Loose,
    /// True or false.
    Bool,
    /// A whole number between two.
    Int(i64, i64),
    /// A number.
    Float,
    /// One of some words.
    Word(&'static [&'static str]),
    /// A value that a function brings to its canonical form.
    Amount(fn(&Value) -> Result<Value, Bad>),
    /// A path of the host, made absolute.
    HostPath,
    /// A command line: text split like a shell, or a list.
    Command,
    /// Values in order; later files append.
    List(&'static Shape),
    /// Values in order, each once; later files append what is new.
    Set(&'static Shape),
    /// A value or a list of them; like [`Shape::Set`].
    OneOrSet(&'static Shape),
    /// A value or a list of them; later files append.
    OneOrList(&'static Shape),
    /// Entries with a key of their own.
    Keyed(&'static Keyed),
    /// `KEY: value` map or list of `KEY=value`; becomes a map of texts.
    Dict(Bare),
    /// Values by free name.
    Map(&'static Shape),
    /// A list of names or a map by name; becomes the map.
    Names(&'static Shape),
    /// Attributes with a meaning each.
    Record(&'static Record),
    /// A short form that a function expands first.
    Short(fn(&mut Walk<'_>, Node) -> Node, &'static Shape),
    /// A whole number, or else.
    IntOr(&'static Shape),
    /// May be left empty.
    Nullable(&'static Shape),
    /// A later file replaces it whole.
    Whole(&'static Shape),
}

/// What a `KEY` without a value means in a [`Shape::Dict`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Bare {
    /// Nothing: the value comes from elsewhere.
    Null,
    /// Empty text.
    Empty,
}

/// A list whose entries have a key.
pub struct Keyed {
    /// Expands one written entry into the entries it means.
    pub expand: fn(&mut Walk<'_>, Node) -> Vec<Node>,
    /// What an entry is.
    pub item: &'static Shape,
    /// Completes an entry that fits.
    pub finish: fn(&mut Walk<'_>, &mut Node),
    /// What makes two entries the same; the later one replaces the earlier.
    pub key: fn(&Node) -> Option<String>,
    /// One entry may stand without a list.
    pub single: bool,
}

/// A set of attributes.
pub struct Record {
    /// What it describes, for messages (`a service`).
    pub name: &'static str,
    /// The attributes, in order of their names.
    pub attributes: &'static [Attribute],
    /// Attributes that must be there.
    pub required: &'static [&'static str],
    /// How two of them merge when not attribute by attribute.
    pub replaces: Option<fn(&Node, &Node) -> bool>,
}

impl Record {
    /// The attribute of a name.
    pub fn attribute(&self, name: &str) -> Option<&'static Attribute> {
        let at = self.attributes.binary_search_by(|attribute| attribute.name.cmp(name));
        at.ok().map(|at| &self.attributes[at])
    }
}

/// One attribute of the specification.
pub struct Attribute {
    /// Its key.
    pub name: &'static str,
    /// What it may be.
    pub shape: Shape,
    /// Whether berth does it.
    pub class: Class,
}

/// What berth does with an attribute.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It has its effect.
    Done,
    /// It is refused until berth does it.
    Later,
    /// It has no effect on one Linux host, for this reason.
    Inert(&'static str),
}

/// An attribute that has its effect.
pub const fn done(name: &'static str, shape: Shape) -> Attribute {
    Attribute { name, shape, class: Class::Done }
}

/// An attribute that is refused for now.
pub const fn later(name: &'static str, shape: Shape) -> Attribute {
    Attribute { name, shape, class: Class::Later }
}

/// An attribute without effect here.
pub const fn inert(name: &'static str, shape: Shape, why: &'static str) -> Attribute {
    Attribute { name, shape, class: Class::Inert(why) }
}

/// A record that merges attribute by attribute and requires nothing.
pub const fn record(name: &'static str, attributes: &'static [Attribute]) -> Record {
    Record { name, attributes, required: &[], replaces: None }
}

/// A record with required attributes.
pub const fn requiring(
    name: &'static str,
    required: &'static [&'static str],
    attributes: &'static [Attribute],
) -> Record {
    Record { name, attributes, required, replaces: None }
}
