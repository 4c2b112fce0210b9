//! What a container shares with the host and with others, and what that means for its users: each
//! attribute as the kernel has it, and the default where a file says nothing.

use berth_tests::TestHost;
use berth_tests::rows::{says, stack, up};

/// A namespace of a service's first process, as the kernel names it.
fn space(host: &TestHost, service: &str, kind: &str) -> String {
    let pid = host.pid_of(service).pid;
    let path = host.machine().path(format!("/proc/{pid}/ns/{kind}"));
    std::fs::read_link(path).expect("a namespace").to_string_lossy().into_owned()
}

fn of_host(host: &TestHost, kind: &str) -> String {
    host.shell(&format!("readlink /proc/self/ns/{kind}")).succeeds().stdout.trim().to_owned()
}

/// First id on the host of a container's users.
fn base(host: &TestHost, service: &str) -> u64 {
    let map = says(host, service, "cat /proc/1/uid_map");
    map.split_whitespace().nth(1).and_then(|id| id.parse().ok()).expect("a map of ids")
}

const KINDS: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

#[test]
fn a_container_has_all_namespaces_of_its_own() {
    let host = up(&[("one", ""), ("two", "")]);
    for kind in KINDS {
        let (one, two) = (space(&host, "one", kind), space(&host, "two", kind));
        assert!(one != two && one != of_host(&host, kind), "{kind}: {one} {two}");
    }
    assert!(base(&host, "one") > 65_535 && base(&host, "one") != base(&host, "two"));
    assert_eq!(
        says(&host, "one", "cat /proc/1/comm; ls /proc | grep -c ^[0-9]").lines().next(),
        Some("sleep")
    );
    host.berth("up -d").succeeds().stdout_lacks("without a user namespace");
}

#[test]
fn processes_are_shared_with_the_host_or_a_service_that_says_so() {
    let host = up(&[
        ("db", "command: [sleep, '4242']"),
        ("side", "pid: service:db\nhealthcheck: { test: 'ps >/tmp/probe', interval: 200ms }"),
        ("all", "pid: host"),
    ]);
    assert_eq!(space(&host, "side", "pid"), space(&host, "db", "pid"));
    // Their processes can be shown, and belong to somebody, only in their user namespace.
    assert_eq!(space(&host, "side", "user"), space(&host, "db", "user"));
    for kind in ["ipc", "mnt", "net", "uts", "cgroup"] {
        assert_ne!(space(&host, "side", kind), space(&host, "db", kind), "{kind}");
    }
    for line in ["ps | grep -c [s]leep.4242", "tr '\\0' ' ' </proc/1/cmdline | grep -c 4242"] {
        assert_eq!(says(&host, "side", line), "1", "{line}");
    }
    says(&host, "side", "kill -0 1");
    says(&host, "side", "ls /proc/1/root/data");
    host.eventually("the probe sees them too", || {
        host.berth("exec -T side grep -c sleep.4242 /tmp/probe").code == 0
    });
    assert_eq!(space(&host, "all", "pid"), of_host(&host, "pid"));
    assert_ne!(space(&host, "all", "user"), of_host(&host, "user"));
    let pid = host.pid_of("db").pid;
    assert_eq!(says(&host, "all", &format!("tr '\\0' ' ' </proc/{pid}/cmdline")), "sleep 4242");
    // Seen, but not touched: the host's users are nobody's in there.
    let monitor = host.monitor_of("db");
    for line in [format!("kill -0 {monitor}"), format!("cat /proc/{monitor}/environ")] {
        host.berth(&format!("exec -T all sh -c '{line}'")).fails_with(1);
    }
}

#[test]
fn the_end_of_a_container_is_the_end_of_all_its_processes_wherever_these_are() {
    let many = "command: [sh, -c, 'sleep 777 & sleep 778 & exec sleep 4242']";
    let host = up(&[
        ("db", ""),
        ("side", &format!("pid: service:db\n{many}")),
        ("all", &format!("pid: host\ninit: true\n{many}")),
    ]);
    let words = "for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$f; echo; done 2>/dev/null";
    let left = || host.shell(&format!("{words} | grep -cE '^sleep (777|778|4242) '")).stdout;
    host.eventually("all run", || left().trim() == "6");
    host.berth("stop side all").succeeds();
    assert_eq!(left().trim(), "0");
    assert_eq!(says(&host, "db", "cat /proc/1/comm"), "sleep");
    // A process that is not the first of its pid namespace heeds a signal it has no handler for.
    let code = |name: &str| host.status(name)["exit_code"].as_i64();
    assert_eq!((code("stack-side-1"), code("stack-all-1")), (Some(137), Some(137)));
}

