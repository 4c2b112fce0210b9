//! Two models side by side: what differs between them, thing by thing.

use std::collections::BTreeSet;

use berth_schema::stack::Places;
use serde_json::{Map, Value};

use super::hunks::hunks;
use super::rows::{Source, rows};
use crate::generation::MadeOf;

/// Parts of a model that hold things by name.
const SECTIONS: [&str; 6] = ["services", "networks", "volumes", "configs", "secrets", "models"];

/// A model and what it is called.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// For people: `generation 3`.
    pub name: &'a str,
    /// The canonical form.
    pub model: &'a Value,
}

/// A unified diff in text like YAML of every service, network, volume, config and secret that
/// differs, and of what the file says besides. What a plan hides is hidden here.
pub fn models(before: Side, after: Side) -> String {
    let mut text = String::new();
    for section in keys(before.model, after.model) {
        let sides = (before.model.get(section), after.model.get(section));
        if !SECTIONS.contains(&section) {
            let alone = |value: Option<&Value>| {
                let fields = value.map(|value| (section.to_owned(), value.clone()));
                Value::Object(fields.into_iter().collect::<Map<_, _>>())
            };
            let (old, new) = (alone(sides.0), alone(sides.1));
            text += &thing(section, (before.name, Some(&old)), (after.name, Some(&new)));
            continue;
        }
        let nothing = Value::Null;
        let (old, new) = (sides.0.unwrap_or(&nothing), sides.1.unwrap_or(&nothing));
        for key in keys(old, new) {
            let name = format!("{section}.{key}");
            text += &thing(&name, (before.name, old.get(key)), (after.name, new.get(key)));
        }
    }
    text
}

fn thing(name: &str, before: (&str, Option<&Value>), after: (&str, Option<&Value>)) -> String {
    if before.1 == after.1 {
        return String::new();
    }
    let places = Places::default();
    let hunks = hunks(&rows(before.1, after.1, Source { root: None, places: &places }));
    let side = |(whose, value): (&str, Option<&Value>)| match value {
        Some(_) => format!("{name} ({whose})"),
        None => "/dev/null".to_owned(),
    };
    format!("--- {}\n+++ {}\n{hunks}", side(before), side(after))
}

/// The names in either, in order.
fn keys<'a>(before: &'a Value, after: &'a Value) -> BTreeSet<&'a str> {
    let fields = before.as_object().into_iter().chain(after.as_object());
    fields.flat_map(|fields| fields.keys().map(String::as_str)).collect()
}

/// The model with what its text does not say: which image each service had, and what was in files.
#[must_use]
pub fn with_contents(mut model: Value, made_of: &MadeOf) -> Value {
    for (name, part) in &made_of.services {
        if let (Some(id), Some(service)) =
            (&part.id, model.pointer_mut(&format!("/services/{}", escaped(name))))
        {
            service["x-image"] = Value::from(short(id));
        }
    }
    for section in ["configs", "secrets"] {
        let Some(files) = model.get_mut(section).and_then(Value::as_object_mut) else { continue };
        for file in files.values_mut() {
            let path = file.get("file").and_then(Value::as_str);
            if let Some(digest) =
                path.and_then(|path| made_of.contents.get(std::path::Path::new(path)))
            {
                file["x-content"] = Value::from(short(digest));
            }
        }
    }
    model
}

/// A key as a JSON pointer has it (RFC 6901).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn short(digest: &str) -> String {
    digest.chars().take("sha256:".len() + 12).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::generation::Part;

    fn diff(before: &Value, after: &Value) -> String {
        let side = |name, model| Side { name, model };
        models(side("generation 1", before), side("generation 2", after))
    }

    #[test]
    fn what_differs_is_told_thing_by_thing_and_secrets_are_hidden() {
        let before = json!({
            "name": "shop",
            "services": {
                "db": { "image": "pg:17" },
                "web": {
                    "image": "app:1",
                    "environment": { "LOG": "info", "API_TOKEN": "hunter2" },
                },
            },
        });
        let after = json!({
            "name": "shop",
            "services": {
                "web": {
                    "image": "app:2",
                    "environment": { "LOG": "info", "API_TOKEN": "hunter3" },
                },
                "db": { "image": "pg:17" },
            },
            "volumes": { "data": { "name": "shop_data" } },
            "x-team": "core",
        });
        let text = diff(&before, &after);
        for part in [
            "--- services.web (generation 1)\n+++ services.web (generation 2)\n@@ ",
            "-  API_TOKEN: (hidden)\n+  API_TOKEN: (hidden)\n",
            "-image: \"app:1\"\n+image: \"app:2\"\n",
            "--- /dev/null\n+++ volumes.data (generation 2)\n",
            "+x-team: \"core\"\n",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
        assert!(!text.contains("hunter") && !text.contains("services.db"), "{text}");
        assert_eq!(diff(&before, &before), "");
    }

    #[test]
    fn images_and_files_are_told_by_their_digests() {
        let model = json!({
            "services": { "a/b": { "image": "app:1" } },
            "configs": { "c": { "file": "/srv/c.conf" }, "d": { "content": "x" } },
        });
        let digest = format!("sha256:{}", "ab".repeat(32));
        let part = Part { id: Some(digest.clone()), ..Part::default() };
        let made_of = MadeOf {
            services: [("a/b".to_owned(), part)].into(),
            contents: [("/srv/c.conf".into(), digest)].into(),
            ..MadeOf::default()
        };
        let shown = with_contents(model, &made_of);
        assert_eq!(shown["services"]["a/b"]["x-image"], "sha256:abababababab");
        assert_eq!(shown["configs"]["c"]["x-content"], "sha256:abababababab");
        assert_eq!(shown["configs"]["d"], json!({ "content": "x" }));
    }
}
