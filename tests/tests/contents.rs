//! Another content of a config or secret, and `x-berth.on_change`.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use berth_tests::TestHost;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

const RECORD: &str = "/var/lib/berth/containers/stack-web-1/record.json";

/// One that has a config and a secret, and says what the config is when it gets a signal.
fn host_with(on_change: &str) -> TestHost {
    let text = format!(
        "
services:
  web:
    image: busybox:1
    command: [sh, -c, 'trap \"cat /settings\" HUP; cat /settings; while :; do sleep 0.05; done']
    stop_grace_period: 1s
    restart: always
    configs: [{{ source: settings, target: /settings, uid: '7', mode: 0440 }}]
    secrets: [token]
    x-berth: {{ on_change: {on_change} }}
configs:
  settings: {{ file: settings.conf }}
secrets:
  token: {{ file: token.txt }}
"
    );
    let host = TestHost::with("compose.yaml", &text);
    contents(&host, "port = 1", "s3cr3t");
    host.berth("up -d").succeeds();
    // A signal before that would end it.
    host.eventually("it listens", || said(&host) == "port = 1");
    host
}

fn contents(host: &TestHost, config: &str, secret: &str) {
    host.write("settings.conf", &format!("{config}\n"));
    host.write("token.txt", &format!("{secret}\n"));
}

/// What the container sees.
#[track_caller]
fn inside(host: &TestHost) -> String {
    let look = "cat /settings /run/secrets/token; stat -c \"%u %a\" /settings";
    let seen = host.berth(&format!("exec -T web sh -c '{look}'")).succeeds().stdout;
    seen.trim_end().replace('\n', ", ")
}

/// What the program has said of its config, the last of it.
fn said(host: &TestHost) -> String {
    let said = host.berth("logs --no-log-prefix web").succeeds().stdout;
    said.lines().last().unwrap_or_default().to_owned()
}

fn runs_again_after(host: &TestHost, old: i64) {
    let again = || host.status("stack-web-1")["pid"].as_i64().is_some_and(|p| p > 0 && p != old);
    host.eventually("it runs again", again);
}

#[test]
fn a_container_that_runs_sees_the_new_content_and_keeps_it() {
    let host = host_with("none");
    assert_eq!(inside(&host), "port = 1, s3cr3t, 7 440");
    let before = host.pid_of("web");
    // Longer, shorter, and of nothing.
    for (config, secret) in [("port = 20000", "another secret"), ("p", "s"), ("", "")] {
        contents(&host, config, secret);
        host.berth("plan")
            .succeeds()
            .stdout_has("update  web-1")
            .stdout_has("configs./settings.content")
            .stdout_has("secrets./run/secrets/token.content")
            .stdout_lacks(secret.get(1..).filter(|text| !text.is_empty()).unwrap_or("s3cr3t"));
        host.berth("up -d").succeeds();
        assert_eq!(inside(&host), format!("{config}, {secret}, 7 440"));
        host.berth("plan --detailed-exitcode").fails_with(0);
    }
    assert_eq!(host.pid_of("web"), before);
    assert_eq!(said(&host), "port = 1", "nobody has told it");

    // The next process has it too: after an end of its own, a restart, and with a new monitor.
    contents(&host, "port = 4", "fourth");
    host.berth("up -d").succeeds();
    host.kill("KILL", before.pid);
    runs_again_after(&host, before.pid);
    assert_eq!(inside(&host), "port = 4, fourth, 7 440");
    host.berth("restart web").succeeds();
    assert_eq!(inside(&host), "port = 4, fourth, 7 440");
    host.kill("KILL", host.monitor_of("web"));
    contents(&host, "port = 5", "fifth");
    let before = host.pid_of("web");
    host.berth("up -d").succeeds();
    assert_eq!((inside(&host), host.pid_of("web")), ("port = 5, fifth, 7 440".into(), before));

    // One that does not run has it when it starts, and a rollback brings the config back.
    host.berth("stop web").succeeds();
    contents(&host, "port = 6", "sixth");
    host.berth("up -d").succeeds();
    assert_eq!(inside(&host), "port = 6, sixth, 7 440");
    let before = host.pid_of("web");
    host.berth("rollback 1").succeeds();
    assert_eq!((inside(&host), host.pid_of("web")), ("port = 1, sixth, 7 440".into(), before));
}

#[test]
fn a_signal_tells_the_program_that_runs_on() {
    let host = host_with("signal:HUP");
    let before = host.pid_of("web");
    contents(&host, "port = 2", "s3cr3t");
    host.berth("up -d").succeeds();
    host.eventually("it was told", || said(&host) == "port = 2");
    assert_eq!(host.pid_of("web"), before);
    // What is no content tells it nothing.
    host.edit(
        "compose.yaml",
        "    restart: always\n",
        "    restart: always\n    labels: { tier: web }\n",
    );
    host.berth("up -d").succeeds();
    assert_eq!(host.pid_of("web"), before);
    let said = host.berth("logs --no-log-prefix web").succeeds().stdout;
    assert_eq!(said, "port = 1\nport = 2\n");
}

