//! What containers write and what things are called is data, on every surface: nothing of it moves
//! the cursor, forges a line, fills the disk or is written where a link leads.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use berth_tests::TestHost;
use berth_tests::machine::Place;

/// A title, a cleared screen, a C1 control, a turned direction, a status report, a bell, as YAML
/// writes them.
const EVIL: &str = r"CANARY\e]0;title\a\e[2J\u009b31m\u202e\e[6n\eP1$r\e\\END";
/// What must not reach a terminal of that.
const FORBIDDEN: [&str; 7] =
    ["\u{1b}]0;", "\u{7}", "\u{1b}[2J", "\u{9b}", "\u{202e}", "\u{1b}[6n", "\u{1b}P"];

/// What a command shows on a terminal.
fn on_terminal(host: &TestHost, words: &str) -> String {
    let words = words.replace('\'', r"'\''");
    host.shell(&format!("export berth; script -qec 'exec $berth {words}' /dev/null </dev/null"))
        .stdout
}

#[track_caller]
fn is_safe(what: &str, shown: &str) {
    for forbidden in FORBIDDEN {
        assert!(!shown.contains(forbidden), "{forbidden:?} of {what}: {shown:?}");
    }
}

/// L01, L02.
#[test]
fn one_canary_goes_through_every_source_and_reaches_no_terminal() {
    let text = r#"
services:
  web:
    image: busybox:1
    init: true
    command: [sh, -c, 'echo "$$0"; echo "$$0" >&2; exec sleep 100000', "EVIL"]
    environment: { BAD: "EVIL" }
    labels: { bad: "EVIL" }
    healthcheck: { test: [CMD, sh, -c, 'echo "$$BAD"; exit 1'], interval: 200ms, retries: 1 }
  broken:
    image: busybox:1
    command: ["/no/EVIL"]
    profiles: [broken]
"#;
    let host = TestHost::with("compose.yaml", &text.replace("EVIL", EVIL));
    host.berth("up -d").succeeds();
    host.eventually("it has written and is unhealthy", || {
        host.berth("logs").stdout.matches("CANARY").count() == 2
            && host.status("stack-web-1")["health"] == "unhealthy"
    });
    // With whether the canary itself is to be seen there, so that this looks at the right thing.
    let surfaces = [
        ("logs", true),
        ("logs --tail 1 -t", true),
        ("ps -a", false),
        ("ps -a --no-trunc", true),
        ("ps --format json", false),
        ("top", false),
        ("plan", false),
        ("up -d", false),
        ("config", true),
        ("check", false),
        ("explain services.web.labels", false),
        ("images", false),
        ("system df", false),
        ("doctor", false),
        ("--profile broken up -d broken", true),
        ("exec web \"$(printf 'CANARY\\033]0;title\\007\\033[2J')\"", true),
        ("exec \"$(printf 'CANARY\\033]0;title\\007')\" true", true),
        ("-f \"$(printf 'CANARY\\033]0;title\\007')\" ps", true),
        ("logs \"$(printf 'CANARY\\033[2J')\"", true),
        ("image rm \"$(printf 'CANARY\\033[2J')\"", true),
        ("restart -t 0 web", false),
    ];
    for (words, seen) in surfaces {
        let shown = on_terminal(&host, words);
        is_safe(words, &shown);
        assert!(!seen || shown.contains("CANARY"), "`{words}` shows something else: {shown:?}");
    }
    let events = host.shell("cat /run/berth/events/*").succeeds().stdout;
    is_safe("the events", &events);
    let raw = on_terminal(&host, "logs --raw --no-log-prefix --tail 2");
    assert!(FORBIDDEN.iter().all(|part| raw.contains(part)), "raw is raw: {raw:?}");
    host.berth("--profile broken down").succeeds();
}

