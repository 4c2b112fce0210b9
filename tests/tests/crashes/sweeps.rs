//! `up` and `down` are killed at every record of their journal.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread::{sleep, yield_now};
use std::time::{Duration, Instant};

use berth_tests::command::{Finished, Running};
use berth_tests::registry::{self, OPEN, Registry};
use berth_tests::{TestHost, images};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::rollouts::{ROLLOUT, STARTS_FIRST, SUCCEEDS};

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
const OPERATING: [&str; 2] = ["pause_container", "signal_container"];
const PULLING: [&str; 1] = ["pull_image"];
/// What a prune of images does, killed at any moment in `tidying.rs`.
const ELSEWHERE: [&str; 3] = ["untag_image", "remove_image", "sweep_store"];

pub(super) fn journal(host: &TestHost) -> PathBuf {
    host.machine().path("/var/lib/berth/projects/stack/journal.ndjson")
}

/// Kills a run when its journal has so many records, every other time a moment later: in the middle
/// of a step. Gives the kinds of steps it was at, or how it ended when it was over before.
fn killed_at(run: Running, journal: &Path, records: usize) -> Result<BTreeSet<String>, Finished> {
    let end = Instant::now() + Duration::from_secs(30);
    // Until then it is not yet the run.
    let pid = Pid::from_raw(run.pid()).unwrap();
    let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let (mut file, mut text) = (None, Vec::new());
    // Some steps take no time: nobody sleeps here, and nothing is read twice.
    while text.iter().filter(|byte| **byte == b'\n').count() < records {
        let begun = text.len();
        if file.is_none() {
            file = File::open(journal).ok();
        }
        file.iter_mut().for_each(|file| drop(file.read_to_end(&mut text)));
        if text.len() == begun {
            if run.running().is_none() {
                break;
            }
            assert!(Instant::now() < end, "the run does not end");
            yield_now();
        }
    }
    if records.is_multiple_of(2) {
        sleep(Duration::from_millis(3));
    }
    // It may have ended by now.
    let _ = pidfd_send_signal(&process, Signal::KILL);
    let ended = run.ends();
    if ended.code != 128 + Signal::KILL.as_raw() {
        return Err(ended);
    }
    Ok(was_at(&fs::read_to_string(journal).unwrap_or_default(), records))
}

/// The kinds of steps that are open at the end of a journal, and that of the record it was killed at:
/// what is done in no time is over by then.
fn was_at(journal: &str, records: usize) -> BTreeSet<String> {
    let (mut open, mut aimed) = (BTreeSet::new(), None);
    for (number, line) in (1..).zip(journal.lines()) {
        // The last one may be cut off.
        let Ok(record) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let Some(step) = record["step"].as_str() else { continue };
        match record["record"].as_str() {
            Some("start") => drop(open.insert(step.to_owned())),
            _ => drop(open.remove(step)),
        }
        aimed = (number == records).then(|| step.to_owned()).or(aimed);
    }
    let kind = |step: String| step.split(' ').next().unwrap_or_default().to_owned();
    open.into_iter().chain(aimed).map(kind).collect()
}

/// What is killed in a sweep.
pub(super) struct Swept<'a> {
    pub(super) host: &'a TestHost,
    pub(super) words: &'a str,
    /// The exit code of one that is not killed.
    pub(super) ends_with: i32,
    /// How many records it has at least.
    pub(super) least: usize,
}

/// Kills a run at each record of its journal, from the state that `before` makes; `after` looks at
/// what becomes of it. Gives the kinds of steps it was killed at.
pub(super) fn sweep(
    swept: &Swept<'_>,
    before: impl Fn(usize),
    after: impl Fn(usize),
) -> BTreeSet<String> {
    const MOST: usize = 150;
    let Swept { host, words, ends_with, least } = swept;
    let journal = journal(host);
    let mut kinds = BTreeSet::new();
    for records in 1..MOST {
        before(records);
        let _ = fs::remove_file(&journal);
        match killed_at(host.start_berth(words), &journal, records) {
            Ok(at) => kinds.extend(at),
            // It was over before it was killed, or before there were so many.
            Err(whole) => {
                whole.fails_with(*ends_with);
                let all = fs::read_to_string(&journal).unwrap_or_default().lines().count();
                if all < records {
                    assert!(all >= *least, "only {all} records");
                    return kinds;
                }
            }
        }
        after(records);
    }
    panic!("more than {MOST} records");
}

#[track_caller]
pub(super) fn covers(kinds: &BTreeSet<String>, wanted: &[&str]) {
    let missing: Vec<_> = wanted.iter().filter(|kind| !kinds.contains(**kind)).collect();
    assert!(missing.is_empty(), "never killed at {missing:?}, only at {kinds:?}");
}

#[test]
fn up_killed_at_each_record_of_its_journal_is_finished_by_the_next() {
    let host = TestHost::with("compose.yaml", STACKS[0]);
    let swept = Swept { host: &host, words: "up -d", ends_with: 0, least: 10 };
    let kinds = sweep(
        &swept,
        |_| {},
        |_| {
            host.berth("up -d").succeeds();
            host.berth("plan --detailed-exitcode").fails_with(0);
            host.berth("down -v -y").succeeds();
            host.leaves_nothing_but(&[]);
        },
    );
    covers(&kinds, &MAKING);
}

