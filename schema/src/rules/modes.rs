//! Namespaces that are shared, and what can then not be set for one container alone.

use super::{both, doubtful, items, says_something};
use crate::problem::{Code, Finding};
use crate::tree::{Node, Value};

/// What a container cannot have when it takes the network of another.
const OF_THE_OWNER: [(&str, &str); 7] = [
    ("ports", "publish them from the service whose network it takes"),
    ("expose", "expose them from the service whose network it takes"),
    ("hostname", "set it at the service whose network it takes"),
    ("dns", "set it at the service whose network it takes"),
    ("extra_hosts", "set it at the service whose network it takes"),
    ("links", "link from the service whose network it takes"),
    ("mac_address", "set it at the service whose network it takes"),
];

pub(super) fn check(name: &str, service: &Node, found: &mut Vec<Finding>) {
    shared_network(name, service, found);
    shared_names(name, service, found);
    capabilities(name, service, found);
    sysctls(name, service, found);
}

fn shared_network(name: &str, service: &Node, found: &mut Vec<Finding>) {
    let Some((at, mode)) = service.get("network_mode").and_then(|at| Some((at, at.as_text()?)))
    else {
        return;
    };
    let of_another = mode.starts_with("service:") || mode.starts_with("container:");
    let not_with: &[(&str, &str)] = match mode {
        _ if of_another => &OF_THE_OWNER,
        "host" | "none" => &[("links", "take it away: names of services are not known there")],
        _ => &[],
    };
    for (attribute, help) in not_with {
        if let Some(other) = says_something(service, attribute) {
            let message =
                format!("`{name}` has `network_mode: {mode}`, so `{attribute}` cannot be");
            let (a, b) = ((at.span, "this mode".into()), (other.span, "not with it".into()));
            found.push(both(a, b, Code::Conflict, message).help(*help));
        }
    }
}

fn shared_names(name: &str, service: &Node, found: &mut Vec<Finding>) {
    let Some(uts) = service.get("uts").filter(|uts| uts.as_text() == Some("host")) else { return };
    for attribute in ["hostname", "domainname"] {
        if let Some(own) = says_something(service, attribute) {
            let message = format!("`{name}` has the names of the host, so `{attribute}` cannot be");
            let (a, b) = ((uts.span, "of the host".into()), (own.span, "not with it".into()));
            found.push(both(a, b, Code::Conflict, message).help("keep one of them"));
        }
    }
}

/// A capability that is added and dropped.
fn capabilities(name: &str, service: &Node, found: &mut Vec<Finding>) {
    let plain = |node: &Node| {
        let name = node.as_text().unwrap_or_default().to_ascii_uppercase();
        name.strip_prefix("CAP_").unwrap_or(&name).to_owned()
    };
    for added in items(service, "cap_add") {
        let capability = plain(added);
        if let Some(dropped) =
            items(service, "cap_drop").iter().find(|dropped| plain(dropped) == capability)
        {
            let message = format!("`{name}` adds and drops the capability `{capability}`");
            let (a, b) = ((added.span, "added".to_owned()), (dropped.span, "dropped".to_owned()));
            found.push(both(a, b, Code::Doubtful, message).help("keep one of them"));
        }
    }
    let privileged = service.get("privileged").filter(|node| node.value == Value::Bool(true));
    if let (Some(privileged), Some(added)) = (privileged, says_something(service, "cap_add")) {
        let message = format!("`{name}` is privileged and has all capabilities already");
        found.push(
            doubtful(added.span, "says nothing", message, "take one of them away")
                .also(privileged.span, "all of them"),
        );
    }
}

/// Kernel settings that belong to the whole host.
fn sysctls(name: &str, service: &Node, found: &mut Vec<Finding>) {
    let privileged = service.get("privileged").is_some_and(|node| node.value == Value::Bool(true));
    let Some(map) = service.get("sysctls").and_then(Node::as_map).filter(|_| !privileged) else {
        return;
    };
    let is = |attribute: &str, words: &[&str]| {
        let node = service.get(attribute)?;
        let word = node.as_text()?;
        words.iter().any(|w| word == *w || word.starts_with(*w) && w.ends_with(':')).then_some(node)
    };
    let host = is("network_mode", &["host"]);
    let shared = is("ipc", &["host", "service:", "container:"]);
    for (key, entry) in &map.0 {
        let dotted = key.replace('/', ".");
        if dotted.starts_with("net.") {
            if let Some(mode) = host {
                let message = format!("`{name}` sets `{key}` and has the network of the host");
                let (a, b) =
                    ((entry.key, "for its network".into()), (mode.span, "the host's".into()));
                let help = "set it on the host, or take `network_mode` away";
                found.push(both(a, b, Code::Conflict, message).help(help));
            }
        } else if is_of_ipc(&dotted) {
            let (mode, whose) = match dotted.as_str() {
                "kernel.domainname" => (is("uts", &["host"]), "the names"),
                _ => (shared, "the shared memory"),
            };
            if let Some(mode) = mode {
                let message = format!("`{name}` sets `{key}` and has {whose} of another");
                let (a, b) = ((entry.key, "for its own".into()), (mode.span, "another's".into()));
                let help = "set it where it belongs, or take one of them away";
                found.push(both(a, b, Code::Conflict, message).help(help));
            }
        } else {
            let message = format!("`services.{name}.sysctls.{key}` is a setting of the whole host");
            found.push(
                Finding::at(Code::BadValue, entry.key, "of the host", message)
                    .help("a container can set `net.*`, `kernel.shm*`, `kernel.msg*`, `kernel.sem` and `fs.mqueue.*`"),
            );
        }
    }
}

fn is_of_ipc(key: &str) -> bool {
    const EXACT: [&str; 9] = [
        "kernel.domainname",
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shm_rmid_forced",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
    ];
    EXACT.contains(&key) || key.starts_with("fs.mqueue.")
}
