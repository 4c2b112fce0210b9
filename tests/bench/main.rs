//! Measures what the program is judged by: `up` of many small containers, an `up` with nothing to
//! do, one with one change, `down`, and the memory of the monitors in between.
//!
//! Each figure is taken on a private machine, around the program alone, by the shell that runs
//! it. What each kind of step costs comes from the program's own events.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "it is here to print, or to stop")]

mod config;
mod net;
mod pull;
mod talk;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use berth_tests::TestHost;

/// One round: milliseconds by what was measured, PSS of the monitors, and the steps of `up`.
#[derive(Default)]
struct Round {
    times: Vec<(&'static str, f64)>,
    pss_kib: u64,
    steps: BTreeMap<String, Step>,
}

/// All steps of one kind in one `up`.
#[derive(Default)]
struct Step {
    count: u32,
    total_ms: f64,
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("config") => return config::measure(&berth_tests::berth_program(), 20),
        Some("net") => return net::measure(number(2).unwrap_or(15)),
        Some("pull") => return pull::measure(5),
        Some("serve") => talk::serve(number(2).expect("a port")),
        Some("ask") => {
            let host = std::env::args().nth(2).expect("a host");
            return talk::ask(&host, number(3).expect("a port"));
        }
        _ => {}
    }
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<usize>().expect("a number"));
    let rounds = args.next().unwrap_or(5).max(1);
    let containers = args.next().unwrap_or(50).max(1);
    let rounds: Vec<Round> = (0..rounds).map(|_| round(containers)).collect();
    report(containers, &rounds);
}

/// The argument at this place, if there is one.
fn number<N: std::str::FromStr>(place: usize) -> Option<N> {
    std::env::args().nth(place)?.parse().ok()
}

/// Up, up, change, down, on a fresh machine.
fn round(containers: usize) -> Round {
    let host = TestHost::with("compose.yaml", &stack(containers));
    let mut round = Round::default();
    let (time, events) = timed(&host, "--progress json up -d");
    round.times.push(("up", time));
    round.steps = steps(&events);
    round.pss_kib = host.berth_processes().iter().map(|process| pss(process)).sum();
    round.times.push(("up, nothing to do", timed(&host, "up -d").0));
    host.edit("compose.yaml", "WHICH: s000", "WHICH: changed");
    round.times.push(("up, one variable changed", timed(&host, "up -d").0));
    round.times.push(("plan", timed(&host, "plan").0));
    round.times.push(("ps", timed(&host, "ps").0));
    round.times.push(("down", timed(&host, "down").0));
    round
}

/// So many services of busybox `sleep` on one network.
fn stack(containers: usize) -> String {
    let mut text = String::from("services:\n");
    for number in 0..containers {
        let _ = writeln!(
            text,
            "  s{number:03}: {{ image: 'busybox:1', command: [sleep, '100000'], environment: {{ WHICH: s{number:03} }} }}"
        );
    }
    text
}

/// Runs berth on the machine: milliseconds of wall time, and what it told on standard error.
fn timed(host: &TestHost, words: &str) -> (f64, String) {
    let line = format!(
        "exec bash -c 'b=$EPOCHREALTIME; '$berth' {words} >/dev/null; s=$?; e=$EPOCHREALTIME; \
         echo $b $e; exit $s'"
    );
    let ran = host.shell(&line).succeeds();
    let (begin, end) = ran.stdout.trim().split_once(' ').expect("two times");
    let [begin, end] = [begin, end].map(|time| time.parse::<f64>().expect("seconds"));
    ((end - begin) * 1000.0, ran.stderr)
}

/// Pairs each event that begins a step with the one that ends it.
fn steps(events: &str) -> BTreeMap<String, Step> {
    let mut open: BTreeMap<String, (String, f64)> = BTreeMap::new();
    let mut steps: BTreeMap<String, Step> = BTreeMap::new();
    for event in events.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok()) {
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let at = seconds_of_day(&text("ts")) * 1000.0;
        match text("type").as_str() {
            "op.start" => drop(open.insert(text("addr"), (text("msg"), at))),
            "op.progress" => {}
            _ => {
                if let Some((what, began)) = open.remove(&text("addr")) {
                    let step = steps.entry(what).or_default();
                    step.count += 1;
                    step.total_ms += at - began;
                }
            }
        }
    }
    steps
}

/// `2026-11-21T10:52:38.123456Z` → seconds since midnight.
fn seconds_of_day(timestamp: &str) -> f64 {
    let time = timestamp.split('T').nth(1).unwrap_or_default().trim_end_matches('Z');
    time.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap_or(0.0))
}

/// Proportional set size in KiB: shared pages count in equal parts for those who share them.
fn pss(process: &Path) -> u64 {
    let rollup = fs::read_to_string(process.join("smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn report(containers: usize, rounds: &[Round]) {
    println!("{containers} containers, {} rounds; milliseconds", rounds.len());
    println!("{:<28}{:>10}{:>10}{:>10}", "", "min", "median", "max");
    for (index, (what, _)) in rounds[0].times.iter().enumerate() {
        let [min, median, max] = spread(rounds.iter().map(|round| round.times[index].1).collect());
        println!("{what:<28}{min:>10.1}{median:>10.1}{max:>10.1}");
    }
    let [min, median, max] = spread(rounds.iter().map(|r| r.pss_kib as f64 / 1024.0).collect());
    println!("{:<28}{min:>10.1}{median:>10.1}{max:>10.1}", "PSS of all monitors, MiB");

    println!("\nsteps of `up` (sum over parallel steps, median round by total)");
    let totals = |round: &Round| round.steps.values().map(|step| step.total_ms).sum::<f64>();
    let mut order: Vec<&Round> = rounds.iter().collect();
    order.sort_by(|a, b| totals(a).total_cmp(&totals(b)));
    let middle = order[order.len() / 2];
    let all = totals(middle);
    for (what, Step { count, total_ms }) in &middle.steps {
        let each = total_ms / f64::from(*count);
        let share = 100.0 * total_ms / all;
        println!("{what:<28}{count:>6} ×{each:>9.2} ms{share:>8.1} %");
    }
}

/// Least, middle and most.
fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}
