//! The next move when a value has the wrong form or a key stands at the wrong level: what was
//! meant, written out.

use crate::attributes::{FILE, SERVICE};
use crate::problem::{Code, Finding};
use crate::scalar;
use crate::shape::{Record, Shape};
use crate::tree::{Entry, Map, Node, Value};
use crate::value;

/// How deep below a record a key is looked for.
const DEEPEST: usize = 3;
/// More places than this tell nobody which one was meant.
const MOST_PLACES: usize = 3;

/// What to write instead of a value that must be `want` and is something else.
pub fn wrong_type(path: &str, node: &Node, want: &str) -> Option<String> {
    let name = path.rsplit('.').next().unwrap_or(path);
    match (&node.value, want) {
        (Value::Null, _) => Some("give it a value, or take the key away".into()),
        (Value::Bool(value), "text") if name == "restart" => restart(*value),
        (Value::Bool(false), "a map") if name == "healthcheck" => {
            Some("write `disable: true` in a line below `healthcheck:`".into())
        }
        (Value::Int(_) | Value::Float(_) | Value::Bool(_), "text") => {
            Some("write it in quotes".into())
        }
        (Value::Float(_), "text or a number") => Some("write it in quotes".into()),
        (Value::Float(number), "a port") if number.fract() == 0.0 => {
            Some(format!("write it in quotes: `\"{}\"`", scalar::print_float(*number)))
        }
        (Value::Float(_), "a port") => Some("write it in quotes: `\"HOST:CONTAINER\"`".into()),
        (Value::Int(0 | 1), "true or false") => Some("write `true` or `false`".into()),
        (Value::Text(_), "true or false") => Some("write `true` or `false`".into()),
        (Value::Map(map), "`KEY=value`") => pair_in_list(map),
        (Value::Map(map), "a list") => list_from_map(map),
        (Value::List(items), "a map") => map_from_list(path, items),
        (Value::List(items), "text") => match &items[..] {
            [only] => Some(format!("take the list away: `{name}: {}`", written(only)?)),
            _ => None,
        },
        (Value::Map(map), "text") if ["depends_on", "networks", "models"].contains(&name) => {
            let (key, _) = map.iter().next()?;
            Some(format!("take the `- ` before `{key}:` away, in every line"))
        }
        (Value::Map(_) | Value::List(_), "text or a number") => {
            Some("write it as one text in quotes: `'{\"key\": \"value\"}'`".into())
        }
        (Value::Text(text), _) if want.contains("a map or a list") && no_space(text) => {
            let first = text.split_whitespace().next()?;
            Some(format!("put a space behind the colon: `{}`", first.replacen(':', ": ", 1)))
        }
        (Value::Text(text), _) if want.contains("list") => Some(list_from_text(text)),
        (_, "a list") => Some(format!("write it as a list: `- \"{}\"`", written(node)?)),
        (Value::Text(text), "a map") => map_from_text(path, name, text),
        _ => None,
    }
}

fn restart(value: bool) -> Option<String> {
    let help = match value {
        false => "`no` without quotes is text here, but `false` is not: write `restart: \"no\"`",
        true => "write `restart: always` or `restart: unless-stopped`",
    };
    Some(help.to_owned())
}

/// A scalar as it would be written.
fn written(node: &Node) -> Option<String> {
    crate::walk::loose(&node.value)
}

/// `- KEY: value` where `- KEY=value` is wanted.
fn pair_in_list(map: &Map) -> Option<String> {
    let (key, value) = map.iter().next()?;
    let value = written(value).unwrap_or_else(|| "value".into());
    Some(format!("write `- {key}={value}`, or `{key}: {value}` in all lines without the dashes"))
}

/// Keys that long forms of list entries begin with.
const LONG_FORM: [&str; 9] =
    ["action", "capabilities", "command", "image", "path", "source", "subnet", "target", "type"];

fn list_from_map(map: &Map) -> Option<String> {
    let (key, value) = map.iter().next()?;
    if let Some(first) = LONG_FORM.iter().find(|name| map.has(name)) {
        return Some(format!("put a `- ` before the first line of each entry: `- {first}: …`"));
    }
    match written(value) {
        Some(value) => Some(format!("write it as a list: `- {key}:{value}`")),
        None => Some(format!("write it as a list: `- {key}`")),
    }
}

fn map_from_list(path: &str, items: &[Node]) -> Option<String> {
    let first = items.first()?;
    if let Some((key, _)) = first.as_map().and_then(|map| map.iter().next()) {
        return Some(format!("take the `- ` before `{key}:` away, in every line"));
    }
    let text = first.as_text()?;
    if let Some((key, value)) = text.split_once('=') {
        return Some(format!("write `{key}: {value}` without the dash"));
    }
    if path == "volumes"
        && let Some((source, _)) = text.split_once(':')
    {
        return Some(format!(
            "`{text}` is a mount and belongs to a service; here stands only the name: `{source}:`"
        ));
    }
    Some(format!("write `{text}:` without the dash"))
}

