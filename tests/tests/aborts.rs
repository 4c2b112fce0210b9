//! An attached `up` that ends when a container does: with which code, and what becomes of the others.

use berth_tests::{Finished, TestHost};
use nix::sys::signal::Signal;

/// A stack of `web`, which runs on, and a service `test` of this line.
fn stack(test: &str, more: &str) -> String {
    format!(
        "
services:
  web: {{ image: 'busybox:1', command: [sleep, '100000'] }}
  test:
    image: busybox:1
    command: [sh, -c, '{test}']
    depends_on: [web]
{more}"
    )
}

/// What `words` come to, after which nothing runs any more.
#[track_caller]
fn ends(host: &TestHost, words: &str, code: i32) -> Finished {
    let up = host.berth(words).fails_with(code);
    assert_eq!(host.berth("ps -q --status running").succeeds().stdout, "", "{up}");
    up
}

#[test]
fn the_first_end_stops_the_others_and_is_the_code() {
    for code in [0, 3] {
        let host = TestHost::with("compose.yaml", &stack(&format!("sleep 0.3; exit {code}"), ""));
        let up = ends(&host, "up --abort-on-container-exit", code);
        up.stderr_has(&format!("test-1 ended with {code}: stopping the others"));
        assert_eq!(host.status("stack-web-1")["exit_code"], 143);
    }
}

#[test]
fn the_code_is_that_of_the_service_that_was_named() {
    let host = TestHost::with("compose.yaml", &stack("sleep 0.3; exit 42", ""));
    ends(&host, "up --exit-code-from test", 42);
    // Another one ended first, and so it was stopped.
    ends(&host, "up --exit-code-from web", 143);
    host.berth("up --exit-code-from tset").fails_with(1).stderr_has("did you mean `test`?");
    host.berth("up -d --exit-code-from test").fails_with(64);
}

#[test]
fn an_end_that_others_wait_for_is_none() {
    let migrate = "  migrate: { image: 'busybox:1', command: [sh, -c, 'sleep 0.2'] }
  late:
    image: busybox:1
    command: [sleep, '100000']
    depends_on: { migrate: { condition: service_completed_successfully } }
";
    let host = TestHost::with("compose.yaml", &stack("sleep 1; exit 5", migrate));
    ends(&host, "up --exit-code-from test", 5);
    assert_eq!(host.status("stack-migrate-1")["exit_code"], 0);
    assert_eq!(host.status("stack-late-1")["exit_code"], 143, "it was started and stopped");
    ends(&host, "up --abort-on-container-exit", 5);
}

#[test]
fn only_a_failure_ends_it_where_that_was_asked_for() {
    let more = "  job: { image: 'busybox:1', command: ['true'] }\n";
    let host = TestHost::with("compose.yaml", &stack("sleep 0.5; exit 4", more));
    let up = ends(&host, "up --abort-on-container-failure", 4);
    assert!(up.stderr.contains("test-1 ended with 4"), "{up}");
    ends(&host, "up --abort-on-container-failure --exit-code-from test", 4);
    // What was named ends it in any case, else it would be waited for ever.
    host.edit("compose.yaml", "exit 4", "exit 0");
    ends(&host, "up --abort-on-container-failure --exit-code-from test", 0);
}

#[test]
fn of_several_containers_of_a_service_the_first_that_ended_counts() {
    let one = "mkdir /shared/one && sleep 0.3 && exit 6; exec sleep 100000";
    let host = TestHost::with(
        "compose.yaml",
        &format!(
            "
services:
  test:
    image: busybox:1
    command: [sh, -c, '{one}']
    scale: 3
    volumes: ['shared:/shared']
volumes:
  shared: {{}}
"
        ),
    );
    ends(&host, "up --exit-code-from test", 6);
}

#[test]
fn one_that_is_started_again_has_not_ended() {
    let host = TestHost::with("compose.yaml", &stack("exit 2", "    restart: on-failure:2\n"));
    ends(&host, "up --abort-on-container-failure", 2);
    assert_eq!(host.status("stack-test-1")["restarts"], 2);
}

#[test]
fn what_could_not_come_up_leaves_nothing_running_either() {
    let more = "  migrate: { image: 'busybox:1', command: [sh, -c, 'sleep 0.3; exit 9'] }
  late:
    image: busybox:1
    command: [sleep, '100000']
    depends_on: { migrate: { condition: service_completed_successfully } }
";
    let host = TestHost::with("compose.yaml", &stack("sleep 100000", more));
    ends(&host, "up --exit-code-from migrate", 9).stderr_has("exited (9)");
    ends(&host, "up --exit-code-from test", 3).stderr_has("exited (9)");
    host.berth("up -d").fails_with(3);
    host.pid_of("web");
}

#[test]
fn the_others_stop_dependents_first() {
    let host = TestHost::with(
        "compose.yaml",
        "
x-last-words: &last
  image: busybox:1
  init: false
  command: [sh, /here/last-words.sh]
  volumes: ['.:/here']
services:
  web: { <<: *last, environment: { NAME: web }, depends_on: [database] }
  database: { <<: *last, environment: { NAME: database } }
  test:
    image: busybox:1
    command: [sh, -c, 'until test -e /here/web.ready -a -e /here/database.ready; do sleep 0.05; done; exit 1']
    volumes: ['.:/here']
",
    );
    host.write("last-words.sh", include_str!("order/last-words.sh"));
    ends(&host, "up --exit-code-from test", 1);
    let ended = |name: &str| -> f64 {
        let path = host.project(&format!("{name}.ended"));
        std::fs::read_to_string(path).expect(name).trim().parse().expect("a time")
    };
    assert!(ended("web") < ended("database"));
}

#[test]
fn after_an_interrupt_the_code_is_that_of_the_named_service_or_of_the_signal() {
    let test = "trap \"exit 7\" TERM; echo ready; while :; do sleep 0.05; done";
    let host = TestHost::with("compose.yaml", &stack(test, "    init: false\n"));
    let interrupted = |words: &str, signal: Signal, code: i32| {
        let up = host.start_berth(words);
        up.prints("ready");
        up.signal(signal);
        up.ends().fails_with(code);
        assert_eq!(host.berth("ps -q --status running").succeeds().stdout, "", "{words}");
    };
    interrupted("up --exit-code-from test", Signal::SIGINT, 7);
    interrupted("up --abort-on-container-exit", Signal::SIGINT, 130);
    interrupted("up --abort-on-container-failure", Signal::SIGTERM, 143);
    interrupted("up", Signal::SIGINT, 0);
}

#[test]
fn a_code_that_nobody_knows_is_no_success() {
    let host = TestHost::with("compose.yaml", &stack("echo ready; exec sleep 100000", ""));
    for words in ["up --exit-code-from test", "up --abort-on-container-failure"] {
        let up = host.start_berth(words);
        up.prints("ready");
        host.kill("KILL", host.monitor_of("test"));
        let up = up.ends().fails_with(255).stderr_has("test-1 is not watched any more");
        assert_eq!(host.berth("ps -q --status running").succeeds().stdout, "", "{up}");
    }
    host.berth("up -d").succeeds();
    let wait = host.start_berth("wait test");
    host.eventually("it waits", || {
        host.berth_commands().iter().any(|command| command.contains("wait test"))
    });
    std::thread::sleep(std::time::Duration::from_millis(300));
    host.kill("KILL", host.monitor_of("test"));
    wait.ends().fails_with(255).stdout_is("-1\n");
}
