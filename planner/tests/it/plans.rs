//! Two states in, a plan out as text.

mod beside;
mod bound;
mod changes;
mod contents;
mod differences;
mod exchanges;
mod holds;
mod inits;
mod kept;
mod lifecycle;
mod limits;
mod options;
mod orders;
mod owners;
mod pairs;
mod ports;
mod ready;
mod refusals;
mod rollouts;
mod saved;
mod turned;
mod views;
mod whole;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use berth_planner::action::Action;
use berth_planner::desired::Desired;
use berth_planner::observed::*;
use berth_planner::*;
use berth_schema::stack::*;
use insta::assert_snapshot;

use crate::checker::judge;
use crate::commands::{down, kill, pause, restart, rm, start, stop, stop_all_but_runs, unpause};
use crate::host::{Break, FakeHost};
use crate::stacks::{dependency, desired, network, service, with};

/// A web front, its application and a data store.
fn shop() -> Stack {
    let mut web = service("nginx:1.27");
    web.ports.push(port(8080, 80));
    web.depends_on.insert("app".into(), dependency(Condition::ServiceStarted));
    let mut app = service("app:1");
    app.environment.insert("LOG".into(), Some("info".into()));
    app.environment.insert("DB_PASSWORD".into(), Some("one".into()));
    app.depends_on.insert("db".into(), dependency(Condition::ServiceHealthy));
    app.networks.insert("back".into(), ServiceNetwork::default());
    let mut db = service("postgres:17");
    db.healthcheck = Some(Healthcheck::default());
    db.networks = BTreeMap::from([("back".into(), ServiceNetwork::default())]);
    let source = MountSource::Volume { name: "data".into(), nocopy: false, subpath: None };
    db.volumes.push(Mount { target: "/data".into(), source, read_only: false });
    with([("web", web), ("app", app), ("db", db)])
}

fn port(published: u16, target: u16) -> Port {
    let published = Some((published, published));
    Port { target, published, host_ip: None, protocol: Protocol::Tcp }
}

/// The host with a stack up and its images there.
fn up_with(stack: &Stack) -> FakeHost {
    let mut host = FakeHost::new();
    let plan = plan(stack, &host);
    host.apply_all(&plan, 7);
    host
}

fn plan(stack: &Stack, host: &FakeHost) -> Plan {
    plan_with(stack, host, &UpOptions::default())
}

fn plan_with(stack: &Stack, host: &FakeHost, options: &UpOptions) -> Plan {
    let plan = up(&desired(stack), &host.observed, options, &stack.places).unwrap();
    judge(&plan, Some(&desired(stack)), &host.observed);
    plan
}

fn problems(stack: &Stack, host: &FakeHost) -> PlanProblems {
    let places = Places::default();
    up(&desired(stack), &host.observed, &UpOptions::default(), &places).unwrap_err()
}

fn place(line: u32, column: u32) -> Place {
    Place { file: PathBuf::from("shop.yaml"), line, column }
}

/// Steps in the order of their numbers, with what they wait for.
fn steps(plan: &Plan) -> String {
    let line = |step: &Step| {
        let ids =
            |ids: &[StepId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let tried = match step.after_tried.is_empty() {
            true => String::new(),
            false => format!(" ended {}", ids(&step.after_tried)),
        };
        let (verb, target) = (step.action.verb(), step.action.target());
        format!("{} {verb} {target} ← {}{tried}", step.id, ids(&step.after)).trim_end().to_string()
    };
    plan.steps.iter().map(line).collect::<Vec<_>>().join("\n")
}
