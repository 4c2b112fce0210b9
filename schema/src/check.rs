//! What belongs together: references to resources, and values that exclude each other.

use std::collections::{BTreeMap, BTreeSet};

use crate::problem::{Code, Finding};
use crate::text::Span;
use crate::tree::{Entry, Map, Node, Value};
use crate::{short, value};

/// Names of resources of a section that a service uses, with their places.
pub(crate) fn uses<'n>(service: &'n Node, section: &str) -> Vec<(&'n str, Span)> {
    let map_keys = |name: &str| -> Vec<(&'n str, Span)> {
        let map = service.get(name).and_then(Node::as_map);
        map.iter().flat_map(|map| &map.0).map(|(name, entry)| (name.as_str(), entry.key)).collect()
    };
    let sources = |node: Option<&'n Node>| -> Vec<(&'n str, Span)> {
        let items = node.map(Node::items).unwrap_or_default();
        let source = |item: &'n Node| item.get("source").and_then(|n| Some((n.as_text()?, n.span)));
        items.iter().filter_map(source).collect()
    };
    match section {
        "networks" => map_keys("networks"),
        "models" => map_keys("models"),
        "volumes" => service
            .get("volumes")
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .filter(|mount| mount.get_text("type") == Some("volume"))
            .filter_map(|mount| mount.get("source"))
            .filter_map(|source| Some((source.as_text()?, source.span)))
            .filter(|(name, _)| !name.is_empty())
            .collect(),
        "secrets" => {
            let mut all = sources(service.get("secrets"));
            all.extend(sources(service.at(&["build", "secrets"])));
            all
        }
        "configs" => sources(service.get("configs")),
        _ => Vec::new(),
    }
}

/// Everything else about services and the resources they use.
pub(crate) fn services(active: &Map, root: &Node, lax: bool, found: &mut Vec<Finding>) {
    // What is no map at all is noted where it stands.
    for (name, service) in active.iter().filter(|(_, service)| service.as_map().is_some()) {
        references(name, service, root, found);
        namespaces(name, service, found);
        duplicate_targets(name, service, lax, found);
        counts(name, service, found);
        conflicts(name, service, found);
    }
    images(active, found);
    container_names(active, found);
    sources(root, found);
    externals("volumes", root, found);
}

fn references(name: &str, service: &Node, root: &Node, found: &mut Vec<Finding>) {
    let kinds = [
        ("networks", "network", Code::UnknownNetwork),
        ("volumes", "volume", Code::UnknownVolume),
        ("configs", "config", Code::UnknownConfig),
        ("secrets", "secret", Code::UnknownSecret),
        ("models", "model", Code::UnknownModel),
    ];
    for (section, kind, code) in kinds {
        let known = root.get(section).and_then(Node::as_map);
        if known.is_none() && root.get(section).is_some() {
            // The section is no map, which is told where it stands.
            continue;
        }
        for (used, span) in uses(service, section) {
            if known.is_some_and(|map| map.has(used)) {
                continue;
            }
            let names = known.iter().flat_map(|map| map.0.keys()).map(String::as_str);
            let help = match value::nearest(used, names) {
                Some(near) => format!("did you mean `{near}`?"),
                None if section == "volumes" && used.contains('/') => {
                    format!("a folder of this host starts with `./` or `/`: `./{used}`")
                }
                None if section == "volumes" => format!(
                    "add `{used}:` below `volumes:` at the top level, or write `./{used}` for the \
                     folder beside the file"
                ),
                None => format!("add `{used}:` below `{section}:` at the top level"),
            };
            let message = format!("`{name}` uses the {kind} `{used}`, which is not in the stack");
            let label = format!("no {kind} of this name");
            found.push(Finding::at(code, span, label, message).help(help));
        }
    }
}

fn namespaces(name: &str, service: &Node, found: &mut Vec<Finding>) {
    if let (Some(mode), Some(networks)) = (service.get("network_mode"), service.get("networks"))
        && mode.as_text().is_some_and(|mode| !mode.is_empty())
        && networks.as_map().is_some_and(|map| !map.0.is_empty())
    {
        let message =
            format!("`{name}` has `network_mode` and `networks`, and only one of them can be");
        found.push(
            Finding::at(Code::Conflict, mode.span, "this", message)
                .also(networks.span, "and this")
                .help("keep one of them"),
        );
    }
}

