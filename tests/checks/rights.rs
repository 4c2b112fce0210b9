//! What a process in a container may do: capabilities, privileges, users.

use std::collections::BTreeSet;

use berth_tests::evil::{Evil, probe};

use crate::bench::{Bench, Check, Outcome, holds};

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "R17",
        what: "capability sets of every kind of process",
        without: "caps.inheritable",
        places: &[],
        run: capabilities,
    },
    Check {
        id: "R19",
        what: "a setuid program where privileges must not grow",
        without: "rights.final",
        places: &[],
        run: setuid,
    },
    Check {
        id: "R32",
        what: "ids of 50 containers, seen from the host",
        without: "ids.range",
        places: &[],
        run: id_ranges,
    },
    Check {
        id: "R34",
        what: "users that are no numbers, too large or names of digits",
        without: "users.numbers",
        places: &[],
        run: users,
    },
    Check {
        id: "R35",
        what: "/etc/passwd of the image is a FIFO, endless or huge",
        without: "users.bounds",
        places: &[],
        run: accounts,
    },
];

/// Inheritable, permitted, effective, bounding, ambient.
const OF_ROOT: &str =
    "0000000000000000 00000000800405fb 00000000800405fb 00000000800405fb 0000000000000000";
const OF_OTHERS: &str =
    "0000000000000000 0000000000000000 0000000000000000 00000000800405fb 0000000000000000";

fn capabilities(bench: &Bench) -> Outcome {
    bench.host.load(&berth_tests::images::busybox());
    let show = "grep ^Cap /proc/self/status | cut -f2 | tr '\\n' ' '";
    bench.stack(&format!(
        r#"
x-show: &show "{show} >/out/$$ME-main; exec sleep 100000"
x-probe: &probe
  test: "{show} >/out/$$ME-probe"
  interval: 1s
services:
  root:
    image: busybox:1
    command: [sh, -c, *show]
    environment: {{ ME: root }}
    volumes: [out:/out]
    healthcheck: *probe
  user:
    image: busybox:1
    user: "1000"
    command: [sh, -c, *show]
    environment: {{ ME: user }}
    volumes: [out:/out]
    healthcheck: *probe
    depends_on: [first]
  first:
    image: busybox:1
    command: [chmod, "1777", /out]
    volumes: [out:/out]
volumes: {{ out: {{}} }}
"#
    ));
    bench.host.berth("up -d --wait root user").succeeds();
    for (service, wanted) in [("root", OF_ROOT), ("user", OF_OTHERS)] {
        let exec = bench.host.berth(&format!("exec -T {service} sh -c \"{show}\"")).succeeds();
        let inside = |what: &str| {
            let line = format!("exec -T {service} cat /out/{service}-{what}");
            bench.host.berth(&line).succeeds().stdout
        };
        for (what, found) in
            [("exec", exec.stdout), ("main", inside("main")), ("probe", inside("probe"))]
        {
            holds!(found.trim() == wanted, "{what} of {service} has {found}");
        }
    }
    Ok(())
}

fn setuid(bench: &Bench) -> Outcome {
    let host = &bench.host;
    let program = std::fs::read(probe("probe")).expect("the probe");
    Evil::image("suid:1").file("suid", 0o4755, &program).load(host);
    for mode in ["", "userns_mode: host, "] {
        bench.stack(&format!(
            "services: {{ web: {{ image: 'suid:1', user: '1000', {mode}\
             security_opt: ['no-new-privileges:true'], command: [sleep, '100000'] }} }}"
        ));
        host.berth("up -d").succeeds();
        let who = host.berth("exec -T web /suid id").succeeds();
        bench.fired(1);
        holds!(who.stdout.trim() == "1000", "{mode} setuid made it {}", who.stdout.trim());
        let status = host.berth("exec -T web cat /proc/1/status").succeeds().stdout;
        holds!(status.contains("NoNewPrivs:\t1"), "{mode} {status}");
        host.berth("down -t 0").succeeds();
    }
    Ok(())
}

/// First ids on the host of each container's ids 0 to 65535.
fn bases(bench: &Bench) -> Vec<u64> {
    let line = "for f in /run/berth/containers/*/status.json; do \
                pid=$(sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p' $f | head -1); \
                cat /proc/$pid/uid_map /proc/$pid/gid_map; done";
    let maps = bench.host.shell(line).succeeds().stdout;
    let lines: Vec<Vec<u64>> = maps
        .lines()
        .map(|line| line.split_whitespace().filter_map(|word| word.parse().ok()).collect())
        .collect();
    assert!(lines.iter().all(|line| line.len() == 3), "{maps}");
    let users = lines.chunks(2).inspect(|both| assert_eq!(both[0], both[1], "users and groups"));
    users
        .map(|both| {
            assert_eq!((both[0][0], both[0][2]), (0, 65_536), "{maps}");
            both[0][1]
        })
        .collect()
}

