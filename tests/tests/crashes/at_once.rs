//! Several runs at once on one project.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use berth_tests::TestHost;

use crate::sweeps::journal;

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
