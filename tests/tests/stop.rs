//! A stop asks first, waits as long as it is told, then kills.

use std::time::{Duration, Instant};

use berth_tests::TestHost;
use nix::sys::signal::Signal;

/// A process that says which signal it got, and ends only when `ends`.
fn stack(ends: bool, grace: &str, signal: &str) -> String {
    let end = if ends { "; exit 9" } else { "" };
    format!(
        "
services:
  web:
    image: busybox:1
    init: false
    command: [sh, -c, 'trap \"echo got TERM{end}\" TERM; trap \"echo got USR1{end}\" USR1; echo ready; while :; do sleep 0.05; done']
    stop_grace_period: {grace}
    stop_signal: {signal}
"
    )
}

fn up(stack: &str) -> TestHost {
    let host = TestHost::with("compose.yaml", stack);
    host.berth("up -d").succeeds();
    host.eventually("it is ready", || host.berth("logs web").stdout.contains("ready"));
    host
}

#[test]
fn stop_sends_the_stop_signal_and_takes_the_status() {
    let host = up(&stack(true, "30s", "SIGUSR1"));
    host.berth("stop").succeeds();
    host.berth("logs web").succeeds().stdout_has("got USR1");
    assert_eq!(host.status("stack-web-1")["exit_code"], 9);
}

#[test]
fn what_does_not_end_is_killed_after_the_grace_period() {
    let host = up(&stack(false, "700ms", "SIGTERM"));
    let begin = Instant::now();
    host.berth("stop").succeeds();
    assert!(begin.elapsed() >= Duration::from_millis(700), "{:?}", begin.elapsed());
    host.berth("logs web").succeeds().stdout_has("got TERM");
    assert_eq!(host.status("stack-web-1")["exit_code"], 137);
}

#[test]
fn the_timeout_of_the_command_line_counts_more() {
    let host = up(&stack(false, "50s", "SIGTERM"));
    host.berth("stop -t 0").succeeds();
    assert_eq!(host.status("stack-web-1")["exit_code"], 137);
}

#[test]
fn a_program_that_ignores_the_signal_as_pid_1_does_not_keep_anybody_waiting() {
    // `sleep` has no handler: as PID 1 the kernel would not deliver SIGTERM to it at all.
    let host = TestHost::with(
        "compose.yaml",
        "services: { web: { image: 'busybox:1', command: [sleep, '100000'], stop_grace_period: 50s } }",
    );
    host.berth("up -d").succeeds();
    let begin = Instant::now();
    host.berth("down").succeeds();
    assert!(begin.elapsed() < Duration::from_secs(25), "{:?}", begin.elapsed());
}

#[test]
fn kill_sends_the_signal_it_is_told() {
    let host = up(&stack(false, "1s", "SIGTERM"));
    host.berth("kill -s USR1 web").succeeds();
    host.eventually("it arrives", || host.berth("logs web").stdout.contains("got USR1"));
    host.pid_of("web");
    host.berth("kill web").succeeds();
    host.eventually("it is gone", || host.status("stack-web-1")["phase"] == "exited");
    assert_eq!(host.status("stack-web-1")["exit_code"], 137);
}

#[test]
fn rm_takes_stopped_containers_and_leaves_running_ones() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  a: { image: 'busybox:1', command: [sleep, '100000'] }
  b: { image: 'busybox:1', command: [sleep, '100000'] }
",
    );
    host.berth("up -d").succeeds();
    host.berth("stop a").succeeds();
    host.berth("rm -f").succeeds();
    host.berth("ps -a").succeeds().stdout_has("stack-b-1").stdout_lacks("stack-a-1");
    host.pid_of("b");
    host.berth("rm -fs b").succeeds();
    host.berth("ps -a").succeeds().stdout_lacks("stack-b-1");
}

#[test]
fn processes_that_a_container_left_behind_end_with_it() {
    let host = TestHost::with(
        "compose.yaml",
        "services: { web: { image: 'busybox:1', command: [sh, -c, 'setsid sleep 4242 & setsid sleep 4242 & exec sleep 100000'] } }",
    );
    host.berth("up -d").succeeds();
    host.eventually("they run", || {
        host.shell("pgrep -xf 'sleep 4242' | wc -l").stdout.trim() == "2"
    });
    host.berth("stop").succeeds();
    assert_eq!(host.shell("pgrep -xf 'sleep 4242' | wc -l").stdout.trim(), "0");
}

#[test]
fn an_init_passes_the_signal_on_and_the_program_ends_by_itself() {
    let text = stack(true, "30s", "SIGTERM").replace("init: false", "init: true");
    let host = up(&text);
    host.berth("stop").succeeds();
    host.berth("logs web").succeeds().stdout_has("got TERM");
    assert_eq!(host.status("stack-web-1")["exit_code"], 9);
}

/// A stop is under way that the program does not heed, and its monitor is gone.
fn half_stopped(grace: &str) -> (TestHost, berth_tests::Running) {
    let host = up(&stack(false, grace, "SIGTERM"));
    let stop = host.start_berth("stop");
    host.eventually("it was asked", || host.status("stack-web-1")["stop"]["asked"] == true);
    host.eventually("it has heard that", || asked(&host) == 1);
    host.kill("KILL", host.monitor_of("web"));
    (host, stop)
}

/// How often the program got its signal.
fn asked(host: &TestHost) -> usize {
    host.berth("logs web").stdout.matches("got TERM").count()
}

#[test]
fn a_new_monitor_goes_on_with_a_stop_and_does_not_begin_it_anew() {
    let (host, stop) = half_stopped("50s");
    stop.signal(Signal::SIGKILL);
    let before = host.status("stack-web-1");
    host.berth("up -d").succeeds();
    assert_ne!(host.status("stack-web-1")["monitor"], before["monitor"], "it is adopted");
    std::thread::sleep(Duration::from_millis(500));
    let after = host.status("stack-web-1");
    assert_eq!((&after["phase"], &after["stop"]), (&before["phase"], &before["stop"]), "{after}");
    assert_eq!(asked(&host), 1);
}

#[test]
fn a_stop_without_its_monitor_goes_on_and_does_not_begin_anew() {
    let (host, stop) = half_stopped("20s");
    stop.ends().succeeds();
    assert_eq!(asked(&host), 1);
    assert_eq!(host.status("stack-web-1")["exit_code"], 137);
}
