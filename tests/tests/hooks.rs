//! Hooks run in the container, after its start and before its end, whoever starts and stops it.

use berth_tests::TestHost;

const IDLE: &str = "trap 'echo got TERM; exit 0' TERM; echo began; while :; do sleep 0.05; done";

fn stack(hooks: &str) -> String {
    format!(
        "
services:
  web:
    image: busybox:1
    init: false
    command: [sh, -c, \"{IDLE}\"]
    environment: {{ LEVEL: high, GONE: soon }}
    working_dir: /data
    user: app
    restart: always
    stop_grace_period: 30s
{hooks}"
    )
}

fn up(hooks: &str) -> TestHost {
    let host = TestHost::with("compose.yaml", &stack(hooks));
    host.berth("up -d").succeeds();
    host
}

/// The lines of the log of `web` that hooks wrote.
fn said_by_hooks(host: &TestHost) -> Vec<String> {
    let log = host.berth("logs web").succeeds().stdout;
    let lines = log.lines().filter_map(|line| line.strip_prefix("web-1 ->"));
    lines.map(|line| line.trim_start_matches([' ', '|']).to_owned()).collect()
}

/// What the monitors of the stack noted, by name of the event, with `key`.
fn events(host: &TestHost, event: &str, key: &str) -> Vec<String> {
    let text = std::fs::read_to_string(host.machine().path("/run/berth/events/stack"));
    let events = text.unwrap_or_default();
    let events = events.lines().map(|line| serde_json::from_str(line).expect("an event"));
    events
        .filter(|seen: &serde_json::Value| seen["event"] == event)
        .map(|seen| seen[key].to_string().trim_matches('"').to_owned())
        .collect()
}

#[test]
fn post_start_runs_in_the_container_with_what_the_hook_says() {
    let host = up("
    post_start:
      - command: [sh, -c, 'echo $$(id -u) $$(pwd) $$LEVEL $$GONE; grep CapEff /proc/self/status']
      - command: [sh, -c, 'echo $$(id -u) $$(pwd) $$LEVEL $${GONE-none} $$MORE; grep CapEff /proc/self/status; grep -c . /proc/1/cmdline']
        user: root
        working_dir: /tmp
        environment: { LEVEL: low, MORE: words }
        privileged: true
");
    let said = said_by_hooks(&host);
    assert_eq!(said[0], "1000 /data high soon");
    assert_eq!(said[1].split_whitespace().last(), Some("0000000000000000"));
    assert_eq!(said[2], "0 /tmp low soon words");
    let all = u64::from_str_radix(said[3].split_whitespace().last().unwrap(), 16).unwrap();
    assert!(all.count_ones() >= 38, "every capability: {}", said[3]);
    assert_eq!(events(&host, "hook", "hook"), ["post_start[0]", "post_start[1]"]);
    assert_eq!(events(&host, "hook", "exit_code"), ["0", "0"]);
    host.berth("up -d").succeeds();
    assert_eq!(said_by_hooks(&host).len(), said.len(), "a container that stays is left alone");
}

#[test]
fn without_hooks_nothing_runs_beside_the_program() {
    let host = up("");
    host.berth("stop").succeeds();
    assert_eq!(said_by_hooks(&host), [""; 0]);
    assert_eq!(events(&host, "hook", "hook"), [""; 0]);
    host.berth("logs web").succeeds().stdout_has("got TERM");
}

#[test]
fn post_start_follows_a_restart_by_policy_and_by_the_user() {
    let host = up("    post_start: [{ command: [echo, warm] }]\n");
    let before = host.pid_of("web");
    host.kill("KILL", before.pid);
    host.eventually("it ran again", || said_by_hooks(&host).len() == 2);
    host.berth("restart web").succeeds();
    assert_eq!(said_by_hooks(&host), ["warm"; 3]);
}

#[test]
fn dependents_start_after_post_start() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  db:
    image: busybox:1
    command: [sleep, '100000']
    volumes: ['shared:/shared']
    post_start: [{ command: [sh, -c, 'sleep 1; touch /shared/ready'] }]
  web:
    image: busybox:1
    command: [test, -e, /shared/ready]
    volumes: ['shared:/shared']
    depends_on: [db]
volumes: { shared: }
",
    );
    host.berth("up -d").succeeds();
    host.eventually("it has looked", || host.status("stack-web-1")["phase"] == "exited");
    assert_eq!(host.status("stack-web-1")["exit_code"], 0);
}

#[test]
fn a_post_start_that_fails_is_an_error_with_its_last_lines_and_is_tried_again() {
    let hooks = "    post_start: [{ command: [sh, -c, 'for i in $$(seq 12); do echo line $$i; done; test -e /tmp/ok || exit 7'] }]\n";
    let host = TestHost::with("compose.yaml", &stack(hooks));
    let failed = host.berth("up -d").fails_with(3);
    assert!(failed.stderr.contains("`post_start[0]` failed: it exited with 7"), "{failed}");
    assert!(!failed.stderr.contains("line 2\n") && failed.stderr.contains("line 3"), "{failed}");
    let pid = host.pid_of("web");
    assert_eq!(events(&host, "hook", "exit_code"), ["7"]);
    host.berth("ps").succeeds().stdout_has("(post_start failed)");

    host.berth("exec -T web touch /tmp/ok").succeeds();
    host.berth("plan").stdout_has("restart  web-1  a hook after its start failed");
    host.berth("up -d").succeeds();
    assert_ne!(host.pid_of("web"), pid);
    host.berth("ps").succeeds().stdout_lacks("post_start failed");
    host.berth("plan").stdout_has("nothing to do");
}

