//! What others on the host, the kernel's own settings and the terminal get from berth.

use berth_tests::evil::{Evil, probe};

use crate::bench::{Bench, Check, Outcome, holds};

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "P01",
        what: "modes of everything that is kept, under every umask",
        without: "record.private",
        places: &[],
        run: modes,
    },
    Check {
        id: "P02",
        what: "a local user looks, reads, connects and executes",
        without: "state.private",
        places: &[],
        run: local_user,
    },
    Check {
        id: "P05",
        what: "sockets: their modes, and none anybody can reach",
        without: "socket.private",
        places: &[],
        run: sockets,
    },
    Check {
        id: "P06",
        what: "requests without end, without sense, without a word",
        without: "socket.bounded",
        places: &[],
        run: requests,
    },
    Check {
        id: "R46",
        what: "names that are paths, options or nothing",
        without: "names.grammar",
        places: &[],
        run: names,
    },
    Check {
        id: "L09",
        what: "what is kept, said and left of a secret",
        without: "secret.in_memory",
        places: &[],
        run: secrets,
    },
    Check {
        id: "R40",
        what: "sockets that a container on the host's network finds",
        without: "socket.in_folder",
        places: &[],
        run: host_network,
    },
    Check {
        id: "R16",
        what: "kernel settings that are the host's, and no values",
        without: "sysctl.grammar",
        places: &[],
        run: settings,
    },
    Check {
        id: "R27",
        what: "cgroup files of a container without a user namespace",
        without: "cgroup.read_only",
        places: &[],
        run: cgroups,
    },
    Check {
        id: "R30",
        what: "device nodes made and opened",
        without: "devices.program",
        places: &[],
        run: devices,
    },
];

/// A stack of one service that sleeps, with these lines.
fn sleeper(bench: &Bench, lines: &str) {
    bench.stack(&format!(
        "services: {{ web: {{ image: 'busybox:1', command: [sleep, '100000'], {lines} }} }}"
    ));
}

fn modes(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    bench.stack(
        "
services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    volumes: [data:/data]
    secrets: [s]
    configs: [c]
    healthcheck: { test: 'true', interval: 1s }
volumes: { data: {} }
secrets: { s: { file: ./secret } }
configs: { c: { content: text } }
",
    );
    host.write("secret", "secret");
    // What has the modes of an image, a volume or a container's own files lies below a private folder.
    let look = "find /run/berth /var/lib/berth \\( -path '*/images/*' -o -name upper -o -name work \
                -o -name data -o -name files -o -name etc \\) -prune -o ! -type l -perm /077 -printf '%M %p\\n'";
    for umask in ["000", "022", "077", "777"] {
        for command in ["up -d --wait", "exec -T web true", "restart -t 0", "stop -t 0", "start"] {
            host.shell(&format!("umask {umask}; $berth {command}")).succeeds();
            let open = host.shell(look).stdout;
            bench.fired(1);
            holds!(open.is_empty(), "after `{command}` under umask {umask}: {open}");
        }
        host.berth("down -v -y -t 0").succeeds();
    }
    Ok(())
}

fn local_user(bench: &Bench) -> Outcome {
    let host = &bench.host;
    let program = std::fs::read(probe("probe")).expect("the probe");
    Evil::image("suid:1").file("suid", 0o4755, &program).load(host);
    bench.stack(
        "services: { web: { image: 'suid:1', volumes: ['data:/data'] } }\nvolumes: { data: {} }",
    );
    host.berth("up -d").succeeds();
    host.shell("find /run/berth /var/lib/berth >paths").succeeds();
    let paths = std::fs::read_to_string(host.project("paths")).expect("what there is");
    let has = |end: &str| paths.lines().any(|path| path.ends_with(end));
    assert!(has("/suid") && has("/sock") && has("status.json"), "{paths}");
    bench.fired(paths.lines().count());
    let attack = "ls /run/berth /var/lib/berth 2>/dev/null
        while read path; do
            case $path in /run/berth|/var/lib/berth) ;; *) stat -t $path 2>/dev/null ;; esac
            (: <$path) 2>/dev/null && echo opened $path
            (: >>$path) 2>/dev/null && echo opened $path to write
            test -x $path && echo may execute $path
            case $path in
            */sock) curl -s --max-time 2 --unix-socket $path http://x/ >/dev/null
                test $? = 7 || echo connected to $path ;;
            */suid) $path id 2>/dev/null ;;
            esac
        done";
    let as_nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all";
    host.write("attack.sh", attack);
    let done = host.shell(&format!(
        "chmod 644 attack.sh paths; cat attack.sh >/run/lock/a.sh; \
        {as_nobody} sh /run/lock/a.sh <paths; rm /run/lock/a.sh"
    ));
    holds!(done.stdout.is_empty(), "a local user got {}", done.stdout);
    Ok(())
}

