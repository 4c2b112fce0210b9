//! A private machine for each test, and the ledger that shows what a test left behind.
//!
//! Promise: nothing a test does reaches the real host. A [`TestHost`] has pid, mount, network,
//! ipc, uts and cgroup namespaces of its own, its own `/run` and `/var/lib`, a neighbour to talk
//! to, and a name server of nobody; it ends, with everything in it, when the value is dropped.
//! Before that the stack is taken down and the machine is compared with what it was before: a
//! process, mount, link, rule, cgroup or file too many fails the test.
//!
//! Reading order: [`machine`] (the namespaces), [`ledger`] (what is on it), [`command`] (running
//! something on it), [`host`] (what tests use), [`rows`] and [`limits`] (to look
//! at one attribute), [`images`]
//! (what containers are made from), [`evil`] (or from what nobody should), [`orders`] (to a build
//! without a defence), [`registry`] (where images come from), [`http`], [`front`] and [`tokens`]
//! (what stands around it); [`vm`] is a whole other host, for what namespaces of this one cannot show.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "all of this crate is tests")]

pub mod command;
pub mod evil;
pub mod front;
pub mod host;
pub mod http;
pub mod images;
pub mod ledger;
pub mod limits;
pub mod machine;
pub mod orders;
pub mod registry;
pub mod rows;
pub mod tokens;
pub mod vm;

pub use command::{Finished, Running};
pub use host::{TestHost, berth_program};
pub use vm::Vm;

/// Says that a test cannot run here, where everybody sees it.
///
/// The line goes to standard error and to `skipped.txt` beside the build, which `tests/run`
/// prints at its end. With `BERTH_TESTS_REQUIRED` set, as CI does, it fails instead.
///
/// # Panics
/// When every test has to run.
pub fn skipped(why: &str) {
    use std::io::Write;

    let test = std::thread::current().name().unwrap_or("?").to_owned();
    assert!(
        std::env::var_os("BERTH_TESTS_REQUIRED").is_none(),
        "`{test}` has to run here and cannot: {why}"
    );
    eprintln!("skipped: {test}: {why}");
    let list = machine::target_dir().join("skipped.txt");
    if let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(list) {
        let _ = writeln!(file, "skipped: {test}: {why}");
    }
}
