//! Logs: every line, in order, with its time; the last ones, the new ones, and not too many.

use berth_tests::TestHost;
use nix::sys::signal::Signal;

const STACK: &str = "
services:
  counter:
    image: busybox:1
    command: [sh, -c, 'for i in 1 2 3 4 5; do echo line $$i; done; echo problem >&2; exec sleep 100000']
  other:
    image: busybox:1
    command: [sh, -c, 'echo from the other; exec sleep 100000']
";

fn host() -> TestHost {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.eventually("all is written", || {
        let logs = host.berth("logs").stdout;
        logs.contains("line 5") && logs.contains("problem") && logs.contains("from the other")
    });
    host
}

#[test]
fn logs_show_every_line_with_the_name_of_its_service() {
    let host = host();
    let logs = host.berth("logs").succeeds().stdout;
    for line in 1..=5 {
        assert!(
            logs.lines()
                .any(|l| l.starts_with("counter-1") && l.ends_with(&format!("line {line}"))),
            "{logs}"
        );
    }
    assert!(
        logs.lines().any(|l| l.starts_with("other-1") && l.ends_with("from the other")),
        "{logs}"
    );
    host.berth("logs --no-log-prefix counter")
        .succeeds()
        .stdout_is("line 1\nline 2\nline 3\nline 4\nline 5\nproblem");
}

#[test]
fn tail_and_since_and_until_choose() {
    let host = host();
    host.berth("logs --no-log-prefix --tail 2 counter").succeeds().stdout_is("line 5\nproblem");
    host.berth("logs --no-log-prefix --tail 0 counter").succeeds().stdout_is("");
    host.berth("logs --since 1h counter").succeeds().stdout_has("line 1");
    host.berth("logs --since 2199-01-01T00:00:00Z counter").succeeds().stdout_is("");
    host.berth("logs --until 2001-01-01T00:00:00Z counter").succeeds().stdout_is("");
}

#[test]
fn timestamps_are_those_of_the_writing() {
    let host = host();
    let logs = host.berth("logs -t --no-log-prefix --tail 1 counter").succeeds().stdout;
    let year = host.shell("date -u +%Y-").stdout;
    assert!(logs.starts_with(year.trim()), "{logs}");
}

#[test]
fn follow_shows_new_lines_until_it_is_interrupted() {
    let host = TestHost::with(
        "compose.yaml",
        "services: { web: { image: 'busybox:1', command: [sh, -c, 'i=0; while :; do i=$$((i+1)); echo tick $$i.; sleep 0.05; done'] } }",
    );
    host.berth("up -d").succeeds();
    let follow = host.start_berth("logs -f web");
    follow.prints("tick 1.").prints("tick 15.");
    follow.signal(Signal::SIGINT);
    let end = follow.ends();
    assert!([0, 130].contains(&end.code), "{end}");
}

#[test]
fn follow_ends_when_the_container_does() {
    let host = TestHost::with(
        "compose.yaml",
        "services: { web: { image: 'busybox:1', command: [sh, -c, 'echo first; sleep 0.5; echo last'] } }",
    );
    host.berth("up -d").succeeds();
    host.berth("logs -f --no-log-prefix web").succeeds().stdout_is("first\nlast");
}

#[test]
fn no_line_is_lost_or_changed_and_the_last_needs_no_end() {
    let host = TestHost::with(
        "compose.yaml",
        "services: { web: { image: 'busybox:1', command: [sh, -c, 'seq 1 50000; printf no-end'] } }",
    );
    host.berth("up -d").succeeds();
    host.eventually("it has ended", || host.status("stack-web-1")["phase"] == "exited");
    let logs = host.berth("logs --no-log-prefix web").succeeds().stdout;
    let mut lines = logs.lines();
    for expected in 1..=50000 {
        assert_eq!(lines.next(), Some(expected.to_string().as_str()));
    }
    assert_eq!((lines.next(), lines.next()), (Some("no-end"), None));
}

#[test]
fn old_lines_go_when_the_files_are_full() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  web:
    image: busybox:1
    command: [sh, -c, 'seq 1 200000; exec sleep 100000']
    logging: { driver: local, options: { max-size: 100k, max-file: '3' } }
",
    );
    host.berth("up -d").succeeds();
    host.eventually("all is written", || {
        host.berth("logs --no-log-prefix --tail 1 web").stdout.trim() == "200000"
    });
    let size = host
        .shell("du -cb /var/lib/berth/containers/stack-web-1/logs/* | tail -1 | cut -f1")
        .stdout;
    let size: u64 = size.trim().parse().unwrap();
    assert!((100 << 10..=400 << 10).contains(&size), "{size} bytes of logs");
    let logs = host.berth("logs --no-log-prefix web").succeeds().stdout;
    let first: u64 = logs.lines().next().unwrap().parse().unwrap();
    let count = logs.lines().count() as u64;
    assert_eq!(first + count - 1, 200_000, "the lines kept are the last ones, without a gap");
}

#[test]
fn an_attached_up_follows_and_stops_at_the_interrupt() {
    let host = TestHost::with("compose.yaml", STACK);
    let up = host.start_berth("up");
    up.prints("line 5").prints("from the other");
    up.signal(Signal::SIGINT);
    up.ends().succeeds();
    assert_eq!(host.status("stack-counter-1")["phase"], "exited");
    assert_eq!(host.status("stack-other-1")["phase"], "exited");
}

#[test]
fn an_attached_up_shows_containers_that_come_back() {
    let host = TestHost::with(
        "compose.yaml",
        "services: { web: { image: 'busybox:1', stop_grace_period: 1s, command: [sh, -c, 'echo begin; exec sleep 100000'] } }",
    );
    let up = host.start_berth("up");
    up.prints("begin");
    host.berth("restart web").succeeds();
    host.eventually("its next life is shown", || up.said().matches("begin").count() == 2);
    assert!(up.running().is_some(), "it ended with the only one, which runs");
    host.berth("stop web").succeeds();
    let up = up.ends().succeeds();
    assert_eq!(up.stdout.matches("begin").count(), 2, "{up}");
}

#[test]
fn a_second_interrupt_kills() {
    let host = TestHost::with(
        "compose.yaml",
        "services: { web: { image: 'busybox:1', init: false, stop_grace_period: 50s, command: [sh, -c, 'trap : TERM; echo ready; while :; do sleep 0.1; done'] } }",
    );
    let up = host.start_berth("up");
    up.prints("ready");
    up.signal(Signal::SIGINT);
    std::thread::sleep(std::time::Duration::from_millis(500));
    up.signal(Signal::SIGINT);
    let _ = up.ends();
    host.eventually("it is gone", || host.status("stack-web-1")["phase"] == "exited");
}

#[test]
fn control_characters_of_a_container_do_not_reach_the_terminal() {
    let host = TestHost::with(
        "compose.yaml",
        "services: { web: { image: 'busybox:1', command: [sh, -c, 'printf \"\\033]0;title\\007done\\n\"'] } }",
    );
    host.berth("up -d").succeeds();
    host.eventually("it is written", || host.berth("logs web").stdout.contains("done"));
    let shown = host.shell("script -qec \"$berth logs web\" /dev/null </dev/null").stdout;
    assert!(!shown.contains("\u{1b}]0;"), "{shown:?}");
}
