//! Ctrl-C once lets what is under way finish, twice leaves at once; and what fails stops only what
//! needs it.

use berth_tests::machine::Place;
use berth_tests::{Running, TestHost};
use nix::sys::signal::Signal;

/// `db` is well once `/go` is there; `app` waits for that. `slow` takes two seconds to stop.
const STACK: &str = "
services:
  db:
    image: busybox:1
    command: [sleep, '100000']
    healthcheck: { test: 'test -e /go', interval: 50ms, retries: 100000 }
  app:
    image: busybox:1
    command: [sleep, '100000']
    depends_on: { db: { condition: service_healthy } }
  slow:
    image: busybox:1
    init: false
    command: [sh, -c, 'trap \"sleep 2; exit 0\" TERM; echo ready; while :; do sleep 0.05; done']
";

/// Starts an `up` and waits until it waits for `db`.
fn waiting(host: &TestHost) -> Running {
    let up = host.start_berth("--progress plain up -d");
    up.prints("Container stack-db-1  Waiting");
    up
}

#[test]
fn the_first_interrupt_lets_finish_what_is_under_way_and_begins_nothing() {
    let host = TestHost::with("compose.yaml", STACK);
    let up = waiting(&host);
    up.signal(Signal::SIGINT);
    up.prints("finishing the steps under way");
    assert!(up.running().is_some(), "it left a step that was under way");
    host.berth("exec -T db touch /go").succeeds();
    let up = up.ends().fails_with(130);
    assert!(up.stderr.contains("Healthy") && up.stderr.contains("not tried"), "{up}");
    assert!(host.status("stack-app-1")["pid"].as_i64().unwrap_or(0) == 0);
    // The next one goes on from there, and does not say that anything was cut off.
    let again = host.berth("up -d").succeeds();
    assert!(!again.stderr.contains("cut off"), "{again}");
    host.pid_of("app");
}

#[test]
fn the_second_interrupt_leaves_at_once() {
    let host = TestHost::with("compose.yaml", STACK);
    let up = waiting(&host);
    up.signal(Signal::SIGINT);
    up.prints("finishing the steps under way");
    up.signal(Signal::SIGINT);
    // Nobody has made `/go`.
    up.ends().fails_with(130);
    assert!(host.status("stack-app-1")["pid"].as_i64().unwrap_or(0) == 0);
    host.pid_of("db");
    host.berth("exec -T db touch /go").succeeds();
    host.berth("up -d").succeeds();
    host.pid_of("app");
}

#[test]
fn a_stop_that_was_left_is_finished_by_the_next_run() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d slow").succeeds();
    host.eventually("it listens", || host.berth("logs slow").stdout.contains("ready"));
    let down = host.start_berth("--progress plain down");
    down.prints("Stopping");
    down.signal(Signal::SIGTERM);
    down.prints("finishing the steps under way");
    down.signal(Signal::SIGTERM);
    down.ends().fails_with(143);
    host.berth("down").succeeds();
    assert!(host.status("stack-slow-1").is_null());
}

#[test]
fn a_failure_skips_what_needs_it_and_no_other_branch() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  broken: { image: 'busybox:1', command: [no-such-program] }
  needs: { image: 'busybox:1', command: [sleep, '100000'], depends_on: [broken] }
  above: { image: 'busybox:1', command: [sleep, '100000'], depends_on: [needs] }
  db:
    image: busybox:1
    command: [sh, -c, 'sleep 1; touch /go; exec sleep 100000']
    healthcheck: { test: 'test -e /go', interval: 50ms, retries: 100000 }
  other:
    image: busybox:1
    command: [sleep, '100000']
    depends_on: { db: { condition: service_healthy } }
",
    );
    let up = host.berth("--progress plain up -d").fails_with(3);
    host.pid_of("other");
    for name in ["needs", "above"] {
        assert!(host.status(&format!("stack-{name}-1"))["pid"].as_i64().unwrap_or(0) == 0);
        let skipped = up
            .stderr
            .lines()
            .any(|line| line.contains(&format!("stack-{name}-1")) && line.contains("not tried"));
        assert!(skipped, "`{name}` is not named: {up}");
    }
    assert!(up.stderr.contains("1 of ") && up.stderr.contains("2 were not tried"), "{up}");
    assert!(
        up.stderr.contains("no-such-program") && up.stderr.contains("goes on from here"),
        "{up}"
    );
}

