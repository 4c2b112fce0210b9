//! Tables for people, JSON for programs.

use berth_tests::TestHost;
use serde_json::Value;

const STACK: &str = "
services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    ports: ['127.0.0.1:8080:80']
    expose: ['9000', '53/udp', '80']
    volumes: ['data:/data']
    healthcheck: { test: [CMD, 'true'], interval: 1s }
  ended:
    image: busybox:1
    command: [sh, -c, 'exit 3']
volumes:
  data:
";

fn host() -> TestHost {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.eventually("it is healthy", || host.status("stack-web-1")["health"] == "healthy");
    host.eventually("it has ended", || host.status("stack-ended-1")["phase"] == "exited");
    host
}

/// Rows of a listing: one JSON object a line, or one array of them.
#[track_caller]
fn rows(host: &TestHost, words: &str) -> Vec<Value> {
    let listing = host.berth(words).succeeds();
    match serde_json::from_str(&listing.stdout) {
        Ok(Value::Array(rows)) => rows,
        Ok(row) => vec![row],
        Err(_) => listing.stdout.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect(),
    }
}

#[test]
fn ps_shows_what_runs_and_with_a_what_has_ended() {
    let host = host();
    let table = host.berth("ps").succeeds().stdout_has("stack-web-1").stdout_has("healthy");
    table.stdout_has("9000/tcp, 53/udp, 127.0.0.1:8080->80/tcp").stdout_lacks("stack-ended-1");
    host.berth("ps -a").succeeds().stdout_has("stack-ended-1").stdout_has("(3)");
    host.berth("ps --services").succeeds().stdout_is("web");
    let id = host.berth("ps -q").succeeds().stdout;
    assert!(id.trim().len() == 64 && id.trim().bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
}

#[test]
fn ps_as_json_has_the_names_docker_compose_uses() {
    let host = host();
    let rows = rows(&host, "ps -a --format json");
    let web = rows.iter().find(|row| row["Service"] == "web").expect("web");
    assert_eq!(web["Name"], "stack-web-1");
    assert_eq!(web["Project"], "stack");
    assert_eq!(web["State"], "running");
    assert_eq!(web["Health"], "healthy");
    assert_eq!(web["Publishers"][0]["PublishedPort"], 8080);
    assert_eq!(web["Publishers"][0]["TargetPort"], 80);
    let ended = rows.iter().find(|row| row["Service"] == "ended").expect("ended");
    assert_eq!(ended["State"], "exited");
    assert_eq!(ended["ExitCode"], 3);
}

#[test]
fn a_listing_takes_dockers_templates_with_headings_and_without() {
    let host = host();
    for (words, printed) in [
        (r"ps --format '{{.Service}}\t{{.State}}'", "web\trunning"),
        (r"ps --format 'table {{.Service}}\t{{.ExitCode}}'", "SERVICE   EXIT CODE\nweb       0"),
        (r"volume ls --format '{{.Name}}'", "stack_data"),
        (r"network ls --format 'table {{.Name}} {{.Driver}}'", "NAME DRIVER\nstack_default bridge"),
        (r"image ls --format '{{.Repository}}:{{.Tag}}'", "busybox:1"),
    ] {
        host.berth(words).succeeds().stdout_is(printed);
    }
    host.berth("ls -q --filter name=^sta").succeeds().stdout_is("stack");
    host.berth("ls -q --filter name=^tac").succeeds().stdout_is("");
    host.berth("ps --format '{{.Nope}}'").fails_with(64).stderr_has("`Nope`");
}

#[test]
fn volumes_networks_and_images_are_listed() {
    let host = host();
    host.berth("volume ls").succeeds().stdout_has("stack_data");
    host.berth("network ls").succeeds().stdout_has("stack_default");
    host.berth("image ls").succeeds().stdout_has("busybox");
    for words in ["volume ls --format json", "network ls --format json", "image ls --format json"] {
        assert!(!rows(&host, words).is_empty(), "{words}");
    }
}

#[test]
fn a_volume_in_use_is_not_removed() {
    let host = host();
    let rm = host.berth("volume rm stack_data");
    assert_ne!(rm.code, 0);
    rm.stderr_has("stack-web-1");
    host.berth("down").succeeds();
    host.berth("volume rm stack_data").succeeds();
    host.leaves_nothing_but(&[]);
}
