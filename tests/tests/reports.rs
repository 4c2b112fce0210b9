//! A broken file is told in full: each project below `broken/` has its whole report beside it,
//! with code, place, caret and the next move. Below `broken/warnings` are files that load.
//!
//! A case is a folder. `command` in it, if there is one, holds settings of the environment and
//! words in front of the command: `TAG=1 berth -f other.yaml`. `INSTA_UPDATE=always` writes the
//! reports again; read the difference afterwards.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;

use berth_tests::host::berth_program;
use berth_tests::machine::target_dir;
use berth_tests::{Finished, Running};

/// The command that tells every problem and touches nothing.
const COMMAND: &str = "plan";

/// Codes that no case has: what a host lacks is different on each, and so is what it denies.
const WITHOUT_CASE: [&str; 4] =
    ["berth::denied", "berth::host_lacks", "berth::no_services", "berth::rewritten"];

/// Codes of problems that lie outside of every file, so that they have no place.
const WITHOUT_PLACE: [&str; 3] = ["berth::no_file", "berth::unreadable", "berth::project_name"];

macro_rules! areas {
    ($($area:ident)*) => {
        $(#[test] fn $area() { every_case_of(stringify!($area)); })*
        const AREAS: &[&str] = &[$(stringify!($area)),*];
    };
}

areas! {
    conflicts cycles environment_files extends files include names not_yet override_files real
    references structure types values variables warnings yaml
}

fn broken() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("broken")
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn every_case_of(area: &str) {
    let cases = folders(&broken().join(area));
    assert!(!cases.is_empty(), "{area} has no case");
    let failed: Vec<String> = cases
        .iter()
        .filter(|case| catch_unwind(AssertUnwindSafe(|| check(area, case))).is_err())
        .map(|case| name(case))
        .collect();
    assert!(failed.is_empty(), "of {area}: {failed:?}");
}

fn check(area: &str, case: &Path) {
    let told = tell(area, case, &[COMMAND]);
    match area {
        "warnings" => assert_eq!(told.code, 0, "{told:?}"),
        _ => is_a_refusal(&told),
    }
    in_the_folder(case).bind(|| insta::assert_snapshot!("report", told.stderr));
}

fn in_the_folder(case: &Path) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(case);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

/// Runs berth on a copy of the case, so that nothing around it is found.
fn tell(area: &str, case: &Path, words: &[&str]) -> Finished {
    let folder = target_dir().join("broken").join(format!("{area}-{}", std::process::id()));
    let project = folder.join("shop");
    copy(case, &project);
    let line = fs::read_to_string(case.join("command")).unwrap_or_else(|_| "berth".into());
    let (settings, before) = line.trim().split_once("berth").unwrap();
    let mut command = Command::new(berth_program());
    command.args(before.split_whitespace()).args(words).current_dir(&project);
    command.env_clear().env("HOME", "/home/me").env("BERTH_ROOT", folder.join("root"));
    command.envs(settings.split_whitespace().map(|pair| pair.split_once('=').unwrap()));
    let mut told = Running::start(&name(case), command).ends();
    told.stderr = plain(&told.stderr, &project);
    fs::remove_dir_all(folder).unwrap();
    told
}

/// Without the folder of this run and without spaces at the ends of lines.
fn plain(report: &str, project: &Path) -> String {
    let report = report.replace(&*project.to_string_lossy(), "/shop");
    report.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Exit status 65, nothing but the report, and in it a place for each problem there is one for.
fn is_a_refusal(told: &Finished) {
    assert_eq!(told.code, 65, "{told}");
    assert_eq!(told.stdout, "", "{told}");
    let problems: Vec<&str> = told.stderr.split("\nberth::").collect();
    for problem in problems {
        let code = format!("berth::{}", problem.trim_start_matches("berth::"));
        let code = code.lines().next().unwrap();
        let has_place = problem.lines().any(is_place);
        assert!(has_place || WITHOUT_PLACE.contains(&code), "{code} has no place\n{told}");
    }
}

/// `╭─[compose.yaml:3:12]`
fn is_place(line: &str) -> bool {
    let place = line.trim_start().strip_prefix("╭─[").and_then(|rest| rest.strip_suffix(']'));
    place.is_some_and(|place| {
        let mut parts = place.rsplitn(3, ':');
        let mut number = || parts.next().is_some_and(|part| part.parse::<u32>().is_ok());
        number() && number()
    })
}

fn reports() -> Vec<(String, String)> {
    let areas = folders(&broken());
    let cases = areas.iter().flat_map(|area| folders(area));
    cases.map(|case| (name(&case), fs::read_to_string(case.join("report.snap")).unwrap())).collect()
}

#[test]
fn a_program_gets_the_same_as_json() {
    for (area, case) in [
        ("include", "two_errors_in_the_part"),
        ("override_files", "conflict_over_two_files"),
        ("real", "wordpress"),
        ("variables", "value_of_a_variable"),
        ("yaml", "quote_never_closed"),
    ] {
        let case = broken().join(area).join(case);
        let told = tell(&format!("{area}-json"), &case, &["check", "--format", "json"]);
        assert_eq!((told.code, told.stderr.as_str()), (65, ""), "{told}");
        let rows: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
        let rows: Vec<&serde_json::Value> = rows.as_array().unwrap().iter().collect();
        let report = fs::read_to_string(case.join("report.snap")).unwrap();
        let count = report.lines().filter(|line| line.starts_with("berth::")).count();
        let errors = rows.iter().filter(|row| row["severity"] == "error").count();
        assert!(errors > 0 && errors <= count && count <= rows.len(), "{told}");
        in_the_folder(&case).bind(|| insta::assert_snapshot!("json", told.stdout));
    }
}

#[test]
fn every_area_is_a_test() {
    let there: Vec<String> = folders(&broken()).iter().map(|area| name(area)).collect();
    assert_eq!(there, AREAS);
}

#[test]
fn every_code_is_in_some_report() {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schema/src/code.rs");
    let table = fs::read_to_string(table).unwrap();
    let rows = table.lines().map(str::trim_start);
    let rows = rows.filter(|row| row.starts_with("Error ") || row.starts_with("Warning "));
    let codes: BTreeSet<String> =
        rows.map(|row| format!("berth::{}", row.split('"').nth(1).unwrap())).collect();
    assert!(codes.len() > 20, "{codes:?}");
    let reports = reports();
    let told = |code: &&String| {
        reports.iter().any(|(_, report)| report.lines().any(|line| line == code.as_str()))
    };
    let silent: Vec<&String> = codes.iter().filter(|code| !told(code)).collect();
    assert_eq!(silent, WITHOUT_CASE, "codes without a case");
}

#[test]
fn no_report_says_a_thing_twice() {
    for (case, report) in reports() {
        let mut said = BTreeSet::new();
        let blocks = report.split("\nberth::").skip(1);
        let twice: Vec<&str> = blocks.filter(|block| !said.insert(*block)).collect();
        assert!(twice.is_empty(), "{case} says twice: {twice:?}");
    }
}