fn sockets(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    let listeners = "cat /proc/net/tcp /proc/net/tcp6 | awk '$4 == \"0A\"' | wc -l";
    let before = host.shell(listeners).stdout;
    sleeper(bench, "");
    host.berth("up -d").succeeds();
    let found = host.shell("find /run/berth /var/lib/berth -type s -printf '%m %U %p\\n'").stdout;
    bench.fired(found.lines().count());
    for line in found.lines() {
        holds!(line.starts_with("600 0 "), "a socket: {line}");
    }
    let now = host.shell(listeners).stdout;
    holds!(now == before, "berth listens on the network: {before} then {now}");
    Ok(())
}

/// Connects to the socket of a monitor, and does with it what the rest of the line says.
const CONNECT: &str = "perl -MIO::Socket::UNIX -e '$SIG{PIPE} = q(IGNORE); alarm 30; \
    sub to { IO::Socket::UNIX->new(Peer => q(/run/berth/containers/stack-web-1/sock)) }";

fn requests(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    sleeper(bench, "stop_grace_period: 0s");
    host.berth("up -d").succeeds();
    let monitor = host.monitor_of("web");
    let most = || -> u64 {
        let line = format!("sed -n 's/VmHWM:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/{monitor}/status");
        host.shell(&line).stdout.trim().parse().expect("what it needed at most")
    };
    let before = most();
    for line in [
        // 100 MB that are no line, and a length that is never sent.
        r#"my $s = to; for (1 .. 1600) { last unless syswrite $s, "x" x 65536 }"#,
        r#"my $s = to; syswrite $s, "{\"request\":\"attach\"}\n" . pack("CN", 1, 4294967295); sleep 1"#,
        // Half a request, a byte at a time; then connections that say nothing.
        r#"my $s = to; for (split //, "{\"stop\":") { syswrite $s, $_; select undef, undef, undef, 0.05 }"#,
        r#"my @all = map { to } 1 .. 60; system "timeout 20 $ENV{BERTH} ps -q >/dev/null" and exit 9"#,
    ] {
        let done = host.shell(&format!("export BERTH=$berth; {CONNECT}{line}'"));
        bench.fired(1);
        holds!(done.code != 9, "a command does not come through: {done}");
        assert!(done.code != 2 && done.code != 255, "{done}");
    }
    for text in ["{}", "null", "[]", "GET / HTTP/1.1", "{\\\"stop\\\":{}}", "\\x00\\xff"] {
        let line = format!("my $s = to; syswrite $s, \"{text}\\n\"; print scalar <$s>");
        let done = host.shell(&format!("{CONNECT}{line}'")).succeeds();
        bench.fired(1);
        holds!(done.stdout.contains("no such request"), "{text} is answered {done}");
    }
    assert_eq!(host.monitor_of("web"), monitor, "the same monitor");
    holds!(host.shell(&format!("test -e /proc/{monitor}")).code == 0, "the monitor has ended");
    let rise = most().saturating_sub(before);
    holds!(rise < 8 << 10, "the monitor grew by {rise} KiB");
    host.berth("exec -T web true").succeeds();
    Ok(())
}

