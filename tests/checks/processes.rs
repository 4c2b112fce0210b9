//! Numbers of processes, and who has them by now.

use berth_tests::TestHost;

use crate::bench::{Bench, Check, Outcome, holds};

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "R45",
        what: "the number of a dead container is another process's",
        without: "pid.start_time",
        places: &[],
        run: reused,
    },
    Check {
        id: "R45b",
        what: "the same right before a signal is sent",
        without: "signal.pidfd",
        places: &["signal.before"],
        run: reused_meanwhile,
    },
    Check {
        id: "R44",
        what: "a container restarts while `exec` joins it",
        without: "exec.one_handle",
        places: &["exec.opened_pidfd"],
        run: restarted,
    },
];

const STACK: &str = "
services:
  web: { image: 'busybox:1', command: [sleep, '100000'], stop_grace_period: 1s }
";

/// Ends the process and gives its number to a bystander of ours.
fn give_number(host: &TestHost, pid: i64) {
    let line = format!(
        "kill -KILL {pid}; while test -e /proc/{pid}; do sleep 0.01; done
         for n in $(seq 200); do
             echo $(({pid} - 1)) >/proc/sys/kernel/ns_last_pid
             setsid sleep 31337 >/dev/null 2>&1 </dev/null &
             test $! = {pid} && exit
             kill -KILL $!; wait $! 2>/dev/null
         done; exit 1"
    );
    host.shell(&line).succeeds();
}

fn lives(host: &TestHost, pid: i64) -> bool {
    let words = host.shell(&format!("tr '\\0' ' ' </proc/{pid}/cmdline")).stdout;
    words.contains("31337")
}

fn reused(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    bench.stack(STACK);
    let commands = [
        "exec -T web true",
        "top web",
        "ps -a",
        "logs web",
        "kill -s TERM web",
        "kill web",
        "stop -t 1 web",
        "rm -f web",
        "restart -t 1 web",
        "up -d",
        "down -t 1",
    ];
    for command in commands {
        host.berth("up -d").succeeds();
        let (pid, monitor) = (host.pid_of("web").pid, host.monitor_of("web"));
        host.kill("KILL", monitor);
        give_number(host, pid);
        bench.fired(1);
        let done = host.berth(command);
        holds!(lives(host, pid), "`{command}` has ended a bystander: {done}");
        if command.starts_with("exec") {
            holds!(done.code != 0, "exec ran in a bystander");
        }
        if command.starts_with("top") {
            holds!(!done.stdout.contains("31337"), "top shows a bystander: {done}");
        }
        host.kill("KILL", pid);
    }
    Ok(())
}

fn reused_meanwhile(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    bench.stack(STACK);
    host.berth("up -d").succeeds();
    // A monitor that adopts is not the parent, so nothing keeps the number.
    host.kill("KILL", host.monitor_of("web"));
    host.berth("up -d").succeeds();
    let pid = host.pid_of("web").pid;
    bench.at("signal.before", || host.start_berth("kill -s TERM web"), || give_number(host, pid));
    host.eventually("the signal was sent", || {
        bench.is_plain() || bench.reached("signal.before") > 0
    });
    std::thread::sleep(std::time::Duration::from_millis(200));
    holds!(lives(host, pid), "the signal was sent to a bystander");
    host.kill("KILL", pid);
    Ok(())
}

/// The namespaces of a process, one a line, as it is told of itself or of another.
const NAMESPACES: &str = "for n in cgroup ipc mnt net pid uts; do readlink /proc/PID/ns/$n; done";

fn restarted(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    // With the host's user namespace: there, nothing but the join itself keeps them apart.
    bench.stack(
        "services: { web: { image: 'busybox:1', command: [sleep, '100000'], userns_mode: host, \
         networks: [one], stop_grace_period: 0s } }\nnetworks: { one: {} }",
    );
    host.berth("up -d").succeeds();
    let of = |pid: i64| host.shell(&NAMESPACES.replace("PID", &pid.to_string())).succeeds().stdout;
    let exec = format!("exec -T web sh -c '{}'", NAMESPACES.replace("PID", "self"));
    let times = if bench.is_plain() { 20 } else { 1 };
    for _ in 0..times {
        let before = host.pid_of("web").pid;
        let old = of(before);
        let joined = bench.at(
            "exec.opened_pidfd",
            || host.start_berth(&exec),
            || drop(host.berth("restart -t 0 web").succeeds()),
        );
        let now = host.pid_of("web").pid;
        assert_ne!(now, before, "it has restarted");
        bench.fired(1);
        let new = of(now);
        let whole = joined.code == 0 && [&old, &new].contains(&&joined.stdout);
        let failed = joined.code != 0 && joined.stdout.is_empty();
        // Forced, it had the one that is gone.
        assert!(bench.is_plain() || !whole || joined.stdout == new, "{joined}");
        holds!(
            whole || failed || old.starts_with(&joined.stdout),
            "exec is in {} while the container was in {old} and is in {new}",
            joined.stdout
        );
    }
    Ok(())
}
