//! Whatever is killed, the next `up` puts it right, and `down` leaves nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use berth_tests::TestHost;
use berth_tests::command::Running;
use nix::sys::signal::Signal;

const SERVICES: [&str; 4] = ["a", "b", "c", "d"];

/// Four services on a network, one with a volume, one published, one health-gated.
const STACK: &str = "\
services:
  a:
    image: busybox:1
    command: [sleep, '100000']
    volumes: ['data:/data']
    healthcheck: { test: [CMD, 'true'], interval: 1s }
  b:
    image: busybox:1
    command: [httpd, -f, -p, '80', -h, /data]
    ports: ['8080:80']
    restart: always
    depends_on: { a: { condition: service_healthy } }
  c: { image: 'busybox:1', command: [sleep, '100000'] }
  d: { image: 'busybox:1', command: [sleep, '100000'], depends_on: [c] }
volumes:
  data:
";

/// All is as the file has it, with one process for each container and one monitor.
#[track_caller]
fn is_converged(host: &TestHost) {
    host.berth("plan --detailed-exitcode").fails_with(0);
    for service in SERVICES {
        host.pid_of(service);
    }
    assert_eq!(host.get("127.0.0.1:8080/seed"), "from the image\n");
    assert_eq!(host.berth_processes().len(), SERVICES.len(), "{:?}", host.berth_commands());
    let sleepers = host.shell("grep -lx sleep /proc/[0-9]*/comm | wc -l").stdout;
    assert_eq!(sleepers.trim(), "4", "three of the stack and one of the harness");
}

#[test]
fn only_monitors_are_left_after_up() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    let monitors: BTreeSet<i64> = SERVICES.iter().map(|s| host.monitor_of(s)).collect();
    assert_eq!(monitors.len(), SERVICES.len());
    assert_eq!(host.berth_processes().len(), SERVICES.len(), "{:?}", host.berth_commands());
}

#[test]
fn a_killed_monitor_is_replaced_and_its_container_runs_on() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    let before = SERVICES.map(|service| host.pid_of(service));

    host.kill("KILL", host.monitor_of("c"));
    host.berth("up -d").succeeds();

    assert_eq!(before, SERVICES.map(|service| host.pid_of(service)));
    is_converged(&host);
}

#[test]
fn all_monitors_can_be_killed() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    let before = SERVICES.map(|service| host.pid_of(service));

    for service in SERVICES {
        host.kill("KILL", host.monitor_of(service));
    }
    host.berth("up -d").succeeds();

    assert_eq!(before, SERVICES.map(|service| host.pid_of(service)));
    is_converged(&host);
    host.berth("down -v").succeeds();
    host.leaves_nothing_but(&[]);
}

#[test]
fn down_works_after_all_monitors_were_killed() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    for service in SERVICES {
        host.kill("KILL", host.monitor_of(service));
    }
    host.berth("down -v").succeeds();
    host.leaves_nothing_but(&[]);
}

#[test]
fn a_new_monitor_restarts_its_container_as_the_old_one_would() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.kill("KILL", host.monitor_of("b"));
    host.berth("up -d").succeeds();
    let before = host.pid_of("b");
    host.kill("KILL", before.pid);
    host.eventually("it is started again", || {
        let status = host.status("stack-b-1");
        status["phase"] == "running" && status["pid"] != before.pid
    });
    host.eventually("it answers", || host.get("127.0.0.1:8080/seed") == "from the image\n");
}

#[test]
fn everything_of_the_stack_can_be_killed_at_once() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    let all = SERVICES.map(|s| format!("{} {}", host.monitor_of(s), host.pid_of(s).pid)).join(" ");
    host.shell(&format!("kill -KILL {all}")).succeeds();
    host.berth("up -d").succeeds();
    is_converged(&host);
}

#[test]
fn up_killed_at_any_moment_is_finished_by_the_next() {
    let host = TestHost::with("compose.yaml", STACK);
    // A whole `up` takes a few hundred milliseconds: these moments lie all over it.
    for after in [2, 5, 10, 20, 40, 60, 80, 120, 160, 240, 320, 500] {
        let up = host.start_berth("up -d");
        sleep(Duration::from_millis(after));
        if let Some(pid) = up.running() {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
        }
        drop(up.ends());
        host.berth("up -d").succeeds();
        is_converged(&host);
        host.berth("down -v").succeeds();
        host.leaves_nothing_but(&[]);
    }
}

