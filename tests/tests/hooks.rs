//! Hooks run in the container, after its start and before its end, whoever starts and stops it.

use berth_tests::TestHost;
use nix::sys::signal::Signal;

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
    let hooks = "    post_start: [{ command: [sh, -c, 'for i in $$(seq 22); do echo line $$i; done; test -e /tmp/ok || exit 7'] }]\n";
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

/// A first process that stops every other one it sees, again and again.
const STOPS_OTHERS: &str = "
services:
  web:
    image: busybox:1
    init: false
    user: root
    command: [sh, -c, 'while :; do kill -STOP -1 2>/dev/null; done']
    stop_grace_period: 50s
";

#[test]
fn a_hook_that_is_stopped_on_its_way_or_in_it_holds_nothing_up() {
    // Some are quicker than who would stop them.
    let hooks = format!("    pre_stop: [{}]\n", ["{ command: [echo, bye] }"; 40].join(", "));
    let stack = STOPS_OTHERS.replace("50s", "6s");
    let host = TestHost::with("compose.yaml", &format!("{stack}{hooks}"));
    host.berth("up -d").succeeds();
    let pid = host.pid_of("web").pid;
    let spins = format!("read -r _ _ _ _ _ _ _ _ _ _ _ _ _ t _ < /proc/{pid}/stat; test $t -gt 20");
    host.eventually("it stops others", || host.shell(&spins).code == 0);
    host.berth("stop").succeeds();
    assert_eq!(host.status("stack-web-1")["hook_error"]["exit_code"], 124);
}

#[test]
fn a_probe_that_cannot_get_to_its_program_does_not_hold_the_monitor() {
    let probe =
        "    healthcheck: { test: [CMD, echo, warm], timeout: 1s, interval: 1s, retries: 1 }\n";
    let host = TestHost::with("compose.yaml", &format!("{STOPS_OTHERS}{probe}"));
    host.berth("up -d").succeeds();
    host.eventually("it is told", || {
        let status = host.status("stack-web-1");
        let said = status["health_output"].to_string();
        status["health"] == "unhealthy" && said.contains("it did not come to its program")
    });
    assert_eq!(events(&host, "hang", "process")[0], "healthcheck");
    host.berth("restart web").succeeds();
}

/// `web` with these steps before it, and a volume in which all write down what they do.
fn prepared(steps: &str) -> TestHost {
    TestHost::with(
        "compose.yaml",
        &format!(
            "
services:
  db:
    image: busybox:1
    command: [httpd, -f, -p, '80']
  web:
    image: busybox:1
    command: [sh, -c, 'echo web >> /shared/said; exec sleep 100000']
    depends_on: [db]
    environment: {{ LEVEL: high }}
    volumes: ['shared:/shared']
    pre_start:
{steps}
volumes: {{ shared: }}
"
        ),
    )
}

/// The lines that `web` and its steps have written down.
fn written(host: &TestHost) -> Vec<String> {
    let said = host.berth("exec -T web cat /shared/said").succeeds().stdout;
    said.lines().map(str::to_owned).collect()
}

/// Names of all containers, also ended ones.
fn all(host: &TestHost) -> String {
    host.berth("ps -a").succeeds().stdout
}

#[test]
fn pre_start_runs_in_order_before_the_service_and_once() {
    let host = prepared(
        "      - command: [sh, -c, 'sleep 0.3; wget -qO /dev/null db/none; ip -4 addr show eth0 | grep -c inet >> /shared/said; echo one $$LEVEL >> /shared/said']
      - command: [sh, -c, 'echo two $$LEVEL $$MORE $$(pwd) $$(id -u) >> /shared/said']
        environment: { MORE: words, LEVEL: low }
        working_dir: /tmp
",
    );
    let plan = host.berth("plan").stdout;
    assert!(plan.contains("run     web-pre_start-1 ") && plan.contains("2 run"), "{plan}");
    assert!(plan.contains("`web` waits for it"), "{plan}");
    host.berth("up -d").succeeds();
    let first = ["1", "one high", "two low words /tmp 0", "web"];
    assert_eq!(written(&host), first);
    assert!(!all(&host).contains("pre_start"), "ended steps are taken away");
    host.berth("plan").stdout_has("nothing to do");

    host.berth("up -d").succeeds();
    host.berth("restart web").succeeds();
    host.berth("stop web").succeeds();
    host.berth("up -d").succeeds();
    host.berth("up -d --scale web=2").succeeds();
    host.eventually("three have started again", || written(&host).len() == first.len() + 3);
    assert_eq!(written(&host)[4..], ["web", "web", "web"], "no step ran again");

    host.edit("compose.yaml", "echo one", "echo won");
    host.berth("plan").stdout_has("run      web-pre_start-1").stdout_has("replace  web-1");
    host.berth("up -d").succeeds();
    assert_eq!(written(&host)[7..], ["1", "won high", "two low words /tmp 0", "web"]);
    host.berth("down").succeeds();
    host.berth("up -d").succeeds();
    assert_eq!(written(&host)[11..], ["1", "won high", "two low words /tmp 0", "web"]);
    host.berth("down -v -y").succeeds();
    host.leaves_nothing_but(&[]);
}

