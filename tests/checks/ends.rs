//! Ends of containers that do not want to end, or stand still.

use crate::bench::{Bench, Check, Outcome, holds};

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "R52",
        what: "stopping a container that is paused",
        without: "stop.thaws",
        places: &[],
        run: paused,
    },
    Check {
        id: "R53",
        what: "processes that fork, hide and ignore while they are killed",
        without: "kill.group",
        places: &[],
        run: forks,
    },
];

fn paused(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    bench.stack(
        "
services:
  web:
    image: busybox:1
    command: [sh, -c, 'trap \"echo end >/out/end; exit 0\" TERM; while :; do sleep 0.1; done']
    volumes: ['./out:/out']
    userns_mode: host
    stop_grace_period: 10s
",
    );
    host.shell("mkdir -m 777 out").succeeds();
    for command in ["stop", "down", "rm -sf web", "up -d --force-recreate"] {
        host.berth("up -d").succeeds();
        host.berth("pause").succeeds();
        let pid = host.pid_of("web").pid;
        bench.fired(1);
        let done = host.shell(&format!("timeout -s KILL 30 $berth {command}"));
        holds!(done.code == 0, "`{command}` of a paused container: {done}");
        let gone = host.shell(&format!("test -e /proc/{pid}")).code != 0;
        holds!(gone, "after `{command}` its process is there");
        let end = host.shell("cat out/end; rm -f out/end");
        holds!(end.stdout == "end\n", "`{command}` left it no time to end: {done}");
    }
    host.berth("down -t 0").succeeds();
    Ok(())
}

fn forks(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    host.write(
        "storm.sh",
        "trap '' TERM HUP INT
         exec <&- >&- 2>&-
         while :; do (setsid sh /storm.sh &) ; sleep 0.2; test -e /out/few && exec sleep 31337; done
        ",
    );
    bench.stack(
        "
services:
  web:
    image: busybox:1
    pid: host
    userns_mode: host
    pids_limit: 60
    command: [sh, -c, 'sh /storm.sh & exec sleep 31337']
    volumes: ['./storm.sh:/storm.sh']
    stop_grace_period: 0s
",
    );
    let group = "find /sys/fs/cgroup -path '*stack-web-1*' -name cgroup.procs";
    let alive = || host.shell("pgrep -fc '[s]torm.sh|[s]leep 31337'").stdout.trim().to_owned();
    for command in ["stop", "kill", "down"] {
        host.berth("up -d").succeeds();
        host.eventually("it has forked", || alive().parse().is_ok_and(|n: u32| n > 20));
        bench.fired(1);
        let done = host.shell(&format!("timeout -s KILL 30 $berth {command}"));
        holds!(done.code == 0, "`{command}`: {done}");
        host.eventually("the container has ended", || {
            command == "down" || host.status("stack-web-1")["phase"] == "exited"
        });
        holds!(alive() == "0", "after `{command}` {} processes go on", alive());
        let left = host.shell(&format!("cat $({group}) /dev/null")).stdout;
        holds!(left.is_empty(), "after `{command}` these are in the cgroup: {left}");
    }
    Ok(())
}
