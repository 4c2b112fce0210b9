//! The top-level networks, volumes, configs and secrets: their names, and which are used.

use std::collections::BTreeSet;
use std::path::Path;

use crate::check;
use crate::problem::{Code, Finding};
use crate::project::Project;
use crate::text::Span;
use crate::tree::{Map, Node, Value};

/// The sections whose entries are resources, with the attribute of a service that uses them.
pub(crate) const RESOURCES: [&str; 5] = ["networks", "volumes", "configs", "secrets", "models"];

/// Key under which the value of a variable that a config or secret takes is kept in the tree. No
/// text can have it, and it is never printed.
pub(crate) const VALUE: &str = "\0value";

impl Project<'_> {
    /// Names of the top-level resources, and the default network.
    pub(crate) fn resources(&mut self, project: &str, root: &mut Map, default_used: bool) {
        if default_used || root.has("networks") {
            let span = Span::default();
            root.set_default("networks", Node::new(span, Value::Map(Map::default())));
        }
        if default_used && let Some(networks) = root.get_mut("networks").and_then(Node::as_map_mut)
        {
            let none = Node::new(Span { file: u32::MAX, ..Span::default() }, Value::Null);
            networks.set_default("default", none);
        }
        for section in RESOURCES {
            let Some(map) = root.get_mut(section).and_then(Node::as_map_mut) else {
                continue;
            };
            let map = std::mem::take(map);
            self.check_names(section.trim_end_matches('s'), &map);
            let named = map.0.into_iter().map(|(key, mut entry)| {
                if section != "models" {
                    self.name_resource(project, &key, &mut entry.node);
                }
                if matches!(section, "networks" | "volumes") {
                    self.check_real_name(section, &key, &entry.node);
                }
                (key, entry)
            });
            let named = Map(named.collect());
            if let Some(node) = root.get_mut(section) {
                node.value = Value::Map(named);
            }
        }
        self.contents(root);
    }

    fn name_resource(&mut self, project: &str, key: &str, node: &mut Node) {
        let span = node.span;
        if node.is_null() {
            node.value = Value::Map(Map::default());
        }
        let Some(map) = node.as_map_mut() else {
            return;
        };
        let mut external = false;
        if let Some(old) = map.get("external").cloned() {
            match old.value {
                Value::Bool(false) => {
                    map.remove("external");
                }
                Value::Bool(true) => external = true,
                _ => {
                    external = true;
                    self.older_external(map, &old);
                }
            }
        }
        let berth = map.get("x-berth").and_then(|berth| berth.get("shared"));
        let shared = berth.is_some_and(|shared| shared.value == Value::Bool(true));
        let name = if external || shared { key.to_owned() } else { format!("{project}_{key}") };
        map.set_default("name", Node::text(span, name));
    }

    /// An empty name says nothing and falls away, but it is no wish for the usual one either: the
    /// Compose tools hand it on, and the engine refuses it.
    fn check_real_name(&mut self, section: &str, key: &str, node: &Node) {
        let Some(name) = node.get("name").filter(|name| name.as_text() == Some("")) else { return };
        if !self.switches.lax {
            let message = format!("`{section}.{key}.name` is empty");
            let help = "write a name, or take the key away";
            let finding = Finding::at(Code::BadName, name.span, "not a name", message);
            self.found.push(finding.help(help));
        }
    }

    /// `external: {name: NAME}`.
    fn older_external(&mut self, map: &mut Map, old: &Node) {
        let name = old.get("name").cloned();
        let message = "`external: {name: …}` is the older form".to_owned();
        self.found.push(
            Finding::at(Code::Obsolete, old.span, "older form", message)
                .help("write `external: true` and `name: …` beside it"),
        );
        match (name, map.get("name")) {
            (Some(name), Some(other)) if name.as_text() != other.as_text() => {
                let message = "the name is given twice, in two ways".to_owned();
                self.found.push(
                    Finding::at(Code::Conflict, name.span, "one name", message)
                        .also(other.span, "another name")
                        .help("keep `name:` and write `external: true`"),
                );
            }
            (Some(name), None) => map.set("name", name),
            _ => {}
        }
        map.set("external", Node::new(old.span, Value::Bool(true)));
    }

    /// Configs and secrets get the value of their variable.
    fn contents(&mut self, root: &mut Map) {
        for section in ["configs", "secrets"] {
            let Some(map) = root.get_mut(section).and_then(Node::as_map_mut) else {
                continue;
            };
            for entry in map.0.values_mut() {
                let name = entry.node.get_text("environment");
                let value = name.and_then(|name| self.variables.get(name)).cloned();
                let span = entry.node.span;
                if let (Some(value), Some(map)) = (value, entry.node.as_map_mut()) {
                    map.set(VALUE, Node::text(span, value));
                }
            }
        }
    }

    /// Notes the variables that configs and secrets in use take their values from.
    pub(crate) fn read_contents(&mut self, root: &Map) {
        for section in ["configs", "secrets"] {
            let objects = root.get(section).and_then(Node::as_map);
            for (_, object) in objects.into_iter().flat_map(Map::iter) {
                if let Some((name, at)) =
                    object.get("environment").and_then(|node| Some((node.as_text()?, node.span)))
                {
                    self.reads.variable(name, at);
                }
            }
        }
    }

    /// Volumes of the local driver that bind a folder get its absolute path.
    pub(crate) fn bind_devices(&mut self, root: &mut Map, base: &Path) {
        let volumes = root.get_mut("volumes").and_then(Node::as_map_mut);
        for entry in volumes.into_iter().flat_map(|volumes| volumes.0.values_mut()) {
            let local = entry.node.get_text("driver") == Some("local");
            let options = entry.node.as_map_mut().and_then(|map| map.get_mut("driver_opts"));
            let Some(options) = options.filter(|options| options.get_text("o") == Some("bind"))
            else {
                continue;
            };
            let device = options.as_map_mut().and_then(|map| map.get_mut("device"));
            let Some((device, path)) =
                device.and_then(|node| node.as_text().map(str::to_owned).map(|path| (node, path)))
            else {
                continue;
            };
            let absolute = self.absolute(base, &path);
            if local {
                device.value = Value::Text(absolute);
            } else if absolute != path && !self.switches.lax {
                let message = format!("the volume binds `{path}`, which is no absolute path");
                let help = "write `driver: local` beside `driver_opts`, then it counts from the project's folder";
                self.found
                    .push(Finding::at(Code::BadValue, device.span, "relative", message).help(help));
            }
        }
    }
}

/// Whether a service asks for the one bridge that a Docker host has for all. Here that is the
/// default network of the stack; the Compose tools do not show it among the networks.
pub(crate) fn is_bridged(service: &Node) -> bool {
    let listed = service.get("networks").and_then(Node::as_map);
    matches!(service.get_text("network_mode"), Some("bridge" | "default"))
        && listed.is_none_or(|map| map.0.is_empty())
}

/// Keeps the resources that some service uses.
pub(crate) fn drop_unused(root: &mut Map, active: &Map, lax: bool) {
    for section in RESOURCES {
        let mut used = BTreeSet::new();
        for (_, service) in active.iter() {
            used.extend(check::uses(service, section).into_iter().map(|(name, _)| name));
            if section == "networks" && !lax && is_bridged(service) {
                used.insert("default");
            }
        }
        if let Some(map) = root.get_mut(section).and_then(Node::as_map_mut) {
            map.0.retain(|name, _| used.contains(name.as_str()));
        }
        if root.get(section).and_then(Node::as_map).is_some_and(|map| map.0.is_empty()) {
            root.remove(section);
        }
    }
}