fn list_from_text(text: &str) -> String {
    if let Some(rest) = text.strip_prefix('-') {
        let first = rest.split_whitespace().next().unwrap_or_default();
        return format!("put a space behind each dash: `- {first}`");
    }
    let first = text.split_whitespace().next().unwrap_or_default();
    match text.split_whitespace().count() > 1 && text.split_whitespace().all(is_pair) {
        true => format!("put a `- ` before each of them: `- {first}`"),
        false => format!("write it as a list: `- {}`", quoted_if_needed(text)),
    }
}

/// Whether all of it is `KEY:value`, the space behind the colon forgotten.
fn no_space(text: &str) -> bool {
    let pair = |word: &str| {
        word.split_once(':').is_some_and(|(key, value)| {
            !key.is_empty() && !key.contains(['=', '-', '/']) && !value.is_empty()
        })
    };
    !text.trim().is_empty() && text.split_whitespace().all(pair)
}

fn is_pair(word: &str) -> bool {
    word.contains(['=', ':'])
}

fn quoted_if_needed(text: &str) -> String {
    match text.contains(": ") || text.contains(" #") || text.starts_with(['*', '&', '[', '{']) {
        true => format!("\"{text}\""),
        false => text.to_owned(),
    }
}

fn map_from_text(path: &str, name: &str, text: &str) -> Option<String> {
    let in_service = path.starts_with("services.") && path.matches('.').count() == 1;
    if let Some((key, value)) = text.split_once(char::is_whitespace)
        && in_service
        && SERVICE.attribute(key).is_some()
    {
        return Some(format!("write `{key}: {}` in a line below `{name}:`", value.trim_start()));
    }
    let key = match name {
        "healthcheck" => "test",
        "logging" => "driver",
        _ if in_service => "image",
        _ if path.split('.').rev().nth(1) == Some("depends_on") => "condition",
        _ => return None,
    };
    Some(format!("write `{key}: {text}` in a line below `{name}:`"))
}

/// Why the whole document is no Compose file, if it is of a kind that people mix up with one.
pub fn not_compose(map: &Map) -> Option<Finding> {
    if let (Some(kind), Some(version)) = (map.get("kind"), map.0.get("apiVersion")) {
        let kind = kind.as_text().unwrap_or("resource");
        let message = format!("this is a Kubernetes manifest (`kind: {kind}`) and no Compose file");
        let finding = Finding::at(Code::NotCompose, version.key, "of Kubernetes", message);
        return Some(finding.help("write the workload as a service below `services:`"));
    }
    if map.has("services") {
        return None;
    }
    let (name, entry) = map
        .0
        .iter()
        .filter(|(name, _)| FILE.attribute(name).is_none() && !name.starts_with("x-"))
        .filter(|(_, entry)| is_service(&entry.node))
        .min_by_key(|(_, entry)| entry.key)?;
    let message = format!("the service `{name}` stands at the top level, as in files before 2016");
    let finding = Finding::at(Code::NotCompose, entry.key, "a service", message);
    Some(finding.help("put `services:` above the services and indent them below it"))
}

fn is_service(node: &Node) -> bool {
    node.get("image").is_some() || node.get("build").is_some()
}

/// An attribute of a service, or a section of the file, that stands where services stand.
pub fn among_services(name: &str, entry: &Entry) -> Option<Finding> {
    let (node, help) = (&entry.node, "indent it below the service it is for");
    if SERVICE.attribute(name).is_some() && node.as_map().is_none() && !node.is_null() {
        let message =
            format!("`{name}` is an attribute of a service and stands among the services");
        let finding = Finding::at(Code::WrongPlace, entry.key, "not deep enough", message);
        return Some(finding.help(help));
    }
    let known = |name: &String| SERVICE.attribute(name).is_some();
    let foreign = node.as_map().is_some_and(|map| !map.0.is_empty() && !map.0.keys().any(known));
    if FILE.attribute(name).is_none() || !foreign {
        return None;
    }
    let message = format!("`{name}` is a section of the file and stands among the services");
    let finding = Finding::at(Code::WrongPlace, entry.key, "too deep", message);
    Some(finding.help("take its indentation away, and that of the lines below it"))
}

/// What other programs, or an older Compose, call an attribute of a service.
const OTHER_NAMES: [(&str, &str); 15] = [
    ("add_host", "extra_hosts"),
    ("cmd", "command"),
    ("cpuset_cpus", "cpuset"),
    ("env", "environment"),
    ("envs", "environment"),
    ("log_driver", "logging"),
    ("log_opt", "logging"),
    ("mount", "volumes"),
    ("mounts", "volumes"),
    ("name", "container_name"),
    ("net", "network_mode"),
    ("network", "networks"),
    ("publish", "ports"),
    ("workdir", "working_dir"),
    ("volume_driver", "volumes"),
];

