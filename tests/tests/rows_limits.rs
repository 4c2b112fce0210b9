//! One row of the table of limits after the other, from inside and from the kernel's own files,
//! with what holds when the file says nothing.

use std::fs;
use std::path::PathBuf;

use berth_tests::limits::{MEMORY, NONE, SWAP, disk, file, host, rows, text, up};
use berth_tests::rows::says;
use berth_tests::{TestHost, skipped};

#[test]
fn mem_limit_and_mem_reservation_are_those_of_the_kernel_and_swap_is_as_much_again() {
    let host = up("mem_limit: 64m\nmem_reservation: 32m");
    rows(
        &host,
        &[
            (MEMORY, ["67108864"; 2], NONE),
            (SWAP, ["134217728", "67108864"], NONE),
            (["memory.soft_limit_in_bytes", "memory.low"], ["33554432"; 2], [NONE[0], "0"]),
        ],
    );
}

#[test]
fn limits_of_deploy_are_those_of_the_kernel() {
    let host =
        up("deploy:\n  resources:\n    limits: { memory: 48m, cpus: '0.25', pids: 20 }\n    \
                   reservations: { memory: 24m }");
    rows(
        &host,
        &[
            (MEMORY, ["50331648"; 2], NONE),
            (["memory.soft_limit_in_bytes", "memory.low"], ["25165824"; 2], [NONE[0], "0"]),
            (["cpu.cfs_quota_us", "cpu.max"], ["25000", "25000 100000"], ["-1", "max 100000"]),
            (["pids.max"; 2], ["20"; 2], ["2048"; 2]),
        ],
    );
}

#[test]
fn memswap_limit_counts_memory_and_swap_together() {
    rows(&up("mem_limit: 64m\nmemswap_limit: 96m"), &[(SWAP, ["100663296", "33554432"], NONE)]);
    rows(&up("mem_limit: 64m\nmemswap_limit: 64m"), &[(SWAP, ["67108864", "0"], NONE)]);
    rows(&up("mem_limit: 64m\nmemswap_limit: -1"), &[(SWAP, NONE, NONE)]);
}

#[test]
fn less_memory_than_a_program_needs_is_refused_with_its_place() {
    let host = host("mem_limit: 5m");
    host.berth("up -d").fails_with(65).stderr_has("5242880 bytes").stderr_has("compose.yaml:5:");
}

#[test]
fn cpus_are_a_quota_in_a_period_of_a_tenth_of_a_second() {
    let host = up("cpus: 1.5");
    rows(
        &host,
        &[
            (["cpu.cfs_quota_us", "cpu.max"], ["150000", "150000 100000"], ["-1", "max 100000"]),
            (
                ["cpu.cfs_period_us", "cpu.max"],
                ["100000", "150000 100000"],
                ["100000", "max 100000"],
            ),
        ],
    );
}

#[test]
fn cpu_quota_and_cpu_period_are_written_as_the_file_has_them() {
    let host = up("cpu_quota: 20000\ncpu_period: 50000");
    rows(
        &host,
        &[
            (["cpu.cfs_quota_us", "cpu.max"], ["20000", "20000 50000"], ["-1", "max 100000"]),
            (["cpu.cfs_period_us", "cpu.max"], ["50000", "20000 50000"], ["100000", "max 100000"]),
        ],
    );
}

#[test]
fn a_cpu_period_alone_sets_no_quota() {
    let host = up("cpu_period: 50000");
    rows(
        &host,
        &[
            (["cpu.cfs_quota_us", "cpu.max"], ["-1", "max 50000"], ["-1", "max 100000"]),
            (["cpu.cfs_period_us", "cpu.max"], ["50000", "max 50000"], ["100000", "max 100000"]),
        ],
    );
}

#[test]
fn cpu_shares_are_the_weight_of_the_kernel() {
    let host = up("cpu_shares: 512");
    rows(&host, &[(["cpu.shares", "cpu.weight"], ["512", "20"], ["1024", "100"])]);
}

#[test]
fn cpuset_is_what_the_process_may_run_on() {
    let host = up("cpuset: '0'");
    let allowed = |service| says(&host, service, "grep Cpus_allowed_list /proc/1/status");
    assert_eq!(allowed("web"), "Cpus_allowed_list:\t0");
    let all = fs::read_to_string("/proc/self/status").unwrap();
    let all = all.lines().find(|line| line.starts_with("Cpus_allowed_list")).unwrap();
    assert_eq!(allowed("plain"), all);
}

#[test]
fn real_time_processor_time_is_given_to_the_group_and_those_of_berth_above() {
    let Some(machine) = host("").machine().cgroup_with("", "cpu.rt_runtime_us") else {
        return skipped("this host has no real-time limits of groups (cgroup v1)");
    };
    drop(machine);
    let host = host("cpu_rt_runtime: 2000\ncpu_rt_period: 500000");
    let own = host.machine().cgroup_with("", "cpu.rt_runtime_us").unwrap();
    // The machine is a group too, and what it does not have it cannot give.
    host.berth("up -d").fails_with(3).stderr_has("real-time");
    fs::write(own, "4000").expect("real-time time for the machine");
    host.berth("up -d").succeeds();
    rows(
        &host,
        &[
            (["cpu.rt_runtime_us"; 2], ["2000"; 2], ["0"; 2]),
            (["cpu.rt_period_us"; 2], ["500000"; 2], ["1000000"; 2]),
        ],
    );
}