/// What each name of a file may not be. A project's `name` is made usable, as Docker Compose does.
fn names(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    let long = "evil".repeat(75);
    let names = ["../evil", "a/evil", "/evil", "", "evil\0", "\u{202e}evil", "-rf evil", &long];
    let service = "image: 'busybox:1', command: ['true']";
    for name in names {
        let quoted = serde_json::json!(name).to_string();
        for text in [
            format!("services: {{ {quoted}: {{ {service} }} }}"),
            format!("services: {{ web: {{ {service}, container_name: {quoted} }} }}"),
            format!(
                "services: {{ web: {{ {service}, volumes: [a:/a] }} }}\nvolumes: {{ a: {{ name: {quoted} }} }}"
            ),
            format!(
                "services: {{ web: {{ {service}, networks: [a] }} }}\nnetworks: {{ a: {{ name: {quoted} }} }}"
            ),
            format!(
                "services: {{ web: {{ {service}, volumes: [a:/a] }} }}\nvolumes: {{ a: {{ name: {quoted}, external: true }} }}"
            ),
            format!("services: {{ web: {{ {service} }} }}\nvolumes: {{ {quoted}: {{}} }}"),
            format!(
                "services: {{ web: {{ {service} }} }}\nsecrets: {{ {quoted}: {{ file: ./compose.yaml }} }}"
            ),
        ] {
            bench.stack(&text);
            let up = host.berth("up -d");
            bench.fired(1);
            // What is not given a name at all gets one; what is only too long may be taken.
            let fine = name.is_empty() || name == long;
            holds!(fine || up.code != 0, "{text} was taken: {up}");
            host.berth("down -v -y -t 0");
        }
        bench.stack(&format!("services: {{ web: {{ {service} }} }}"));
        if !name.contains('\0') {
            let up = host.shell(&format!("$berth -p '{name}' up -d"));
            holds!(name.is_empty() || name == long || up.code != 0, "-p {name} was taken: {up}");
        }
    }
    bench.stack(&format!("name: ../evil\nservices: {{ web: {{ {service} }} }}"));
    host.berth("up -d").succeeds();
    assert!(host.berth("ls -a").succeeds().stdout.contains("\nevil "), "its name is made usable");
    host.berth("down -t 0").succeeds();
    bench.stack(&format!("services: {{ web: {{ {service} }} }}"));
    Ok(())
}

/// A secret is in the memory of the host while its container runs, and nowhere else at any time.
fn secrets(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    host.write("secret", "canary-of-the-file");
    bench.stack(
        "
services:
  web:
    image: busybox:1
    command: [sh, -c, 'cat /run/secrets/file /run/secrets/variable >/dev/null; exec sleep 100000']
    secrets: [file, variable]
    healthcheck: { test: 'grep -q canary /run/secrets/file', interval: 1s }
    stop_grace_period: 0s
secrets: { file: { file: ./secret }, variable: { environment: TOKEN } }
",
    );
    let run = |command: &str| {
        let done = host.shell(&format!("export TOKEN=canary-of-the-variable; $berth {command}"));
        bench.fired(1);
        let told = done.stdout.contains("canary-of") || done.stderr.contains("canary-of");
        holds!(!told, "`{command}` says it: {done}");
        done.succeeds();
        Ok(())
    };
    let look = "grep -rlsa canary-of /run/berth /var/lib/berth";
    let kept = |when: &str| {
        let files = host.shell(look).stdout;
        for file in files.lines() {
            let kind = host.shell(&format!("stat -f -c %T {file}")).stdout;
            let is_memory = file.starts_with("/run/berth/") && kind.trim() == "tmpfs";
            holds!(is_memory, "{when} it is in {file}");
        }
        Ok(files.lines().count())
    };
    let gone = |when: &str| {
        let files = host.shell(look).stdout;
        holds!(files.is_empty(), "{when} it is still in {files}");
        Ok(())
    };
    run("up -d --wait")?;
    let copies = kept("while it runs,")?;
    assert!(copies >= 2, "both secrets are somewhere: {copies}");
    let environments = "grep -lsa canary-o[f] /proc/[0-9]*/environ /proc/[0-9]*/cmdline";
    let seen = host.shell(environments).stdout;
    holds!(seen.is_empty(), "a process that stays has it: {seen}");
    for command in [
        "plan",
        "config",
        "ps -a",
        "logs web",
        "top",
        "stats --no-stream",
        "explain web.secrets",
        "exec -T web env",
        "export -o files.tar web",
        "commit web made:1",
        "image inspect made:1",
        "events --since 1m --until 0s",
        "restart",
        "up -d --force-recreate",
    ] {
        run(command)?;
        kept(&format!("after `{command}`"))?;
    }
    let archive = host.shell("grep -ca canary-of files.tar").stdout;
    holds!(archive.trim() == "0", "the archive of its files has it");
    let killed = format!("{} {}", host.monitor_of("web"), host.pid_of("web").pid);
    host.shell(&format!("kill -KILL {killed}")).succeeds();
    run("up -d --wait")?;
    kept("after kills and a new start")?;
    run("down")?;
    gone("after `down`")
}

fn host_network(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    sleeper(bench, "network_mode: host");
    host.berth("up -d").succeeds();
    let seen = host.berth("exec -T web cat /proc/net/unix").succeeds().stdout;
    let names = seen.lines().filter_map(|line| line.split_whitespace().nth(7));
    let names: Vec<&str> = names.collect();
    bench.fired(names.len());
    assert!(names.iter().any(|name| name.contains("sock")), "berth's own is not seen: {seen}");
    for name in names {
        holds!(!name.starts_with('@'), "an abstract socket: {name}");
        let reach = host.berth(&format!("exec -T web test -e {name}"));
        holds!(reach.code != 0, "the container reaches {name}");
    }
    Ok(())
}

