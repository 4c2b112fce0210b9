//! Whatever is killed, the next `up` puts it right, and `down` leaves nothing.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

#[path = "crashes/at_once.rs"]
mod at_once;
#[path = "crashes/rollouts.rs"]
mod rollouts;
#[path = "crashes/sweeps.rs"]
mod sweeps;

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

use berth_tests::TestHost;
use nix::sys::signal::Signal;

const SERVICES: [&str; 4] = ["a", "b", "c", "d"];

/// Four services on a network, one with a volume, one published, one health-gated.
const STACK: &str = "\
services:
  a:
    image: busybox:1
    command: [sleep, '100000']
    volumes: ['data:/data']
    healthcheck: { test: [CMD, 'true'], interval: 1s }
  b:
    image: busybox:1
    command: [httpd, -f, -p, '80', -h, /data]
    ports: ['8080:80']
    restart: always
    depends_on: { a: { condition: service_healthy } }
  c: { image: 'busybox:1', command: [sleep, '100000'] }
  d: { image: 'busybox:1', command: [sleep, '100000'], depends_on: [c] }
volumes:
  data:
";

/// All is as the file has it, with one process for each container and one monitor.
#[track_caller]
fn is_converged(host: &TestHost) {
    host.berth("plan --detailed-exitcode").fails_with(0);
    for service in SERVICES {
        host.pid_of(service);
    }
    assert_eq!(host.get("127.0.0.1:8080/seed"), "from the image\n");
    assert_eq!(host.berth_processes().len(), SERVICES.len(), "{:?}", host.berth_commands());
    let sleepers = host.shell("grep -lx sleep /proc/[0-9]*/comm | wc -l").stdout;
    assert_eq!(sleepers.trim(), "4", "three of the stack and one of the harness");
}

#[test]
fn only_monitors_are_left_after_up() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    let monitors: BTreeSet<i64> = SERVICES.iter().map(|s| host.monitor_of(s)).collect();
    assert_eq!(monitors.len(), SERVICES.len());
    assert_eq!(host.berth_processes().len(), SERVICES.len(), "{:?}", host.berth_commands());
}

#[test]
fn a_killed_monitor_is_replaced_and_its_container_runs_on() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    let before = SERVICES.map(|service| host.pid_of(service));

    host.kill("KILL", host.monitor_of("c"));
    host.berth("up -d").succeeds();

    assert_eq!(before, SERVICES.map(|service| host.pid_of(service)));
    is_converged(&host);
}

#[test]
fn all_monitors_can_be_killed() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    let before = SERVICES.map(|service| host.pid_of(service));

    for service in SERVICES {
        host.kill("KILL", host.monitor_of(service));
    }
    host.berth("up -d").succeeds();

    assert_eq!(before, SERVICES.map(|service| host.pid_of(service)));
    is_converged(&host);
    host.berth("down -v -y").succeeds();
    host.leaves_nothing_but(&[]);
}

#[test]
fn down_works_after_all_monitors_were_killed() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    for service in SERVICES {
        host.kill("KILL", host.monitor_of(service));
    }
    host.berth("down -v -y").succeeds();
    host.leaves_nothing_but(&[]);
}

#[test]
fn a_new_monitor_restarts_its_container_as_the_old_one_would() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.kill("KILL", host.monitor_of("b"));
    host.berth("up -d").succeeds();
    let before = host.pid_of("b");
    host.kill("KILL", before.pid);
    host.eventually("it is started again", || {
        let status = host.status("stack-b-1");
        status["phase"] == "running" && status["pid"] != before.pid
    });
    host.eventually("it answers", || host.get("127.0.0.1:8080/seed") == "from the image\n");
}

#[test]
fn everything_of_the_stack_can_be_killed_at_once() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    let all = SERVICES.map(|s| format!("{} {}", host.monitor_of(s), host.pid_of(s).pid)).join(" ");
    host.shell(&format!("kill -KILL {all}")).succeeds();
    host.berth("up -d").succeeds();
    is_converged(&host);
}

