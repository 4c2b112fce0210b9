//! What images and neighbours put in the way of mounts.

use berth_tests::TestHost;
use berth_tests::evil::Evil;
use berth_tests::host::Process;
use berth_tests::machine::Place;

use crate::bench::{Bench, Check, Outcome, holds};

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "R06",
        what: "/proc and /sys of the image are links or files",
        without: "root.plain_folder",
        places: &[],
        run: kernel_folders,
    },
    Check {
        id: "R07",
        what: "/dev of the image is a link, or what is in it",
        without: "root.plain_folder",
        places: &[],
        run: devices_folder,
    },
    Check {
        id: "R08",
        what: "another /dev/null as the source of masks",
        without: "mask.source",
        places: &[],
        run: mask_source,
    },
    Check {
        id: "R09",
        what: "kernel settings redirected by a link in a volume",
        without: "sysctl.beneath",
        places: &["sysctl.before_write"],
        run: settings,
    },
    Check {
        id: "R10",
        what: "the target of a mount is a link out of the image",
        without: "mount.beneath",
        places: &[],
        run: target_link,
    },
    Check {
        id: "R11",
        what: "the target of a mount changes into a link meanwhile",
        without: "mount.once",
        places: &["mount.resolved"],
        run: target_race,
    },
    Check {
        id: "R13",
        what: "mounts on what is the kernel's",
        without: "mount.kernel_files",
        places: &[],
        run: kernel_targets,
    },
    Check {
        id: "R28",
        what: "what is masked: reading, writing, uncovering",
        without: "mask.list",
        places: &[],
        run: masks,
    },
    Check {
        id: "R29",
        what: "who may mount takes off, moves and remounts",
        without: "mounts.locked",
        places: &[],
        run: locked,
    },
];

/// A tree of the host that nothing may change.
pub(crate) const CANARY: &str =
    "mkdir -m 777 /run/canary && echo alive >/run/canary/file && chmod 666 /run/canary/file";
/// All that can be told of it.
pub(crate) const LOOK: &str =
    "find /run/canary -printf '%p %M %U:%G %n %s %T@ %C@\\n' | sort; cat /run/canary/file";

/// `up` of this service has to fail, or its program to run in a root of its own.
fn refused(host: &TestHost, what: &str) -> Outcome {
    let up = host.berth("up -d");
    let refused = up.code != 0 && up.stderr.contains("it is a link or a file");
    holds!(refused, "{what} was taken: {up}");
    host.berth("down -t 0").succeeds();
    Ok(())
}

fn kernel_folders(bench: &Bench) -> Outcome {
    let host = &bench.host;
    let image = |name: &str| Evil::image(name).folder("x");
    image("a:1").link("proc", "/x").load(host);
    image("b:1").link("sys", "x").load(host);
    image("c:1").file("proc", 0o755, b"").load(host);
    for name in ["a", "b", "c"] {
        bench.stack(&format!("services: {{ web: {{ image: '{name}:1' }} }}"));
        refused(host, &format!("the image {name}"))?;
        bench.fired(1);
    }
    Ok(())
}

fn devices_folder(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.shell(CANARY).succeeds();
    let before = host.shell(LOOK).stdout;
    Evil::image("a:1").link("dev", "../../run/canary").folder("run/canary").load(host);
    Evil::image("b:1").link("dev", "/x").folder("x").load(host);
    for name in ["a", "b"] {
        bench.stack(&format!("services: {{ web: {{ image: '{name}:1', userns_mode: host }} }}"));
        refused(host, &format!("the image {name}"))?;
        bench.fired(1);
    }
    // What is in a folder of that name is covered.
    let inside = Evil::image("c:1").folder("dev").link("dev/pts", "/run/canary");
    inside.link("dev/shm", "/run/canary").file("dev/mqueue", 0o777, b"").load(host);
    bench.stack("services: { web: { image: 'c:1', userns_mode: host } }");
    host.berth("up -d").succeeds();
    let kinds = host.berth("exec -T web stat -f -c %t /dev/pts /dev/shm /dev/mqueue").succeeds();
    holds!(kinds.stdout.trim() == "1cd1\n1021994\n19800202", "{kinds}");
    holds!(host.shell(LOOK).stdout == before, "the host's folder has changed");
    host.shell("rm -r /run/canary").succeeds();
    Ok(())
}

