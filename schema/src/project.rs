//! From the options to one merged tree: which files, which environment, which name.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::attributes::FILE;
use crate::budget::{Budget, LARGEST, LARGEST_FILE};
use crate::config::Switches;
use crate::explain::{self, Record};
use crate::include::is_remote;
use crate::interpolate::{self, Variables};
use crate::merge;
use crate::problem::{self, Code, Finding, Problems};
use crate::reads::Reads;
use crate::shape::Shape;
use crate::text::{self, Files, Span, Undecoded};
use crate::trail::Trail;
use crate::tree::{Node, Tag};
use crate::walk::{self, Walk};
use crate::{LoadOptions, Loaded, Places, Source, Stack, extend, leftover, value, yaml};

const DEFAULTS: [&str; 4] =
    ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];
const OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// One load: what came in, and what was found on the way.
pub(crate) struct Project<'a> {
    pub options: &'a LoadOptions,
    pub source: &'a dyn Source,
    pub files: Files,
    pub found: Vec<Finding>,
    pub variables: Variables,
    /// Directory that relative paths count from.
    pub directory: PathBuf,
    /// Files whose parts are being included, innermost last.
    pub including: Vec<PathBuf>,
    /// Texts without a document; no fault as long as others have one.
    empty: Vec<Span>,
    /// How the model is shown.
    pub switches: Switches,
    home: Option<String>,
    /// Everything that was read, when it is asked for.
    pub record: Option<Record>,
    pub budget: Budget,
    /// What the files read besides themselves.
    pub reads: Reads,
}

/// Everything merged and completed, still as a tree.
pub(crate) struct Model {
    pub name: String,
    pub directory: PathBuf,
    pub files: Vec<PathBuf>,
    pub tree: Arc<Node>,
    /// Where each value was written, also those that say nothing and are not in the tree.
    pub places: Places,
    pub inactive: Vec<String>,
    /// Variables are still in the texts.
    pub raw: bool,
}

impl<'a> Project<'a> {
    pub fn new(options: &'a LoadOptions, source: &'a dyn Source) -> Self {
        Project {
            options,
            source,
            files: Files::default(),
            found: Vec::new(),
            variables: options.environment.clone(),
            directory: options.working_dir.clone(),
            including: Vec::new(),
            empty: Vec::new(),
            switches: Switches::default(),
            home: options.environment.get("HOME").cloned(),
            record: None,
            budget: Budget::default(),
            reads: Reads::default(),
        }
    }

    /// The stack with its warnings, or all errors.
    pub fn conclude(mut self, stack: Option<Stack>) -> Result<Loaded, Problems> {
        let stack = stack.or_else(|| self.without_reason());
        let warnings = problem::conclude(self.found, &self.files)?;
        Ok(Loaded { stack: stack.unwrap_or_default(), warnings })
    }

    /// There is no stack: if nothing says why, the files are to blame.
    pub fn without_reason(&mut self) -> Option<Stack> {
        if !self.found.iter().any(Finding::is_error) {
            let message = "there is nothing in the Compose files".to_owned();
            self.found.push(Finding::bare(Code::WrongType, message).help("add `services:`"));
        }
        None
    }

    /// Everything up to the completed tree. `None` when it could not be made; then the reason is
    /// among the findings.
    pub fn model(&mut self) -> Option<Model> {
        let files = self.locate()?;
        let documents = self.parse_all(&files);
        let name = self.name(&documents)?;
        self.variables.insert("COMPOSE_PROJECT_NAME".into(), name.clone());
        let tree = self.merged(documents, &self.directory.clone())?;
        leftover::leftover(&FILE, &tree, &mut Trail::default(), &mut self.found);
        let files = files.iter().map(|file| self.options.working_dir.join(file)).collect();
        self.finish(name, files, tree)
    }

