//! `check` tells everything that is wrong with the files at once, and touches nothing.

use berth_tests::TestHost;
use serde_json::{Value, json};

const FINE: &str = "services:\n  web: { image: localhost/host, command: [sleep, '1'] }\n  off: { image: a, profiles: [x] }\n";
const BAD: &str = "services:
  web:
    image: localhost/host
    comand: [x]
    cpu_count: 2
    use_api_socket: true
    depends_on: [databse]
  database:
    image: localhost/host
    secrets: [password]
secrets:
  password: { file: ./password }
";

/// Problems as `LINE SEVERITY CODE`.
fn told(rows: &Value) -> Vec<String> {
    let rows = rows.as_array().expect("a list");
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    rows.iter()
        .map(|r| format!("{} {} {}", r["line"], text(r, "severity"), text(r, "code")))
        .collect()
}

#[test]
fn files_without_problems_are_told_in_one_line() {
    let host = TestHost::with("compose.yaml", FINE);
    host.berth("check")
        .succeeds()
        .stdout_is("compose.yaml: 1 service (1 more switched off), no problems\n");
    host.berth("check --format json").succeeds().stdout_is("[]\n");
    host.leaves_nothing_but(&[]);
}

#[test]
fn all_problems_of_file_and_references_come_at_once_in_their_order() {
    let host = TestHost::with("compose.yaml", BAD);
    let report = host.berth("check").fails_with(65);
    for part in
        ["comand", "cpu_count", "use_api_socket", "databse", "did you mean `database`?", "password"]
    {
        assert!(report.stdout.contains(part), "{part}\n{report}");
    }
    assert!(report.stdout.ends_with("\n4 errors, 1 warning\n"), "{report}");
    let rows = host.berth("check --format json").fails_with(65).json();
    assert_eq!(
        told(&rows),
        [
            "4 error berth::unknown_key",
            "5 warning berth::inert",
            "6 error berth::not_yet",
            "7 error berth::unknown_dependency",
            "12 error berth::unreadable",
        ]
    );
    host.leaves_nothing_but(&[]);
}

#[test]
fn a_problem_for_programs_has_its_whole_place() {
    let host = TestHost::with("compose.yaml", "services:\n  web: { image: a, comand: [x] }\n");
    let rows = host.berth("check --format json").fails_with(65).json();
    assert_eq!(
        rows[0],
        json!({
            "code": "berth::unknown_key",
            "severity": "error",
            "message": "`services.web`: a service has no attribute `comand`",
            "file": "compose.yaml",
            "line": 2,
            "column": 20,
            "end_line": 2,
            "end_column": 26,
            "help": "did you mean `command`?",
            "labels": [{
                "file": "compose.yaml",
                "line": 2,
                "column": 20,
                "end_line": 2,
                "end_column": 26,
                "text": "unknown"
            }],
        })
    );
}

#[test]
fn warnings_are_no_failure_unless_it_is_strict() {
    let host = TestHost::with("compose.yaml", "services:\n  web: { image: a, cpu_count: 2 }\n");
    host.berth("check").succeeds().stdout_has("\n1 warning\n");
    host.berth("check --strict").fails_with(65).stdout_has("\n1 warning\n");
}

#[test]
fn what_only_this_host_lacks_is_told_with_its_place() {
    let host = TestHost::bare();
    host.write(
        "compose.yaml",
        "services:\n  web:\n    image: a\n    ports: ['[::1]:8080:80']\n    volumes: [{ type: bind, source: ./gone, target: /x, bind: { create_host_path: false } }]\n",
    );
    let rows = host.berth("check --format json").fails_with(65).json();
    assert_eq!(told(&rows), ["4 warning berth::inert", "5 error berth::host_lacks"]);
    host.shell("mkdir gone").succeeds();
    host.berth("check").succeeds();
}

#[test]
fn without_root_it_checks_too_and_says_what_it_did_not_see() {
    let host = TestHost::with(
        "compose.yaml",
        "services:\n  web: { image: a, secrets: [key], ulimits: { nofile: 5 } }\nsecrets: { key: { file: ./key } }\n",
    );
    host.shell("cp $berth /run/berth-copy && chmod 755 /run/berth-copy").succeeds();
    host.shell("echo x >key && chmod 600 key && chmod -R go+rX . && chmod 600 key").succeeds();
    let check = host.shell(
        "chmod go+x . .. ../.. 2>/dev/null; setpriv --reuid 65534 --regid 65534 --clear-groups /run/berth-copy check",
    );
    check
        .succeeds()
        .stdout_has("not looked at: `key`: only root can read it\n")
        .stdout_has("not looked at: whether this host can raise `ulimits`")
        .stdout_has("compose.yaml: 1 service, no problems\n");
    host.shell("rm /run/berth-copy").succeeds();
}

#[test]
fn a_service_that_is_not_there_is_a_mistake_of_the_words() {
    let host = TestHost::with("compose.yaml", FINE);
    host.berth("check wbe").fails_with(1).stderr_has("no such service: `wbe`").stderr_has("`web`");
}

#[test]
fn what_is_for_another_platform_is_refused_and_its_own_is_no_obstacle() {
    let text = "services:\n  web:\n    image: busybox:1\n    platform: linux/s390x\n    command: [sleep, '1000']\n";
    let host = TestHost::with("compose.yaml", text);
    let rows = host.berth("check --format json").fails_with(65).json();
    assert_eq!(told(&rows), ["4 error berth::host_lacks"]);
    host.berth("up -d").fails_with(65).stderr_has(
        "compose.yaml:4:15: service `web` is for linux/s390x, and this host runs linux/",
    );
    host.berth("pull").succeeds().stderr_has("web is left out: it is for a platform");
    let machine = host.shell("uname -m").stdout.trim().to_owned();
    host.edit("compose.yaml", "linux/s390x", &machine);
    host.berth("up -d").succeeds();
    host.berth("down").succeeds();
}
