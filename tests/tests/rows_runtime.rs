//! `runtime` and `annotations`: a container that an OCI runtime of the host makes is what one of
//! berth's own is, seen from inside, from the kernel and by every command.

use berth_tests::TestHost;
use berth_tests::rows::{says, stack, up};

/// Those of Debian, which `tests/needs` installs.
const RUNTIMES: [&str; 2] = ["crun", "runc"];

/// A member of `/proc/PID/status` of the first process of a service's container.
fn first(host: &TestHost, service: &str, member: &str) -> String {
    let pid = host.pid_of(service).pid;
    let text = std::fs::read_to_string(host.machine().path(format!("/proc/{pid}/status")));
    let text = text.expect("a running process");
    let line = text.lines().find_map(|line| line.strip_prefix(member)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {member}")).trim().to_owned()
}

/// A service by each runtime and one by berth itself, with the same lines.
fn by_each(lines: &str) -> TestHost {
    let by = |runtime: &str| format!("runtime: {runtime}\n{lines}");
    up(&[("crun", &by("crun")), ("runc", &by("runc")), ("berth", lines)])
}

#[test]
fn a_container_is_the_same_whoever_makes_it() {
    let lines = "hostname: inside\n\
                 domainname: example.org\n\
                 working_dir: /made/here\n\
                 mem_limit: 64m\n\
                 pids_limit: 50\n\
                 cap_drop: [CHOWN]\n\
                 security_opt: ['no-new-privileges:true']\n\
                 ulimits: { nofile: { soft: 1000, hard: 2000 } }\n\
                 sysctls: { net.core.somaxconn: '1000' }\n\
                 tmpfs: ['/memory:size=1m']\n\
                 group_add: ['2000']\n\
                 environment: { A: b }";
    let host = by_each(lines);
    let questions = [
        "hostname; cat /proc/sys/kernel/domainname",
        "pwd; readlink /proc/1/cwd; id; echo $A $HOSTNAME",
        "cut -f2- /proc/1/limits | grep -E \"open files|core\"",
        "cat /proc/sys/net/core/somaxconn /proc/sys/net/ipv4/ping_group_range",
        "for f in /proc/keys /proc/timer_list /sys/firmware; do wc -c <$f; ls $f | wc -l; done",
        "for f in /proc/sysrq-trigger /proc/sys/kernel/shmmax /sys/x /memory/x /x; do \
         if echo >$f; then echo yes $f; else echo no $f; fi; done",
        "grep -E \" (/memory|/sys/fs/cgroup|/dev/shm) \" /proc/mounts | cut -d\" \" -f2,3 | sort",
        "ls /dev | grep -v core; cat /etc/hosts | cut -d. -f5-; ls /sys/fs/cgroup",
        "stat -c \"%u %g %a\" / /etc/hosts /etc/passwd /dev /dev/pts",
        "unshare -U true; echo $?; chown 1 /memory; echo $?",
        "cut -d: -f3 /proc/self/cgroup | sort -u; ip addr | grep -c inet",
    ];
    for question in questions {
        let question = format!("({question}) 2>&1");
        let own = says(&host, "berth", &question).replace("berth", "X");
        for runtime in RUNTIMES {
            let theirs = says(&host, runtime, &question).replace(runtime, "X");
            assert_eq!(theirs, own, "{question} by {runtime}");
        }
    }
    let members = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "Seccomp", "NoNewPrivs"];
    for member in members.into_iter().chain(["Uid", "Gid", "SigIgn", "SigBlk", "Umask"]) {
        let own = first(&host, "berth", member);
        for runtime in RUNTIMES {
            let theirs = first(&host, runtime, member);
            // Each has ids of its own.
            let ids = ["Uid", "Gid"].contains(&member);
            let same = if ids { theirs.len() == own.len() && theirs != own } else { theirs == own };
            assert!(same, "{member} is {theirs} by {runtime}, {own} by berth");
        }
    }
}

