//! Monitors and their starter, for real: containers of busybox in a network namespace of the
//! test's own.
//!
//! The starter is this program re-executed, so there is no harness around it; `main` speaks the
//! few words that test runners do.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is a test, though it has no harness to say so"
)]

mod fixture;

use std::fs;
use std::future::Future;
use std::pin::Pin;
use std::process::{Command, ExitCode};
use std::time::Duration;

use berth_planner::observed::Health;
use berth_runtime::bundle::{Phase, Probe, Restart, Times};
use berth_runtime::monitor::{Frame, client, kill_unmonitored};
use berth_runtime::starter;

use fixture::{Machine, PATIENCE, alone};

type Test = fn(Machine) -> Pin<Box<dyn Future<Output = ()>>>;

macro_rules! tests {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), |machine| Box::pin($name(machine)))),*] };
}

const TESTS: &[(&str, Test)] = tests![
    a_monitor_holds_what_it_needs_and_cannot_be_written_to,
    output_and_status_of_a_container_are_kept_and_nothing_else,
    a_program_that_is_not_there_is_127_and_leaves_nothing,
    a_failing_container_is_started_again_as_often_as_the_file_says,
    a_stop_waits_for_the_program_and_kills_it_when_it_takes_too_long,
    a_killed_monitor_is_replaced_and_no_line_is_lost,
    an_end_that_nobody_saw_is_reckoned_by_the_next_monitor,
    a_container_without_a_monitor_can_be_ended,
    an_attached_client_types_and_reads,
    nothing_is_missed_by_a_client_that_is_waited_for,
    a_terminal_has_a_size_and_echoes,
    health_follows_the_probe,
    names_and_ports_lead_to_the_container,
    other_names_are_asked_of_servers,
    a_port_that_is_taken_is_refused_with_its_owner,
    a_container_that_is_removed_at_its_end_leaves_no_folder,
    fifty_containers_run_at_the_same_time,
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|word| word == starter::WORD) {
        starter::main();
    }
    if args.iter().any(|arg| arg == "--list") {
        if !args.iter().any(|arg| arg == "--ignored") {
            TESTS.iter().for_each(|(name, _)| println!("{name}: test"));
        }
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<&String> = args.iter().filter(|arg| !arg.starts_with("--")).collect();
    let chosen = |name: &str| wanted.is_empty() || wanted.iter().any(|w| name.contains(w.as_str()));
    let tests: Vec<&(&str, Test)> = TESTS.iter().filter(|(name, _)| chosen(name)).collect();
    let mut failed = false;
    for (name, test) in &tests {
        // One test has this process to itself; of several, each gets one.
        let good = if tests.len() == 1 { alone(*test) } else { elsewhere(name) };
        println!("test {name} ... {}", if good { "ok" } else { "FAILED" });
        failed |= !good;
    }
    ExitCode::from(u8::from(failed))
}

fn elsewhere(name: &str) -> bool {
    let program = std::env::current_exe().expect("a program has a path");
    Command::new(program).arg(name).status().is_ok_and(|status| status.success())
}

async fn a_monitor_holds_what_it_needs_and_cannot_be_written_to(machine: Machine) {
    let made = machine.container("one", "trap 'exit 0' TERM; while :; do sleep 0.05; done");
    let monitor = machine.start(&made).await.unwrap().monitor;
    let proc = |name: &str| format!("/proc/{monitor}/{name}");
    assert_eq!(fs::read_to_string(proc("comm")).unwrap(), "berth\n");
    let words = fs::read_to_string(proc("cmdline")).unwrap();
    let name = &made.bundle.name;
    assert_eq!(words.trim_end_matches('\0'), format!("berth\0monitor\0{name}"));
    assert_eq!(fs::read_link(proc("cwd")).unwrap().to_str(), Some("/"));

    let holds = |fd: std::io::Result<fs::DirEntry>| {
        let target = fs::read_link(fd.unwrap().path()).unwrap_or_default();
        target.to_string_lossy().split([':', '[']).next().unwrap_or_default().to_owned()
    };
    let mut held: Vec<String> = fs::read_dir(proc("fd")).unwrap().map(holds).collect();
    held.sort();
    let dir = made.dir.to_str().unwrap();
    let log = made.bundle.state_dir.join("logs/current");
    let own = [format!("{dir}/err"), format!("{dir}/lock"), format!("{dir}/out")];
    let mut expected = vec!["/dev/null", "/dev/null", "/dev/null", "anon_inode", "net", "socket"];
    expected.extend(own.iter().map(String::as_str));
    expected.push(log.to_str().unwrap());
    expected.sort_unstable();
    assert_eq!(held, expected);

    let access = rustix::fs::access(proc("exe"), rustix::fs::Access::WRITE_OK);
    assert_eq!(access, Err(rustix::io::Errno::ROFS));
    client::stop(&made.dir, None, false).await.unwrap();
}

