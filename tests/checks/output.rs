//! What containers say: on terminals, in logs, and how much of it.

use berth_tests::berth_program;
use berth_tests::evil::Evil;

use crate::bench::{Bench, Check, Outcome, holds};

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "L01",
        what: "terminal escapes in the output of a container",
        without: "text.sanitized",
        places: &[],
        run: escapes,
    },
    Check {
        id: "L02",
        what: "terminal escapes in words, labels and the file",
        without: "text.sanitized",
        places: &[],
        run: escapes_elsewhere,
    },
    Check {
        id: "L05",
        what: "the disk of the log is full",
        without: "log.survives",
        places: &[],
        run: full_disk,
    },
    Check {
        id: "L07",
        what: "the log is swapped for a link",
        without: "log.no_follow",
        places: &[],
        run: log_link,
    },
    Check {
        id: "C06",
        what: "a health check that writes without end",
        without: "probe.bounded",
        places: &[],
        run: flood,
    },
];

/// Titles, clipboard, links, cursor, device control, C1, bells, writing direction.
const ESCAPES: &[&[u8]] = &[
    b"\x1b]0;title\x07",
    b"\x1b]52;c;ZXZpbA==\x07",
    b"\x1b]8;;http://evil/\x1b\\link\x1b]8;;\x1b\\",
    b"\x1b[2J\x1b[1;1H",
    b"\x1bP+q544e\x1b\\",
    b"\x1b[6n",
    b"\x1bc",
    b"\x1b[?1049h",
    b"\x9b2J",
    "\u{9b}2J".as_bytes(),
    b"\x07\x07\x07",
    b"\x08\x08",
    b"over\rwritten",
    "\u{202e}reversed\u{2066}".as_bytes(),
    b"\x7f\x00\x0e\x0b",
    b"\x1b[31",
    b"\xc2",
    b"\x1b[1;31mred",
];

/// The first thing in the text that is neither text nor colour.
fn harm(text: &str) -> Option<String> {
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let colour = rest.strip_prefix("\x1b[").and_then(|body| {
            let end = body.find(|c: char| !c.is_ascii_digit() && c != ';' && c != ':')?;
            (body.as_bytes()[end] == b'm').then_some(2 + end + 1)
        });
        let bad = match next {
            '\n' | '\t' => false,
            // The end of a line on a terminal.
            '\r' => !rest.starts_with("\r\n"),
            c => {
                c.is_control()
                    || "\u{61c}\u{200e}\u{200f}".contains(c)
                    || ('\u{2028}'..='\u{202e}').contains(&c)
                    || ('\u{2066}'..='\u{2069}').contains(&c)
            }
        };
        if bad && colour.is_none() {
            return Some(rest.chars().take(20).collect::<String>().escape_debug().to_string());
        }
        rest = &rest[colour.unwrap_or(next.len_utf8())..];
    }
    None
}

fn escapes(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    std::fs::write(host.project("bytes"), [ESCAPES.join(&b"\n"[..]), b"\nend\n".to_vec()].concat())
        .expect("a file");
    bench.stack(
        "services: { web: { image: 'busybox:1', command: [cat, /bytes], volumes: ['./bytes:/bytes'] } }",
    );
    host.berth("up -d").succeeds();
    host.eventually("everything was said", || host.berth("logs web").stdout.contains("end"));
    bench.fired(ESCAPES.len());
    for how in
        ["logs web", "logs --no-log-prefix -t web", "logs --tail 3 web", "--ansi never logs web"]
    {
        let said = on_terminal(bench, how);
        assert!(said.contains("end") || how.contains("tail"), "{how} on a terminal: {said}");
        holds!(harm(&said).is_none(), "`{how}` says {}", harm(&said).unwrap_or_default());
    }
    Ok(())
}

/// What a command says on a terminal. Its own progress, which moves the cursor, is plain.
fn on_terminal(bench: &Bench, command: &str) -> String {
    let program = berth_program();
    let line = format!("exec {} --progress plain {command}", program.display());
    bench.host.write("command.sh", &line);
    bench.host.shell("script -qec 'sh command.sh' /dev/null </dev/null").stdout
}

