//! Names that are taken twice, or that no host, network or container can have.

use std::collections::{BTreeMap, BTreeSet};

use super::{Sheet, containers, doubtful, entries, items};
use crate::problem::{Code, Finding};
use crate::text::Span;
use crate::tree::{Entry, Node};
use crate::value;

/// The longest host name the kernel keeps.
const LONGEST_HOST: usize = 64;
/// The prefix of the labels that berth sets itself.
const RESERVED: &str = "com.docker.compose.";

pub(super) fn check(sheet: &Sheet<'_>, found: &mut Vec<Finding>) {
    for (section, kind) in [("networks", "network"), ("volumes", "volume")] {
        real_names(sheet, section, kind, found);
        for (name, node) in sheet.section(section) {
            reserved_labels(&format!("{section}.{name}"), node, found);
        }
    }
    given_container_names(sheet, found);
    aliases(sheet, found);
    for (name, service) in sheet.services() {
        let path = format!("services.{name}");
        hostname(&path, service, found);
        reserved_labels(&path, service, found);
        variables(&path, service, found);
        profiles(&path, service, found);
    }
}

/// Names on the host: what they may be, and that two keys do not mean one thing.
fn real_names(sheet: &Sheet<'_>, section: &str, kind: &str, found: &mut Vec<Finding>) {
    let mut seen: BTreeMap<&str, (&str, Span)> = BTreeMap::new();
    for (key, node) in sheet.section(section) {
        let Some((name, at)) = node.get("name").and_then(|name| Some((name.as_text()?, name.span)))
        else {
            continue;
        };
        let external = node.get("external").is_some();
        if !external && !is_plain(name) {
            let message = format!("`{section}.{key}.name`: `{name}` is not a name for a {kind}");
            found.push(
                Finding::at(Code::BadName, at, "not a name", message)
                    .help("letters, digits, `.`, `_` and `-`, starting with a letter or digit"),
            );
        }
        if let Some((first, place)) = seen.insert(name, (key, at))
            && !external
        {
            found.push(same_name(kind, name, (first, place), (key, at)));
        }
    }
}

/// Whether a name has nothing but letters, digits and a few signs, none of these first.
fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && value::is_name(name)
}

fn same_name(kind: &str, name: &str, first: (&str, Span), again: (&str, Span)) -> Finding {
    let (first, again) = if first.1 <= again.1 { (first, again) } else { (again, first) };
    let message = format!("the {kind}s `{}` and `{}` are both named `{name}`", first.0, again.0);
    let finding = Finding::at(Code::Duplicate, again.1, "again here", message)
        .also(first.1, "first here")
        .help(format!("use one {kind} for both, or give them different names"));
    // One volume under two keys works, though it is hardly meant.
    if kind == "volume" { finding.warning() } else { finding }
}

/// A fixed name that another service's containers get anyway.
fn given_container_names(sheet: &Sheet<'_>, found: &mut Vec<Finding>) {
    let mut made: BTreeMap<String, (&str, Span)> = BTreeMap::new();
    for (name, service) in sheet.services().filter(|(_, node)| node.get("container_name").is_none())
    {
        let (count, _) = containers(service);
        for number in 1..=count.clamp(0, 100) {
            made.insert(format!("{}-{name}-{number}", sheet.project), (name, service.span));
        }
    }
    for (name, service) in sheet.services() {
        let Some(fixed) = service.get("container_name") else {
            continue;
        };
        if let Some((other, at)) = fixed.as_text().and_then(|text| made.get(text)) {
            let message = format!("`{name}` has the name that a container of `{other}` gets");
            found.push(
                Finding::at(Code::Duplicate, fixed.span, "this name", message)
                    .also(Span { end: at.start + 1, ..*at }, format!("`{other}` is named so"))
                    .help("choose another name, or take it away"),
            );
        }
    }
}

