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
