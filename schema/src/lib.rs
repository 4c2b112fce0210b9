//! Compose text → [`Stack`], or problems with their place in the text.
//!
//! Architecture invariant: nothing here touches the host. Files are read only through the
//! [`Source`] the caller gives, the environment comes in as a map, and no clock is asked.
//!
//! A [`Stack`] exists only if every reference in it resolves, so nothing after this crate
//! checks again.
//!
//! The way of a text, module by module: `yaml` makes a tree whose every value knows its place,
//! `interpolate` fills in variables, `walk` holds it against the one table of `attributes` and
//! expands short forms, `extend` and `merge` put files over each other, `finish` completes the
//! model, `order` and `check` look at what belongs together, `decode` makes the typed [`Stack`].
//! What is to be run, and not only shown, has to pass the `rules` as well.

pub mod checked;
pub mod config;
pub mod explain;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod images;
pub mod lockfile;
pub mod problem;
pub mod reference;
pub mod stack;
pub mod variables;

mod amounts;
mod attributes;
mod budget;
mod check;
mod code;
mod decode;
mod dotenv;
mod environment;
mod excerpt;
mod extend;
mod finish;
mod hints;
mod include;
mod interpolate;
mod leftover;
mod lenient;
mod mark;
mod merge;
mod order;
mod places;
mod print;
mod project;
mod prune;
mod reads;
mod refuse;
mod resources;
mod rules;
mod scalar;
mod shape;
mod short;
mod syntax;
#[cfg(test)]
mod tests;
mod text;
mod trail;
mod tree;
mod value;
mod walk;
mod words;
mod yaml;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

pub use budget::LARGEST_FILE;
pub use problem::{Problem, Problems};
pub use stack::{Place, Places, Stack};
pub use value::nearest;
#[cfg(feature = "sabotage")]
pub use value::{ANY_NAME, ANY_SETTING};

/// What the user asked for, and what is around.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Files of `-f` (`-` is standard input); empty looks for the default ones.
    pub files: Vec<PathBuf>,
    /// Current directory, absolute.
    pub working_dir: PathBuf,
    /// `--project-directory`.
    pub project_directory: Option<PathBuf>,
    /// `-p`.
    pub project_name: Option<String>,
    /// `--env-file`.
    pub env_files: Vec<PathBuf>,
    /// `--profile`.
    pub profiles: Vec<String>,
    /// Environment of the process.
    pub environment: BTreeMap<String, String>,
    /// Services named on the command line; they activate their profiles.
    pub services: Vec<String>,
}

/// Where files are read from. The path `-` is standard input.
pub trait Source {
    /// The content of a file.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Whether there is a file.
    fn exists(&self, path: &Path) -> bool;
}

/// A pull policy as `--pull` and the files write it.
///
/// # Errors
/// What is wrong with it, and what to write.
pub fn pull_policy(text: &str) -> Result<stack::PullPolicy, String> {
    words::pull_policy(text).map_err(|bad| in_one_line(text, bad))
}

/// A capability as `cap_add` has it (`NET_ADMIN`, `CAP_NET_ADMIN`, `all`), without `CAP_` and in
/// upper case, for a flag of the command line.
///
/// # Errors
/// What is wrong with it, and what to write.
pub fn capability(text: &str) -> Result<String, String> {
    words::capability(text).map_err(|bad| in_one_line(text, bad))
}

/// Reads a platform as `platform` has it, for a flag of the command line.
///
/// # Errors
/// What is wrong with it, and what to write.
pub fn platform(text: &str) -> Result<stack::Platform, String> {
    decode::platform(text).map_err(|bad| in_one_line(text, bad))
}

fn in_one_line(text: &str, bad: value::Bad) -> String {
    let help = bad.help.map(|help| format!("; {help}")).unwrap_or_default();
    format!("`{text}` {}{help}", bad.why)
}

/// A stack, and what the user should know about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The model.
    pub stack: Stack,
    /// What is no error, in the order of the text.
    pub warnings: Vec<Problem>,
}

/// Reads everything the options name and makes the stack.
///
/// # Errors
/// All problems of all files at once.
pub fn load(options: &LoadOptions, source: &dyn Source) -> Result<Loaded, Problems> {
    let mut project = project::Project::new(options, source);
    let stack = stack_of(&mut project);
    project.conclude(stack)
}

/// The stack, with whatever is wrong among the findings.
fn stack_of(project: &mut project::Project<'_>) -> Option<Stack> {
    let model = project.model()?;
    let before = project.found.len();
    refuse::report(&model.tree, &mut project.found);
    rules::report(&model, &project.files, &mut project.found);
    let stack = decode::stack(model, &mut project.found);
    problem::drop_echoes(&mut project.found, before);
    Some(stack)
}
