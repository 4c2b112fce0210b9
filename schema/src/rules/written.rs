//! Values without quotes that YAML reads as something else than what is written.

use super::{Sheet, items};
use crate::problem::{Code, Finding};
use crate::scalar;
use crate::text::Span;
use crate::tree::{Map, Node, Value};

pub(super) fn check(sheet: &Sheet<'_>, found: &mut Vec<Finding>) {
    for (name, service) in sheet.services() {
        let path = format!("services.{name}");
        for attribute in ["environment", "labels", "annotations"] {
            texts(sheet, &format!("{path}.{attribute}"), service.get(attribute), found);
        }
        for attribute in ["args", "labels"] {
            let texts_of = service.at(&["build", attribute]);
            texts(sheet, &format!("{path}.build.{attribute}"), texts_of, found);
        }
        let options = service.at(&["logging", "options"]);
        texts(sheet, &format!("{path}.logging.options"), options, found);
        modes(sheet, &path, service, found);
    }
    for section in ["networks", "volumes"] {
        for (name, node) in sheet.section(section) {
            for attribute in ["labels", "driver_opts"] {
                texts(sheet, &format!("{section}.{name}.{attribute}"), node.get(attribute), found);
            }
        }
    }
}

/// Texts that were numbers, dates or booleans and are not written as they were.
fn texts(sheet: &Sheet<'_>, path: &str, node: Option<&Node>, found: &mut Vec<Finding>) {
    let map = node.and_then(Node::as_map);
    for (name, entry) in map.into_iter().flat_map(|Map(map)| map) {
        let Some(value) = entry.node.as_text() else {
            continue;
        };
        // An entry of a list, or of another file, has no value of its own in the text.
        if entry.key == entry.node.span {
            continue;
        }
        if let Some(written) = plain(sheet, entry.node.span)
            && written != value
            && is_read_otherwise(written)
        {
            let message = format!("`{path}.{name}`: `{written}` without quotes becomes `{value}`");
            found.push(
                Finding::at(Code::Rewritten, entry.node.span, "read as something else", message)
                    .help(format!("write it in quotes: `\"{written}\"`")),
            );
        }
    }
}

/// Whether YAML takes it for something else than this text; empty values are no matter of quotes.
fn is_read_otherwise(written: &str) -> bool {
    match scalar::plain(written) {
        Value::Text(text) => text != written,
        Value::Null => false,
        _ => true,
    }
}

/// What is written at a place, if it is a plain value in one line without variables.
fn plain<'n>(sheet: &Sheet<'n>, span: Span) -> Option<&'n str> {
    let text = sheet.files.slice(span);
    let quoted = text.starts_with(['"', '\'', '|', '>', '!', '&', '*', '[', '{']);
    let simple = !text.is_empty() && !quoted && !text.contains(['$', '\n', '=']);
    simple.then_some(text)
}

/// Modes of files that look octal and are read as decimal.
fn modes(sheet: &Sheet<'_>, path: &str, service: &Node, found: &mut Vec<Finding>) {
    for section in ["configs", "secrets"] {
        for (index, item) in items(service, section).iter().enumerate() {
            if let Some(mode) = item.get("mode") {
                decimal(sheet, &format!("{path}.{section}.{index}.mode"), mode.span, found);
            }
        }
    }
    for (index, item) in items(service, "volumes").iter().enumerate() {
        if let Some(mode) = item.at(&["tmpfs", "mode"]) {
            decimal(sheet, &format!("{path}.volumes.{index}.tmpfs.mode"), mode.span, found);
        }
    }
}

fn decimal(sheet: &Sheet<'_>, path: &str, span: Span, found: &mut Vec<Finding>) {
    let Some(written) = plain(sheet, span) else {
        return;
    };
    let looks_octal = (3..=4).contains(&written.len())
        && !written.starts_with('0')
        && written.bytes().all(|byte| (b'0'..b'8').contains(&byte));
    let Some(mode) = written.parse::<u32>().ok().filter(|_| looks_octal) else {
        return;
    };
    let message = format!("`{path}`: `{written}` is a decimal number, the mode {mode:04o}");
    found.push(
        Finding::at(Code::Rewritten, span, "not octal", message)
            .help(format!("write it in octal: `0{written}`")),
    );
}
