//! Texts that stand for very much more than they say, or go on without end: each ends soon, in a
//! stack or in a problem that names the limit. Tests run on threads with stacks of 2 MiB.

use super::{load_all, options};
use crate::LoadOptions;

/// How it ends: `loads`, or the first problem and how many there are.
fn ends(files: &[(&str, &str)], options: &LoadOptions) -> String {
    match load_all(files, options) {
        Ok(_) => "loads".into(),
        Err(problems) => format!("{}: {}", problems.0.len(), problems.0[0]),
    }
}

fn ending(files: &[(&str, String)]) -> String {
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    ends(&files, &options())
}

fn of(text: &str) -> String {
    ends(&[("compose.yaml", text)], &options())
}

/// One line for each number.
fn lines(start: &str, numbers: std::ops::Range<usize>, line: impl Fn(usize) -> String) -> String {
    numbers.fold(start.to_owned(), |text, number| text + &line(number) + "\n")
}

#[test]
fn parts_that_include_the_same_parts_end_at_the_limit() {
    let names: Vec<String> = (0..30).map(|number| format!("p{number}.yaml")).collect();
    let part = |number: usize| format!("include: [p{0}.yaml, ./p{0}.yaml]\n", number + 1);
    let mut files: Vec<(&str, String)> =
        vec![("compose.yaml", "include: [p0.yaml]\n".into()), ("p30.yaml", String::new())];
    files.extend(names.iter().enumerate().map(|(number, name)| (name.as_str(), part(number))));
    assert_eq!(ending(&files), "1: more than 1000 parts are included");
}

#[test]
fn fifty_parts_inside_each_other_load() {
    let names: Vec<String> = (0..50).map(|number| format!("p{number}.yaml")).collect();
    let part = |number: usize| match number {
        49 => "services: {a: {image: i}}\n".to_owned(),
        _ => format!(
            "include: [p{}.yaml]\nx-a: {}\n",
            number + 1,
            "[".repeat(200) + &"]".repeat(200)
        ),
    };
    let mut files: Vec<(&str, String)> = vec![("compose.yaml", "include: [p0.yaml]\n".into())];
    files.extend(names.iter().enumerate().map(|(number, name)| (name.as_str(), part(number))));
    assert_eq!(ending(&files), "loads");
}

#[test]
fn parts_deep_inside_each_other_end_at_the_limit() {
    let names: Vec<String> = (0..60).map(|number| format!("p{number}.yaml")).collect();
    let part = |number: usize| format!("include: [p{}.yaml]\n", number + 1);
    let mut files: Vec<(&str, String)> = vec![("compose.yaml", "include: [p0.yaml]\n".into())];
    files.extend(names.iter().enumerate().map(|(number, name)| (name.as_str(), part(number))));
    assert_eq!(ending(&files), "1: parts include parts more than 50 deep");
}

#[test]
fn a_large_service_extended_by_many_ends_at_the_limit() {
    let start = format!("services:\n  s0: {{image: i, x-list: [{}]}}\n", "1, ".repeat(9000));
    let text = lines(&start, 1..300, |number| format!("  s{number}: {{extends: s0}}"));
    let limit = "the project holds more than 2000000 values once all is extended and included";
    assert_eq!(of(&text), format!("1: {limit}"));
}

#[test]
fn the_longest_chain_of_extended_services_loads() {
    // The names stand in the order that makes the chain deepest.
    let text = lines("services:\n  s0999: {image: i}\n", 500..999, |number| {
        format!("  s{number:04}: {{extends: s{:04}, dns_opt: [a{number}]}}", number + 1)
    });
    assert_eq!(of(&text), "loads");
}

#[test]
fn ranges_of_ports_end_at_the_limit() {
    let text = "services: {a: {image: i, ports: ['1-55000', '1-55000/udp']}}\n";
    let limit = "the ranges of this file stand for more than 100000 entries";
    assert_eq!(of(text), format!("1: {limit}"));
}

#[test]
fn variables_made_of_variables_end_at_the_limit() {
    let bomb = lines("A0=xxxxxxxxxx\n", 1..30, |number| {
        format!("A{number}={}", format!("$A{}", number - 1).repeat(10))
    });
    let files = [(".env", bomb), ("compose.yaml", "services: {a: {image: i}}\n".into())];
    let ended = ending(&files);
    assert!(ended.ends_with("variables make this file longer than 64 MiB"), "{ended}");
}

#[test]
fn long_values_in_many_texts_end_at_the_limit() {
    let mut options = options();
    options.environment.insert("LONG".into(), "x".repeat(100_000));
    let start = "services:\n  a:\n    image: i\n    labels:\n";
    let text = lines(start, 0..1000, |number| format!("      k{number}: ${{X:+$LONG}}$LONG"));
    let ended = ends(&[("compose.yaml", &text)], &options);
    assert_eq!(ended, "1: variables make the texts of this file longer than 64 MiB");
    // What is not used costs, too.
    let text = lines(start, 0..1000, |number| format!("      k{number}: ${{TAG:-$LONG}}"));
    let ended = ends(&[("compose.yaml", &text)], &options);
    assert_eq!(ended, "1: variables make the texts of this file longer than 64 MiB");
}

#[test]
fn thousands_of_problems_are_told_in_short() {
    let start = "services:\n  a:\n    image: i\n    ports:\n";
    let text = lines(start, 0..5000, |number| format!("    - x{number}"));
    let Err(problems) = load_all(&[("compose.yaml", &text)], &options()) else {
        panic!("loads");
    };
    assert_eq!(problems.0.len(), 201);
    assert_eq!(problems.0[200].to_string(), "4800 more problems are not shown");
}

#[test]
fn deep_values_pass_every_step() {
    let deep = |open: &str, close: &str| open.repeat(100) + &close.repeat(100);
    let (one, two) = (deep("{a: [", "]}"), deep("{a: [", "]}"));
    let text = format!(
        "x-d: &d {one}\nx-e: *d\nservices:\n  a: {{image: i, x-y: {one}}}\n  b: {{extends: a, x-y: {two}}}\n"
    );
    let files = [("compose.yaml", text.clone()), ("compose.override.yaml", text)];
    assert_eq!(ending(&files), "loads");
}

#[test]
fn texts_that_only_open_end_in_one_problem() {
    for open in ["[", "{", "{a: ", "- ", "? ", "&a ", "!", "'", "\"", "- - ", "|\n", "a:\n "] {
        let ended = of(&format!("x-a: {}", open.repeat(99_999)));
        assert!(ended.starts_with("1: "), "{open}: {ended}");
    }
}

#[test]
fn long_lines_of_an_environment_file_take_no_longer_than_many_lines() {
    let compose = ("compose.yaml", "services: {a: {image: i}}\n".to_owned());
    for line in ["A=\"\" ", "A='x'", "A B", "$", "A=${X:-", "A=\"\\"] {
        ending(&[(".env", line.repeat(50_000)), compose.clone()]);
    }
}
