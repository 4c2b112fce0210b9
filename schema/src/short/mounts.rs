//! Mounts in short: `./src:/app:ro`.

use super::map_of;
use crate::tree::{Map, Node, Value};
use crate::value::{self, Bad, bad};
use crate::walk::Walk;

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

    #[test]
    fn a_drive_letter_is_not_cut_off() {
        assert_eq!(mount_parts("C:\\a:/b:ro", false), ["C:\\a", "/b", "ro"]);
        assert_eq!(mount_parts("vol:/b", false), ["vol", "/b"]);
        assert_eq!(mount_parts("a:b", false), ["a", "b"]);
        assert_eq!(mount_parts("a:b", true), ["a:b"]);
    }
}
