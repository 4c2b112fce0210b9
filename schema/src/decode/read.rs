//! Reads single values of the tree, and notes those that cannot work.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use crate::problem::{Code, Finding};
use crate::trail::Trail;
use crate::tree::{Node, Value};
use crate::value::{self, Bad, bad};
use crate::walk::loose;

/// Reads values, and knows where in the model it stands.
pub(super) struct Reader<'a> {
    /// What was found.
    pub(super) found: &'a mut Vec<Finding>,
    /// Directory that relative paths count from.
    pub(super) directory: &'a Path,
    /// Path of the value at hand.
    pub(super) path: Trail,
}

impl Reader<'_> {
    /// Notes that the value at hand cannot work.
    pub(super) fn bad(&mut self, node: &Node, reason: Bad) {
        let shown = loose(&node.value).map_or(String::new(), |text| format!("`{text}` "));
        let message = format!("`{}`: {shown}{}", self.path, reason.why);
        self.found.push(
            Finding::at(Code::BadValue, node.span, "cannot work", message).maybe_help(reason.help),
        );
    }

    /// Notes that something is wrong with more than the value at hand.
    pub(super) fn wrong(&mut self, node: &Node, why: &str, help: String) {
        let message = format!("`{}`: {why}", self.path);
        let finding = Finding::at(Code::BadValue, node.span, "cannot work", message);
        self.found.push(finding.help(help));
    }

    /// Notes why the value at hand cannot work, and what to do.
    pub(super) fn refuse(&mut self, node: &Node, why: &str, help: &str) {
        self.bad(node, Bad { why: why.to_owned(), help: Some(help.to_owned()) });
    }

    /// Notes that berth does not do yet what the value at hand asks for.
    pub(super) fn not_yet(&mut self, node: &Node, what: &str, help: &str) {
        let message = format!(
            "`{}`: {what} is part of the Compose Specification, but berth does not do it yet",
            self.path
        );
        self.found.push(Finding::at(Code::NotYet, node.span, "not done yet", message).help(help));
    }

    /// Notes that the value at hand has no effect here.
    pub(super) fn inert(&mut self, node: &Node, why: &str, help: Option<&str>) {
        let message = format!("`{}` {why}", self.path);
        let finding = Finding::at(Code::Inert, node.span, "no effect here", message);
        self.found.push(finding.maybe_help(help.map(str::to_owned)));
    }

    /// Does `work` with the value under a name, if there is one.
    pub(super) fn get<T>(
        &mut self,
        node: &Node,
        name: &str,
        work: impl FnOnce(&mut Self, &Node) -> Option<T>,
    ) -> Option<T> {
        let value = node.get(name).filter(|value| !value.is_null())?;
        self.below(name, |reader| work(reader, value))
    }

    /// Does `work` one name deeper.
    pub(super) fn below<T>(&mut self, name: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.push(name);
        let result = work(self);
        self.path.back_to(length);
        result
    }

    /// Reads the value at hand with a function that can refuse it.
    pub(super) fn value<T>(
        &mut self,
        node: &Node,
        read: impl FnOnce(&str) -> Result<T, Bad>,
    ) -> Option<T> {
        let result = match node.as_text() {
            Some(text) => read(text),
            None => read(&loose(&node.value)?),
        };
        match result {
            Ok(value) => Some(value),
            Err(reason) => {
                self.bad(node, reason);
                None
            }
        }
    }

    /// Reads the value under a name with a function that can refuse it.
    pub(super) fn read<T>(
        &mut self,
        node: &Node,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, Bad>,
    ) -> Option<T> {
        self.get(node, name, |reader, value| reader.value(value, read))
    }

    /// Reads the value under a name by its type's own rules.
    pub(super) fn parse<T: FromStr>(&mut self, node: &Node, name: &str, what: &str) -> Option<T> {
        self.read(node, name, |text| text.parse().or_else(|_| bad(format!("is not {what}"), "")))
    }

    /// Reads a number under a name that has a least, a most, and a unit.
    pub(super) fn within<T>(
        &mut self,
        node: &Node,
        name: &str,
        range: RangeInclusive<T>,
        unit: &str,
    ) -> Option<T>
    where
        T: TryFrom<i128> + PartialOrd + Display,
    {
        self.get(node, name, |reader, value| match int::<T>(value) {
            Some(number) if range.contains(&number) => Some(number),
            _ => {
                let why = format!("is not between {} and {}{unit}", range.start(), range.end());
                reader.bad(value, Bad { why, help: None });
                None
            }
        })
    }

    /// Reads each item of the list under a name.
    pub(super) fn list<T>(
        &mut self,
        node: &Node,
        name: &str,
        mut read: impl FnMut(&mut Self, &Node) -> Option<T>,
    ) -> Vec<T> {
        let items = node.get(name).map(Node::items).unwrap_or_default();
        if items.is_empty() {
            return Vec::new();
        }
        let mut list = Vec::with_capacity(items.len());
        self.below(name, |reader| {
            for (index, item) in items.iter().enumerate() {
                let length = reader.path.push_index(index);
                list.extend(read(reader, item));
                reader.path.back_to(length);
            }
        });
        list
    }

    /// Reads each text of the list under a name with a function that can refuse it.
    pub(super) fn each<T>(
        &mut self,
        node: &Node,
        name: &str,
        read: impl Fn(&str) -> Result<T, Bad>,
    ) -> Vec<T> {
        self.list(node, name, |reader, item| reader.value(item, &read))
    }

    /// Reads each entry of the map under a name.
    pub(super) fn entries<T>(
        &mut self,
        node: &Node,
        name: &str,
        mut read: impl FnMut(&mut Self, &str, &Node) -> Option<T>,
    ) -> BTreeMap<String, T> {
        let Some(map) = node.get(name).and_then(Node::as_map) else {
            return BTreeMap::new();
        };
        self.below(name, |reader| {
            let entry = |(key, node): (&str, &Node)| {
                let value = reader.below(key, |reader| read(reader, key, node))?;
                Some((key.to_owned(), value))
            };
            map.iter().filter_map(entry).collect()
        })
    }
}

