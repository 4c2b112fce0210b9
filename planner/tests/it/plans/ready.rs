//! The state that each container of a stack that is up is to reach.

use berth_planner::ready::{EndState, end_states};

use super::*;

/// A data store with checks, a migration that the application waits for, and a job by itself.
fn jobs() -> Stack {
    let mut stack = shop();
    let mut migrate = service("app:1");
    migrate.depends_on.insert("db".into(), dependency(Condition::ServiceHealthy));
    stack.services.insert("migrate".into(), migrate);
    let app = stack.services.get_mut("app").unwrap();
    let ended = dependency(Condition::ServiceCompletedSuccessfully);
    app.depends_on.insert("migrate".into(), ended);
    app.restart = RestartPolicy::Always;
    stack.services.insert("seed".into(), service("seed:1"));
    stack
}

fn reached(host: &FakeHost, services: &[&str]) -> String {
    let services = services.iter().map(|name| (*name).to_owned()).collect();
    let states = end_states("shop", &host.observed.containers, &services);
    let line = |(name, state): (&String, &EndState)| format!("{name} {state:?}");
    states.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_container_is_to_reach_what_its_file_declares() {
    let mut host = up_with(&jobs());
    host.observed.containers.get_mut("shop-db-1").unwrap().health = Health::Starting;
    assert_snapshot!(reached(&host, &[]), @r"
    shop-app-1 Running { may_end: false }
    shop-db-1 Healthy
    shop-migrate-1 Completed
    shop-seed-1 Running { may_end: true }
    shop-web-1 Running { may_end: true }
    ");
}

#[test]
fn a_service_that_the_run_is_not_about_is_not_judged() {
    let mut host = up_with(&jobs());
    host.observed.containers.get_mut("shop-db-1").unwrap().health = Health::Starting;
    assert_snapshot!(reached(&host, &["app"]), @"shop-app-1 Running { may_end: false }");
    assert_snapshot!(reached(&host, &["app", "migrate"]), @r"
    shop-app-1 Running { may_end: false }
    shop-migrate-1 Completed
    ");
    assert_snapshot!(reached(&host, &["seed"]), @"shop-seed-1 Running { may_end: true }");
}
