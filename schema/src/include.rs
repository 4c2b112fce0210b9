//! Parts of a project in other files, each with its own directory and environment.

use std::path::{Path, PathBuf};

use crate::attributes::FILE;
use crate::budget::DEEPEST_PARTS;
use crate::environment::{Asker, add_below};
use crate::problem::{Code, Finding};
use crate::project::Project;
use crate::resources::RESOURCES;
use crate::shape::Shape;
use crate::tree::{Node, Value};
use crate::{merge, value};

impl Project<'_> {
    /// Loads the parts a document includes and puts it over them.
    pub(crate) fn include(&mut self, whole: &mut Node, base: &Path) {
        let Some(list) = whole.as_map_mut().and_then(|map| map.remove("include")) else {
            return;
        };
        let mut parts: Option<Node> = None;
        for entry in list.items() {
            let Some(part) = self.part(entry, base) else {
                continue;
            };
            parts = Some(match parts {
                None => part,
                // Between two parts the first one wins.
                Some(earlier) => {
                    merge::merge(&Shape::Record(&FILE), part, earlier, &mut self.found)
                }
            });
        }
        if let Some(parts) = parts {
            let own = std::mem::replace(whole, Node::new(list.span, Value::Null));
            *whole = merge::merge_below(&Shape::Record(&FILE), parts, own, &mut self.found);
        }
    }

    fn part(&mut self, entry: &Node, base: &Path) -> Option<Node> {
        let paths: Vec<PathBuf> = texts(entry, "path").map(|path| joined(base, path)).collect();
        let Some(first) = paths.first() else {
            if !self.switches.lax || entry.get("path").is_none() {
                let message = "an included part needs a `path`".to_owned();
                let finding = Finding::at(Code::Missing, entry.span, "no `path`", message);
                self.found.push(finding.help("add `path:` with a Compose file, or take it away"));
            }
            return None;
        };
        if !self.may_be_included(entry, base) || !self.is_within_limits(entry) {
            return None;
        }
        let directory = match entry.get_text("project_directory") {
            Some(directory) => joined(base, directory),
            None => first.parent().unwrap_or(base).to_path_buf(),
        };
        let outer = self.variables.clone();
        self.read_part_environment(entry, base, &directory);
        self.including.push(self.file_of(entry).unwrap_or_default());
        let documents = self.parse_part(&paths, entry.span);
        let part = self.merged(documents, &directory);
        self.including.pop();
        let part = part.map(|part| self.filled_part(part, &directory));
        self.variables = outer;
        let mut part = part?;
        if let Some(map) = part.as_map_mut() {
            self.bind_devices(map, &directory);
            // Its name and what it has for itself stay behind.
            map.0.retain(|name, _| name == "services" || RESOURCES.contains(&name.as_str()));
        }
        Some(part)
    }

    /// Settles what depends on where a part stands: bare names in `environment` take the values of
    /// the part's own variables, a build without a context starts from the part's directory.
    fn filled_part(&mut self, mut part: Node, directory: &Path) -> Node {
        let services = part.as_map_mut().and_then(|map| map.get_mut("services"));
        let services =
            services.and_then(Node::as_map_mut).into_iter().flat_map(|map| map.0.values_mut());
        for service in services {
            let Some(service) = service.node.as_map_mut() else {
                continue;
            };
            if let Some(build) = service.get_mut("build") {
                let here = Node::text(build.span, directory.to_string_lossy());
                if let Some(build) = build.as_map_mut() {
                    build.set_default("context", here);
                }
            }
            let environment = service.get_mut("environment");
            let entries = environment.and_then(Node::as_map_mut);
            for (name, entry) in entries.into_iter().flat_map(|map| map.0.iter_mut()) {
                self.fill(name, entry);
            }
        }
        part
    }

    /// Whether there may be one part more; the first time there may not is a problem.
    fn is_within_limits(&mut self, entry: &Node) -> bool {
        let used = match self.including.len() >= DEEPEST_PARTS {
            true => Err(format!("parts include parts more than {DEEPEST_PARTS} deep")),
            false => self.budget.part(),
        };
        let Err(message) = used else { return true };
        if self.budget.is_first() {
            let finding = Finding::at(Code::TooLarge, entry.span, "one too many", message);
            self.found.push(finding.help("include each part once, at the top"));
        }
        false
    }

    /// Adds what the part's own environment files say below what is known.
    fn read_part_environment(&mut self, entry: &Node, base: &Path, directory: &Path) {
        let files: Vec<PathBuf> = texts(entry, "env_file").map(PathBuf::from).collect();
        match files.as_slice() {
            [] => self.add_dotenv(directory),
            [only] if only.as_os_str() == "/dev/null" => {}
            files => {
                let asker = Asker::Part(entry.get("env_file").map_or(entry.span, |node| node.span));
                let files: Vec<_> = files.iter().map(|file| (file.clone(), asker)).collect();
                let pairs = self.env_file_pairs(&files, base);
                add_below(&mut self.variables, pairs);
            }
        }
    }

    /// Whether every path of an entry is a file of this host that does not include the entry.
    fn may_be_included(&mut self, entry: &Node, base: &Path) -> bool {
        let before = self.found.len();
        for node in entry.get("path").map(Node::items).unwrap_or_default() {
            let Some(path) = node.as_text() else {
                continue;
            };
            if is_remote(Path::new(path)) {
                let message = "files from elsewhere are not included".to_owned();
                let finding = Finding::at(Code::NotYet, node.span, "remote", message);
                self.found.push(finding.help("fetch the files and include them by path"));
            } else if let Some(circle) = self.circle(&joined(base, path), node) {
                let message = format!("files include each other in a circle: {circle}");
                let finding = Finding::at(Code::Cycle, node.span, "closes the circle", message);
                self.found.push(finding.help("take it out of the list"));
            }
        }
        self.found.len() == before
    }

    /// The way from a file to itself, when it is one of those whose parts are being included.
    fn circle(&self, path: &Path, entry: &Node) -> Option<String> {
        let here = self.including.iter().cloned().chain(self.file_of(entry));
        let mut circle: Vec<PathBuf> = here.skip_while(|file| file != self.shown(path)).collect();
        circle.push(circle.first()?.clone());
        let names: Vec<_> = circle.iter().map(|file| file.display().to_string()).collect();
        Some(names.join(" → "))
    }

    /// The file an entry stands in.
    fn file_of(&self, entry: &Node) -> Option<PathBuf> {
        self.files.get(entry.span.file).map(|file| file.name.clone())
    }
}

/// The texts of a list below an entry.
fn texts<'n>(entry: &'n Node, name: &str) -> impl Iterator<Item = &'n str> {
    entry.get(name).map(Node::items).unwrap_or_default().iter().filter_map(Node::as_text)
}

fn joined(base: &Path, path: &str) -> PathBuf {
    PathBuf::from(value::clean_path(&base.join(path).to_string_lossy()))
}

/// Whether a path, as it is written, means something that has to be fetched.
pub(crate) fn is_remote(path: &Path) -> bool {
    let starts = ["http://", "https://", "git://", "ssh://", "oci://", "git@", "github.com/"];
    path.to_str().is_some_and(|path| starts.iter().any(|start| path.starts_with(start)))
}
