//! The JSON Schema and the document of attributes: made from the table, and true to the loader.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use boon::{Compiler, SchemaIndex, Schemas};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use regex::Regex;
use serde_json::{Value as Json, json};

use crate::attributes::FILE;
use crate::config::load as load_lax;
use crate::problem::Code;
use crate::shape::{Grammar, Inside, Keyed, Record, Shape};
use crate::text::Files;
use crate::tree::{Node, Tag, Value};
use crate::{LoadOptions, Source, reference, yaml};

/// The schema, ready to hold files against it.
struct Editor {
    compiler: Compiler,
    schemas: Schemas,
    whole: SchemaIndex,
}

impl Editor {
    fn new() -> Self {
        let schema = serde_json::from_str(&reference::json_schema()).unwrap();
        let mut compiler = Compiler::new();
        compiler.add_resource(PLACE, schema).unwrap();
        let mut schemas = Schemas::new();
        let whole = compiler.compile(PLACE, &mut schemas).unwrap();
        Editor { compiler, schemas, whole }
    }

    /// What is wrong with a file, in the words of the validator.
    fn complaint(&self, value: &Json) -> Option<String> {
        self.complaint_of(value, self.whole)
    }

    fn complaint_of(&self, value: &Json, part: SchemaIndex) -> Option<String> {
        self.schemas.validate(value, part).err().map(|error| format!("{error:#}"))
    }

    /// The part of the schema at a pointer.
    fn part(&mut self, pointer: &str) -> SchemaIndex {
        self.compiler.compile(&format!("{PLACE}#{pointer}"), &mut self.schemas).unwrap()
    }
}

const PLACE: &str = "mem:///schema.json";

/// The documents of a text as an editor sees them: nothing is filled in or merged.
fn documents(text: &str) -> Option<Vec<Node>> {
    let mut files = Files::default();
    let file = files.add(PathBuf::from("compose.yaml"), text.to_owned());
    let mut found = Vec::new();
    let documents = yaml::parse(&files, file, &mut found);
    found.is_empty().then_some(documents)
}

fn json_of(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int(value) => {
            i64::try_from(*value).map_or(json!(*value as f64), |value| json!(value))
        }
        Value::Float(value) => json!(value),
        Value::Text(text) => json!(text),
        Value::List(items) => {
            items.iter().filter(|item| item.tag != Tag::Reset).map(json_of).collect()
        }
        Value::Map(map) => {
            let entries = map.iter().filter(|(_, node)| node.tag != Tag::Reset);
            entries.map(|(name, node)| (name.to_owned(), json_of(node))).collect()
        }
    }
}

fn complaints(editor: &Editor, text: &str) -> Option<String> {
    documents(text).unwrap().iter().find_map(|document| editor.complaint(&json_of(document)))
}

/// Files of a folder.
struct Folder;