#[test]
fn who_shares_follows_when_the_owner_is_made_anew() {
    let host = up(&[
        ("db", "ipc: shareable\nenvironment: {A: one}"),
        ("side", "pid: service:db\nipc: service:db"),
    ]);
    let before = (host.pid_of("db"), host.pid_of("side"), base(&host, "db"));
    host.edit("compose.yaml", "A: one", "A: two");
    host.berth("up -d").succeeds();
    assert!(host.pid_of("db") != before.0 && host.pid_of("side") != before.1);
    assert_eq!(space(&host, "side", "pid"), space(&host, "db", "pid"));
    assert_eq!(space(&host, "side", "ipc"), space(&host, "db", "ipc"));
    assert_eq!((base(&host, "db"), base(&host, "side")), (before.2, before.2));
    host.berth("restart db").succeeds();
    assert_eq!(space(&host, "side", "pid"), space(&host, "db", "pid"));
    host.berth("plan --detailed-exitcode").succeeds();
    // Neither is its monitor needed, nor a file.
    host.kill("KILL", host.monitor_of("side"));
    host.berth("up -d").succeeds();
    assert_eq!(says(&host, "side", "cat /proc/1/comm"), "sleep");
    host.berth("up -d --force-recreate side").succeeds();
    assert_eq!(space(&host, "side", "user"), space(&host, "db", "user"));
}

#[test]
fn shared_memory_is_that_of_whom_the_file_names() {
    let host = up(&[
        ("usual", ""),
        ("open", "ipc: shareable"),
        ("side", "ipc: service:open\nuser: '0:0'"),
        ("third", "ipc: container:stack-open-1\ndepends_on: [open]"),
        ("bare", "ipc: none"),
        ("all", "ipc: host"),
    ]);
    for service in ["side", "third"] {
        assert_eq!(space(&host, service, "ipc"), space(&host, "open", "ipc"));
        assert_eq!(space(&host, service, "user"), space(&host, "open", "user"));
        for kind in ["pid", "mnt", "net", "uts"] {
            assert_ne!(space(&host, service, kind), space(&host, "open", kind), "{kind}");
        }
        // A pid namespace of its own, and a procfs that shows it.
        assert_eq!(
            says(&host, service, "cat /proc/1/comm; readlink /proc/1/ns/pid").lines().next(),
            Some("sleep")
        );
    }
    says(&host, "open", "echo hello >/dev/shm/word; chmod 600 /dev/shm/word");
    assert_eq!(says(&host, "side", "cat /dev/shm/word; stat -c %u /dev/shm/word"), "hello\n0");
    says(&host, "third", "echo more >>/dev/shm/word; mkdir -p /dev/mqueue/..");
    assert_eq!(says(&host, "open", "cat /dev/shm/word"), "hello\nmore");
    host.berth("exec -T usual test -e /dev/shm/word").fails_with(1);
    assert_ne!(space(&host, "usual", "ipc"), space(&host, "bare", "ipc"));
    host.berth("exec -T bare test -e /dev/shm").fails_with(1);
    assert_ne!(space(&host, "bare", "ipc"), of_host(&host, "ipc"));
    assert_eq!(space(&host, "all", "ipc"), of_host(&host, "ipc"));
    assert_eq!(space(&host, "all", "user"), of_host(&host, "user"));
    let mount = |service: &str| says(&host, service, "grep ' /dev/shm ' /proc/1/mountinfo");
    assert!(mount("usual").contains("size=65536k"), "{}", mount("usual"));
    let id = host.shell("stat -f -c %i /dev/shm; stat -c %d /dev/shm").stdout;
    assert_eq!(says(&host, "all", "stat -f -c %i /dev/shm; stat -c %d /dev/shm"), id.trim());
}

