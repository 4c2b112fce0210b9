//! Services whose new containers start first: two of one replica have to be able to run at once.

use super::{Sheet, both, entries, items, says_something};
use crate::problem::{Code, Finding};
use crate::text::Span;
use crate::tree::Node;

pub(super) fn check(sheet: &Sheet<'_>, found: &mut Vec<Finding>) {
    for (name, service) in sheet.services() {
        let order = service.at(&["deploy", "update_config", "order"]);
        let Some(order) = order.filter(|order| order.as_text() == Some("start-first")) else {
            continue;
        };
        let obstacle = own(service).or_else(|| of_others(sheet, name));
        if let Some((at, why)) = obstacle {
            let message = format!("service `{name}` cannot be replaced `start-first`: {why}");
            let (here, there) =
                ((order.span, "starts first".into()), (at, "because of this".into()));
            let help = "write `order: stop-first`, or take the other away";
            found.push(both(here, there, Code::Conflict, message).help(help));
        }
    }
}

/// What of the service there can be only once.
fn own(service: &Node) -> Option<(Span, String)> {
    if let Some(node) = says_something(service, "container_name") {
        let name = node.as_text().unwrap_or_default();
        return Some((node.span, format!("there can be only one container of the name `{name}`")));
    }
    let spaces = ["network_mode", "pid", "ipc"];
    for node in spaces.into_iter().filter_map(|key| service.get(key)) {
        let text = node.as_text().unwrap_or_default();
        if text.starts_with("service:") || text.starts_with("container:") {
            return Some((node.span, "both would be in the same namespace".to_owned()));
        }
    }
    if let Some(node) = service.get("network_mode").filter(|node| node.as_text() == Some("host")) {
        let why = "both would listen on the same ports of the host's network";
        return Some((node.span, why.to_owned()));
    }
    let fixed = ["ipv4_address", "ipv6_address", "mac_address", "link_local_ips"];
    let networks = entries(service, "networks");
    let mut on_networks = networks.flat_map(|(network, node)| {
        let fixed = fixed.into_iter().filter_map(|key| says_something(node, key));
        fixed.map(move |at| {
            (at.span, format!("both would have this address on network `{network}`"))
        })
    });
    let own = || {
        let node = says_something(service, "mac_address")?;
        Some((node.span, "both would have this address".to_owned()))
    };
    on_networks.next().or_else(own)
}

/// Another service that shares something with a container of this one, and names it by that.
fn of_others(sheet: &Sheet<'_>, name: &str) -> Option<(Span, String)> {
    let shared = format!("service:{name}");
    for (other, service) in sheet.services() {
        let spaces = ["network_mode", "pid", "ipc"].into_iter().filter_map(|key| service.get(key));
        let mut spaces = spaces.filter(|node| node.as_text() == Some(shared.as_str()));
        let is_of = |node: &&Node| {
            let text = node.as_text().unwrap_or_default();
            text == name || text.strip_prefix(name).is_some_and(|rest| rest.starts_with(':'))
        };
        let mut volumes = items(service, "volumes_from").iter().filter(is_of);
        if let Some(node) = spaces.next().or_else(|| volumes.next()) {
            return Some((node.span, format!("`{other}` shares what one container of it has")));
        }
    }
    None
}
