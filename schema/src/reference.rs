//! What berth knows about each attribute of the Compose Specification, by its path.
//!
//! Everything here is read from the one table that the loader checks files against, so what is
//! told about an attribute is what is done with it.

mod document;
mod json_schema;

use crate::attributes::FILE;
use crate::shape::{Attribute, Inside, Record, Shape};

pub use self::document::document;
pub use self::json_schema::json_schema;
pub use crate::shape::Class;

/// What an attribute is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its path: `*` is a free name, `[]` an entry of a list, `services.*.ports[].target`.
    pub path: String,
    /// What may be written, in words.
    pub kind: String,
    /// Whether berth does it; what is part of something refused is refused with it.
    pub class: Class,
    /// What it is for, as one sentence.
    pub says: &'static str,
    /// What holds when it is not written; empty when there is nothing to tell.
    pub normal: &'static str,
    /// Values that are usual.
    pub examples: &'static [&'static str],
}

/// What the attribute at a path of a file is: `services.web.ports.0.target`, `networks.front`.
///
/// Inside what the specification leaves open, such as the variables of `environment`, it is the
/// attribute around. Nothing is known about extension fields and mistakes.
pub fn describe(path: &str) -> Option<Description> {
    let parts: Vec<&str> = path.split('.').collect();
    in_record(&FILE, &parts, &Around { path: String::new(), class: Class::Done })
}

/// Every attribute, depth first, in the order of the names.
pub fn all() -> Vec<Description> {
    let mut rows = Vec::new();
    rows_of(&FILE, &Around { path: String::new(), class: Class::Done }, &mut rows);
    rows
}

/// What an attribute stands in.
struct Around {
    path: String,
    class: Class,
}

impl Around {
    fn describe(&self, attribute: &'static Attribute) -> Description {
        let path = match self.path.is_empty() {
            true => attribute.name.to_owned(),
            false => format!("{}.{}", self.path, attribute.name),
        };
        Description {
            path,
            kind: kind(&attribute.shape),
            class: if self.class == Class::Done { attribute.class } else { self.class },
            says: attribute.says,
            normal: attribute.normal,
            examples: examples(attribute),
        }
    }
}

fn in_record(record: &'static Record, parts: &[&str], around: &Around) -> Option<Description> {
    let (name, rest) = parts.split_first()?;
    let attribute = record.attribute(name)?;
    let here = around.describe(attribute);
    in_shape(&attribute.shape, rest, here)
}

fn in_shape(shape: &'static Shape, parts: &[&str], here: Description) -> Option<Description> {
    if parts.is_empty() {
        return Some(here);
    }
    match shape.inside() {
        Inside::Nothing => Some(here),
        Inside::Attributes(record) => {
            in_record(record, parts, &Around { path: here.path, class: here.class })
        }
        Inside::Listed(inner) => {
            let path = format!("{}[]", here.path);
            in_shape(inner, &parts[1..], Description { path, ..here })
        }
        // A name may hold dots, but `web.imge` alone is rather a mistake in `web`.
        Inside::Named(inner) => (1..parts.len().max(2)).find_map(|name| {
            let path = format!("{}.*", here.path);
            in_shape(inner, &parts[name..], Description { path, ..here.clone() })
        }),
    }
}

fn rows_of(record: &'static Record, around: &Around, rows: &mut Vec<Description>) {
    for attribute in record.attributes {
        let row = around.describe(attribute);
        let (path, class) = (row.path.clone(), row.class);
        rows.push(row);
        rows_below(&attribute.shape, Around { path, class }, rows);
    }
}

fn rows_below(shape: &'static Shape, mut around: Around, rows: &mut Vec<Description>) {
    match shape.inside() {
        Inside::Nothing => {}
        Inside::Attributes(record) => rows_of(record, &around, rows),
        Inside::Named(inner) => {
            around.path += ".*";
            rows_below(inner, around, rows);
        }
        Inside::Listed(inner) => {
            around.path += "[]";
            rows_below(inner, around, rows);
        }
    }
}

