//! A service that is replaced while clients use it.

use berth_tests::TestHost;
use berth_tests::machine::Place;

const STACK: &str = "
services:
  web:
    image: localhost/host
    command: [python3, /srv/version.py, '8001']
    volumes: ['.:/srv:ro']
    ports: ['9000:8000']
    deploy: { update_config: { order: start-first } }
    x-berth: { ready: { tcp: 8000, interval: 50ms, retries: 100 } }
  other:
    image: localhost/host
    command: [sleep, '100000']
    volumes: ['.:/srv:ro']
";

fn host_with(stack: &str) -> TestHost {
    let files = [
        ("version.py", include_str!("rolling/version.py")),
        ("hammer.py", include_str!("live_network/hammer.py")),
    ];
    TestHost::serving(stack, "web", &files)
}

/// What the published port answers from outside; nothing when nobody does.
fn answer(host: &TestHost) -> String {
    let answer = host.neighbour("curl -sS --max-time 5 http://192.0.2.1:9000/");
    answer.stdout.trim().to_owned()
}

/// Names of the containers of `web`.
fn containers(host: &TestHost) -> Vec<String> {
    let listed = host.berth("ps -a --format {{.Names}} web").succeeds().stdout;
    let mut names: Vec<String> = listed.lines().map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn no_request_fails_while_a_service_is_replaced_under_load() {
    let host = host_with(STACK);
    let hammers = [
        host.start_shell(Place::Neighbour, "python3 hammer.py 192.0.2.1 9000 3000"),
        host.start_shell(Place::Inside, "python3 hammer.py 127.0.0.1 9000 3000"),
        host.start_berth("exec -T other python3 /srv/hammer.py web 8000 1000"),
    ];
    // One of them reads the file that is changed next.
    for hammer in &hammers {
        hammer.prints("begins");
    }
    for round in 0..6 {
        let (from, to) = [("8001", "8002"), ("8002", "8001")][round % 2];
        host.edit("compose.yaml", &format!("'{from}'"), &format!("'{to}'"));
        host.berth("up -d").succeeds();
        assert_eq!(answer(&host), to);
        let name = ["stack-web-1-b", "stack-web-1"][round % 2];
        assert_eq!(containers(&host), [name]);
        host.berth("plan --detailed-exitcode").fails_with(0);
    }
    host.write("done", "");
    for hammer in hammers {
        let ended = hammer.ends().succeeds();
        let counts: Vec<u32> =
            ended.stdout.split_whitespace().map(|n| n.parse().unwrap()).collect();
        let [one, two, failed] = counts[..] else { panic!("three counts") };
        assert_eq!(failed, 0, "{}", ended.stderr);
        assert!(one > 0 && two > 0, "{one} and {two}");
    }
}

#[test]
fn one_that_does_not_become_good_leaves_the_one_before_it_serving() {
    let host = host_with(STACK);
    let before = host.pid_of("web");
    host.edit("compose.yaml", "'8001'", "no-such-number, x");

    let failed = host.berth("up -d").fails_with(3);
    failed
        .stderr_has("`stack-web-1-b` exited (1); its last lines:")
        .stderr_has("could not convert string to float: 'x'");
    assert_eq!((host.pid_of("web"), answer(&host)), (before, "8001".to_owned()));
    assert_eq!(containers(&host), ["stack-web-1", "stack-web-1-b"]);

    // Another attempt replaces it, and one that is not wanted any more goes.
    host.edit("compose.yaml", "no-such-number, x", "'8002'");
    host.berth("plan").stdout_has("replace  web-1-b").stdout_has("takes over from `stack-web-1`");
    host.berth("up -d").succeeds();
    assert_eq!(
        (answer(&host).as_str(), containers(&host)),
        ("8002", vec!["stack-web-1-b".to_owned()])
    );
}

#[test]
fn replicas_are_replaced_one_after_the_other() {
    let host = host_with(&STACK.replace("ports: ['9000:8000']", "scale: 3"));
    host.edit("compose.yaml", "'8001'", "'8002', '0.5'");

    host.berth("up -d").succeeds();
    let all = ["stack-web-1-b", "stack-web-2-b", "stack-web-3-b"];
    assert_eq!(containers(&host), all);
    let starts: Vec<(i64, i64)> = all
        .iter()
        .map(|name| {
            let status = host.status(name);
            (status["started_ms"].as_i64().unwrap(), 500)
        })
        .collect();
    assert!(starts.windows(2).all(|pair| pair[1].0 >= pair[0].0 + pair[0].1), "{starts:?}");
}

#[test]
fn a_run_that_is_killed_is_finished_by_the_next_and_the_port_leads_somewhere_meanwhile() {
    let host = host_with(STACK);
    let steps = ["create_container", "launch_c", "prove_c", "promote_c", "drain_c", "stop_c"];
    for (round, step) in steps.into_iter().enumerate() {
        let (from, to) = [("8001", "8002"), ("8002", "8001")][round % 2];
        host.edit("compose.yaml", &format!("'{from}'"), &format!("'{to}'"));
        let journal = "/var/lib/berth/projects/stack/journal.ndjson";
        let seen = format!("grep -q 'start.*{step}' {journal} 2>/dev/null");
        let up = format!(
            "rm -f {journal}; $berth up -d & pid=$!; \
             while [ -e /proc/$pid/exe ]; do {seen} && kill -9 $pid && break; done; wait $pid"
        );
        host.start_shell(Place::Inside, &up).ends().fails_with(137);
        assert!([from, to].contains(&answer(&host).as_str()), "{step}: nobody answers");

        host.berth("up -d").succeeds();
        assert_eq!((answer(&host).as_str(), containers(&host).len()), (to, 1), "{step}");
        host.berth("plan --detailed-exitcode").fails_with(0);
    }
}

#[test]
fn what_cannot_run_twice_at_once_is_refused_with_the_reason() {
    let stack = STACK.replace("ports: [", "container_name: web\n    ports: [");
    let host = TestHost::with("compose.yaml", &stack);
    let why = "service `web` cannot be replaced `start-first`: \
               there can be only one container of the name `web`";
    host.berth("check").fails_with(65).stdout_has(why).stdout_has("compose.yaml:7:21");
    host.berth("plan").fails_with(65).stderr_has(why);
}