async fn output_and_status_of_a_container_are_kept_and_nothing_else(machine: Machine) {
    let made = machine.container("one", "echo out; echo err >&2; exit 3");
    let status = machine.start(&made).await.unwrap();
    let monitor = status.monitor;
    assert_eq!(made.ended().await.exit_code, 3);
    assert_eq!(made.log(), ["stderr err", "stdout out"]);
    assert_eq!(made.run_files(), ["bundle.json", "lock", "status.json"]);
    assert!(!made.has_cgroup());
    machine.is_gone(monitor).await;
    let events = fs::read_to_string(machine.run().join("events/test")).unwrap();
    assert!(events.contains(r#""event":"die","exit_code":3}"#), "{events}");
}

async fn a_program_that_is_not_there_is_127_and_leaves_nothing(machine: Machine) {
    let mut made = machine.container("one", "");
    made.bundle.process.argv = vec!["/bin/no-such".into()];
    let failure = machine.start(&made).await.unwrap_err();
    assert_eq!(failure.exit_code, 127, "{failure}");
    assert!(failure.to_string().contains("no-such"), "{failure}");
    assert_eq!(made.run_files(), ["bundle.json", "lock", "status.json"]);
    assert!(!made.has_cgroup());
    assert_eq!(made.status().phase, Phase::Exited);
}

async fn a_failing_container_is_started_again_as_often_as_the_file_says(machine: Machine) {
    let mut made = machine.container("one", "echo started; exit 1");
    made.bundle.restart = Restart::OnFailure(2);
    machine.start(&made).await.unwrap();
    let status = made.ended().await;
    assert_eq!((status.restarts, status.exit_code), (2, 1));
    assert_eq!(made.log(), ["stdout started"; 3]);
}

async fn a_stop_waits_for_the_program_and_kills_it_when_it_takes_too_long(machine: Machine) {
    let gentle = "trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.05; done";
    let mut one = machine.container("one", gentle);
    one.bundle.restart = Restart::Always;
    machine.start(&one).await.unwrap();
    one.wrote("stdout up").await;
    let status = client::stop(&one.dir, None, true).await.unwrap();
    assert_eq!((status.exit_code, status.held, status.phase), (9, true, Phase::Exited));
    assert!(!client::is_monitored(&one.dir));
    assert_eq!(one.log(), ["stdout bye", "stdout up"]);

    let two = machine.container("two", "trap '' TERM; echo up; while :; do sleep 0.05; done");
    machine.start(&two).await.unwrap();
    two.wrote("stdout up").await;
    let grace = Some(Duration::from_millis(100));
    assert_eq!(client::stop(&two.dir, grace, false).await.unwrap().exit_code, 137);
    assert!(!two.status().held);
}

async fn a_killed_monitor_is_replaced_and_no_line_is_lost(machine: Machine) {
    let line = "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done; exit 42";
    let made = machine.container(
        "one",
        &format!("trap '' TERM; while [ ! -e /go ]; do sleep 0.02; done; {line}"),
    );
    let before = machine.start(&made).await.unwrap();
    made.kill_monitor(&machine, before.monitor).await;
    made.touch("go");
    assert!(!client::is_monitored(&made.dir));

    let after = machine.adopt(&made).await.unwrap();
    assert_eq!((after.pid, after.started_ms), (before.pid, before.started_ms));
    assert_ne!(after.monitor, before.monitor);
    let status = made.ended().await;
    let lines: Vec<String> = (0..3000).map(|n| format!("stdout {n}")).collect();
    assert_eq!(made.log_in_order(), lines);
    assert_eq!(status.exit_code, 42, "the kernel tells it to everybody since 6.15");
    assert!(!made.has_cgroup());
}

async fn an_end_that_nobody_saw_is_reckoned_by_the_next_monitor(machine: Machine) {
    let mut made =
        machine.container("one", "echo up; while [ ! -e /go ]; do sleep 0.02; done; rm /go");
    made.bundle.restart = Restart::OnFailure(1);
    let before = machine.start(&made).await.unwrap();
    made.wrote("stdout up").await;
    made.kill_monitor(&machine, before.monitor).await;
    made.touch("go");
    machine.is_gone(before.pid).await;

    let adopted = machine.adopt(&made).await.unwrap();
    assert_eq!((adopted.phase, adopted.exit_code), (Phase::Waiting, -1));
    let running = made.reaches(|status| status.phase == Phase::Running).await;
    assert_ne!(running.pid, before.pid);
    made.touch("go");
    assert_eq!(made.ended().await.exit_code, 0);
    assert_eq!(made.log(), ["stdout up"; 2]);
}

async fn a_container_without_a_monitor_can_be_ended(machine: Machine) {
    let made = machine
        .container("one", "trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.05; done");
    let status = machine.start(&made).await.unwrap();
    made.wrote("stdout up").await;
    assert!(kill_unmonitored(&made.dir, PATIENCE).is_err(), "it has a monitor");
    made.kill_monitor(&machine, status.monitor).await;
    assert!(client::stop(&made.dir, None, true).await.is_err());

    kill_unmonitored(&made.dir, PATIENCE).unwrap();
    let status = made.status();
    assert_eq!((status.phase, status.exit_code), (Phase::Exited, 9));
    assert_eq!(made.log(), ["stdout bye", "stdout up"]);
    assert_eq!(made.run_files(), ["bundle.json", "lock", "status.json"]);
    assert!(!made.has_cgroup());
    kill_unmonitored(&made.dir, PATIENCE).unwrap();
}

async fn an_attached_client_types_and_reads(machine: Machine) {
    let mut made = machine.container("one", "cat; echo done >&2; exit 5");
    made.bundle.stdin_open = true;
    machine.start(&made).await.unwrap();
    let mut attached = client::attach(&made.dir).await.unwrap();
    assert!(!attached.tty);
    attached.input.write(b"hello\n").await.unwrap();
    assert_eq!(attached.output.next().await.unwrap(), Some(Frame::Stdout(b"hello\n".to_vec())));
    attached.input.end().await.unwrap();
    assert_eq!(attached.output.next().await.unwrap(), Some(Frame::Stderr(b"done\n".to_vec())));
    assert_eq!(attached.output.next().await.unwrap(), Some(Frame::Exit(5)));
    assert_eq!(attached.output.next().await.unwrap(), None);
}

async fn nothing_is_missed_by_a_client_that_is_waited_for(machine: Machine) {
    let mut made = machine.container("one", "echo first; exit 7");
    made.bundle.await_client = true;
    let started = machine.start(&made).await.unwrap();
    machine.is_gone(started.pid).await;
    let mut attached = client::attach(&made.dir).await.unwrap();
    assert_eq!(attached.output.next().await.unwrap(), Some(Frame::Stdout(b"first\n".to_vec())));
    assert_eq!(attached.output.next().await.unwrap(), Some(Frame::Exit(7)));
    assert_eq!(made.log(), ["stdout first"]);
}

async fn a_terminal_has_a_size_and_echoes(machine: Machine) {
    let mut made = machine.container("one", "read line; stty size; exit 4");
    made.bundle.tty = true;
    made.bundle.stdin_open = true;
    machine.start(&made).await.unwrap();
    let mut attached = client::attach(&made.dir).await.unwrap();
    assert!(attached.tty);
    client::resize(&made.dir, 33, 111).await.unwrap();
    attached.input.write(b"go\n").await.unwrap();
    let mut text = Vec::new();
    let code = loop {
        match attached.output.next().await.unwrap() {
            Some(Frame::Stdout(bytes)) => text.extend(bytes),
            Some(Frame::Exit(code)) => break code,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(String::from_utf8_lossy(&text), "go\r\n33 111\r\n");
    assert_eq!(code, 4);
}

async fn health_follows_the_probe(machine: Machine) {
    let mut made = machine.container("one", "trap 'exit 0' TERM; while :; do sleep 0.05; done");
    let probe =
        "echo looking; [ -e /good ] && [ ! -e /hang ] || { [ -e /hang ] && sleep 60; exit 1; }";
    made.bundle.health = Some(Probe {
        argv: ["/bin/sh", "-c", probe].map(String::from).into(),
        times: Times {
            interval_ms: 100,
            timeout_ms: 200,
            start_period_ms: 0,
            start_interval_ms: 100,
            retries: 2,
        },
    });
    assert_eq!(machine.start(&made).await.unwrap().health, Health::Starting);
    made.reaches(|status| status.health == Health::Unhealthy).await;
    made.touch("good");
    let status = made.reaches(|status| status.health == Health::Healthy).await;
    assert_eq!(status.health_output, "looking\n");
    made.touch("hang");
    let status = made.reaches(|status| status.health == Health::Unhealthy).await;
    assert_eq!(status.health_output, "it took too long and was killed\nlooking\n");
    client::stop(&made.dir, None, false).await.unwrap();
}

async fn names_and_ports_lead_to_the_container(machine: Machine) {
    let network = machine.network().await;
    let mut web = machine.container("web", "while :; do echo hello | nc -l -p 80; done");
    network.connect(&mut web, 2, &["web", "www"]);
    web.bundle.ports = vec![fixture::port(80)];
    let status = machine.start(&web).await.unwrap();
    let (port, _) = status.published[0].published.unwrap();
    assert_eq!(fixture::ask(port).await, "hello\n");

    let line =
        "nslookup www | grep -c 'Address.*10.99.0.2$'; nslookup nobody >/dev/null || echo no";
    let mut ask = machine.container("ask", line);
    network.connect(&mut ask, 3, &["ask"]);
    machine.start(&ask).await.unwrap();
    ask.ended().await;
    assert_eq!(ask.log(), ["stdout 1", "stdout no"]);

    // Both still work under a new monitor, and end with the container.
    web.kill_monitor(&machine, status.monitor).await;
    assert_eq!(fixture::ask(port).await, "hello\n");
    machine.adopt(&web).await.unwrap();
    assert_eq!(fixture::ask(port).await, "hello\n");
    assert!(fixture::cannot_listen(port));
    let lookup = web.exec("nslookup ask >/dev/null || echo no; nslookup www | grep -c 10.99.0.2");
    assert_eq!(lookup, "no\n1\n");
    client::stop(&web.dir, Some(Duration::ZERO), false).await.unwrap();
    assert!(!fixture::cannot_listen(port));
    assert_eq!(network.names(), 2, "they stay with the containers");
    assert_eq!(fixture::published(), 0);
}

async fn other_names_are_asked_of_servers(machine: Machine) {
    let network = machine.network().await;
    fixture::serve_names([192, 0, 2, 7]);
    let line = "nslookup far.example | grep -c 'Address.*192.0.2.7$'; \
                nslookup silent.example >/dev/null || echo none";
    let mut made = machine.container("one", line);
    network.connect(&mut made, 2, &["one"]);
    made.bundle.dns.servers = vec!["10.99.0.1".parse().unwrap()];
    machine.start(&made).await.unwrap();
    made.ended().await;
    assert_eq!(made.log_in_order(), ["stdout 1", "stdout none"]);

    // From a network without a way out nobody is asked.
    let mut inner = machine.container("two", "nslookup far.example >/dev/null || echo none");
    network.connect(&mut inner, 3, &["two"]);
    inner.bundle.dns.internal = true;
    machine.start(&inner).await.unwrap();
    inner.ended().await;
    assert_eq!(inner.log(), ["stdout none"]);
}

async fn a_port_that_is_taken_is_refused_with_its_owner(machine: Machine) {
    let network = machine.network().await;
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut made = machine.container("one", "sleep 60");
    network.connect(&mut made, 2, &["one"]);
    made.bundle.ports = vec![fixture::port(80)];
    made.bundle.ports[0].published = Some((port, port));
    let failure = machine.start(&made).await.unwrap_err();
    let own = std::process::id();
    assert!(
        failure
            .to_string()
            .starts_with(&format!("reserve port `{port}/tcp`: it is taken by process {own} ")),
        "{failure}"
    );
    assert_eq!(network.names(), 0);

    // A container whose monitor was killed keeps its ports, though nobody holds them on the host.
    let mut first = machine.container("first", "sleep 60");
    network.connect(&mut first, 3, &["first"]);
    first.bundle.ports = vec![fixture::port(80)];
    let status = machine.start(&first).await.unwrap();
    first.kill_monitor(&machine, status.monitor).await;
    made.bundle.ports = status.published;
    let failure = machine.start(&made).await.unwrap_err();
    assert!(failure.to_string().contains("`first`"), "{failure}");
    assert_eq!(fixture::published(), 1);
    kill_unmonitored(&first.dir, Duration::ZERO).unwrap();
    assert_eq!(fixture::published(), 0);
}

async fn a_container_that_is_removed_at_its_end_leaves_no_folder(machine: Machine) {
    let mut made = machine.container("one", "exit 0");
    made.bundle.remove_on_exit = true;
    let status = machine.start(&made).await.unwrap();
    machine.is_gone(status.monitor).await;
    assert!(!made.dir.exists());
}

async fn fifty_containers_run_at_the_same_time(machine: Machine) {
    let made: Vec<_> =
        (0..50).map(|n| machine.container(&format!("c{n}"), "exec sleep 600")).collect();
    let begun = std::time::Instant::now();
    let monitors = machine.start_all(&made).await;
    let started = begun.elapsed();
    let memory = fixture::memory_of(&monitors);
    let begun = std::time::Instant::now();
    machine.stop_all(&made).await;
    println!("50 started in {started:?}, stopped in {:?}; {memory}", begun.elapsed());
    for monitor in monitors {
        machine.is_gone(monitor).await;
    }
}