/// The text under a name, unless it is empty.
pub(super) fn text(node: &Node, name: &str) -> Option<String> {
    node.get(name).and_then(|node| loose(&node.value)).filter(|text| !text.is_empty())
}

/// The texts of the list under a name.
pub(super) fn texts(node: &Node, name: &str) -> Vec<String> {
    let items = node.get(name).map(Node::items).unwrap_or_default();
    items.iter().filter_map(|item| loose(&item.value)).collect()
}

/// The words of a command; an empty list clears the image's, nothing keeps it.
pub(super) fn command(node: &Node, name: &str) -> Option<Vec<String>> {
    node.get(name).filter(|node| !node.is_null()).map(|_| texts(node, name))
}

/// The switch under a name.
pub(super) fn flag(node: &Node, name: &str) -> Option<bool> {
    match node.get(name)?.value {
        Value::Bool(value) => Some(value),
        _ => None,
    }
}

/// The switch under a name, off unless it is on.
pub(super) fn is_on(node: &Node, name: &str) -> bool {
    flag(node, name).unwrap_or_default()
}

/// A whole number, also from text.
pub(super) fn int<T: TryFrom<i128>>(node: &Node) -> Option<T> {
    match &node.value {
        Value::Int(value) => T::try_from(*value).ok(),
        Value::Text(text) => text.parse().ok().and_then(|value: i128| T::try_from(value).ok()),
        _ => None,
    }
}

/// The whole number under a name.
pub(super) fn number<T: TryFrom<i128>>(node: &Node, name: &str) -> Option<T> {
    node.get(name).and_then(int)
}

/// The number with a fraction under a name.
pub(super) fn fraction(node: &Node, name: &str) -> Option<f64> {
    match node.get(name)?.value {
        Value::Float(number) => Some(number),
        _ => None,
    }
}

/// The map of texts under a name.
pub(super) fn text_map(node: &Node, name: &str) -> BTreeMap<String, String> {
    let map = node.get(name).and_then(Node::as_map);
    let entries = map.iter().flat_map(|map| map.iter());
    entries.map(|(key, value)| (key.to_owned(), loose(&value.value).unwrap_or_default())).collect()
}

/// The duration under a name, already in its canonical form.
pub(super) fn time(node: &Node, name: &str) -> Option<Duration> {
    value::duration(node.get_text(name)?).ok()
}