/// An alias that is the name of another service on the same network.
fn aliases(sheet: &Sheet<'_>, found: &mut Vec<Finding>) {
    let mut on: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, service) in sheet.services() {
        for (network, _) in entries(service, "networks") {
            on.entry(network).or_default().insert(name);
        }
    }
    for (name, service) in sheet.services() {
        for (network, node) in entries(service, "networks") {
            for alias in items(node, "aliases") {
                let text = alias.as_text().unwrap_or_default();
                if text != name && on.get(network).is_some_and(|names| names.contains(text)) {
                    found.push(doubtful(
                        alias.span,
                        "also the name of a service",
                        format!("`{name}` and `{text}` both answer to `{text}` on `{network}`"),
                        "choose another alias, unless requests may go to either",
                    ));
                }
            }
        }
    }
}

fn hostname(path: &str, service: &Node, found: &mut Vec<Finding>) {
    let Some((node, name)) = service.get("hostname").and_then(|node| Some((node, node.as_text()?)))
    else {
        return;
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let is_label = |part: &str| {
        let edge = part.starts_with('-') || part.ends_with('-');
        (1..=63).contains(&part.len()) && part.chars().all(plain) && !edge
    };
    // What the kernel does not take at all is an error, which is told where it is read.
    let refused = name.contains(|c: char| c.is_whitespace() || c == '/');
    if name.len() <= LONGEST_HOST && !refused && !name.split('.').all(is_label) {
        let message = format!("`{path}.hostname`: `{name}` is no host name by RFC 1123");
        let help = "use letters, digits and, inside, `-`, in parts with dots between them";
        found.push(doubtful(node.span, "programs may refuse it", message, help));
    }
}

fn reserved_labels(path: &str, node: &Node, found: &mut Vec<Finding>) {
    let Some(labels) = node.get("labels").and_then(Node::as_map) else {
        return;
    };
    for (name, entry) in labels.0.iter().filter(|(name, _)| name.starts_with(RESERVED)) {
        let message = format!("`{path}.labels.{name}` is a label that berth sets itself");
        let help = format!("take it away, names with `{RESERVED}` are reserved");
        found.push(doubtful(entry.key, "reserved", message, help));
    }
    let path = format!("{path}.labels");
    found.extend(labels.0.iter().filter_map(|(name, entry)| colon(&path, name, entry)));
}

fn variables(path: &str, service: &Node, found: &mut Vec<Finding>) {
    let Some(map) = service.get("environment").and_then(Node::as_map) else {
        return;
    };
    for (name, entry) in &map.0 {
        if name.is_empty() || name.contains('=') {
            let message = format!("`{path}.environment`: `{name}` is no name of a variable");
            let help = match name.split_once('=') {
                Some((name, value)) if !name.is_empty() => format!("write `{name}: {value}`"),
                _ => "write `NAME: value`".to_owned(),
            };
            found.push(Finding::at(Code::BadName, entry.key, "not a name", message).help(help));
        } else if name.contains(char::is_whitespace) {
            let message = format!("`{path}.environment`: `{name}` has a space in it");
            let help = "no shell can read such a variable; use `_`";
            found.push(doubtful(entry.key, "a space", message, help));
        } else {
            found.extend(colon(&format!("{path}.environment"), name, entry));
        }
    }
}

/// `KEY:value` in a list, which is a key without a value.
fn colon(path: &str, name: &str, entry: &Entry) -> Option<Finding> {
    let (key, value) = name.split_once(':')?;
    let bare = entry.node.is_null() || entry.node.as_text() == Some("");
    if key.is_empty() || value.is_empty() || !bare {
        return None;
    }
    let message = format!("`{path}`: `{name}` is all of it a name, without a value");
    let help = format!("write `{key}={}`", value.trim_start());
    Some(doubtful(entry.key, "no `=` here", message, help))
}

fn profiles(path: &str, service: &Node, found: &mut Vec<Finding>) {
    for profile in items(service, "profiles") {
        let name = profile.as_text().unwrap_or_default();
        if !is_plain(name) {
            let message = format!("`{path}.profiles`: `{name}` is not a name for a profile");
            let help = "letters, digits, `.`, `_` and `-`, starting with a letter or digit";
            found.push(doubtful(profile.span, "not a name", message, help));
        }
    }
}
