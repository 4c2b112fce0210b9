//! A rollout is killed at every record of its journal, and so is the way back of one that fails.

use std::collections::BTreeSet;

use berth_tests::TestHost;

use crate::sweeps::{Swept, covers, sweep};

/// Three that are replaced one after the other. Of a bad version one runs well: the second finds the
/// first at the lock, and says why it ends.
const STACK: &str = "
services:
  web:
    image: localhost/host
    command:
    - sh
    - -c
    - |
      case $$VERSION in bad*)
        flock -n /shared/$$VERSION sh -c 'echo listens; exec sleep 100000'
        echo no table called orders; exit 3;;
      esac
      echo listens; exec sleep 100000
    volumes: ['./shared:/shared']
    environment: { VERSION: good-0 }
    stop_grace_period: 0s
    deploy:
      replicas: 3
      update_config: { ORDER, parallelism: 1, monitor: 50ms, failure_action: rollback }
    x-berth: { ready: { log: listens, interval: 20ms, retries: 500 } }
";

/// What is killed in a rollout of either order and on the way back, in one that starts first, and in one
/// that succeeds.
pub(super) const ROLLOUT: [&str; 5] = [
    "admit_container",
    "create_container",
    "prove_container",
    "remove_container",
    "stop_container",
];
pub(super) const STARTS_FIRST: [&str; 4] =
    ["launch_container", "promote_container", "watch_container", "drain_container"];
pub(super) const SUCCEEDS: [&str; 1] = ["conclude_rollout"];

fn host(order: &str) -> TestHost {
    let stack = STACK.replace("ORDER", &format!("order: {order}-first"));
    let host = TestHost::with("compose.yaml", &stack);
    host.berth("up -d").succeeds();
    host
}

/// The containers, each with its id: all there are of `web` run.
fn three(host: &TestHost) -> BTreeSet<String> {
    let listed = host.berth("ps -a --no-trunc --format '{{.ID}} {{.State}}'").succeeds();
    let all: BTreeSet<String> = listed.stdout.lines().map(str::to_owned).collect();
    assert!(all.len() == 3 && all.iter().all(|line| line.ends_with(" running")), "{listed}");
    all
}

/// Makes `VERSION` in the file this one.
fn want(host: &TestHost, version: &str) {
    let text = std::fs::read_to_string(host.project("compose.yaml")).unwrap();
    let now = text.split("VERSION: ").nth(1).unwrap().split(' ').next().unwrap();
    host.edit("compose.yaml", &format!("VERSION: {now} "), &format!("VERSION: {version} "));
}

/// A good version, killed at each record: the next run ends it.
fn is_ended_by_the_next(order: &str) -> BTreeSet<String> {
    let host = host(order);
    let up = Swept { host: &host, words: "up -d", ends_with: 0, least: 20 };
    let kinds = sweep(
        &up,
        |records| want(&host, &format!("good-{records}")),
        |_| {
            host.berth("up -d").succeeds();
            host.berth("plan --detailed-exitcode").fails_with(0);
            three(&host);
        },
    );
    host.berth("down").succeeds();
    host.leaves_nothing_but(&["shared"]);
    kinds
}

/// A bad version, killed at each record of its rollout and of the way back: the next run takes it
/// back, or finds that this was done, and the containers from before serve.
fn is_taken_back_by_the_next(order: &str) -> BTreeSet<String> {
    let host = host(order);
    let before = three(&host);
    let up = Swept { host: &host, words: "up -d", ends_with: 6, least: 20 };
    let kinds = sweep(
        &up,
        |records| want(&host, &format!("bad-{records}")),
        |records| {
            let next = host.berth("up -d");
            assert!(matches!(next.code, 6 | 9), "{next}");
            // The killed run may have begun to stop what failed.
            let why = ["no table called orders", "is being stopped; its last lines"];
            assert!(why.iter().any(|why| next.stderr.contains(why)), "{next}");
            assert_eq!(three(&host), before, "killed at record {records}");
            want(&host, "good-0");
            host.berth("plan --detailed-exitcode").fails_with(0);
        },
    );
    host.berth("down").succeeds();
    host.leaves_nothing_but(&["shared"]);
    kinds
}

#[test]
fn a_rollout_that_starts_first_is_killed_at_each_record_and_ended_by_the_next() {
    let kinds = is_ended_by_the_next("start");
    for kinds_of in [&ROLLOUT[..], &STARTS_FIRST, &SUCCEEDS] {
        covers(&kinds, kinds_of);
    }
}

#[test]
fn a_rollout_that_stops_first_is_killed_at_each_record_and_ended_by_the_next() {
    let kinds = is_ended_by_the_next("stop");
    covers(&kinds, &ROLLOUT);
    covers(&kinds, &SUCCEEDS);
}

#[test]
fn a_rollback_of_what_starts_first_is_killed_at_each_record_and_done_by_the_next() {
    let kinds = is_taken_back_by_the_next("start");
    covers(&kinds, &ROLLOUT);
    covers(&kinds, &STARTS_FIRST);
}

#[test]
fn a_rollback_of_what_stops_first_is_killed_at_each_record_and_done_by_the_next() {
    covers(&is_taken_back_by_the_next("stop"), &ROLLOUT);
}
