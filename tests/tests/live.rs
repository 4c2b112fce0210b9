//! Limits that change while a container runs, and changes of them that are cut short.

use std::fs;

use berth_tests::TestHost;
use berth_tests::limits::{MEMORY, NONE, SWAP, host, rows, up};
use berth_tests::rows::says;

#[test]
fn changed_limits_are_written_to_the_container_that_runs_and_stay_when_it_starts_again() {
    let host = up("mem_limit: 64m\npids_limit: 25\ncpus: 0.5\nrestart: always");
    let before = host.pid_of("web");
    host.edit("compose.yaml", "mem_limit: 64m", "mem_limit: 128m");
    host.edit("compose.yaml", "pids_limit: 25", "cpu_shares: 512");
    let place = "limits.memory \"64 MiB\" → \"128 MiB\" (compose.yaml:5:";
    host.berth("plan").succeeds().stdout_has("update  web-1").stdout_has(place);
    host.berth("up -d").succeeds();
    let limits = [
        (MEMORY, ["134217728"; 2], NONE),
        (SWAP, ["268435456", "134217728"], NONE),
        (["pids.max"; 2], ["2048"; 2], ["2048"; 2]),
        (["cpu.shares", "cpu.weight"], ["512", "20"], ["1024", "100"]),
        (["cpu.cfs_quota_us", "cpu.max"], ["50000", "50000 100000"], ["-1", "max 100000"]),
    ];
    rows(&host, &limits);
    assert_eq!(host.pid_of("web"), before);
    host.berth("plan --detailed-exitcode").fails_with(0);

    // The next process of the same monitor, and of a new one.
    host.kill("KILL", before.pid);
    let again = |old| host.status("stack-web-1")["pid"].as_i64().is_some_and(|p| p > 0 && p != old);
    host.eventually("it runs again", || again(before.pid));
    rows(&host, &limits);
    host.kill("KILL", host.monitor_of("web"));
    host.edit("compose.yaml", "mem_limit: 128m", "mem_limit: 32m");
    let before = host.pid_of("web");
    host.berth("up -d").succeeds();
    rows(&host, &[(MEMORY, ["33554432"; 2], NONE), (SWAP, ["67108864", "33554432"], NONE)]);
    assert_eq!(host.pid_of("web"), before);
    host.edit("compose.yaml", "    mem_limit: 32m\n", "");
    host.berth("up -d").succeeds();
    rows(&host, &[(MEMORY, NONE, NONE), (SWAP, NONE, NONE)]);
    assert_eq!(host.pid_of("web"), before);
}

#[test]
fn a_limit_that_the_kernel_refuses_changes_nothing() {
    let hog = "mem_limit: 64m\nshm_size: 64m\ncpus: 0.5";
    let host = host(hog);
    host.edit(
        "compose.yaml",
        "[sleep, '100000']\n    mem",
        "[sh, -c, 'head -c 40000000 /dev/zero >/dev/shm/x; sleep 100000']\n    mem",
    );
    host.berth("up -d").succeeds();
    let size = "du -k /dev/shm/x | cut -f1";
    host.eventually("it has its memory", || {
        says(&host, "web", size).parse::<u64>().unwrap_or(0) > 39000
    });
    let before = host.pid_of("web");
    host.edit("compose.yaml", "mem_limit: 64m", "mem_limit: 16m");
    host.edit("compose.yaml", "cpus: 0.5", "cpus: 0.25");
    let refused = host.berth("up -d");
    assert_ne!(refused.code, 0);
    refused.stderr_has("stack-web-1").stderr_has("uses");
    rows(
        &host,
        &[
            (MEMORY, ["67108864"; 2], NONE),
            (SWAP, ["134217728", "67108864"], NONE),
            (["cpu.cfs_quota_us", "cpu.max"], ["50000", "50000 100000"], ["-1", "max 100000"]),
        ],
    );
    assert_eq!(host.pid_of("web"), before);
    host.berth("plan --detailed-exitcode").fails_with(2).stdout_has("update  web-1");
}

#[test]
fn a_stopped_container_has_its_changed_limit_and_policy_at_the_next_start() {
    let host = up("mem_limit: 64m");
    host.berth("stop web").succeeds();
    let record = || {
        let path = host.machine().path("/var/lib/berth/containers/stack-web-1/record.json");
        serde_json::from_slice::<serde_json::Value>(&fs::read(path).unwrap()).unwrap()
    };
    let id = record()["id"].clone();
    host.edit("compose.yaml", "mem_limit: 64m", "mem_limit: 128m\n    restart: always");
    host.berth("up --no-start").succeeds();
    assert_eq!(record()["record"]["spec"]["limits"]["memory"], 128 << 20);
    host.berth("up -d").succeeds();
    rows(&host, &[(MEMORY, ["134217728"; 2], NONE)]);
    assert_eq!(record()["id"], id);
    host.kill("KILL", host.pid_of("web").pid);
    host.eventually("it runs again", || host.status("stack-web-1")["restarts"] == 1);
}

/// Changes a record of `web` as a kill at the wrong moment leaves it.
fn rewrite(host: &TestHost, file: &str, change: impl FnOnce(&mut serde_json::Value)) {
    let path = host.machine().path(file);
    let text = fs::read(&path).expect("a record");
    let mut record = serde_json::from_slice(&text).expect("a record");
    change(&mut record);
    fs::write(path, record.to_string()).expect("a record");
}

#[test]
fn a_change_that_was_cut_short_before_its_record_is_repeated() {
    let host = up("mem_limit: 64m");
    let before = host.pid_of("web");
    host.edit("compose.yaml", "mem_limit: 64m", "mem_limit: 128m");
    host.berth("up -d").succeeds();
    rewrite(&host, "/var/lib/berth/containers/stack-web-1/record.json", |record| {
        record["record"]["spec"]["limits"]["memory"] = (64 << 20).into();
        record["updating"] = true.into();
    });
    host.edit("compose.yaml", "mem_limit: 128m", "mem_limit: 64m");
    host.berth("plan").succeeds().stdout_has("update  web-1  drift: a change of it was cut short");
    host.berth("up -d").succeeds();
    rows(&host, &[(MEMORY, ["67108864"; 2], NONE)]);
    assert_eq!(host.pid_of("web"), before);
    host.berth("plan --detailed-exitcode").fails_with(0);
}

#[test]
fn a_change_that_was_cut_short_in_the_kernel_is_taken_back_by_the_next_monitor() {
    let host = up("mem_limit: 64m");
    host.edit("compose.yaml", "mem_limit: 64m", "mem_limit: 128m");
    host.berth("up -d").succeeds();
    host.kill("KILL", host.monitor_of("web"));
    rewrite(&host, "/run/berth/containers/stack-web-1/bundle.json", |bundle| {
        bundle["changing"] = bundle["cgroup"].clone();
        bundle["cgroup"]["memory"] = (64 << 20).into();
    });
    rewrite(&host, "/var/lib/berth/containers/stack-web-1/record.json", |record| {
        record["record"]["spec"]["limits"]["memory"] = (64 << 20).into();
    });
    host.edit("compose.yaml", "mem_limit: 128m", "mem_limit: 64m");
    host.berth("up -d").succeeds();
    rows(&host, &[(MEMORY, ["67108864"; 2], NONE)]);
}
