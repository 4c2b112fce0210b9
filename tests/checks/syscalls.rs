//! What the filter of system calls lets through.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use berth_tests::evil::{Evil, probe};

use crate::bench::{Bench, Check, Outcome, holds};

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "R20",
        what: "every system call from 0 to 600, in every process",
        without: "seccomp.exec",
        places: &[],
        run: table,
    },
    Check {
        id: "R22",
        what: "sockets of families that lead to the kernel",
        without: "seccomp.socket",
        places: &[],
        run: sockets,
    },
    Check {
        id: "R26",
        what: "namespaces within the container, by every call",
        without: "seccomp.clone",
        places: &[],
        run: namespaces,
    },
];

/// A host with the probe as a service of root and of others, where each writes what it sees.
fn with_probe(bench: &Bench, what: &str, more: &str) {
    let host = &bench.host;
    let program = std::fs::read(probe("probe")).expect("the probe");
    Evil::image("probe:1").file("probe", 0o755, &program).load(host);
    host.shell("mkdir -m 777 out").succeeds();
    let service = |name: &str, user: u32| {
        format!(
            "
  {name}:
    image: probe:1
    user: '{user}'
    command: [sh, -c, '/probe {what} >/out/{name}-main; grep Seccomp: /proc/self/status >>/out/{name}-main; exec sleep 100000']
    healthcheck:
      test: 'test -e /out/{name}-probe || (/probe {what} >/out/{name}-new; grep Seccomp: /proc/self/status >>/out/{name}-new; mv /out/{name}-new /out/{name}-probe)'
      interval: 1s
      timeout: 30s
    volumes: [./out:/out]
    {more}"
        )
    };
    bench.stack(&format!("services:{}{}", service("root", 0), service("user", 1000)));
    host.berth("up -d --wait").succeeds();
}

/// What each process of both services said: service, kind of process, text.
fn said(bench: &Bench, what: &str) -> Vec<(&'static str, &'static str, String)> {
    let mut all = Vec::new();
    for service in ["root", "user"] {
        for kind in ["main", "probe"] {
            let file = bench.host.project(&format!("out/{service}-{kind}"));
            bench.host.eventually("the probe has ended", || {
                std::fs::read_to_string(&file).is_ok_and(|text| text.contains("Seccomp"))
            });
            all.push((service, kind, std::fs::read_to_string(file).expect("what the probe said")));
        }
        let line =
            format!("exec -T {service} sh -c '/probe {what}; grep Seccomp: /proc/self/status'");
        all.push((service, "exec", bench.host.berth(&line).succeeds().stdout));
    }
    all
}

/// Answers by number.
fn answers(text: &str) -> BTreeMap<u32, String> {
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.filter_map(|(number, answer)| Some((number.parse().ok()?, answer.to_owned()))).collect()
}

fn golden() -> PathBuf {
    let name = format!("checks/golden/syscalls.{}", std::env::consts::ARCH);
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The table in the repository: number, answer to root, answer to others. With `BERTH_REWRITE` the
/// plain program writes it anew.
fn table(bench: &Bench) -> Outcome {
    with_probe(bench, "syscalls", "");
    let said = said(bench, "syscalls");
    let of = |service: &str| answers(&said.iter().find(|(s, _, _)| *s == service).expect("one").2);
    if std::env::var_os("BERTH_REWRITE").is_some() && bench.is_plain() {
        let (root, user) = (of("root"), of("user"));
        let mut text = String::new();
        for (number, answer) in &root {
            let _ = writeln!(text, "{number} {answer} {}", user[number]);
        }
        std::fs::write(golden(), text).expect("the golden table");
    }
    let Ok(golden) = std::fs::read_to_string(golden()) else {
        berth_tests::skipped("no table of system calls for this machine");
        return Ok(());
    };
    // A kernel that does not know a call says so to everybody.
    let program = probe("probe");
    let bare =
        answers(&bench.host.shell(&format!("{} syscalls", program.display())).succeeds().stdout);
    let unknown = |number: &u32| bare.get(number).is_some_and(|answer| answer == "ENOSYS");
    for (service, kind, text) in &said {
        let found = answers(text);
        bench.fired(found.len());
        let column = if *service == "root" { 1 } else { 2 };
        for line in golden.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let number: u32 = words[0].parse().expect("a number");
            let answer = found.get(&number).map_or("nothing", String::as_str);
            let same = answer == words[column] || (answer == "ENOSYS" && unknown(&number));
            holds!(
                same,
                "{kind} of {service}: call {number} answers {answer}, not {}",
                words[column]
            );
        }
        holds!(found.len() == 601, "{kind} of {service} tried {} calls", found.len());
        holds!(text.contains("Seccomp:\t2"), "{kind} of {service} has no filter");
    }
    Ok(())
}

/// Every line of the probe in every process ends with one of these words.
fn all_end_with(bench: &Bench, what: &str, wanted: fn(&str) -> &'static [&'static str]) -> Outcome {
    for (service, kind, text) in said(bench, what) {
        for line in text.lines().filter(|line| !line.starts_with("Seccomp")) {
            bench.fired(1);
            let answer = line.rsplit(' ').next().unwrap_or_default();
            holds!(wanted(line).contains(&answer), "{kind} of {service}: {line}");
        }
    }
    Ok(())
}

fn sockets(bench: &Bench) -> Outcome {
    with_probe(bench, "sockets", "");
    all_end_with(bench, "sockets", |line| match line {
        // As on a kernel without audit: programs take that for an answer and go on.
        line if line.starts_with("audit") => &["EPERM", "EPROTONOSUPPORT"],
        _ => &["EPERM"],
    })
}

fn namespaces(bench: &Bench) -> Outcome {
    with_probe(bench, "namespaces", "");
    all_end_with(bench, "namespaces", |line| match line {
        line if line.starts_with("clone3") => &["ENOSYS"],
        // Nobody may even open those of others.
        line if line.starts_with("setns") => &["EPERM", "EBADF"],
        _ => &["EPERM"],
    })
}
