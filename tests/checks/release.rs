//! Nothing of all this is in the program that is released.

use std::process::Command;

use berth_tests::berth_program;

use crate::bench::{Bench, Check, Outcome, holds};
use crate::names;

pub(crate) const CHECKS: &[Check] = &[Check {
    id: "T00",
    what: "names of places and switches in the program",
    without: "state.private",
    places: &[],
    run: names_within,
}];

fn names_within(bench: &Bench) -> Outcome {
    // Looking makes nothing, and opens nothing: a run that makes something takes all defences along.
    bench.host.load(&berth_tests::images::busybox());
    bench.stack("services: {one: {image: 'busybox:1', command: sleep 60}}");
    bench.host.berth("up -d").succeeds();
    bench.host.berth("down").succeeds();
    let names = names();
    bench.fired(names.len());
    let mut grep = Command::new("grep");
    grep.args(["-a", "-o", "-F", "-m", "1", "-e", "BERTH_SABOTAGE"]);
    for name in names {
        grep.args(["-e", name]);
    }
    let found = grep.arg(berth_program()).output().expect("grep");
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    holds!(
        found.is_empty(),
        "the program has {}",
        found.split_whitespace().next().unwrap_or_default()
    );
    Ok(())
}