#[test]
fn a_bridge_that_is_half_made_is_seen_while_the_networks_are_looked_after() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    // As a kill leaves it; and the sentry has the lock of the networks.
    host.shell("ip link add br-half group $((0x62657268)) type bridge").succeeds();
    let held = "flock /var/lib/berth/networks $berth";
    host.shell(&format!("{held} plan --detailed-exitcode")).fails_with(2).stdout_has("br-half");
    host.berth("up -d").succeeds();
    host.shell("ip link show br-half").fails_with(1);
    is_converged(&host);
}

#[test]
fn up_killed_at_any_moment_is_finished_by_the_next() {
    let host = TestHost::with("compose.yaml", STACK);
    // A whole `up` takes a few hundred milliseconds: these moments lie all over it.
    for after in [2, 5, 10, 20, 40, 60, 80, 120, 160, 240, 320, 500] {
        let up = host.start_berth("up -d");
        sleep(Duration::from_millis(after));
        if let Some(pid) = up.running() {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
        }
        drop(up.ends());
        host.berth("up -d").succeeds();
        is_converged(&host);
        host.berth("down -v -y").succeeds();
        host.leaves_nothing_but(&[]);
    }
}

#[test]
fn down_killed_at_any_moment_is_finished_by_the_next() {
    let host = TestHost::with("compose.yaml", STACK);
    for after in [2, 5, 10, 20, 40, 80, 160] {
        host.berth("up -d").succeeds();
        let down = host.start_berth("down -v -y");
        sleep(Duration::from_millis(after));
        if let Some(pid) = down.running() {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
        }
        drop(down.ends());
        host.berth("down -v -y").succeeds();
        host.leaves_nothing_but(&[]);
    }
}

#[test]
fn two_ups_at_once_do_not_hurt_each_other() {
    let host = TestHost::with("compose.yaml", STACK);
    let both = [host.start_berth("up -d"), host.start_berth("up -d")].map(|up| up.ends());
    assert!(both.iter().all(|up| up.code == 0 || up.code == 8), "{} {}", both[0], both[1]);
    assert!(both.iter().any(|up| up.code == 0), "{} {}", both[0], both[1]);
    host.berth("up -d").succeeds();
    is_converged(&host);
}

/// What a reboot takes: every process, `/run`, links, rules and cgroups.
fn reboot(host: &TestHost) {
    let all = SERVICES.map(|s| format!("{} {}", host.monitor_of(s), host.pid_of(s).pid)).join(" ");
    host.shell(&format!("kill -KILL {all}; rm -rf /run/berth; nft flush ruleset")).succeeds();
    host.shell(
        "for l in $(ls /sys/class/net | grep -v -e lo -e wire0); do ip link del $l; done; true",
    )
    .succeeds();
    host.eventually("the cgroups are empty and gone", || {
        host.shell("for d in /sys/fs/cgroup/*/berth; do [ ! -d $d ] || find $d -depth -type d -exec rmdir {} +; done").code == 0
    });
}

#[test]
fn a_reboot_is_survived() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.berth("exec -T a sh -c 'echo kept >/data/kept'").succeeds();
    reboot(&host);
    host.berth("up -d").succeeds();
    is_converged(&host);
    host.berth("exec -T a cat /data/kept").succeeds().stdout_is("kept");
}

#[test]
fn a_record_that_a_power_cut_left_empty_is_none() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    reboot(&host);
    host.shell("cd /var/lib/berth/containers && truncate -s 0 $(ls | head -n 1)/record.json")
        .succeeds();
    host.berth("up -d").succeeds();
    is_converged(&host);
}

#[test]
fn rules_that_somebody_flushed_come_back() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.shell("nft flush ruleset").succeeds();
    host.berth("up -d").succeeds();
    // The monitor that stands sentry has a process look as well.
    host.eventually("only monitors are left", || host.berth_processes().len() == SERVICES.len());
    is_converged(&host);
    host.neighbour("curl -sS --fail --max-time 3 http://192.0.2.1:8080/seed").succeeds();
}
