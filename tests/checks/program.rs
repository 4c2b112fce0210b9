//! The runtime's own program and what it has open, out of a container's reach.

use berth_tests::evil::{Evil, probe};
use serde_json::json;

use crate::bench::{Bench, Check, Outcome, holds};

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "R01",
        what: "writing to the runtime's program through /proc/PID/exe",
        without: "program.sealed",
        places: &[],
        run: own_program,
    },
    Check {
        id: "R02",
        what: "a working directory that is a descriptor left open",
        without: "cwd.inside",
        places: &[],
        run: working_directory,
    },
    Check {
        id: "R03",
        what: "descriptors that a program inherits",
        without: "fds.closed",
        places: &["start.before_exec"],
        run: descriptors,
    },
    Check {
        id: "R38",
        what: "programs of the image run with the host's rights",
        without: "top.by_kernel",
        places: &[],
        run: their_programs,
    },
];

/// CVE-2019-5736. A script that names `/proc/self/exe` as its interpreter becomes the runtime's
/// program; another process of the container keeps it open until nobody runs it any more.
fn own_program(bench: &Bench) -> Outcome {
    let host = &bench.host;
    let attacker = std::fs::read(probe("probe")).expect("the probe");
    let script = b"#!/proc/self/exe\n";
    let image = Evil::image("selfexe:1").file("probe", 0o755, &attacker);
    image.file("evil", 0o755, script).load(host);
    bench.stack(
        "
services:
  exec: &attacker
    image: selfexe:1
    userns_mode: host
    command: [/probe, exe, /out/exec]
    volumes: [./out:/out]
  probe:
    <<: *attacker
    command: [/probe, exe, /out/probe]
    healthcheck: { test: [CMD, /evil], interval: 100ms }
",
    );
    host.shell("mkdir out && cp $berth ./own && sha256sum own >before").succeeds();
    host.shell("./own up -d").succeeds();
    let said = |name: &str| {
        std::fs::read_to_string(host.project(&format!("out/{name}"))).unwrap_or_default()
    };
    for _ in 0..200 {
        host.shell("./own exec -T exec /evil");
        if said("exec").contains("caught") {
            break;
        }
    }
    host.eventually("both are caught", || {
        ["exec", "probe"].iter().all(|name| said(name).contains("caught"))
    });
    bench.fired(2);
    // Now nobody runs the program, as after every command of a runtime without monitors.
    let monitors = ["exec", "probe"].map(|service| host.monitor_of(service).to_string());
    host.shell(&format!("kill -KILL {}", monitors.join(" "))).succeeds();
    host.eventually("both have tried", || {
        ["exec", "probe"].iter().all(|name| said(name).lines().count() == 2)
    });
    for name in ["exec", "probe"] {
        holds!(said(name).contains("refused"), "the program that {name} caught: {}", said(name));
    }
    let same = host.shell("sha256sum -c --quiet before");
    holds!(same.code == 0, "the program has changed: {same}");
    Ok(())
}

/// CVE-2024-21626.
fn working_directory(bench: &Bench) -> Outcome {
    let host = &bench.host;
    let mut stack = String::from("services:\n");
    let of_process = |who: &str, n: u32| format!("/proc/{who}/fd/{n}");
    let show = "[sh, -c, 'readlink /proc/self/cwd; ls']";
    host.shell("touch /run/canary").succeeds();
    for n in 3..32 {
        let who = if n % 2 == 0 { "self" } else { "1" };
        stack += &format!(
            "  s{n}: {{ image: 'busybox:1', command: {show}, working_dir: {} }}\n",
            of_process(who, n)
        );
        let image =
            Evil::image(&format!("dir{n}:1")).set("WorkingDir", json!(of_process("self", n)));
        if n % 8 == 0 {
            image.load(host);
            stack += &format!("  i{n}: {{ image: 'dir{n}:1', command: {show} }}\n");
        }
    }
    stack += "  web: { image: 'busybox:1', command: [sleep, '100000'] }\n";
    bench.stack(&stack);
    host.load(&berth_tests::images::busybox());
    host.berth("up -d web").succeeds();
    // Only a host has that.
    let outside = |output: &str| {
        output.contains("canary")
            || output.contains("(unreachable)")
            || output.contains("machine.sh")
    };
    let mut tried = 0;
    for n in 3..32 {
        for who in ["self", "1"] {
            let line = format!(
                "exec -T -w {} web sh -c 'cat /proc/self/mountinfo | wc -l; ls -a . run; ls -d var/lib/berth'",
                of_process(who, n)
            );
            let done = host.berth(&line);
            tried += 1;
            holds!(
                done.code != 0 && !outside(&done.stdout),
                "exec in descriptor {n} of {who} ran: {done}"
            );
        }
        for service in ["s", "i"].iter().filter(|s| **s == "s" || n % 8 == 0) {
            let done = host.berth(&format!("run --rm -T {service}{n} ls -a . run"));
            tried += 1;
            holds!(done.code != 0 && !outside(&done.stdout), "{service}{n} ran: {done}");
        }
    }
    bench.fired(tried);
    host.shell("rm /run/canary").succeeds();
    Ok(())
}