#[test]
fn limits_and_what_is_measured_are_those_of_its_cgroup() {
    let host = by_each("mem_limit: 64m\npids_limit: 50\ncpus: 0.5");
    for runtime in RUNTIMES {
        let files = host.shell(&format!(
            "cd /sys/fs/cgroup; find . -path '*-{runtime}-1/*' | grep -E \
             '/(memory.limit_in_bytes|memory.max|pids.max)$' | sort | xargs cat"
        ));
        assert_eq!(files.succeeds().stdout.trim(), "67108864\n50", "{runtime}");
    }
    host.edit("compose.yaml", "mem_limit: 64m", "mem_limit: 32m");
    host.berth("up -d").succeeds().stderr_has("Updated");
    host.berth("pause crun runc").succeeds();
    let rows = host.berth("ps --format json").succeeds().stdout;
    assert_eq!(rows.matches("\"State\":\"paused\"").count(), 2, "{rows}");
    host.berth("unpause crun runc").succeeds();
    host.berth("stats --no-stream").succeeds().stdout_has("crun").stdout_has("runc");
    host.berth("top runc").succeeds().stdout_has("sleep 100000");
}

#[test]
fn mounts_are_there_with_what_is_mounted_below_them() {
    let lines = "volumes: ['./shared:/writable', './shared:/kept:ro', 'data:/data']";
    let host = TestHost::with("compose.yaml", "services: { a: { image: busybox:1 } }");
    let by = |runtime: &str| format!("runtime: {runtime}\n{lines}");
    let text = stack(&[("crun", &by("crun")), ("runc", &by("runc"))]);
    host.write("compose.yaml", &format!("{text}volumes: {{ data: }}\n"));
    host.write("shared/file", "1");
    host.shell(
        "mkdir 'shared/be low' && mount -t tmpfs x 'shared/be low' && touch 'shared/be low/in'",
    )
    .succeeds();
    host.berth("up -d").succeeds();
    for runtime in RUNTIMES {
        let tried = "for f in /writable/x \"/writable/be low/x\" /kept/x \"/kept/be low/x\" /data/x; \
                     do (: >\"$f\") 2>/dev/null && echo yes || echo no; done; ls \"/kept/be low\"";
        let said = says(&host, runtime, tried);
        assert_eq!(said, "yes\nyes\nno\nno\nyes\nin\nx", "{runtime}");
        assert_eq!(says(&host, runtime, "stat -c \"%u\" /writable/x /writable/file"), "0\n0");
        host.shell("rm 'shared/be low/x' shared/x").succeeds();
    }
    host.berth("down -v -y").succeeds();
    host.shell("umount 'shared/be low'").succeeds();
}

#[test]
fn it_is_published_checked_entered_logged_and_restarted() {
    let lines = "command: [sh, -c, 'echo started; echo wrong >/dev/stderr; mkdir /www; \
                 echo hello >/www/page; exec httpd -f -p 80 -h /www']\n\
                 healthcheck: { test: 'wget -qO- 127.0.0.1/page', interval: 200ms }\n\
                 restart: on-failure\n";
    let on = |port: u32, runtime: &str| {
        format!(
            "{lines}runtime: {runtime}\nports: ['{port}:80']\nannotations: {{ org.example: a }}"
        )
    };
    let host = TestHost::with(
        "compose.yaml",
        &stack(&[("crun", &on(8081, "crun")), ("runc", &on(8082, "runc"))]),
    );
    host.berth("up -d --wait").succeeds();
    for (runtime, port) in RUNTIMES.into_iter().zip([8081, 8082]) {
        assert_eq!(host.get(&format!("127.0.0.1:{port}/page")), "hello\n", "{runtime}");
        let outside = host.get_from_outside(&format!("192.0.2.1:{port}/page"));
        assert_eq!(outside, "hello\n", "{runtime}");
        let logs = host.berth(&format!("logs --no-color {runtime}")).succeeds().stdout;
        assert!(logs.contains("started") && logs.contains("wrong"), "{logs}");
        assert_eq!(host.berth(&format!("exec -T {runtime} sh -c 'exit 7'")).code, 7);
        let before = host.pid_of(runtime);
        host.kill("KILL", before.pid);
        host.eventually("it is restarted", || {
            let status = host.status(&format!("stack-{runtime}-1"));
            status["phase"] == "running" && status["restarts"] == 1 && status["health"] == "healthy"
        });
        assert_eq!(host.get(&format!("127.0.0.1:{port}/page")), "hello\n", "{runtime} again");
    }
    let rows = host.berth("ps --format json").succeeds().stdout;
    for part in
        ["\"Annotations\":{\"org.example\":\"a\"}", "\"Runtime\":\"crun\"", "\"Runtime\":\"runc\""]
    {
        assert!(rows.contains(part), "{rows}");
    }
    let config = host.shell("cat /run/berth/containers/*crun-1/oci/config.json").succeeds().stdout;
    assert!(config.contains("\"annotations\":{\"org.example\":\"a\"}"), "{config}");
}

