//! The language the attribute table is written in: what a value may be, how it can be written,
//! how it merges, what it is for and whether berth does it.

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
    /// A whole number of a range.
    Int(&'static Range),
    /// A number of a range, a fraction allowed.
    Float(&'static Range),
    /// One of some words.
    Word(&'static [&'static str]),
    /// A value with a grammar of its own.
    Amount(&'static Grammar),
    /// A path of the host, made absolute.
    HostPath,
    /// A command line: text split like a shell, or a list.
    Command,
    /// Values in order; later files append.
    List(&'static Shape),
    /// Values in order; later files append, and two equal ones are a mistake.
    Distinct(&'static Shape),
    /// Values in order, each once: what stands before `=` tells them apart, the later one counts.
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
    /// A short form that is expanded first.
    Short(Brief, &'static Shape),
    /// A whole number, or else.
    IntOr(&'static Shape),
    /// True or false, or else.
    BoolOr(&'static Shape),
    /// May be left empty.
    Nullable(&'static Shape),
    /// A later file replaces it whole.
    Whole(&'static Shape),
}

/// What may be written inside a value.
pub enum Inside {
    /// Attributes.
    Attributes(&'static Record),
    /// Values by free name.
    Named(&'static Shape),
    /// Values in order.
    Listed(&'static Shape),
    /// Nothing the table knows.
    Nothing,
}

impl Shape {
    /// What may be written inside such a value, in its long form.
    pub fn inside(&self) -> Inside {
        match self {
            Shape::Record(record) => Inside::Attributes(record),
            Shape::Map(inner) | Shape::Names(inner) => Inside::Named(inner),
            Shape::Keyed(keyed) => Inside::Listed(keyed.item),
            Shape::List(inner)
            | Shape::Distinct(inner)
            | Shape::Set(inner)
            | Shape::OneOrSet(inner)
            | Shape::OneOrList(inner) => Inside::Listed(inner),
            Shape::Short(_, inner)
            | Shape::IntOr(inner)
            | Shape::BoolOr(inner)
            | Shape::Nullable(inner)
            | Shape::Whole(inner) => inner.inside(),
            Shape::Any
            | Shape::Text
            | Shape::Loose
            | Shape::Bool
            | Shape::Int(_)
            | Shape::Float(_)
            | Shape::Word(_)
            | Shape::Amount(_)
            | Shape::HostPath
            | Shape::Command
            | Shape::Dict(_) => Inside::Nothing,
        }
    }
}

/// What a `KEY` without a value means in a [`Shape::Dict`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Bare {
    /// Nothing: the value comes from elsewhere.
    Null,
    /// Empty text.
    Empty,
}

/// Numbers that make sense.
pub struct Range {
    /// The least.
    pub least: i64,
    /// The most.
    pub most: i64,
    /// Numbers outside that have a meaning of their own.
    pub or: &'static [i64],
    /// What is counted, for messages; may be empty.
    pub unit: &'static str,
    /// Numbers outside are wrong even where a stack is only described, not run.
    pub firm: bool,
}

impl Range {
    /// Whether a number is of this range.
    pub fn holds(&self, number: i128) -> bool {
        let within = i128::from(self.least)..=i128::from(self.most);
        within.contains(&number) || self.or.iter().any(|other| i128::from(*other) == number)
    }

    /// Whether a number is of this range, a fraction allowed.
    pub fn spans(&self, number: f64) -> bool {
        (self.least == i64::MIN || number >= self.least as f64)
            && (self.most == i64::MAX || number <= self.most as f64)
            || self.or.iter().any(|other| *other as f64 == number)
    }

    /// Why it does not hold a number: `is below 0`, `is not between 10 and 1000, or 0`.
    pub fn refusal(&self, number: i128) -> String {
        match self.most {
            i64::MAX if self.or.is_empty() && number < 0 => {
                format!("is below {}{}", self.least, self.counted())
            }
            _ => format!("is not {}", self.words()),
        }
    }

    /// Which numbers it holds: `0 or more`, `between 10 and 1000, or 0`.
    pub fn words(&self) -> String {
        let unit = self.counted();
        let mut words = match (self.least, self.most) {
            (i64::MIN, i64::MAX) => format!("any number{unit}"),
            (least, i64::MAX) => format!("{least}{unit} or more"),
            (least, most) => format!("between {least} and {most}{unit}"),
        };
        let others: Vec<String> = self.or.iter().map(i64::to_string).collect();
        match others.as_slice() {
            [] => {}
            [only] => words += &format!(", or {only}"),
            many => words += &format!(", {}", many.join(" or ")),
        }
        words
    }

    fn counted(&self) -> String {
        if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) }
    }
}

/// How a value is written that is more than a text or a number.
pub struct Grammar {
    /// What it is: `a duration`.
    pub name: &'static str,
    /// Brings a value to its canonical form.
    pub read: fn(&Value) -> Result<Value, Bad>,
    /// Whether a number may stand there.
    pub number: Number,
    /// Numbers that make sense, when not all that can be read do.
    pub range: Option<&'static Range>,
    /// What texts look like, as a regular expression of JSON Schema; none where no text may stand.
    pub pattern: Option<&'static str>,
    /// Whether what cannot be read is a mistake even where the stack is only described.
    pub firm: bool,
    /// How it is written, for example.
    pub examples: &'static [&'static str],
}

/// Which numbers may stand where a grammar reads a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// None: it is written as text.
    No,
    /// Whole ones.
    Whole,
    /// Any.
    Any,
}

/// A short form.
#[derive(Clone, Copy)]
pub struct Brief {
    /// Expands it; what is written in full it leaves or completes.
    pub expand: fn(&mut Walk<'_>, Node) -> Node,
    /// How it is written, beside the long form.
    pub also: Option<&'static Shape>,
}

/// A list whose entries have a key.
pub struct Keyed {
    /// How an entry can be written in short.
    pub also: Option<&'static Shape>,
    /// Expands one written entry into the entries it means.
    pub expand: fn(&mut Walk<'_>, Node) -> Vec<Node>,
    /// What an entry is.
    pub item: &'static Shape,
    /// Completes an entry that fits.
    pub finish: fn(&mut Walk<'_>, &mut Node),
    /// What makes two entries the same.
    pub key: fn(&Node) -> Option<String>,
    /// Of two entries that are the same the later one is merged over the earlier; else it
    /// replaces it.
    pub joins: bool,
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
    /// What it is for, as one sentence.
    pub says: &'static str,
    /// What holds when it is not written; empty when there is nothing to tell.
    pub normal: &'static str,
    /// Values that are usual.
    pub like: &'static [&'static str],
}

/// What berth does with an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It has its effect.
    Done,
    /// It is refused until berth does it.
    Later,
    /// It has no effect on one Linux host.
    Inert(Inert),
}

/// Why an attribute has no effect here, and who gives it one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inert {
    /// The reason.
    pub why: &'static str,
    /// Where it has its effect.
    pub elsewhere: &'static str,
}

/// It has its effect in a cluster.
pub const fn swarm(why: &'static str) -> Inert {
    Inert { why, elsewhere: "Docker Swarm" }
}

/// It has its effect on Windows.
pub const fn windows(why: &'static str) -> Inert {
    Inert { why, elsewhere: "Docker on Windows" }
}

/// It has its effect with Docker.
pub const fn docker(why: &'static str) -> Inert {
    Inert { why, elsewhere: "Docker" }
}

impl Attribute {
    const fn new(name: &'static str, shape: Shape, class: Class) -> Self {
        Attribute { name, shape, class, says: "", normal: "", like: &[] }
    }

    /// With what it is for.
    pub const fn says(self, says: &'static str) -> Self {
        Attribute { says, ..self }
    }

    /// With what holds when it is not written.
    pub const fn normally(self, normal: &'static str) -> Self {
        Attribute { normal, ..self }
    }

    /// With values that are usual.
    pub const fn like(self, like: &'static [&'static str]) -> Self {
        Attribute { like, ..self }
    }
}

/// An attribute that has its effect.
pub const fn done(name: &'static str, shape: Shape) -> Attribute {
    Attribute::new(name, shape, Class::Done)
}

/// An attribute that is refused for now.
pub const fn later(name: &'static str, shape: Shape) -> Attribute {
    Attribute::new(name, shape, Class::Later)
}

/// An attribute without effect here.
pub const fn inert(name: &'static str, shape: Shape, why: Inert) -> Attribute {
    Attribute::new(name, shape, Class::Inert(why))
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