#[test]
fn what_cannot_be_shared_is_refused_with_its_place() {
    let refused = |services: &[(&str, &str)], told: &[&str]| {
        let host = TestHost::with("compose.yaml", &stack(services));
        let ended = host.berth("up -d").fails_with(65);
        for text in told {
            ended.clone().stderr_has(text);
        }
        assert_eq!(host.berth("check").code, 65);
    };
    refused(
        &[("db", ""), ("side", "ipc: service:db")],
        &["compose.yaml:10:10:", "keeps it to itself", "ipc: shareable"],
    );
    refused(
        &[("db", "scale: 0"), ("side", "pid: service:db")],
        &["compose.yaml:11:10:", "the processes of `db`, which has no container"],
    );
    refused(&[("a", "pid: service:b"), ("b", "ipc: service:a")], &["circle", "compose.yaml"]);
    refused(&[("a", "pid: service:nobody")], &["compose.yaml:6:10", "nobody"]);
    refused(&[("a", "uts: host\nhostname: me")], &["names of the host", "hostname"]);
    refused(&[("a", "uts: host\ndomainname: me")], &["names of the host", "domainname"]);
    refused(
        &[("a", "ipc: host\nsysctls: {kernel.shmmax: 1000}")],
        &["`kernel.shmmax`", "has the shared memory of the host"],
    );
    refused(
        &[("a", "network_mode: host\nx-berth: {privileged: contained}")],
        &["within a user namespace", "network_mode host"],
    );
}

#[test]
fn a_container_cannot_share_with_two_that_have_different_users() {
    let host = TestHost::with(
        "compose.yaml",
        &stack(&[("a", ""), ("b", "ipc: shareable"), ("c", "pid: service:a\nipc: service:b")]),
    );
    host.berth("up -d").fails_with(1).stderr_has("different user namespaces");
    host.berth("ps -q").succeeds().stdout_is("");
    // Neither has a user namespace, so nothing stands between them.
    host.edit("compose.yaml", "  a:\n", "  a:\n    userns_mode: host\n");
    host.edit("compose.yaml", "  b:\n", "  b:\n    userns_mode: host\n");
    host.berth("up -d").succeeds();
    assert_eq!(space(&host, "c", "user"), of_host(&host, "user"));
    assert_eq!(space(&host, "c", "pid"), space(&host, "a", "pid"));
    assert_eq!(space(&host, "c", "ipc"), space(&host, "b", "ipc"));
}

#[test]
fn names_are_those_of_the_file_the_host_or_whose_network_it_is() {
    let host = up(&[
        ("usual", ""),
        ("named", "hostname: web\ndomainname: example.com"),
        ("all", "uts: host"),
        ("net", "network_mode: host"),
        ("side", "network_mode: service:named"),
    ]);
    let own = host.shell("cat /proc/sys/kernel/hostname").stdout.trim().to_owned();
    let look = "cat /proc/sys/kernel/hostname /etc/hostname /proc/sys/kernel/domainname; tr '\\0' '\\n' </proc/1/environ | grep HOSTNAME";
    let three = |name: &str, domain: &str| format!("{name}\n{name}\n{domain}\nHOSTNAME={name}");
    let none = host.shell("cat /proc/sys/kernel/domainname").stdout.trim().to_owned();
    assert_eq!(says(&host, "named", look), three("web", "example.com"));
    assert!(says(&host, "named", "cat /etc/hosts").contains("\tweb.example.com web"));
    assert_eq!(says(&host, "all", look), three(&own, &none));
    assert_eq!(space(&host, "all", "uts"), of_host(&host, "uts"));
    assert_ne!(space(&host, "all", "user"), of_host(&host, "user"));
    assert_eq!(says(&host, "net", look), three(&own, &none));
    assert_ne!(space(&host, "net", "uts"), of_host(&host, "uts"));
    assert_eq!(says(&host, "side", look), three("web", &none));
    let usual = says(&host, "usual", "hostname");
    assert!(usual.len() == 12 && usual.chars().all(|c| c.is_ascii_hexdigit()), "{usual}");
    assert_eq!(says(&host, "usual", look), three(&usual, &none));
}

#[test]
fn the_plan_says_of_each_service_why_it_has_no_user_namespace() {
    let host = TestHost::with(
        "compose.yaml",
        &stack(&[
            ("asked", "userns_mode: host"),
            ("memory", "ipc: host"),
            ("net", "network_mode: host"),
            ("power", "privileged: true"),
            ("side", "network_mode: service:net"),
            ("usual", "pid: host\nuts: host"),
        ]),
    );
    let notes = "note: asked: without a user namespace: userns_mode host\n\
                 note: memory: without a user namespace: ipc host\n\
                 note: net: without a user namespace: network_mode host\n\
                 note: power: without a user namespace: privileged\n\
                 note: side: without a user namespace: network_mode service:net, which has none\n";
    host.berth("plan").succeeds().stdout_has(notes).stdout_lacks("usual: without");
    let json = host.berth("plan --json").succeeds().json();
    assert_eq!(json["notes"].as_array().map(Vec::len), Some(5), "{json}");
    assert_eq!(json["notes"][2], "net: without a user namespace: network_mode host");
    host.berth("up -d").succeeds().stderr_has("net: without a user namespace: network_mode host");
    for service in ["asked", "memory", "net", "power", "side"] {
        assert_eq!(space(&host, service, "user"), of_host(&host, "user"), "{service}");
    }
    assert_ne!(space(&host, "usual", "user"), of_host(&host, "user"));
    // It is said when something is made, not each time.
    let again = host.berth("up -d").succeeds();
    assert!(!again.stderr.contains("without a user namespace"), "{again}");
}

