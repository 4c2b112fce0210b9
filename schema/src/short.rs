//! Short forms: what `8080:80`, `./src:/app:ro` or `build: .` stand for.

use std::net::IpAddr;

use crate::tree::{Map, Node, Value};
use crate::value::{self, Bad, bad};
use crate::walk::Walk;

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

/// `[[IP:]HOST:]CONTAINER[/PROTOCOL]`, ranges allowed.
pub fn port(walk: &mut Walk<'_>, node: Node) -> Vec<Node> {
    let text = match &node.value {
        Value::Text(text) => text.clone(),
        Value::Int(port) => port.to_string(),
        Value::Map(_) => return vec![node],
        _ => {
            walk.wrong(&node, "a port");
            return Vec::new();
        }
    };
    match ports(&text) {
        Ok(ports) => ports.into_iter().map(|port| port.node(&node)).collect(),
        Err(reason) => {
            walk.bad(&node, reason);
            Vec::new()
        }
    }
}

/// Whether a value is a port in short, `8080:80`.
pub fn port_text(value: &Value) -> Result<Value, Bad> {
    match value {
        Value::Text(text) => ports(text).map(|_| value.clone()),
        Value::Int(port) => ports(&port.to_string()).map(|_| value.clone()),
        _ => bad("is not a port", "write `[[IP:]HOST:]CONTAINER`"),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct ShortPort {
    host_ip: String,
    published: String,
    target: u16,
    protocol: String,
}

impl ShortPort {
    fn node(&self, at: &Node) -> Node {
        let mut node = map_of(at, &[("mode", "ingress"), ("protocol", &self.protocol)]);
        if let Some(map) = node.as_map_mut() {
            map.set("target", Node::new(at.span, Value::Int(i128::from(self.target))));
            if !self.published.is_empty() {
                map.set("published", Node::text(at.span, self.published.as_str()));
            }
            if !self.host_ip.is_empty() {
                map.set("host_ip", Node::text(at.span, self.host_ip.as_str()));
            }
        }
        node
    }
}

fn ports(text: &str) -> Result<Vec<ShortPort>, Bad> {
    const HELP: &str = "write `[[IP:]HOST:]CONTAINER[/tcp|udp|sctp]`, an IPv6 address in brackets";
    let (ports, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return bad(format!("has the protocol `{protocol}`"), "protocols are tcp, udp and sctp");
    }
    let mut parts = ports.rsplitn(3, ':');
    let container = parts.next().unwrap_or_default();
    let (host, ip) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']'));
    let host_ip = match bare.unwrap_or(ip).parse::<IpAddr>() {
        _ if ip.is_empty() => String::new(),
        Ok(IpAddr::V6(_)) if bare.is_none() => {
            return bad("has an IPv6 address without brackets", HELP);
        }
        Ok(_) => bare.unwrap_or(ip).to_owned(),
        Err(_) => return bad(format!("has the address `{ip}`, which is none"), HELP),
    };
    if container.is_empty() {
        return bad("has no container port", HELP);
    }
    let (first, last) = value::port_range(container)?;
    let port = |target, published| ShortPort {
        host_ip: host_ip.clone(),
        published,
        target,
        protocol: protocol.clone(),
    };
    if host.is_empty() {
        return Ok((first..=last).map(|target| port(target, String::new())).collect());
    }
    if host == "0" && first == last {
        return Ok(vec![port(first, host.to_owned())]);
    }
    let (low, high) = value::port_range(host)?;
    match (last - first, high - low) {
        (0, 0) => Ok(vec![port(first, low.to_string())]),
        (0, _) => Ok(vec![port(first, format!("{low}-{high}"))]),
        (targets, hosts) if targets == hosts => Ok((first..=last)
            .zip(low..=high)
            .map(|(target, published)| port(target, published.to_string()))
            .collect()),
        _ => bad("has ranges of different length", "give both sides as many ports"),
    }
}

/// `[SOURCE:]TARGET[:OPTIONS]`.
pub fn mount(walk: &mut Walk<'_>, node: Node) -> Vec<Node> {
    let text = match &node.value {
        Value::Text(text) => text.clone(),
        Value::Map(_) => return vec![node],
        _ => {
            walk.wrong(&node, "a mount");
            return Vec::new();
        }
    };
    // What is no longer than two bytes is taken for a target, whatever it is.
    if text.len() <= 2 && !text.is_empty() && (walk.lax || text.starts_with('/')) {
        return vec![map_of(&node, &[("type", "volume"), ("target", &text)])];
    }
    match short_mount(&node, &text, walk.lax) {
        Ok(mount) => vec![mount],
        Err(reason) => {
            walk.bad(&node, reason);
            Vec::new()
        }
    }
}

const PROPAGATIONS: [&str; 6] = ["shared", "rshared", "slave", "rslave", "private", "rprivate"];

/// The parts between colons; a single letter before `:/` or `:\` is a Windows drive, for the
/// Compose tools (`lax`) before every colon.
fn mount_parts(text: &str, lax: bool) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let pieces: Vec<&str> = text.split(':').collect();
    let mut at = 0;
    while at < pieces.len() {
        let piece = pieces[at];
        let drive = piece.len() == 1 && piece.bytes().all(|byte| byte.is_ascii_alphabetic());
        match pieces.get(at + 1) {
            Some(next) if drive && (lax || next.starts_with(['/', '\\'])) => {
                parts.push(format!("{piece}:{next}"));
                at += 2;
            }
            _ => {
                parts.push(piece.to_owned());
                at += 1;
            }
        }
    }
    parts
}

