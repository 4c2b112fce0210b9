//! Several runs at once on one project.

use std::fs;

use berth_tests::TestHost;

use crate::sweeps::journal;

/// How many times in all, and in one test: they take long.
const ROUNDS: usize = 100;
const OF_ONE_TEST: usize = 25;

/// Two `up` and a `down` begin together, again and again, and the last one counts.
fn the_last_one_counts(test: usize) {
    let file = |which: &str| {
        format!(
            "name: stack\nservices:\n  \
             a: {{ image: 'busybox:1', command: [sleep, '100000'], environment: {{ W: {which} }} }}\n  \
             b: {{ image: 'busybox:1', command: [sleep, '100000'] }}\n"
        )
    };
    let host = TestHost::with("one.yaml", &file("one"));
    host.write("two.yaml", &file("two"));
    let mut runs = ["-f one.yaml up -d", "-f two.yaml up -d", "-f one.yaml down"];
    for round in (test * OF_ONE_TEST..ROUNDS).take(OF_ONE_TEST) {
        runs.rotate_left(1);
        let ended = runs.map(|words| host.start_berth(words)).map(|run| run.ends());
        // Who waited longer than ten seconds for the others says so.
        ended.iter().for_each(|run| assert!(matches!(run.code, 0 | 8), "round {round}: {run}"));
        assert!(ended.iter().any(|run| run.code == 0), "round {round}: {}", ended[0]);
        is_as_the_last_one_wants(&host, &runs, round);
    }
    host.berth("-p stack down").succeeds();
    host.leaves_nothing_but(&[]);
}

/// The host is as the run wants that had the lock last, and the journal is of one run.
#[track_caller]
fn is_as_the_last_one_wants(host: &TestHost, runs: &[&str], round: usize) {
    let lock = host.machine().path("/var/lib/berth/projects/stack/lock");
    let holder: serde_json::Value = serde_json::from_slice(&fs::read(lock).unwrap()).unwrap();
    let holder = holder["command"].as_str().unwrap();
    let words = runs.iter().find(|words| holder.ends_with(**words)).expect("a run of ours");
    match words.strip_suffix(" up -d") {
        Some(file) => {
            let left = host.berth(&format!("{file} plan --detailed-exitcode"));
            assert_eq!(left.code, 0, "round {round}, last was `{words}`: {left}");
        }
        None => drop(host.berth("-p stack ps -a -q").succeeds().stdout_is("")),
    }
    let text = fs::read_to_string(journal(host)).unwrap();
    let is = |line: &str, record: &str| line.contains(&format!("\"record\":\"{record}\""));
    let (first, end) = (text.lines().next().unwrap(), text.lines().last().unwrap());
    assert!(is(first, "begin") && is(end, "end"), "round {round}: {text}");
    let begins = text.lines().filter(|line| is(line, "begin")).count();
    assert_eq!(begins, 1, "round {round}, two at a time: {text}");
}

#[test]
fn of_two_ups_and_a_down_at_once_the_last_one_counts() {
    the_last_one_counts(0);
}

#[test]
fn of_two_ups_and_a_down_at_once_the_last_one_counts_2() {
    the_last_one_counts(1);
}

#[test]
fn of_two_ups_and_a_down_at_once_the_last_one_counts_3() {
    the_last_one_counts(2);
}

#[test]
fn of_two_ups_and_a_down_at_once_the_last_one_counts_4() {
    the_last_one_counts(3);
    assert_eq!(4 * OF_ONE_TEST, ROUNDS, "no round is left out");
}