impl Source for Folder {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn exists(&self, path: &Path) -> bool {
        path.is_file()
    }
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The files that show every attribute in every form.
fn shown() -> BTreeMap<PathBuf, String> {
    yaml_files(&here("src/tests/forms"))
}

/// Holds a generated file against the committed one, or writes it when asked to.
fn up_to_date(path: &str, text: &str) {
    let path = here(path);
    if env::var_os("BERTH_REWRITE").is_some() {
        fs::write(&path, text).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let name = path.display();
    assert!(
        committed == text,
        "{name} is not what the table says: run the tests once with BERTH_REWRITE=1"
    );
}

#[test]
fn the_committed_schema_is_the_one_of_the_table() {
    up_to_date("compose.schema.json", &reference::json_schema());
}

#[test]
fn the_committed_list_of_attributes_is_the_one_of_the_table() {
    up_to_date("ATTRIBUTES.md", &reference::document());
}

#[test]
fn files_that_show_every_form_load_and_please_the_editor() {
    let editor = Editor::new();
    for (path, text) in shown() {
        let options = LoadOptions {
            working_dir: path.parent().unwrap().to_owned(),
            files: vec![path.clone()],
            profiles: vec!["*".into()],
            environment: [("PORT", "8080"), ("YES", "true"), ("SIZE", "64m"), ("WORD", "bind")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..LoadOptions::default()
        };
        let name = path.display();
        if let Err(problems) = load_lax(&options, &Folder) {
            panic!("{name}: {}", super::lines(&problems.0));
        }
        if let Some(complaint) = complaints(&editor, &text) {
            panic!("{name}: {complaint}");
        }
    }
}

/// The attributes that occur in a value, by their paths in the table.
fn used(shape: &'static Shape, node: &Node, path: &str, seen: &mut BTreeSet<String>) {
    match shape.inside() {
        Inside::Nothing => {}
        Inside::Attributes(record) => used_of(record, node, path, seen),
        Inside::Named(inner) => {
            for (_, node) in node.as_map().iter().flat_map(|map| map.iter()) {
                used(inner, node, &format!("{path}.*"), seen);
            }
        }
        Inside::Listed(inner) => {
            for node in node.items() {
                used(inner, node, &format!("{path}[]"), seen);
            }
        }
    }
}

fn used_of(record: &'static Record, node: &Node, path: &str, seen: &mut BTreeSet<String>) {
    for (name, node) in node.as_map().iter().flat_map(|map| map.iter()) {
        if let Some(attribute) = record.attribute(name) {
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            used(&attribute.shape, node, &path, seen);
            seen.insert(path);
        }
    }
}

#[test]
fn every_attribute_of_the_table_is_shown() {
    let mut seen = BTreeSet::new();
    for text in shown().values() {
        for document in documents(text).unwrap() {
            used_of(&FILE, &document, "", &mut seen);
        }
    }
    let all: BTreeSet<String> = reference::all().into_iter().map(|row| row.path).collect();
    let missing: Vec<_> = all.difference(&seen).collect();
    assert!(missing.is_empty(), "shown nowhere: {missing:#?}");
}

#[test]
fn the_examples_please_the_editor() {
    let editor = Editor::new();
    let mut count = 0;
    for entry in fs::read_dir(here("../examples")).unwrap() {
        for name in ["compose.yaml", "shop.yaml", "stack.yaml"] {
            let path = entry.as_ref().unwrap().path().join(name);
            if let Ok(text) = fs::read_to_string(&path) {
                count += 1;
                assert_eq!(complaints(&editor, &text), None, "{}", path.display());
            }
        }
    }
    assert!(count > 0);
}

/// What the table refuses by form, one for each kind of form.
const REFUSED: [&str; 42] = [
    "services: []",
    "services: { web: { imge: x } }",
    "services: { web: [] }",
    "services: { 'a b': { image: x } }",
    "services: { web: { image: 1 } }",
    "services: { web: { image: [x] } }",
    "services: { web: { tty: maybe } }",
    "services: { web: { tty: 1 } }",
    "services: { web: { tty: [true] } }",
    "services: { web: { oom_score_adj: 5000 } }",
    "services: { web: { oom_score_adj: high } }",
    "services: { web: { oom_score_adj: 1.5 } }",
    "services: { web: { cpu_percent: 101 } }",
    "services: { web: { blkio_config: { weight: 5 } } }",
    "services: { web: { mem_swappiness: 101 } }",
    "services: { web: { cpu_period: 10 } }",
    "services: { web: { mem_limit: 1x } }",
    "services: { web: { mem_limit: true } }",
    "services: { web: { mem_limit: -1 } }",
    "services: { web: { cpus: many } }",
    "services: { web: { stop_grace_period: 10 } }",
    "services: { web: { stop_grace_period: 10 apples } }",
    "services: { web: { cgroup: own } }",
    "services: { web: { command: { a: b } } }",
    "services: { web: { ports: 80 } }",
    "services: { web: { ports: ['a:b'] } }",
    "services: { web: { ports: [70000] } }",
    "services: { web: { ports: [{ published: 80 }] } }",
    "services: { web: { ports: [{ target: 80, port: 80 }] } }",
    "services: { web: { volumes: [{ source: a, target: /a }] } }",
    "services: { web: { volumes: [{ type: folder, target: /a }] } }",
    "services: { web: { volumes: [{ type: bind, bind: { selinux: q } }] } }",
    "services: { web: { depends_on: { db: { condition: ready } } } }",
    "services: { web: { depends_on: { db: {} } } }",
    "services: { web: { environment: 1 } }",
    "services: { web: { environment: { A: [1] } } }",
    "services: { web: { gpus: some } }",
    "services: { web: { healthcheck: { test: 1 } } }",
    "services: { web: { configs: [{ source: a, mode: rw }] } }",
    "networks: { a: { ipam: { options: { a: 1 } } } }",
    "models: { a: { name: x } }",
    "include: [{ env_file: a }]",
];

#[test]
fn what_the_table_refuses_displeases_the_editor_too() {
    let editor = Editor::new();
    for text in REFUSED {
        assert!(complaints(&editor, text).is_some(), "{text}");
        let report = super::problems(text);
        assert_ne!(report, "loads", "{text}");
    }
}

/// Every place of the schema with this key.
fn places(key: &str, value: &Json, at: &str, found: &mut Vec<(String, Json)>) {
    let Json::Object(fields) = value else {
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            places(key, item, &format!("{at}/{index}"), found);
        }
        return;
    };
    if fields.contains_key("description") || fields.contains_key("type") {
        found.extend(fields.get(key).map(|value| (at.to_owned(), value.clone())));
    }
    for (name, field) in fields.iter().filter(|(name, _)| *name != key) {
        let name = name.replace('~', "~0").replace('/', "~1").replace('^', "%5E");
        places(key, field, &format!("{at}/{name}"), found);
    }
}

#[test]
fn what_the_schema_proposes_it_accepts() {
    let schema: Json = serde_json::from_str(&reference::json_schema()).unwrap();
    let (mut defaults, mut examples) = (Vec::new(), Vec::new());
    places("default", &schema, "", &mut defaults);
    places("examples", &schema, "", &mut examples);
    assert!(defaults.len() > 50 && examples.len() > 40);
    let examples = examples.into_iter().flat_map(|(at, list)| {
        let list = list.as_array().cloned().unwrap();
        list.into_iter().map(move |example| (at.clone(), example)).collect::<Vec<_>>()
    });
    let mut editor = Editor::new();
    for (at, value) in defaults.into_iter().chain(examples) {
        let part = editor.part(&at);
        assert_eq!(editor.complaint_of(&value, part), None, "{at}: {value}");
    }
}

/// Every grammar of the table, by its name and reader.
fn grammars(record: &'static Record, found: &mut Vec<&'static Grammar>) {
    fn below(shape: &'static Shape, found: &mut Vec<&'static Grammar>) {
        match shape {
            Shape::Amount(grammar) => found.push(grammar),
            Shape::Keyed(Keyed { also: Some(short), .. }) => below(short, found),
            _ => {}
        }
        match shape.inside() {
            Inside::Nothing => {}
            Inside::Attributes(record) => grammars(record, found),
            Inside::Named(inner) | Inside::Listed(inner) => below(inner, found),
        }
    }
    for attribute in record.attributes {
        below(&attribute.shape, found);
    }
}

/// Letters that values with a grammar are made of.
const LETTERS: &str = "[0-9+.:/ \\[\\]_a-fkmgtpsuhwlionxA-FKMGTPBI-]{0,7}";

#[test]
fn the_editor_accepts_every_amount_that_is_read() {
    let mut all = Vec::new();
    grammars(&FILE, &mut all);
    let mut known = BTreeMap::new();
    for grammar in all {
        known.insert((grammar.name, grammar.pattern, grammar.read as usize), grammar);
    }
    assert!(known.len() > 12);
    let mut runner = TestRunner::new(Config { cases: 3000, ..Config::default() });
    for grammar in known.into_values() {
        let pattern = Regex::new(grammar.pattern.unwrap_or("^$a")).unwrap();
        let law = runner.run(&LETTERS, |text| {
            let accepted = (grammar.read)(&Value::Text(text.clone())).is_ok();
            prop_assert!(!accepted || pattern.is_match(&text), "{}: {text:?}", grammar.name);
            Ok(())
        });
        assert!(law.is_ok(), "{law:?}");
        for example in grammar.examples.iter().filter(|_| grammar.pattern.is_some()) {
            let read = (grammar.read)(&Value::Text((*example).to_owned()));
            assert!(read.is_ok(), "{}: {example}", grammar.name);
        }
    }
}

#[test]
fn every_record_has_a_name_of_its_own() {
    let mut known: BTreeMap<&str, *const Record> = BTreeMap::new();
    let mut waiting = vec![&FILE];
    while let Some(record) = waiting.pop() {
        let other = known.insert(record.name, record);
        assert!(other.is_none_or(|other| std::ptr::eq(other, record)), "{}", record.name);
        for attribute in record.attributes {
            let mut shape = &attribute.shape;
            loop {
                match shape.inside() {
                    Inside::Nothing => break,
                    Inside::Named(inner) | Inside::Listed(inner) => shape = inner,
                    Inside::Attributes(inner) => {
                        waiting.push(inner);
                        break;
                    }
                }
            }
        }
    }
    assert!(known.len() > 40);
}

/// Holds the schema against a conformance corpus: one folder for each case, `compose.yaml` beside
/// a `case.json` that says whether it is a good one. `BERTH_CORPUS` names the folder. Where the
/// corpus is content with a value that cannot be run, the editor sides with `up`.
#[test]
fn good_files_of_a_corpus_please_the_editor() {
    let Some(folder) = env::var_os("BERTH_CORPUS") else {
        eprintln!("SKIPPED: BERTH_CORPUS names no corpus");
        return;
    };
    let editor = Editor::new();
    let (mut good, mut bad) = (0, String::new());
    for case in fs::read_dir(folder).unwrap() {
        let case = case.unwrap().path();
        let expectation = fs::read_to_string(case.join("case.json")).unwrap_or_default();
        if !expectation.contains("\"expect\": \"ok\"") {
            continue;
        }
        for (path, text) in yaml_files(&case) {
            let documents = documents(&text).unwrap_or_default();
            let complaint = documents.iter().find_map(|node| editor.complaint(&json_of(node)));
            match complaint {
                Some(complaint) if !refused_alone(&path) => {
                    bad += &format!("{}: {complaint}\n", path.display());
                }
                _ => good += 1,
            }
        }
    }
    eprintln!("{good} files of the corpus please the editor");
    assert!(bad.is_empty(), "{bad}");
    assert!(good > 0);
}

/// The Compose files of a folder.
fn yaml_files(folder: &Path) -> BTreeMap<PathBuf, String> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let yaml = |path: &PathBuf| path.extension().is_some_and(|end| end == "yaml" || end == "yml");
    files
        .filter(yaml)
        .filter_map(|path| Some((path.clone(), fs::read_to_string(path).ok()?)))
        .collect()
}

/// Whether `up` refuses a file by itself: for a value, or because it only makes sense over another.
fn refused_alone(path: &Path) -> bool {
    let options = LoadOptions {
        working_dir: path.parent().unwrap().to_owned(),
        files: vec![path.to_owned()],
        ..LoadOptions::default()
    };
    let problems = crate::load(&options, &Folder).err();
    problems.is_some_and(|problems| {
        problems.0.iter().any(|problem| {
            matches!(problem.problem_code(), Some(Code::BadValue | Code::WrongType | Code::Missing))
        })
    })
}
