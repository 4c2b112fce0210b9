//! `deploy`, `develop`, `models` and platforms.

use std::time::Duration;

use insta::assert_snapshot;

use super::{refused, refused_file, service, shown};
use crate::stack::{
    DeployMode, EndpointMode, FailureAction, Hook, Placement, RestartCondition, RestartPolicy,
    Rollout, RolloutOrder, ServiceModel, WatchAction,
};

#[test]
fn every_attribute_of_deploy_has_its_type() {
    let service = service(
        "deploy:
  mode: global
  endpoint_mode: dnsrr
  labels: [a=b]
  update_config: {parallelism: 0, delay: 10s, failure_action: rollback, monitor: 1m, max_failure_ratio: 0.5, order: start-first}
  rollback_config: {failure_action: pause, order: stop-first}
  placement: {constraints: [node.role == manager], preferences: [{spread: node.labels.zone}], max_replicas_per_node: 2}
  restart_policy: {condition: on-failure, delay: 5s, max_attempts: 3, window: 2m}
  resources: {reservations: {cpus: '0.25', generic_resources: [{discrete_resource_spec: {kind: gpu, value: 2}}]}}
",
    );
    assert_eq!(service.restart, RestartPolicy::OnFailure(3));
    let deploy = service.deploy.unwrap();
    assert_eq!(deploy.mode, DeployMode::Global);
    assert_eq!(deploy.endpoint_mode, Some(EndpointMode::Dnsrr));
    assert_eq!(deploy.labels["a"], "b");
    let update = Rollout {
        parallelism: Some(0),
        delay: Some(Duration::from_secs(10)),
        on_failure: Some(FailureAction::Rollback),
        monitor: Some(Duration::from_secs(60)),
        max_failure_ratio: Some(0.5),
        order: Some(RolloutOrder::StartFirst),
    };
    assert_eq!(deploy.update, Some(update));
    assert_eq!(deploy.rollback.unwrap().on_failure, Some(FailureAction::Pause));
    let placement = Placement {
        constraints: vec!["node.role == manager".into()],
        spread: vec!["node.labels.zone".into()],
        max_replicas_per_node: Some(2),
    };
    assert_eq!(deploy.placement, placement);
    let rule = deploy.restart.unwrap();
    assert_eq!(rule.condition, RestartCondition::OnFailure);
    assert_eq!(rule.delay, Some(Duration::from_secs(5)));
    assert_eq!((rule.max_attempts, rule.window), (Some(3), Some(Duration::from_secs(120))));
    assert_eq!(deploy.reserved_cpu_micros, Some(250_000));
    assert_eq!(deploy.generic_resources["gpu"], 2);
}

#[test]
fn deploys_that_cannot_work_are_refused() {
    assert_snapshot!(refused(
        "scale: 3
deploy:
  mode: global
  endpoint_mode: vpi
  update_config: {failure_action: rolback, max_failure_ratio: 1.5, parallelism: -1}
  rollback_config: {failure_action: rollback}
"
    ), @"
    compose.yaml:4:12 berth::conflict
      `services.web` has one container for each host, and more of them
      → write `mode: replicated`, or take the number away
    compose.yaml:7:22 berth::bad_value
      `services.web.deploy.endpoint_mode`: `vpi` is not an endpoint mode
      → did you mean `vip`?
    compose.yaml:8:39 berth::bad_value
      `services.web.deploy.update_config.failure_action`: `rolback` is not an action here
      → did you mean `rollback`?
    compose.yaml:8:67 berth::bad_value
      `services.web.deploy.update_config.max_failure_ratio`: `1.5` is not between 0 and 1
    compose.yaml:8:85 berth::bad_value
      `services.web.deploy.update_config.parallelism`: `-1` is below 0
    compose.yaml:9:41 berth::bad_value
      `services.web.deploy.rollback_config.failure_action`: `rollback` is not an action here
      → write continue or pause
    ");
}

#[test]
fn each_watch_has_what_its_action_needs() {
    let watch = service(
        "develop:
  watch:
    - {path: ., action: rebuild, ignore: [a], include: b}
    - {path: ./src, action: sync, target: /app, initial_sync: true}
    - {path: ./x, action: restart}
    - {path: ./y, action: sync+restart, target: /y}
    - {path: ./z, action: sync+exec, target: /z, exec: {command: make all, user: root}}
",
    )
    .watch;
    let actions: Vec<&WatchAction> = watch.iter().map(|watch| &watch.action).collect();
    let hook = Hook {
        command: vec!["make".into(), "all".into()],
        environment: Default::default(),
        user: Some("root".into()),
        working_dir: None,
        privileged: false,
    };
    assert_eq!(
        actions,
        [
            &WatchAction::Rebuild,
            &WatchAction::Sync { target: "/app".into() },
            &WatchAction::Restart,
            &WatchAction::SyncRestart { target: "/y".into() },
            &WatchAction::SyncExec { target: "/z".into(), hook },
        ]
    );
    assert_eq!(watch[1].path.to_str(), Some("/p/src"));
    assert!(watch[1].initial_sync);
    assert_eq!(
        (&watch[0].ignore[..], &watch[0].include[..]),
        (&["a".into()][..], &["b".into()][..])
    );
}

#[test]
fn a_watch_that_runs_nothing_is_refused() {
    let attributes = "develop: {watch: [{path: ., action: sync+exec, target: /z}]}";
    assert_snapshot!(refused(attributes), @"
    compose.yaml:4:23 berth::bad_value
      `services.web.develop.watch.0.exec`: the hook names no program
      → add `command: [PROGRAM, ARGUMENT, …]`
    ");
}

#[test]
fn models_name_the_variables_that_tell_of_them() {
    let stack = shown(
        "services:
  short: {image: i, models: [my-llm]}
  long: {image: i, models: {my-llm: {endpoint_var: AT, model_var: WHICH}}}
models:
  my-llm: {model: ai/model:1, context_size: 4096, runtime_flags: [--fast]}
",
    );
    let variables = |endpoint: &str, model: &str| ServiceModel {
        endpoint_var: endpoint.into(),
        model_var: model.into(),
    };
    let of = |name: &str| stack.services[name].models["my-llm"].clone();
    assert_eq!(of("short"), variables("MY_LLM_URL", "MY_LLM_MODEL"));
    assert_eq!(of("long"), variables("AT", "WHICH"));
    let model = &stack.models["my-llm"];
    assert_eq!(
        (model.context_size, &model.runtime_flags[..]),
        (Some(4096), &["--fast".into()][..])
    );
}

#[test]
fn models_and_platforms_that_cannot_be_are_refused() {
    assert_snapshot!(refused_file(
        "services:
  web: {image: i, platform: linux/amd64/v2/x, models: {m: {model_var: 1A}}}
models:
  m: {model: a, context_size: 5000000000}
"
    ), @"
    compose.yaml:2:29 berth::bad_value
      `services.web.platform`: `linux/amd64/v2/x` is not a platform
      → write it like `linux/amd64` or `linux/arm64/v8`
    compose.yaml:2:71 berth::bad_value
      `services.web.models.m.model_var`: `1A` is not the name of a variable
      → names have letters, digits and `_`, and do not start with a digit
    compose.yaml:4:31 berth::bad_value
      `models.m.context_size`: `5000000000` is not between 0 and 4294967295 tokens
    ");
}
