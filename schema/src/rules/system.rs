//! Users and small settings of the system.

use super::{bad, items};
use crate::problem::Finding;
use crate::tree::Node;

pub(super) fn check(name: &str, service: &Node, found: &mut Vec<Finding>) {
    let path = format!("services.{name}");
    if let Some(user) = service.get("user") {
        self::user(&format!("{path}.user"), user, found);
    }
    for (index, domain) in items(service, "dns_search").iter().enumerate() {
        let text = domain.as_text().unwrap_or_default();
        if text.contains(|c: char| c.is_whitespace() || "/:,".contains(c)) {
            let help = "write one domain in each item, `example.com`";
            found.push(bad(domain, &format!("{path}.dns_search.{index}"), "is no domain", help));
        }
    }
    for (index, host) in items(service, "extra_hosts").iter().enumerate() {
        let name =
            host.as_text().and_then(|text| text.split_once('=')).map_or("", |(name, _)| name);
        if name.contains(|c: char| c.is_whitespace() || "/:,".contains(c)) {
            let help = "write `name=address`, one in each line";
            found.push(bad(host, &format!("{path}.extra_hosts.{index}"), "names no host", help));
        }
    }
}

fn user(path: &str, node: &Node, found: &mut Vec<Finding>) {
    const HELP: &str = "write `NAME`, `UID`, `NAME:GROUP` or `UID:GID`";
    let text = node.as_text().unwrap_or_default();
    let (user, group) = text.split_once(':').map_or((text, None), |(u, g)| (u, Some(g)));
    let number = |part: &str| part.parse::<i64>().ok();
    let too_large = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        digits && part.parse::<u32>().is_ok_and(|id| id < u32::MAX) != digits
    };
    if text.contains(char::is_whitespace) {
        found.push(bad(node, path, "has a space in it", HELP));
    } else if group.is_some_and(|group| group.contains(':')) {
        found.push(bad(node, path, "has too many colons", HELP));
    } else if number(user).is_some_and(|id| id < 0) {
        found.push(bad(node, path, "is below 0", "ids are 0 to 4294967294"));
    } else if too_large(user) || group.is_some_and(too_large) {
        found.push(bad(node, path, "is too large for an id", "ids are 0 to 4294967294"));
    }
}
