//! Services start when what they need is there, and stop in the other order.

use berth_tests::TestHost;

#[test]
fn a_health_gate_opens_when_the_probe_succeeds() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  database:
    image: busybox:1
    command: [sh, -c, 'sleep 1; touch /ready; exec sleep 100000']
    healthcheck: { test: 'test -e /ready', interval: 100ms, retries: 100 }
  web:
    image: busybox:1
    command: [sleep, '100000']
    depends_on: { database: { condition: service_healthy } }
",
    );
    host.berth("up -d").succeeds();
    assert_eq!(host.status("stack-database-1")["health"], "healthy");
    let started = |name: &str| host.status(name)["started_ms"].as_i64().unwrap();
    let gap = started("stack-web-1") - started("stack-database-1");
    assert!(gap >= 1000, "the gate opened after {gap} ms");
}

#[test]
fn a_service_waits_for_one_that_has_to_end_well() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  migrate:
    image: busybox:1
    command: [sh, -c, 'sleep 0.5; echo done >/out/result']
    volumes: ['out:/out']
  web:
    image: busybox:1
    command: [sh, -c, 'cat /out/result; exec sleep 100000']
    volumes: ['out:/out']
    depends_on: { migrate: { condition: service_completed_successfully } }
volumes:
  out:
",
    );
    host.berth("up -d").succeeds();
    host.eventually("the result shows", || host.berth("logs web").stdout.contains("done"));
    assert_eq!(host.status("stack-migrate-1")["exit_code"], 0);
    // As with Docker Compose, the next `up` runs it again and leaves what runs alone.
    let finished = host.status("stack-migrate-1")["finished_ms"].clone();
    let web = host.pid_of("web");
    host.berth("up -d").succeeds();
    assert_eq!(host.pid_of("web"), web);
    host.eventually("it has ended again", || {
        let status = host.status("stack-migrate-1");
        status["phase"] == "exited" && status["finished_ms"] != finished
    });
}

#[test]
fn what_depends_on_a_failed_service_is_not_started() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  migrate:
    image: busybox:1
    command: [sh, -c, 'exit 3']
  web:
    image: busybox:1
    command: [sleep, '100000']
    depends_on: { migrate: { condition: service_completed_successfully } }
  other:
    image: busybox:1
    command: [sleep, '100000']
",
    );
    let up = host.berth("up -d");
    assert_ne!(up.code, 0, "{up}");
    up.stderr_has("migrate").stderr_has("3");
    assert!(host.status("stack-web-1")["pid"].as_i64().unwrap_or(0) == 0);
    host.pid_of("other");
}

#[test]
fn an_unhealthy_dependency_closes_the_gate() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  database:
    image: busybox:1
    command: [sleep, '100000']
    healthcheck: { test: [CMD, 'false'], interval: 100ms, retries: 2 }
  web:
    image: busybox:1
    command: [sleep, '100000']
    depends_on: { database: { condition: service_healthy } }
",
    );
    let up = host.berth("up -d");
    assert_ne!(up.code, 0, "{up}");
    up.stderr_has("database").stderr_has("unhealthy");
    assert!(host.status("stack-web-1")["pid"].as_i64().unwrap_or(0) == 0);
}

#[test]
fn a_dependency_that_is_not_required_only_warns() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  extra:
    image: busybox:1
    command: [sh, -c, 'exit 3']
  web:
    image: busybox:1
    command: [sleep, '100000']
    depends_on: { extra: { condition: service_completed_successfully, required: false } }
",
    );
    host.berth("up -d").succeeds().stderr_has("extra");
    host.pid_of("web");
}

#[test]
fn dependents_stop_before_what_they_need() {
    let host = TestHost::with(
        "compose.yaml",
        "
x-last-words: &last
  image: busybox:1
  init: false
  command: [sh, /here/last-words.sh]
  volumes: ['.:/here']
services:
  web: { <<: *last, environment: { NAME: web }, depends_on: [app] }
  app: { <<: *last, environment: { NAME: app }, depends_on: [database] }
  database: { <<: *last, environment: { NAME: database } }
",
    );
    host.write("last-words.sh", include_str!("order/last-words.sh"));
    host.berth("up -d").succeeds();
    host.eventually("all three listen for the signal", || {
        ["web", "app", "database"]
            .iter()
            .all(|name| host.project(&format!("{name}.ready")).exists())
    });
    host.berth("down").succeeds();
    let ended = |name: &str| -> f64 {
        let path = host.project(&format!("{name}.ended"));
        std::fs::read_to_string(path).expect(name).trim().parse().expect("a time")
    };
    assert!(ended("web") < ended("app") && ended("app") < ended("database"));
}

#[test]
fn wait_comes_back_when_everything_is_healthy() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  web:
    image: busybox:1
    command: [sh, -c, 'sleep 0.5; touch /ready; exec sleep 100000']
    healthcheck: { test: 'test -e /ready', interval: 100ms, retries: 100 }
",
    );
    host.berth("up -d --wait").succeeds();
    assert_eq!(host.status("stack-web-1")["health"], "healthy");
}

#[test]
fn wait_tells_that_a_service_is_unhealthy() {
    let host = TestHost::with(
        "compose.yaml",
        "
services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    healthcheck: { test: 'echo no such luck; exit 1', interval: 100ms, retries: 2 }
",
    );
    let up = host.berth("up -d --wait");
    assert!([1, 5].contains(&up.code), "{up}");
    up.stderr_has("web");
}
