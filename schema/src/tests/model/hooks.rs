//! Hooks, providers and health checks.

use insta::assert_snapshot;

use super::{refused, service};
use crate::stack::{Hook, InitStep, Provider};
use crate::tests::{lines, load_all, options};

#[test]
fn hooks_are_commands_with_their_surroundings() {
    let service = service(
        "environment: {A: b}
pre_start:
  - {command: migrate up, per_replica: true}
  - {image: tools, environment: [X=1], user: '5', working_dir: /w, privileged: true}
post_start: [{command: [sh, -c, 'a b'], environment: {N: 1}}]
pre_stop: [{command: drain, user: root}]
",
    );
    let hook = |command: &[&str]| Hook {
        command: command.iter().map(|&word| word.into()).collect(),
        environment: Default::default(),
        user: None,
        working_dir: None,
        privileged: false,
    };
    let started = Hook {
        environment: [("N".to_owned(), Some("1".to_owned()))].into(),
        ..hook(&["sh", "-c", "a b"])
    };
    assert_eq!(service.post_start, [started]);
    assert_eq!(service.pre_stop, [Hook { user: Some("root".into()), ..hook(&["drain"]) }]);
    let migrate = InitStep {
        image: Some("i".into()),
        command: Some(vec!["migrate".into(), "up".into()]),
        environment: Default::default(),
        user: None,
        working_dir: None,
        privileged: false,
        per_replica: true,
    };
    let tools = InitStep {
        image: Some("tools".into()),
        command: None,
        environment: [("X".to_owned(), Some("1".to_owned()))].into(),
        user: Some("5".into()),
        working_dir: Some("/w".into()),
        privileged: true,
        per_replica: false,
    };
    assert_eq!(service.pre_start, [migrate, tools]);
}

#[test]
fn a_provider_has_options_of_one_or_more_values() {
    let provider = service("provider: {type: awesome, options: {a: 1, b: [x, y]}}").provider;
    let options = [
        ("a".to_owned(), vec!["1".to_owned()]),
        ("b".to_owned(), vec!["x".to_owned(), "y".to_owned()]),
    ];
    assert_eq!(provider, Some(Provider { kind: "awesome".into(), options: options.into() }));
}

#[test]
fn hooks_and_probes_that_run_nothing_are_refused() {
    assert_snapshot!(refused(
        "post_start: [{command: ''}]
healthcheck: {test: [CMD], interval: 10us, retries: 5000000000}
"
    ), @"
    compose.yaml:4:28 berth::bad_value
      `services.web.post_start.0`: the hook names no program
      → add `command: [PROGRAM, ARGUMENT, …]`
    compose.yaml:5:25 berth::bad_value
      `services.web.healthcheck.test`: the probe names no program
      → write `[CMD, PROGRAM, ARGUMENT, …]`
    compose.yaml:5:42 berth::bad_value
      `services.web.healthcheck.interval`: `10µs` is below 1ms
      → a probe has a millisecond at least
    compose.yaml:5:57 berth::bad_value
      `services.web.healthcheck.retries`: `5000000000` is not between 0 and 4294967295 tries
    ");
    let empty = refused("healthcheck: {test: [CMD-SHELL]}");
    assert_eq!(empty, refused("healthcheck: {test: [CMD-SHELL, '']}"));
    assert_snapshot!(empty, @"
    compose.yaml:4:25 berth::bad_value
      `services.web.healthcheck.test`: the probe has no line for the shell
      → write `test: LINE`
    ");
}

#[test]
fn words_that_no_probe_runs_are_told() {
    let text = "services: {web: {image: i, healthcheck: {test: [CMD-SHELL, curl, -f, localhost]}}}";
    let loaded = load_all(&[("compose.yaml", text)], &options()).unwrap();
    assert_snapshot!(lines(&loaded.warnings), @"
    compose.yaml:1:48 berth::inert
      `services.web.healthcheck.test` runs only `curl` in the shell; the words after it have no effect
      → write the whole line as one text, or start the list with `CMD`
    ");
}