fn escapes_elsewhere(bench: &Bench) -> Outcome {
    let host = &bench.host;
    let bad = "\x1b]0;title\x07\x1b[2J\u{9b}2J\u{202e}";
    Evil::image("said:1")
        .set("Labels", serde_json::json!({ "of": bad }))
        .set("Author", bad.into())
        .load(host);
    let quoted = serde_json::json!(bad)
        .to_string()
        .replace('\u{9b}', "\\u009b")
        .replace('\u{202e}', "\\u202e");
    bench.stack(&format!(
        "
services:
  web:
    image: said:1
    command: [sh, -c, 'echo $$0; exec sleep 100000', {quoted}]
    labels: {{ own: {quoted} }}
    environment: {{ OWN: {quoted} }}
    healthcheck: {{ test: [CMD, echo, {quoted}], interval: 1s }}
  other:
    image: said:1
    entrypoint: [{quoted}]
    profiles: [other]
"
    ));
    host.berth("up -d --wait").succeeds();
    let commands = [
        "ps",
        "ps -a",
        "top",
        "config",
        "plan",
        "explain web.environment",
        "check",
        "ls",
        "images",
        "image ls",
        "image history said:1",
        "image inspect said:1",
        "config --format json",
        "logs web",
        "--profile other up -d other",
        "exec -T web no-such-program-\u{1b}]0;x\u{7}",
        "up -d no-such-service-\u{1b}[2J",
        "-f no\u{1b}[2Jfile up",
        "--profile other plan",
        "logs other",
        "port web 80",
        "diff web",
    ];
    for command in commands {
        let said = on_terminal(bench, command);
        assert!(!said.contains("unrecognized"), "{said}");
        bench.fired(1);
        let found = harm(&said).unwrap_or_default();
        holds!(found.is_empty(), "`{}` says {found}", command.escape_debug());
    }
    // A file that is wrong is shown.
    bench.stack(&format!(
        "services: {{ web: {{ image: 'said:1', {quoted}: 1 }} }}\n# \u{1b}[2J\u{202e}\n"
    ));
    let wrong = host.berth("up -d");
    holds!(
        wrong.code == 65 && harm(&wrong.stderr).is_none(),
        "a wrong file: {}",
        harm(&wrong.stderr).unwrap_or_default()
    );
    bench.stack(
        "services: { web: { image: 'said:1' }, other: { image: 'said:1', profiles: [other] } }",
    );
    Ok(())
}

fn full_disk(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    bench.stack(
        "services: { web: { image: 'busybox:1', command: [sh, -c, \
         'while :; do head -c 60000 /dev/zero | tr \"\\\\000\" x | fold -w 99; echo; echo beat >/data/beat; sleep 0.05; done'],
         volumes: ['data:/data'] } }\nvolumes: { data: {} }",
    );
    host.berth("create").succeeds();
    let logs = "/var/lib/berth/containers/stack-web-1/logs";
    host.shell(&format!("mkdir -p -m 700 {logs} && mount -t tmpfs -o size=128k small {logs}"))
        .succeeds();
    host.berth("start").succeeds();
    let (pid, monitor) = (host.pid_of("web"), host.monitor_of("web"));
    let full = || host.shell(&format!("df --output=avail {logs} | tail -n 1")).stdout.trim() == "0";
    host.eventually("the disk is full", full);
    let beat = "/var/lib/berth/volumes/stack_data/data/beat";
    host.shell(&format!("rm -f {beat}")).succeeds();
    bench.fired(1);
    std::thread::sleep(std::time::Duration::from_millis(500));
    let alive = host.shell(&format!("test -e /proc/{monitor}")).code == 0;
    holds!(alive, "the monitor has ended");
    host.eventually("the container goes on", || host.shell(&format!("test -e {beat}")).code == 0);
    assert_eq!(host.pid_of("web"), pid, "the same process");
    // With room again, it says what was lost and goes on.
    host.shell(&format!("mount -o remount,size=64m {logs}")).succeeds();
    host.eventually("the loss is told", || host.berth("logs web").stdout.contains("were dropped"));
    host.berth("stop -t 0").succeeds();
    host.shell(&format!("umount {logs}")).succeeds();
    Ok(())
}

fn log_link(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    bench.stack("services: { web: { image: 'busybox:1', command: [sh, -c, 'echo written; exec sleep 100000'] } }");
    host.shell("echo alive >canary; mkfifo fifo").succeeds();
    let log = "/var/lib/berth/containers/stack-web-1/logs/current";
    for target in ["canary", "fifo"] {
        host.berth("up -d").succeeds();
        host.berth("stop -t 0").succeeds();
        host.shell(&format!("rm -f {log}; ln -s $PWD/{target} {log}")).succeeds();
        bench.fired(1);
        let up = host.shell("timeout -s KILL 20 $berth up -d");
        holds!(up.code != 137, "`up` hangs on a {target}");
        let canary = host.shell("sleep 0.3; cat canary").stdout;
        holds!(canary.trim() == "alive", "the log was written to another file: {canary}");
        host.shell(&format!("rm -f {log}")).succeeds();
        host.berth("down -t 0").succeeds();
    }
    Ok(())
}

fn flood(bench: &Bench) -> Outcome {
    let host = &bench.host;
    host.load(&berth_tests::images::busybox());
    bench.stack(
        "services: { web: { image: 'busybox:1', command: [sleep, '100000'], healthcheck: { \
         test: 'head -c 100000000 /dev/zero; touch /tmp/done', interval: 1s, timeout: 60s } } }",
    );
    host.berth("up -d").succeeds();
    let monitor = host.monitor_of("web");
    let most = || -> u64 {
        let line = format!("sed -n 's/VmHWM:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/{monitor}/status");
        host.shell(&line).stdout.trim().parse().unwrap_or(0)
    };
    let before = most();
    let line = "exec -T web sh -c 'test -e /tmp/done'";
    host.eventually("a check has written everything", || host.berth(line).code == 0);
    bench.fired(1);
    let rise = most().saturating_sub(before);
    holds!(rise < 8 << 10, "the monitor grew by {rise} KiB");
    let kept = host.shell("cat /run/berth/containers/stack-web-1/status.json | wc -c").stdout;
    holds!(
        kept.trim().parse::<u64>().is_ok_and(|size| size < 64 << 10),
        "{kept} bytes of it are kept"
    );
    Ok(())
}