#[test]
fn down_killed_at_any_moment_is_finished_by_the_next() {
    let host = TestHost::with("compose.yaml", STACK);
    for after in [2, 5, 10, 20, 40, 80, 160] {
        host.berth("up -d").succeeds();
        let down = host.start_berth("down -v");
        sleep(Duration::from_millis(after));
        if let Some(pid) = down.running() {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
        }
        drop(down.ends());
        host.berth("down -v").succeeds();
        host.leaves_nothing_but(&[]);
    }
}

#[test]
fn two_ups_at_once_do_not_hurt_each_other() {
    let host = TestHost::with("compose.yaml", STACK);
    let both = [host.start_berth("up -d"), host.start_berth("up -d")].map(|up| up.ends());
    assert!(both.iter().all(|up| up.code == 0 || up.code == 8), "{} {}", both[0], both[1]);
    assert!(both.iter().any(|up| up.code == 0), "{} {}", both[0], both[1]);
    host.berth("up -d").succeeds();
    is_converged(&host);
}

#[test]
fn a_reboot_is_survived() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.berth("exec -T a sh -c 'echo kept >/data/kept'").succeeds();
    // What a reboot takes: every process, `/run`, links, rules and cgroups.
    let all = SERVICES.map(|s| format!("{} {}", host.monitor_of(s), host.pid_of(s).pid)).join(" ");
    host.shell(&format!("kill -KILL {all}; rm -rf /run/berth; nft flush ruleset")).succeeds();
    host.shell(
        "for l in $(ls /sys/class/net | grep -v -e lo -e wire0); do ip link del $l; done; true",
    )
    .succeeds();
    host.eventually("the cgroups are empty and gone", || {
        host.shell("for d in /sys/fs/cgroup/*/berth; do [ ! -d $d ] || find $d -depth -type d -exec rmdir {} +; done").code == 0
    });

    host.berth("up -d").succeeds();
    is_converged(&host);
    host.berth("exec -T a cat /data/kept").succeeds().stdout_is("kept");
}

#[test]
fn rules_that_somebody_flushed_come_back() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.shell("nft flush ruleset").succeeds();
    host.berth("up -d").succeeds();
    // The monitor that stands sentry has a process look as well.
    host.eventually("only monitors are left", || host.berth_processes().len() == SERVICES.len());
    is_converged(&host);
    host.neighbour("curl -sS --fail --max-time 3 http://192.0.2.1:8080/seed").succeeds();
}

/// Two files of one stack. Between them a service is made anew and one follows it, one is changed as it
/// is, services, networks and volumes come and go, and a network gets another label.
const STACKS: [&str; 2] = [
    "\
services:
  db:
    image: busybox:1
    command: [sleep, '100000']
    environment: { WHICH: a }
    volumes: ['data:/data']
    networks: [back]
    healthcheck: { test: [CMD, 'true'], interval: 1s }
  web:
    image: busybox:1
    command: [httpd, -f, -p, '80', -h, /data]
    ports: ['8080:80']
    networks: [front, back]
    depends_on: { db: { condition: service_healthy, restart: true } }
  live: { image: 'busybox:1', command: [sleep, '100000'], mem_limit: 32m, networks: [front] }
  idle: { image: 'busybox:1', command: [sleep, '100000'], networks: [front] }
  old: { image: 'busybox:1', command: [sleep, '100000'], networks: [aside] }
networks: { front: { labels: { v: a } }, back: {}, aside: {} }
volumes: { data: {} }
",
    "\
services:
  db:
    image: busybox:1
    command: [sleep, '100000']
    environment: { WHICH: b }
    volumes: ['data:/data']
    networks: [back]
    healthcheck: { test: [CMD, 'true'], interval: 1s }
  web:
    image: busybox:1
    command: [httpd, -f, -p, '80', -h, /data]
    ports: ['8080:80']
    networks: [front, back]
    depends_on: { db: { condition: service_healthy, restart: true } }
  live: { image: 'busybox:1', command: [sleep, '100000'], mem_limit: 64m, networks: [front] }
  idle: { image: 'busybox:1', command: [sleep, '100000'], networks: [front] }
  new: { image: 'busybox:1', command: [sleep, '100000'], networks: [other], volumes: ['more:/more'] }
networks: { front: { labels: { v: b } }, back: {}, other: {} }
volumes: { data: {}, more: {} }
",
];

