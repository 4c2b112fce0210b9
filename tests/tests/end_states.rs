//! `up --wait` comes back when every service has reached the state that its file declares.

use berth_tests::TestHost;
use nix::sys::signal::Signal;

/// A data store that is healthy once `/go` is there, and an application that only needs it started.
const STACK: &str = "
services:
  db:
    image: busybox:1
    command: [sleep, '100000']
    healthcheck: { test: 'test -e /go', interval: 50ms, retries: 100000 }
  app: { image: 'busybox:1', command: [sleep, '100000'], depends_on: [db] }
  other: { image: 'busybox:1', command: [sleep, '100000'] }
";

#[test]
fn what_has_ended_well_as_its_file_has_it_counts() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  migrate: { image: 'busybox:1', command: [sh, -c, 'sleep 0.5; touch /done'] }
  seed: { image: 'busybox:1', command: ['true'] }
  retried: { image: 'busybox:1', command: ['true'], restart: on-failure }
  web:
    image: busybox:1
    command: [sleep, '100000']
    depends_on: { migrate: { condition: service_completed_successfully } }
",
    );
    host.berth("up --wait --wait-timeout 30").succeeds();
    assert_eq!(host.status("stack-migrate-1")["exit_code"], 0);
    host.pid_of("web");
    // By itself too, with nobody who waits for its end.
    host.berth("up --wait seed").succeeds();
}

#[test]
fn a_service_that_others_wait_for_is_waited_for_to_its_end() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  slow:
    image: busybox:1
    command: [sh, -c, 'until test -e /here/go; do sleep 0.05; done']
    volumes: ['.:/here']
  web:
    image: busybox:1
    command: [sleep, '100000']
    depends_on: { slow: { condition: service_completed_successfully } }
",
    );
    host.write("go", "");
    host.berth("up -d").succeeds();
    std::fs::remove_file(host.project("go")).unwrap();
    // It is run again, and `web`, which runs, has nothing to wait for.
    let up = host.start_berth("up --wait");
    host.eventually("it runs again", || host.status("stack-slow-1")["phase"] == "running");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(up.running().is_some(), "it did not wait for the end");
    host.write("go", "");
    up.ends().succeeds();
    assert_eq!(host.status("stack-slow-1")["phase"], "exited");
}

#[test]
fn one_that_failed_is_named_with_its_status_and_last_lines() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  job: { image: 'busybox:1', command: [sh, -c, 'echo no such table; exit 7'] }
  web:
    image: busybox:1
    command: [sleep, '100000']
    depends_on: { job: { condition: service_completed_successfully, required: false } }
",
    );
    let up = host.berth("up --wait").fails_with(5);
    up.stderr_has("job-1: ").stderr_has("exited (7); its last lines:\nno such table");
    host.pid_of("web");
}

#[test]
fn a_named_service_is_waited_for_with_what_it_needs_and_not_with_others() {
    let sick = "other: { healthcheck: { test: 'false', interval: 50ms, retries: 1 },";
    let host = TestHost::with("compose.yaml", &STACK.replace("other: {", sick));
    host.berth("up -d").succeeds();
    let up = host.start_berth("up --wait app");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(up.running().is_some(), "it did not wait for `db`");
    host.berth("exec -T db touch /go").succeeds();
    up.ends().succeeds();
    host.eventually("the other is unhealthy", || {
        host.status("stack-other-1")["health"] == "unhealthy"
    });
    host.berth("up --wait").fails_with(5).stderr_has("other-1").stderr_has("unhealthy");
}

#[test]
fn what_is_not_ready_in_time_is_named_and_an_interrupt_ends_the_wait() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up --wait --wait-timeout 1").fails_with(5).stderr_has("db-1: not ready after 1s");
    let up = host.start_berth("up --wait");
    up.prints("nothing to do");
    up.signal(Signal::SIGINT);
    up.ends().fails_with(130);
    host.pid_of("db");
    host.berth("up -d --wait-timeout 1").fails_with(64).stderr_has("--wait");
}

#[test]
fn who_the_run_is_not_about_is_not_judged() {
    let sick = "other: { healthcheck: { test: 'false', interval: 50ms, retries: 1 },";
    let host = TestHost::with("compose.yaml", &STACK.replace("other: {", sick));
    host.berth("up -d").succeeds();
    host.eventually("it is unhealthy", || host.status("stack-other-1")["health"] == "unhealthy");
    // `db` is not ready.
    host.berth("up --wait --no-deps app").succeeds();
    host.berth("stop app").succeeds();
    host.berth("start --wait app").succeeds();
    host.berth("exec -T db touch /go").succeeds();
    host.berth("up --wait").fails_with(5).stderr_has("other-1");
    let without: Vec<&str> = STACK.lines().filter(|line| !line.contains("other:")).collect();
    host.write("compose.yaml", &without.join("\n"));
    host.berth("up --wait").succeeds();
}