#[test]
fn pids_limit_is_that_of_the_kernel_and_2048_without_one() {
    rows(&up("pids_limit: 25"), &[(["pids.max"; 2], ["25"; 2], ["2048"; 2])]);
    rows(&up("pids_limit: -1"), &[(["pids.max"; 2], ["max"; 2], ["2048"; 2])]);
}

#[test]
fn mem_swappiness_and_oom_kill_disable_are_those_of_v1() {
    let host = host("mem_limit: 32m\nmem_swappiness: 7\noom_kill_disable: true");
    let default = fs::read_to_string("/proc/sys/vm/swappiness").unwrap();
    host.berth("up -d").succeeds();
    if text(&host, "web", ["memory.swappiness"; 2]).is_none() {
        host.berth("check").stdout_has("cgroup v2, which has no such setting");
        return;
    }
    rows(&host, &[(["memory.swappiness"; 2], ["7"; 2], [default.trim(); 2])]);
    let disabled = |service| {
        let control = text(&host, service, ["memory.oom_control"; 2]).unwrap();
        control.lines().next().unwrap().to_owned()
    };
    assert_eq!(disabled("web"), "oom_kill_disable 1");
    assert_eq!(disabled("plain"), "oom_kill_disable 0");
}

#[test]
fn oom_score_adj_and_ulimits_are_those_of_the_process() {
    let host = up("oom_score_adj: 300\nulimits: { nofile: { soft: 100, hard: 200 }, nproc: 77 }");
    assert_eq!(says(&host, "web", "cat /proc/1/oom_score_adj"), "300");
    assert_eq!(says(&host, "plain", "cat /proc/1/oom_score_adj"), "0");
    let limits = says(&host, "web", "cat /proc/1/limits");
    let of = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of("Max open files"), "100 200");
    assert_eq!(of("Max processes"), "77 77");
    let plain = says(&host, "plain", "grep \"Max open files\" /proc/1/limits");
    assert!(!plain.contains(" 100 "), "{plain}");
}