fn mask_source(bench: &Bench) -> Outcome {
    let host = &bench.host;
    let pattern = host.shell("cat /proc/sys/kernel/core_pattern").stdout;
    let dev = |name: &str| Evil::image(name).folder("dev");
    dev("link:1").link("dev/null", "/proc/sys/kernel/core_pattern").load(host);
    dev("file:1").file("dev/null", 0o666, b"evil").load(host);
    for image in ["file", "link"] {
        bench.stack(&format!(
            "services: {{ web: {{ image: '{image}:1', userns_mode: host, command: [sleep, '100000'] }} }}"
        ));
        host.berth("up -d").succeeds();
        bench.fired(1);
        for path in ["/proc/interrupts", "/proc/kcore", "/proc/timer_list", "/proc/keys"] {
            let line = format!("exec -T web sh -c 'test ! -e {path} || head -c 100 {path}'");
            let read = host.berth(&line);
            holds!(read.code == 0 && read.stdout.is_empty(), "{path} reads {:?}", read.stdout);
            host.berth(&format!("exec -T web sh -c 'echo x >{path}'"));
        }
        let now = host.shell("cat /proc/sys/kernel/core_pattern").stdout;
        holds!(now == pattern, "core_pattern is {now:?}");
        host.berth("down -t 0").succeeds();
    }
    Ok(())
}

fn settings(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    host.shell("mkdir -m 777 out && echo alive >out/canary && chmod 666 out/canary").succeeds();
    bench.stack(
        "
services:
  attacker:
    image: busybox:1
    userns_mode: host
    command: [sleep, '100000']
    volumes: ['shared:/shared']
  victim:
    image: busybox:1
    privileged: true
    command: [sleep, '100000']
    sysctls: { net.core.somaxconn: '77' }
    volumes: ['shared:/proc/sys/net/core', './out:/out']
volumes: { shared: {} }
",
    );
    host.berth("up -d attacker").succeeds();
    let prepare = "exec -T attacker sh -c 'touch /shared/somaxconn'";
    host.berth(prepare).succeeds();
    let swap =
        "exec -T attacker sh -c 'ln -s /out/canary /shared/new; mv /shared/new /shared/somaxconn'";
    let up = bench.at(
        "sysctl.before_write",
        || host.start_berth("up -d victim"),
        || {
            host.berth(swap).succeeds();
            bench.fired(1);
        },
    );
    let canary = std::fs::read_to_string(host.project("out/canary")).unwrap_or_default();
    holds!(canary.trim() == "alive", "the setting was written to another file: {canary:?}");
    // Either it is set where it belongs, or the start is refused.
    if up.code == 0 {
        let init = host.pid_of("victim").pid;
        let set = host.shell(&format!("nsenter -t {init} -n cat /proc/sys/net/core/somaxconn"));
        holds!(set.stdout.trim() == "77", "{up} {set}");
    }
    Ok(())
}

fn target_link(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.shell(CANARY).succeeds();
    let before = host.shell(LOOK).stdout;
    let up = format!("{}run/canary", "../".repeat(9));
    let image = |name: &str| Evil::image(name).folder("run/canary");
    image("a:1").link("data", "/run/canary").load(host);
    image("b:1").link("data", &up).load(host);
    image("c:1").folder("data").link("data/sub", "../m").link("m", &up).load(host);
    for name in ["a", "b", "c"] {
        for mode in ["", "userns_mode: host, "] {
            bench.stack(&format!(
                "services: {{ web: {{ image: '{name}:1', {mode}tmpfs: ['/data/sub/dir'], \
                 volumes: ['data:/data/sub/vol'] }} }}\nvolumes: {{ data: {{}} }}"
            ));
            let done = host.berth("up -d");
            bench.fired(1);
            let now = host.shell(LOOK).stdout;
            holds!(now == before, "{name} {mode} changed the host's folder: {now}");
            done.succeeds();
            let mounts = host.berth("exec -T web cat /proc/self/mountinfo").succeeds().stdout;
            let dir = |end: &str| {
                mounts
                    .lines()
                    .any(|line| line.split(' ').nth(4).is_some_and(|at| at.ends_with(end)))
            };
            holds!(dir("/dir") && dir("/vol"), "{name} {mode} lacks its mounts: {mounts}");
            host.berth("down -v -y -t 0").succeeds();
        }
    }
    host.shell("rm -r /run/canary").succeeds();
    Ok(())
}