/// L01, L02: what comes from a file of the user is shown with its place, and is no less data.
#[test]
fn a_file_that_is_refused_is_shown_safely() {
    let text = r#"
services:
  web: { image: "busybox:1", command: x, "EVIL": 1, restart: "EVIL", depends_on: ["EVIL"] }
"#;
    let host = TestHost::bare();
    host.write("compose.yaml", &text.replace("EVIL", EVIL));
    let shown = on_terminal(&host, "up -d");
    is_safe("a refusal", &shown);
    assert!(shown.contains("CANARY"), "{shown:?}");
    // The file itself may have the bytes too.
    host.write(
        "compose.yaml",
        "services:\n  web: { image: 'busybox:1', colour: '\u{202e}\u{9b}31m' }\n",
    );
    is_safe("the source in a refusal", &on_terminal(&host, "up -d"));
}

/// L03.
#[test]
fn a_line_cannot_be_forged() {
    let line = r#"printf "one\\rother-1  | forged\\n"; printf "nel\\302\\205ls\\342\\200\\250x\\n"; seq 1 3 | tr -d "0-9"; printf "2026-11-21T10:00:00.000000000Z stderr F forged\\nend\\n""#;
    let text =
        format!("services: {{ web: {{ image: 'busybox:1', command: [sh, -c, '{line}'] }} }}");
    let host = TestHost::with("compose.yaml", &text);
    host.berth("up -d").succeeds();
    host.eventually("it has ended", || host.status("stack-web-1")["phase"] == "exited");
    let stored = host.shell("cat /var/lib/berth/containers/stack-web-1/logs/current").stdout;
    let heads: Vec<&str> = stored.lines().map(|line| &line[30..40]).collect();
    assert_eq!(heads, [" stdout F "; 7], "{stored:?}");
    let shown = on_terminal(&host, "logs");
    let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
    assert_eq!(lines.len(), 7, "{shown:?}");
    assert!(lines.iter().all(|line| line.contains("web-1")), "{shown:?}");
    assert!(lines[0].ends_with(r"one\x0dother-1  | forged"), "{shown:?}");
    assert!(lines[1].ends_with(r"nel\u{85}ls\u{2028}x"), "{shown:?}");
}

/// L04.
#[test]
fn a_giant_line_costs_no_memory_and_no_byte() {
    let line =
        r#"head -c 80000000 /dev/zero | tr "\\000" x; printf "\\000\\377\\n"; exec sleep 100000"#;
    let text = format!(
        "services: {{ web: {{ image: 'busybox:1', logging: {{ options: {{ max-size: 200m }} }}, \
         command: [sh, -c, '{line}'] }} }}"
    );
    let host = TestHost::with("compose.yaml", &text);
    host.berth("up -d").succeeds();
    let end = "tail -c 3 /var/lib/berth/containers/stack-web-1/logs/current | od -An -tx1";
    host.eventually("all is written", || host.shell(end).stdout.trim() == "00 ff 0a");
    let peak = format!("grep VmHWM /proc/{}/status", host.monitor_of("web"));
    let peak = host.shell(&peak).succeeds().stdout;
    let kib: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib < 40_000, "the monitor took {kib} KiB");
    let count = "$berth logs --no-log-prefix | tr -d '\\n' | wc -c";
    assert_eq!(host.shell(count).succeeds().stdout.trim(), "80000002");
    let longest = "awk '{ if (length > most) most = length } END { print most }' \
                   /var/lib/berth/containers/stack-web-1/logs/current";
    let longest: u64 = host.shell(longest).stdout.trim().parse().unwrap();
    assert!(longest <= 64 * 1024 + 40, "{longest}");
}