#[test]
fn a_step_for_each_replica_runs_before_each() {
    let host = prepared(
        "      - command: [sh, -c, 'echo shared >> /shared/said']
      - command: [sh, -c, 'echo each >> /shared/said']
        per_replica: true
",
    );
    host.berth("up -d --scale web=2").succeeds();
    host.eventually("both have begun", || written(&host).len() == 5);
    let mut said = written(&host);
    assert_eq!(said[0], "shared");
    said.sort();
    assert_eq!(said, ["each", "each", "shared", "web", "web"]);
    host.berth("up -d --scale web=3").succeeds();
    host.eventually("the third has begun", || written(&host).len() == 7);
    assert_eq!(written(&host)[5..], ["each", "web"]);
    assert!(!all(&host).contains("pre_start"));
}

#[test]
fn a_step_that_failed_goes_with_the_orphans_when_its_service_is_gone() {
    let host = prepared("      - command: [sh, -c, 'exit 7']\n");
    assert_ne!(host.berth("up -d").code, 0);
    assert!(all(&host).contains("stack-web-pre_start-1"));
    host.write(
        "compose.yaml",
        "services: { db: { image: 'busybox:1', command: [sleep, '9999'] } }",
    );
    host.berth("up -d").succeeds().stderr_has("container `stack-web-pre_start-1` is an orphan");
    host.berth("up -d --remove-orphans").succeeds();
    assert!(!all(&host).contains("pre_start"));
}

#[test]
fn a_step_that_fails_keeps_the_service_from_starting_and_is_tried_again() {
    let host = prepared(
        "      - command: [sh, -c, 'echo one >> /shared/said']
      - command: [sh, -c, 'for i in $$(seq 22); do echo line $$i; done; test -e /shared/ok || exit 7']
",
    );
    let failed = host.berth("up -d");
    assert_ne!(failed.code, 0, "{failed}");
    assert!(failed.stderr.contains("`pre_start[1]` of `web` failed"), "{failed}");
    assert!(failed.stderr.contains("exited (7)"), "{failed}");
    assert!(!failed.stderr.contains("line 2\n") && failed.stderr.contains("line 3"), "{failed}");
    let left = all(&host);
    assert!(left.contains("stack-web-pre_start-2") && !left.contains("stack-web-1"), "{left}");
    host.berth("plan").stdout_has("run     web-pre_start-2").stdout_has("exited with 7");

    host.berth("run --rm --no-deps -T web touch /shared/ok").succeeds();
    host.berth("up -d").succeeds();
    assert_eq!(written(&host), ["one", "web"], "a step that succeeded is not run again");
    assert!(!all(&host).contains("pre_start"));
    host.berth("plan").stdout_has("nothing to do");
}

#[test]
fn a_step_has_the_rights_and_the_user_it_names_and_no_more() {
    let host = prepared(
        "      - command: [sh, -c, 'grep CapEff /proc/self/status >> /shared/said']
      - command: [sh, -c, 'grep CapEff /proc/self/status >> /shared/said; chmod 666 /shared/said']
        privileged: true
      - command: [sh, -c, 'id -u >> /shared/said']
        user: app
",
    );
    host.berth("up -d --allow G-PRIV:web").succeeds();
    let said = written(&host);
    let caps = |line: &str| {
        let mask = line.split_whitespace().last().unwrap();
        u64::from_str_radix(mask, 16).unwrap().count_ones()
    };
    assert!(caps(&said[0]) <= 14, "the usual capabilities: {}", said[0]);
    assert!(caps(&said[1]) >= 38, "every capability: {}", said[1]);
    assert_eq!(said[2..], ["1000", "web"]);
    let web = host.berth("exec -T web grep CapEff /proc/1/status").succeeds().stdout;
    assert!(caps(&web) <= 14, "{web}");
}

#[test]
fn an_up_that_is_killed_while_a_step_runs_goes_on_from_there() {
    let host = prepared(
        "      - command: [sh, -c, 'echo one >> /shared/said; while [ ! -e /shared/go ]; do sleep 0.05; done']
      - command: [sh, -c, 'echo two >> /shared/said']
",
    );
    let run = host.start_berth("up -d");
    host.eventually("the step runs", || {
        host.berth("ps -a").stdout.contains("web-pre_start-1")
            && host.status("stack-web-pre_start-1")["phase"] == "running"
    });
    run.signal(Signal::SIGKILL);
    assert_ne!(run.ends().code, 0);

    let again = host.start_berth("up -d");
    host.shell("touch $(dirname $(find /var/lib/berth/volumes -name said))/go").succeeds();
    again.ends().succeeds();
    assert_eq!(written(&host), ["one", "two", "web"]);
    host.berth("plan").stdout_has("nothing to do");
}

#[test]
fn what_create_made_is_prepared_before_it_starts() {
    let host = prepared("      - command: [sh, -c, 'echo one >> /shared/said']\n");
    host.berth("create").succeeds();
    let refused = host.berth("start");
    assert_ne!(refused.code, 0);
    refused.stderr_has("the `pre_start` of container `stack-web-1` has not run");
    host.berth("plan").stdout_has("its `pre_start` has not run");
    host.berth("up -d").succeeds();
    assert_eq!(written(&host), ["one", "web"]);
    host.berth("plan").stdout_has("nothing to do");
}