/// A service whose image is never there: its registry takes the connection and says nothing.
const LATE: &str = "  late: { image: '127.0.0.1:5000/late:1', command: ['true'] }\n";

#[test]
fn an_interrupt_while_images_are_pulled_stops_nothing_that_runs() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d slow").succeeds();
    let before = host.pid_of("slow");
    let registry =
        host.start_shell(Place::Inside, "exec busybox nc -ll -p 5000 -e sh -c 'cat >/dev/null'");
    host.eventually("it listens", || host.shell("ss -ltn | grep -q :5000").code == 0);
    // The pull is the first step of the plan, or comes before it is made.
    for late in [LATE, &LATE.replace("command", "pull_policy: always, command")] {
        host.write("compose.yaml", &format!("{STACK}{late}"));
        let up = host.start_berth("--progress plain up slow late");
        up.prints("Pulling");
        up.signal(Signal::SIGINT);
        up.prints("finishing the steps under way");
        up.signal(Signal::SIGINT);
        up.ends().fails_with(130);
        assert_eq!(host.pid_of("slow"), before);
    }
    registry.signal(Signal::SIGKILL);
    registry.ends();
}

#[test]
fn an_interrupt_of_an_attached_up_stops_what_it_was_about_and_nobody_else() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d db").succeeds();
    let other = host.pid_of("db");
    let up = host.start_berth("up slow");
    up.prints("ready");
    host.berth("run -d --name job slow").succeeds();
    let job = host.pid_of_container("job");
    up.signal(Signal::SIGINT);
    up.prints("stopping");
    // What is killed is no other either.
    up.signal(Signal::SIGINT);
    up.ends().succeeds();
    assert_eq!(host.status("stack-slow-1")["phase"], "exited");
    assert_eq!(host.pid_of_container("job"), job);
    assert_eq!(host.pid_of("db"), other);
    host.berth("rm -sf").succeeds();
}

#[test]
fn a_step_that_waits_for_its_turn_does_not_begin_after_an_interrupt() {
    let host = TestHost::with("compose.yaml", &format!("{STACK}    scale: 2\n"));
    host.berth("up -d slow").succeeds();
    host.eventually("both listen", || host.berth("logs slow").stdout.matches("ready").count() == 2);
    let stop = host.start_berth("--parallel 1 --progress plain stop slow");
    stop.prints("Stopping");
    stop.signal(Signal::SIGINT);
    stop.prints("finishing the steps under way");
    let stop = stop.ends().fails_with(130).stderr_has("not tried");
    let running = host.berth("ps -q --status running slow").stdout;
    assert_eq!(running.lines().count(), 1, "{stop}");
    // One that was not tried is none that was cut off.
    let again = host.berth("stop slow").succeeds();
    assert!(!again.stderr.contains("cut off"), "{again}");
}

#[test]
fn a_stop_comes_to_its_end_though_nobody_reads_the_output() {
    let host = TestHost::with(
        "compose.yaml",
        "
x-server: &server
  image: busybox:1
  init: false
  command: [sh, -c, 'trap \"echo bye; sleep 0.5; exit 0\" TERM; echo ready; while :; do sleep 0.05; done']
services:
  web: { <<: *server, depends_on: [db] }
  db: *server
",
    );
    let line = "mkfifo out; $berth up >out & up=$!; exec 3<out; read a <&3; read b <&3; exec 3<&-; \
        kill -TERM $up; wait $up";
    let up = host.start_shell(Place::Inside, line).ends();
    assert_ne!(up.code, 0, "{up}");
    for name in ["web", "db"] {
        assert_eq!(host.status(&format!("stack-{name}-1"))["phase"], "exited", "{name}: {up}");
    }
}
