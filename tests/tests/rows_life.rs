//! One test for each attribute of a container's life: what it does, and what is so without it.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::time::{Duration, Instant};

use berth_tests::TestHost;
use serde_json::{Value, json};

/// A stack of one service `web` with these lines.
fn web(lines: &str) -> TestHost {
    let text = format!("services:\n  web:\n    image: busybox:1\n{lines}");
    let host = TestHost::with("compose.yaml", &text);
    host.berth("up -d").succeeds();
    host
}

fn status(host: &TestHost) -> Value {
    host.status("stack-web-1")
}

fn has_ended(host: &TestHost) -> bool {
    status(host)["phase"] == "exited"
}

/// What the monitor was told of `web`.
fn bundle(host: &TestHost) -> Value {
    let path = host.machine().path("/run/berth/containers/stack-web-1/bundle.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The record of `web`.
fn record(host: &TestHost) -> Value {
    let path = host.machine().path("/var/lib/berth/containers/stack-web-1/record.json");
    serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap()["record"].take()
}

fn events(host: &TestHost) -> Vec<Value> {
    let path = host.machine().path("/run/berth/events/stack");
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The second of the day at which something happened.
fn second_of_day(event: &Value) -> f64 {
    let time = event["time"].as_str().unwrap();
    let clock = time.split('T').nth(1).unwrap().trim_end_matches('Z');
    clock.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap())
}

const SLEEP: &str = "    command: [sleep, '100000']\n";
const FAIL: &str = "    command: [sh, -c, 'exit 3']\n";

#[test]
fn restart_policy_none_wins_over_restart() {
    let host = web(&format!(
        "{FAIL}    restart: always\n    deploy: {{ restart_policy: {{ condition: none }} }}\n"
    ));
    host.eventually("it has ended", || has_ended(&host));
    assert_eq!(status(&host)["restarts"], 0);
}

#[test]
fn restart_policy_on_failure_makes_so_many_attempts() {
    let policy = "{ condition: on-failure, max_attempts: 2, delay: 50ms }";
    let host = web(&format!("{FAIL}    deploy: {{ restart_policy: {policy} }}\n"));
    host.eventually("it is given up", || has_ended(&host));
    assert_eq!((&status(&host)["restarts"], &status(&host)["exit_code"]), (&json!(2), &json!(3)));
}

#[test]
fn restart_policy_any_restarts_what_ended_well_and_is_what_the_policy_is_without_a_condition() {
    for condition in ["condition: any, ", "condition: unless-stopped, ", ""] {
        let policy = format!("{{ {condition}max_attempts: 1, delay: 50ms }}");
        let host =
            web(&format!("    command: ['true']\n    deploy: {{ restart_policy: {policy} }}\n"));
        host.eventually("it is given up", || has_ended(&host));
        assert_eq!(status(&host)["restarts"], 1, "{condition}");
    }
}

#[test]
fn restart_policy_delay_is_kept_each_time() {
    let policy = "{ condition: any, max_attempts: 2, delay: 400ms }";
    let host = web(&format!("{FAIL}    deploy: {{ restart_policy: {policy} }}\n"));
    host.eventually("it is given up", || has_ended(&host));
    let events = events(&host);
    let of = |name: &str| -> Vec<f64> {
        events.iter().filter(|e| e["event"] == name).map(second_of_day).collect()
    };
    for (died, again) in of("die").iter().zip(of("restart")) {
        assert!((again - died).rem_euclid(86_400.0) >= 0.399, "{events:?}");
    }
    assert_eq!(of("restart").len(), 2);
}

#[test]
fn restart_policy_window_forgives_starts_that_lasted() {
    let policy = "{ condition: any, max_attempts: 1, delay: 10ms, window: 300ms }";
    let line = "n=$$(cat /n 2>/dev/null || echo 0); echo $$((n+1)) >/n; [ $$n -ge 3 ] || sleep 0.5; exit 1";
    let host = web(&format!(
        "    command: [sh, -c, '{line}']\n    deploy: {{ restart_policy: {policy} }}\n"
    ));
    host.eventually("it is given up", || has_ended(&host));
    // Three starts lasted and two did not, the first of which was the one that may fail.
    assert_eq!(status(&host)["restarts"], 4);
}

#[test]
fn without_a_policy_what_ended_stays_so() {
    let host = web(FAIL);
    host.eventually("it has ended", || has_ended(&host));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(status(&host)["restarts"], 0);
    assert_eq!(bundle(&host)["restart"], "no");
}

#[test]
fn a_program_that_is_not_there_is_not_tried_again() {
    for (command, code) in [("[no-such-program]", 127), ("[/data/seed]", 126)] {
        let text = format!(
            "services: {{ web: {{ image: 'busybox:1', restart: always, command: {command} }} }}"
        );
        let host = TestHost::with("compose.yaml", &text);
        assert_ne!(host.berth("up -d").code, 0);
        assert_eq!(
            (status(&host)["exit_code"].clone(), status(&host)["restarts"].clone()),
            (json!(code), json!(0))
        );
        assert!(has_ended(&host));
    }
}

#[test]
fn a_wait_for_the_next_start_outlives_a_killed_monitor() {
    let policy = "{ condition: any, delay: 1h }";
    let host = web(&format!("{FAIL}    deploy: {{ restart_policy: {policy} }}\n"));
    host.eventually("it waits", || status(&host)["phase"] == "waiting");
    host.kill("KILL", host.monitor_of("web"));
    let next = status(&host)["next_start_ms"].clone();
    host.berth("ps -a").succeeds().stdout_has("Exited (3)");
    host.berth("up -d").succeeds();
    assert_ne!(status(&host)["next_start_ms"], next, "`up` starts it at once");
}

#[test]
fn out_of_memory_is_told_before_the_end_and_by_ps() {
    let host = web("    command: [tail, /dev/zero]\n    mem_limit: 16m\n    memswap_limit: 16m\n");
    host.eventually("it has ended", || has_ended(&host));
    let events = events(&host);
    let at = |name: &str| events.iter().position(|e| e["event"] == name).unwrap();
    assert!(at("oom") < at("die"), "{events:?}");
    assert_eq!(
        (status(&host)["oom_killed"].clone(), status(&host)["exit_code"].clone()),
        (json!(true), json!(137))
    );
    host.berth("ps -a").succeeds().stdout_has(", out of memory");
}

#[test]
fn an_end_for_another_reason_is_not_told_as_one_for_memory() {
    let host = web(FAIL);
    host.eventually("it has ended", || has_ended(&host));
    assert_eq!(status(&host)["oom_killed"], false);
    host.berth("ps -a").succeeds().stdout_lacks("out of memory");
}

#[test]
fn stop_signal_is_that_of_the_file_or_term() {
    let line = "    init: false\n    command: [sh, -c, 'trap \"exit 11\" TERM; trap \"exit 12\" QUIT; echo up; while :; do sleep 0.05; done']\n";
    for (lines, code) in
        [("", 11), ("    stop_signal: SIGQUIT\n", 12), ("    stop_signal: QUIT\n", 12)]
    {
        let host = web(&format!("{line}{lines}"));
        host.eventually("it listens", || host.berth("logs web").stdout.contains("up"));
        host.berth("stop").succeeds();
        assert_eq!(status(&host)["exit_code"], code, "{lines}");
    }
}

#[test]
fn stop_grace_period_is_that_of_the_file_or_ten_seconds() {
    let line = "    init: false\n    command: [sh, -c, 'trap : TERM; echo up; while :; do sleep 0.05; done']\n";
    let host = web(line);
    assert_eq!(bundle(&host)["stop_grace_ms"], 10_000);
    host.berth("stop -t 0").succeeds();

    let host = web(&format!("{line}    stop_grace_period: 1s500ms\n"));
    host.eventually("it listens", || host.berth("logs web").stdout.contains("up"));
    assert_eq!(bundle(&host)["stop_grace_ms"], 1_500);
    let begin = Instant::now();
    host.berth("stop").succeeds();
    assert!(begin.elapsed() >= Duration::from_millis(1_500));
    assert_eq!(status(&host)["exit_code"], 137);
}

#[test]
fn healthcheck_has_the_times_of_the_file_or_those_of_docker() {
    let test = "test: [CMD, 'true']";
    let host = web(&format!("{SLEEP}    healthcheck: {{ {test} }}\n"));
    let expected = json!({
        "argv": ["true"], "interval_ms": 30_000, "timeout_ms": 30_000,
        "start_period_ms": 0, "start_interval_ms": 5_000, "retries": 3,
    });
    assert_eq!(bundle(&host)["health"], expected);
    let none = "interval: 0s, timeout: 0s, start_interval: 0s, retries: 0";
    let host = web(&format!("{SLEEP}    healthcheck: {{ {test}, {none} }}\n"));
    assert_eq!(bundle(&host)["health"], expected);

    let times = "interval: 1m30s, timeout: 7s, start_period: 2m, start_interval: 200ms, retries: 9";
    let host = web(&format!("{SLEEP}    healthcheck: {{ test: 'true && true', {times} }}\n"));
    let expected = json!({
        "argv": ["/bin/sh", "-c", "true && true"], "interval_ms": 90_000, "timeout_ms": 7_000,
        "start_period_ms": 120_000, "start_interval_ms": 200, "retries": 9,
    });
    assert_eq!(bundle(&host)["health"], expected);
    host.berth("up --wait").succeeds();
}

#[test]
fn healthcheck_goes_on_after_a_signal_that_the_program_heeds_not() {
    let host = web("    command: [sh, -c, 'trap : TERM; while :; do sleep 0.1; done']
    healthcheck: { test: 'echo x >>/tmp/checks', interval: 100ms }
");
    let checks =
        || host.berth("exec -T web sh -c 'wc -l </tmp/checks'").stdout.trim().parse::<u32>();
    host.eventually("it is checked", || checks().is_ok());
    host.berth("kill -s TERM web").succeeds();
    let before = checks().unwrap();
    host.eventually("it is checked again", || checks().is_ok_and(|now| now > before + 2));
    host.berth("kill web").succeeds();
}

#[test]
fn healthcheck_runs_in_the_container_and_its_failures_count() {
    let check = "{ test: [CMD-SHELL, 'id -u; cat /good'], interval: 100ms, retries: 2 }";
    let host = web(&format!("{SLEEP}    user: app\n    healthcheck: {check}\n"));
    host.eventually("it is unhealthy", || status(&host)["health"] == "unhealthy");
    let said = status(&host)["health_output"].to_string();
    assert!(said.contains("1000") && said.contains("/good"), "{said}");
    host.berth("exec -T -u root web touch /good").succeeds();
    host.eventually("it is healthy", || status(&host)["health"] == "healthy");
}

#[test]
fn healthcheck_failures_in_the_start_period_do_not_count() {
    let check = "{ test: [CMD, 'false'], interval: 50ms, start_interval: 50ms, retries: 1, start_period: 1h }";
    let host = web(&format!("{SLEEP}    healthcheck: {check}\n"));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(status(&host)["health"], "starting");
}

#[test]
fn healthcheck_that_takes_too_long_has_failed() {
    let check = "{ test: [CMD, sleep, '4242'], interval: 50ms, timeout: 100ms, retries: 1 }";
    let host = web(&format!("{SLEEP}    healthcheck: {check}\n"));
    host.eventually("it is unhealthy", || status(&host)["health"] == "unhealthy");
    assert!(status(&host)["health_output"].to_string().contains("took too long"));
}

#[test]
fn healthcheck_is_none_where_the_file_switches_it_off_or_nobody_has_one() {
    for lines in ["", "    healthcheck: { disable: true }\n", "    healthcheck: { test: [NONE] }\n"]
    {
        let host = web(&format!("{SLEEP}{lines}"));
        assert_eq!(
            (bundle(&host)["health"].clone(), status(&host)["health"].clone()),
            (Value::Null, json!("none"))
        );
    }
}

#[test]
fn labels_are_those_of_the_file_and_label_files() {
    let host = TestHost::bare();
    host.write("more.labels", "from.file=yes\nboth=file\n");
    host.write(
        "compose.yaml",
        "services:\n  web:\n    image: busybox:1\n    command: [sleep, '100000']\n    label_file: more.labels\n    labels: { both: inline, own: '1' }\n",
    );
    host.load(&berth_tests::images::busybox());
    host.berth("up -d").succeeds();
    let expected = json!({ "from.file": "yes", "both": "inline", "own": "1" });
    assert_eq!(record(&host)["spec"]["labels"], expected);
    let row: Value =
        serde_json::from_str(host.berth("ps --format json").stdout.lines().next().unwrap())
            .unwrap();
    let row = row.as_array().map_or(row.clone(), |rows| rows[0].clone());
    assert!(row["Labels"].as_str().unwrap().contains("both=inline"), "{row}");
    let plain = web(SLEEP);
    assert_eq!(record(&plain)["spec"]["labels"], json!({}));
}

#[test]
fn scale_and_replicas_are_numbers_of_containers_and_one_without_them() {
    for (lines, count) in [("", 1), ("    scale: 3\n", 3), ("    deploy: { replicas: 2 }\n", 2)] {
        let host = web(&format!("{SLEEP}{lines}"));
        let names = host.shell("ls /var/lib/berth/containers").stdout;
        assert_eq!(names.lines().count(), count, "{names}");
    }
}

#[test]
fn attach_false_keeps_a_service_out_of_the_output_of_up() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  loud: { image: 'busybox:1', command: [echo, from loud] }
  quiet: { image: 'busybox:1', command: [echo, from quiet], attach: false }
",
    );
    let said = host.berth("up").succeeds().stdout;
    assert!(said.contains("from loud") && !said.contains("from quiet"), "{said}");
    host.berth("logs quiet").succeeds().stdout_has("from quiet");
}

#[test]
fn depends_on_restart_follows_a_restart_and_only_where_it_is_asked() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  db: { image: 'busybox:1', command: [sleep, '100000'] }
  follows: { image: 'busybox:1', command: [sleep, '100000'], depends_on: { db: { condition: service_started, restart: true } } }
  stays: { image: 'busybox:1', command: [sleep, '100000'], depends_on: [db] }
",
    );
    host.berth("up -d").succeeds();
    let before = [host.pid_of("follows"), host.pid_of("stays")];
    host.berth("restart db").succeeds();
    assert_ne!(host.pid_of("follows"), before[0]);
    assert_eq!(host.pid_of("stays"), before[1]);
}

#[test]
fn unless_stopped_and_always_remember_who_stopped_them() {
    for policy in ["always", "unless-stopped"] {
        let host = web(&format!("{SLEEP}    restart: {policy}\n"));
        assert_eq!(record(&host)["spec"]["restart"], policy);
        let before = host.pid_of("web");
        host.kill("KILL", before.pid);
        host.eventually("it is started again", || {
            status(&host)["phase"] == "running" && status(&host)["pid"] != before.pid
        });
        host.berth("stop").succeeds();
        assert!(has_ended(&host));
        let held = host.machine().path("/var/lib/berth/containers/stack-web-1/held");
        assert!(held.exists(), "a reboot leaves it");
        host.berth("plan").stdout_has("was stopped by the user");
    }
}