/// CVE-2021-30465.
fn target_race(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    host.shell(CANARY).succeeds();
    let before = host.shell(LOOK).stdout;
    bench.stack(
        "
services:
  attacker:
    image: busybox:1
    userns_mode: host
    command: [sleep, '100000']
    volumes: ['shared:/shared']
  victim:
    image: busybox:1
    userns_mode: host
    init: true
    command: [sleep, '100000']
    volumes: ['shared:/shared', { type: tmpfs, target: /shared/inner/x }]
    stop_grace_period: 0s
volumes: { shared: {} }
",
    );
    host.berth("up -d attacker").succeeds();
    let out = format!("{}run/canary", "../".repeat(9));
    let swap = format!("cd /shared; mv inner old; ln -s {out} inner");
    let back = "cd /shared; rm inner; mv old inner";
    host.berth("exec -T attacker mkdir -p /shared/inner/x").succeeds();
    let before_it = bench.reached("mount.resolved");
    let inside =
        |line: &str| drop(host.berth(&format!("exec -T attacker sh -c '{line}'")).succeeds());
    // The last of its mounts is the one: how many there are tells a first start.
    host.berth("up -d victim").succeeds();
    host.berth("rm -sf victim").succeeds();
    let last = 2 * bench.reached("mount.resolved") - before_it;
    let mut times = 1;
    let up = bench.at_time(
        "mount.resolved",
        last,
        || host.start_berth("up -d victim"),
        || inside(&swap),
    );
    let now = host.shell(LOOK).stdout;
    holds!(now == before, "the host's folder has changed: {now}");
    if bench.is_plain() {
        inside(back);
        times += free_runs(bench, &swap, back);
        let now = host.shell(LOOK).stdout;
        holds!(now == before, "the host's folder has changed in a free run: {now}");
    } else {
        up.succeeds();
        inside(back);
        let Process { pid, .. } = host.pid_of("victim");
        let mounts = host.shell(&format!("cat /proc/{pid}/mountinfo")).stdout;
        let at = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        let at: Vec<&str> = at.filter(|at| at.contains("/x")).collect();
        holds!(at == ["/shared/inner/x"], "the mount is at {at:?}");
    }
    bench.fired(times);
    host.shell("rm -r /run/canary").succeeds();
    Ok(())
}

/// The same without anybody being held, many times.
fn free_runs(bench: &Bench, swap: &str, back: &str) -> usize {
    const TIMES: usize = 200;
    let host = &bench.host;
    let attack =
        format!("exec -T attacker sh -c 'while test ! -e /stop; do ({swap}); ({back}); done'");
    let attacker = host.start_berth(&attack);
    let line = format!(
        "for n in $(seq {TIMES}); do $berth up -d --force-recreate --no-deps victim >/dev/null 2>&1; done"
    );
    for _ in 0..4 {
        host.start_shell(
            Place::Inside,
            &line.replace(&TIMES.to_string(), &(TIMES / 4).to_string()),
        )
        .ends();
    }
    host.berth("exec -T attacker touch /stop").succeeds();
    drop(attacker.ends());
    TIMES
}

fn kernel_targets(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    let targets = [
        "/proc/sys",
        "/proc/self/attr",
        "/proc/1",
        "/sys/kernel",
        "/sys/fs/cgroup",
        "/proc/sys/net",
    ];
    for target in targets {
        bench.stack(&format!(
            "services: {{ web: {{ image: 'busybox:1', command: [sleep, '9'], tmpfs: ['{target}'] }} }}"
        ));
        let up = host.berth("up -d");
        bench.fired(1);
        holds!(up.code != 0, "a mount on {target} was made: {up}");
        host.berth("down -t 0").succeeds();
    }
    for target in ["/proc/sys", "/sys/fs"] {
        let volumes = serde_json::json!({ target: {} });
        Evil::image("vol:1").set("Volumes", volumes).load(host);
        bench.stack("services: { web: { image: 'vol:1' } }");
        let up = host.berth("up -d");
        bench.fired(1);
        holds!(up.code != 0, "a volume of the image on {target} was mounted: {up}");
        host.berth("down -v -y -t 0").succeeds();
    }
    Ok(())
}

