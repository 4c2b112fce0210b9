//! What must hold for any bytes at all: the bodies of the fuzz targets.
//!
//! `schema/fuzz` runs them for as long as one likes; a test runs each of them for a moment over
//! the seeds. Each takes bytes and panics when a law is broken.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use miette::{GraphicalReportHandler, GraphicalTheme};

use crate::config::{self, Switches};
use crate::dotenv::Scope;
use crate::interpolate::{Variables, text_with};
use crate::problem::{Finding, Problem};
use crate::text::{Files, Span};
use crate::tree::{Node, Value};
use crate::{LoadOptions, Problems, Source, dotenv, load, variables, yaml};

/// A target: its name and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 6] = [
    ("load", whole_load),
    ("yaml", yaml_tree),
    ("interpolate", interpolation),
    ("dotenv", environment_file),
    ("config_roundtrip", config_roundtrip),
    ("short_forms", short_forms),
];

/// Starts a new file in the bytes of [`whole_load`]: this, its name, a line break.
const NEXT_FILE: &str = "#=== ";

/// Files below `/p`.
struct Project(BTreeMap<PathBuf, Vec<u8>>);

impl Project {
    /// The first file is `compose.yaml`, the others have their names.
    fn new(bytes: &[u8]) -> Project {
        let mut files: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
        let mut file = PathBuf::from("/p/compose.yaml");
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_prefix(NEXT_FILE.as_bytes()) {
                Some(name) => {
                    let name = String::from_utf8_lossy(name);
                    file = Path::new("/p").join(name.trim().trim_start_matches('/'));
                }
                None => files.entry(file.clone()).or_default().extend(line),
            }
        }
        Project(files)
    }
}

impl Source for Project {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }
}

fn options() -> LoadOptions {
    LoadOptions { working_dir: "/p".into(), environment: variables_around(), ..<_>::default() }
}

fn variables_around() -> Variables {
    let set = [("HOME", "/home/me"), ("TAG", "1.27"), ("EMPTY", ""), ("DOLLAR", "$HOME ${TAG}")];
    set.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// A whole load ends the same way each time, and every problem stands in its file.
pub fn whole_load(bytes: &[u8]) {
    let project = Project::new(bytes);
    let first = outcome(load(&options(), &project).map(|loaded| (loaded.stack, loaded.warnings)));
    let second = outcome(load(&options(), &project).map(|loaded| (loaded.stack, loaded.warnings)));
    assert_eq!(first, second, "two loads end differently");
    let _ = variables::variables(&options(), &project).map_err(|problems| shown(&problems.0));
    let raw = Switches { no_interpolate: true, no_normalize: true, ..Switches::default() };
    if let Ok(loaded) = config::load_with(&options(), raw, &project) {
        config::to_json(&loaded.stack);
    }
}

/// What a load says, as text.
fn outcome<T: std::fmt::Debug>(result: Result<(T, Vec<Problem>), Problems>) -> String {
    match result {
        Ok((stack, warnings)) => {
            assert!(warnings.iter().all(|warning| !warning.is_error()), "an error does not stop");
            format!("{stack:?}\n{}", shown(&warnings))
        }
        Err(problems) => {
            assert!(problems.0.iter().any(Problem::is_error), "it fails without a reason");
            shown(&problems.0)
        }
    }
}

/// The reports of problems. Their places are inside their files.
fn shown(problems: &[Problem]) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor());
    let mut text = String::new();
    for problem in problems {
        assert!(!problem.to_string().is_empty(), "a problem says nothing");
        for mark in problem.marks() {
            let (start, end) = ((mark.line, mark.column), (mark.end_line, mark.end_column));
            assert!(mark.line > 0 && mark.column > 0 && start <= end, "{mark:?}");
        }
        // A report that cannot be printed has a place that is not in its text.
        let printed = handler.render_report(&mut text, problem);
        assert!(printed.is_ok(), "{problem} cannot be shown: {problem:?}");
    }
    text
}

/// Every value of a tree stands in its text, and inside the value around it but for aliases.
pub fn yaml_tree(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut files = Files::default();
    let file = files.add("a.yaml".into(), text);
    let mut found: Vec<Finding> = Vec::new();
    for document in yaml::parse(&files, file, &mut found) {
        inside(&document, text);
    }
    shown(&crate::problem::all(found, &files));
}

fn inside(node: &Node, text: &str) {
    let ok = |span: Span| text.get(span.start as usize..span.end as usize).is_some();
    assert!(ok(node.span), "{:?} is no piece of the text", node.span);
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| inside(item, text)),
        Value::Map(map) => {
            for entry in map.0.values() {
                assert!(ok(entry.key), "{:?} is no piece of the text", entry.key);
                inside(&entry.node, text);
            }
        }
        _ => {}
    }
}

/// Filling in variables ends; a text without a dollar sign stays as it is.
pub fn interpolation(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut unset = Vec::new();
    let filled = text_with(&text, &variables_around(), &mut unset);
    if !text.contains('$') {
        assert_eq!(filled.as_deref(), Ok(&*text));
    }
    if let Ok(filled) = filled {
        // Doubled dollar signs are the text itself.
        let doubled = filled.replace('$', "$$");
        assert_eq!(text_with(&doubled, &Variables::new(), &mut unset), Ok(filled));
    }
}

/// Lines of an environment file that are told stand in it.
pub fn environment_file(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let around = variables_around();
    let (mut one, mut other) = (Scope::new(&around), Scope::new(&around));
    for lines in [dotenv::parse(&text, &mut one), dotenv::parse_raw(&text, &mut other)] {
        for line in lines.bad.iter().chain(&lines.odd) {
            assert!(text.get(line.start..line.end).is_some(), "{line:?} is not in the text");
        }
    }
}

/// What `config` prints loads to what prints the same.
pub fn config_roundtrip(bytes: &[u8]) {
    let project = Project::new(bytes);
    let Ok(loaded) = config::load(&options(), &project) else {
        return;
    };
    let printed = config::to_yaml(&loaded.stack);
    let again = Project(BTreeMap::from([("/p/compose.yaml".into(), printed.clone().into())]));
    let everything = LoadOptions { profiles: vec!["*".into()], ..options() };
    match config::load(&everything, &again) {
        Ok(loaded) => assert_eq!(config::to_yaml(&loaded.stack), printed, "it reads otherwise"),
        Err(problems) => panic!("{problems}\n{printed}"),
    }
}

/// Attributes whose values have a grammar of their own: where a text of it stands.
const SHORT: [&str; 24] = [
    "ports: [@]",
    "volumes: [@]",
    "devices: [@]",
    "expose: [@]",
    "extra_hosts: [@]",
    "env_file: [@]",
    "tmpfs: [@]",
    "links: [@]",
    "security_opt: [@]",
    "device_cgroup_rules: [@]",
    "group_add: [@]",
    "command: @",
    "image: @",
    "user: @",
    "mem_limit: @",
    "cpus: @",
    "cpuset: @",
    "stop_grace_period: @",
    "restart: @",
    "network_mode: @",
    "pull_policy: @",
    "platform: @",
    "build: @",
    "ulimits: {nofile: @}",
];

/// Each value with a grammar of its own takes any text, or says why not. The first byte chooses.
pub fn short_forms(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else {
        return;
    };
    let value = serde_json::Value::from(String::from_utf8_lossy(bytes).replace('$', "$$"));
    let attribute = SHORT[usize::from(*which) % SHORT.len()].replace('@', &value.to_string());
    let image = if attribute.starts_with("image") { "" } else { "image: i, " };
    whole_load(format!("services: {{a: {{{image}{attribute}}}}}").as_bytes());
}
