//! Limits that cannot be, and limits that exclude each other.

use super::{both, number, says_something};
use crate::problem::{Code, Finding};
use crate::tree::{Node, Value};

/// As in Docker: a process that starts needs more than less.
const LEAST_MEMORY: i128 = 6 << 20;

pub(super) fn check(name: &str, service: &Node, found: &mut Vec<Finding>) {
    let path = format!("services.{name}");
    memory(&path, service, found);
    processors(&path, service, found);
}

fn memory(path: &str, service: &Node, found: &mut Vec<Finding>) {
    let either = |name: &'static str, group: &'static str| {
        let deploy = ["deploy", "resources", group, "memory"];
        let here = says_something(service, name).map(|node| (name.to_owned(), node));
        here.or_else(|| Some((deploy.join("."), service.at(&deploy)?)))
            .and_then(|(path, node)| Some((path, node, number(node).filter(|n| *n > 0)?)))
    };
    let limit = either("mem_limit", "limits");
    let reserved = either("mem_reservation", "reservations");
    if let Some((name, node, bytes)) = &limit
        && *bytes < LEAST_MEMORY
    {
        let message = format!("`{path}.{name}` is {bytes} bytes, too little for any program");
        found.push(Finding::at(Code::BadValue, node.span, "bytes", message).help(format!(
            "did you mean `{bytes}m`? units are b k m g t p, times 1024 each; the least is `6m`"
        )));
    }
    if let (Some((limit, a, most)), Some((reserved, b, least))) = (limit, reserved)
        && least > most
    {
        let message = format!("`{path}.{reserved}` is more than `{limit}`");
        let (a, b) = ((a.span, "at most".into()), (b.span, "at least".into()));
        found.push(
            both(a, b, Code::Conflict, message)
                .help("reserve no more than the limit, or raise the limit"),
        );
    }
}

fn processors(path: &str, service: &Node, found: &mut Vec<Finding>) {
    let cpus = service.get("cpus").filter(|node| matches!(node.value, Value::Float(n) if n > 0.0));
    let other = ["cpu_quota", "cpu_period"]
        .into_iter()
        .find_map(|name| Some((name, service.get(name)?)))
        .filter(|(_, node)| number(node).is_some_and(|value| value > 0));
    if let (Some(cpus), Some((name, other))) = (cpus, other) {
        let message = format!("`{path}` limits processor time twice, in `cpus` and `{name}`");
        let (a, b) = ((cpus.span, "one".into()), (other.span, "the other".into()));
        found.push(both(a, b, Code::Conflict, message).help("keep `cpus`"));
    }
}
