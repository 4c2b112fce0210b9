//! A changed file changes what it describes, and nothing else.

use berth_tests::TestHost;

const STACK: &str = "\
services:
  web:
    image: busybox:1
    command: [sleep, '100000']
    environment:
      LOG: info
    depends_on: [database]
  database:
    image: busybox:1
    command: [sleep, '100000']
  cache:
    image: busybox:1
    command: [sleep, '100000']
";

#[test]
fn a_changed_variable_replaces_that_container_and_keeps_the_others() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    let before = ["web", "database", "cache"].map(|service| host.pid_of(service));
    host.berth("exec -T web sh -c 'echo $LOG'").succeeds().stdout_is("info");

    host.edit("compose.yaml", "LOG: info", "LOG: debug");
    host.berth("plan").succeeds().stdout_has("environment").stdout_has("compose.yaml:6");
    host.berth("up -d").succeeds();

    let after = ["web", "database", "cache"].map(|service| host.pid_of(service));
    assert_ne!(before[0], after[0]);
    assert_eq!(before[1..], after[1..]);
    host.berth("exec -T web sh -c 'echo $LOG'").succeeds().stdout_is("debug");
}

#[test]
fn a_changed_line_of_an_environment_file_is_told_with_its_place() {
    let stack = STACK.replace("    environment:\n      LOG: info\n", "    env_file: app.env\n");
    let host = TestHost::with("compose.yaml", &stack);
    host.write("app.env", "# levels\nDEPTH=1\nexport LOG=info\n");
    host.berth("up -d").succeeds();
    host.edit("app.env", "LOG=info", "LOG=debug");
    host.berth("plan")
        .succeeds()
        .stdout_has("environment.LOG \"info\" → \"debug\" (app.env:3:8)")
        .stdout_has("1 replace, 3 unchanged");
}

#[test]
fn a_plan_is_shown_as_numbered_operations_and_as_a_graph_of_them() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.edit("compose.yaml", "LOG: info", "LOG: debug");
    host.berth("plan --ops")
        .succeeds()
        .stdout_has("0  stop web-1             changed")
        .stdout_has("3  start web-1   after 2  changed");
    host.berth("plan --graph dot").succeeds().stdout_has("n0 [label=\"0 stop web-1\"];");
    host.berth("plan --graph mermaid --detailed-exitcode").fails_with(2).stdout_has("n0 --> n1");
    host.berth("plan --graph dot --json").fails_with(64);
    host.berth("plan --down --ops cache")
        .succeeds()
        .stdout_has("1  remove cache-1  after 0  as asked")
        .stdout_lacks("web");
}

#[test]
fn a_plan_shows_what_was_applied_beside_what_is_wanted_without_secrets() {
    let stack = STACK.replace("LOG: info", "LOG: info\n      API_TOKEN: hunter2");
    let host = TestHost::with("compose.yaml", &stack);
    host.berth("up -d").succeeds();
    host.edit("compose.yaml", "LOG: info", "LOG: debug");
    host.edit("compose.yaml", "hunter2", "hunter3");
    host.berth("plan --diff")
        .succeeds()
        .stdout_has("--- services.web (applied)\n+++ services.web (wanted)\n@@ ")
        .stdout_has("-  API_TOKEN: (hidden)\n+  API_TOKEN: (hidden)  # compose.yaml:7:18\n")
        .stdout_has("-  LOG: \"info\"\n+  LOG: \"debug\"  # compose.yaml:6:12\n")
        .stdout_lacks("hunter");
    host.berth("plan --diff --down")
        .succeeds()
        .stdout_has("-  LOG: \"info\"\n")
        .stdout_lacks("hunter");
}

#[test]
fn a_plan_tells_why_something_happens_to_a_service_or_nothing() {
    let stack =
        STACK.replace("[database]", "{ database: { condition: service_started, restart: true } }");
    let host = TestHost::with("compose.yaml", &stack);
    host.berth("up -d").succeeds();
    host.edit("compose.yaml", "image: busybox:1\n    command: [sleep, '100000']\n  cache", "image: busybox:1\n    mem_limit: 64m\n    user: '7'\n    command: [sleep, '100000']\n  cache");
    host.berth("plan --why web")
        .succeeds()
        .stdout_has("restart web-1\n  ← follows: `database` restarts\n    replace database-1\n")
        .stdout_has("limits.memory — → \"64 MiB\" (compose.yaml:10:16): live\n")
        .stdout_has("user — → \"7\" (compose.yaml:11:11): replace\n");
    host.berth("plan --why cache")
        .succeeds()
        .stdout_has("keep cache-1\n  it runs\n  its description is the one that was applied\n")
        .stdout_lacks("steps");
    host.berth("plan --why databse").fails_with(1).stderr_has("did you mean `database`?");
    host.berth("plan --why database --down").succeeds().stdout_has("remove database-1\n  ← asked");
}

