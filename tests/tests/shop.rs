//! The shop: nginx, Python, PostgreSQL and Redis from Debian packages, as a user would run them.

use berth_tests::{TestHost, images};

/// A machine with `examples/shop` up.
fn shop() -> Option<TestHost> {
    let archive = match images::shop() {
        Ok(archive) => archive,
        Err(why) => {
            berth_tests::skipped(&why);
            return None;
        }
    };
    let host = TestHost::bare();
    host.copy_example("shop");
    host.load(&archive);
    host.berth("up -d --wait").succeeds();
    Some(host)
}

const SERVICES: [&str; 4] = ["web", "app", "database", "cache"];

#[test]
fn the_shop_answers_survives_a_kill_and_changes_one_container() {
    let Some(host) = shop() else { return };
    assert_eq!(host.get("127.0.0.1:8081/"), "Welcome: order 1, view 1\n");
    assert_eq!(host.get_from_outside("192.0.2.1:8081/"), "Welcome: order 2, view 2\n");

    // Killed, the application is back by its policy, and the site answers again.
    let before = SERVICES.map(|service| host.pid_of(service));
    host.kill("KILL", before[1].pid);
    host.eventually("the site answers again", || host.get("127.0.0.1:8081/").contains("order 3"));
    assert_ne!(host.pid_of("app"), before[1]);

    // One changed variable: the plan names its place, and only that container is replaced.
    let before = SERVICES.map(|service| host.pid_of(service));
    let file = std::fs::read_to_string(host.project("compose.yaml")).unwrap();
    let line = 1 + file.lines().position(|l| l.contains("GREETING: Welcome")).unwrap();
    host.edit("compose.yaml", "GREETING: Welcome", "GREETING: Good evening");
    host.berth("plan")
        .succeeds()
        .stdout_has("GREETING")
        .stdout_has(&format!("compose.yaml:{line}"));
    host.berth("up -d --wait").succeeds();
    let after = SERVICES.map(|service| host.pid_of(service));
    let changed: Vec<&str> =
        (0..4).filter(|i| before[*i] != after[*i]).map(|i| SERVICES[i]).collect();
    assert_eq!(changed, ["app"]);
    host.eventually("the site answers", || {
        host.get("127.0.0.1:8081/").starts_with("Good evening: order")
    });

    host.berth("up -d").succeeds();
    assert_eq!(after, SERVICES.map(|service| host.pid_of(service)));

    // The orders outlive everything but `down -v`.
    host.berth("down").succeeds();
    host.leaves_nothing_but(&["/volumes/stack_orders"]);
    host.berth("up -d --wait").succeeds();
    let page = host.get("127.0.0.1:8081/");
    let order: u32 =
        page.split("order ").nth(1).and_then(|r| r.split(',').next()).unwrap().parse().unwrap();
    assert!(order >= 4, "{page}");
}

#[test]
fn the_parts_of_the_shop_see_only_their_neighbours() {
    let Some(host) = shop() else { return };
    let resolves = |from: &str, name: &str| {
        host.berth(&format!("exec -T {from} getent hosts {name}")).code == 0
    };
    assert!(resolves("web", "app") && resolves("app", "database") && resolves("app", "cache"));
    assert!(!resolves("web", "database") && !resolves("cache", "web"));
}
