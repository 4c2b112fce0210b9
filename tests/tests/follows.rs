//! Who depends on a service with `restart: true`, or shares something with its container, follows
//! what berth does to it, in order; and nobody follows what a monitor does by itself.

use berth_tests::TestHost;
use berth_tests::host::Process;

const STACK: &str = "
x-sleeps: &sleeps
  image: busybox:1
  command: [sleep, '100000']
services:
  db: { <<: *sleeps, restart: always, environment: { A: one } }
  app: { <<: *sleeps, depends_on: { db: { condition: service_started, restart: true } } }
  web: { <<: *sleeps, depends_on: { app: { condition: service_started, restart: true } } }
  stays: { <<: *sleeps, depends_on: [db] }
";

fn pids(host: &TestHost) -> [Process; 4] {
    ["db", "app", "web", "stays"].map(|service| host.pid_of(service))
}

/// Ends and starts in the order in which they happened, from the event of number `from` on.
fn lives(host: &TestHost, from: usize) -> Vec<String> {
    let events =
        host.berth("events --json --since 10m --until 0s --filter event=die --filter event=start");
    let lines = events.stdout.lines().skip(from);
    let word = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).expect(line);
        let word = |key: &str| event[key].as_str().expect(key).to_owned();
        format!("{} {}", word("action"), word("service"))
    };
    lines.map(word).collect()
}

/// `app` and `web` follow `words`, dependents ending first and starting last; `stays` stays.
#[track_caller]
fn all_follow(host: &TestHost, words: &str) {
    let (before, seen) = (pids(host), lives(host, 0).len());
    host.berth(words).succeeds();
    let after = pids(host);
    for (n, service) in ["db", "app", "web"].iter().enumerate() {
        assert_ne!(before[n], after[n], "`{words}`: {service} is as it was");
    }
    assert_eq!(before[3], after[3], "`{words}`");
    let order = ["die web", "die app", "die db", "start db", "start app", "start web"];
    assert_eq!(lives(host, seen), order, "`{words}`");
    host.berth("plan --detailed-exitcode").succeeds();
}

#[test]
fn who_asks_for_it_follows_a_replacement_and_a_restart_in_order() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.berth("exec -T app touch /mark").succeeds();
    host.edit("compose.yaml", "A: one", "A: two");
    all_follow(&host, "up -d");
    host.edit("compose.yaml", "A: two", "A: three");
    all_follow(&host, "up -d db");
    all_follow(&host, "up -d --force-recreate db");
    all_follow(&host, "restart db");
    // It was restarted, not made anew.
    host.berth("exec -T app test -e /mark").succeeds();
}

#[test]
fn nobody_follows_where_that_is_said_nor_what_a_monitor_does() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    let before = pids(&host);
    host.kill("KILL", before[0].pid);
    host.eventually("it is started again", || {
        let status = host.status("stack-db-1");
        status["phase"] == "running" && status["pid"] != before[0].pid
    });
    assert_eq!(pids(&host)[1..], before[1..]);
    host.berth("restart --no-deps db").succeeds();
    assert_eq!(pids(&host)[1..], before[1..]);
    host.berth("restart web").succeeds();
    assert_eq!(pids(&host)[..2], [host.pid_of("db"), before[1]]);
    // What takes effect as it is replaces nothing, so there is nothing to follow.
    host.edit("compose.yaml", "environment:", "mem_limit: 64m, environment:");
    let before = pids(&host);
    host.berth("up -d").succeeds();
    assert_eq!(pids(&host), before);
}

#[test]
fn a_restart_waits_for_the_health_of_what_it_follows() {
    let health = "healthcheck: { test: 'test -e /good', interval: 50ms, retries: 100000 }";
    let stack = STACK
        .replace("environment: { A: one }", &format!("environment: {{ A: one }}, {health}"))
        .replace("db: { condition: service_started", "db: { condition: service_healthy");
    let host = TestHost::with("compose.yaml", &stack);
    let up = host.start_berth("up -d");
    let good = || {
        host.eventually("it runs", || host.status("stack-db-1")["phase"] == "running");
        host.berth("exec -T db touch /good").succeeds();
    };
    good();
    up.ends().succeeds();
    let old = host.pid_of("db");
    host.edit("compose.yaml", "A: one", "A: two");
    let up = host.start_berth("up -d");
    host.eventually("the new one runs", || {
        let status = host.status("stack-db-1");
        status["phase"] == "running" && status["pid"] != old.pid
    });
    assert_eq!(
        host.status("stack-app-1")["phase"],
        "exited",
        "it does not run beside one that is not well"
    );
    good();
    up.ends().succeeds();
    host.pid_of("web");
}

