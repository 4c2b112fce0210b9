//! Limits of the file are limits of the kernel.

use std::fs;
use std::path::PathBuf;

use berth_tests::TestHost;

const STACK: &str = "
services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    deploy:
      resources:
        limits: { memory: 64m, cpus: '0.5', pids: 30 }
    ulimits: { nofile: { soft: 100, hard: 200 } }
    sysctls: { net.core.somaxconn: 777 }
    shm_size: 8m
    labels: { some.label: a value }
";

/// The file of a limit, by its name in v2 or v1.
fn file(host: &TestHost, v2: &str, v1: &str) -> PathBuf {
    [v2, v1]
        .into_iter()
        .find_map(|file| host.machine().cgroup_with("berth/stack-web-1", file))
        .unwrap_or_else(|| panic!("no {v2} or {v1} for the container"))
}

/// A limit as the kernel has it.
fn limit(host: &TestHost, v2: &str, v1: &str) -> String {
    fs::read_to_string(file(host, v2, v1)).expect("a cgroup file").trim().to_owned()
}

/// Sets a limit past berth.
fn set(host: &TestHost, v2: &str, v1: &str, value: &str) {
    fs::write(file(host, v2, v1), value).expect("a cgroup file");
}

#[test]
fn limits_are_in_the_cgroup_files() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    assert_eq!(limit(&host, "memory.max", "memory.limit_in_bytes"), (64 << 20).to_string());
    assert_eq!(limit(&host, "pids.max", "pids.max"), "30");
    let cpu = limit(&host, "cpu.max", "cpu.cfs_quota_us");
    assert!(["50000 100000", "50000"].contains(&cpu.as_str()), "{cpu}");
}

#[test]
fn limits_that_somebody_else_has_set_are_drift_and_put_back_while_it_runs() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    let before = host.pid_of("web");
    let all = || {
        let memory = limit(&host, "memory.max", "memory.limit_in_bytes");
        (memory, limit(&host, "pids.max", "pids.max"), limit(&host, "cpu.max", "cpu.cfs_quota_us"))
    };
    let given = all();
    host.berth("plan --detailed-exitcode").fails_with(0);
    set(&host, "memory.max", "memory.limit_in_bytes", "100663296");
    set(&host, "pids.max", "pids.max", "max");
    set(&host, "cpu.max", "cpu.cfs_quota_us", "20000");

    host.berth("plan --detailed-exitcode")
        .fails_with(2)
        .stdout_has("Drifted since it was applied:")
        .stdout_has("update  web-1")
        .stdout_has("drift: mem_limit: memory.")
        .stdout_has(" is 100663296, not 67108864")
        .stdout_has("drift: cpus: cpu.")
        .stdout_has("drift: pids_limit: pids.max is max, not 30");
    host.berth("up -d").succeeds();
    assert_eq!((all(), host.pid_of("web")), (given, before));
    host.berth("plan --detailed-exitcode").fails_with(0);
    host.berth("up -d").succeeds().stderr_has("nothing to do");
}

#[test]
fn a_limit_that_somebody_else_has_set_goes_with_an_edit_that_is_only_noted() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    let before = host.pid_of("web");
    set(&host, "pids.max", "pids.max", "31");
    host.edit("compose.yaml", "a value", "another value");
    host.berth("up -d").succeeds();
    assert_eq!((limit(&host, "pids.max", "pids.max").as_str(), host.pid_of("web")), ("30", before));
    host.berth("plan --detailed-exitcode").fails_with(0);
}

#[test]
fn processes_of_the_container_and_of_exec_are_in_its_cgroup() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.berth("exec -d web sleep 4242").succeeds();
    host.eventually("it is counted", || {
        limit(&host, "pids.current", "pids.current").parse::<u32>().unwrap() >= 2
    });
    host.berth("exec -T web sh -c 'for i in $(seq 40); do sleep 5 & done'").stderr_has("fork");
}

#[test]
fn the_other_settings_are_seen_inside() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    let seen = host.berth("exec -T web sh -c 'ulimit -Sn; ulimit -Hn; cat /proc/sys/net/core/somaxconn; df -k /dev/shm | tail -1'").succeeds().stdout;
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(&lines[..3], ["100", "200", "777"]);
    assert!(lines[3].contains(" 8192 "), "{seen}");
}

#[test]
fn a_container_is_shut_in() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    let inside = |line: &str| host.berth(&format!("exec -T -u root web {line}"));
    assert_ne!(inside("mount -t tmpfs none /tmp").code, 0);
    assert_ne!(inside("sh -c 'echo 1 >/proc/sys/kernel/panic'").code, 0);
    assert_ne!(inside("sh -c 'cat /proc/kcore | head -c1 | wc -c | grep -qx 1'").code, 0);
    assert_ne!(inside("mknod /tmp/disk b 254 0").code, 0);
    assert_ne!(inside("unshare -m true").code, 0);
    inside("sh -c 'ps | wc -l'").succeeds();
    let map = inside("cat /proc/self/uid_map").succeeds().stdout;
    let fields: Vec<u64> = map.split_whitespace().map(|f| f.parse().unwrap()).collect();
    assert!(
        fields[0] == 0 && fields[1] != 0 && fields[2] == 65536,
        "a user namespace of its own: {map}"
    );
    let links = inside("ls /sys/class/net").succeeds().stdout;
    assert_eq!(links.split_whitespace().collect::<Vec<_>>(), ["eth0", "lo"]);
}