fn examples(attribute: &'static Attribute) -> &'static [&'static str] {
    match (&attribute.shape, attribute.like) {
        (Shape::Amount(grammar), []) => grammar.examples,
        (_, like) => like,
    }
}

/// What may be written for a shape, in words.
fn kind(shape: &Shape) -> String {
    let one_or = |inner: &Shape| format!("{}, or a list of them", kind(inner));
    match shape {
        Shape::Any => "anything".into(),
        Shape::Text => "text".into(),
        Shape::Loose => "text, a number or a boolean".into(),
        Shape::Bool => "true or false".into(),
        Shape::Int(range) => match (range.least, range.most) {
            (i64::MIN, i64::MAX) => "a whole number".into(),
            _ => format!("a whole number: {}", range.words()),
        },
        Shape::Float(_) => "a number".into(),
        Shape::Word(words) => {
            words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
        }
        Shape::Amount(grammar) => match grammar.range {
            Some(range) if !range.unit.is_empty() => format!("{}: {}", grammar.name, range.words()),
            _ => grammar.name.into(),
        },
        Shape::HostPath => "a path of the host".into(),
        Shape::Command => "a command line, or a list of words".into(),
        Shape::List(inner) | Shape::Distinct(inner) | Shape::Set(inner) => {
            format!("a list: {}", kind(inner))
        }
        Shape::OneOrSet(inner) | Shape::OneOrList(inner) => one_or(inner),
        Shape::Keyed(keyed) => {
            let item = with_short(keyed.also, keyed.item);
            if keyed.single {
                format!("{item}, or a list of them")
            } else {
                format!("a list: {item}")
            }
        }
        Shape::Dict(_) => "a map, or a list of `KEY=value`".into(),
        Shape::Map(inner) => format!("a map: {}", kind(inner)),
        Shape::Names(inner) => format!("a list of names, or a map: {}", kind(inner)),
        Shape::Record(record) => record.name.into(),
        Shape::Short(brief, inner) => with_short(brief.also, inner),
        Shape::IntOr(inner) => format!("a whole number, or {}", kind(inner)),
        Shape::BoolOr(inner) => format!("true or false, or {}", kind(inner)),
        Shape::Nullable(inner) => format!("{}, or empty", kind(inner)),
        Shape::Whole(inner) => kind(inner),
    }
}

fn with_short(also: Option<&Shape>, long: &Shape) -> String {
    match also {
        Some(also) => format!("{}, or {}", kind(also), kind(long)),
        None => kind(long),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str) -> Option<String> {
        describe(path).map(|found| found.path)
    }

    #[test]
    fn an_attribute_is_found_by_its_path_in_a_file() {
        for (path_in_file, pattern) in [
            ("services", "services"),
            ("services.web", "services.*"),
            ("services.web.image", "services.*.image"),
            ("services.web.v2.image", "services.*.image"),
            ("services.web.ports.0.target", "services.*.ports[].target"),
            ("services.web.environment.LOG_LEVEL", "services.*.environment"),
            ("services.web.build.args.A", "services.*.build.args"),
            ("networks.front.ipam.config.0.subnet", "networks.*.ipam.config[].subnet"),
        ] {
            assert_eq!(path(path_in_file).as_deref(), Some(pattern), "{path_in_file}");
        }
        for unknown in ["", "x-mine", "services.web.imge", "nothing.at.all"] {
            assert_eq!(path(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn what_is_inside_something_without_effect_has_none_either() {
        let class = |path| describe(path).map(|found| found.class);
        assert_eq!(
            class("services.web.deploy.placement.constraints"),
            class("services.web.deploy.placement")
        );
        assert!(matches!(class("services.web.cpu_percent"), Some(Class::Inert(_))));
        assert_eq!(class("services.web.image"), Some(Class::Done));
    }

    #[test]
    fn every_attribute_of_the_specification_is_there_once() {
        let rows = all();
        let paths: std::collections::BTreeSet<_> = rows.iter().map(|row| &row.path).collect();
        assert_eq!(paths.len(), rows.len());
        assert!(rows.len() > 300, "{}", rows.len());
    }
}
