//! Completes the merged tree: profiles, defaults, environment files, names, and what is unused
//! falls away.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::dotenv::Scope;
use crate::environment::{Asker, Format, Said};
use crate::interpolate::Variables;
use crate::places::Written;
use crate::problem::{Code, Finding};
use crate::project::{Model, Project};
use crate::reads::leaves;
use crate::resources::{drop_unused, is_bridged};
use crate::text::Span;
use crate::tree::{Entry, Map, Node, Value};
use crate::{Places, check, merge, order, short};
use crate::{prune, value};

impl Project<'_> {
    /// The completed model, or nothing when the services cannot be told apart from each other.
    pub(crate) fn finish(
        &mut self,
        name: String,
        files: Vec<PathBuf>,
        mut tree: Node,
    ) -> Option<Model> {
        let span = tree.span;
        let root = tree.as_map_mut()?;
        root.remove("version");
        root.set("name", Node::text(span, name.as_str()));
        let all = match root.remove("services").map(|node| node.value) {
            Some(Value::Map(map)) => map,
            _ => Map::default(),
        };
        self.check_names("service", &all);
        let lax = self.switches.lax;
        let by_default = all.iter().any(|(_, service)| on_default_network(service, lax));
        let (mut active, inactive) = self.by_profile(all);
        for entry in active.0.values_mut() {
            if entry.node.is_null() {
                entry.node.value = Value::Map(Map::default());
            }
            if !self.switches.no_normalize {
                imply(&mut entry.node);
            }
            self.complete(&mut entry.node);
            unique_entries(&mut entry.node, self.switches.lax);
            if !self.switches.no_env_resolution {
                self.environment(&mut entry.node);
            }
        }
        let left_out = self.left_out(&active);
        let off: BTreeSet<&str> = inactive.0.keys().map(String::as_str).collect();
        if !self.switches.no_consistency {
            let scope = order::Scope { active: &active, off: &off, left_out: &left_out };
            scope.check(lax, &mut self.found);
        }
        self.forget_idle((&active, &inactive), &left_out);
        active.0.retain(|name, _| !left_out.contains(name));
        if !self.switches.no_normalize {
            self.resources(&name, root, by_default);
        }
        self.bind_devices(root, &self.directory.clone());
        let root_view = Node::new(span, Value::Map(std::mem::take(root)));
        if !self.switches.no_consistency {
            check::services(&active, &root_view, self.switches.lax, &mut self.found);
        }
        if !lax || !self.options.services.is_empty() {
            drop_optional(&mut active);
        }
        let Value::Map(mut map) = root_view.value else {
            return None;
        };
        if !self.switches.all_resources {
            drop_unused(&mut map, &active, self.switches.lax);
        }
        self.read_contents(&map);
        map.set("services", Node::new(span, Value::Map(active)));
        let inactive: BTreeSet<String> = inactive.0.into_keys().chain(left_out).collect();
        let inactive = inactive.into_iter().collect();
        let mut tree = Node::new(span, Value::Map(map));
        let silent = prune::prune_file(&mut tree);
        let tree = Arc::new(tree);
        let reads = std::mem::take(&mut self.reads);
        let files_read = self.files.clone();
        let places = Places::new(Written { tree: tree.clone(), silent, files: files_read, reads });
        let directory = self.directory.clone();
        Some(Model { name, directory, files, tree, places, inactive, raw: false })
    }

    /// Names of services and resources.
    pub(crate) fn check_names(&mut self, what: &str, map: &Map) {
        for (name, entry) in &map.0 {
            if !value::is_name(name) {
                let message = match name.as_str() {
                    "" => format!("a {what} has an empty name"),
                    name => format!("`{name}` is not a name for a {what}"),
                };
                self.found.push(
                    Finding::at(Code::BadName, entry.key, "not a name", message)
                        .help("names have letters, digits, `.`, `_` and `-`"),
                );
            }
        }
    }

    /// Services that are on, and those that their profiles switch off.
    fn by_profile(&self, all: Map) -> (Map, Map) {
        let variable = self.variables.get("COMPOSE_PROFILES").map_or("", String::as_str);
        let listed: Vec<String> = variable.split(',').map(|name| name.trim().to_owned()).collect();
        let on = if self.options.profiles.is_empty() { &listed } else { &self.options.profiles };
        let everything = on.iter().any(|name| name == "*");
        let mut on: BTreeSet<String> = on.iter().cloned().collect();
        let is_on = |entry: &Entry, on: &BTreeSet<String>| {
            let profiles = profiles(entry);
            let named = |node: &Node| node.as_text().is_some_and(|name| on.contains(name));
            everything || profiles.is_empty() || profiles.iter().any(named)
        };
        // A service that is named activates its profiles, so also the others that have them.
        let named = self.options.services.iter().filter_map(|name| all.0.get(name));
        let off = named.filter(|entry| !is_on(entry, &on)).flat_map(profiles);
        let more: Vec<String> = off.filter_map(Node::as_text).map(str::to_owned).collect();
        on.extend(more);
        let (active, inactive) = all.0.into_iter().partition(|(_, entry)| is_on(entry, &on));
        (Map(active), Map(inactive))
    }

    /// Active services that are neither named nor needed by those that are.
    fn left_out(&mut self, active: &Map) -> BTreeSet<String> {
        if self.options.services.is_empty() {
            return BTreeSet::new();
        }
        let mut wanted = BTreeSet::new();
        let mut queue = self.options.services.clone();
        while let Some(name) = queue.pop() {
            match active.get(&name) {
                Some(service) => {
                    let needs = service.get("depends_on").and_then(Node::as_map);
                    queue.extend(
                        needs
                            .iter()
                            .flat_map(|map| map.0.keys())
                            .filter(|need| !wanted.contains(*need))
                            .cloned(),
                    );
                    wanted.insert(name);
                }
                None if self.options.services.contains(&name) => {
                    let near = value::nearest(&name, active.0.keys().map(String::as_str));
                    let message = format!("no such service: `{name}`");
                    let help = near.map(|near| format!("did you mean `{near}`?"));
                    self.found.push(Finding::bare(Code::UnknownService, message).maybe_help(help));
                }
                None => {}
            }
        }
        active.0.keys().filter(|name| !wanted.contains(*name)).cloned().collect()
    }

    /// Defaults and what one attribute implies for another.
    fn complete(&mut self, service: &mut Node) {
        let span = service.span;
        let Some(map) = service.as_map_mut() else {
            return;
        };
        if let Some(needs) = map.get_mut("depends_on").and_then(Node::as_map_mut) {
            for entry in needs.0.values_mut() {
                let span = entry.node.span;
                if let Some(map) = entry.node.as_map_mut() {
                    map.set_default("required", Node::new(span, Value::Bool(true)));
                }
            }
        }
        for port in items_mut(map, "ports") {
            let span = port.span;
            if let Some(port) = port.as_map_mut() {
                port.set_default("mode", Node::text(span, "ingress"));
                port.set_default("protocol", Node::text(span, "tcp"));
                if port.get("published").and_then(Node::as_text) == Some("") {
                    port.remove("published");
                }
            }
        }
        complete_secrets(map);
        sort_texts(map, "extra_hosts");
        if let Some(build) = map.get_mut("build") {
            self.complete_build(build);
        }
        complete_parts(map);
        if !self.switches.no_normalize {
            default_network(map, span, self.switches.lax);
        }
    }

    fn complete_build(&self, build: &mut Node) {
        let span = build.span;
        let Some(map) = build.as_map_mut() else {
            return;
        };
        let here = self.directory.to_string_lossy().into_owned();
        map.set_default("context", Node::text(span, here));
        if !map.has("dockerfile_inline") && !self.switches.no_normalize {
            map.set_default("dockerfile", Node::text(span, "Dockerfile"));
        }
        sort_texts(map, "extra_hosts");
    }

    /// `env_file` below `environment`, `label_file` below `labels`, bare names looked up.
    fn environment(&mut self, service: &mut Node) {
        let span = service.span;
        let Some(map) = service.as_map_mut() else {
            return;
        };
        let mut variables: BTreeMap<String, Entry> = BTreeMap::new();
        if let Some(files) = map.remove("env_file") {
            let own = map.get("environment").and_then(Node::as_map);
            for (key, value, at) in self.env_file_values(files.items(), own) {
                variables.insert(key, Entry { key: at, node: Node::text(at, value) });
            }
        }
        if let Some(Node { value: Value::Map(own), span: at, .. }) = map.remove("environment") {
            for (key, mut entry) in own.0 {
                self.fill(&key, &mut entry);
                variables.insert(key, entry);
            }
            map.set("environment", Node::new(at, Value::Map(Map(variables))));
        } else if !variables.is_empty() {
            map.set("environment", Node::new(span, Value::Map(Map(variables))));
        }
        if let Some(arguments) = map.get_mut("build").and_then(Node::as_map_mut)
            && let Some(arguments) = arguments.get_mut("args").and_then(Node::as_map_mut)
        {
            for (key, entry) in &mut arguments.0 {
                self.fill(key, entry);
            }
            arguments.0.retain(|_, entry| !entry.node.is_null());
        }
        self.labels(map, span);
    }

    /// Forgets the variables that only services ask for which are not there.
    fn forget_idle(&mut self, (active, inactive): (&Map, &Map), left_out: &BTreeSet<String>) {
        let (idle, effective): (Vec<_>, Vec<_>) =
            active.0.iter().partition(|(name, _)| left_out.contains(*name));
        let idle = idle.into_iter().chain(&inactive.0);
        let idle: Vec<Span> = idle.map(|(_, service)| service.node.span).collect();
        let mut places = BTreeSet::new();
        if !idle.is_empty() {
            effective.iter().for_each(|(_, service)| leaves(&service.node, &mut places));
        }
        idle.into_iter().for_each(|part| self.reads.forget(part, &places));
    }

    /// Gives a bare name its value.
    pub(crate) fn fill(&mut self, name: &str, entry: &mut Entry) {
        if entry.node.is_null() {
            self.reads.variable(name, entry.key);
            if let Some(value) = self.variables.get(name) {
                entry.node.value = Value::Text(value.clone());
            }
        }
    }

    fn env_file_values(&mut self, files: &[Node], own: Option<&Map>) -> Vec<Said> {
        let mut values = Vec::new();
        // A project has many services and may have many variables, so they are lent, not copied.
        let around = std::mem::take(&mut self.variables);
        let mut scope = Scope::new(&around).of_service(own);
        for file in files {
            let Some(path) = file.get_text("path").map(PathBuf::from) else {
                continue;
            };
            let optional =
                matches!(file.get("required").map(|node| &node.value), Some(Value::Bool(false)));
            if optional && !self.source.exists(&path) {
                continue;
            }
            let format = match file.get_text("format") {
                None | Some("") => Format::Dotenv,
                Some("raw") => Format::Raw,
                Some(other) => {
                    let at = file.get("format").map_or(file.span, |node| node.span);
                    let message = format!("`{other}` is not a format of an environment file");
                    self.found.push(
                        Finding::at(Code::BadValue, at, "not known", message)
                            .help("write `raw`, or take the key away"),
                    );
                    continue;
                }
            };
            let at = file.get("path").map_or(file.span, |node| node.span);
            let pairs = self.env_file(&path, Asker::Service(at), format, &mut scope);
            if !self.takes(pairs.len(), at) {
                break;
            }
            values.extend(pairs);
        }
        self.variables = around;
        values
    }

    fn labels(&mut self, map: &mut Map, span: Span) {
        let Some(files) = map.remove("label_file") else {
            return;
        };
        let mut labels = Map::default();
        // Such a file sees the labels before it and nothing else.
        let mut around = Variables::new();
        for file in files.items() {
            let path = PathBuf::from(file.as_text().unwrap_or_default());
            let scope = &mut Scope::new(&around);
            let pairs = self.env_file(&path, Asker::Labels(file.span), Format::Dotenv, scope);
            for (key, value, at) in pairs {
                labels.set(key.as_str(), Node::text(at, value.as_str()));
                around.insert(key, value);
            }
        }
        if let Some(Node { value: Value::Map(own), .. }) = map.remove("labels") {
            labels.0.extend(own.0);
        }
        map.set("labels", Node::new(span, Value::Map(labels)));
    }
}