/// What a program finds open, and what its process has open right before.
fn descriptors(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    bench.stack(
        "
services:
  web:
    image: busybox:1
    command: [sh, -c, 'ls -l /proc/self/fd >/out/main; exec sleep 100000']
    healthcheck: { test: 'ls -l /proc/self/fd >/out/probe', interval: 1s }
    volumes: [./out:/out]
    userns_mode: host
",
    );
    host.shell("mkdir -m 777 out").succeeds();
    let up = bench.at("start.before_exec", || host.start_berth("up -d --wait"), || ());
    up.succeeds();
    let exec = host.berth("exec -T web ls -l /proc/self/fd").succeeds().stdout;
    let file = |name: &str| {
        std::fs::read_to_string(host.project(&format!("out/{name}"))).unwrap_or_default()
    };
    let mut seen = 0;
    for (what, listing) in [("exec", exec), ("main", file("main")), ("probe", file("probe"))] {
        for line in listing.lines().filter(|line| line.contains("->")) {
            seen += 1;
            let (left, to) = line.split_once(" -> ").unwrap_or_default();
            let number = left.rsplit(' ').next().unwrap_or_default();
            // The shell's and the lister's own: its output, and the folder it lists.
            let own = to.contains("/proc/") || to.starts_with("/out/");
            holds!(["0", "1", "2"].contains(&number) || own, "{what} has {number} open: {to}");
        }
    }
    bench.fired(seen);
    Ok(())
}

/// CVE-2022-1227, CVE-2019-14271: what a command asks of a container it asks the kernel.
fn their_programs(bench: &Bench) -> Outcome {
    let host = &bench.host;
    let trojan = std::fs::read(probe("probe")).expect("the probe");
    let mut image = Evil::image("trojan:1");
    for name in [
        "ps",
        "tar",
        "xz",
        "gzip",
        "git",
        "nsenter",
        "ip",
        "mount",
        "newuidmap",
        "getent",
        "id",
        "top",
    ] {
        image = image.entry(&format!("bin/{name}"), b'0', "", 0o755, &trojan);
    }
    image.load(host);
    bench.stack(
        "
services:
  web:
    image: trojan:1
    userns_mode: host
    init: true
    command: [sleep, '100000']
    healthcheck: { test: [CMD, ps], interval: 1s }
",
    );
    let commands = [
        "up -d --wait",
        "top web",
        "ps -a",
        "logs web",
        "exec -T -u app web true",
        "exec -T web ps",
        "diff web",
        "export -o /dev/null web",
        "commit web made:1",
        "cp web:/bin/ps out",
        "stats --no-stream",
        "image inspect trojan:1",
        "stop -t 0",
        "up -d",
        "down",
    ];
    for command in commands {
        // One that starts a monitor would end for a tracer only when that does.
        let strace = match command.starts_with("up") {
            true => ": >trace;",
            false => "strace -f -qq -e trace=execve,execveat -o trace",
        };
        let done = host.shell(&format!("export HOST_TOKEN=canary; {strace} $berth {command}"));
        assert!(!done.stderr.contains("unrecognized"), "{done}");
        let inside = "grep -E '\"/proc/[0-9]+/root/' trace";
        let done = host.shell(inside);
        holds!(done.code != 0, "`{command}` has executed {}", done.stdout.trim());
        let caught = host.shell("cat /run/caught 2>/dev/null");
        holds!(caught.stdout.is_empty(), "`{command}`: {}", caught.stdout.trim());
        if command == "top web" {
            let caught = host.berth("exec -T web cat /caught /run/caught").stdout;
            holds!(caught.is_empty(), "`{command}`, inside: {caught}");
        }
    }
    host.shell("rm -f trace").succeeds();
    bench.fired(commands.len());
    Ok(())
}
