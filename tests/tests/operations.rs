//! What is done to containers that run: pause, kill, run, exec, attach, events, stats.

use std::time::{Duration, Instant};

use berth_tests::TestHost;

const STACK: &str = "
services:
  web:
    image: busybox:1
    command: [sh, -c, 'i=0; while true; do i=$$((i+1)); echo $$i >/tmp/ticks; sleep 0.05; done']
    stop_grace_period: 1s
  deaf:
    image: busybox:1
    command: [sh, -c, \"trap '' TERM; while true; do sleep 0.1; done\"]
    stop_grace_period: 1s
";

fn host() -> TestHost {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host
}

/// The state letters of all processes in a container's cgroup (proc_pid_stat(5)).
fn states(host: &TestHost, container: &str) -> Vec<String> {
    let line = format!(
        "for f in /sys/fs/cgroup/*/berth*/{container}/cgroup.procs \
         /sys/fs/cgroup/berth*/{container}/cgroup.procs; do cat $f 2>/dev/null; done | sort -u | \
         while read p; do cut -d')' -f2 /proc/$p/stat | cut -c2; done"
    );
    host.shell(&line).stdout.lines().map(str::to_owned).collect()
}

fn ticks(host: &TestHost) -> String {
    let pid = host.pid_of("web").pid;
    host.shell(&format!("cat /proc/{pid}/root/tmp/ticks")).stdout
}

#[test]
fn a_paused_container_stands_still_after_the_command_has_ended() {
    let host = host();
    host.eventually("it counts", || !ticks(&host).is_empty());
    host.berth("pause web").succeeds();
    let before = ticks(&host);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(ticks(&host), before);
    let rows = host.berth("ps --format json --status paused").succeeds().stdout;
    assert!(rows.contains("\"State\":\"paused\"") && rows.contains("(Paused)"), "{rows}");
    host.berth("ps --status running").succeeds().stdout_lacks("web-1");
    host.berth("exec -T web true").fails_with(125).stderr_has("paused");
    host.berth("pause web").succeeds();

    host.berth("unpause web").succeeds();
    host.eventually("it counts on", || ticks(&host) != before);
    host.berth("ps").succeeds().stdout_lacks("Paused");
    host.berth("unpause web").succeeds();
}

#[test]
fn a_paused_container_stays_so_under_a_new_monitor_and_up_lets_it_run_on() {
    let host = host();
    host.eventually("it counts", || !ticks(&host).is_empty());
    let pid = host.pid_of("web");
    host.berth("pause").succeeds();
    host.kill("KILL", host.monitor_of("web"));
    host.berth("unpause deaf").succeeds();
    let before = ticks(&host);
    host.berth("plan").succeeds().stdout_has("it is paused");
    host.berth("pause web").succeeds();
    assert_eq!(ticks(&host), before);
    host.berth("up -d").succeeds();
    host.eventually("it counts on", || ticks(&host) != before);
    assert_eq!(host.pid_of("web"), pid);
    host.berth("plan").succeeds().stdout_has("nothing to do");
}

#[test]
fn a_paused_container_is_stopped_and_killed_within_its_grace() {
    let host = host();
    for (service, words) in [("web", "stop web"), ("deaf", "stop deaf"), ("web", "kill web")] {
        host.berth("up -d").succeeds();
        host.berth(&format!("pause {service}")).succeeds();
        let begun = Instant::now();
        host.berth(words).succeeds();
        host.eventually("it has ended", || {
            host.status(&format!("stack-{service}-1"))["phase"] == "exited"
        });
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(1 + 2), "`{words}` took {took:?}");
        assert_eq!(states(&host, &format!("stack-{service}-1")), Vec::<String>::new());
    }
    host.berth("up -d").succeeds();
    host.berth("pause").succeeds();
    let begun = Instant::now();
    host.berth("down").succeeds();
    assert!(begun.elapsed() < Duration::from_secs(1 + 2), "{:?}", begun.elapsed());
}
