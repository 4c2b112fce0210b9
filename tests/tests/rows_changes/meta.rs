//! Rows that only the record has, or nothing on the host.

use serde_json::json;

use super::Shows::{Record, Says};
use super::{Row, row};

/// All of them.
pub fn rows() -> Vec<Row> {
    [noted(), read_by_commands(), numbers()].into_iter().flatten().collect()
}

fn noted() -> Vec<Row> {
    let spec = |name: &'static str, class, values, at, wanted| {
        row(name, class, values, Record(at, wanted))
    };
    vec![
        row(
            "labels",
            "meta",
            ("labels: { tier: one }", "labels: { tier: two, more: '1' }"),
            Record("/record/spec/labels", json!({ "tier": "two", "more": "1" })),
        ),
        spec(
            "label_file",
            "meta",
            ("label_file: one.labels", "label_file: two.labels"),
            "/record/spec/labels/from",
            json!("two"),
        ),
        spec(
            "annotations",
            "meta",
            ("annotations: { note: one }", "annotations: { note: two }"),
            "/record/spec/annotations/note",
            json!("two"),
        ),
        spec("expose", "meta", ("", "expose: ['81']"), "/record/spec/expose/0", json!("81")),
        spec(
            "depends_on.*.condition depends_on.*.required depends_on.*.restart",
            "meta",
            (
                "",
                "depends_on: { peer: { condition: service_started, required: false, restart: true } }",
            ),
            "/record/depends_on/peer",
            json!({ "condition": "service_started", "required": false, "restart": true }),
        ),
        spec(
            "x-berth.on_change",
            "meta",
            (
                "configs: [one]\nx-berth: { on_change: none }",
                "configs: [one]\nx-berth: { on_change: 'signal:HUP' }",
            ),
            "/record/spec/on_change",
            json!("signal:SIGHUP"),
        ),
        spec(
            "logging.driver",
            "meta",
            ("logging: { driver: local }", "logging: { driver: json-file }"),
            "/record/spec/logging/driver",
            json!("json-file"),
        ),
    ]
}

/// Nothing on the host has them, so there is nothing to do; the merged file says the new value.
fn read_by_commands() -> Vec<Row> {
    let read = |name, values, wanted| row(name, "none", values, Says("config $NAME", wanted));
    vec![
        read("attach", ("attach: true", "attach: false"), "attach: false"),
        read("platform", ("", "platform: linux"), "platform: linux"),
        read("profiles", ("profiles: [all]", "profiles: [all, more]"), "- more"),
        read("pull_policy", ("", "pull_policy: never"), "pull_policy: never"),
        read(
            "deploy.update_config.order deploy.update_config.parallelism deploy.update_config.delay \
             deploy.update_config.monitor deploy.update_config.failure_action \
             deploy.update_config.max_failure_ratio",
            (
                "deploy: { update_config: { order: stop-first } }",
                "deploy: { update_config: { order: start-first, parallelism: 2, delay: 1s, monitor: 2s, failure_action: rollback, max_failure_ratio: 0.5 } }",
            ),
            "order: start-first",
        ),
        read(
            "deploy.rollback_config.order deploy.rollback_config.parallelism deploy.rollback_config.delay \
             deploy.rollback_config.monitor deploy.rollback_config.failure_action \
             deploy.rollback_config.max_failure_ratio",
            (
                "deploy: { update_config: { failure_action: rollback } }",
                "deploy: { update_config: { failure_action: rollback }, rollback_config: { order: start-first, parallelism: 2, delay: 1s, monitor: 2s, failure_action: continue, max_failure_ratio: 0.5 } }",
            ),
            "order: start-first",
        ),
        read("x-berth.deadline", ("", "x-berth: { deadline: 90s }"), "deadline: \"1m30s\""),
        read("deploy.mode", ("", "deploy: { mode: replicated }"), "mode: replicated"),
        read(
            "ports[].name ports[].app_protocol ports[].mode",
            (
                "ports: [{ target: 80, published: 8180 }]",
                "ports: [{ target: 80, published: 8180, name: page, app_protocol: http, mode: host }]",
            ),
            "name: page",
        ),
        read(
            "extends.file extends.service",
            (
                "extends: { file: base.yaml, service: base }",
                "extends: { file: other.yaml, service: base }",
            ),
            "working_dir: /usr",
        ),
    ]
}

/// What is there stays, and another one comes.
fn numbers() -> Vec<Row> {
    let more = |name, values| row(name, "none", values, Says("ps $NAME", "stack-$NAME-2"));
    vec![
        more("scale", ("scale: 1", "scale: 2")),
        more("deploy.replicas", ("", "deploy: { replicas: 2 }")),
    ]
}
