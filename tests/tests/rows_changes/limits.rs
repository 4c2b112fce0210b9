//! Limits that need a disk or a controller of this host: they change while the container runs, and the
//! kernel has the new ones. What this kernel has not is told.

use std::fs;

use berth_tests::limits::{disk, host, rows, text};
use berth_tests::{TestHost, skipped};

/// Brings `web` up, makes `after` of `before` in its lines, and applies that to the process that runs.
#[track_caller]
fn changed(host: &TestHost, edits: &[(&str, &str)]) {
    host.berth("up -d").succeeds();
    let pid = host.pid_of("web");
    for (before, after) in edits {
        host.edit("compose.yaml", before, after);
    }
    host.berth("plan").stdout_has("update  web-1").stdout_lacks("create");
    host.berth("up -d").succeeds();
    assert_eq!(host.pid_of("web"), pid);
    host.berth("plan --detailed-exitcode").fails_with(0);
}

#[test]
fn limits_of_block_devices_change_while_the_container_runs() {
    let Some((disk, numbers)) = disk() else {
        return skipped("this host has no disk");
    };
    let rate =
        |key: &str, rate: &str| format!("  device_{key}: [{{ path: {disk}, rate: {rate} }}]\n");
    let host = host(&format!(
        "blkio_config:\n{}{}{}{}",
        rate("read_bps", "1m"),
        rate("write_bps", "2m"),
        rate("read_iops", "30"),
        rate("write_iops", "40"),
    ));
    changed(&host, &[("rate: 1m", "rate: 3m"), ("rate: 2m", "rate: 4m"), ("rate: 30", "rate: 31")]);
    if let Some(max) = text(&host, "web", ["io.max"; 2]) {
        assert_eq!(max, format!("{numbers} rbps=3145728 wbps=4194304 riops=31 wiops=40"));
        return;
    }
    let limits = [
        ("read_bps", "3145728"),
        ("write_bps", "4194304"),
        ("read_iops", "31"),
        ("write_iops", "40"),
    ];
    for (name, rate) in limits {
        let file = format!("blkio.throttle.{name}_device");
        rows(&host, &[([file.as_str(); 2], [&format!("{numbers} {rate}"); 2], [""; 2])]);
    }
}

#[test]
fn weights_of_block_devices_change_while_the_container_runs() {
    const FILES: [&str; 2] = ["blkio.bfq.weight", "io.bfq.weight"];
    let host = host("blkio_config: { weight: 300 }");
    changed(&host, &[("weight: 300", "weight: 200")]);
    rows(&host, &[(FILES, ["200", "default 200"], ["100", "default 100"])]);
}

#[test]
fn real_time_changes_while_the_container_runs() {
    const RUNTIME: [&str; 2] = ["cpu.rt_runtime_us"; 2];
    let host = host("cpu_rt_runtime: 2000\ncpu_rt_period: 500000");
    let Some(own) = host.machine().cgroup_with("", RUNTIME[0]) else {
        return skipped("this host has no real-time limits of groups (cgroup v1)");
    };
    // What the machine does not have it cannot give.
    fs::write(own, "4000").expect("real-time time for the machine");
    changed(&host, &[("2000", "1000"), ("500000", "400000")]);
    let period = ["cpu.rt_period_us"; 2];
    rows(&host, &[(RUNTIME, ["1000"; 2], ["0"; 2]), (period, ["400000"; 2], ["1000000"; 2])]);
}

#[test]
fn swappiness_and_the_end_for_want_of_memory_change_while_the_container_runs() {
    let host = host("mem_limit: 32m\nmem_swappiness: 7\noom_kill_disable: true");
    if host.machine().cgroup_with("", "memory.swappiness").is_none() {
        return skipped("this host has no memory.swappiness (cgroup v1)");
    }
    changed(
        &host,
        &[("mem_swappiness: 7", "mem_swappiness: 9"), ("disable: true", "disable: false")],
    );
    let default = fs::read_to_string("/proc/sys/vm/swappiness").unwrap();
    rows(&host, &[(["memory.swappiness"; 2], ["9"; 2], [default.trim(); 2])]);
    let control = text(&host, "web", ["memory.oom_control"; 2]).unwrap();
    assert_eq!(control.lines().next(), Some("oom_kill_disable 0"));
}