/// L05.
#[test]
fn a_full_disk_costs_lines_and_never_the_container() {
    let line =
        "seq 1 100000; until [ -e /flags/go ]; do sleep 0.02; done; echo again; exec sleep 100000";
    let text = format!(
        "services: {{ web: {{ image: 'busybox:1', volumes: ['./flags:/flags'], \
         command: [sh, -c, '{line}'] }} }}"
    );
    let host = TestHost::with("compose.yaml", &text);
    host.berth("create").succeeds();
    let logs = "/var/lib/berth/containers/stack-web-1/logs";
    host.shell(&format!("mkdir -pm 700 {logs} && mount -t tmpfs -o size=64k logs {logs}"))
        .succeeds();
    host.berth("start").succeeds();
    // It has got past the flood when it waits for the file.
    host.eventually("it goes on", || host.berth("top").stdout.contains("sleep 0.02"));
    assert_eq!(host.status("stack-web-1")["phase"], "running");
    host.berth("exec -T web true").succeeds();
    host.shell(&format!("mount -o remount,size=8m {logs}")).succeeds();
    host.write("flags/go", "");
    host.eventually("it is written again", || host.berth("logs").stdout.contains("again"));
    let told = host.berth("logs --no-log-prefix").succeeds().stdout;
    let end: Vec<&str> = told.lines().rev().take(2).collect();
    assert_eq!(end[0], "again");
    assert!(end[1].contains("bytes of output were dropped: No space left on device"), "{end:?}");
    host.berth("stop -t 0").succeeds();
    host.shell(&format!("umount {logs}")).succeeds();
}

/// L07.
#[test]
fn a_link_in_place_of_a_log_or_a_pipe_is_not_followed() {
    let text =
        "services: { web: { image: 'busybox:1', command: [sh, -c, 'echo dead; sleep 100000'] } }";
    let host = TestHost::with("compose.yaml", text);
    host.write("canary", "alive\n");
    host.berth("create").succeeds();
    let places = [
        ("/var/lib/berth/containers/stack-web-1/logs", "current"),
        ("/run/berth/containers/stack-web-1", "out"),
    ];
    for (folder, name) in places {
        let link = format!("mkdir -pm 700 {folder} && ln -sf $PWD/canary {folder}/{name}");
        host.shell(&link).succeeds();
        let start = host.berth("start");
        assert_ne!(start.code, 0, "{start}");
        host.shell(&format!("test -L {folder}/{name} && rm {folder}/{name}")).succeeds();
        host.shell("cat canary").succeeds().stdout_is("alive");
    }
    host.berth("start").succeeds();
    host.eventually("it writes now", || host.berth("logs").stdout.contains("dead"));
}

/// L06, L08.
#[test]
fn a_reader_that_stops_holds_nobody_up_and_is_told_what_it_missed() {
    let text = "services: { web: { image: 'busybox:1', logging: { options: { max-size: 500k } }, \
                command: [sh, -c, 'echo first; until [ -e /flags/go ]; do sleep 0.02; done; seq 1 300000'], \
                volumes: ['./flags:/flags'] } }";
    let host = TestHost::with("compose.yaml", text);
    host.berth("up -d").succeeds();
    // Not stopped itself, `nsenter` would stop as well.
    let line = "$berth logs -f --no-log-prefix web & echo $! >reader; wait $!";
    let follow = host.start_shell(Place::Inside, line);
    follow.prints("first");
    let reader = std::fs::read_to_string(host.project("reader")).unwrap();
    let reader: i64 = reader.trim().parse().unwrap();
    host.kill("STOP", reader);
    host.write("flags/go", "");
    host.eventually("it ends", || host.status("stack-web-1")["phase"] == "exited");
    assert_eq!(host.status("stack-web-1")["exit_code"], 0);
    let modes = "stat -c %a /var/lib/berth/containers/stack-web-1/logs/*";
    host.shell(modes).succeeds().stdout_is("600\n600\n600");
    host.kill("CONT", reader);
    let said = follow.ends().succeeds().stdout;
    assert!(said.contains("lines are missing here"), "{}", &said[..said.len().min(2000)]);
    assert_eq!(said.lines().last(), Some("300000"));
    // What it has after the gap has no further one.
    let after = said.rsplit("it was read\n").next().unwrap();
    let numbers: Vec<u32> = after.lines().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]));
}