fn masks(bench: &Bench) -> Outcome {
    const MASKED: [&str; 14] = [
        "/proc/acpi",
        "/proc/asound",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/proc/timer_list",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
        "/sys/fs/bpf",
        "/sys/kernel/debug",
        "/sys/kernel/security",
    ];
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    for (name, mode) in [("own", "read_only: true"), ("host", "userns_mode: host")] {
        bench.stack(&format!(
            "services: {{ web: {{ image: 'busybox:1', command: [sleep, '100000'], {mode}, \
             cap_add: [DAC_READ_SEARCH] }} }}"
        ));
        host.berth("up -d").succeeds();
        let inside = |line: &str| host.berth(&format!("exec -T web sh -c \"{line}\""));
        for path in MASKED {
            if inside(&format!("test -e {path}")).code != 0 {
                continue;
            }
            bench.fired(1);
            let read = inside(&format!(
                "if test -d {path}; then ls -A {path}; else head -c 64 {path}; fi"
            ));
            holds!(read.stdout.is_empty(), "{name}: {path} reads {:?}", read.stdout);
            for attack in ["rm -rf", "mv -T /etc", "umount", "mount -o remount,rw"] {
                inside(&format!("{attack} {path} 2>/dev/null"));
            }
            inside(&format!("test -d {path} && touch {path}/x || echo x >{path}"));
            let read = inside(&format!(
                "if test -d {path}; then ls -A {path}; else head -c 64 {path}; fi"
            ));
            holds!(read.stdout.is_empty(), "{name}: {path} then reads {:?}", read.stdout);
        }
        host.berth("down -t 0").succeeds();
    }
    Ok(())
}

/// Who has SYS_ADMIN in its user namespace, and would have what is covered or read-only.
fn locked(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    let attack = r#"
        mkdir /tmp/at; cat /proc/self/mountinfo >/tmp/mounts
        try() { echo tried; "$@" 2>/dev/null && echo "$@"; }
        while read -r _ _ _ _ at options _; do
            case $at in /proc/*|/sys/*|/fixed) ;; *) continue ;; esac
            try umount $at
            try umount -l $at
            try mount --move $at /tmp/at
            above=${at%/*}
            try mount -o bind ${above:-/} /tmp/at
            case $options in ro*) for flags in nodev nosuid,nodev nosuid,nodev,noexec; do
                try mount -o remount,bind,rw,relatime,$flags $at
            done ;; esac
        done </tmp/mounts
        try mount -o remount,bind,rw,relatime,nodev /
        try mount -t proc p /tmp/at
        for file in /x /fixed/x; do (: >$file) 2>/dev/null && echo wrote $file; done
        head -c 64 /proc/interrupts
        true
    "#;
    host.write("attack.sh", attack);
    bench.stack(
        "services: { web: { image: 'busybox:1', command: [sleep, '100000'], cap_add: [SYS_ADMIN], \
         read_only: true, tmpfs: [/tmp], volumes: ['data:/fixed:ro', './attack.sh:/attack.sh'] } }
volumes: { data: {} }",
    );
    host.berth("up -d").succeeds();
    let done = host.berth("exec -T web sh /attack.sh").succeeds().stdout;
    bench.fired(done.matches("tried").count());
    let got: Vec<&str> = done.lines().filter(|line| *line != "tried").collect();
    holds!(got.is_empty(), "it got {got:?}");
    let own = "mkdir /tmp/own && mount -t tmpfs own /tmp/own && mount -o bind /fixed /tmp/own";
    host.berth(&format!("exec -T web sh -c '{own}'")).succeeds();
    Ok(())
}
