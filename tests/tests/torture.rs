//! Containers that misbehave: the host and the neighbours stay well, limits hold, `stop` and `down`
//! work, it is told what happened, and nothing is left (which every test's end checks).

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::time::{Duration, Instant};

use berth_tests::TestHost;

/// A well-behaved service beside the one under test.
const NEIGHBOUR: &str = "
  good:
    image: busybox:1
    command: [sh, -c, 'mkdir /www; echo well >/www/index.html; exec httpd -f -p 80 -h /www']
    ports: ['127.0.0.1:8080:80']
";

/// The neighbour and a service `bad` with these attributes.
fn with_bad(attributes: &str) -> TestHost {
    let text = format!("services:{NEIGHBOUR}  bad:\n    image: busybox:1\n{attributes}");
    let host = TestHost::with("compose.yaml", &text);
    host.berth("up -d").succeeds();
    host.eventually("the neighbour is there", || is_well(&host));
    host
}

fn is_well(host: &TestHost) -> bool {
    host.get("127.0.0.1:8080/").trim() == "well"
}

/// A value of the cgroup of `bad`.
fn cgroup(host: &TestHost, file: &str) -> String {
    let path = host.machine().cgroup_with("berth/stack-bad-1", file);
    path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default()
}

fn status(host: &TestHost) -> serde_json::Value {
    host.status("stack-bad-1")
}

