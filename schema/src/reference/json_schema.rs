//! The attribute table as a JSON Schema, for editors.
//!
//! Draft 7, which the YAML language server reads best. Wherever a number or a boolean is wanted,
//! a text with a variable may stand too: what it becomes is not known before it is filled in.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Class;
use crate::attributes::{FILE, NUMBER};
use crate::shape::{Attribute, Grammar, Inside, Number, Range, Record, Shape};
use crate::value::BOOLEANS;

const ID: &str =
    "https://raw.githubusercontent.com/berth-run/berth/main/schema/compose.schema.json";
const TITLE: &str = "Compose file";
const ABOUT: &str = "The Compose Specification as berth reads it: what each attribute is for, and \
                     whether it has an effect on one Linux host.";
/// Texts that hold a variable.
const VARIABLE: &str = "\\$";
/// What services, networks and the like can be called.
const NAMES: &str = "^[a-zA-Z0-9._-]+$";

/// The JSON Schema of Compose files; the same bytes every time.
pub fn json_schema() -> String {
    let mut writer = Writer::default();
    let Value::Object(file) = writer.record(&FILE) else {
        return String::new();
    };
    let mut schema = Map::new();
    schema.insert("$schema".into(), json!("http://json-schema.org/draft-07/schema#"));
    schema.insert("$id".into(), json!(ID));
    schema.insert("title".into(), json!(TITLE));
    schema.insert("description".into(), json!(ABOUT));
    schema.extend(file);
    let definitions = writer.definitions.into_iter().collect();
    schema.insert("definitions".into(), Value::Object(definitions));
    format!("{:#}\n", Value::Object(schema))
}

#[derive(Default)]
struct Writer {
    /// Records by name.
    definitions: BTreeMap<String, Value>,
}

impl Writer {
    /// A record where it stands.
    fn record(&mut self, record: &'static Record) -> Value {
        let attributes = record.attributes.iter();
        let properties = attributes.map(|a| (a.name.to_owned(), self.attribute(a)));
        let properties: Map<String, Value> = properties.collect();
        let mut schema = json!({ "type": "object", "properties": properties });
        if !record.required.is_empty() {
            schema["required"] = json!(record.required);
        }
        schema["patternProperties"] = json!({ "^x-": {} });
        schema["additionalProperties"] = json!(false);
        schema
    }

    /// A record among the definitions, and the way to it.
    fn reference(&mut self, record: &'static Record) -> Value {
        let name = record.name.trim_start_matches("a ").trim_start_matches("an ");
        let name = name.replace(' ', "_");
        if !self.definitions.contains_key(&name) {
            let schema = self.record(record);
            self.definitions.insert(name.clone(), schema);
        }
        json!({ "$ref": format!("#/definitions/{name}") })
    }

    fn attribute(&mut self, attribute: &'static Attribute) -> Value {
        let mut schema = Map::new();
        schema.insert("description".into(), json!(description(attribute)));
        if let Some(normal) = normal(attribute) {
            schema.insert("default".into(), normal);
        }
        match self.value(&attribute.shape, attribute.like) {
            // Beside a reference nothing else counts.
            Value::Object(value) if value.contains_key("$ref") => {
                schema.insert("type".into(), json!("object"));
                schema.insert("allOf".into(), json!([value]));
            }
            Value::Object(value) => schema.extend(value),
            _ => {}
        }
        Value::Object(schema)
    }

    fn value(&mut self, shape: &'static Shape, like: &[&str]) -> Value {
        match shape {
            Shape::Any => json!({}),
            Shape::Text | Shape::HostPath => exemplified(json!({ "type": "string" }), like),
            Shape::Loose => json!({ "type": ["string", "number", "boolean"] }),
            Shape::Bool => boolean(),
            Shape::Int(range) => within(
                json!({ "type": ["integer", "string"], "pattern": or_variable(NUMBER) }),
                Some(range),
            ),
            Shape::Float(range) => within(
                json!({ "type": ["number", "string"], "pattern": or_variable(NUMBER) }),
                Some(range),
            ),
            Shape::Word(words) => {
                any([json!({ "enum": words }), json!({ "type": "string", "pattern": VARIABLE })])
            }
            Shape::Amount(grammar) => amount(grammar, like),
            Shape::Command => any([
                exemplified(json!({ "type": "string" }), like),
                json!({ "type": "array", "items": { "type": "string" } }),
            ]),
            Shape::List(item) | Shape::Set(item) => list(self.value(item, like)),
            Shape::Distinct(item) => {
                let mut schema = list(self.value(item, like));
                schema["uniqueItems"] = json!(true);
                schema
            }
            Shape::OneOrSet(item) | Shape::OneOrList(item) => {
                let item = self.value(item, like);
                any([item.clone(), list(item)])
            }
            Shape::Keyed(keyed) => {
                let item = self.with_short(keyed.also, keyed.item, like);
                match (keyed.single, keyed.also) {
                    (true, Some(also)) => any([self.value(also, like), list(item)]),
                    _ => list(item),
                }
            }
            Shape::Dict(_) => any([
                json!({ "type": "object", "additionalProperties": {
                    "type": ["string", "number", "boolean", "null"]
                } }),
                list(exemplified(json!({ "type": "string" }), like)),
            ]),
            Shape::Map(item) => self.map(item, like),
            Shape::Names(item) => any([list(json!({ "type": "string" })), self.map(item, like)]),
            Shape::Record(record) => self.reference(record),
            Shape::Short(brief, long) => self.with_short(brief.also, long, like),
            Shape::IntOr(other) => any([
                json!({ "type": ["integer", "string"], "pattern": or_variable(NUMBER) }),
                self.value(other, like),
            ]),
            Shape::BoolOr(other) => any([boolean(), self.value(other, like)]),
            Shape::Nullable(inner) => any([self.value(inner, like), json!({ "type": "null" })]),
            Shape::Whole(inner) => self.value(inner, like),
        }
    }

