//! Readiness that needs nothing in the image, and what becomes of what is unhealthy.

use std::io::Write;

use berth_tests::TestHost;

fn health(host: &TestHost, service: &str) -> String {
    let status = host.status(&format!("stack-{service}-1"));
    status["health"].as_str().unwrap_or_default().to_owned()
}

/// A service that does nothing of what is waited for until somebody makes `/tmp/go`.
fn waiting(then: &str, ready: &str, more: &str) -> String {
    format!(
        "
services:
  web:
    image: busybox:1
    init: true
    command: [sh, -c, 'while [ ! -e /tmp/go ]; do sleep 0.05; done; {then}']
    x-berth: {{ ready: {{ {ready}, interval: 100ms, retries: 1000 }} }}
{more}"
    )
}

/// `up --wait` waits until `/tmp/go` is made.
#[track_caller]
fn becomes_ready(stack: &str) -> TestHost {
    let host = TestHost::with("compose.yaml", stack);
    host.berth("up -d").succeeds();
    assert_eq!(health(&host, "web"), "starting");
    host.berth("ps").succeeds().stdout_has("(health: starting)");
    let wait = host.start_berth("up --wait");
    host.berth("exec -T web touch /tmp/go").succeeds();
    wait.ends().succeeds();
    host.berth("ps").succeeds().stdout_has("(healthy)");
    host
}

#[test]
fn a_port_that_takes_connections_is_ready() {
    becomes_ready(&waiting("exec nc -ll -p 5432 -e true", "tcp: 5432", ""));
}

#[test]
fn a_port_on_an_address_of_the_container_alone_is_ready() {
    becomes_ready(&waiting("exec httpd -f -p $$(hostname -i):5432", "tcp: 5432", ""));
}

#[test]
fn a_port_is_looked_at_where_the_container_has_its_network() {
    for mode in ["none", "host"] {
        let more = format!("    network_mode: {mode}\n");
        becomes_ready(&waiting("exec nc -ll -p 5432 -e true", "tcp: 5432", &more));
    }
}

#[test]
fn a_page_that_answers_is_ready() {
    let serve = "mkdir /tmp/www; echo ok >/tmp/www/health; exec httpd -f -p 8080 -h /tmp/www";
    let host = becomes_ready(&waiting(serve, "http: { port: 8080, path: /health }", ""));
    host.berth("exec -T web rm /tmp/www/health").succeeds();
    host.eventually("it says so", || {
        host.status("stack-web-1")["health_output"] == "the page answers 404"
    });
}

#[test]
fn a_page_may_be_asked_to_answer_otherwise() {
    let serve = "mkdir /tmp/www; exec httpd -f -p 8080 -h /tmp/www";
    becomes_ready(&waiting(serve, "http: { port: 8080, path: /no, status: 404 }", ""));
}

#[test]
fn a_line_of_the_output_is_ready_and_stays_so() {
    let host = becomes_ready(&waiting(
        "printf \"now rea\"; sleep 0.1; echo \"dy 42\" >&2; echo \"dy 42\"; exec sleep 100000",
        "log: '^now ready [0-9]+$$'",
        "    stop_grace_period: 1s\n",
    ));
    host.kill("KILL", host.monitor_of("web"));
    host.berth("up -d").succeeds();
    assert_eq!(health(&host, "web"), "healthy", "the new monitor knows");
    host.berth("restart web").succeeds();
    host.eventually("its next life has to say it anew", || health(&host, "web") == "healthy");
}

#[test]
fn a_line_that_was_written_counts_for_changed_times_too() {
    let stack = waiting("echo now; exec sleep 100000", "log: now", "");
    let host = becomes_ready(&stack);
    let before = host.pid_of("web");
    let changed = "interval: 50ms, retries: 2 }, on_unhealthy: restart }";
    host.edit("compose.yaml", "interval: 100ms, retries: 1000 } }", changed);
    host.berth("up -d").succeeds();
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(health(&host, "web"), "healthy");
    assert_eq!(host.pid_of("web"), before);
}

#[test]
fn a_new_monitor_still_waits_for_the_line() {
    let stack = waiting("echo now; exec sleep 100000", "log: now", "");
    let host = TestHost::with("compose.yaml", &stack);
    host.berth("up -d").succeeds();
    host.kill("KILL", host.monitor_of("web"));
    host.berth("exec -T web touch /tmp/go").succeeds();
    host.berth("up --wait").succeeds();
}

#[test]
fn a_line_that_a_killed_monitor_has_heard_counts_for_the_next() {
    let stack = waiting("exec sleep 100000", "log: '^now ready$$'", "");
    let host = TestHost::with("compose.yaml", &stack);
    host.berth("up -d").succeeds();
    host.kill("KILL", host.monitor_of("web"));
    // As one leaves it that is killed between the log and its status.
    let log = host.machine().path("/var/lib/berth/containers/stack-web-1/logs/current");
    let mut log = std::fs::File::options().append(true).open(log).unwrap();
    let now = host.shell("date -u +%Y-%m-%dT%H:%M:%S.%NZ").stdout;
    let now = now.trim();
    write!(log, "{now} stdout P now\n{now} hook-> F now ready\n{now} stdout F  ready\n").unwrap();
    host.berth("up --wait").succeeds();
    assert_eq!(health(&host, "web"), "healthy");
}

#[test]
fn dependents_wait_for_the_sign() {
    let more = "
  client:
    image: busybox:1
    command: [nc, -w, '5', web, '5432']
    depends_on: { web: { condition: service_healthy } }
";
    let stack = waiting("exec nc -ll -p 5432 -e echo hello", "tcp: 5432", more);
    let host = TestHost::with("compose.yaml", &stack);
    let run = host.start_berth("up -d");
    host.eventually("it waits", || {
        host.status("stack-web-1")["phase"] == "running" && health(&host, "web") == "starting"
    });
    host.berth("exec -T web touch /tmp/go").succeeds();
    run.ends().succeeds();
    host.eventually("it was answered", || host.berth("logs client").stdout.contains("hello"));
}

