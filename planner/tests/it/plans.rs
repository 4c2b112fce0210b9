//! Two states in, a plan out as text.

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
use crate::host::FakeHost;
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

#[test]
fn an_empty_host_gets_everything() {
    assert_snapshot!(plan(&shop(), &FakeHost::new()), @"
    pull    image app:1
    pull    image nginx:1.27
    pull    image postgres:17
    create  network shop_back     172.19.0.0/16
    create  network shop_default  172.20.0.0/16
    create  volume shop_data
    create  db-1                  postgres:17
    create  app-1                 app:1
    create  web-1                 nginx:1.27
                                  PUBLIC 8080:80/tcp
    Plan: 6 create, 3 pull
    ");
}

#[test]
fn gates_stand_between_the_starts_and_creates_do_not_wait_for_them() {
    assert_snapshot!(steps(&plan(&shop(), &FakeHost::new())), @"
    0 pull_image app:1 ←
    1 pull_image nginx:1.27 ←
    2 pull_image postgres:17 ←
    3 create_network shop_back ← 0,1,2
    4 create_network shop_default ← 0,1,2
    5 create_volume shop_data ← 0,1,2
    6 create_container shop-db-1 ← 2,3,5
    7 start_container shop-db-1 ← 6
    8 create_container shop-app-1 ← 0,3,4
    9 create_container shop-web-1 ← 1,4
    10 await_container shop-db-1 ← 7
    11 start_container shop-app-1 ← 8,10
    12 start_container shop-web-1 ← 9,11
    ");
}

#[test]
fn a_stack_that_is_up_has_nothing_to_do() {
    let host = up_with(&shop());
    assert_snapshot!(plan(&shop(), &host), @"nothing to do");
}

#[test]
fn a_changed_variable_replaces_that_container_only_and_names_its_place() {
    let host = up_with(&shop());
    let mut stack = shop();
    let app = stack.services.get_mut("app").unwrap();
    app.environment.insert("LOG".into(), Some("debug".into()));
    stack.places.insert("services.app.environment.LOG", place(12, 11));
    let plan = plan(&stack, &host);
    assert_snapshot!(plan, @r#"
    replace  app-1  environment.LOG "info" → "debug" (shop.yaml:12:11)
    Plan: 1 replace, 5 unchanged
    "#);
    assert_snapshot!(steps(&plan), @"
    0 stop_container shop-app-1 ←
    1 remove_container shop-app-1 ← 0
    2 create_container shop-app-1 ← 1
    3 start_container shop-app-1 ← 2
    ");
}

#[test]
fn passwords_are_hidden() {
    let host = up_with(&shop());
    let mut stack = shop();
    let app = stack.services.get_mut("app").unwrap();
    app.environment.insert("DB_PASSWORD".into(), Some("two".into()));
    app.environment.insert("URL".into(), Some("postgres://me:two@db/shop".into()));
    let plan = plan(&stack, &host);
    assert_snapshot!(plan, @"
    replace  app-1  environment.DB_PASSWORD (hidden) → (hidden)
                    environment.URL — → (hidden)
    Plan: 1 replace, 5 unchanged
    ");
    let json = serde_json::to_string(&plan).unwrap();
    assert!(!json.contains("two") && !json.contains("one\""), "{json}");
}

#[test]
fn the_json_form_names_things_and_holds_no_descriptions() {
    let host = up_with(&shop());
    let mut stack = shop();
    let app = stack.services.get_mut("app").unwrap();
    app.environment.insert("LOG".into(), Some("debug".into()));
    let json = serde_json::to_string_pretty(&plan(&stack, &host)).unwrap();
    assert_snapshot!(json, @r#"
    {
      "format": "berth.plan/1",
      "stack": "shop",
      "summary": {
        "replace": 1,
        "unchanged": 5
      },
      "steps": [
        {
          "id": 0,
          "action": "stop_container",
          "target": "shop-app-1",
          "causes": [
            {
              "cause": "changed"
            }
          ],
          "after": []
        },
        {
          "id": 1,
          "action": "remove_container",
          "target": "shop-app-1",
          "causes": [
            {
              "cause": "changed"
            }
          ],
          "after": [
            0
          ]
        },
        {
          "id": 2,
          "action": "create_container",
          "target": "shop-app-1",
          "causes": [
            {
              "cause": "changed"
            }
          ],
          "changes": [
            {
              "path": "environment.LOG",
              "before": "\"info\"",
              "after": "\"debug\"",
              "sensitive": false
            }
          ],
          "after": [
            1
          ]
        },
        {
          "id": 3,
          "action": "start_container",
          "target": "shop-app-1",
          "causes": [
            {
              "cause": "changed"
            }
          ],
          "after": [
            2
          ]
        }
      ],
      "warnings": []
    }
    "#);
}

#[test]
fn a_moved_image_replaces_its_containers() {
    let mut host = up_with(&shop());
    host.observed.images.get_mut("app:1").unwrap().id = "sha256:abcdef0123456789".into();
    assert_snapshot!(plan(&shop(), &host), @"
    replace  app-1  image 1 → abcdef012345
    Plan: 1 replace, 5 unchanged
    ");
}

#[test]
fn dependents_that_ask_for_it_restart_with_what_they_depend_on() {
    let mut stack = shop();
    let app = stack.services.get_mut("app").unwrap();
    app.depends_on.get_mut("db").unwrap().restart = true;
    let host = up_with(&stack);
    stack.services.get_mut("db").unwrap().labels.insert("tier".into(), "data".into());
    let plan = plan(&stack, &host);
    assert_snapshot!(plan, @r#"
    restart  app-1  `db` restarts
    replace  db-1   labels.tier — → "data"
    Plan: 1 replace, 1 restart, 4 unchanged
    "#);
    assert_snapshot!(steps(&plan), @"
    0 stop_container shop-app-1 ←
    1 stop_container shop-db-1 ← 0
    2 remove_container shop-db-1 ← 1
    3 create_container shop-db-1 ← 2
    4 start_container shop-db-1 ← 3
    5 await_container shop-db-1 ← 4
    6 start_container shop-app-1 ← 0,5
    ");
}

#[test]
fn a_changed_network_is_made_anew_with_the_containers_on_it() {
    let host = up_with(&shop());
    let mut stack = shop();
    stack.networks.get_mut("back").unwrap().internal = true;
    let plan = plan(&stack, &host);
    assert_snapshot!(plan, @"
    replace  app-1              network `shop_back` is made anew
    replace  db-1               network `shop_back` is made anew
    replace  network shop_back  172.19.0.0/16
                                internal false → true
    Plan: 3 replace, 3 unchanged
    ");
    assert_snapshot!(steps(&plan), @"
    0 stop_container shop-app-1 ←
    1 stop_container shop-db-1 ← 0
    2 remove_container shop-db-1 ← 1
    3 remove_container shop-app-1 ← 0
    4 remove_network shop_back ← 2,3
    5 create_network shop_back ← 4
    6 create_container shop-db-1 ← 2,5
    7 start_container shop-db-1 ← 6
    8 create_container shop-app-1 ← 3,5
    9 await_container shop-db-1 ← 7
    10 start_container shop-app-1 ← 8,9
    ");
}

#[test]
fn what_shares_a_network_namespace_follows_its_owner() {
    let mut stack = shop();
    let mut side = service("side:1");
    side.networks.clear();
    side.network_mode = Some(berth_schema::stack::NetworkMode::Service("app".into()));
    stack.services.insert("side".into(), side);
    let host = up_with(&stack);
    stack.services.get_mut("app").unwrap().tty = true;
    assert_snapshot!(plan(&stack, &host), @"
    replace  side-1  shares the network of `shop-app-1`, which is made anew
    replace  app-1   tty false → true
    Plan: 2 replace, 5 unchanged
    ");
}

#[test]
fn ended_held_and_unmonitored_containers_are_put_right_without_replacing_them() {
    let mut host = up_with(&shop());
    let exited = ContainerState::Exited { exit_code: 137, finished_at: 0 };
    let containers = &mut host.observed.containers;
    containers.get_mut("shop-app-1").unwrap().state = exited;
    containers.get_mut("shop-web-1").unwrap().state = exited;
    containers.get_mut("shop-web-1").unwrap().held = true;
    containers.get_mut("shop-db-1").unwrap().monitored = false;
    host.observed.networks.get_mut("shop_back").unwrap().rules_present = false;
    host.observed.leftovers.insert(Leftover::Cgroup("berth/old".into()));
    assert_snapshot!(plan(&shop(), &host), @"
    remove  cgroup berth/old   left half made by a crash
    repair  network shop_back  drift: its firewall rules are gone
    repair  db-1               drift: its monitor is gone
    start   app-1              exited with 137
    start   web-1              was stopped by the user
    Plan: 2 start, 2 repair, 1 remove, 2 unchanged
    ");
}

#[test]
fn a_half_made_container_is_made_anew() {
    let mut host = up_with(&shop());
    host.observed.containers.get_mut("shop-app-1").unwrap().state = ContainerState::Broken;
    assert_snapshot!(plan(&shop(), &host), @"
    replace  app-1  left half made by a crash
    Plan: 1 replace, 5 unchanged
    ");
}

#[test]
fn scaling_down_removes_the_highest_numbers() {
    let mut stack = with([("app", service("app:1"))]);
    stack.services.get_mut("app").unwrap().replicas = 12;
    let host = up_with(&stack);
    let scale = BTreeMap::from([("app".to_string(), 9)]);
    let options = UpOptions { scale, ..UpOptions::default() };
    assert_snapshot!(plan_with(&stack, &host, &options), @"
    remove  app-12
    remove  app-11
    remove  app-10
    Plan: 3 remove, 10 unchanged
    ");
}

#[test]
fn orphans_stay_with_a_warning_unless_they_are_to_go() {
    let mut stack = shop();
    let host = up_with(&stack);
    stack.services.remove("web");
    assert_snapshot!(plan(&stack, &host), @"
    warning: container `shop-web-1` is an orphan: service `web` is not in the stack (`--remove-orphans` removes it)
    nothing to do
    ");
    let options = UpOptions { remove_orphans: true, ..UpOptions::default() };
    assert_snapshot!(plan_with(&stack, &host, &options), @"
    remove  web-1  orphan: its service is not in the stack
    Plan: 1 remove, 5 unchanged
    ");
    stack.inactive = vec!["web".into()];
    assert!(plan_with(&stack, &host, &options).is_empty());
}

#[test]
fn a_network_of_orphans_goes_with_them() {
    let mut stack = shop();
    let host = up_with(&stack);
    stack.services.remove("web");
    stack.services.get_mut("app").unwrap().networks.remove("default");
    stack.networks.remove("default");
    let options = UpOptions { remove_orphans: true, ..UpOptions::default() };
    let plan = plan_with(&stack, &host, &options);
    assert_snapshot!(plan, @"
    remove   web-1                 orphan: its service is not in the stack
    replace  app-1                 networks.shop_default on → —
    remove   network shop_default  not in the stack
    Plan: 1 replace, 2 remove, 3 unchanged
    ");
    assert_snapshot!(steps(&plan), @"
    0 stop_container shop-web-1 ←
    1 stop_container shop-app-1 ← 0
    2 remove_container shop-app-1 ← 1
    3 create_container shop-app-1 ← 2
    4 start_container shop-app-1 ← 3
    5 remove_container shop-web-1 ← 0
    6 remove_network shop_default ← 2,5
    ");
}

#[test]
fn named_services_come_with_what_they_depend_on() {
    let host = FakeHost::new();
    let options = UpOptions { services: vec!["app".into()], ..UpOptions::default() };
    assert_snapshot!(plan_with(&shop(), &host, &options), @"
    pull    image app:1
    pull    image postgres:17
    create  network shop_back     172.19.0.0/16
    create  network shop_default  172.20.0.0/16
    create  volume shop_data
    create  db-1                  postgres:17
    create  app-1                 app:1
    Plan: 5 create, 2 pull
    ");
    let options = UpOptions { no_deps: true, ..options };
    assert_snapshot!(plan_with(&shop(), &host, &options), @"
    pull    image app:1
    create  network shop_back     172.19.0.0/16
    create  network shop_default  172.20.0.0/16
    create  app-1                 app:1
    Plan: 3 create, 1 pull
    ");
}

#[test]
fn force_recreate_replaces_the_named_and_no_recreate_nothing() {
    let mut stack = shop();
    let host = up_with(&stack);
    let services = vec!["app".to_string()];
    let options = UpOptions { services, force_recreate: true, ..UpOptions::default() };
    assert_snapshot!(plan_with(&stack, &host, &options), @"
    replace  app-1
    Plan: 1 replace, 5 unchanged
    ");
    stack.services.get_mut("app").unwrap().tty = true;
    let options = UpOptions { no_recreate: true, ..UpOptions::default() };
    assert!(plan_with(&stack, &host, &options).is_empty());
}

#[test]
fn no_start_creates_and_starts_nothing() {
    let options = UpOptions { no_start: true, ..UpOptions::default() };
    let mut host = FakeHost::new();
    let created = plan_with(&shop(), &host, &options);
    assert!(!created.steps.iter().any(|step| step.action.verb() == "start_container"));
    host.apply_all(&created, 1);
    assert!(plan_with(&shop(), &host, &options).is_empty());
    assert_snapshot!(plan(&shop(), &host), @"
    start  db-1   not started yet
    start  app-1  not started yet
    start  web-1  not started yet
    Plan: 3 start, 3 unchanged
    ");
}

#[test]
fn a_replacement_keeps_its_addresses_and_its_ids() {
    let host = up_with(&shop());
    let mut stack = shop();
    stack.services.get_mut("db").unwrap().tty = true;
    let before = &host.observed.containers["shop-db-1"].record;
    let plan = plan(&stack, &host);
    let made = plan.steps.iter().find_map(|step| match &step.action {
        Action::CreateContainer(record) => Some(record),
        _ => None,
    });
    let made = made.unwrap();
    assert_eq!((&made.addresses, made.id_base), (&before.addresses, before.id_base));
    assert!(made.id_base.is_some());
}

#[test]
fn all_that_forbids_a_plan_comes_at_once() {
    let mut stack = shop();
    let mut host = up_with(&shop());
    stack.networks.get_mut("back").unwrap().internal = true;
    let mut foreign = host.observed.containers["shop-db-1"].clone();
    (foreign.record.project, foreign.record.name) = ("other".into(), "other-db-1".into());
    foreign.record.addresses.clear();
    host.observed.containers.insert("other-db-1".into(), foreign.clone());
    foreign.record.spec.networks.clear();
    foreign.record.name = "shop-new-1".into();
    host.observed.containers.insert("shop-new-1".into(), foreign);

    let network = Network { name: "elsewhere".into(), external: true, ..network("far") };
    stack.networks.insert("far".into(), network);
    let mut new = service("never:1");
    new.pull_policy = PullPolicy::Never;
    new.networks.insert("far".into(), ServiceNetwork::default());
    new.ports.push(port(8080, 9000));
    stack.services.insert("new".into(), new);
    let options = BTreeMap::from([("type".to_string(), "tmpfs".to_string())]);
    stack.volumes.get_mut("data").unwrap().driver_opts = options;
    assert_snapshot!(problems(&stack, &host), @r#"
    the name `shop-new-1` is taken by a container of project `other`
    network `elsewhere` is external and does not exist: make it first
    volume `shop_data` was made from another description (driver_opts.type — → "tmpfs"), and making it anew would lose its data: remove it first if that is what you want (`berth volume rm shop_data`)
    network `shop_back` has changed and has to be made anew, but container `other-db-1` (project `other`) is on it: remove that container first
    image `never:1` of service `new` is not here and is not to be pulled (`never`): `berth image pull never:1` gets it all the same
    port 8080/tcp of `shop-new-1` is already published by `shop-web-1`
    "#);
}

#[test]
fn subnets_that_overlap_are_refused_and_pools_run_out() {
    let mut stack = with([("app", service("app:1"))]);
    let pool = IpamPool { subnet: Some("172.18.4.0/24".into()), ..IpamPool::default() };
    stack.networks.get_mut("default").unwrap().ipam = vec![pool];
    assert_snapshot!(problems(&stack, &FakeHost::new()), @"subnet 172.18.4.0/24 of network `shop_default` overlaps the route 172.18.0.0/16 of this host: choose another `subnet`");
    let mut host = FakeHost::new();
    host.observed.host.routes =
        vec!["172.16.0.0/12".parse().unwrap(), "192.168.0.0/16".parse().unwrap()];
    stack.networks.get_mut("default").unwrap().ipam.clear();
    assert_snapshot!(problems(&stack, &host), @"no address pool is left for network `shop_default`: all of 172.18.0.0/16 to 172.31.0.0/16 and 192.168.0.0/16 overlap routes or networks of this host; name one in `ipam`");
}

#[test]
fn addresses_outside_taken_and_used_up_are_refused() {
    let mut stack = with([("a", service("a:1")), ("b", service("b:1")), ("c", service("c:1"))]);
    let subnet = Some("10.9.0.0/29".to_string());
    let ip_range = Some("10.9.0.4/31".to_string());
    let pool = IpamPool { subnet, ip_range, ..IpamPool::default() };
    stack.networks.get_mut("default").unwrap().ipam = vec![pool];
    let fixed = |stack: &mut Stack, service: &str, address: &str| {
        let service = stack.services.get_mut(service).unwrap();
        let network = service.networks.get_mut("default").unwrap();
        network.ipv4_address = Some(address.parse().unwrap());
    };
    fixed(&mut stack, "a", "10.9.1.1");
    fixed(&mut stack, "b", "10.9.0.1");
    assert_snapshot!(problems(&stack, &FakeHost::new()), @"
    address 10.9.1.1 of `shop-a-1` on network `shop_default` is outside of its subnets
    address 10.9.0.1 of `shop-b-1` on network `shop_default` is the gateway
    ");
    fixed(&mut stack, "a", "10.9.0.5");
    fixed(&mut stack, "b", "10.9.0.4");
    assert_snapshot!(problems(&stack, &FakeHost::new()), @"network `shop_default` has no free IPv4 address for container `shop-c-1`");
}

#[test]
fn down_stops_dependents_first_and_keeps_volumes() {
    let host = up_with(&shop());
    let plan = down("shop", &host.observed, &DownOptions::default()).unwrap();
    assert_snapshot!(steps(&plan), @"
    0 stop_container shop-web-1 ←
    1 stop_container shop-app-1 ←  ended 0
    2 stop_container shop-db-1 ←  ended 1
    3 remove_container shop-app-1 ← 1
    4 remove_container shop-db-1 ← 2
    5 remove_container shop-web-1 ← 0
    6 remove_network shop_back ← 3,4
    7 remove_network shop_default ← 3,5
    ");
    assert_snapshot!(plan, @"
    remove  web-1
    remove  app-1
    remove  db-1
    remove  network shop_back
    remove  network shop_default
    Plan: 5 remove
    ");
    let options = DownOptions { volumes: true, ..DownOptions::default() };
    let plan = down("shop", &host.observed, &options).unwrap();
    assert!(plan.to_string().contains("remove  volume shop_data"), "{plan}");
}

#[test]
fn down_keeps_what_others_use_and_says_so() {
    let mut host = up_with(&shop());
    let mut foreign = host.observed.containers["shop-db-1"].clone();
    (foreign.record.project, foreign.record.name) = ("other".into(), "other-db-1".into());
    host.observed.containers.insert("other-db-1".into(), foreign);
    let options = DownOptions { volumes: true, ..DownOptions::default() };
    assert_snapshot!(down("shop", &host.observed, &options).unwrap(), @"
    remove  web-1
    remove  app-1
    remove  db-1
    remove  network shop_default
    warning: network `shop_back` stays: container `other-db-1` is on it
    warning: volume `shop_data` stays: container `other-db-1` has it
    Plan: 4 remove
    ");
}

#[test]
fn down_of_one_service_removes_what_only_it_used() {
    let host = up_with(&shop());
    let services = vec!["db".to_string()];
    let known = Some(Known::of(&desired(&shop())));
    let options = DownOptions { services, known, volumes: true, ..DownOptions::default() };
    assert_snapshot!(down("shop", &host.observed, &options).unwrap(), @"
    remove  db-1
    remove  volume shop_data
    warning: network `shop_back` stays: container `shop-app-1` is on it
    Plan: 2 remove
    ");
    let options = DownOptions { services: vec!["dbb".into()], ..options };
    let refused = down("shop", &host.observed, &options).unwrap_err();
    assert_snapshot!(refused, @"no such service: `dbb`");
}

#[test]
fn start_stop_restart_and_kill_need_no_file() {
    let mut stack = shop();
    let app = stack.services.get_mut("app").unwrap();
    app.depends_on.get_mut("db").unwrap().restart = true;
    let mut host = up_with(&stack);
    let db = vec!["db".to_string()];
    let options = RestartOptions { services: db.clone(), ..RestartOptions::default() };
    assert_snapshot!(steps(&restart("shop", &host.observed, &options).unwrap()), @"
    0 stop_container shop-app-1 ←
    1 stop_container shop-db-1 ←  ended 0
    2 start_container shop-db-1 ← 1
    3 await_container shop-db-1 ← 2
    4 start_container shop-app-1 ← 0,3
    ");
    assert_snapshot!(kill("shop", &host.observed, &db, "SIGHUP").unwrap(), @"
    signal  db-1  SIGHUP
    Plan: 1 signal
    ");
    let stopping = stop("shop", &host.observed, &[], Some(Duration::from_secs(3))).unwrap();
    assert_snapshot!(steps(&stopping), @"
    0 stop_container shop-web-1 ←
    1 stop_container shop-app-1 ←  ended 0
    2 stop_container shop-db-1 ←  ended 1
    ");
    host.apply_all(&stopping, 3);
    assert!(host.observed.containers.values().all(|container| container.held));
    assert!(stop("shop", &host.observed, &[], None).unwrap().is_empty());
    let starting = start("shop", &host.observed, &[]).unwrap();
    assert_snapshot!(steps(&starting), @"
    0 start_container shop-db-1 ←
    1 await_container shop-db-1 ← 0
    2 start_container shop-app-1 ← 1
    3 start_container shop-web-1 ← 2
    ");
    let refused = start("shop", &host.observed, &["nobody".into()]).unwrap_err();
    assert_snapshot!(refused, @"service `nobody` has no container: `berth up` makes one");
}

#[test]
fn rm_removes_what_does_not_run() {
    let mut host = up_with(&shop());
    let exited = ContainerState::Exited { exit_code: 0, finished_at: 0 };
    host.observed.containers.get_mut("shop-web-1").unwrap().state = exited;
    assert_snapshot!(rm("shop", &host.observed, &RmOptions::default()).unwrap(), @"
    remove  web-1
    Plan: 1 remove, 2 unchanged
    ");
    let options = RmOptions { stop: true, ..RmOptions::default() };
    assert_snapshot!(rm("shop", &host.observed, &options).unwrap(), @"
    remove  app-1
    remove  db-1
    remove  web-1
    Plan: 3 remove
    ");
}

#[test]
fn run_starts_what_its_service_needs_and_one_container_with_its_own_words() {
    let mut host = FakeHost::new();
    let options = RunOptions {
        service: "app".into(),
        slug: "0123456789ab".into(),
        command: Some(vec!["migrate".into()]),
        ..RunOptions::default()
    };
    let plan_of_run = run(&desired(&shop()), &host.observed, &options, &Places::default()).unwrap();
    judge(&plan_of_run, Some(&desired(&shop())), &host.observed);
    assert_snapshot!(steps(&plan_of_run), @"
    0 pull_image app:1 ←
    1 pull_image postgres:17 ←
    2 create_network shop_back ← 0,1
    3 create_network shop_default ← 0,1
    4 create_volume shop_data ← 0,1
    5 create_container shop-db-1 ← 1,2,4
    6 start_container shop-db-1 ← 5
    7 create_container shop-app-run-0123456789ab ← 0,2,3
    8 await_container shop-db-1 ← 6
    9 start_container shop-app-run-0123456789ab ← 7,8
    ");
    host.apply_all(&plan_of_run, 5);
    assert_snapshot!(plan(&shop(), &host), @"
    pull    image nginx:1.27
    create  app-1             app:1
    create  web-1             nginx:1.27
                              PUBLIC 8080:80/tcp
    Plan: 2 create, 1 pull, 4 unchanged
    ");
    let gone = down("shop", &host.observed, &DownOptions::default()).unwrap();
    assert!(gone.to_string().contains("app-run-0123456789ab"), "{gone}");
}

#[test]
fn images_are_pulled_first_when_their_policy_says_so() {
    let mut stack = shop();
    let host = up_with(&stack);
    stack.services.get_mut("app").unwrap().pull_policy = PullPolicy::Always;
    stack.services.get_mut("db").unwrap().pull_policy = PullPolicy::Every(3600);
    stack.services.get_mut("web").unwrap().image = Some("localhost/host".into());
    stack.services.get_mut("web").unwrap().pull_policy = PullPolicy::Always;
    assert_snapshot!(pulls(&desired(&stack), &host.observed, 3599, false), @"
    pull  image app:1
    Plan: 1 pull
    ");
    assert_snapshot!(pulls(&desired(&stack), &host.observed, 3600, false), @"
    pull  image app:1
    pull  image postgres:17
    Plan: 2 pull
    ");
}

#[test]
fn the_host_image_is_never_pulled() {
    let stack = with([("app", service("localhost/host"))]);
    let plan = up(&desired(&stack), &Observed::default(), &UpOptions::default(), &stack.places);
    assert_snapshot!(plan.unwrap(), @"
    create  network shop_default  172.18.0.0/16
    create  app-1                 localhost/host
    Plan: 2 create
    ");
}

#[test]
fn two_hundred_services_come_up_and_stay_as_they_are() {
    let stack = many(200);
    let host = up_with(&stack);
    let desired: Desired = desired(&stack);
    let begin = Instant::now();
    let plan = up(&desired, &host.observed, &UpOptions::default(), &stack.places).unwrap();
    eprintln!("nothing to do for 200 containers: planned in {:?}", begin.elapsed());
    assert!(plan.is_empty());
    assert_eq!(plan.unchanged, 201);
}

#[test]
fn start_after_a_reboot_puts_the_networks_right_before() {
    let mut host = up_with(&shop());
    for container in host.observed.containers.values_mut() {
        (container.state, container.monitored) = (ContainerState::Created, false);
    }
    for network in host.observed.networks.values_mut() {
        (network.bridge_up, network.rules_present) = (false, false);
    }
    let starting = start("shop", &host.observed, &[]).unwrap();
    assert_snapshot!(steps(&starting), @"
    0 repair_network shop_back ←
    1 repair_network shop_default ←
    2 start_container shop-db-1 ← 0
    3 await_container shop-db-1 ← 2
    4 start_container shop-app-1 ← 0,1,3
    5 start_container shop-web-1 ← 1,4
    ");
    host.apply_all(&starting, 9);
    host.observed.containers.get_mut("shop-app-1").unwrap().state = ContainerState::Broken;
    host.drop_network("shop_default").unwrap();
    let options = RestartOptions::default();
    assert_snapshot!(restart("shop", &host.observed, &options).unwrap_err(), @"
    network `shop_default` of container `shop-app-1` does not exist any more: `berth up` makes both anew
    network `shop_default` of container `shop-web-1` does not exist any more: `berth up` makes both anew
    container `shop-app-1` is half made: `berth up` makes it anew
    ");
}

fn many(count: usize) -> Stack {
    let mut stack = with([("s0", service("app:1"))]);
    for number in 1..count {
        let mut service = service("app:1");
        let on = format!("s{}", number / 2);
        service.depends_on.insert(on, dependency(Condition::ServiceStarted));
        service.environment.insert("NUMBER".into(), Some(number.to_string()));
        stack.services.insert(format!("s{number}"), service);
    }
    stack.services.get_mut("s1").unwrap().depends_on.clear();
    stack
}
