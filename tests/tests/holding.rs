//! Where the new container cannot run beside the old one, new connections wait at its ports meanwhile,
//! whatever becomes of the run. That none fails in fifty updates is in `image_updates.rs`.

use berth_tests::TestHost;
use berth_tests::machine::Place;

const STACK: &str = "
services:
  web:
    image: localhost/host
    command: [python3, -S, -E, /srv/version.py, '8001']
    volumes: ['.:/srv:ro']
    ports: ['9000:8000']
    stop_grace_period: 700ms
    environment: { LC_ALL: C }
";

fn host_with(stack: &str) -> TestHost {
    let files = [("version.py", include_str!("rolling/version.py"))];
    TestHost::serving(stack, "web", &files)
}

/// What the published port answers, nothing where nobody does yet.
fn now_answers(host: &TestHost) -> String {
    let ask = "curl -sS --max-time 20 http://192.0.2.1:9000/";
    host.neighbour(ask).stdout.trim().to_owned()
}

#[test]
fn the_plan_says_that_connections_are_held() {
    let host = host_with(STACK);
    host.edit("compose.yaml", "LC_ALL: C", "LC_ALL: POSIX");
    host.berth("plan")
        .stdout_has("stop-first by default: gap expected, new connections to 9000/tcp held");
}

/// A service that takes a second until it listens, and a check that sees it.
fn slow() -> String {
    let ready = "x-berth: { ready: { tcp: 8000, interval: 20ms, retries: 500 } }";
    STACK
        .replace("'8001'", "'8001', '1.0'")
        .replace("    ports:", &format!("    {ready}\n    ports:"))
}

#[test]
fn who_comes_in_the_gap_waits_for_the_new_container_also_where_a_relay_answers() {
    for stack in [slow(), STACK.replace("'8001'", "'8001', '1.0'")] {
        let host = host_with(&stack);
        host.edit("compose.yaml", "'8001'", "'8002'");
        let held = "grep -q 'done.*hold_container' /var/lib/berth/projects/stack/journal.ndjson";
        let late = |from, address: &str| {
            let line = format!(
                "for n in $(seq 3000); do {held} 2>/dev/null && break; sleep 0.01; done; \
                 curl -sS --max-time 60 http://{address}:9000/"
            );
            host.start_shell(from, &line)
        };
        let clients = [
            late(Place::Inside, "127.0.0.1"),
            late(Place::Inside, "[::1]"),
            late(Place::Inside, "192.0.2.1"),
        ];
        host.berth("up -d").succeeds();
        for client in clients {
            assert_eq!(client.ends().succeeds().stdout.trim(), "8002");
        }
    }
}

#[test]
fn a_run_that_is_killed_leaves_nobody_waiting_and_the_next_one_finishes() {
    let host = host_with(&slow());
    let journal = "/var/lib/berth/projects/stack/journal.ndjson";
    let steps = [
        "start.*hold_c",
        "done.*hold_c",
        "start.*stop_c",
        "done.*stop_c",
        "start.*create_c",
        "done.*create_c",
        "start.*start_c",
        "start.*release_c",
    ];
    let mut waited = 0;
    for (round, step) in steps.into_iter().enumerate() {
        let (from, to) = [("8001", "8002"), ("8002", "8001")][round % 2];
        host.edit("compose.yaml", &format!("'{from}'"), &format!("'{to}'"));
        let seen = format!("grep -q '{step}' {journal} 2>/dev/null");
        let up = format!(
            "rm -f {journal}; $berth up -d & pid=$!; \
             while [ -e /proc/$pid/exe ]; do {seen} && kill -9 $pid && break; done; wait $pid"
        );
        host.start_shell(Place::Inside, &up).ends().fails_with(137);
        // Nobody comes to its aid, and the hold is over all the same.
        let held = || host.shell("nft list set inet berth held").succeeds().stdout;
        let now = held();
        assert!(now.contains("timeout"), "{now}");
        waited += usize::from(now.contains("9000"));
        host.eventually("nobody waits any more", || !held().contains("9000"));
        if host.berth("ps --format {{.State}} web").stdout.contains("running") {
            host.eventually("who runs answers", || {
                [from, to].contains(&now_answers(&host).as_str())
            });
        }
        host.berth("up -d").succeeds();
        host.eventually("the new one answers", || now_answers(&host) == to);
        host.berth("plan --detailed-exitcode").fails_with(0);
    }
    assert!(waited > 0, "no run was killed while somebody waited");
}