    /// Reads a text and gives its number.
    pub fn read_text(&mut self, path: &Path, named_at: Option<Span>, what: &str) -> Option<u32> {
        let shown = self.shown(path);
        let at = |code, message: String| match named_at {
            Some(span) => Finding::at(code, span, "named here", message),
            None => Finding::bare(code, message),
        };
        let bytes = match self.source.read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let (why, help) = unreadable(&error);
                let message = format!("{what} `{}` {why}", shown.display());
                self.found.push(at(Code::Unreadable, message).maybe_help(help.map(str::to_owned)));
                return None;
            }
        };
        if bytes.len() > LARGEST_FILE {
            let message = format!("{what} `{}` is larger than {LARGEST} MiB", shown.display());
            let help = "a file this large is hardly the one that was meant; else split it";
            self.found.push(at(Code::TooLarge, message).help(help));
            return None;
        }
        if let Err(message) = self.budget.text(bytes.len()) {
            let help = "take files out that are read again and again";
            self.found
                .extend(self.budget.is_first().then(|| at(Code::TooLarge, message).help(help)));
            return None;
        }
        match text::decode(&bytes) {
            Ok(text) => {
                let file = self.files.add(shown.to_owned(), text);
                self.reads.file(path, named_at.unwrap_or(Span { file, start: 0, end: 1 }));
                Some(file)
            }
            Err(Undecoded { text, at, why }) => {
                let message = format!("{what} `{}` {why}", shown.display());
                let file = self.files.add(shown.to_owned(), text);
                let length = '\u{fffd}'.len_utf8() as u32;
                let span = Span { file, start: at as u32, end: at as u32 + length };
                let finding = Finding::at(Code::Syntax, span, "from here on", message);
                self.found.push(finding.help("save the file as UTF-8 text"));
                None
            }
        }
    }

    /// Whether the project may hold so many more values; the first time it may not is a problem.
    pub fn takes(&mut self, values: usize, at: Span) -> bool {
        let Err(message) = self.budget.values(values) else {
            return true;
        };
        if self.budget.is_first() {
            let finding = Finding::at(Code::TooLarge, at, "passes the limit here", message);
            self.found.push(finding.help("repeat less, or split the project"));
        }
        false
    }

    /// A path as people see it: relative when it is below the current directory.
    pub(crate) fn shown<'p>(&self, path: &'p Path) -> &'p Path {
        match path.strip_prefix(&self.options.working_dir) {
            Ok(below) if below.as_os_str().is_empty() => Path::new("."),
            Ok(below) => below,
            Err(_) => path,
        }
    }

    /// The files to read, and on the way the project's directory and environment.
    pub fn locate(&mut self) -> Option<Vec<PathBuf>> {
        let working_dir = self.options.working_dir.clone();
        let given = self.options.project_directory.as_ref().map(|path| working_dir.join(path));
        let mut read_from = None;
        if self.options.files.is_empty() {
            let directory = given.clone().unwrap_or_else(|| working_dir.clone());
            self.read_environment(&directory);
            read_from = Some(directory);
        }
        let files = match self.options.files.as_slice() {
            [] => self
                .named_files()
                .or_else(|| self.discover(given.as_ref().unwrap_or(&working_dir)))?,
            files => files.to_vec(),
        };
        let first = files.first().filter(|file| file.as_os_str() != "-");
        let beside = first.and_then(|file| {
            let path = working_dir.join(file);
            path.parent().map(Path::to_path_buf)
        });
        let directory = given.or(beside).unwrap_or(working_dir);
        self.directory = PathBuf::from(value::clean_path(&directory.to_string_lossy()));
        if read_from.as_ref() != Some(&self.directory) {
            self.read_environment(&self.directory.clone());
        }
        Some(files)
    }

    /// `COMPOSE_FILE`.
    fn named_files(&self) -> Option<Vec<PathBuf>> {
        let list = self.variables.get("COMPOSE_FILE").filter(|list| !list.is_empty())?;
        let separator = self.variables.get("COMPOSE_PATH_SEPARATOR");
        let separator = separator.filter(|text| !text.is_empty()).map_or(":", String::as_str);
        Some(list.split(separator).filter(|path| !path.is_empty()).map(PathBuf::from).collect())
    }

    /// The default file of the directory or of one above, with its override file.
    fn discover(&mut self, directory: &Path) -> Option<Vec<PathBuf>> {
        for directory in directory.ancestors() {
            let here: Vec<PathBuf> = DEFAULTS
                .iter()
                .map(|name| directory.join(name))
                .filter(|path| self.source.exists(path))
                .collect();
            let Some(first) = here.first() else {
                continue;
            };
            if let Some(second) = here.get(1) {
                let message = format!(
                    "`{}` is used, and `{}` beside it is not",
                    self.shown(first).display(),
                    self.shown(second).display()
                );
                let help = "name the files with `-f` if you want both";
                self.found.push(Finding::bare(Code::Conflict, message).help(help).warning());
            }
            let mut files = vec![first.clone()];
            let over = OVERRIDES.iter().map(|name| directory.join(name));
            files.extend(over.into_iter().find(|path| self.source.exists(path)));
            return Some(files);
        }
        let message = format!("no Compose file in `{}` or above", directory.display());
        let help = format!("create one of {}, or name a file with `-f`", DEFAULTS.join(", "));
        self.found.push(Finding::bare(Code::NoFile, message).help(help));
        None
    }

    /// All documents of all files in the order they are merged.
    pub fn parse_all(&mut self, files: &[PathBuf]) -> Vec<Node> {
        let mut documents = Vec::new();
        for file in files {
            if is_remote(file) {
                let message = format!("`{}` is no file of this host", file.display());
                let help = "fetch it, and name the file by its path";
                self.found.push(Finding::bare(Code::NotYet, message).help(help));
                continue;
            }
            let path = match file.as_os_str().to_str() {
                Some("-") => file.clone(),
                _ => self.options.working_dir.join(file),
            };
            let text = self.read_text(&path, None, "the Compose file");
            documents.extend(text.map(|text| self.parse(text)).unwrap_or_default());
        }
        if documents.is_empty() {
            for span in std::mem::take(&mut self.empty) {
                self.not_a_map(span, "the Compose file is empty");
            }
        }
        documents
    }

    /// The documents of one text, each a map.
    pub fn parse(&mut self, text: u32) -> Vec<Node> {
        let before = self.found.len();
        let mut documents = yaml::parse(&self.files, text, &mut self.found);
        if !self
            .takes(documents.iter().map(Node::weight).sum(), Span { file: text, start: 0, end: 1 })
        {
            documents.clear();
        }
        if documents.is_empty() && self.found.len() == before {
            self.empty.push(Span { file: text, start: 0, end: 1 });
        }
        let (maps, others): (Vec<_>, Vec<_>) =
            documents.into_iter().partition(|document| document.as_map().is_some());
        for other in others {
            let message = format!("a Compose file is a map, and this is {}", other.value.kind());
            self.not_a_map(other.span, &message);
        }
        maps
    }

    fn not_a_map(&mut self, span: Span, message: &str) {
        self.found.push(
            Finding::at(Code::WrongType, span, "here", message.to_owned())
                .help("start with `services:` and the services below it"),
        );
    }

    /// The project's name: `-p`, then the variable, then the last file's, then the directory's.
    pub fn name(&mut self, documents: &[Node]) -> Option<String> {
        let asked = self.options.project_name.clone().filter(|name| !name.is_empty());
        let asked = asked.or_else(|| {
            self.variables.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty()).cloned()
        });
        if let Some(name) = asked {
            return self.checked_name(name);
        }
        let written = documents.iter().rev().find_map(|document| document.get("name"));
        if let Some(node) = written {
            let text = node.as_text().unwrap_or_default();
            let filled = interpolate::text_with(text, &self.variables, &mut Vec::new());
            let failed = filled.is_err();
            let name = usable_name(&filled.unwrap_or_default());
            if !name.is_empty() {
                return Some(name);
            }
            if !text.is_empty() && !failed {
                let message = format!("`{text}` makes no project name");
                let help = "a project name has lower case letters, digits, `-` and `_`";
                let finding = Finding::at(Code::ProjectName, node.span, "nothing is left", message);
                self.found.push(finding.help(help));
            }
        }
        let folder = self.directory.file_name().map(|name| name.to_string_lossy());
        let name = usable_name(&folder.unwrap_or_default());
        if name.is_empty() {
            let message =
                format!("no project name can be made from `{}`", self.directory.display());
            let help = "give one with `-p`, or write `name:` at the top of the file";
            self.found.push(Finding::bare(Code::ProjectName, message).help(help));
            return None;
        }
        Some(name)
    }

    fn checked_name(&mut self, name: String) -> Option<String> {
        let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
        if name.bytes().all(ok) && !name.is_empty() && !name.starts_with(['_', '-']) {
            return Some(name);
        }
        let message = format!("`{name}` is not a project name");
        self.found.push(Finding::bare(Code::ProjectName, message).help(
            "a project name has lower case letters, digits, `-` and `_`, and starts with a letter or digit",
        ));
        None
    }

    /// Documents interpolated, brought to the long form, extended and merged.
    pub fn merged(&mut self, documents: Vec<Node>, base: &Path) -> Option<Node> {
        let mut whole: Option<Node> = None;
        for mut document in documents {
            self.conform(&mut document, base);
            extend::resolve(self, &mut document, base);
            self.include(&mut document, base);
            whole = Some(match whole {
                None => {
                    merge::strip(&mut document);
                    document
                }
                Some(earlier) => {
                    merge::merge(&Shape::Record(&FILE), earlier, document, &mut self.found)
                }
            });
        }
        whole
    }

    /// Interpolates a document and holds it against the table.
    pub fn conform(&mut self, document: &mut Node, base: &Path) {
        let raw = self.interpolated(document);
        self.hold(document, base);
        self.remember(raw, document, base);
    }

    /// Fills in variables; gives the document as it was when somebody wants to know.
    pub fn interpolated(&mut self, document: &mut Node) -> Option<Node> {
        let raw = self.record.is_some().then(|| document.clone());
        if !self.switches.no_interpolate {
            let told = (&mut self.found, &mut self.reads);
            interpolate::tree(document, &self.variables, &self.files, told);
        }
        raw
    }

    /// Holds a document against the table.
    pub fn hold(&mut self, document: &mut Node, base: &Path) {
        if let Some(version) = document.get("version") {
            let message = "`version` has no meaning any more".to_owned();
            self.found.push(
                Finding::at(Code::Obsolete, version.span, "obsolete", message).help("take it away"),
            );
        }
        let mut walk = Walk::new(base, self.home.as_deref(), &mut self.found);
        walk.raw = self.switches.no_interpolate;
        walk.keep_paths = self.switches.no_path_resolution;
        walk.lax = self.switches.lax;
        walk.conform(&Shape::Record(&FILE), document);
    }

    /// Keeps a document for telling where values come from.
    pub fn remember(&mut self, raw: Option<Node>, document: &Node, base: &Path) {
        if let (Some(raw), Some(record)) = (raw, &mut self.record) {
            record.documents.push(explain::Document {
                raw,
                tree: document.clone(),
                base: base.to_path_buf(),
                depth: self.including.len(),
                variables: self.variables.clone(),
            });
        }
    }

    /// A path made absolute against a directory.
    pub fn absolute(&self, base: &Path, path: &str) -> String {
        walk::absolute(base, self.home.as_deref(), self.switches.no_path_resolution, path)
    }

    /// The documents of files that another file names.
    pub fn parse_part(&mut self, paths: &[PathBuf], named_at: Span) -> Vec<Node> {
        let mut documents = Vec::new();
        for path in paths {
            let text = self.read_text(path, Some(named_at), "the file");
            documents.extend(text.map(|text| self.parse(text)).unwrap_or_default());
        }
        documents
    }
}

/// Why a file cannot be read, after its name, and the next move.
fn unreadable(error: &io::Error) -> (String, Option<&'static str>) {
    match error.kind() {
        io::ErrorKind::NotFound => {
            ("does not exist".into(), Some("create it, or correct the path"))
        }
        io::ErrorKind::IsADirectory => ("is a folder".into(), Some("name a file in it")),
        _ => (format!("cannot be read: {error}"), None),
    }
}

/// What of a text can be a project's name.
fn usable_name(text: &str) -> String {
    let kept = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(*c);
    let name: String = text.to_lowercase().chars().filter(kept).collect();
    name.trim_start_matches(['_', '-']).to_owned()
}

/// Whether a node asks to be taken away.
pub(crate) fn is_reset(node: &Node) -> bool {
    node.tag == Tag::Reset
}