#[test]
fn a_bind_of_a_file_system_that_cannot_map_ids_is_mounted_without_a_user_namespace() {
    let host = TestHost::with(
        "compose.yaml",
        &stack(&[("far", "volumes: ['./far:/far']"), ("near", "volumes: ['./near:/near']")]),
    );
    host.shell("mkdir far near && mount -t ramfs ramfs far").succeeds();
    let plan = host.berth("plan").succeeds().stdout;
    assert!(plan.contains("note: far: without a user namespace: `"), "{plan}");
    assert!(!plan.contains("near: without"), "{plan}");
    host.berth("up -d").succeeds();
    says(&host, "far", "touch /far/file");
    says(&host, "near", "touch /near/file");
    host.shell("stat -c %u far/file near/file").succeeds().stdout_is("0\n0");
    assert_ne!(space(&host, "near", "user"), of_host(&host, "user"));
    host.berth("down").succeeds();
    host.shell("umount far").succeeds();
}

#[test]
fn privileged_is_all_of_the_host_and_contained_all_of_its_own() {
    let host = up(&[
        ("usual", ""),
        ("power", "privileged: true"),
        ("own", "x-berth: {privileged: contained}"),
        ("both", "privileged: true\nx-berth: {privileged: contained}"),
    ]);
    let look = |service: &str| {
        let text = says(&host, service, "cat /proc/1/status");
        let member = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
        };
        let masks = says(&host, service, "grep -c ' /proc/sys ' /proc/1/mountinfo; true");
        (member("CapEff:"), member("Seccomp:"), masks)
    };
    let all = "000001ffffffffff";
    let seen = |caps: &str, seccomp: &str, masks: &str| {
        (caps.to_owned(), seccomp.to_owned(), masks.to_owned())
    };
    assert_eq!(look("usual"), seen("00000000800405fb", "2", "1"));
    // Never more than the host itself may.
    let most = host.shell("grep CapBnd /proc/self/status | tr -dc 0-9a-f | tail -c 16").stdout;
    assert_eq!(look("power"), seen(most.trim(), "0", "0"));
    assert_eq!(look("own"), seen(all, "2", "0"));
    assert_eq!(look("both"), seen(all, "2", "0"));
    assert_eq!(space(&host, "power", "user"), of_host(&host, "user"));
    assert!(base(&host, "own") > 65_535 && base(&host, "both") > 65_535);
    // Inside it is root over its own things, and over none of the host.
    says(&host, "own", "mount -t tmpfs none /tmp && umount /tmp");
    says(&host, "own", "hostname other && ip link set lo mtu 1400");
    host.berth("exec -T usual mount -t tmpfs none /tmp").fails_with(1);
    for line in [
        "mknod /tmp/disk b 254 0",
        "echo 1 >/proc/sys/kernel/panic",
        "dmesg",
        "echo x >/proc/sysrq-trigger",
    ] {
        assert_ne!(host.berth(&format!("exec -T own sh -c '{line}'")).code, 0, "{line}");
    }
    let devices = |service: &str| says(&host, service, "ls /dev | wc -l").parse::<u32>().unwrap();
    assert!(devices("power") > devices("own"));
    assert_eq!(devices("own"), devices("usual"));
}

#[test]
fn who_shares_a_network_may_ping_from_it_as_its_owner_may() {
    let host = up(&[
        ("vpn", ""),
        ("side", "network_mode: service:vpn"),
        ("own", "sysctls: { net.ipv4.ping_group_range: '1 0' }"),
        ("barred", "network_mode: service:own"),
    ]);
    assert_eq!(space(&host, "side", "net"), space(&host, "vpn", "net"));
    assert_ne!(base(&host, "side"), base(&host, "vpn"));
    let groups = |service: &str| {
        let pid = host.pid_of(service).pid;
        let line = format!("nsenter -t {pid} -n cat /proc/sys/net/ipv4/ping_group_range");
        host.shell(&line).succeeds().stdout.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(groups("side"), format!("0 {}", i32::MAX));
    assert_eq!(groups("barred"), "1 0", "what a file sets stays");
}
