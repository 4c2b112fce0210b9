//! The variables a project sees, and the environment files that give them.

use std::io;
use std::path::{Path, PathBuf};

use crate::dotenv::{self, BadLine, Scope};
use crate::explain::EnvFile;
use crate::interpolate::Variables;
use crate::problem::{Code, Finding};
use crate::project::Project;
use crate::text::Span;

/// Switches `.env` off.
const DISABLE: &str = "COMPOSE_DISABLE_ENV_FILE";

/// How an environment file is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Quotes, escapes, comments and variables.
    Dotenv,
    /// `KEY=VALUE` verbatim.
    Raw,
}

/// Who asks for an environment file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// `--env-file`.
    Flag,
    /// `COMPOSE_ENV_FILES`.
    Variable,
    /// Nobody: it is the `.env` beside the Compose file.
    Beside,
    /// `env_file` of a service.
    Service(Span),
    /// `label_file` of a service.
    Labels(Span),
    /// `env_file` of an included part.
    Part(Span),
}

impl Asker {
    /// Where the Compose file names it.
    fn at(self) -> Option<Span> {
        match self {
            Asker::Flag | Asker::Variable | Asker::Beside => None,
            Asker::Service(at) | Asker::Labels(at) | Asker::Part(at) => Some(at),
        }
    }

    fn what(self) -> &'static str {
        match self {
            Asker::Labels(_) => "the label file",
            _ => "the environment file",
        }
    }

    /// There is no such file.
    fn missing(self, shown: &Path) -> Finding {
        let (what, shown) = (self.what(), shown.display());
        let (message, help) = match self {
            Asker::Flag => (
                format!("{what} `{shown}` of `--env-file` does not exist"),
                "create it, or name one that exists".to_owned(),
            ),
            Asker::Variable => (
                format!("{what} `{shown}` of the variable COMPOSE_ENV_FILES does not exist"),
                "create it, or change the variable".to_owned(),
            ),
            Asker::Service(_) => (
                format!("{what} `{shown}` does not exist"),
                format!(
                    "create it, or write `{{ path: {shown}, required: false }}` if the service can \
                     do without"
                ),
            ),
            Asker::Beside | Asker::Labels(_) | Asker::Part(_) => (
                format!("{what} `{shown}` does not exist"),
                "create it, or take the line away".to_owned(),
            ),
        };
        match self.at() {
            Some(at) => Finding::at(Code::Unreadable, at, "asked for here", message),
            None => Finding::bare(Code::Unreadable, message),
        }
        .help(help)
    }
}

/// A variable as a file gives it: name, value, and the place of the name.
pub(crate) type Said = (String, String, Span);