fn short_mount(node: &Node, text: &str, lax: bool) -> Result<Node, Bad> {
    const HELP: &str = "write `[SOURCE:]TARGET[:ro]`";
    let parts = mount_parts(text, lax);
    if parts.iter().any(String::is_empty) {
        return bad("has an empty part between its colons", HELP);
    }
    let (source, target, options) = match &parts[..] {
        [target] => ("", target, ""),
        [source, target] => (source.as_str(), target, ""),
        [source, target, options] => (source.as_str(), target, options.as_str()),
        _ => return bad("has too many colons", HELP),
    };
    let bind = is_path(source);
    let mut mount =
        map_of(node, &[("type", if bind { "bind" } else { "volume" }), ("target", target)]);
    let Some(map) = mount.as_map_mut() else {
        return Ok(mount);
    };
    let flag = || Node::new(node.span, Value::Bool(true));
    let mut details = Map::default();
    let mut selinux = None;
    if bind {
        details.set("create_host_path", flag());
    }
    if !source.is_empty() {
        map.set("source", Node::text(node.span, source));
    }
    for option in options.split(',') {
        match option {
            "ro" => map.set("read_only", flag()),
            "rw" => map.set("read_only", Node::new(node.span, Value::Bool(false))),
            "nocopy" if !bind => details.set("nocopy", flag()),
            "z" | "Z" => selinux = Some(Node::text(node.span, option)),
            _ if bind && PROPAGATIONS.contains(&option) => {
                details.set("propagation", Node::text(node.span, option));
            }
            _ => {}
        }
    }
    if let Some(selinux) = selinux {
        match bind {
            true => details.set("selinux", selinux),
            false => {
                let mut labels = Map::default();
                labels.set("selinux", selinux);
                map.set("bind", Node::new(node.span, Value::Map(labels)));
            }
        }
    }
    map.set(if bind { "bind" } else { "volume" }, Node::new(node.span, Value::Map(details)));
    Ok(mount)
}

fn is_path(source: &str) -> bool {
    source.starts_with(['.', '/', '~'])
        || source.starts_with(r"\\")
        || source.as_bytes().get(1) == Some(&b':')
}

/// Cleans the target and makes the source of a bind mount absolute.
pub fn finish_mount(walk: &mut Walk<'_>, node: &mut Node) {
    let bind = node.get_text("type") == Some("bind");
    let source = node.get_text("source").map(str::to_owned);
    let target = node.get_text("target").map(str::to_owned);
    let whole = node.clone();
    let Some(map) = node.as_map_mut() else {
        return;
    };
    if let (Some(target), Some(node)) = (target, map.get_mut("target")) {
        node.value = Value::Text(value::clean_path(&target));
    }
    match source {
        Some(source) if bind && source.is_empty() && !walk.lax => walk.bad(&whole, no_source()),
        Some(source) if bind => {
            let absolute = walk.absolute(&source);
            if let Some(node) = map.get_mut("source") {
                node.value = Value::Text(absolute);
            }
        }
        None if bind => walk.bad(&whole, no_source()),
        _ => {}
    }
}

fn no_source() -> Bad {
    Bad {
        why: "a bind mount needs a source".into(),
        help: Some("add `source:` with a path of this host".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        match ports(text) {
            Ok(ports) => ports
                .iter()
                .map(|p| format!("[{}]{}>{}/{} ", p.host_ip, p.published, p.target, p.protocol))
                .collect(),
            Err(bad) => bad.why,
        }
    }

    #[test]
    fn short_ports_are_read() {
        for (text, result) in [
            ("80", "[]>80/tcp "),
            ("8080:80", "[]8080>80/tcp "),
            ("127.0.0.1:8080:80/udp", "[127.0.0.1]8080>80/udp "),
            ("[::1]:8080:80", "[::1]8080>80/tcp "),
            ("127.0.0.1::80", "[127.0.0.1]>80/tcp "),
            ("3000-3001", "[]>3000/tcp []>3001/tcp "),
            ("90-91:80-81", "[]90>80/tcp []91>81/tcp "),
            ("90-99:80", "[]90-99>80/tcp "),
            ("90-99:80-81", "has ranges of different length"),
            ("::1:8080:80", "has an IPv6 address without brackets"),
            ("80/icmp", "has the protocol `icmp`"),
            ("70000", "is no port: ports are 1 to 65535"),
            ("a:b", "is not a port"),
            ("80:", "has no container port"),
        ] {
            assert_eq!(show(text), result, "{text}");
        }
    }

    #[test]
    fn a_drive_letter_is_not_cut_off() {
        assert_eq!(mount_parts("C:\\a:/b:ro", false), ["C:\\a", "/b", "ro"]);
        assert_eq!(mount_parts("vol:/b", false), ["vol", "/b"]);
        assert_eq!(mount_parts("a:b", false), ["a", "b"]);
        assert_eq!(mount_parts("a:b", true), ["a:b"]);
    }
}
