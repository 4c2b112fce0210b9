//! Short forms: what `8080:80`, `./src:/app:ro` or `build: .` stand for.

mod mounts;
mod ports;

use crate::tree::{Map, Node, Value};
use crate::value::Bad;
use crate::walk::Walk;

pub use mounts::{finish_mount, mount};
pub use ports::{port, port_text};

fn map_of(node: &Node, entries: &[(&str, &str)]) -> Node {
    let mut map = Map::default();
    for (name, text) in entries {
        map.set(*name, Node::text(node.span, *text));
    }
    Node::new(node.span, Value::Map(map))
}

/// `include: [FILE]`.
pub fn include(_: &mut Walk<'_>, node: Node) -> Node {
    match node.as_text() {
        Some(path) => map_of(&node, &[("path", path)]),
        None => node,
    }
}

/// `build: CONTEXT`.
pub fn build(walk: &mut Walk<'_>, mut node: Node) -> Node {
    if let Some(path) = node.as_text() {
        return map_of(&node, &[("context", &context(walk, path))]);
    }
    if let Some(given) = node.as_map_mut().and_then(|map| map.get_mut("context"))
        && let Some(path) = given.as_text()
    {
        given.value = Value::Text(context(walk, path));
    }
    node
}

/// `extends: SERVICE`.
pub fn extends(_: &mut Walk<'_>, node: Node) -> Node {
    match node.as_text() {
        Some(service) => map_of(&node, &[("service", service)]),
        None => node,
    }
}

/// `additional_contexts`: paths among them made absolute.
pub fn contexts(walk: &mut Walk<'_>, mut node: Node) -> Node {
    if let Value::List(items) = &mut node.value {
        for item in items {
            if let Some((name, path)) = item.as_text().and_then(|text| text.split_once('=')) {
                item.value = Value::Text(format!("{name}={}", context(walk, path)));
            }
        }
    } else if let Some(map) = node.as_map_mut() {
        for entry in map.0.values_mut() {
            if let Some(path) = entry.node.as_text() {
                entry.node.value = Value::Text(context(walk, path));
            }
        }
    }
    node
}

/// A build context: a path made absolute, or something that is fetched.
fn context(walk: &Walk<'_>, path: &str) -> String {
    let fetched = path.contains("://") || path.starts_with("service:") || path.starts_with("git@");
    if fetched || path.starts_with("github.com/") || path.is_empty() {
        return path.to_owned();
    }
    walk.absolute(path)
}

/// `test: LINE`, and the words a test starts with.
pub fn health_test(walk: &mut Walk<'_>, node: Node) -> Node {
    let span = node.span;
    if let Some(line) = node.as_text() {
        let words = ["CMD-SHELL", line].map(|word| Node::text(span, word));
        return Node::new(span, Value::List(words.into()));
    }
    let first = node.items().first().and_then(Node::as_text);
    if let Some(first) = first
        && !["NONE", "CMD", "CMD-SHELL"].contains(&first)
    {
        let help = "start the list with `CMD` (a program) or `CMD-SHELL` (a line for the shell)";
        let why = format!("starts with `{first}`");
        walk.bad(&node, Bad { why, help: Some(help.into()) });
    }
    node
}

/// `http: PORT` or `http: PORT/PATH`, also with `http://localhost:` before it.
pub fn ready_http(walk: &mut Walk<'_>, node: Node) -> Node {
    let text = match &node.value {
        Value::Int(port) => port.to_string(),
        Value::Text(text) => text.clone(),
        _ => return node,
    };
    let rest = text.strip_prefix("http://").unwrap_or(&text);
    let (host, path) = match rest.split_once('/') {
        Some((host, path)) => (host, format!("/{path}")),
        None => (rest, "/".to_owned()),
    };
    let (host, port) = host.rsplit_once(':').unwrap_or(match host.parse::<u16>() {
        Ok(_) => ("", host),
        Err(_) => (host, "80"),
    });
    let here = ["", "localhost", "127.0.0.1", "[::1]"].contains(&host);
    if !here || text.contains(char::is_whitespace) {
        let why = "is no page of the container itself".to_owned();
        let help = Some("write `PORT/PATH`, like `8080/health`".to_owned());
        walk.bad(&node, Bad { why, help });
        return map_of(&node, &[]);
    }
    map_of(&node, &[("port", port), ("path", &path)])
}

/// `ssh: [KEY=PATH]` or a map.
pub fn ssh(_: &mut Walk<'_>, node: Node) -> Node {
    let Value::Map(map) = &node.value else {
        return node;
    };
    let lines = map.iter().map(|(name, path)| match path.as_text() {
        Some(path) => Node::text(node.span, format!("{name}={path}")),
        None => Node::text(node.span, name),
    });
    Node::new(node.span, Value::List(lines.collect()))
}

/// `gpus: all`.
pub fn gpus(_: &mut Walk<'_>, node: Node) -> Node {
    if node.as_text() != Some("all") {
        return node;
    }
    let mut map = Map::default();
    map.set("count", Node::new(node.span, Value::Int(-1)));
    let request = Node::new(node.span, Value::Map(map));
    Node::new(node.span, Value::List(vec![request]))
}