#[test]
fn a_plan_tells_by_its_status_whether_there_is_something_to_do() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("plan --detailed-exitcode").fails_with(2).stdout_has("web");
    host.berth("up -d").succeeds();
    host.berth("plan --detailed-exitcode").fails_with(0);
    host.edit("compose.yaml", "LOG: info", "LOG: debug");
    host.berth("plan --detailed-exitcode").fails_with(2);
    host.edit("compose.yaml", "LOG: debug", "LOG: info");
    host.berth("plan --detailed-exitcode").fails_with(0);
}

#[test]
fn a_second_up_changes_nothing() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    let before = ["web", "database", "cache"].map(|service| host.pid_of(service));
    // The kernel is sure of an IPv6 address a while after it was given.
    let unsure = || host.shell("ip -o address show tentative").succeeds().stdout;
    host.eventually("every address is settled", || unsure().is_empty());
    let files = host.ledger();

    host.berth("up -d").succeeds();

    assert_eq!(before, ["web", "database", "cache"].map(|service| host.pid_of(service)));
    let changed = host.ledger().since(&files, &["/projects/"]);
    assert!(changed.is_empty(), "{changed}");
}

#[test]
fn the_same_plan_is_printed_byte_for_byte() {
    let host = TestHost::with("compose.yaml", STACK);
    let plan = host.berth("plan").succeeds().stdout;
    assert_eq!(plan, host.berth("plan").succeeds().stdout);
    let json = host.berth("plan --json").succeeds();
    assert!(!json.json().is_null());
    assert_eq!(json.stdout, host.berth("plan --json").succeeds().stdout);
    host.leaves_nothing_but(&[]);
}

#[test]
fn a_dry_run_changes_nothing() {
    let host = TestHost::with("compose.yaml", STACK);
    let before = host.ledger();
    host.berth("--dry-run up -d").succeeds();
    let changed = host.ledger().since(&before, &[]);
    assert!(changed.is_empty(), "{changed}");
}

#[test]
fn a_service_that_left_the_file_is_an_orphan_until_it_is_removed() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    let cache = host.pid_of("cache");

    let without = STACK.split("  cache:").next().unwrap();
    host.write("compose.yaml", without);
    host.berth("up -d").succeeds().stderr_has("cache");
    assert_eq!(host.pid_of("cache"), cache);

    host.berth("up -d --remove-orphans").succeeds();
    assert!(host.status("stack-cache-1").is_null());
    host.berth("ps -a").succeeds().stdout_lacks("cache").stdout_has("web");
}

#[test]
fn containers_of_other_files_of_the_project_stay_whoever_removes_orphans() {
    let host = TestHost::with("compose.yaml", STACK);
    let sleeps = "{ image: 'busybox:1', command: [sleep, '100000'] }";
    host.write("jobs.yaml", &format!("services:\n  jobs: {sleeps}\n  old: {sleeps}\n"));
    host.berth("-f jobs.yaml up -d").succeeds();
    let pid = host.pid_of("jobs");
    let one_off = "run --remove-orphans --rm -T cache true";
    for words in ["up -d --remove-orphans", one_off, "down --remove-orphans"] {
        let file = host.project("jobs.yaml");
        let of = format!("other files of this project ({})", file.display());
        host.berth(words).succeeds().stderr_has(&of);
        assert_eq!(host.pid_of("jobs"), pid, "{words}");
    }
    // One that left these files goes, also when an override has come beside them.
    host.edit("jobs.yaml", &format!("  old: {sleeps}\n"), "");
    host.write("more.yaml", "services: { jobs: { labels: { a: b } } }");
    host.berth("-f jobs.yaml -f more.yaml up -d --remove-orphans").succeeds();
    assert!(host.status("stack-old-1").is_null());
    // A file that is gone has no containers any more.
    std::fs::remove_file(host.project("jobs.yaml")).unwrap();
    std::fs::remove_file(host.project("more.yaml")).unwrap();
    host.berth("up -d cache --remove-orphans").succeeds();
    assert!(host.status("stack-jobs-1").is_null());
}

#[test]
fn force_recreate_replaces_everything_and_no_recreate_nothing() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    let first = ["web", "cache"].map(|service| host.pid_of(service));

    host.edit("compose.yaml", "LOG: info", "LOG: debug");
    host.berth("up -d --no-recreate").succeeds();
    assert_eq!(first, ["web", "cache"].map(|service| host.pid_of(service)));

    host.berth("up -d --force-recreate").succeeds();
    let second = ["web", "cache"].map(|service| host.pid_of(service));
    assert!(first.iter().zip(&second).all(|(a, b)| a != b), "{first:?} {second:?}");
}

#[test]
fn one_service_is_brought_up_with_what_it_needs() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d web").succeeds();
    host.pid_of("web");
    host.pid_of("database");
    assert!(host.status("stack-cache-1").is_null());
}

#[test]
fn down_leaves_nothing() {
    let host = TestHost::with("compose.yaml", STACK);
    host.berth("up -d").succeeds();
    host.berth("down").succeeds();
    host.leaves_nothing_but(&[]);
    host.berth("down").succeeds();
}
