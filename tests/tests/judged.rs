//! What is written of a run by those that waited for its services.

use std::fs;

use berth_tests::TestHost;
use nix::sys::signal::Signal;

/// Healthy once `/tmp/ok` is there.
const STACK: &str = "
services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    stop_grace_period: 1s
    healthcheck: { test: [CMD, test, -e, /tmp/ok], interval: 50ms, retries: 2 }
";

/// What became of the newest generation.
fn result(host: &TestHost) -> String {
    let listed = host.berth("history --format json").succeeds().stdout;
    let newest: serde_json::Value =
        serde_json::from_str(listed.lines().next().expect("a row")).expect("a row");
    newest["Result"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn who_becomes_healthy_later_is_a_state_to_go_back_to() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d --wait --wait-timeout 5").fails_with(5);
    assert_eq!(result(&host), "failed");
    host.berth("up -d --wait --wait-timeout 5").fails_with(5);
    assert_eq!(result(&host), "failed");
    host.berth("exec -T web touch /tmp/ok").succeeds();
    host.eventually("it is healthy", || host.status("stack-web-1")["health"] == "healthy");
    host.berth("up -d --wait").succeeds();
    assert_eq!(result(&host), "stable");
    // What changes nothing and finds it ill spoils nothing.
    host.berth("exec -T web rm /tmp/ok").succeeds();
    host.eventually("it is ill", || host.status("stack-web-1")["health"] == "unhealthy");
    host.berth("up -d --wait --wait-timeout 5").fails_with(5);
    assert_eq!(result(&host), "stable");
    assert_eq!(host.berth("history -q").succeeds().stdout, "1\n");
}

#[test]
fn who_stops_waiting_has_not_seen_that_it_became_healthy() {
    let host = TestHost::with("compose.yaml", &STACK.replace("retries: 2", "retries: 1000000"));
    host.berth("up -d --wait --wait-timeout 1").fails_with(5);
    let up = host.start_berth("up -d --wait");
    let status = format!("/proc/{}/status", up.pid());
    host.eventually("it listens for signals", || {
        let status = fs::read_to_string(&status).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
        // SIGHUP is the last of them.
        caught.is_some_and(|set| set & 1 != 0)
    });
    up.signal(Signal::SIGINT);
    up.ends().fails_with(130);
    assert_eq!(result(&host), "failed");
}

#[test]
fn what_was_kept_as_it_was_says_nothing_of_what_was_not_applied() {
    let stack = "
services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    environment: { VERSION: '1' }
    volumes: ['.:/srv:ro']
    stop_grace_period: 0s
    healthcheck: { test: 'test $$VERSION = 1 -o -e /srv/ok', interval: 50ms, retries: 2 }
    deploy: { replicas: 2, update_config: { failure_action: pause } }
";
    let host = TestHost::with("compose.yaml", stack);
    host.berth("up -d").succeeds();
    host.edit("compose.yaml", "VERSION: '1'", "VERSION: '2'");
    host.berth("up -d").fails_with(3);
    host.write("ok", "");
    host.eventually("it is healthy", || host.status("stack-web-1")["health"] == "healthy");
    host.berth("up -d --no-recreate --wait").succeeds().stderr_has("nothing to do");
    assert_eq!(result(&host), "failed");
    host.berth("up -d").succeeds();
    assert_eq!(result(&host), "stable");
}
