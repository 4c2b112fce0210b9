//! A container that ends is started again as its policy says, and what the user stopped stays so.

use berth_tests::TestHost;

fn stack(policy: &str, line: &str) -> String {
    format!(
        "
services:
  web:
    image: busybox:1
    command: [sh, -c, '{line}']
    restart: {policy}
    stop_grace_period: 1s
"
    )
}

fn restarts(host: &TestHost) -> i64 {
    host.status("stack-web-1")["restarts"].as_i64().unwrap_or(0)
}

#[test]
fn a_killed_process_is_started_again() {
    let host = TestHost::with("compose.yaml", &stack("always", "exec sleep 100000"));
    host.berth("up -d").succeeds();
    for _ in 0..2 {
        let before = host.pid_of("web");
        host.kill("KILL", before.pid);
        host.eventually("it is started again", || {
            let status = host.status("stack-web-1");
            status["phase"] == "running" && status["pid"] != before.pid
        });
    }
    assert_eq!(restarts(&host), 2);
    host.berth("exec -T web true").succeeds();
}

#[test]
fn on_failure_stops_after_so_many_times() {
    let host = TestHost::with("compose.yaml", &stack("on-failure:2", "exit 7"));
    host.berth("up -d").succeeds();
    host.eventually("it is given up", || {
        let status = host.status("stack-web-1");
        status["phase"] == "exited" && status["restarts"] == 2
    });
    assert_eq!(host.status("stack-web-1")["exit_code"], 7);
}

#[test]
fn on_failure_leaves_what_ended_well() {
    let host = TestHost::with("compose.yaml", &stack("on-failure", "exit 0"));
    host.berth("up -d").succeeds();
    host.eventually("it has ended", || host.status("stack-web-1")["phase"] == "exited");
    assert_eq!(restarts(&host), 0);
}

#[test]
fn without_a_policy_it_stays_ended() {
    let host = TestHost::with("compose.yaml", &stack("'no'", "exit 4"));
    host.berth("up -d").succeeds();
    host.eventually("it has ended", || host.status("stack-web-1")["phase"] == "exited");
    assert_eq!(host.status("stack-web-1")["exit_code"], 4);
    assert_eq!(restarts(&host), 0);
    host.berth("ps -a").succeeds().stdout_has("4");
}

#[test]
fn a_crash_loop_backs_off() {
    let host = TestHost::with("compose.yaml", &stack("always", "exit 1"));
    host.berth("up -d").succeeds();
    host.eventually("it was started again a few times", || restarts(&host) >= 3);
    // Docker waits 100 ms and doubles: after four seconds there were at most six.
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert!(restarts(&host) <= 8, "{} restarts", restarts(&host));
}

#[test]
fn what_the_user_stopped_is_not_started_by_its_policy() {
    let host = TestHost::with("compose.yaml", &stack("always", "exec sleep 100000"));
    host.berth("up -d").succeeds();
    host.berth("stop").succeeds();
    assert_eq!(host.status("stack-web-1")["phase"], "exited");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(host.status("stack-web-1")["phase"], "exited");
    host.berth("start").succeeds();
    host.pid_of("web");
}

#[test]
fn restart_gives_the_same_container_a_new_process() {
    let host = TestHost::with("compose.yaml", &stack("always", "exec sleep 100000"));
    host.berth("up -d").succeeds();
    host.berth("exec -T web touch /mark").succeeds();
    let before = host.pid_of("web");
    host.berth("restart web").succeeds();
    assert_ne!(host.pid_of("web"), before);
    host.berth("exec -T web test -e /mark").succeeds();
}

#[test]
fn a_container_out_of_memory_says_so_and_is_started_again() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  web:
    image: busybox:1
    command: [sh, -c, 'test -e /again && exec sleep 100000; touch /again; exec tail /dev/zero']
    restart: always
    mem_limit: 16m
    memswap_limit: 16m
",
    );
    host.berth("up -d").succeeds();
    host.eventually("it is killed and started again", || {
        let status = host.status("stack-web-1");
        status["restarts"] == 1 && status["phase"] == "running"
    });
    host.berth("exec -T web true").succeeds();
}