fn items_mut<'m>(map: &'m mut Map, name: &str) -> impl Iterator<Item = &'m mut Node> {
    let items = match map.get_mut(name).map(|node| &mut node.value) {
        Some(Value::List(items)) => items.as_mut_slice(),
        _ => &mut [],
    };
    items.iter_mut()
}

/// Dependencies that follow from other attributes.
fn imply(service: &mut Node) {
    let implied: Vec<(String, bool, Span)> = order::implied(service)
        .into_iter()
        .map(|need| (need.name.to_owned(), need.way != order::Way::Volumes, need.span))
        .collect();
    let Some(map) = service.as_map_mut() else {
        return;
    };
    for (name, restart, span) in implied {
        let mut entry = Map::default();
        entry.set("condition", Node::text(span, "service_started"));
        entry.set("required", Node::new(span, Value::Bool(true)));
        if restart {
            entry.set("restart", Node::new(span, Value::Bool(true)));
        }
        map.set_default("depends_on", Node::new(span, Value::Map(Map::default())));
        if let Some(needs) = map.get_mut("depends_on").and_then(Node::as_map_mut) {
            needs.set_default(&name, Node::new(span, Value::Map(entry)));
        }
    }
}

/// Equal ports count once; when the model is only shown, the last mount of a target counts.
fn unique_entries(service: &mut Node, lax: bool) {
    let mut keep_last = |name: &str, key: fn(&Node) -> Option<String>| {
        if let Some(node) = service.as_map_mut().and_then(|map| map.get_mut(name)) {
            let taken = std::mem::replace(node, Node::new(node.span, Value::Null));
            *node = merge::unique(taken, key);
        }
    };
    keep_last("ports", short::port_key);
    if lax {
        keep_last("volumes", short::by_target);
        keep_last("configs", |node| short::file_key(node, ""));
        keep_last("secrets", |node| short::file_key(node, "/run/secrets"));
        keep_last("devices", short::by_target);
    }
}