/// What is killed at in the sweeps below.
const MAKING: [&str; 5] =
    ["create_network", "create_volume", "create_container", "start_container", "await_container"];
const CHANGING: [&str; 14] = [
    "adopt_container",
    "await_container",
    "create_container",
    "create_network",
    "hold_container",
    "release_container",
    "remove_container",
    "remove_leftover",
    "remove_network",
    "repair_network",
    "start_container",
    "stop_container",
    "unpause_container",
    "update_container",
];
const TAKING_DOWN: [&str; 4] =
    ["stop_container", "remove_container", "remove_network", "remove_volume"];
/// What neither `up` nor `down` does, and where a kill in a pull and in a handover is tried.
const ELSEWHERE: [&str; 13] = [
    "pull_image",       // killed.rs
    "launch_container", // rolling.rs, as those that follow it
    "prove_container",
    "promote_container",
    "watch_container",
    "admit_container",
    "conclude_rollout",
    "drain_container",
    "signal_container",
    "pause_container",
    "untag_image",
    "remove_image",
    "sweep_store",
];

fn journal(host: &TestHost) -> PathBuf {
    host.machine().path("/var/lib/berth/projects/stack/journal.ndjson")
}

/// Kills a run when its journal has so many records, every other time a moment later: in the middle
/// of a step. Gives the kinds of steps that it had begun; `None` when it was over before.
fn killed_at(run: Running, journal: &Path, records: usize) -> Option<BTreeSet<String>> {
    let end = Instant::now() + Duration::from_secs(30);
    let read = || fs::read_to_string(journal).unwrap_or_default();
    // Until then it is not yet the run.
    let _ = run.pid();
    while read().lines().count() < records && run.running().is_some() {
        assert!(Instant::now() < end, "the run does not end");
        sleep(Duration::from_micros(200));
    }
    if records.is_multiple_of(2) {
        sleep(Duration::from_millis(3));
    }
    let kill = |pid| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
    let killed = run.running().is_some_and(|pid| kill(pid).is_ok());
    let ended = run.ends();
    if !killed || ended.code == 0 {
        ended.succeeds();
        return None;
    }
    let steps = read();
    let begun = steps.lines().filter_map(|line| {
        let record: serde_json::Value = serde_json::from_str(line).ok()?;
        let step = record["step"].as_str()?.to_owned();
        Some(step.split(' ').next()?.to_owned())
    });
    Some(begun.collect())
}

/// Kills `words` at each record of its journal, from the state that `before` makes; `after` looks at
/// what becomes of it.
fn sweep(
    host: &TestHost,
    words: &str,
    before: impl Fn(usize),
    after: impl Fn(usize),
) -> BTreeSet<String> {
    const MOST: usize = 150;
    let journal = journal(host);
    let mut kinds = BTreeSet::new();
    for records in 1..MOST {
        before(records);
        let _ = fs::remove_file(&journal);
        let Some(begun) = killed_at(host.start_berth(words), &journal, records) else {
            assert!(records > 10, "only {records} records");
            return kinds;
        };
        kinds.extend(begun);
        after(records);
    }
    panic!("more than {MOST} records");
}

#[track_caller]
fn covers(kinds: &BTreeSet<String>, wanted: &[&str]) {
    let missing: Vec<_> = wanted.iter().filter(|kind| !kinds.contains(**kind)).collect();
    assert!(missing.is_empty(), "never killed at {missing:?}, only at {kinds:?}");
}

#[test]
fn up_killed_at_each_record_of_its_journal_is_finished_by_the_next() {
    let host = TestHost::with("compose.yaml", STACKS[0]);
    let kinds = sweep(
        &host,
        "up -d",
        |_| {},
        |_| {
            host.berth("up -d").succeeds();
            host.berth("plan --detailed-exitcode").fails_with(0);
            host.berth("down -v").succeeds();
            host.leaves_nothing_but(&[]);
        },
    );
    covers(&kinds, &MAKING);
}

