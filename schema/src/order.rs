//! Who must be there before whom: what a service needs, and that nobody needs itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::problem::{Code, Finding};
use crate::text::Span;
use crate::tree::{Entry, Map, Node, Value};
use crate::value;

/// Most circles that are written out; more say nothing new.
const MOST_CYCLES: usize = 20;
/// Most places of one circle that are shown.
const MOST_LABELS: usize = 12;

/// One service that another needs.
pub(crate) struct Need<'n> {
    /// Its name.
    pub name: &'n str,
    /// Where it is named.
    pub span: Span,
    /// How it is needed.
    pub way: Way,
}

/// How a service needs another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// `depends_on`.
    Depends,
    /// `links`.
    Links,
    /// A namespace, by the attribute that names it.
    Shares(&'static str),
    /// `volumes_from`.
    Volumes,
    /// A context of its build.
    Built,
}

impl Way {
    /// What `from` does with `to`, in words.
    fn says(self, from: &str, to: &str) -> String {
        match self {
            Way::Depends => format!("`{from}` depends on `{to}`"),
            Way::Links => format!("`{from}` links to `{to}`"),
            Way::Shares(attribute) => format!("`{from}` takes `{attribute}` from `{to}`"),
            Way::Volumes => format!("`{from}` takes the volumes of `{to}`"),
            Way::Built => format!("`{from}` is built from `{to}`"),
        }
    }
}

/// Services needed because of attributes other than `depends_on`.
pub(crate) fn implied(service: &Node) -> Vec<Need<'_>> {
    let mut needs = Vec::new();
    let first = |text: &'_ str| text.find(':').unwrap_or(text.len());
    for link in service.get("links").map(Node::items).unwrap_or_default() {
        if let Some(text) = link.as_text() {
            needs.push(Need { name: &text[..first(text)], span: link.span, way: Way::Links });
        }
    }
    for space in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        if let Some(node) = service.get(space)
            && let Some(name) = node.as_text().and_then(|text| text.strip_prefix("service:"))
            && !name.is_empty()
        {
            needs.push(Need { name, span: node.span, way: Way::Shares(space) });
        }
    }
    for from in service.get("volumes_from").map(Node::items).unwrap_or_default() {
        if let Some(text) = from.as_text().filter(|text| !text.starts_with("container:")) {
            needs.push(Need { name: &text[..first(text)], span: from.span, way: Way::Volumes });
        }
    }
    needs
}

/// In which way the needs that are implied are written, by their place.
fn ways(service: &Node) -> BTreeMap<Span, Way> {
    implied(service).into_iter().rev().map(|need| (need.span, need.way)).collect()
}

/// Services whose images a build starts from.
fn contexts(service: &Node) -> Vec<Need<'_>> {
    let contexts = service.at(&["build", "additional_contexts"]).and_then(Node::as_map);
    let mut needs = Vec::new();
    for (_, context) in contexts.into_iter().flat_map(|map| map.iter()) {
        if let Some(name) = context.as_text().and_then(|text| text.strip_prefix("service:")) {
            needs.push(Need { name, span: context.span, way: Way::Built });
        }
    }
    needs
}

fn not_built(name: &str, need: &Need<'_>) -> Finding {
    let message = format!("{}, which has no `build`", need.way.says(name, need.name));
    Finding::at(Code::Conflict, need.span, "not built", message)
        .help("name its image instead: `docker-image://…`")
}

/// An optional dependency may be switched off, and one that is not there is a warning.
fn is_optional(entry: &Entry) -> bool {
    let required = entry.node.get("required").map(|node| &node.value);
    matches!(required, Some(Value::Bool(false)))
}

/// The services among which needs are looked at.
pub(crate) struct Scope<'a> {
    /// Those that are on.
    pub active: &'a Map,
    /// Those that their profiles switch off.
    pub off: &'a BTreeSet<&'a str>,
    /// Those that are on and neither named nor needed.
    pub left_out: &'a BTreeSet<String>,
}

