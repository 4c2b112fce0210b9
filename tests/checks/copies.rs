//! Copies, while a container changes what their paths lead to.

use crate::bench::{Bench, Check, Outcome, holds};
use crate::mounts::{CANARY, LOOK};

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "C01",
        what: "a folder changes into a link while `cp` is in it",
        without: "cp.beneath",
        places: &["cp.resolved"],
        run: race,
    },
    Check {
        id: "C01b",
        what: "rights of the process that `cp` has in a container",
        without: "cp.rights",
        places: &[],
        run: rights,
    },
];

/// Copies of a free run, in each direction.
const TIMES: usize = 100;

/// CVE-2018-15664.
fn race(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    host.shell(CANARY).succeeds();
    host.shell("mkdir -p shared/a; echo inner >shared/a/file; echo new >new").succeeds();
    let before = host.shell(LOOK).stdout;
    bench.stack(
        "
services:
  web:
    image: busybox:1
    userns_mode: host
    command: [sleep, '100000']
    volumes: ['./shared:/race']
    stop_grace_period: 0s
",
    );
    host.berth("up -d").succeeds();
    let swap = "cd /race; mv a t; ln -s /run/canary a";
    let back = "cd /race; rm a; mv t a";
    let inside = |line: &str| drop(host.berth(&format!("exec -T web sh -c '{line}'")).succeeds());
    let mut times = 0;
    for words in ["cp web:/race/a/file out", "cp web:/race/a/. whole", "cp new web:/race/a/file"] {
        let copy = bench.at("cp.resolved", || host.start_berth(words), || inside(swap));
        inside(back);
        times += 1;
        let read = host.shell("cat out whole/* 2>/dev/null").stdout;
        holds!(!read.contains("alive"), "`{words}` has read the host's file");
        let now = host.shell(LOOK).stdout;
        holds!(now == before, "`{words}` has changed the host's folder: {now}");
        // Held, it had the folder already, and goes on there.
        assert!(bench.is_plain() || copy.code == 0, "`{words}`: {copy}");
    }
    if bench.is_plain() {
        times += free_runs(bench, swap, back)?;
        let now = host.shell(LOOK).stdout;
        holds!(now == before, "a free run has changed the host's folder: {now}");
    }
    bench.fired(times);
    host.shell("rm -r /run/canary").succeeds();
    Ok(())
}

/// The same without anybody being held, many times.
fn free_runs(bench: &Bench, swap: &str, back: &str) -> Result<usize, String> {
    let host = &bench.host;
    let line = format!("exec -T web sh -c 'while test ! -e /stop; do ({swap}); ({back}); done'");
    let attacker = host.start_berth(&line);
    let copies = format!(
        "for n in $(seq {TIMES}); do rm -rf out
         $berth cp web:/race/a/file out 2>/dev/null; cat out 2>/dev/null
         $berth cp new web:/race/a/file 2>/dev/null; done; true"
    );
    let read = host.shell(&copies).succeeds().stdout;
    host.berth("exec -T web touch /stop").succeeds();
    drop(attacker.ends());
    holds!(!read.contains("alive"), "a free run has read the host's file");
    assert!(read.contains("inner") || read.contains("new"), "no copy came through: {read}");
    Ok(2 * TIMES)
}

/// Of chown, dac_override, fowner, fsetid and setfcap.
const OVER_FILES: &str = "000000008000001b";

fn rights(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    for mode in ["", "userns_mode: host, "] {
        bench.stack(&format!(
            "services: {{ web: {{ image: 'busybox:1', {mode}command: [sleep, '100000'], \
             stop_grace_period: 0s }} }}"
        ));
        host.berth("up -d").succeeds();
        // It reads what never comes, until it is looked at.
        host.shell("rm -f in; mkfifo in").succeeds();
        let look = "exec 3<>in; $berth cp - web:/tmp <&3 2>/dev/null & copy=$!
            for n in $(seq 200); do
                sleep 0.05; side=$(cat /proc/$copy/task/*/children) && test -n \"$side\" || continue
                grep -h ^Cap /proc/${side%% *}/status | cut -f 2 >sets
                grep -q . sets && ! grep -q 1ffffffffff sets && break
                test $n -gt 20 && break
            done; kill $copy; wait $copy; cut -c 1- sets";
        let sets = host.shell(look).stdout;
        let sets: Vec<&str> = sets.lines().collect();
        assert_eq!(sets.len(), 5, "inheritable, permitted, effective, bounding, ambient");
        bench.fired(1);
        let (permitted, effective) = (sets[1], sets[2]);
        holds!(
            permitted == OVER_FILES && effective == OVER_FILES,
            "{mode}it has {permitted}, {effective}"
        );
        host.berth("down").succeeds();
    }
    Ok(())
}
