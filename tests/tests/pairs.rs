//! A replica with two containers: one that serves, and one that was to take over and was not good.

use std::thread::sleep;
use std::time::Duration;

use berth_tests::TestHost;

const STACK: &str = "
services:
  web:
    image: localhost/host
    command: [python3, /srv/version.py, '8001']
    volumes: ['.:/srv:ro']
    ports: ['9000:8000']
    deploy: { update_config: { order: start-first } }
    x-berth: { ready: { tcp: 8000, interval: 50ms, retries: 100 } }
";

fn serving(stack: &str) -> TestHost {
    let files = [
        ("version.py", include_str!("rolling/version.py")),
        ("client.py", include_str!("rolling/client.py")),
    ];
    TestHost::serving(stack, "web", &files)
}

/// The service with a new container that never answers, after an `up` that found that out.
fn stuck() -> TestHost {
    let host = serving(STACK);
    host.edit("compose.yaml", "'8001'", "'8002', '100000'");
    host.edit("compose.yaml", "retries: 100", "retries: 5");
    host.berth("up -d").fails_with(3).stderr_has("`stack-web-1-b` is unhealthy");
    host
}

/// What the published port answers from outside; nothing when nobody does.
fn answer(host: &TestHost) -> String {
    let answer = host.neighbour("curl -sS --max-time 5 http://192.0.2.1:9000/");
    answer.stdout.trim().to_owned()
}

/// What `ps` says of a container, without the times.
fn status(host: &TestHost, name: &str) -> String {
    let listed = host.berth("ps -a --format '{{.Name}} {{.Status}}'").succeeds().stdout;
    let line = listed.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {listed}")).to_owned()
}

#[test]
fn one_that_is_not_good_ends_stopped_and_can_be_looked_at() {
    let host = stuck();
    assert_eq!(answer(&host), "8001");
    let kept = status(&host, "stack-web-1-b");
    assert!(kept.starts_with("Exited (") && kept.ends_with("(never served)"), "{kept}");
    assert!(status(&host, "stack-web-1").starts_with("Up "));
    host.berth("port web 8000").stdout_has("9000");
    host.berth("diff web").succeeds();

    // Another attempt begins with one made anew.
    host.edit("compose.yaml", "'8002', '100000'", "'8002'");
    host.berth("up -d").succeeds();
    assert_eq!(answer(&host), "8002");
    host.berth("plan --detailed-exitcode").fails_with(0);
}

#[test]
fn start_and_restart_take_the_one_that_serves() {
    let host = stuck();
    host.berth("restart web").succeeds().stderr_has("container `stack-web-1-b` is left as it is");
    host.eventually("it answers", || answer(&host) == "8001");
    assert!(status(&host, "stack-web-1-b").starts_with("Exited ("));

    host.berth("stop").succeeds();
    host.berth("start").succeeds().stderr_has("container `stack-web-1-b` is left as it is");
    host.eventually("it answers", || answer(&host) == "8001");
    assert!(status(&host, "stack-web-1-b").starts_with("Exited ("));
    host.berth("start").succeeds();
    assert!(status(&host, "stack-web-1-b").starts_with("Exited ("));
}

#[test]
fn a_port_whose_monitor_was_killed_is_reserved_again_by_who_takes_over() {
    let host = serving(STACK);
    host.kill("KILL", host.monitor_of("web"));
    host.edit("compose.yaml", "'8001'", "'8002'");
    host.berth("up -d").succeeds();
    assert_eq!(answer(&host), "8002");
    let bind = "python3 -c 'import socket; socket.create_server((\"\", 9000))'";
    host.shell(bind).fails_with(1).stderr_has("Address already in use");
    host.berth("plan --detailed-exitcode").fails_with(0);
}

#[test]
fn three_thousand_ports_pass_from_one_to_the_other() {
    let host = serving(&STACK.replace("'9000:8000'", "'9000:8000', '20000-22999:10000-12999'"));
    host.edit("compose.yaml", "'8001'", "'8002'");
    host.berth("up -d").succeeds();
    assert_eq!(answer(&host), "8002");
    host.berth("port web 12999").stdout_has("22999");
}

#[test]
fn a_client_in_the_stack_gets_its_answer_from_the_one_it_is_connected_to() {
    let other =
        "  other: { image: localhost/host, command: [sleep, '100000'], volumes: ['.:/srv'] }\n";
    let host = serving(&format!("{STACK}{other}"));
    let client = host.start_berth("exec -T other python3 /srv/client.py web");
    host.eventually("it is connected", || host.shell("ls connected").code == 0);
    host.edit("compose.yaml", "'8001'", "'8002'");
    let up = host.start_berth("up -d");
    host.eventually("the new one serves", || status(&host, "stack-web-1").contains("not serving"));
    // Long enough to be cut, if nobody saw it.
    sleep(Duration::from_secs(3));
    host.write("go", "");
    client.ends().succeeds().stdout_has("8001");
    up.ends().succeeds();
    assert_eq!(answer(&host), "8002");
}
