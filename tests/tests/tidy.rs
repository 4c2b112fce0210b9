//! What holds for the source as a whole: the line the crates stand in, and where `unsafe` may be.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Crates in their line: each may use those before it.
const LINE: [&str; 5] =
    ["berth-schema", "berth-planner", "berth-network", "berth-runtime", "berth"];

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Rust files of the product.
fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in ["schema", "planner", "network", "runtime", "cli"] {
        collect(&top().join(folder), &mut files);
    }
    assert!(files.len() > 20, "{files:?}");
    files
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a folder of the source").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn each_crate_uses_only_those_before_it() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(top())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let place = LINE.iter().position(|c| *c == name);
        for dependency in package["dependencies"].as_array().unwrap() {
            let used = dependency["name"].as_str().unwrap();
            let Some(before) = LINE.iter().position(|c| *c == used) else { continue };
            let allowed = place.is_some_and(|place| before < place);
            assert!(allowed, "`{name}` uses `{used}`");
        }
    }
    assert_eq!(packages.len(), LINE.len() + 1, "the five, and the tests");
}

#[test]
fn unsafe_is_in_the_files_for_it_alone() {
    for path in sources().iter().filter(|p| !p.ends_with("src/sys.rs")) {
        let text = fs::read_to_string(path).unwrap();
        let bad = text.lines().find(|l| l.contains("unsafe {") || l.contains("unsafe fn"));
        assert!(bad.is_none(), "{}: {bad:?}", path.display());
    }
}

#[test]
fn nothing_is_left_for_later() {
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        for mark in ["todo!(", "unimplemented!(", "FIXME", "#[ignore"] {
            assert!(!text.contains(mark), "{} has {mark}", path.display());
        }
    }
}

#[test]
fn every_file_begins_with_what_it_is() {
    let is_test = |path: &PathBuf| path.iter().any(|part| part == "tests" || part == "tests.rs");
    for path in sources().into_iter().filter(|path| !is_test(path)) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//!"), "{} has no module doc at its head", path.display());
    }
}

/// The names that stand in quotes behind one of these words.
fn named(text: &str, words: &[&str]) -> BTreeSet<String> {
    let behind = words.iter().flat_map(|word| text.split(word).skip(1));
    behind
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split_once('"'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[test]
fn every_switch_and_place_in_the_program_is_used_by_a_check() {
    let mut product = [BTreeSet::new(), BTreeSet::new()];
    for path in sources().iter().filter(|path| !path.ends_with("src/sabotage.rs")) {
        let text = fs::read_to_string(path).unwrap();
        let words =
            ["defence!(", "without!(", "berth_runtime::sabotaged(", "sabotage::is_removed("];
        product[0].append(&mut named(&text, &words));
        product[1].append(&mut named(&text, &["place!("]));
    }
    let mut files = Vec::new();
    collect(&top().join("tests/checks"), &mut files);
    let mut checks = [BTreeSet::new(), BTreeSet::new()];
    for path in files {
        let text = fs::read_to_string(path).unwrap();
        checks[0].append(&mut named(&text, &["without: "]));
        checks[1].append(&mut named(&text, &["places: &["]));
    }
    assert!(product[0].len() > 20 && product[1].len() > 4, "{product:?}");
    assert_eq!(product, checks, "the program's, and those of the checks");
}