#[test]
fn the_very_same_container_is_restarted_or_another_one_made() {
    let id = |host: &TestHost| {
        let text = fs::read(host.machine().path(RECORD)).expect("a record");
        let record: serde_json::Value = serde_json::from_slice(&text).expect("a record");
        record["id"].as_str().expect("an id").to_owned()
    };
    for (on_change, line, same) in
        [("restart", "restart  web-1", true), ("replace", "replace  web-1", false)]
    {
        let host = host_with(on_change);
        let before = (host.pid_of("web"), id(&host));
        host.berth("exec -T web touch /mark").succeeds();
        contents(&host, "port = 2", "other");
        host.berth("plan").succeeds().stdout_has(line);
        host.berth("up -d").succeeds();
        assert_eq!(inside(&host), "port = 2, other, 7 440");
        assert_ne!(host.pid_of("web"), before.0);
        assert_eq!(id(&host) == before.1, same, "{on_change}");
        host.berth("plan --detailed-exitcode").fails_with(0);
    }
}

#[test]
fn a_run_that_is_killed_in_between_is_finished_by_the_next() {
    for on_change in ["none", "signal:HUP", "restart"] {
        let host = host_with(on_change);
        let before = host.pid_of("web");
        for round in 2..14 {
            let config = format!("port = {round}{}", "0".repeat(1000 * (round % 3)));
            contents(&host, &config, &format!("secret {round}"));
            let up = host.start_berth("up -d");
            let _ = up.pid();
            sleep(Duration::from_millis(3 * round as u64));
            if let Some(pid) = up.running() {
                let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            drop(up.ends());
            host.berth("up -d").succeeds();
            assert_eq!(inside(&host), format!("{config}, secret {round}, 7 440"), "{on_change}");
            host.berth("plan --detailed-exitcode").fails_with(0);
            if on_change != "none" {
                host.eventually("the program knows it", || said(&host) == config);
            }
        }
        assert_eq!(host.pid_of("web") == before, on_change != "restart", "{on_change}");
    }
}

#[test]
fn what_was_cut_short_before_its_record_is_written_and_told_again() {
    let host = host_with("signal:HUP");
    let before = host.pid_of("web");
    // As a kill leaves it between two bytes: half of the new ones, and nobody told.
    let path = host.machine().path(RECORD);
    let text = fs::read_to_string(&path).expect("a record");
    let updating = text.replacen('{', "{ \"updating\": true,", 1);
    assert!(!text.contains("updating"), "{text}");
    fs::write(path, updating).expect("a record");
    host.shell("printf 'port = 2por' > /var/lib/berth/containers/stack-web-1/files/1").succeeds();
    host.berth("plan").succeeds().stdout_has("drift: a change of it was cut short");
    host.berth("up -d").succeeds();
    assert_eq!((inside(&host), host.pid_of("web")), ("port = 1, s3cr3t, 7 440".into(), before));
    let told =
        || host.berth("logs --no-log-prefix web").succeeds().stdout == "port = 1\nport = 1\n";
    host.eventually("it was told", told);

    // It is told of contents alone, also where these were written before the kill.
    for mark in ["\"updating\": true,", "\"updating\": true, \"rewriting\": true,"] {
        let marked = text.replacen('{', &format!("{{ {mark}"), 1);
        fs::write(host.machine().path(RECORD), marked).expect("a record");
        host.berth("up -d").succeeds();
        host.berth("plan --detailed-exitcode").fails_with(0);
    }
    let told = || host.berth("logs --no-log-prefix web").succeeds().stdout;
    host.eventually("it was told once more", || told() == "port = 1\n".repeat(3));
}

#[test]
fn a_content_that_somebody_changed_is_drift() {
    let host = host_with("none");
    let before = host.pid_of("web");
    host.shell("echo port = 666 > /var/lib/berth/containers/stack-web-1/files/1").succeeds();
    assert_eq!(inside(&host), "port = 666, s3cr3t, 7 440");
    host.berth("plan --detailed-exitcode")
        .fails_with(2)
        .stdout_has("Drifted since it was applied:")
        .stdout_has("drift: a config or secret has another content");
    host.berth("up -d").succeeds();
    assert_eq!((inside(&host), host.pid_of("web")), ("port = 1, s3cr3t, 7 440".into(), before));
    host.shell("echo evil > /run/berth/containers/stack-web-1/files/0").succeeds();
    host.berth("up -d").succeeds();
    assert_eq!((inside(&host), host.pid_of("web")), ("port = 1, s3cr3t, 7 440".into(), before));
    host.berth("plan --detailed-exitcode").fails_with(0);
}

#[test]
fn another_word_is_refused_with_its_place() {
    let host = TestHost::with(
        "compose.yaml",
        "services:\n  web:\n    image: busybox:1\n    x-berth: { on_change: recreate }\n",
    );
    host.berth("up -d")
        .fails_with(65)
        .stderr_has("compose.yaml:4:27")
        .stderr_has("`recreate` is not known here")
        .stderr_has("────┬───")
        .stderr_has("did you mean `replace`?");
}