    /// Records have names that others refer to; other values go by any text.
    fn map(&mut self, item: &'static Shape, like: &[&str]) -> Value {
        let named = matches!(item.inside(), Inside::Attributes(_));
        let item = self.value(item, like);
        match named {
            true => json!({
                "type": "object", "patternProperties": { NAMES: item }, "additionalProperties": false
            }),
            false => json!({ "type": "object", "additionalProperties": item }),
        }
    }

    fn with_short(
        &mut self,
        short: Option<&'static Shape>,
        long: &'static Shape,
        like: &[&str],
    ) -> Value {
        match short {
            Some(short) => any([self.value(short, like), self.value(long, &[])]),
            None => self.value(long, like),
        }
    }
}

/// What an editor shows above an attribute.
fn description(attribute: &Attribute) -> String {
    let says = attribute.says;
    let normal = match attribute.normal {
        "" => String::new(),
        normal => format!(" Normally `{normal}`."),
    };
    match attribute.class {
        Class::Done => format!("{says}{normal}"),
        Class::Later => format!("{says}{normal}\n\nberth: refused until it does this."),
        Class::Inert(inert) => format!("{says}{normal}\n\nberth: no effect here: {}.", inert.why),
    }
}

/// What holds when an attribute is not written, when that could be written too.
fn normal(attribute: &Attribute) -> Option<Value> {
    let text = attribute.normal;
    let number = || serde_json::from_str(text).ok();
    match &attribute.shape {
        _ if text.is_empty() => None,
        Shape::Bool | Shape::BoolOr(_) | Shape::Int(_) | Shape::Float(_) => number(),
        Shape::Amount(grammar) => match (grammar.number, grammar.pattern) {
            (Number::No, _) => Some(json!(text)),
            (_, Some(_)) => number().or_else(|| Some(json!(text))),
            (_, None) => number(),
        },
        _ => Some(json!(text)),
    }
}

fn amount(grammar: &Grammar, like: &[&str]) -> Value {
    let pattern = match grammar.pattern {
        Some(pattern) => or_variable(pattern),
        None => VARIABLE.to_owned(),
    };
    let types = match grammar.number {
        Number::No => json!("string"),
        Number::Whole => json!(["string", "integer"]),
        Number::Any => json!(["string", "number"]),
    };
    let schema = within(json!({ "type": types, "pattern": pattern }), grammar.range);
    let examples = if like.is_empty() { grammar.examples } else { like };
    if grammar.pattern.is_some() { exemplified(schema, examples) } else { schema }
}

fn within(mut schema: Value, range: Option<&Range>) -> Value {
    let Some(range) = range else {
        return schema;
    };
    let mut bounds = Map::new();
    if range.least != i64::MIN {
        bounds.insert("minimum".into(), json!(range.least));
    }
    if range.most != i64::MAX {
        bounds.insert("maximum".into(), json!(range.most));
    }
    let Value::Object(fields) = &mut schema else {
        return schema;
    };
    if range.or.is_empty() {
        fields.extend(bounds);
    } else {
        fields.insert("anyOf".into(), json!([bounds, { "enum": range.or }]));
    }
    schema
}

fn exemplified(mut schema: Value, examples: &[&str]) -> Value {
    if !examples.is_empty() {
        schema["examples"] = json!(examples);
    }
    schema
}

fn list(item: Value) -> Value {
    json!({ "type": "array", "items": item })
}

/// One of some; what is itself one of some is laid open.
fn any(ways: impl IntoIterator<Item = Value>) -> Value {
    let mut all = Vec::new();
    for way in ways {
        match way {
            Value::Object(mut one) if one.len() == 1 && one.contains_key("anyOf") => {
                if let Some(Value::Array(inner)) = one.remove("anyOf") {
                    all.extend(inner);
                }
            }
            way => all.push(way),
        }
    }
    json!({ "anyOf": all })
}

fn or_variable(pattern: &str) -> String {
    format!("{pattern}|{VARIABLE}")
}

/// True or false, also in words, in any case.
fn boolean() -> Value {
    let letter = |c: char| match c.is_ascii_alphabetic() {
        true => format!("[{}{c}]", c.to_ascii_uppercase()),
        false => c.to_string(),
    };
    let words = BOOLEANS.map(|(word, _)| word.chars().map(letter).collect::<String>());
    let pattern = or_variable(&format!("^({})$", words.join("|")));
    json!({ "type": ["boolean", "string"], "pattern": pattern })
}
