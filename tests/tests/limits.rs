//! Limits of the file are limits of the kernel.

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

/// A limit as the kernel has it, by its file in v2 or v1.
fn limit(host: &TestHost, v2: &str, v1: &str) -> String {
    let file = [v2, v1]
        .into_iter()
        .find_map(|file| host.machine().cgroup_with("berth/stack-web-1", file))
        .unwrap_or_else(|| panic!("no {v2} or {v1} for the container"));
    std::fs::read_to_string(file).expect("a cgroup file").trim().to_owned()
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
