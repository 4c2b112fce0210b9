//! What is left of a rollout that fails or is killed: the containers from before, and the next run.

use berth_tests::TestHost;
use berth_tests::machine::Place;

/// Two of an image that end at once if they find a file in it.
const TAGGED: &str = "
services:
  web:
    image: app:1
    command: [sh, -c, 'test -e /broken && { echo no table called orders; exit 3; }; exec sleep 100000']
    stop_grace_period: 1s
    deploy: { replicas: 2, update_config: { ORDER, failure_action: rollback, monitor: 500ms } }
";

/// What runs, in order: names and images.
fn running(host: &TestHost) -> String {
    let all = "ps --format '{{.Names}} {{.Image}} {{.State}}'";
    let listed = host.berth(all).succeeds().stdout;
    let mut lines: Vec<&str> = listed.lines().collect();
    lines.sort();
    lines.join(", ")
}

#[test]
fn what_a_tag_meant_before_comes_back_when_the_new_image_fails() {
    for order in ["order: start-first", "order: stop-first"] {
        let host = TestHost::with("compose.yaml", "services: { any: { image: 'busybox:1' } }");
        host.berth("image tag busybox:1 app:1").succeeds();
        host.write("compose.yaml", &TAGGED.replace("ORDER", order));
        host.berth("up -d").succeeds();
        let before = running(&host);
        let images =
            "grep -o '\"image_id\": *\"[^\"]*\"' /var/lib/berth/containers/stack-web-*/record.json";
        let made_of = host.shell(images).succeeds().stdout;
        host.berth("exec -T web touch /broken").succeeds();
        host.berth("commit web app:1").succeeds();
        host.berth("exec -T web rm /broken").succeeds();

        host.berth("up -d").fails_with(6).stderr_has("no table called orders");
        assert_eq!(running(&host), before);
        assert_eq!(host.shell(images).succeeds().stdout, made_of);
    }
}

/// One that in its bad version ends when a file is there, and how it is replaced.
fn one(update: &str) -> TestHost {
    let stack = format!(
        "
services:
  web:
    image: busybox:1
    command: [sh, -c, 'until test $$MODE = bad -a -e /srv/full; do sleep 0.1; done; echo out of orders; exit 4']
    volumes: ['.:/srv:ro']
    environment: {{ MODE: good }}
    stop_grace_period: 0s
    deploy: {{ update_config: {{ {update}, failure_action: rollback }} }}
"
    );
    let host = TestHost::with("compose.yaml", &stack);
    host.berth("up -d").succeeds();
    host
}

/// Runs `up` and kills it when a line of the journal has these words.
fn killed_at(host: &TestHost, words: &str) {
    let journal = "/var/lib/berth/projects/stack/journal.ndjson";
    let up = format!(
        "rm -f {journal}; $berth up -d & pid=$!; while [ -e /proc/$pid/exe ]; do \
         grep -q '{words}' {journal} 2>/dev/null && kill -9 $pid && break; done; wait $pid"
    );
    host.start_shell(Place::Inside, &up).ends().fails_with(137);
}

#[test]
fn a_version_that_was_on_trial_when_the_run_was_killed_is_tried_by_the_next_one() {
    for (update, step) in [
        ("order: stop-first", "start.*prove_container stack-web-1-b"),
        ("order: start-first, monitor: 1s", "start.*watch_container stack-web-1-b"),
    ] {
        let host = one(update);
        host.edit("compose.yaml", "MODE: good", "MODE: bad");
        killed_at(&host, step);
        host.write("full", "");

        host.berth("up -d").fails_with(6).stderr_has("out of orders");
        assert_eq!(running(&host), "stack-web-1 busybox:1 running", "{update}");
        host.edit("compose.yaml", "MODE: bad", "MODE: good");
        host.berth("plan --detailed-exitcode").succeeds();
    }
}

#[test]
fn what_was_stopped_when_the_run_was_killed_starts_again_when_the_new_one_fails() {
    let host = one("order: stop-first");
    host.edit("compose.yaml", "MODE: good", "MODE: bad");
    killed_at(&host, "done.*stop_container stack-web-1\"");
    host.write("full", "");

    host.berth("up -d").fails_with(6).stderr_has("out of orders");
    assert_eq!(running(&host), "stack-web-1 busybox:1 running");
}