#[test]
fn a_killed_monitor_is_replaced_and_a_stop_reaches_it() {
    let trap = "command: [sh, -c, 'trap \"echo bye; exit 3\" TERM; while :; do sleep 0.1; done']";
    let by = |runtime: &str| format!("runtime: {runtime}\n{trap}");
    let text = stack(&[("crun", &by("crun")), ("runc", &by("runc"))]);
    let host = TestHost::with("compose.yaml", &text.replace("period: 0s", "period: 5s"));
    host.berth("up -d").succeeds();
    for runtime in RUNTIMES {
        let (before, monitor) = (host.pid_of(runtime).pid, host.monitor_of(runtime));
        host.kill("KILL", monitor);
        host.berth("up -d").succeeds();
        assert_eq!(host.pid_of(runtime).pid, before, "it was started anew");
        assert_ne!(host.monitor_of(runtime), monitor);
        assert_eq!(says(&host, runtime, "echo in"), "in");
        host.berth(&format!("stop {runtime}")).succeeds();
        assert_eq!(host.status(&format!("stack-{runtime}-1"))["exit_code"], 3, "{runtime}");
        host.berth(&format!("logs --no-color {runtime}")).succeeds().stdout_has("bye");
        host.berth(&format!("start {runtime}")).succeeds();
        assert_ne!(host.pid_of(runtime).pid, before);
    }
    // Everything of berth is killed, and the next command finds its way.
    for runtime in RUNTIMES {
        host.kill("KILL", host.monitor_of(runtime));
        host.kill("KILL", host.pid_of(runtime).pid);
    }
    host.berth("up -d").succeeds();
    for runtime in RUNTIMES {
        assert_eq!(says(&host, runtime, "echo back"), "back");
        host.kill("KILL", host.monitor_of(runtime));
    }
    host.berth("down").succeeds();
    host.leaves_nothing_but(&[]);
}

#[test]
fn what_a_program_ends_with_is_told_and_one_that_is_not_there_too() {
    let host = TestHost::with(
        "compose.yaml",
        &stack(&[("crun", "runtime: crun"), ("runc", "runtime: runc")]),
    );
    for runtime in RUNTIMES {
        let run = |words: &str| host.berth(&format!("run --rm -T {runtime} {words}"));
        assert_eq!(run("sh -c 'echo out; exit 5'").fails_with(5).stdout.trim(), "out");
        assert_eq!(run("/no/such/program").code, 127, "{runtime}");
        assert_eq!(run("/etc/passwd").code, 126, "{runtime}");
        assert_eq!(run("cat /proc/self/comm").succeeds().stdout.trim(), "cat");
        let tty = host.shell(&format!("script -qec \"$berth run --rm {runtime} tty\" /dev/null"));
        assert!(tty.stdout.contains("/dev/pts/0"), "{runtime}: {}", tty.stdout);
    }
    host.berth("down").succeeds();
    host.leaves_nothing_but(&[]);
}

