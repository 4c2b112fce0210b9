//! Language models, and the `x-` keys of a stack.

use std::collections::BTreeMap;

use super::read::{Reader, text, texts};
use crate::stack::{Model, ServiceModel};
use crate::tree::{Node, Value};
use crate::value::bad;

impl Reader<'_> {
    pub(super) fn model(&mut self, node: &Node) -> Option<Model> {
        Some(Model {
            model: text(node, "model")?,
            name: text(node, "name"),
            context_size: self
                .within(node, "context_size", 0..=u32::MAX, " tokens")
                .filter(|tokens| *tokens > 0),
            runtime_flags: texts(node, "runtime_flags"),
        })
    }

    /// The models of a service, with the variables that tell it of them.
    pub(super) fn service_models(&mut self, node: &Node) -> BTreeMap<String, ServiceModel> {
        self.entries(node, "models", |reader, key, node| {
            let prefix = key.to_uppercase().replace(['-', '.'], "_");
            let mut variable = |name: &str, default: &str| {
                let given = reader.read(node, name, |text| match is_variable(text) {
                    true => Ok(text.to_owned()),
                    false => bad(
                        "is not the name of a variable",
                        "names have letters, digits and `_`, and do not start with a digit",
                    ),
                });
                given.unwrap_or_else(|| format!("{prefix}_{default}"))
            };
            Some(ServiceModel {
                endpoint_var: variable("endpoint_var", "URL"),
                model_var: variable("model_var", "MODEL"),
            })
        })
    }
}

fn is_variable(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// What the `x-` keys of a map say, those of berth not included.
pub(super) fn extensions(node: &Node) -> BTreeMap<String, serde_json::Value> {
    let entries = node.as_map().into_iter().flat_map(|map| map.0.range("x-".to_owned()..));
    entries
        .take_while(|(name, _)| name.starts_with("x-"))
        .filter(|(name, _)| *name != "x-berth")
        .map(|(name, entry)| (name.clone(), json(&entry.node)))
        .collect()
}

fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(number) => match (i64::try_from(*number), u64::try_from(*number)) {
            (Ok(number), _) => number.into(),
            (_, Ok(number)) => number.into(),
            _ => (*number as f64).into(),
        },
        Value::Float(number) if number.is_finite() => (*number).into(),
        Value::Float(number) => crate::scalar::print_float(*number).into(),
        Value::Text(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(map) => map.iter().map(|(name, node)| (name.to_owned(), json(node))).collect(),
    }
}