#[test]
fn sysctls_and_shm_size_are_those_of_the_container_alone() {
    let host = up("sysctls: { net.ipv4.ip_unprivileged_port_start: 80, kernel.msgmax: 9000 }\n\
                   shm_size: 8m");
    let of = |service| {
        let files = "/proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax";
        let seen = says(&host, service, &format!("cat {files}; df -k /dev/shm | tail -1"));
        seen.split_whitespace().take(4).map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(
        of("web"),
        ["80", "9000", "shm", "8192"].map(|word| match word {
            "shm" => of("web")[2].clone(),
            word => word.to_owned(),
        })
    );
    let plain = of("plain");
    assert_eq!([&plain[0], &plain[1], &plain[3]], ["0", "8192", "65536"]);
}

#[test]
fn rates_of_a_block_device_are_those_of_the_kernel() {
    let Some((disk, numbers)) = disk() else { return skipped("this host has no disk") };
    let host = host(&format!(
        "blkio_config:\n  device_read_bps: [{{ path: {disk}, rate: 1m }}]\n  device_write_bps: [{{ \
         path: {disk}, rate: 2m }}]\n  device_read_iops: [{{ path: {disk}, rate: 30 }}]\n  \
         device_write_iops: [{{ path: {disk}, rate: 40 }}]"
    ));
    host.berth("up -d").succeeds();
    if let Some(max) = text(&host, "web", ["io.max"; 2]) {
        assert_eq!(max, format!("{numbers} rbps=1048576 wbps=2097152 riops=30 wiops=40"));
        assert_eq!(text(&host, "plain", ["io.max"; 2]).as_deref(), Some(""));
        return;
    }
    for (name, rate) in [
        ("read_bps", "1048576"),
        ("write_bps", "2097152"),
        ("read_iops", "30"),
        ("write_iops", "40"),
    ] {
        let file = format!("blkio.throttle.{name}_device");
        let names = [file.as_str(); 2];
        rows(&host, &[(names, [&format!("{numbers} {rate}"); 2], [""; 2])]);
    }
}

#[test]
fn the_weight_of_block_devices_is_that_of_the_kernel_where_it_has_one() {
    let host = up("blkio_config: { weight: 300 }");
    rows(
        &host,
        &[(["blkio.bfq.weight", "io.bfq.weight"], ["300", "default 300"], ["100", "default 100"])],
    );
}

#[test]
fn a_block_device_that_is_not_there_is_told_with_its_place_before_anything_is_done() {
    let host = host(
        "blkio_config:\n  device_read_bps:\n    - { path: /dev/null, rate: 1m }\n    - { \
                     path: /dev/nothing, rate: 1m }",
    );
    let seen = host.berth("up -d").fails_with(65);
    let seen = seen
        .stderr_has("compose.yaml:7:")
        .stderr_has("`/dev/null`: it is no block device")
        .stderr_has("compose.yaml:8:");
    seen.stderr_has("`/dev/nothing`: it is not there");
    host.berth("check").stdout_has("/dev/nothing");
}

#[test]
fn a_container_sees_a_cgroup_tree_of_its_own_or_with_cgroup_host_that_of_the_host() {
    let host = up("cgroup: host");
    let own = |service| says(&host, service, "cut -d: -f3 /proc/1/cgroup | sort -u");
    assert_eq!(own("plain"), "/");
    assert!(own("web").lines().any(|path| path.ends_with("/berth/stack-web-1")), "{}", own("web"));
    let seen = |service| says(&host, service, "find /sys/fs/cgroup -name stack-plain-1 | wc -l");
    assert_eq!(seen("plain"), "0");
    assert_ne!(seen("web"), "0");
    let write = "mkdir /sys/fs/cgroup/x /sys/fs/cgroup/cpu/x 2>&1 | grep -c -i read-only";
    assert_ne!(says(&host, "web", write), "0");
}

#[test]
fn cgroup_parent_holds_the_group_and_a_group_of_somebody_else_stays() {
    let host = host("cgroup_parent: /batch/night\npids_limit: 9");
    let group = || file(&host, "batch/night/berth/stack-web-1", ["pids.max"; 2]);
    host.berth("up -d").succeeds();
    let Some(pids) = group() else { return skipped("this host has no pids controller") };
    assert_eq!(fs::read_to_string(pids).unwrap().trim(), "9");
    assert!(file(&host, "berth/stack-web-1", ["pids.max"; 2]).is_none());
    assert!(file(&host, "berth/stack-plain-1", ["pids.max"; 2]).is_some());
    // What berth has made goes when it is empty.
    host.berth("down").succeeds();
    assert!(file(&host, "batch", ["cgroup.procs"; 2]).is_none());

    let theirs: Vec<PathBuf> = host.machine().cgroups().map(|group| group.join("batch")).collect();
    theirs.iter().for_each(|folder| fs::create_dir(folder).unwrap());
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let above = file_of(&host, file);
        if let Some(above) = above {
            let below = above.parent().unwrap().join("batch").join(file);
            fs::write(below, fs::read_to_string(&above).unwrap().trim()).unwrap();
        }
    }
    host.berth("up -d").succeeds();
    host.berth("down").succeeds();
    assert!(theirs.iter().all(|folder| folder.exists() && !folder.join("night").exists()));
    theirs.iter().for_each(|folder| fs::remove_dir(folder).unwrap());
}

/// A file of v1 of the machine's own group.
fn file_of(host: &TestHost, name: &str) -> Option<PathBuf> {
    host.machine().cgroup_with("", name).filter(|path| !path.to_string_lossy().contains("unified"))
}

#[test]
fn a_cgroup_parent_that_a_killed_start_left_without_cpus_is_taken_over() {
    let host = host("cgroup_parent: /batch");
    let Some(above) = file_of(&host, "cpuset.cpus") else {
        return skipped("this host has no cpuset controller of cgroup v1");
    };
    // Made, and killed before it was marked.
    let half_made = above.parent().unwrap().join("batch");
    fs::create_dir(&half_made).unwrap();
    host.berth("up -d").succeeds();
    let cpus = |file: PathBuf| fs::read_to_string(file).unwrap();
    assert_eq!(cpus(half_made.join("cpuset.cpus")), cpus(above));
    host.berth("down").succeeds();
    assert!(!half_made.exists());
    // What somebody has begun to use and gave no CPUs stays as it is.
    fs::create_dir_all(half_made.join("theirs")).unwrap();
    host.berth("up -d").fails_with(3).stderr_has("has no CPUs to hand on");
    assert_eq!(cpus(half_made.join("cpuset.cpus")).trim(), "");
    host.berth("down").succeeds();
    fs::remove_dir(half_made.join("theirs")).unwrap();
    fs::remove_dir(&half_made).unwrap();
}

#[test]
fn a_group_in_another_one_that_a_crash_left_is_removed() {
    let host = up("cgroup_parent: batch");
    let monitor = host.monitor_of("web");
    let process = host.pid_of("web");
    host.kill("STOP", monitor);
    host.kill("KILL", process.pid);
    host.kill("KILL", monitor);
    host.berth("down").succeeds();
    assert!(file(&host, "batch", ["cgroup.procs"; 2]).is_none());
}

#[test]
fn a_cgroup_parent_leads_nowhere_else() {
    let host = host("cgroup_parent: ../../init.scope");
    host.berth("up -d").fails_with(65).stderr_has("compose.yaml:5:").stderr_has("not a plain path");
    host.edit("compose.yaml", "../../init.scope", "berth/x");
    host.berth("up -d").fails_with(65).stderr_has("which is for berth itself");
}