/// Where the first process of a container has its network.
fn network(host: &TestHost, service: &str) -> String {
    let pid = host.pid_of(service).pid;
    host.shell(&format!("readlink /proc/{pid}/ns/net")).succeeds().stdout
}

#[test]
fn who_shares_a_network_follows_its_owner() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  vpn:
    image: busybox:1
    command: [nc, -ll, -p, '5432', -e, echo, hello]
    restart: always
    environment: { A: one }
  side: { image: 'busybox:1', command: [sleep, '100000'], network_mode: 'service:vpn' }
",
    );
    host.berth("up -d").succeeds();
    let shares = |what: &str| {
        assert_eq!(network(&host, "side"), network(&host, "vpn"), "{what}");
        host.eventually(&format!("it answers after {what}"), || {
            host.berth("exec -T side nc 127.0.0.1 5432").stdout.contains("hello")
        });
    };
    shares("up");
    let first = host.pid_of("vpn");
    host.edit("compose.yaml", "A: one", "A: two");
    host.berth("up -d").succeeds();
    assert_ne!(host.pid_of("vpn"), first);
    shares("a replacement");
    host.edit("compose.yaml", "A: two", "A: three");
    host.berth("up -d vpn").succeeds();
    shares("a replacement of it alone");
    host.berth("restart vpn").succeeds();
    shares("a restart");
    host.berth("stop vpn").succeeds();
    host.berth("up -d").succeeds();
    shares("a stop");
    host.berth("rm -sf vpn").succeeds();
    host.berth("up -d").succeeds();
    shares("a removal");
    host.berth("stop vpn").succeeds();
    host.berth("start vpn").succeeds();
    shares("a stop and a start of it alone");
    host.berth("restart --no-deps vpn").succeeds();
    shares("a restart of it alone");
}

#[test]
fn one_that_is_left_in_a_network_that_has_ended_is_told_and_put_right() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  vpn: { image: 'busybox:1', command: [sleep, '100000'], restart: always, ipc: shareable }
  side: { image: 'busybox:1', command: [sleep, '100000'], network_mode: 'service:vpn' }
  queue: { image: 'busybox:1', command: [sleep, '100000'], ipc: 'service:vpn' }
",
    );
    host.berth("up -d").succeeds();
    let before = host.pid_of("vpn");
    host.kill("KILL", before.pid);
    host.eventually("it is started again", || {
        let status = host.status("stack-vpn-1");
        status["phase"] == "running" && status["pid"] != before.pid
    });
    host.berth("ps").succeeds().stdout_has("in a network or memory that has ended");
    let plan = host.berth("plan --detailed-exitcode").fails_with(2);
    plan.stdout_has("restart  side-1").stdout_has("restart  queue-1");
    let owner = host.pid_of("vpn");
    host.berth("up -d").succeeds();
    assert_eq!(host.pid_of("vpn"), owner);
    assert_eq!(network(&host, "side"), network(&host, "vpn"));
    host.berth("plan --detailed-exitcode").succeeds();
}

#[test]
fn who_has_the_volumes_of_another_is_made_anew_with_it() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  data: { image: 'busybox:1', command: [sleep, '100000'], volumes: ['/data'], environment: { A: one } }
  reader: { image: 'busybox:1', command: [sleep, '100000'], volumes_from: [data] }
",
    );
    host.berth("up -d").succeeds();
    let before = host.pid_of("reader");
    host.edit("compose.yaml", "A: one", "A: two");
    host.berth("up -d -V -y").succeeds();
    assert_ne!(host.pid_of("reader"), before);
    host.berth("exec -T data touch /data/new").succeeds();
    host.berth("exec -T reader test -e /data/new").succeeds();
    // A restart gives nobody another volume.
    let before = host.pid_of("reader");
    host.berth("restart data").succeeds();
    assert_eq!(host.pid_of("reader"), before);
    host.berth("plan --detailed-exitcode").succeeds();
}