#[test]
fn a_hook_without_its_program_says_so() {
    let host =
        TestHost::with("compose.yaml", &stack("    post_start: [{ command: [no-such-thing] }]\n"));
    host.berth("up -d").fails_with(3).stderr_has("no-such-thing");
    assert_eq!(events(&host, "hook", "exit_code"), ["127"]);
}

#[test]
fn a_container_that_ends_takes_its_post_start_with_it() {
    let host = TestHost::with(
        "compose.yaml",
        "services: { web: { image: 'busybox:1', command: [sleep, '1'], post_start: [{ command: [sleep, '4242'] }] } }",
    );
    host.berth("up -d").fails_with(3).stderr_has("the container ended meanwhile");
    assert_eq!(host.shell("pgrep -xf 'sleep 4242' | wc -l").stdout.trim(), "0");
}

#[test]
fn pre_stop_runs_before_the_stop_signal() {
    let hooks = "    pre_stop: [{ command: [sh, -c, 'echo draining; sleep 0.3; echo drained'] }]\n";
    for words in ["stop", "restart web", "up -d --force-recreate"] {
        let host = up(hooks);
        if words.starts_with("up") {
            host.edit("compose.yaml", "echo began", "echo began anew");
            let follow = host.start_berth("logs -f web");
            follow.prints("began");
            host.berth(words).succeeds();
            let said = follow.ends().stdout;
            assert!(said.find("drained") < said.find("got TERM"), "{words}: {said}");
            continue;
        }
        host.berth(words).succeeds();
        let said = host.berth("logs web").succeeds().stdout;
        let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("{words}: {text}: {said}"));
        assert!(at("draining") < at("drained") && at("drained") < at("got TERM"), "{said}");
    }
}

#[test]
fn pre_stop_does_not_run_when_the_program_ends_by_itself_or_is_killed() {
    let host = up("    pre_stop: [{ command: [echo, draining] }]\n");
    let before = host.pid_of("web");
    host.kill("KILL", before.pid);
    host.eventually("it is started again", || {
        let status = host.status("stack-web-1");
        status["phase"] == "running" && status["pid"] != before.pid
    });
    host.berth("kill web").succeeds();
    host.eventually("it is gone", || host.status("stack-web-1")["phase"] == "exited");
    assert_eq!(said_by_hooks(&host), [""; 0]);
}

#[test]
fn a_pre_stop_that_fails_or_hangs_does_not_keep_the_container() {
    let host = up("
    pre_stop:
      - command: [sh, -c, 'echo first; exit 5']
      - command: [sh, -c, 'echo second; sleep 4242']
");
    host.berth("stop -t 3").succeeds();
    let said = host.berth("logs web").succeeds().stdout;
    assert!(said.contains("second") && said.contains("got TERM"), "{said}");
    assert_eq!(host.status("stack-web-1")["exit_code"], 0);
    assert_eq!(events(&host, "hook", "exit_code"), ["5", "137"]);
    assert_eq!(host.shell("pgrep -xf 'sleep 4242' | wc -l").stdout.trim(), "0");
}

#[test]
fn stop_at_once_runs_no_hook() {
    let host = up("    pre_stop: [{ command: [echo, draining] }]\n");
    host.berth("stop -t 0").succeeds();
    assert_eq!(said_by_hooks(&host), [""; 0]);
    assert_eq!(host.status("stack-web-1")["exit_code"], 137);
}

#[test]
fn a_hook_outlives_a_killed_monitor_and_is_not_run_twice() {
    let hooks = "    post_start: [{ command: [sh, -c, 'echo one; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo two'] }, { command: [echo, three] }]\n";
    let host = TestHost::with("compose.yaml", &stack(hooks));
    let run = host.start_berth("up -d");
    host.eventually("the hook runs", || said_by_hooks(&host) == ["one"]);
    host.kill("KILL", host.monitor_of("web"));
    assert_ne!(run.ends().code, 0);

    let again = host.start_berth("up -d");
    host.eventually("it is adopted", || events(&host, "adopt", "service").len() == 1);
    host.berth("exec -T web touch /tmp/go").succeeds();
    again.ends().succeeds();
    assert_eq!(said_by_hooks(&host), ["one", "two", "three"]);
    host.berth("plan").stdout_has("nothing to do");
}

#[test]
fn a_container_without_a_monitor_gets_its_pre_stop_too() {
    let host = up("    pre_stop: [{ command: [echo, draining] }]\n");
    host.kill("KILL", host.monitor_of("web"));
    host.berth("stop").succeeds();
    assert_eq!(said_by_hooks(&host), ["draining"]);
}
