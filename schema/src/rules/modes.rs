//! Namespaces that are shared, and what can then not be set for one container alone.

use super::{bad, both, doubtful, items, says_something};
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

/// Kernel settings that are not the container's own, or none at all.
fn sysctls(name: &str, service: &Node, found: &mut Vec<Finding>) {
    #[cfg(feature = "sabotage")]
    if crate::value::ANY_SETTING.load(std::sync::atomic::Ordering::Relaxed) {
        return;
    }
    let map = service.get("sysctls").and_then(Node::as_map);
    for (key, entry) in map.into_iter().flat_map(|map| &map.0) {
        let path = format!("services.{name}.sysctls.{key}");
        let Some(setting) = setting(key) else {
            let help = "write `net.core.somaxconn`, with slashes where a part has a dot in it";
            let message = format!("`{path}` is no name of a kernel setting");
            found.push(Finding::at(Code::BadName, entry.key, "not a name", message).help(help));
            continue;
        };
        if entry.node.as_text().is_some_and(is_no_value) {
            let help = "a value is one line of at most 256 bytes";
            found.push(bad(&entry.node, &path, "is no value of a kernel setting", help));
        }
        let Some(owner) = owner(&setting) else {
            let message = format!("`{path}` is a setting of the whole host");
            found.push(
                Finding::at(Code::BadValue, entry.key, "of the host", message)
                    .help("a container can set `net.*`, `kernel.shm*`, `kernel.msg*`, `kernel.sem` and `fs.mqueue.*`"),
            );
            continue;
        };
        let Some((mode, word)) =
            service.get(owner.attribute).and_then(|mode| Some((mode, mode.as_text()?)))
        else {
            continue;
        };
        let whose = match word.split_once(':') {
            None if word == "host" => "the host",
            Some(("service" | "container", _)) => "another",
            _ => continue,
        };
        let message = format!("`{name}` sets `{key}` and has {} of {whose}", owner.what);
        let labels = ((entry.key, "for its own".into()), (mode.span, format!("{whose}'s")));
        let help = "set it where it belongs, or take one of them away";
        found.push(both(labels.0, labels.1, Code::Conflict, message).help(help));
    }
}

/// Where a setting is below `/proc/sys`: its parts have dots between them, or slashes when one of
/// them has dots itself (sysctl(8)).
fn setting(key: &str) -> Option<String> {
    let path = if key.contains('/') { key.to_owned() } else { key.replace('.', "/") };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let is_name = |part: &str| !matches!(part, "" | "." | "..");
    (key.chars().all(is_plain) && path.split('/').all(is_name)).then_some(path)
}

fn is_no_value(value: &str) -> bool {
    value.len() > 256 || value.chars().any(|c| c.is_control() && c != '\t')
}

/// What a container has of its own, or of others, and with it some settings.
struct Owner {
    attribute: &'static str,
    what: &'static str,
}

/// Whose a setting is (namespaces(7)); `None` is the whole host.
fn owner(setting: &str) -> Option<Owner> {
    const OF_MEMORY: [&str; 8] = [
        "kernel/msgmax",
        "kernel/msgmnb",
        "kernel/msgmni",
        "kernel/sem",
        "kernel/shm_rmid_forced",
        "kernel/shmall",
        "kernel/shmmax",
        "kernel/shmmni",
    ];
    if setting.starts_with("net/") {
        return Some(Owner { attribute: "network_mode", what: "the network" });
    }
    if setting == "kernel/domainname" {
        return Some(Owner { attribute: "uts", what: "the names" });
    }
    let of_memory = OF_MEMORY.contains(&setting) || setting.starts_with("fs/mqueue/");
    of_memory.then_some(Owner { attribute: "ipc", what: "the shared memory" })
}
