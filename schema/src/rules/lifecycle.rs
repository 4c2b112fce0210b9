//! What one service waits for and the other never becomes; restarts said twice.

use super::health::switched_off;
use super::{Sheet, both, entries, says_something};
use crate::problem::{Code, Finding};
use crate::tree::Node;

pub(super) fn check(sheet: &Sheet<'_>, found: &mut Vec<Finding>) {
    for (name, service) in sheet.services() {
        restarts(name, service, found);
        for (need, dependency) in entries(service, "depends_on") {
            let Some(needed) = sheet.tree.at(&["services", need]) else {
                continue;
            };
            let Some(condition) = dependency.get("condition") else {
                continue;
            };
            match condition.as_text() {
                Some("service_healthy") => healthy(name, condition, need, needed, found),
                Some("service_completed_successfully") => {
                    completed(name, condition, need, needed, found);
                }
                _ => {}
            }
        }
    }
}

fn healthy(name: &str, at: &Node, need: &str, needed: &Node, found: &mut Vec<Finding>) {
    let waits = |message| {
        Finding::at(Code::Conflict, at.span, format!("`{name}` waits for its health"), message)
    };
    let help = format!("give `{need}` a health check, or wait for `service_started`");
    if let Some(off) = switched_off(needed) {
        let message = format!("`{name}` waits for `{need}` to be healthy, which it never is");
        found.push(waits(message).also(off.span, "its health check is switched off").help(help));
    } else if needed.get("healthcheck").is_none() && needed.get_text("image") == Some(HOST) {
        let message = format!("`{name}` waits for `{need}` to be healthy, which nobody checks");
        let image = needed.get("image").map_or(needed.span, |image| image.span);
        found.push(waits(message).also(image, "this image has no health check").help(help));
    }
}

/// The image made from the host's own programs.
const HOST: &str = "localhost/host";

fn completed(name: &str, at: &Node, need: &str, needed: &Node, found: &mut Vec<Finding>) {
    let policy = match needed.at(&["deploy", "restart_policy", "condition"]) {
        Some(policy) => policy,
        None => match needed.get("restart") {
            Some(restart) => restart,
            None => return,
        },
    };
    if !matches!(policy.as_text(), Some("always" | "unless-stopped" | "any")) {
        return;
    }
    let message = format!("`{name}` waits for `{need}` to be done, and it is always started again");
    found.push(
        Finding::at(Code::Conflict, at.span, format!("`{name}` waits for its end"), message)
            .also(policy.span, "started again")
            .help(format!("write `restart: \"no\"` or `restart: on-failure` for `{need}`")),
    );
}

/// `deploy.restart_policy` counts, whatever `restart` says.
fn restarts(name: &str, service: &Node, found: &mut Vec<Finding>) {
    let (Some(restart), Some(policy)) =
        (says_something(service, "restart"), service.at(&["deploy", "restart_policy"]))
    else {
        return;
    };
    let condition = policy.get("condition");
    let same = match condition.and_then(Node::as_text).unwrap_or("any") {
        "none" => "no",
        "any" => "always",
        other => other,
    };
    let written = restart.as_text().unwrap_or_default();
    if written.split(':').next() == Some(same) || same == "always" && written == "unless-stopped" {
        return;
    }
    let at = condition.unwrap_or(policy).span;
    let message = format!("`{name}` says twice when it is started again, and the two differ");
    let (a, b) = ((restart.span, "not looked at".to_owned()), (at, "this one counts".to_owned()));
    found.push(both(a, b, Code::Doubtful, message).help("keep one of them"));
}