#[test]
fn rights_and_namespaces_of_the_host_reach_it() {
    let lines = [
        ("all", "privileged: true"),
        ("mapped", "userns_mode: host"),
        ("network", "network_mode: host"),
        ("processes", "pid: host"),
        ("memory", "ipc: host"),
        ("none", "ipc: none"),
        ("open", "security_opt: ['systempaths=unconfined', 'seccomp=unconfined']"),
        ("joined", "network_mode: service:none"),
    ];
    for runtime in RUNTIMES {
        let by = |lines: &str| format!("runtime: {runtime}\n{lines}");
        let services: Vec<(&str, String)> =
            lines.iter().map(|(name, lines)| (*name, by(lines))).collect();
        let mut services: Vec<(&str, &str)> =
            services.iter().map(|(name, lines)| (*name, lines.as_str())).collect();
        services.push(("own", "privileged: true"));
        let host = up(&services);
        assert_eq!(first(&host, "all", "CapEff"), first(&host, "own", "CapEff"));
        assert_eq!(first(&host, "all", "Seccomp"), "0");
        says(&host, "all", "test -e /dev/kmsg -o -e /dev/loop-control -o -e /dev/tty1");
        assert_eq!(first(&host, "mapped", "Uid").split_whitespace().next(), Some("0"));
        assert_eq!(first(&host, "open", "Seccomp"), "0");
        says(&host, "network", "ip link show wire0");
        let namespace = |service: &str, kind: &str| {
            let pid = host.pid_of(service).pid;
            host.shell(&format!("readlink /proc/{pid}/ns/{kind}")).succeeds().stdout
        };
        let of_host = |kind: &str| host.shell(&format!("readlink /proc/1/ns/{kind}")).stdout;
        assert_eq!(namespace("network", "net"), of_host("net"));
        assert_eq!(namespace("processes", "pid"), of_host("pid"));
        assert_eq!(namespace("memory", "ipc"), of_host("ipc"));
        assert_eq!(namespace("joined", "net"), namespace("none", "net"));
        for (service, kind) in
            [("none", "ipc"), ("none", "pid"), ("all", "mnt"), ("open", "cgroup")]
        {
            assert_ne!(namespace(service, kind), of_host(kind), "{kind} of {service}");
        }
        assert_eq!(says(&host, "none", "test -e /dev/shm || echo none"), "none");
        host.berth("down").succeeds();
    }
}

#[test]
fn another_runtime_makes_a_new_container() {
    let host = up(&[("web", "runtime: crun")]);
    let before = host.pid_of("web").pid;
    host.edit("compose.yaml", "crun", "runc");
    host.berth("plan").stdout_has("runtime").stdout_has("runc");
    host.berth("up -d").succeeds();
    assert_ne!(host.pid_of("web").pid, before);
    host.edit("compose.yaml", "    runtime: runc\n", "    annotations: { a: b }\n");
    host.berth("up -d").succeeds();
    host.shell("! ls /run/berth/containers/*/oci").succeeds();
    let before = host.pid_of("web").pid;
    host.edit("compose.yaml", "a: b", "a: c");
    host.berth("plan").stdout_has("annotations");
    host.berth("up -d").succeeds();
    assert_eq!(host.pid_of("web").pid, before, "no runtime reads the notes of this one");
}

#[test]
fn what_cannot_be_is_refused_with_its_place() {
    let host = TestHost::with(
        "compose.yaml",
        &stack(&[
            ("gone", "runtime: no-such-runtime"),
            ("shim", "runtime: io.containerd.runc.v2"),
            ("box", "runtime: runsc"),
            ("init", "runtime: crun\ninit: true"),
            ("shared", "runtime: crun\npid: service:init"),
            (
                "spread",
                "runtime: crun\nvolumes: [{ type: bind, source: /run, target: /r, bind: { propagation: rshared } }]",
            ),
        ]),
    );
    let said = host.berth("plan").fails_with(65).stderr;
    for part in [
        "there is no program `no-such-runtime` on PATH",
        "compose.yaml:6:14",
        "write the runtime itself, `runc`",
        "such a sandbox cannot be had yet",
        "has `init`, and the small init as process 1",
        "has `pid`, and namespaces shared with another container",
        "has `volumes.0.bind.propagation`",
    ] {
        assert!(said.replace("\n  │", "").contains(part), "no {part} in {said}");
    }
}

#[test]
fn a_program_of_the_host_that_runs_as_root_needs_consent() {
    let host = TestHost::with("compose.yaml", &stack(&[("web", "runtime: crun")])).gated();
    host.berth("up -d").fails_with(9).stderr_has("the program crun of the host runs it");
    host.berth("up -d --allow G-CG:web").succeeds();
}