/// The Compose tools compare the texts, and a secret's only when it is written.
fn duplicate_targets(name: &str, service: &Node, lax: bool, found: &mut Vec<Finding>) {
    let mut seen: BTreeMap<String, Span> = BTreeMap::new();
    let mounts = service.get("volumes").map(Node::items).unwrap_or_default();
    let mut targets: Vec<(String, Span)> = mounts
        .iter()
        .filter_map(|mount| mount.get("target"))
        .filter_map(|target| Some((target.as_text()?.to_owned(), target.span)))
        .collect();
    for tmpfs in service.get("tmpfs").map(Node::items).unwrap_or_default() {
        let path = tmpfs.as_text().unwrap_or_default().split(':').next().unwrap_or_default();
        let path = if lax { path.to_owned() } else { value::clean_path(path) };
        targets.push((path, tmpfs.span));
    }
    for (section, folder) in [("configs", ""), ("secrets", "/run/secrets")] {
        for item in service.get(section).map(Node::items).unwrap_or_default() {
            let target = match lax {
                true => short::file_key(item, folder),
                false => short::file_target(item, folder),
            };
            let implied = item.get_text("source").map(|source| format!("/run/secrets/{source}"));
            let written = target.filter(|target| !lax || implied.as_ref() != Some(target));
            targets.extend(written.map(|target| (target, item.span)));
        }
    }
    for (target, span) in targets {
        if let Some(first) = seen.insert(target.clone(), span) {
            let message = format!("`{name}` mounts two things at `{target}`");
            found.push(
                Finding::at(Code::Duplicate, span, "again here", message)
                    .also(first, "first here")
                    .help("give one of them another target"),
            );
        }
    }
}

fn counts(name: &str, service: &Node, found: &mut Vec<Finding>) {
    let replicas = service.at(&["deploy", "replicas"]);
    let scale = service.get("scale");
    if let (Some(scale), Some(replicas)) = (scale, replicas)
        && scale.value != replicas.value
    {
        let message = format!("`{name}` has two numbers of containers that differ");
        found.push(
            Finding::at(Code::Conflict, scale.span, "one number", message)
                .also(replicas.span, "another number")
                .help("keep `deploy.replicas` and take `scale` away"),
        );
    }
    let many = [scale, replicas].into_iter().flatten().find(|node| match node.value {
        Value::Int(count) => count > 1,
        _ => false,
    });
    if let (Some(many), Some(fixed)) = (many, service.get("container_name")) {
        let message = format!("`{name}` has a fixed container name and more than one container");
        found.push(
            Finding::at(Code::Conflict, fixed.span, "one name", message)
                .also(many.span, "several containers")
                .help("take `container_name` away, berth numbers the containers"),
        );
    }
}

/// Pairs of attributes that must agree or exclude each other.
fn conflicts(name: &str, service: &Node, found: &mut Vec<Finding>) {
    let pairs: [(&[&str], &[&str]); 4] = [
        (&["mem_limit"], &["deploy", "resources", "limits", "memory"]),
        (&["cpus"], &["deploy", "resources", "limits", "cpus"]),
        (&["pids_limit"], &["deploy", "resources", "limits", "pids"]),
        (&["mem_reservation"], &["deploy", "resources", "reservations", "memory"]),
    ];
    for (one, other) in pairs {
        if let (Some(a), Some(b)) = (service.at(one), service.at(other))
            && a.value != b.value
        {
            let message = format!(
                "`{name}` has `{}` and `{}`, and they differ",
                one.join("."),
                other.join(".")
            );
            found.push(
                Finding::at(Code::Conflict, a.span, "one value", message)
                    .also(b.span, "another value")
                    .help("keep one of them"),
            );
        }
    }
    let build = service.get("build");
    if let (Some(build), Some(platform)) = (build, service.get("platform"))
        && let Some(platforms) = build.get("platforms")
        && !platforms.items().iter().any(|other| other.as_text() == platform.as_text())
    {
        let message = format!("`{name}` runs on a platform it is not built for");
        found.push(
            Finding::at(Code::Conflict, platform.span, "this platform", message)
                .also(platforms.span, "not among these")
                .help("add it to `build.platforms`"),
        );
    }
    if let Some(build) = build
        && let (Some(a), Some(b)) = (build.get("dockerfile"), build.get("dockerfile_inline"))
    {
        let message = format!("`{name}` is built from a file and from text in the Compose file");
        found.push(
            Finding::at(Code::Conflict, a.span, "this", message)
                .also(b.span, "and this")
                .help("keep one of them"),
        );
    }
}

