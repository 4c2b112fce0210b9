//! Promise: one run at a time changes a project. The others wait as long as `--lock-timeout` says, tell whom for,
//! and change nothing when that was not long enough.

use std::time::Duration;

use berth_tests::machine::Place;
use berth_tests::{Running, TestHost};
use nix::sys::signal::Signal;

const STACK: &str = "
services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    init: true
";

/// What changes a project, also by the state of no container.
const CHANGING: [&str; 18] = [
    "up -d",
    "create",
    "scale web=2",
    "run --rm -T web true",
    "start",
    "stop",
    "restart",
    "pause web",
    "unpause web",
    "kill",
    "rm -f -s",
    "rollback",
    "history --forget",
    "down",
    "cp compose.yaml idle:/",
    "container prune -f",
    "volume rm stack_data",
    "volume prune -a -f",
];

/// Somebody holds the lock of the project, until they are killed.
fn holder(host: &TestHost) -> Running {
    let line = "exec flock -F /var/lib/berth/projects/stack/lock \
                sh -c 'echo held; exec sleep 1000'";
    let holder = host.start_shell(Place::Inside, line);
    holder.prints("held");
    holder
}

fn lets_go(holder: Running) {
    holder.signal(Signal::SIGKILL);
    holder.ends();
}

#[test]
fn who_waits_no_time_at_all_changes_nothing_while_another_run_has_the_lock() {
    let more = "  idle: { image: 'busybox:1', command: ['true'], volumes: ['data:/data'] }\n\
                volumes: { data: {} }\n";
    let host = TestHost::with("compose.yaml", &format!("{STACK}{more}"));
    host.write(
        "old.yaml",
        &format!("{STACK}    volumes: ['old:/old']\nvolumes: {{ old: {{}} }}\n"),
    );
    // What a prune of volumes may take.
    host.berth("-f old.yaml up -d").succeeds();
    host.berth("-f old.yaml down").succeeds();
    host.berth("up -d").succeeds();
    host.eventually("it has ended", || !host.berth("ps -q -a --status exited").stdout.is_empty());
    let seen = || (host.pid_of("web"), host.berth("ps -a -q").stdout);
    let before = seen();
    let history = host.berth("history --format json").stdout;
    let held = holder(&host);
    for words in CHANGING {
        let told = host.berth(&format!("--lock-timeout 0 {words}"));
        told.fails_with(8).stderr_has("project `stack` is locked by").stderr_has("--lock-timeout");
    }
    assert_eq!(seen(), before);
    assert_eq!(host.berth("history --format json").stdout, history);
    for words in ["--dry-run up", "plan", "logs", "exec -T web true", "cp web:/etc/passwd -"] {
        host.berth(&format!("--lock-timeout 0 {words}")).succeeds();
    }
    lets_go(held);
}

#[test]
fn who_waits_long_tells_whom_for_and_goes_on() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    let held = holder(&host);
    let waits = host.start_berth("stop --lock-timeout 1h -t 0");
    waits.prints("project `stack` is locked by process").prints("waiting for it");
    assert_eq!(host.berth("ps -q").stdout.lines().count(), 1);
    lets_go(held);
    waits.ends().succeeds();
    host.berth("ps -q").succeeds().stdout_is("");
}

#[test]
fn a_wait_without_an_end_is_a_wait() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    let held = holder(&host);
    let waits = host.start_berth(&format!("stop --lock-timeout {} -t 0", u64::MAX));
    waits.prints("waiting for it");
    lets_go(held);
    waits.ends().succeeds();
    host.berth("down --lock-timeout soon").fails_with(64).stderr_has("no duration");
}

/// Tells an `up` that is attached to end while another run has the lock, and once more after it has
/// said this.
fn told_twice(before_the_second: &str) {
    let host = TestHost::with("compose.yaml", STACK);
    let up = host.start_berth("up --lock-timeout 1h");
    host.eventually("it runs", || host.berth("ps -q").stdout.lines().count() == 1);
    let held = holder(&host);
    up.signal(Signal::SIGINT);
    up.prints(before_the_second);
    up.signal(Signal::SIGINT);
    up.ends().fails_with(8).stderr_has("project `stack` is locked by");
    host.eventually("it is killed", || host.berth("ps -q").stdout.is_empty());
    lets_go(held);
}

#[test]
fn who_is_told_twice_to_end_waits_for_nobody() {
    told_twice("waiting for it");
}

#[test]
fn who_is_told_twice_at_once_waits_for_nobody_either() {
    told_twice("press Ctrl-C again");
}

#[test]
fn a_container_of_run_rm_goes_also_when_another_run_has_the_lock_for_long() {
    let host = TestHost::with("compose.yaml", STACK);
    let name = host.berth("run -d --rm -T web sleep 100000").succeeds().stdout.trim().to_owned();
    let record = host.machine().path(format!("/var/lib/berth/containers/{name}"));
    let held = holder(&host);
    host.kill("KILL", host.pid_of_container(&name).pid);
    // Longer than a run waits of itself.
    std::thread::sleep(Duration::from_secs(12));
    assert!(record.exists());
    lets_go(held);
    host.eventually("it is removed", || !record.exists());
}