/// Parts that are always there once the part around them is.
fn complete_parts(map: &mut Map) {
    let image = map.get("image").cloned();
    let empty = |span| Node::new(span, Value::Map(Map::default()));
    if let Some(deploy) = map.get_mut("deploy") {
        let span = deploy.span;
        if let Some(deploy) = deploy.as_map_mut() {
            deploy.set_default("placement", empty(span));
            deploy.set_default("resources", empty(span));
        }
    }
    if let Some(develop) = map.get_mut("develop").and_then(Node::as_map_mut) {
        for watch in items_mut(develop, "watch") {
            let span = watch.span;
            if let Some(watch) = watch.as_map_mut() {
                watch.set_default("exec", empty(span));
            }
        }
    }
    for hook in items_mut(map, "pre_start") {
        if let (Some(image), Some(hook)) = (&image, hook.as_map_mut()) {
            hook.set_default("image", image.clone());
        }
    }
    if let Some(policy) = map.get_mut("pull_policy")
        && policy.as_text() == Some("if_not_present")
    {
        policy.value = Value::Text("missing".into());
    }
    let options = map.get_mut("logging").and_then(Node::as_map_mut);
    let options = options.and_then(|logging| logging.get_mut("options")).and_then(Node::as_map_mut);
    for entry in options.into_iter().flat_map(|options| options.0.values_mut()) {
        if entry.node.is_null() {
            entry.node.value = Value::Text(String::new());
        }
    }
}