fn settings(bench: &Bench) -> Outcome {
    const KEYS: [&str; 5] = [
        "kernel.core_pattern",
        "kernel.modprobe",
        "vm.overcommit_memory",
        "fs.suid_dumpable",
        "kernel.hostname",
    ];
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    let value = |key: &str| {
        let path = key.replace('.', "/");
        host.shell(&format!("cat /proc/sys/{path}")).succeeds().stdout.trim().to_owned()
    };
    let take = |key: &str, text: &str| {
        let (key, text) = (serde_json::json!(key), serde_json::json!(text));
        sleeper(bench, &format!("userns_mode: host, sysctls: {{ {key}: {text} }}"));
        let up = host.berth("up -d");
        bench.fired(1);
        host.berth("down -t 0");
        up
    };
    for key in KEYS {
        if host.shell(&format!("test -e /proc/sys/{}", key.replace('.', "/"))).code != 0 {
            continue;
        }
        // What it is already, so that a missing defence does no harm to the real host.
        let before = value(key);
        let up = take(key, &before);
        holds!(up.code != 0, "{key} of the host was set: {up}");
        holds!(value(key) == before, "{key} has changed");
    }
    let values = ["1\nkernel.core_pattern=x", "1\u{0}", "1\u{7}", "1+kernel.core_pattern=1\n2"];
    for text in values {
        let up = take("net.core.somaxconn", text);
        holds!(up.code != 0, "the value {text:?} was taken: {up}");
    }
    for key in [
        "net.ipv4.../../kernel/modprobe",
        "net/../kernel/modprobe",
        "net.core.somaxconn=1+kernel.modprobe",
    ] {
        let up = take(key, "1");
        holds!(up.code != 0, "the setting {key:?} was taken: {up}");
    }
    Ok(())
}

fn cgroups(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    sleeper(bench, "userns_mode: host");
    host.berth("up -d").succeeds();
    let files = "notify_on_release release_agent devices.allow cgroup.procs tasks cgroup.max.depth memory.max";
    let attack = format!(
        "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do \
         for f in {files}; do test -e $d/$f || continue; echo tried; (echo 0 >$d/$f) 2>/dev/null && echo wrote $d/$f; done; \
         mkdir $d/x 2>/dev/null && echo made $d/x; done; \
         mkdir -p /tmp/c; for o in memory devices pids none,name=x; do \
         mount -t cgroup -o $o c /tmp/c 2>/dev/null && echo mounted $o; done; \
         mount -t cgroup2 c /tmp/c 2>/dev/null && echo mounted v2; \
         unshare -C true 2>/dev/null && echo unshared; true"
    );
    let done = host.berth(&format!("exec -T web sh -c '{attack}'")).succeeds();
    bench.fired(done.stdout.matches("tried").count());
    let got: Vec<&str> = done.stdout.lines().filter(|line| *line != "tried").collect();
    holds!(got.is_empty(), "a container {got:?}");
    Ok(())
}

fn devices(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    for mode in ["userns_mode: host, cap_add: [MKNOD]", "cap_add: [MKNOD]"] {
        sleeper(bench, mode);
        host.berth("up -d").succeeds();
        let inside = |line: &str| host.berth(&format!("exec -T web sh -c '{line}' 2>/dev/null"));
        let mut disks =
            host.shell("ls -l /dev | awk '/^b/ {print \"b\", $5 + 0, $6}' | head -n 3").stdout;
        disks += "b 7 0\nc 1 1\nc 1 11\nc 10 229\nc 1 2\nc 10 200\n";
        for device in disks.lines() {
            bench.fired(1);
            let opened = inside(&format!(
                "rm -f /dev/x; mknod /dev/x {device} && (: </dev/x) && echo opened"
            ));
            holds!(!opened.stdout.contains("opened"), "{mode}: {device} was opened");
            let written = inside("test -e /dev/x && (: >>/dev/x) && echo opened");
            holds!(!written.stdout.contains("opened"), "{mode}: {device} was opened to write");
        }
        for name in ["null", "zero", "full", "random", "urandom"] {
            let read = inside(&format!("(: </dev/{name}) && echo opened"));
            assert!(read.stdout.contains("opened"), "/dev/{name} {read}");
        }
        host.berth("down -t 0").succeeds();
    }
    Ok(())
}
