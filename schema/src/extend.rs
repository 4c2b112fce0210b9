//! `extends`: a service starts from another one, of this file or of another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::attributes::SERVICE;
use crate::include::is_remote;
use crate::merge;
use crate::problem::{Code, Finding};
use crate::project::{Project, is_reset};
use crate::shape::Shape;
use crate::text::Span;
use crate::tree::{Entry, Map, Node, Value};
use crate::value;

/// Longest chain of services that start from each other.
const LONGEST: usize = 500;

/// Replaces every service of the document that extends by the whole service.
pub(crate) fn resolve(project: &mut Project<'_>, document: &mut Node, base: &Path) {
    let Some(services) = document.as_map_mut().and_then(|map| map.get_mut("services")) else {
        return;
    };
    let Some(map) = services.as_map_mut() else {
        return;
    };
    if !map.iter().any(|(_, service)| service.get("extends").is_some()) {
        return;
    }
    let services = Services::new(std::mem::take(&mut map.0));
    let names: Vec<String> = services.written.keys().cloned().collect();
    let mut scope = Scope { project, files: BTreeMap::new(), chain: Vec::new() };
    let main = FileScope { key: PathBuf::new(), base: base.to_path_buf() };
    scope.files.insert(PathBuf::new(), services);
    for name in names {
        scope.complete(&main, &name, Span::default());
    }
    if let Some(done) = scope.files.remove(&PathBuf::new()) {
        map.0 = done.whole;
    }
    let doubts = scope.files.into_values().flat_map(|services| services.doubts.into_values());
    project.found.extend(doubts.flatten().map(Finding::warning));
}

struct Services {
    /// Every service of the file, and what it says until it is made whole.
    written: BTreeMap<String, Option<Entry>>,
    whole: BTreeMap<String, Entry>,
    /// What is wrong with services that may not be needed.
    doubts: BTreeMap<String, Vec<Finding>>,
}

impl Services {
    fn new(written: BTreeMap<String, Entry>) -> Services {
        let written = written.into_iter().map(|(name, entry)| (name, Some(entry)));
        Services { written: written.collect(), whole: BTreeMap::new(), doubts: BTreeMap::new() }
    }
}

/// The services of a file.
static SERVICES: Shape = Shape::Map(&Shape::Nullable(&Shape::Record(&SERVICE)));

#[derive(Clone)]
struct FileScope {
    /// Path of the file; empty for the one at hand.
    key: PathBuf,
    /// Directory its `extends.file` count from.
    base: PathBuf,
}

struct Scope<'p, 'a> {
    project: &'p mut Project<'a>,
    files: BTreeMap<PathBuf, Services>,
    chain: Vec<(PathBuf, String, Span)>,
}

impl Scope<'_, '_> {
    /// Puts the service over everything it extends.
    fn complete(&mut self, file: &FileScope, name: &str, from: Span) -> Option<()> {
        let before = self.chain.iter().find(|(key, other, _)| other == name && *key == file.key);
        if let Some((_, _, at)) = before {
            self.cycle(name, *at);
            return None;
        }
        let services = self.files.get_mut(&file.key)?;
        if services.whole.contains_key(name) {
            return Some(());
        }
        let at = services.written.get(name)?.as_ref().and_then(|own| own.node.get("extends"));
        let at = at.map_or(from, |node| node.span);
        if self.chain.len() >= LONGEST {
            let message = format!("`{name}` ends a chain of more than {LONGEST} services");
            let finding = Finding::at(Code::TooLarge, at, "passes the limit here", message);
            self.project.found.push(finding.help("extend fewer services after each other"));
            return None;
        }
        self.project.found.extend(services.doubts.remove(name).into_iter().flatten());
        let mut entry = services.written.get_mut(name)?.take()?;
        self.chain.push((file.key.clone(), name.to_owned(), at));
        let extends = entry.node.as_map_mut().and_then(|map| map.remove("extends"));
        if let Some(extends) = extends.filter(|node| !is_reset(node)) {
            entry.node = self.extended(file, entry.node, extends);
        }
        self.chain.pop();
        self.files.get_mut(&file.key)?.whole.insert(name.to_owned(), entry);
        Some(())
    }

    /// A service over the one it extends. When that is not there or says nothing, `extends` stays.
    fn extended(&mut self, file: &FileScope, mut own: Node, mut extends: Node) -> Node {
        let base = self.base(file, &extends).filter(|base| !base.is_null());
        let Some(mut base) = base else {
            let path = extends.as_map_mut().and_then(|map| map.get_mut("file"));
            if let Some(path) = path
                && let Some(text) = path.as_text()
            {
                path.value = Value::Text(self.project.absolute(&file.base, text));
            }
            if let Some(map) = own.as_map_mut() {
                map.set("extends", extends);
            }
            return own;
        };
        if base.get("extends").is_some() && !self.project.found.iter().any(Finding::is_error) {
            base.as_map_mut().and_then(|map| map.remove("extends"));
        }
        let tag = own.tag;
        let shape = Shape::Record(&SERVICE);
        let merged = merge::merge_below(&shape, base, own, &mut self.project.found);
        Node { tag, ..merged }
    }