fn complete_secrets(map: &mut Map) {
    for secret in items_mut(map, "secrets") {
        let span = secret.span;
        let target = secret.get_text("source").map(|source| format!("/run/secrets/{source}"));
        if let (Some(target), Some(secret)) = (target, secret.as_map_mut()) {
            secret.set_default("target", Node::text(span, target));
        }
    }
}

fn sort_texts(map: &mut Map, name: &str) {
    if let Some(Value::List(items)) = map.get_mut(name).map(|node| &mut node.value) {
        items.sort_by(|a, b| a.as_text().cmp(&b.as_text()));
        items.dedup_by(|a, b| a.as_text() == b.as_text());
    }
}

fn profiles(entry: &Entry) -> &[Node] {
    entry.node.get("profiles").map(Node::items).unwrap_or_default()
}

/// Whether a service is on the default network, written or not.
fn on_default_network(service: &Node, lax: bool) -> bool {
    if !lax && is_bridged(service) {
        return true;
    }
    match service.get("networks").and_then(Node::as_map).filter(|map| !map.0.is_empty()) {
        Some(networks) => networks.has("default"),
        None => {
            let mode = service.get("network_mode").and_then(Node::as_text);
            let apart = mode.is_some_and(|mode| lax || !mode.is_empty());
            !apart && service.get("provider").is_none()
        }
    }
}

/// The Compose tools show no network beside an empty mode, and connect the service all the same.
fn default_network(map: &mut Map, span: Span, lax: bool) {
    let mode = map.get("network_mode").and_then(Node::as_text);
    if mode.is_some_and(|mode| lax || !mode.is_empty()) || map.has("provider") {
        return;
    }
    let none = map
        .get("networks")
        .is_none_or(|node| node.is_null() || node.as_map().is_some_and(|map| map.0.is_empty()));
    if none {
        let mut networks = Map::default();
        networks.set("default", Node::new(span, Value::Null));
        map.set("networks", Node::new(span, Value::Map(networks)));
    }
}

/// Optional dependencies that are not there have nothing left to say.
fn drop_optional(active: &mut Map) {
    let names: BTreeSet<String> = active.0.keys().cloned().collect();
    for entry in active.0.values_mut() {
        let Some(service) = entry.node.as_map_mut() else {
            continue;
        };
        if let Some(needs) = service.get_mut("depends_on").and_then(Node::as_map_mut) {
            needs.0.retain(|name, _| names.contains(name));
        }
    }
}
