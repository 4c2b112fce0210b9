//! What took how long in the last run, and why: also of one that failed or was killed.

#![allow(clippy::unwrap_used)]

use berth_tests::{Finished, TestHost};
use nix::sys::signal::Signal;
use serde_json::Value;

const STACK: &str = "
services:
  db:
    image: busybox:1
    command: [sh, -c, 'sleep 1; touch /ready; exec sleep 100000']
    healthcheck: { test: 'test -e /ready', interval: 100ms, retries: 1000 }
  cache: { image: 'busybox:1', command: [sleep, '100000'] }
  web:
    image: busybox:1
    command: [sleep, '100000']
    depends_on: { db: { condition: service_healthy }, cache: { condition: service_started } }
";

fn steps(told: &Value) -> Vec<&str> {
    told["steps"].as_array().unwrap().iter().filter_map(|step| step["step"].as_str()).collect()
}

/// The lines of the text form that name a step, without their times.
fn chain(told: &Finished) -> Vec<String> {
    let lines = told.stdout.lines().skip(2).map(|line| line.trim_start_matches([' ', '└', '─']));
    lines.map(|line| line.split(" @").next().unwrap_or(line).trim_end().to_owned()).collect()
}

#[test]
fn the_gate_that_made_up_slow_is_named_with_who_waited_for_it() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    let told = host.berth("analyze critical-chain").succeeds().stdout_has("`web` waits for it");
    let way = ["start web-1", "await db-1 (healthy)", "start db-1", "create db-1"];
    assert_eq!(chain(&told)[..4], way, "{told}");
    assert_eq!(chain(&told).last().map(String::as_str), Some("read, look and plan"), "{told}");
    assert!(told.stdout.contains("up -d (20"), "{told}");

    let blame = host.berth("analyze blame").succeeds();
    let first = blame.stdout.lines().nth(1).unwrap();
    assert!(first.contains("s  await db-1 (healthy)  `web` waits for it"), "{blame}");
    assert!(blame.stdout.contains("start cache-1"), "{blame}");

    let json = host.berth("analyze critical-chain --json db").succeeds().json();
    assert_eq!(steps(&json)[..3], way[1..]);
    let run = (&json["format"], &json["run"]["end"], &json["service"], &json["stack"]);
    assert_eq!(run, (&"berth.analyze/1".into(), &"done".into(), &"db".into(), &"stack".into()));
    assert_eq!(json["run"]["steps"]["not_tried"], 0);
    let gate = &json["steps"][0];
    assert!(gate["took"].as_f64().unwrap() >= 0.9 && gate["gate"] == true, "{json}");
    let ends: Vec<f64> =
        json["steps"].as_array().unwrap().iter().map(|s| s["ended"].as_f64().unwrap()).collect();
    assert!(ends.is_sorted_by(|later, earlier| later >= earlier), "{ends:?}");

    host.berth("analyze critical-chain dbb").fails_with(1).stderr_has("did you mean `db`?");
    host.berth("up -d cache").succeeds();
    host.berth("analyze blame").succeeds().stdout_has("await db-1");
    host.berth("restart cache").succeeds();
    host.berth("analyze blame").succeeds().stdout_has("restart cache (20").stdout_lacks("db-1");
    host.berth("analyze critical-chain db").fails_with(1).stderr_has("nothing was done");
}

#[test]
fn a_run_that_failed_shows_what_kept_a_service_from_being_started() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  migrate: { image: 'busybox:1', command: [sh, -c, 'exit 3'] }
  web:
    image: busybox:1
    command: [sleep, '100000']
    depends_on: { migrate: { condition: service_completed_successfully } }
",
    );
    host.berth("up -d").fails_with(3);
    let told = host.berth("analyze critical-chain web").succeeds();
    assert_eq!(chain(&told)[..2], ["start web-1  not tried", "await migrate-1 (completed)"]);
    assert!(told.stdout.contains("exited (3)") && told.stdout.contains("1 failed"), "{told}");
    let json = host.berth("analyze blame --json").succeeds().json();
    assert_eq!(
        (&json["run"]["end"], &json["run"]["steps"]["failed"]),
        (&"failed".into(), &1.into())
    );
}

#[test]
fn a_run_that_was_killed_shows_what_was_open_then() {
    let host = TestHost::with("compose.yaml", &STACK.replace("touch /ready; ", ""));
    let up = host.start_berth("up -d");
    let journal = host.machine().path("/var/lib/berth/projects/stack/journal.ndjson");
    host.eventually("it waits", || {
        let text = std::fs::read_to_string(&journal).unwrap_or_default();
        text.contains("\"start\",\"step\":\"await_container stack-db-1\"")
    });
    up.signal(Signal::SIGKILL);
    up.ends().fails_with(137);
    let told = host.berth("analyze critical-chain").succeeds().stdout_has(", killed");
    assert_eq!(chain(&told)[0], "await db-1 (healthy)", "{told}");
    assert!(told.stdout.contains("cut off") && told.stdout.contains("not tried"), "{told}");
    let json = host.berth("analyze blame --json").succeeds().json();
    assert_eq!(json["run"]["end"], "cut_off");
    // Others may have been under way beside the wait.
    assert!(json["run"]["steps"]["open"].as_u64() >= Some(1), "{json}");
}

#[test]
fn without_a_run_or_without_times_it_says_so() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("analyze blame").fails_with(1).stderr_has("no run of project `stack`");
    host.leaves_nothing_but(&[]);
    host.berth("up -d cache").succeeds();
    let old = "{\"record\":\"begin\",\"at\":\"2026-01-01T00:00:00Z\",\"command\":\"berth up\",\"steps\":1}\n\
               {\"record\":\"start\",\"step\":\"a\"}\n{\"record\":\"done\",\"step\":\"a\"}\n{\"record\":\"end\"}\n";
    std::fs::write(host.machine().path("/var/lib/berth/projects/stack/journal.ndjson"), old)
        .unwrap();
    host.berth("analyze critical-chain")
        .fails_with(1)
        .stderr_has("of 2026-01-01T00:00:00Z, kept no times");
}