/// What happened to `bad`, by the names of the events.
fn events(host: &TestHost) -> Vec<String> {
    let lines = host.shell("cat /run/berth/events/stack").stdout;
    let events = lines.lines().filter_map(|line| serde_json::from_str(line).ok());
    let events = events.filter(|event: &serde_json::Value| event["service"] == "bad");
    events.map(|event| event["event"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Processes of the machine in this state (`Z`, `S`, …) whose name is `name`.
fn count(host: &TestHost, state: &str, name: &str) -> usize {
    let list = "cat /proc/[0-9]*/stat 2>/dev/null";
    let wanted = format!("({name}) {state}");
    host.shell(list).stdout.lines().filter(|line| line.contains(&wanted)).count()
}

/// X03.
#[test]
fn a_fork_bomb_stays_in_its_limit_and_the_neighbour_answers() {
    let host = with_bad(
        "    command: [sleep, '100000']\n    init: true\n    pids_limit: 60\n    cpus: 0.5\n",
    );
    host.berth("exec -dT bad sh -c 'b() { b & b & wait; b; }; b'").succeeds();
    let refused = || cgroup(&host, "pids.events").replace("max ", "").trim().parse::<u64>();
    host.eventually("forks are refused", || refused().is_ok_and(|n| n > 0));
    for _ in 0..10 {
        assert!(is_well(&host));
        let now: u32 = cgroup(&host, "pids.current").trim().parse().unwrap();
        assert!(now <= 60, "{now} processes");
    }
    host.berth("ps").succeeds().stdout_has("bad");
    host.berth("stop -t 0 bad").succeeds();
    assert_eq!(status(&host)["exit_code"], 137);
    assert!(is_well(&host));
    assert_eq!(cgroup(&host, "cgroup.procs"), "");
}

/// X04.
#[test]
fn a_memory_hog_is_killed_alone_and_it_is_told_why() {
    let host = with_bad(
        "    command: [sh, -c, 'x=0123456789; while :; do x=$$x$$x; done']\n    mem_limit: 32m\n",
    );
    host.eventually("it is killed", || status(&host)["phase"] == "exited");
    assert_eq!(
        (&status(&host)["exit_code"], &status(&host)["oom_killed"]),
        (&137.into(), &true.into())
    );
    let events = events(&host);
    assert!(events.contains(&"oom".to_owned()) && events.contains(&"die".to_owned()), "{events:?}");
    host.berth("ps -a").succeeds().stdout_has("137");
    assert!(is_well(&host));
}

#[test]
fn a_flood_of_output_fills_no_disk_and_no_memory() {
    let line = "yes 012345678901234567890123456789012345678901234567890123456789 | head -c 300000000; echo; echo the end";
    let host = with_bad(&format!("    command: [sh, -c, '{line}']\n"));
    let logs =
        "du -cb /var/lib/berth/containers/stack-bad-1/logs/* 2>/dev/null | tail -1 | cut -f1";
    let (mut most, end) = (0, Instant::now() + Duration::from_secs(100));
    while status(&host)["phase"] != "exited" {
        assert!(Instant::now() < end, "it does not end");
        assert!(is_well(&host));
        most = most.max(host.shell(logs).stdout.trim().parse().unwrap_or(0));
        let peak = format!("grep VmHWM /proc/{}/status", host.monitor_of("bad"));
        let peak = host.shell(&peak).stdout;
        let kib: u64 = peak.split_whitespace().nth(1).map_or(0, |kib| kib.parse().unwrap());
        assert!(kib < 40_000, "the monitor took {kib} KiB");
    }
    assert!(most <= 31 << 20, "{most} bytes of logs");
    host.berth("logs --no-log-prefix --tail 1 bad").succeeds().stdout_is("the end");
    let kept = host.berth("logs --no-log-prefix bad").succeeds().stdout;
    let whole = |line: &&str| line.len() == 60 || *line == "the end";
    let odd: Vec<&str> = kept.lines().filter(|line| !whole(line)).collect();
    // The last one is cut by `head`.
    assert!(odd.len() <= 1, "{} lines are not whole: {:?}", odd.len(), &odd[..odd.len().min(3)]);
}

#[test]
fn what_ignores_its_signal_is_killed_in_time() {
    let host = with_bad(
        "    command: [sh, -c, 'trap \"\" TERM INT HUP; echo ready; while :; do sleep 1; done']\n    stop_grace_period: 1s\n",
    );
    host.eventually("it ignores it", || host.berth("logs bad").stdout.contains("ready"));
    let begun = Instant::now();
    host.berth("down").succeeds();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(status(&host), serde_json::Value::Null);
}

#[test]
fn an_init_reaps_orphans_and_without_one_they_go_with_the_container() {
    let line = "for i in $$(seq 40); do (sleep 0.7 &); done; echo made; exec sleep 100000";
    for (init, expected) in [(true, 0), (false, 40)] {
        let host = with_bad(&format!("    command: [sh, -c, '{line}']\n    init: {init}\n"));
        host.eventually("they are made", || host.berth("logs bad").stdout.contains("made"));
        host.eventually("all have ended", || count(&host, "S", "sleep") <= 3);
        host.eventually("zombies are as expected", || count(&host, "Z", "sleep") == expected);
        assert!(is_well(&host));
        host.berth("down -t 1").succeeds();
        assert_eq!(count(&host, "Z", "sleep"), 0);
    }
}

/// R53.
#[test]
fn a_tree_that_hides_and_ignores_signals_is_gone_with_its_container() {
    let inner = "trap : TERM HUP; trap \"\" INT; while :; do sleep 4243 & wait; done";
    let host = with_bad(&format!(
        "    init: true
    stop_grace_period: 500ms
    environment: {{ INNER: '{inner}' }}
    command:
      - sh
      - -c
      - |
        trap '' TERM
        for i in 1 2 3 4 5; do
          (setsid sh -c \"$$INNER\" </dev/null >/dev/null 2>&1 &)
        done
        echo ready
        while :; do sleep 4243; done
"
    ));
    host.eventually("the tree stands", || {
        host.berth("logs bad").stdout.contains("ready") && count(&host, "S", "sleep") >= 6
    });
    host.berth("stop bad").succeeds();
    assert_eq!(status(&host)["exit_code"], 137);
    // Not this shell and its `grep`.
    let find = "grep -l '[4]243' /proc/[0-9]*/cmdline 2>/dev/null";
    host.shell(find).stdout_is("");
    assert_eq!(cgroup(&host, "cgroup.procs"), "");
    assert!(is_well(&host));
}

/// X07.
#[test]
fn a_service_that_dies_at_once_is_started_less_and_less_often() {
    let host = with_bad("    command: ['true']\n    restart: always\n");
    host.eventually("it was started again", || status(&host)["restarts"].as_u64() >= Some(3));
    std::thread::sleep(Duration::from_secs(3));
    let restarts = status(&host)["restarts"].as_u64().unwrap();
    assert!((3..=9).contains(&restarts), "{restarts} restarts");
    let ticks = format!("cut -d' ' -f14,15 /proc/{}/stat", host.monitor_of("bad"));
    let ticks = host.shell(&ticks).succeeds().stdout;
    let ticks: u64 = ticks.split_whitespace().map(|n| n.parse::<u64>().unwrap()).sum();
    assert!(ticks < 100, "{ticks} hundredths of a second of CPU");
    assert!(is_well(&host));
    assert!(events(&host).iter().filter(|event| *event == "die").count() >= 3);
    host.berth("stop bad").succeeds();
    assert_eq!(status(&host)["phase"], "exited");
}