#[test]
fn what_never_becomes_ready_is_unhealthy_and_says_why() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    x-berth: { ready: { tcp: 5432, interval: 50ms, retries: 2 } }
",
    );
    host.berth("up --wait").fails_with(5).stderr_has("unhealthy");
    let said = host.status("stack-web-1")["health_output"].to_string();
    assert!(said.contains("port 5432: Connection refused"), "{said}");
    host.pid_of("web");
}

#[test]
fn a_port_that_takes_and_does_not_answer_is_not_a_page() {
    let stack = "
services:
  web:
    image: busybox:1
    command: [nc, -ll, -p, '80', -e, sleep, '100']
    x-berth: { ready: { http: '80', timeout: 200ms, interval: 50ms, retries: 2 } }
";
    let host = TestHost::with("compose.yaml", stack);
    host.berth("up --wait").fails_with(5);
    assert_eq!(host.status("stack-web-1")["health_output"], "the look at it took too long");
}

#[test]
fn probe_and_sign_both_count() {
    let more =
        "    healthcheck: { test: [CMD, test, -e, /tmp/good], interval: 100ms, retries: 1000 }\n";
    let stack = waiting("exec nc -ll -p 5432 -e true", "tcp: 5432", more);
    let host = TestHost::with("compose.yaml", &stack);
    host.berth("up -d").succeeds();
    host.berth("exec -T web touch /tmp/go").succeeds();
    host.eventually("the sign is there", || {
        host.status("stack-web-1")["checks"] == serde_json::json!(["starting", "healthy"])
    });
    assert_eq!(health(&host, "web"), "starting");
    host.berth("exec -T web touch /tmp/good").succeeds();
    host.eventually("both are", || health(&host, "web") == "healthy");
}

#[test]
fn without_a_sign_there_is_no_health() {
    let host = TestHost::with(
        "compose.yaml",
        "services: { web: { image: 'busybox:1', command: [sleep, '100000'] } }",
    );
    host.berth("up --wait").succeeds();
    assert_eq!(health(&host, "web"), "none");
    host.berth("ps").succeeds().stdout_lacks("healthy");
}

/// Unhealthy as soon as `/tmp/bad` is there.
fn ill(more: &str) -> String {
    format!(
        "
services:
  web:
    image: busybox:1
    command: [sh, -c, 'rm -f /tmp/bad; exec sleep 100000']
    healthcheck: {{ test: [CMD, test, '!', -e, /tmp/bad], interval: 100ms, retries: 2 }}
{more}"
    )
}

#[test]
fn what_is_unhealthy_is_restarted_where_the_file_says_so() {
    let host = TestHost::with("compose.yaml", &ill("    x-berth: { on_unhealthy: restart }\n"));
    host.berth("up --wait").succeeds();
    let before = host.pid_of("web");
    host.berth("exec -T web touch /tmp/bad").succeeds();
    host.eventually("it is well again", || {
        let status = host.status("stack-web-1");
        status["restarts"] == 1 && status["health"] == "healthy" && status["pid"] != before.pid
    });
    let events = std::fs::read_to_string(host.machine().path("/run/berth/events/stack")).unwrap();
    assert!(
        events.contains(r#""event":"restart","restarts":1,"why":"it was unhealthy""#),
        "{events}"
    );
    assert!(events.contains(r#""health":"unhealthy""#), "{events}");
}

#[test]
fn what_is_unhealthy_is_left_alone_otherwise() {
    let host = TestHost::with("compose.yaml", &ill("    restart: always\n"));
    host.berth("up --wait").succeeds();
    let before = host.pid_of("web");
    host.berth("exec -T web touch /tmp/bad").succeeds();
    host.eventually("it is unhealthy", || health(&host, "web") == "unhealthy");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(host.pid_of("web"), before);
}

#[test]
fn what_the_user_stops_is_not_restarted_for_its_health() {
    let more = "    x-berth: { on_unhealthy: restart }\n    stop_grace_period: 2s\n";
    let stack = ill(more).replace("exec sleep 100000", "trap : TERM; while :; do sleep 0.1; done");
    let host =
        TestHost::with("compose.yaml", &stack.replace("    image", "    init: false\n    image"));
    host.berth("up --wait").succeeds();
    host.berth("exec -T web touch /tmp/bad").succeeds();
    host.eventually("it is being ended", || host.status("stack-web-1")["recycling"] == true);
    host.berth("stop").succeeds();
    let status = host.status("stack-web-1");
    assert!(status["phase"] == "exited" && status["restarts"] == 0, "{status}");
}

#[test]
fn a_restart_for_health_outlives_a_killed_monitor() {
    let more = "    x-berth: { on_unhealthy: restart }\n    stop_grace_period: 2s\n";
    let stack = ill(more).replace("exec sleep 100000", "trap : TERM; while :; do sleep 0.1; done");
    let host =
        TestHost::with("compose.yaml", &stack.replace("    image", "    init: false\n    image"));
    host.berth("up --wait").succeeds();
    host.berth("exec -T web touch /tmp/bad").succeeds();
    host.eventually("it is being ended", || host.status("stack-web-1")["recycling"] == true);
    host.kill("KILL", host.monitor_of("web"));
    host.berth("up -d").succeeds();
    host.eventually("it is well again", || {
        let status = host.status("stack-web-1");
        status["restarts"] == 1 && status["health"] == "healthy"
    });
}