    /// The service that is extended.
    fn base(&mut self, file: &FileScope, extends: &Node) -> Option<Node> {
        // Without it, the table says what is missing.
        let name = extends.get_text("service")?;
        let at = extends.get("service").map_or(extends.span, |node| node.span);
        let scope = match extends.get_text("file") {
            None => file.clone(),
            Some(path) => self.open(&file.base, path, extends)?,
        };
        let known = self.files.get(&scope.key);
        if !known.is_some_and(|services| services.written.contains_key(name)) {
            let known = known.into_iter().flat_map(|services| services.written.keys());
            let near = value::nearest(name, known.map(String::as_str));
            let place =
                extends.get_text("file").map_or("this file".into(), |file| format!("`{file}`"));
            let message = format!("there is no service `{name}` in {place} to extend");
            self.project.found.push(
                Finding::at(Code::UnknownService, at, "no service of this name", message)
                    .maybe_help(near.map(|near| format!("did you mean `{near}`?"))),
            );
            return None;
        }
        self.complete(&scope, name, at)?;
        let base = &self.files.get(&scope.key)?.whole.get(name)?.node;
        if !self.project.takes(base.weight(), extends.span) {
            return None;
        }
        let mut base = base.clone();
        merge::strip(&mut base);
        Some(base)
    }

    /// Reads the file that holds the extended service.
    fn open(&mut self, base: &Path, path: &str, extends: &Node) -> Option<FileScope> {
        let at = extends.get("file").map_or(extends.span, |node| node.span);
        if is_remote(Path::new(path)) {
            let message = "services of files from elsewhere are not extended".to_owned();
            let help = "fetch the file and name it by path";
            self.project.found.push(Finding::at(Code::NotYet, at, "remote", message).help(help));
            return None;
        }
        let full = PathBuf::from(value::clean_path(&base.join(path).to_string_lossy()));
        let directory = full.parent().unwrap_or(base).to_path_buf();
        let scope = FileScope { key: full.clone(), base: directory };
        if self.files.contains_key(&full) {
            return Some(scope);
        }
        let documents = self.project.parse_part(std::slice::from_ref(&full), at);
        if documents.is_empty() {
            return None;
        }
        let mut doubts = BTreeMap::new();
        let mut whole = Node::new(at, Value::Map(Map::default()));
        for mut document in documents {
            let services = self.services(&mut document, &scope.base, &mut doubts);
            whole = merge::merge_below(&SERVICES, whole, services, &mut self.project.found);
        }
        let services = match whole.value {
            Value::Map(map) => map.0,
            _ => BTreeMap::new(),
        };
        self.files.insert(full, Services { doubts, ..Services::new(services) });
        Some(scope)
    }

    /// The services of a document of which only some are needed. What is wrong with one is kept
    /// for when it is needed; what is wrong beside them does not matter here.
    fn services(
        &mut self,
        document: &mut Node,
        base: &Path,
        doubts: &mut BTreeMap<String, Vec<Finding>>,
    ) -> Node {
        let project = &mut *self.project;
        let raw = project.interpolated(document);
        let before = std::mem::take(&mut project.found);
        let services = match document.as_map_mut().and_then(|map| map.get_mut("services")) {
            Some(node) => match &mut node.value {
                Value::Map(map) => std::mem::take(map),
                _ => Map::default(),
            },
            None => Map::default(),
        };
        project.hold(document, base);
        let beside = std::mem::replace(&mut project.found, before);
        project.found.extend(beside.into_iter().map(Finding::warning));
        let mut held = Map::default();
        for (name, entry) in services.0 {
            let span = entry.node.span;
            let alone = Node::new(span, Value::Map(Map([(name.clone(), entry)].into())));
            let mut part = Map::default();
            part.set("services", alone);
            let mut part = Node::new(span, Value::Map(part));
            let before = std::mem::take(&mut project.found);
            project.hold(&mut part, base);
            let doubt = std::mem::replace(&mut project.found, before);
            if !doubt.is_empty() {
                doubts.entry(name).or_default().extend(doubt);
            }
            let part = part.as_map_mut().and_then(|map| map.remove("services"));
            if let Some(Node { value: Value::Map(map), .. }) = part {
                held.0.extend(map.0);
            }
        }
        let services = Node::new(document.span, Value::Map(held));
        if raw.is_some()
            && let Some(map) = document.as_map_mut()
        {
            map.set("services", services.clone());
        }
        project.remember(raw, document, base);
        services
    }

    fn cycle(&mut self, name: &str, at: Span) {
        let start = self.chain.iter().position(|(_, other, _)| other == name).unwrap_or(0);
        let mut path: Vec<&str> =
            self.chain[start..].iter().map(|(_, name, _)| name.as_str()).collect();
        path.push(name);
        let message = format!("services extend each other in a circle: {}", path.join(" → "));
        self.project.found.push(
            Finding::at(Code::Cycle, at, "closes the circle", message)
                .help("move what they share into a service that extends nothing"),
        );
    }
}
