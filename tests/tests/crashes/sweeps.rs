//! `up` and `down` are killed at every record of their journal.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use berth_tests::TestHost;
use berth_tests::command::Running;
use nix::sys::signal::Signal;

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

pub(super) fn journal(host: &TestHost) -> PathBuf {
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