impl Scope<'_> {
    /// Every service that is needed is there, and none needs itself. `lax` looks only at what is
    /// started, not at what is built.
    pub fn check(&self, lax: bool, found: &mut Vec<Finding>) {
        for (name, service) in self.active.iter() {
            if !self.left_out.contains(name) {
                self.check_service(name, service, found);
            }
        }
        cycles(self.active, lax, found);
    }

    fn check_service(&self, name: &str, service: &Node, found: &mut Vec<Finding>) {
        let ways = ways(service);
        let needs = service.get("depends_on").and_then(Node::as_map);
        for (need, entry) in needs.into_iter().flat_map(|map| &map.0) {
            if self.active.has(need) {
                continue;
            }
            let way = ways.get(&entry.key).copied().unwrap_or(Way::Depends);
            let need = Need { name: need, span: entry.key, way };
            let finding = self.missing(name, &need, Code::UnknownDependency);
            match (is_optional(entry), self.off.contains(need.name)) {
                (false, _) => found.push(finding),
                (true, true) => {}
                (true, false) => found.push(finding.warning()),
            }
        }
        for need in contexts(service) {
            match self.active.get(need.name) {
                None => found.push(self.missing(name, &need, Code::UnknownService)),
                Some(other) if other.get("build").is_none() => found.push(not_built(name, &need)),
                Some(_) => {}
            }
        }
    }

    fn missing(&self, name: &str, need: &Need<'_>, code: Code) -> Finding {
        let says = need.way.says(name, need.name);
        if self.off.contains(need.name) {
            let message = format!("{says}, which its profiles switch off");
            let help = match need.way {
                Way::Depends => ", or write `required: false`",
                _ => "",
            };
            return Finding::at(Code::InactiveService, need.span, "switched off", message).help(
                format!(
                    "activate one of its profiles with `--profile`, or name `{}` too{help}",
                    need.name
                ),
            );
        }
        let near = value::nearest(need.name, self.active.0.keys().map(String::as_str));
        let help = match (near, need.way) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, Way::Depends) => {
                "add a service of this name, or take the dependency away".to_owned()
            }
            (None, _) => format!("add a service `{}`, or take this away", need.name),
        };
        let message = format!("{says}, which is not in the stack");
        Finding::at(code, need.span, "no service of this name", message).help(help)
    }
}

/// What each service needs, as numbers of services.
fn edges<'n>(active: &'n Map, lax: bool) -> Vec<Vec<(usize, Need<'n>)>> {
    let numbers: BTreeMap<&str, usize> =
        active.0.keys().enumerate().map(|(number, name)| (name.as_str(), number)).collect();
    let number = |need: Need<'n>| Some((*numbers.get(need.name)?, need));
    let of = |service: &'n Node| {
        let ways = ways(service);
        let needs = service.get("depends_on").and_then(Node::as_map);
        let mut needs: Vec<Need<'n>> = needs
            .into_iter()
            .flat_map(|map| &map.0)
            .map(|(name, entry)| {
                let way = ways.get(&entry.key).copied().unwrap_or(Way::Depends);
                Need { name, span: entry.key, way }
            })
            .collect();
        if !lax {
            needs.extend(contexts(service));
        }
        needs.into_iter().filter_map(number).collect()
    };
    active.iter().map(|(_, service)| of(service)).collect()
}

/// Circles of needs, each with its whole path.
fn cycles(active: &Map, lax: bool, found: &mut Vec<Finding>) {
    let edges = edges(active, lax);
    let mut entered = vec![false; edges.len()];
    let mut left = vec![false; edges.len()];
    let mut known = 0;
    for start in 0..edges.len() {
        // Services on the way, each with the number of its next need to follow.
        let mut path: Vec<(usize, usize)> = Vec::new();
        if !entered[start] {
            entered[start] = true;
            path.push((start, 0));
        }
        while let Some((service, next)) = path.last_mut() {
            let Some((need, _)) = edges[*service].get(*next) else {
                left[*service] = true;
                path.pop();
                continue;
            };
            *next += 1;
            if !entered[*need] {
                entered[*need] = true;
                path.push((*need, 0));
            } else if !left[*need] && known < MOST_CYCLES {
                known += 1;
                let from = path.iter().position(|(at, _)| at == need).unwrap_or(0);
                let circle = path[from..].iter().map(|(at, next)| (*at, &edges[*at][next - 1].1));
                found.push(cycle(active, circle.collect()));
            }
        }
    }
}

/// One circle: each service with the need that leads to the next one.
fn cycle(active: &Map, circle: Vec<(usize, &Need<'_>)>) -> Finding {
    let names: Vec<&str> = active.0.keys().map(String::as_str).collect();
    let Some(((last, closing), before)) = circle.split_last() else {
        return Finding::bare(Code::Cycle, "services need each other in a circle");
    };
    if before.is_empty() {
        let message = closing.way.says(names[*last], "itself").replace("`itself`", "itself");
        return Finding::at(Code::Cycle, closing.span, "itself", message).help("take it away");
    }
    let mut path: Vec<&str> = circle.iter().map(|(at, _)| names[*at]).collect();
    path.push(closing.name);
    if path.len() > MOST_LABELS {
        path.splice(MOST_LABELS - 2..path.len() - 2, ["…"]);
    }
    let message = format!("services depend on each other in a circle: {}", path.join(" → "));
    let label = format!("{}: the circle is closed", closing.way.says(names[*last], closing.name));
    let mut finding = Finding::at(Code::Cycle, closing.span, label, message);
    for (at, need) in before.iter().take(MOST_LABELS) {
        finding = finding.also(need.span, need.way.says(names[*at], need.name));
    }
    finding.help("take one of these dependencies away")
}
