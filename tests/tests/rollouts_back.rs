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
    deploy: { replicas: 2, update_config: { ORDER, failure_action: rollback, monitor: 2s } }
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

/// `web`, and one that is there only when `web` is healthy.
fn two(update: &str, restart: bool) -> TestHost {
    let stack = format!(
        "
services:
  web:
    image: busybox:1
    command: [sh, -c, 'test $$MODE = good && touch /good; exec sleep 100000']
    environment: {{ MODE: good }}
    healthcheck: {{ test: test -e /good, interval: 50ms, retries: 20 }}
    stop_grace_period: 0s
    deploy: {{ update_config: {{ {update} }} }}
  proxy:
    image: busybox:1
    command: [sleep, '100000']
    environment: {{ VERSION: '1' }}
    stop_grace_period: 0s
    depends_on: {{ web: {{ condition: service_healthy, restart: {restart} }} }}
"
    );
    let host = TestHost::with("compose.yaml", &stack);
    host.berth("up -d").succeeds();
    host
}

#[test]
fn what_waited_for_a_version_that_failed_runs_again_after_the_rollback() {
    for (update, proxy) in [("order: start-first", "'2'"), ("order: stop-first", "'1'")] {
        let update = format!("{update}, failure_action: rollback");
        let host = two(&update, proxy == "'1'");
        host.edit("compose.yaml", "MODE: good", "MODE: bad");
        host.edit("compose.yaml", "VERSION: '1'", &format!("VERSION: {proxy}"));

        host.berth("up -d").fails_with(6).stderr_has("is unhealthy");
        assert_eq!(
            running(&host),
            "stack-proxy-1 busybox:1 running, stack-web-1 busybox:1 running"
        );
    }
}

#[test]
fn what_fails_for_its_own_reason_when_it_starts_again_spoils_no_rollback() {
    for (required, status) in [(true, 3), (false, 6)] {
        let host = two("order: stop-first, failure_action: rollback", true);
        let text = format!(
            "    healthcheck: {{ test: test ! -e /srv/gone, interval: 50ms, retries: 2 }}
    volumes: ['.:/srv:ro']
  tail:
    image: busybox:1
    command: [sleep, '100000']
    stop_grace_period: 0s
    depends_on:
      web: {{ condition: service_healthy, restart: true }}
      proxy: {{ condition: service_healthy, restart: true, required: {required} }}
"
        );
        let before = std::fs::read_to_string(host.project("compose.yaml")).unwrap();
        host.write("compose.yaml", &(before + &text));
        host.berth("up -d").succeeds();
        host.edit("compose.yaml", "MODE: good", "MODE: bad");
        host.write("gone", "");

        let up = host.berth("up -d").fails_with(status);
        let up = up.stderr_has("rolled back: `web` is 1 container of image `busybox:1`");
        let up = up.stderr_has("`stack-proxy-1` is unhealthy");
        assert!(!up.stderr.contains("not rolled back"), "{up}");
        assert!(running(&host).contains("stack-web-1 busybox:1 running"));
        host.berth("--dry-run up -d").fails_with(9).stderr_has("`web` in generation 3");
        if required {
            host.berth("up -d").fails_with(1).stderr_has("warning: just this was rejected before");
        }
    }
}

#[test]
fn a_rejected_version_that_fails_once_more_is_told_by_how_it_failed_last() {
    let host = two("order: start-first, failure_action: rollback", false);
    host.edit(
        "compose.yaml",
        "exec sleep 100000",
        "test $$MODE = good || exec cat /srv/why /nothing; exec sleep 100000",
    );
    host.edit(
        "compose.yaml",
        "    environment: { MODE",
        "    volumes: ['.:/srv:ro']\n    environment: { MODE",
    );
    host.berth("up -d").succeeds();
    host.edit("compose.yaml", "MODE: good", "MODE: bad");
    host.write("why", "no table\n");
    host.berth("up -d").fails_with(6).stderr_has("no table");
    let first = host.berth("up -d").fails_with(9).stderr_has("no table");
    host.write("why", "port refused\n");
    host.shell("sleep 1").succeeds();
    host.berth("up -d --retry").fails_with(6).stderr_has("port refused");
    let last = host.berth("up -d").fails_with(9).stderr_has("port refused");
    assert!(!last.stderr.contains("no table"), "{last}");
    let tried = |said: &str| said.lines().find(|line| line.contains("tried at")).map(str::to_owned);
    assert!(tried(&last.stderr) > tried(&first.stderr), "{first}{last}");
    host.berth("scale web=1").fails_with(9);
    let again = "`berth scale --retry web=1` tries just this again";
    host.berth("scale --retry web=1").fails_with(6).stderr_has(again);
}

#[test]
fn how_many_failed_is_told_by_the_status_in_either_order() {
    for (update, status) in [
        ("order: stop-first, failure_action: continue", 5),
        ("order: stop-first, max_failure_ratio: 1.0", 5),
        ("order: stop-first, failure_action: pause", 3),
        ("order: start-first, failure_action: pause", 3),
    ] {
        for mode in ["bad", "missing"] {
            let host = two(update, false);
            match mode {
                "bad" => host.edit("compose.yaml", "MODE: good", "MODE: bad"),
                _ => host.edit("compose.yaml", "[sh, -c", "[nothing, -c"),
            }
            host.berth("up -d web").fails_with(status);
        }
    }
}

#[test]
fn a_rollback_that_cannot_be_says_why() {
    let host = one("order: stop-first");
    host.edit("compose.yaml", "volumes: [", "volumes: [/data, ");
    host.berth("up -d").succeeds();
    host.edit("compose.yaml", "MODE: good", "MODE: bad");
    host.write("full", "");

    let why = "nothing was kept of its container 1: its data is in a volume without a name";
    host.berth("up -d").fails_with(3).stderr_has("out of orders").stderr_has(why);
}

