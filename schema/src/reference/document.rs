//! The attribute table as a document for people.

use std::fmt::Write as _;

use super::{Class, Description, all};

const ABOUT: &str = "\
# Attributes

Every attribute of the Compose Specification and what berth makes of it. Written by the tests from
the table the loader checks files against (`schema/src/attributes.rs`); do not edit it by hand.

- **done**: it has its effect.
- **refused**: `up` says so and where it stands, until berth does it; `config` shows it.
- **no effect**: it means nothing on one Linux host; `check` lists it with the reason.

What stands below something that is refused or has no effect shares its fate. `*` is a name of
yours, `[]` an entry of a list. Keys that start with `x-` may stand in every map of attributes.
";

/// What each attribute is, as Markdown; the same bytes every time.
pub fn document() -> String {
    let rows = all();
    let mut text = ABOUT.to_owned();
    let count = |wanted: fn(&Class) -> bool| rows.iter().filter(|row| wanted(&row.class)).count();
    // Writing to a text cannot fail.
    let _ = writeln!(
        text,
        "\n{} attributes: {} done, {} refused, {} without effect.",
        rows.len(),
        count(|class| *class == Class::Done),
        count(|class| *class == Class::Later),
        count(|class| matches!(class, Class::Inert(_))),
    );
    let mut section = String::new();
    for row in &rows {
        let of = section_of(&row.path);
        if of != section {
            let _ = write!(text, "\n## {of}\n\n| attribute | what it may be | class | |\n");
            text += "|---|---|---|---|\n";
            section = of;
        }
        line(row, &mut text);
    }
    text
}

/// The part of a file an attribute belongs to: `services`, `services.*.build`.
fn section_of(path: &str) -> String {
    let mut parts = path.split('.');
    let top = parts.next().unwrap_or_default();
    match (top, parts.nth(1)) {
        ("services", Some(part @ ("build" | "deploy" | "develop" | "volumes"))) => {
            format!("services.*.{part}")
        }
        ("services", Some("volumes[]")) => "services.*.volumes".into(),
        _ => top.trim_end_matches("[]").into(),
    }
}

fn line(row: &Description, text: &mut String) {
    let class = match row.class {
        Class::Done => "done".to_owned(),
        Class::Later => "refused".to_owned(),
        Class::Inert(inert) => format!("no effect: {}", inert.why),
    };
    let normal = match row.normal {
        "" => String::new(),
        normal => format!(" Normally `{normal}`."),
    };
    let kind = row.kind.replace('|', "\\|");
    let _ = writeln!(text, "| `{}` | {kind} | {class} | {}{normal} |", row.path, row.says);
}
