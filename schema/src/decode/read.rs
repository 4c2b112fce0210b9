//! Reads single values of the tree, and notes those that cannot work.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use crate::problem::{Code, Finding};
use crate::tree::{Node, Value};
use crate::value::{self, Bad, bad};
use crate::walk::loose;

pub(super) struct Reader<'a> {
    pub(super) found: &'a mut Vec<Finding>,
}

impl Reader<'_> {
    pub(super) fn bad(&mut self, node: &Node, path: &str, reason: Bad) {
        let shown = loose(&node.value).map_or(String::new(), |text| format!("`{text}` "));
        let message = format!("`{path}`: {shown}{}", reason.why);
        self.found.push(
            Finding::at(Code::BadValue, node.span, "cannot work", message).maybe_help(reason.help),
        );
    }

    pub(super) fn not_yet(&mut self, node: &Node, path: &str, what: &str, help: &str) {
        let message = format!(
            "`{path}`: {what} is part of the Compose Specification, but berth does not do it yet"
        );
        self.found.push(Finding::at(Code::NotYet, node.span, "not done yet", message).help(help));
    }

    /// Reads the value under a name with a function that can refuse it.
    pub(super) fn read<T>(
        &mut self,
        node: &Node,
        name: &str,
        path: &str,
        read: impl FnOnce(&str) -> Result<T, Bad>,
    ) -> Option<T> {
        let value = node.get(name).filter(|value| !value.is_null())?;
        let text = loose(&value.value)?;
        match read(&text) {
            Ok(read) => Some(read),
            Err(reason) => {
                self.bad(value, &format!("{path}.{name}"), reason);
                None
            }
        }
    }

    pub(super) fn parse<T: FromStr>(
        &mut self,
        node: &Node,
        name: &str,
        path: &str,
        what: &str,
    ) -> Option<T> {
        self.read(node, name, path, |text| {
            text.parse().or_else(|_| bad(format!("is not {what}"), ""))
        })
    }

    pub(super) fn list<T>(
        &mut self,
        node: &Node,
        path: &str,
        name: &str,
        mut read: impl FnMut(&mut Self, &Node, &str) -> Option<T>,
    ) -> Vec<T> {
        let items = node.get(name).map(Node::items).unwrap_or_default();
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            list.extend(read(self, item, &format!("{path}.{name}.{index}")));
        }
        list
    }
}

pub(super) fn entries<T>(
    tree: &Node,
    section: &str,
    mut make: impl FnMut(&str, &Node) -> T,
) -> BTreeMap<String, T> {
    let map = tree.get(section).and_then(Node::as_map);
    map.iter()
        .flat_map(|map| map.iter())
        .map(|(key, node)| (key.to_owned(), make(key, node)))
        .collect()
}

pub(super) fn text(node: &Node, name: &str) -> Option<String> {
    node.get(name).and_then(|node| loose(&node.value)).filter(|text| !text.is_empty())
}

pub(super) fn texts(node: &Node, name: &str) -> Vec<String> {
    let items = node.get(name).map(Node::items).unwrap_or_default();
    items.iter().filter_map(|item| loose(&item.value)).collect()
}

pub(super) fn command(node: &Node, name: &str) -> Option<Vec<String>> {
    node.get(name).filter(|node| !node.is_null()).map(|_| texts(node, name))
}

pub(super) fn flag(node: &Node, name: &str) -> Option<bool> {
    match node.get(name)?.value {
        Value::Bool(value) => Some(value),
        _ => None,
    }
}

pub(super) fn int<T: TryFrom<i128>>(node: &Node) -> Option<T> {
    match &node.value {
        Value::Int(value) => T::try_from(*value).ok(),
        Value::Text(text) => text.parse().ok().and_then(|value: i128| T::try_from(value).ok()),
        _ => None,
    }
}

pub(super) fn number<T: TryFrom<i128>>(node: &Node, name: &str) -> Option<T> {
    node.get(name).and_then(int)
}

pub(super) fn text_map(node: Option<&Node>) -> BTreeMap<String, String> {
    let map = node.and_then(Node::as_map);
    let entries = map.iter().flat_map(|map| map.iter());
    entries.map(|(key, value)| (key.to_owned(), loose(&value.value).unwrap_or_default())).collect()
}

pub(super) fn time(node: &Node, name: &str) -> Option<Duration> {
    value::duration(node.get_text(name)?).ok()
}