/// Every service has an image, but those that are none, and the empty ones beside them, which
/// have lost theirs.
fn images(active: &Map, found: &mut Vec<Finding>) {
    let wrong: BTreeSet<Span> =
        found.iter().filter_map(|finding| finding.place_of(Code::WrongPlace)).collect();
    let misplaced = active.0.values().any(|entry| wrong.contains(&entry.key));
    for (name, entry) in &active.0 {
        let is_empty = entry.node.span.start == entry.node.span.end;
        if !(wrong.contains(&entry.key) || misplaced && is_empty) {
            image(name, entry, found);
        }
    }
}

/// A service has something to run. A wrong image, an `extends` that leads nowhere and a misspelt
/// key are noted where they stand.
fn image(name: &str, entry: &Entry, found: &mut Vec<Finding>) {
    let service = &entry.node;
    let source = |key: &str| {
        service.get(key).is_some_and(|node| node.as_text() != Some("") || key == "build")
    };
    if ["image", "extends", "build", "provider"].into_iter().any(source) {
        return;
    }
    if let Some(empty) = service.get("image") {
        let message = format!("the image of `{name}` is empty text");
        found.push(
            Finding::at(Code::NoImage, empty.span, "empty", message)
                .help("write `image: NAME`; `localhost/host` runs the programs of this host"),
        );
        return;
    }
    let known = ["image", "build", "context", "dockerfile"];
    let meant = |key: &str| value::nearest(key, known).is_some();
    if service.as_map().is_none_or(|map| map.0.keys().any(|key| meant(key))) {
        return;
    }
    let message = format!("`{name}` has no image");
    found.push(
        Finding::at(Code::NoImage, entry.key, "no `image` below this", message)
            .help("add `image:`; `localhost/host` runs the programs of this host"),
    );
}

fn container_names(active: &Map, found: &mut Vec<Finding>) {
    let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
    for (_, service) in active.iter() {
        let Some(node) = service.get("container_name") else {
            continue;
        };
        // What is no name is told where it is read.
        let Some(name) = node.as_text().filter(|name| !name.is_empty()) else {
            continue;
        };
        if let Some(other) = seen.insert(name, node.span) {
            let (first, again) = (other.min(node.span), other.max(node.span));
            let message = format!("two services have the container name `{name}`");
            found.push(
                Finding::at(Code::Duplicate, again, "again here", message)
                    .also(first, "first here")
                    .help("take one of them away, berth names the containers"),
            );
        }
    }
}

fn externals(section: &str, root: &Node, found: &mut Vec<Finding>) {
    let kind = section.trim_end_matches('s');
    let map = root.get(section).and_then(Node::as_map);
    for (key, node) in map.iter().flat_map(|map| map.iter()) {
        external_alone(kind, key, node, &["name", "external"], found);
    }
}

fn sources(root: &Node, found: &mut Vec<Finding>) {
    for (section, sources) in [
        ("configs", &["file", "environment", "content"][..]),
        ("secrets", &["file", "environment"]),
    ] {
        for (key, node) in
            root.get(section).and_then(Node::as_map).iter().flat_map(|map| map.iter())
        {
            one_source(section.trim_end_matches('s'), key, node, sources, found);
        }
    }
}

pub(crate) fn external_alone(
    kind: &str,
    key: &str,
    node: &Node,
    allowed: &[&str],
    found: &mut Vec<Finding>,
) {
    let Some(external) = node.get("external") else {
        return;
    };
    for (name, entry) in node.as_map().iter().flat_map(|map| &map.0) {
        if !allowed.contains(&name.as_str()) && !name.starts_with("x-") {
            let message = format!("the {kind} `{key}` is external, so `{name}` has no say here");
            found.push(
                Finding::at(Code::Conflict, entry.key, "not with `external`", message)
                    .also(external.span, "external")
                    .help("take it away, or take `external` away"),
            );
        }
    }
}

fn one_source(kind: &str, key: &str, node: &Node, sources: &[&str], found: &mut Vec<Finding>) {
    if node.get("external").is_some() {
        return;
    }
    let given: Vec<&Node> = sources.iter().filter_map(|name| node.get(name)).collect();
    match given[..] {
        [_] => {}
        [] => {
            let message = format!("the {kind} `{key}` has no content");
            found.push(
                Finding::at(Code::Missing, node.span, "no source", message)
                    .help(format!("add one of {}", sources.join(", "))),
            );
        }
        [first, second, ..] => {
            let message = format!("the {kind} `{key}` has two contents");
            found.push(
                Finding::at(Code::Conflict, second.span, "and this", message)
                    .also(first.span, "this")
                    .help(format!("keep one of {}", sources.join(", "))),
            );
        }
    }
}
