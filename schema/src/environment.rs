//! The variables a project sees, and the environment files that give them.

use std::path::{Path, PathBuf};

use crate::dotenv::{self, Pair};
use crate::interpolate::Variables;
use crate::problem::{Code, Finding};
use crate::project::Project;
use crate::text::Span;

/// How an environment file is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Quotes, escapes, comments and variables.
    Dotenv,
    /// `KEY=VALUE` verbatim.
    Raw,
}

impl Project<'_> {
    /// Process environment, then the environment files below it.
    pub(crate) fn read_environment(&mut self, directory: &Path) {
        let files = self.env_files();
        if files.is_empty() {
            self.add_dotenv(directory);
        } else {
            let directory = self.options.working_dir.clone();
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
        let around = self.variables.clone();
        let pairs = self.env_file(&path, None, Format::Dotenv, &around);
        add_below(&mut self.variables, pairs);
    }

    fn no_dotenv(&self) -> bool {
        let value = self.options.environment.get("COMPOSE_DISABLE_ENV_FILE");
        value.is_some_and(|value| ["1", "true", "t", "TRUE", "True", "T"].contains(&value.as_str()))
    }

    /// `--env-file`, else `COMPOSE_ENV_FILES`.
    fn env_files(&self) -> Vec<PathBuf> {
        if !self.options.env_files.is_empty() {
            return self.options.env_files.clone();
        }
        let list = self.variables.get("COMPOSE_ENV_FILES").map_or("", String::as_str);
        list.split(',').filter(|path| !path.is_empty()).map(PathBuf::from).collect()
    }

    /// Variables of several files, later ones after earlier ones.
    pub(crate) fn env_file_pairs(&mut self, files: &[PathBuf], directory: &Path) -> Vec<Pair> {
        let mut pairs = Vec::new();
        let mut around = self.variables.clone();
        for file in files {
            let path = directory.join(file);
            for (key, value) in self.env_file(&path, None, Format::Dotenv, &around) {
                around.entry(key.clone()).or_insert_with(|| value.clone());
                pairs.push((key, value));
            }
        }
        pairs
    }

    /// Variables of one file. `named_at` is where the Compose file names it.
    pub(crate) fn env_file(
        &mut self,
        path: &Path,
        named_at: Option<Span>,
        format: Format,
        around: &Variables,
    ) -> Vec<Pair> {
        let Some(file) = self.read_text(path, named_at, "the environment file") else {
            return Vec::new();
        };
        let Some(text) = self.files.get(file).map(|file| file.text.clone()) else {
            return Vec::new();
        };
        let pairs = match format {
            Format::Dotenv => dotenv::parse(&text, around),
            Format::Raw => dotenv::parse_raw(&text, around),
        };
        pairs.unwrap_or_else(|line| {
            let span = Span { file, start: line.start as u32, end: line.end as u32 };
            self.found.push(
                Finding::at(Code::EnvFile, span, "cannot be read", line.why)
                    .help("write one `NAME=value` in each line"),
            );
            Vec::new()
        })
    }
}

/// Adds what is not there yet; of several values the last one counts.
pub(crate) fn add_below(variables: &mut Variables, pairs: Vec<Pair>) {
    let new: Variables = pairs.into_iter().collect();
    for (key, value) in new {
        variables.entry(key).or_insert(value);
    }
}