impl Project<'_> {
    /// Process environment, then the environment files below it.
    pub(crate) fn read_environment(&mut self, directory: &Path) {
        let (files, asker) = self.env_files();
        if files.is_empty() {
            self.add_dotenv(directory);
        } else {
            let directory = self.options.working_dir.clone();
            let files: Vec<_> = files.into_iter().map(|file| (file, asker)).collect();
            let pairs = self.env_file_pairs(&files, &directory);
            add_below(&mut self.variables, pairs);
        }
    }

    /// The `.env` of a directory, if it is there and not switched off.
    pub(crate) fn add_dotenv(&mut self, directory: &Path) {
        let path = directory.join(".env");
        if self.no_dotenv() || !self.source.exists(&path) {
            return;
        }
        // A folder of that name, such as one of Python, is none of ours.
        let read = self.source.read(&path);
        if read.is_err_and(|error| error.kind() == io::ErrorKind::IsADirectory) {
            return;
        }
        let around = std::mem::take(&mut self.variables);
        let scope = &mut Scope::new(&around);
        let mut pairs = self.env_file(&path, Asker::Beside, Format::Dotenv, scope);
        self.variables = around;
        let off = |(key, value, _): &Said| key == DISABLE && is_true(value) == Some(true);
        if pairs.iter().any(off) {
            // It switches itself off, but for what is said to Compose.
            pairs.retain(|(key, ..)| key.starts_with("COMPOSE_"));
        }
        add_below(&mut self.variables, pairs);
    }

    fn no_dotenv(&mut self) -> bool {
        let value = self.options.environment.get(DISABLE).filter(|value| !value.is_empty());
        let Some(value) = value else {
            return false;
        };
        is_true(value).unwrap_or_else(|| {
            let message = format!("the variable {DISABLE} is `{value}`, neither true nor false");
            self.found.push(Finding::bare(Code::BadValue, message).help("set it to 1 or to 0"));
            false
        })
    }

    /// `--env-file`, else `COMPOSE_ENV_FILES`.
    fn env_files(&self) -> (Vec<PathBuf>, Asker) {
        if !self.options.env_files.is_empty() {
            return (self.options.env_files.clone(), Asker::Flag);
        }
        let list = self.variables.get("COMPOSE_ENV_FILES").map_or("", String::as_str);
        let files = list.split(',').filter(|path| !path.is_empty()).map(PathBuf::from);
        (files.collect(), Asker::Variable)
    }

    /// Variables of several files, later ones after earlier ones.
    pub(crate) fn env_file_pairs(
        &mut self,
        files: &[(PathBuf, Asker)],
        directory: &Path,
    ) -> Vec<Said> {
        let around = std::mem::take(&mut self.variables);
        let mut scope = Scope::new(&around);
        let mut pairs = Vec::new();
        for (file, asker) in files {
            let path = directory.join(file);
            pairs.extend(self.env_file(&path, *asker, Format::Dotenv, &mut scope));
        }
        self.variables = around;
        pairs
    }

    /// Variables of one file.
    pub(crate) fn env_file(
        &mut self,
        path: &Path,
        asker: Asker,
        format: Format,
        scope: &mut Scope<'_>,
    ) -> Vec<Said> {
        if !self.source.exists(path) {
            let missing = asker.missing(self.shown(path));
            self.found.push(missing);
            return Vec::new();
        }
        let read = self.files.find(self.shown(path));
        let Some(file) = read.or_else(|| self.read_text(path, asker.at(), asker.what())) else {
            return Vec::new();
        };
        let Some(text) = self.files.get(file).map(|file| file.text.clone()) else {
            return Vec::new();
        };
        let lines = match format {
            Format::Dotenv => dotenv::parse(&text, scope),
            Format::Raw => dotenv::parse_raw(&text, scope),
        };
        let place = |line: &BadLine| Span { file, start: line.start as u32, end: line.end as u32 };
        for line in lines.bad {
            let at = place(&line);
            let finding = Finding::at(Code::EnvFile, at, "cannot be read", line.why);
            self.found.push(finding.help(line.help));
        }
        for line in lines.odd {
            let at = place(&line);
            let finding = Finding::at(Code::EnvFile, at, "surely not meant", line.why);
            self.found.push(finding.help(line.help).warning());
        }
        let span = |at: usize, key: &str| {
            let start = at as u32;
            Span { file, start, end: start + key.len() as u32 }
        };
        if !matches!(asker, Asker::Labels(_)) {
            for (name, at) in &lines.asked {
                self.reads.variable(name, span(*at, name));
            }
        }
        let pairs: Vec<Said> = lines
            .pairs
            .into_iter()
            .map(|pair| {
                let at = span(pair.at, &pair.key);
                (pair.key, pair.value, at)
            })
            .collect();
        if let Some(record) = &mut self.record {
            let named_at = match asker {
                Asker::Service(at) | Asker::Labels(at) => Some(at),
                _ => None,
            };
            let (depth, pairs) = (self.including.len(), pairs.clone());
            record.env_files.push(EnvFile { named_at, depth, pairs });
        }
        pairs
    }
}

/// The words of a switch.
fn is_true(word: &str) -> Option<bool> {
    match word {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// Adds what is not there yet; of several values the last one counts.
pub(crate) fn add_below(variables: &mut Variables, said: Vec<Said>) {
    let new: Variables = said.into_iter().map(|(key, value, _)| (key, value)).collect();
    for (key, value) in new {
        variables.entry(key).or_insert(value);
    }
}