/// A request for devices: all of them unless it counts or names some.
pub fn device_request(walk: &mut Walk<'_>, mut node: Node) -> Node {
    let at = node.clone();
    if let Some(map) = node.as_map_mut() {
        match (map.has("count"), map.has("device_ids")) {
            (true, true) => walk.bad(
                &at,
                Bad {
                    why: "has `count` and `device_ids`, and only one of them can be".into(),
                    help: Some("keep one of them".into()),
                },
            ),
            (false, false) => map.set("count", Node::new(at.span, Value::Int(-1))),
            _ => {}
        }
    }
    node
}

/// A watch: everything but a rebuild needs a target.
pub fn watch(walk: &mut Walk<'_>, node: Node) -> Node {
    let action = node.get_text("action").unwrap_or_default();
    if action.contains("sync") && node.get("target").is_none() {
        let why = format!("the action `{action}` needs a `target`");
        walk.bad(&node, Bad { why, help: Some("add the path in the container".into()) });
    }
    node
}

/// Host lines as a list of `NAME=ADDRESS`.
pub fn extra_hosts(walk: &mut Walk<'_>, node: Node) -> Node {
    let span = node.span;
    let mut lines = Vec::new();
    match &node.value {
        Value::Map(map) => {
            for (name, addresses) in map.iter() {
                let one = std::slice::from_ref(addresses);
                let many = if addresses.items().is_empty() { one } else { addresses.items() };
                for address in many {
                    match address.as_text() {
                        Some(text) => lines.push(host_line(address, name, text)),
                        None => walk.wrong(address, "an address"),
                    }
                }
            }
        }
        Value::List(items) => {
            for item in items {
                match item.as_text().map(|text| text.split_once(['=', ':'])) {
                    Some(Some((name, addresses))) if !name.is_empty() => {
                        let each = addresses.split(',');
                        lines.extend(each.map(|address| host_line(item, name, address)));
                    }
                    Some(_) => walk.bad(
                        item,
                        Bad {
                            why: "names no host and address".into(),
                            help: Some("write `name=address`".into()),
                        },
                    ),
                    None => walk.wrong(item, "`name=address`"),
                }
            }
        }
        _ => return node,
    }
    Node { span, tag: node.tag, value: Value::List(lines) }
}

fn host_line(item: &Node, name: &str, address: &str) -> Node {
    let address = address.trim();
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let text = format!("{}={}", name.trim(), bare.unwrap_or(address));
    Node { span: item.span, tag: item.tag, value: Value::Text(text) }
}

/// `env_file: PATH`.
pub fn env_file(_: &mut Walk<'_>, node: Node) -> Vec<Node> {
    vec![match node.as_text() {
        Some(path) => map_of(&node, &[("path", path)]),
        None => node,
    }]
}

/// `configs: [NAME]`, `secrets: [NAME]`.
pub fn file_mount(_: &mut Walk<'_>, node: Node) -> Vec<Node> {
    vec![match node.as_text() {
        Some(source) => map_of(&node, &[("source", source)]),
        None => node,
    }]
}

/// Where a config or secret is mounted, as the key of its entry.
pub fn file_target(node: &Node, folder: &str) -> Option<String> {
    let target = node.get_text("target").or_else(|| node.get_text("source"))?;
    Some(if target.starts_with('/') { target.to_owned() } else { format!("{folder}/{target}") })
}

/// The target of a config or secret as it is written, as the key of its entry.
pub fn file_key(node: &Node, folder: &str) -> Option<String> {
    match node.get_text("target").filter(|target| !target.is_empty()) {
        Some(target) => Some(target.to_owned()),
        None => file_target(node, folder),
    }
}

/// The path in the container as the key of an entry.
pub fn by_target(node: &Node) -> Option<String> {
    node.get_text("target").map(str::to_owned)
}

/// What makes two published ports the same.
pub fn port_key(node: &Node) -> Option<String> {
    let text = |name| node.get_text(name).unwrap_or_default();
    let target = match node.get("target")?.value {
        Value::Int(target) => target,
        _ => return None,
    };
    let protocol = if text("protocol").is_empty() { "tcp" } else { text("protocol") };
    let host = if text("host_ip").is_empty() { "0.0.0.0" } else { text("host_ip") };
    Some(format!("{host} {} {target} {protocol}", text("published")))
}

/// Two loggings of different drivers replace each other.
pub fn other_driver(left: &Node, right: &Node) -> bool {
    match (left.get_text("driver"), right.get_text("driver")) {
        (Some(left), Some(right)) => left != right,
        _ => false,
    }
}

/// Two signs of readiness of different kinds: the later one replaces the earlier.
pub fn other_sign(left: &Node, right: &Node) -> bool {
    let kind =
        |node: &Node| ["tcp", "http", "log"].into_iter().find(|name| node.get(name).is_some());
    matches!((kind(left), kind(right)), (Some(left), Some(right)) if left != right)
}

/// `SRC[:DST[:PERMISSIONS]]`.
pub fn device(walk: &mut Walk<'_>, node: Node) -> Vec<Node> {
    let Some(text) = node.as_text() else {
        return vec![node];
    };
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, permissions) = match parts[..] {
        [source] => (source, source, "rwm"),
        [source, target] if target.bytes().all(|byte| b"rwm".contains(&byte)) => {
            (source, source, target)
        }
        [source, target] => (source, target, "rwm"),
        [source, target, permissions] => (source, target, permissions),
        _ => {
            let help = Some("write `SOURCE[:TARGET[:rwm]]`".to_owned());
            walk.bad(&node, Bad { why: "is not a device".into(), help });
            return Vec::new();
        }
    };
    let entries = [("source", source), ("target", target), ("permissions", permissions)];
    vec![map_of(&node, &entries)]
}