#[test]
fn a_rollback_that_is_interrupted_says_so() {
    let host = one("order: stop-first");
    host.edit(
        "compose.yaml",
        "environment: {",
        "healthcheck: { test: test -e /srv/well, interval: 1s, retries: 100 }\n    environment: {",
    );
    host.write("well", "");
    host.berth("up -d").succeeds();
    host.edit("compose.yaml", "MODE: good", "MODE: bad");
    host.write("full", "");
    host.shell("rm well").succeeds();

    let journal = "/var/lib/berth/projects/stack/journal.ndjson";
    let up = format!(
        "rm -f {journal}; $berth up -d & pid=$!; while [ -e /proc/$pid/exe ]; do \
         grep -q 'start.*prove_container stack-web-1\"' {journal} 2>/dev/null && kill $pid && touch well && break; done; wait $pid"
    );
    let ended = host.start_shell(Place::Inside, &up).ends();
    ended.fails_with(143).stderr_has("out of orders").stderr_has("the rollback was interrupted");
}

#[test]
fn one_that_fails_while_it_is_watched_hands_back_to_the_old_one_which_runs() {
    let host = one("order: start-first, monitor: 5s");
    let before = host.pid_of_container("stack-web-1");
    host.edit("compose.yaml", "MODE: good", "MODE: bad");
    host.edit("compose.yaml", "stop_grace_period: 0s", "restart: always");
    let up = host.start_berth("up -d");
    host.eventually("it has taken over", || running(&host).contains("stack-web-1-b"));
    let journal = "grep -q 'start.*watch_container' /var/lib/berth/projects/stack/journal.ndjson";
    host.eventually("it is watched", || host.shell(journal).code == 0);
    host.write("full", "");

    up.ends().fails_with(6).stderr_has("out of orders");
    assert_eq!(host.pid_of_container("stack-web-1"), before);
}

#[test]
fn run_and_rollback_take_back_what_fails_as_up_does() {
    let host = two("order: start-first, failure_action: rollback", false);
    host.edit("compose.yaml", "MODE: good", "MODE: bad");
    host.berth("run --rm proxy true").fails_with(6).stderr_has("rolled back: `web`");
    assert!(running(&host).contains("stack-web-1 busybox:1 running"));

    // A generation that was good fails now.
    let host = one("order: stop-first, monitor: 2s");
    for (from, to) in [("MODE: good", "MODE: bad"), ("MODE: bad", "MODE: good")] {
        host.edit("compose.yaml", from, to);
        host.berth("up -d").succeeds();
    }
    host.write("full", "");
    let before = running(&host);
    let again = "`berth rollback 2` tries just this again";
    host.berth("rollback").fails_with(6).stderr_has("out of orders").stderr_has(again);
    assert_eq!(running(&host), before);
}

#[test]
fn what_was_rejected_keeps_nothing_else_from_running() {
    let host = two("order: stop-first, failure_action: rollback", false);
    host.edit("compose.yaml", "MODE: good", "MODE: bad");
    host.berth("up -d").fails_with(6).stderr_has("is unhealthy");
    let good = "stack-proxy-1 busybox:1 running, stack-web-1 busybox:1 running";
    assert_eq!(running(&host), good);
    let web = host.pid_of_container("stack-web-1");
    let history = || host.berth("history -q").succeeds().stdout;
    let before = history();

    // Where all else is as it should be, nothing is touched.
    let refused = host.berth("up -d").fails_with(9).stderr.clone();
    assert!(!refused.contains("the rest was done"), "{refused}");
    assert_eq!((host.pid_of_container("stack-web-1"), history()), (web, before));
    for down in ["stop", "stop web", "stop proxy"] {
        host.berth(down).succeeds();
        host.berth("up -d")
            .fails_with(9)
            .stderr_has("just this was rejected before: `web` in generation 2")
            .stderr_has("`web` stays 1 container of image `busybox:1`, and the rest was done")
            .stderr_has("help: change `web`");
        assert_eq!(running(&host), good);
        host.berth("exec -T web sh -c 'test $MODE = good'").succeeds();
    }
    // What changes besides is done, and is in the history with what serves.
    host.edit("compose.yaml", "VERSION: '1'", "VERSION: '2'");
    host.berth("--dry-run up -d").fails_with(9).stdout_has("proxy").stdout_lacks("web-1");
    host.berth("up -d").fails_with(9).stderr_has("the rest was done");
    host.berth("exec -T proxy sh -c 'test $VERSION = 2'").succeeds();
    let newest = history().split_whitespace().next().map(str::to_owned).unwrap();
    let model = format!("/var/lib/berth/projects/stack/generations/{newest}/compose.yaml");
    let model = host.shell(&format!("cat {model}")).succeeds();
    model.stdout_has("MODE: good").stdout_has("VERSION: \"2\"");

    // It stays rejected when something else fails.
    let sleep = "command: [sleep, '100000']";
    host.edit("compose.yaml", sleep, "command: [nothing-of-this-name]");
    host.berth("up -d").fails_with(3).stderr_has("just this was rejected before: `web`");
    host.edit("compose.yaml", "command: [nothing-of-this-name]", sleep);
    host.berth("up -d").fails_with(9).stderr_has("the rest was done");
    host.berth("up -d").fails_with(9);
    assert_eq!(running(&host), good);

    // What cannot stay as it is keeps all as it is.
    host.berth("up -d --retry").fails_with(6);
    host.berth("down").succeeds();
    let refused = host.berth("up -d").fails_with(9).stderr.clone();
    assert!(!refused.contains("the rest was done"), "{refused}");
    assert_eq!(running(&host), "");
}