#[test]
fn a_change_killed_at_each_record_of_its_journal_is_finished_by_the_next() {
    let host = TestHost::with("compose.yaml", STACKS[0]);
    host.berth("up -d").succeeds();
    let kinds = sweep(
        &host,
        "up -d --remove-orphans",
        |records| {
            // What else the next run has to put right.
            host.kill("KILL", host.monitor_of("live"));
            host.berth("pause idle").succeeds();
            host.shell("mkdir -p /var/lib/berth/trash/stray").succeeds();
            host.write("compose.yaml", STACKS[records % 2]);
        },
        |_| {
            host.berth("up -d --remove-orphans").succeeds();
            host.berth("plan --detailed-exitcode").fails_with(0);
            assert_eq!(host.shell("ls /var/lib/berth/trash").stdout, "");
        },
    );
    covers(&kinds, &CHANGING);
    host.berth("-p stack down -v --remove-orphans").succeeds();
    host.leaves_nothing_but(&[]);
}

#[test]
fn down_killed_at_each_record_of_its_journal_is_finished_by_the_next() {
    let host = TestHost::with("compose.yaml", STACKS[0]);
    let kinds = sweep(
        &host,
        "down -v",
        |_| drop(host.berth("up -d").succeeds()),
        |_| {
            host.berth("down -v").succeeds();
            host.leaves_nothing_but(&[]);
        },
    );
    covers(&kinds, &TAKING_DOWN);
}

#[test]
fn every_kind_of_step_is_killed_somewhere() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../planner/src/action.rs");
    let text = fs::read_to_string(source).unwrap();
    let verb = text.split("pub fn verb").nth(1).unwrap().split("pub fn").next().unwrap();
    let kinds: BTreeSet<&str> = verb.split('"').skip(1).step_by(2).collect();
    let tried = MAKING.iter().chain(&CHANGING).chain(&TAKING_DOWN).chain(&ELSEWHERE);
    assert_eq!(kinds, tried.copied().collect());
}

#[test]
fn of_two_ups_and_a_down_at_once_the_last_one_counts() {
    const ROUNDS: usize = 100;
    let file = |which: &str| {
        format!(
            "name: stack\nservices:\n  \
             a: {{ image: 'busybox:1', command: [sleep, '100000'], environment: {{ W: {which} }} }}\n  \
             b: {{ image: 'busybox:1', command: [sleep, '100000'] }}\n"
        )
    };
    let host = TestHost::with("one.yaml", &file("one"));
    host.write("two.yaml", &file("two"));
    let lock = host.machine().path("/var/lib/berth/projects/stack/lock");
    let mut runs = ["-f one.yaml up -d", "-f two.yaml up -d", "-f one.yaml down"];
    let began = Instant::now();
    let mut last = BTreeSet::new();
    for round in 0..ROUNDS {
        // A slow machine has fewer of them.
        if began.elapsed() > Duration::from_secs(50) {
            eprintln!("{round} rounds");
            break;
        }
        runs.rotate_left(1);
        let ended = runs.map(|words| host.start_berth(words)).map(|run| run.ends());
        // Who waited longer than ten seconds for the others says so.
        ended.iter().for_each(|run| assert!(matches!(run.code, 0 | 8), "round {round}: {run}"));
        let holder: serde_json::Value = serde_json::from_slice(&fs::read(&lock).unwrap()).unwrap();
        let holder = holder["command"].as_str().unwrap();
        let words = runs.iter().find(|words| holder.ends_with(**words)).expect("a run of ours");
        last.insert(*words);
        match words.strip_suffix(" up -d") {
            Some(file) => {
                let left = host.berth(&format!("{file} plan --detailed-exitcode"));
                assert_eq!(left.code, 0, "round {round}, last was `{words}`: {left}");
            }
            None => drop(host.berth("-p stack ps -a -q").succeeds().stdout_is("")),
        }
        let text = fs::read_to_string(journal(&host)).unwrap();
        let is = |line: &str, record: &str| line.contains(&format!("\"record\":\"{record}\""));
        let (first, end) = (text.lines().next().unwrap(), text.lines().last().unwrap());
        assert!(is(first, "begin") && is(end, "end"), "round {round}: {text}");
        let begins = text.lines().filter(|line| is(line, "begin")).count();
        assert_eq!(begins, 1, "round {round}, two at a time: {text}");
    }
    eprintln!("the last were {last:?}");
    host.berth("-p stack down").succeeds();
    host.leaves_nothing_but(&[]);
}
