//! The security checks with teeth: each runs on the plain program, where it has to hold, and on one
//! without the defence it is about, where it has to fail.
//!
//! `tests/checks/run` builds both and starts this. A check is a process of its own, so that a hang or
//! a panic of one is a failure of one. An attack that never happened (`fired` is 0) proves nothing
//! and is a failure too; so is a check that ends with a panic instead of a verdict.
//!
//! Reading order: [`bench`] (what a check is), [`report`] (the table), then the checks by subject.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program of the tests")]

mod bench;
mod copies;
mod ends;
mod firewall;
mod forged;
mod mounts;
mod names;
mod networks;
mod output;
mod outside;
mod ports;
mod processes;
mod program;
mod release;
mod report;
mod rights;
mod syscalls;

use std::path::Path;
use std::process::ExitCode;

use berth_tests::machine::SABOTAGE;
use berth_tests::orders::Orders;

use crate::bench::{Bench, Build, Check};

/// Exit status of a check whose defence did not hold.
const FELL: u8 = 10;

/// Every check.
fn checks() -> Vec<&'static Check> {
    let subjects = [
        release::CHECKS,
        program::CHECKS,
        mounts::CHECKS,
        copies::CHECKS,
        rights::CHECKS,
        syscalls::CHECKS,
        processes::CHECKS,
        ends::CHECKS,
        firewall::CHECKS,
        networks::CHECKS,
        forged::CHECKS,
        ports::CHECKS,
        outside::CHECKS,
        output::CHECKS,
        names::CHECKS,
    ];
    subjects.into_iter().flatten().collect()
}

/// `berth-checks [ID…]`, or for one run of one check `berth-checks run ID BUILD`.
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["run", id, build] => one(id, build),
        _ => report::all(&words),
    }
}

/// One check on one build. The last line it prints is for the table.
fn one(id: &str, build: &str) -> ExitCode {
    let check = checks().into_iter().find(|check| check.id == id).expect("a check of this id");
    let build = Build::ALL.into_iter().find(|b| b.to_string() == build).expect("a build");
    let orders = (build != Build::Plain).then(|| {
        let file = std::env::var_os(SABOTAGE).expect("a file for the orders");
        let orders = Orders::create(Path::new(&file), &names());
        if build == Build::Sabotaged {
            orders.give(check.without);
        }
        orders
    });
    let bench = Bench::new(orders);
    let outcome = (check.run)(&bench);
    let fired = fired(&bench, check, build);
    match outcome {
        Ok(()) => drop(bench.host),
        Err(_) => bench.host.abandon(),
    }
    println!("fired {fired}");
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("{why}");
            ExitCode::from(FELL)
        }
    }
}

/// What fired least of all that had to.
fn fired(bench: &Bench, check: &Check, build: Build) -> u32 {
    let places = if build == Build::Plain { &[] } else { check.places };
    let places = places.iter().map(|place| bench.reached(place));
    let without = (build == Build::Sabotaged).then(|| bench.reached(check.without));
    places.chain(without).chain(bench.attempts()).min().unwrap_or(1)
}

/// All names there are orders for.
fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    for check in checks() {
        names.push(check.without);
        names.extend(check.places);
    }
    names.sort_unstable();
    names.dedup();
    names
}