fn id_ranges(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    bench.stack(
        "services: { web: { image: 'busybox:1', command: [sleep, '100000'], scale: 50, stop_grace_period: 0s } }",
    );
    let disjoint = |bases: &[u64]| {
        let ranges: BTreeSet<u64> = bases.iter().map(|base| base / 65_536).collect();
        bases.iter().all(|base| *base >= 0x7000_0000 && base % 65_536 == 0)
            && ranges.len() == bases.len()
    };
    host.berth("up -d").succeeds();
    let first = bases(bench);
    bench.fired(first.len());
    assert_eq!(first.len(), 50, "containers");
    holds!(disjoint(&first), "the ranges are {first:?}");
    // Killed monitors and containers give no range to two.
    let line = "for n in 1 2 3 4 5; do f=/run/berth/containers/stack-web-$n/status.json; \
                kill -KILL $(sed -n 's/.*\"\\(pid\\|monitor\\)\": *\\([0-9]*\\).*/\\2/p' $f); done";
    host.shell(line).succeeds();
    host.berth("up -d --scale web=52").succeeds();
    let again = bases(bench);
    assert_eq!(again.len(), 52, "containers");
    holds!(disjoint(&again), "after kills the ranges are {again:?}");
    host.berth("down").succeeds();
    let left = host.shell("ls /var/lib/berth/ids 2>/dev/null").stdout;
    holds!(left.is_empty(), "these ranges were not given back: {left}");
    Ok(())
}

/// CVE-2024-40635.
fn users(bench: &Bench) -> Outcome {
    const DIGITS: [&str; 6] = [
        "4294967295",
        "4294967296",
        "5000000000",
        "18446744073709551616",
        "00",
        "99999999999999999999",
    ];
    let host = &bench.host;
    let mut passwd = String::from("root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\n");
    let mut group = String::from("root:x:0:\n");
    for digits in DIGITS {
        passwd += &format!("{digits}:x:0:0::/:/bin/sh\n");
        group += &format!("{digits}:x:0:\n");
    }
    let image = |name: &str| {
        let image = Evil::image(name).file("etc/passwd", 0o644, passwd.as_bytes());
        image.file("etc/group", 0o644, group.as_bytes())
    };
    image("users:1").load(host);
    let others =
        ["-1", "0x0", "root:", ":0", "1000:5000000000", "1000:-1", "\u{0660}", "+0", "0 ", "1e0"];
    bench.stack("services: { web: { image: 'users:1', command: [sleep, '100000'] } }");
    host.berth("up -d").succeeds();
    for user in DIGITS.into_iter().chain(others) {
        let exec = host.berth(&format!("exec -T -u '{user}' web id"));
        bench.fired(1);
        holds!(exec.code != 0 && exec.stdout.is_empty(), "exec as {user:?} is {exec}");
        let quoted = serde_json::json!(user).to_string();
        bench.stack(&format!(
            "services: {{ web: {{ image: 'users:1', command: [sleep, '100000'] }},
               job: {{ image: 'users:1', user: {quoted}, command: [id] }} }}"
        ));
        let run = host.berth("run --rm -T job");
        holds!(run.code != 0 && run.stdout.is_empty(), "`user: {quoted}` is {run}");
    }
    for (n, user) in ["4294967296", "00", "1000:5000000000"].into_iter().enumerate() {
        image(&format!("own{n}:1")).set("User", user.into()).load(host);
        bench.stack(&format!(
            "services: {{ web: {{ image: 'users:1', command: [sleep, '100000'] }}, \
             job: {{ image: 'own{n}:1', command: [id] }} }}"
        ));
        let run = host.berth("run --rm -T job");
        holds!(run.code != 0 && run.stdout.is_empty(), "USER {user} of the image is {run}");
    }
    for (user, uid) in [("4294967294", "4294967294"), ("1000", "1000"), ("app", "1000"), ("0", "0")]
    {
        let run = host.berth(&format!("exec -T -u {user} web id -u"));
        // A number that the user namespace does not have is refused; what is, is exact.
        holds!(run.code != 0 || run.stdout.trim() == uid, "{user} is {run}");
    }
    Ok(())
}

/// CVE-2024-9676.
fn accounts(bench: &Bench) -> Outcome {
    let host = &bench.host;
    let large = vec![b'x'; 64 << 20];
    let image = |name: &str| Evil::image(name);
    image("fifo:1").entry("etc/passwd", b'6', "", 0o644, b"").load(host);
    image("zero:1").link("etc/passwd", "/dev/zero").load(host);
    image("out:1").link("etc/passwd", "../../../../../../../../etc/shadow").load(host);
    image("large:1").file("etc/group", 0o644, &large).load(host);
    for name in ["fifo", "zero", "out", "large"] {
        for user in ["app", "1000"] {
            bench.stack(&format!(
                "services: {{ web: {{ image: '{name}:1', user: {user:?}, command: [sleep, '9'] }} }}"
            ));
            let up =
                host.shell("bash -c 'ulimit -v 4000000; exec timeout -s KILL 10 $0 up -d' $berth");
            bench.fired(1);
            holds!(up.code != 137, "{name} as {user} hangs");
            holds!(!up.stderr.contains("memory allocation"), "{name} as {user}: {up}");
            if name == "large" {
                holds!(
                    up.code != 0 && up.stderr.contains("small regular file"),
                    "{name} as {user}: {up}"
                );
            }
            host.berth("down -t 0").succeeds();
        }
    }
    Ok(())
}