/// A key that its record does not know.
pub fn unknown(record: &Record, path: &str, name: &str, entry: &Entry, around: &Map) -> Finding {
    let place = if path.is_empty() { String::new() } else { format!("`{path}`: ") };
    let other = OTHER_NAMES.iter().find(|(other, _)| record.name == SERVICE.name && *other == name);
    if let Some((_, known)) = other {
        let message = format!("{place}{} has no attribute `{name}`", record.name);
        let finding = Finding::at(Code::UnknownKey, entry.key, "unknown", message);
        return finding.help(format!("it is called `{known}` here"));
    }
    if let Some(help) = elsewhere(record, path, name, &entry.node) {
        let message = format!("{place}`{name}` is no attribute of {}", record.name);
        return Finding::at(Code::WrongPlace, entry.key, "at the wrong level", message).help(help);
    }
    let message = format!("{place}{} has no attribute `{name}`", record.name);
    let finding = Finding::at(Code::UnknownKey, entry.key, "unknown", message);
    if let Some(help) = colon_with_space(record, name, &entry.node, around) {
        return finding.help(help);
    }
    let known = record.attributes.iter().map(|attribute| attribute.name);
    finding.help(match value::nearest(name, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None if record.attributes.len() > 12 => {
            "the Compose Specification lists what there is; keys of your own start with `x-`".into()
        }
        None if path.is_empty() => {
            format!("{} has {}; keys of your own start with `x-`", record.name, names_of(record))
        }
        None if record.attributes.is_empty() => "nothing can stand here yet".into(),
        None => format!("{} has {}", record.name, names_of(record)),
    })
}

fn names_of(record: &Record) -> String {
    let names: Vec<_> = record.attributes.iter().map(|attribute| attribute.name).collect();
    names.join(", ")
}

/// Whether a map has nothing that the record of its shape knows.
pub fn is_foreign(shape: &Shape, node: &Node) -> bool {
    let (Some(record), Some(map)) = (record_of(shape), node.as_map()) else {
        return false;
    };
    !map.0.is_empty() && map.0.keys().all(|name| record.attribute(name).is_none())
}

/// `- 8080: 80` or `- ./src: /app`: a space that makes a map of a short form.
fn colon_with_space(record: &Record, name: &str, value: &Node, around: &Map) -> Option<String> {
    let short_form = matches!(record.name, "a port" | "a mount" | "a device");
    if !short_form || around.0.len() != 1 {
        return None;
    }
    let value = written(value)?;
    Some(format!("take the space behind the colon away: `- \"{name}:{value}\"`"))
}

/// Where a key belongs that the specification knows at another level.
fn elsewhere(record: &Record, path: &str, name: &str, value: &Node) -> Option<String> {
    let mut places = Vec::new();
    below(record, name, "", 0, &mut places);
    let fits = !matches!(value.value, Value::Map(_)) || path.is_empty() || places.len() == 1;
    if !places.is_empty() && places.len() <= MOST_PLACES && fits {
        return Some(format!("it belongs below {}", places.join(" or ")));
    }
    if path.is_empty() && is_service(value) {
        return Some("it looks like a service: indent it below `services:`".into());
    }
    if path.is_empty() {
        let known = SERVICE.attribute(name).is_some();
        return known.then(|| {
            "it is an attribute of a service: indent it below the service it is for".into()
        });
    }
    let service = path.strip_prefix("services.").map(|rest| rest.split('.').next().unwrap_or(rest));
    let service = service?;
    let inside = path.matches('.').count() > 1;
    if inside && SERVICE.attribute(name).is_some() {
        return Some(format!(
            "it is an attribute of the service: write it directly below `{service}:`"
        ));
    }
    (FILE.attribute(name).is_some() && !inside && name != "name")
        .then(|| "it belongs to the top level of the file: take its indentation away".into())
}

/// The records below `record` that know `name`, as paths.
fn below(record: &Record, name: &str, path: &str, depth: usize, places: &mut Vec<String>) {
    // Nobody means a key of berth's own who does not write it.
    for attribute in record.attributes.iter().filter(|known| !known.name.starts_with("x-")) {
        let Some(inner) = record_of(&attribute.shape) else {
            continue;
        };
        let path = match path {
            "" => attribute.name.to_owned(),
            path => format!("{path}.{}", attribute.name),
        };
        if inner.attribute(name).is_some() {
            places.push(format!("`{path}:`"));
        } else if depth + 1 < DEEPEST {
            below(inner, name, &path, depth + 1, places);
        }
    }
}

/// The one record that a value of this shape is.
fn record_of(shape: &Shape) -> Option<&'static Record> {
    match shape {
        Shape::Record(record) => Some(record),
        Shape::Nullable(inner) | Shape::Short(_, inner) | Shape::Whole(inner) => record_of(inner),
        _ => None,
    }
}