#[test]
fn a_change_killed_at_each_record_of_its_journal_is_finished_by_the_next() {
    let host = TestHost::with("compose.yaml", STACKS[0]);
    host.berth("up -d").succeeds();
    let swept = Swept { host: &host, words: "up -d --remove-orphans", ends_with: 0, least: 10 };
    let kinds = sweep(
        &swept,
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
    host.berth("-p stack down -v -y --remove-orphans").succeeds();
    host.leaves_nothing_but(&[]);
}

/// A service that says what it has read when it starts, and what another content does.
fn reader(on_change: &str) -> String {
    format!(
        "services:
  web:
    image: busybox:1
    command: [sh, -c, 'cat /settings /bound; exec sleep 100000']
    configs: [{{ source: settings, target: /settings }}]
    volumes: ['./bound.conf:/bound:ro']
    x-berth: {{ on_change: {on_change} }}
configs: {{ settings: {{ file: settings.conf }} }}
"
    )
}

#[test]
fn who_is_to_start_again_with_a_content_does_so_wherever_the_run_was_killed() {
    let host = TestHost::with("compose.yaml", &reader("none"));
    let contents = |text: &str| {
        host.write("settings.conf", &format!("settings {text}\n"));
        host.write("bound.conf", &format!("bound {text}\n"));
    };
    let said = || host.berth("logs --no-log-prefix -n 2 web").succeeds().stdout;
    let says = |text: &str| {
        let text = format!("settings {text}\nbound {text}\n");
        host.eventually(&text, || said() == text);
    };
    for from in ["none", "replace"] {
        let swept = Swept { host: &host, words: "up -d", ends_with: 0, least: 4 };
        let before = |records: usize| {
            contents("old");
            host.write("compose.yaml", &reader(from));
            host.berth("up -d --force-recreate").succeeds();
            says("old");
            contents(&format!("{from} {records}"));
            host.write("compose.yaml", &reader("restart"));
        };
        let kinds = sweep(&swept, before, |records| {
            host.berth("up -d").succeeds();
            says(&format!("{from} {records}"));
            host.berth("plan --detailed-exitcode").fails_with(0);
        });
        covers(&kinds, &["stop_container", "start_container"]);
    }
}

#[test]
fn down_killed_at_each_record_of_its_journal_is_finished_by_the_next() {
    let host = TestHost::with("compose.yaml", STACKS[0]);
    let swept = Swept { host: &host, words: "down -v -y", ends_with: 0, least: 10 };
    let kinds = sweep(
        &swept,
        |_| drop(host.berth("up -d").succeeds()),
        |_| {
            host.berth("down -v -y").succeeds();
            host.leaves_nothing_but(&[]);
        },
    );
    covers(&kinds, &TAKING_DOWN);
}

#[test]
fn what_is_done_to_running_containers_is_killed_at_each_record_and_undone_by_up() {
    let host = TestHost::with("compose.yaml", STACKS[0]);
    host.berth("up -d").succeeds();
    let services = ["db", "web", "live", "idle", "old"];
    let before = services.map(|service| host.pid_of(service));
    let mut kinds = BTreeSet::new();
    for words in ["pause", "kill -s CONT"] {
        let swept = Swept { host: &host, words, ends_with: 0, least: services.len() * 2 };
        let after = |_| {
            host.berth("up -d").succeeds();
            host.berth("plan --detailed-exitcode").fails_with(0);
            assert_eq!(services.map(|service| host.pid_of(service)), before);
        };
        let unpaused = |_| drop(host.berth("up -d").succeeds());
        kinds.extend(sweep(&swept, unpaused, after));
    }
    covers(&kinds, &OPERATING);
}

/// A registry with an image, and a stack of it.
fn with_registry(test: impl FnOnce(&TestHost)) {
    if !registry::is_here() {
        return;
    }
    let host = TestHost::bare();
    let registry = Registry::start(&host, OPEN);
    let image = "127.0.0.1:5000/team/app:1";
    let line = format!(
        "tar -xOf {} layer.tar | $berth --root maker image import -c 'ENV PATH=/bin' - {image} \
         && $berth --root maker image push -q {image}",
        images::busybox().display()
    );
    host.shell(&line).succeeds();
    let service = format!("{{ image: '{image}', command: [sleep, '100000'] }}");
    host.write("compose.yaml", &format!("services: {{ a: {service}, b: {service} }}\n"));
    test(&host);
    registry.end();
}

#[test]
fn up_is_killed_at_each_record_also_while_it_pulls_and_finished_by_the_next() {
    with_registry(|host| {
        let without = |_| {
            host.berth("image rm -f 127.0.0.1:5000/team/app:1");
        };
        let up = Swept { host, words: "up -d", ends_with: 0, least: 8 };
        let kinds = sweep(&up, without, |_| {
            host.berth("up -d").succeeds();
            host.berth("plan --detailed-exitcode").fails_with(0);
            host.berth("doctor --check-store").succeeds();
            host.berth("down").succeeds();
            host.leaves_nothing_but(&["docker-registry", "0100007F:1388"]);
        });
        covers(&kinds, &PULLING);
    });
}

#[test]
fn every_kind_of_step_is_killed_somewhere() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../planner/src/action.rs");
    let text = fs::read_to_string(source).unwrap();
    let verb = text.split("pub fn verb").nth(1).unwrap().split("pub fn").next().unwrap();
    let kinds: BTreeSet<&str> = verb.split('"').skip(1).step_by(2).collect();
    let tried: [&[&str]; 8] = [
        &MAKING,
        &CHANGING,
        &TAKING_DOWN,
        &ROLLOUT,
        &STARTS_FIRST,
        &SUCCEEDS,
        &OPERATING,
        &PULLING,
    ];
    let tried = tried.into_iter().flatten().chain(&ELSEWHERE);
    assert_eq!(kinds, tried.copied().collect());
}
