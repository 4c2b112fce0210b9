//! Replicas come and go one by one; profiles switch services on.

use berth_tests::TestHost;

const STACK: &str = "
services:
  web: { image: 'busybox:1', command: [sleep, '100000'] }
  debug: { image: 'busybox:1', command: [sleep, '100000'], profiles: [debug] }
";

fn running(host: &TestHost, service: &str) -> Vec<u32> {
    let is_up = |n: &u32| host.status(&format!("stack-{service}-{n}"))["phase"] == "running";
    (1..=6).filter(is_up).collect()
}

#[test]
fn replicas_are_added_and_the_highest_numbers_go_first() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d --scale web=4").succeeds();
    assert_eq!(running(&host, "web"), [1, 2, 3, 4]);
    let kept = [host.pid_of_container("stack-web-1"), host.pid_of_container("stack-web-2")];

    host.berth("up -d --scale web=2").succeeds();
    assert_eq!(running(&host, "web"), [1, 2]);
    assert_eq!(kept, [host.pid_of_container("stack-web-1"), host.pid_of_container("stack-web-2")]);

    host.berth("up -d").succeeds();
    assert_eq!(running(&host, "web"), [1]);
}

#[test]
fn the_file_says_how_many() {
    let host = TestHost::with("compose.yaml", STACK);
    host.edit(
        "compose.yaml",
        "sleep, '100000'] }\n  debug",
        "sleep, '100000'], deploy: { replicas: 3 } }\n  debug",
    );
    host.berth("up -d").succeeds();
    assert_eq!(running(&host, "web"), [1, 2, 3]);
    host.edit("compose.yaml", "replicas: 3", "replicas: 0");
    host.berth("up -d").succeeds();
    assert_eq!(running(&host, "web"), [] as [u32; 0]);
}

#[test]
fn a_replica_that_is_missing_is_put_back() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d --scale web=3").succeeds();
    let third = host.pid_of_container("stack-web-3");
    host.kill("KILL", host.pid_of_container("stack-web-2").pid);
    host.eventually("it is gone", || running(&host, "web") == [1, 3]);
    host.berth("up -d --scale web=3").succeeds();
    assert_eq!(running(&host, "web"), [1, 2, 3]);
    assert_eq!(host.pid_of_container("stack-web-3"), third);
}

#[test]
fn a_service_of_a_profile_runs_only_with_it() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    assert_eq!(running(&host, "debug"), [] as [u32; 0]);
    host.berth("--profile debug up -d").succeeds();
    assert_eq!(running(&host, "debug"), [1]);
    // Switched off again it is no orphan, and a plain `down` leaves it alone only if asked to.
    host.berth("up -d --remove-orphans").succeeds();
    assert_eq!(running(&host, "debug"), [1]);
    host.berth("--profile debug down").succeeds();
    host.leaves_nothing_but(&[]);
}

#[test]
fn naming_a_service_switches_its_profile_on() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d debug").succeeds();
    assert_eq!(running(&host, "debug"), [1]);
    assert_eq!(running(&host, "web"), [] as [u32; 0]);
}
