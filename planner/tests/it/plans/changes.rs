//! What is made anew when something changed, and what is put right.

use super::*;

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
    let db = stack.services.get_mut("db").unwrap();
    db.environment.insert("TIER".into(), Some("data".into()));
    let plan = plan(&stack, &host);
    assert_snapshot!(plan, @r#"
    restart  app-1  `db` restarts
    replace  db-1   environment.TIER — → "data"
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
fn a_route_that_came_to_lead_where_a_network_is_is_told() {
    let stack = with([("app", service("app:1"))]);
    let mut host = up_with(&stack);
    let [subnet] = host.observed.networks["shop_default"].record.subnets[..] else { panic!() };
    assert_eq!(plan(&stack, &host).warnings, [""; 0]);

    let clear = host.observed.host.routes.clone();
    for route in ["172.16.0.0/12", "172.19.7.0/24", "172.20.0.0/16"] {
        host.observed.host.routes.push(route.parse().unwrap());
    }
    assert_snapshot!(plan(&stack, &host), @r"
    warning: network `shop_default` has 172.19.0.0/16, and the route 172.16.0.0/12 of this host overlaps it: its containers and whoever is behind that route may not reach each other; name another `subnet` in its `ipam.config`
    warning: network `shop_default` has 172.19.0.0/16, and the route 172.19.7.0/24 of this host overlaps it: its containers and whoever is behind that route may not reach each other; name another `subnet` in its `ipam.config`
    nothing to do
    ");

    host.observed.host.routes = clear;
    host.observed.host.routes.push(subnet.net);
    assert_snapshot!(plan(&stack, &host), @r"
    warning: network `shop_default` has 172.19.0.0/16, and the route 172.19.0.0/16 of this host overlaps it: its containers and whoever is behind that route may not reach each other; name another `subnet` in its `ipam.config`
    nothing to do
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
    replace  side-1  shares a namespace of `shop-app-1`, which is made anew
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

/// The shop with a limit of memory for `app`.
fn limited(memory: u64) -> Stack {
    let mut stack = shop();
    stack.services.get_mut("app").unwrap().limits.memory = Some(memory);
    stack.places.insert("services.app.mem_limit", place(4, 16));
    stack
}

#[test]
fn a_changed_limit_is_written_to_the_container_that_runs() {
    let plan = plan(&limited(128 << 20), &up_with(&limited(64 << 20)));
    assert_snapshot!(plan, @r#"
    update  app-1  limits.memory "64 MiB" → "128 MiB" (shop.yaml:4:16)
    Plan: 1 update, 5 unchanged
    "#);
    assert_snapshot!(steps(&plan), @"0 update_container shop-app-1 ←");
}

#[test]
fn a_limit_that_changes_with_something_else_comes_with_the_new_container() {
    let mut stack = limited(128 << 20);
    let app = stack.services.get_mut("app").unwrap();
    app.environment.insert("TIER".into(), Some("web".into()));
    let plan = plan(&stack, &up_with(&limited(64 << 20)));
    assert_snapshot!(plan, @r#"
    replace  app-1  environment.TIER — → "web"
                    limits.memory "64 MiB" → "128 MiB" (shop.yaml:4:16)
    Plan: 1 replace, 5 unchanged
    "#);
}

#[test]
fn a_label_and_what_is_waited_for_are_noted_in_the_record_alone() {
    let mut stack = shop();
    let app = stack.services.get_mut("app").unwrap();
    app.labels.insert("tier".into(), "web".into());
    app.depends_on.get_mut("db").unwrap().restart = true;
    let mut host = up_with(&shop());
    let changed = plan(&stack, &host);
    assert_snapshot!(changed, @r#"
    update  app-1  only its record
                   labels.tier — → "web"
                   depends_on.db.restart false → true
    Plan: 1 update, 5 unchanged
    "#);
    assert_snapshot!(steps(&changed), @"0 update_container shop-app-1 ←");
    let json = serde_json::to_value(&changed).unwrap();
    assert_eq!(json["steps"][0]["changes"][0]["class"], "meta");
    host.apply_all(&changed, 0);
    assert!(plan(&stack, &host).is_empty());
}

#[test]
fn a_stopped_container_gets_its_limit_before_it_starts_and_an_unseen_one_its_monitor_first() {
    let mut host = up_with(&limited(64 << 20));
    let app = host.observed.containers.get_mut("shop-app-1").unwrap();
    app.state = ContainerState::Exited { exit_code: 1, finished_at: 0 };
    app.monitored = false;
    let stack = limited(128 << 20);
    assert_snapshot!(steps(&plan(&stack, &host)), @"
    0 update_container shop-app-1 ←
    1 start_container shop-app-1 ← 0
    ");
    let app = host.observed.containers.get_mut("shop-app-1").unwrap();
    app.state = ContainerState::Running { pid: 7, started_at: 0 };
    assert_snapshot!(steps(&plan(&stack, &host)), @"
    0 adopt_container shop-app-1 ←
    1 update_container shop-app-1 ← 0
    ");
}

#[test]
fn a_limit_that_is_written_while_it_runs_leaves_the_grants_of_now() {
    let host = up_with(&limited(64 << 20));
    let mut desired = desired(&limited(128 << 20));
    desired.judged.grants.insert("app".into(), ["new".to_owned()].into());
    let plan = up(&desired, &host.observed, &UpOptions::default(), &Places::default()).unwrap();
    let [Step { action: Action::UpdateContainer(record), .. }] = plan.steps.as_slice() else {
        panic!("{plan}")
    };
    assert_eq!(record.grants, ["new".to_owned()].into());
}

#[test]
fn a_path_that_leads_elsewhere_is_a_reason_to_make_the_container_anew_and_forbids_a_restart() {
    let mut host = up_with(&shop());
    let app = host.observed.containers.get_mut("shop-app-1").unwrap();
    app.record.judged = [("/srv/cur".into(), "/srv/1".into())].into();
    app.moved = [("/srv/cur".into(), "/srv/2".into())].into();
    assert_snapshot!(plan(&shop(), &host), @"
    replace  app-1  /srv/cur leads to /srv/2, not to /srv/1 any more
    Plan: 1 replace, 5 unchanged
    ");
    let restarted = restart("shop", &host.observed, &RestartOptions::default()).unwrap_err();
    assert_snapshot!(restarted, @"`/srv/cur`, which container `shop-app-1` mounts, leads to `/srv/2` now, and nobody has judged that: `berth up` does, and makes the container anew");
    assert!(start("shop", &host.observed, &[]).is_ok(), "what runs stays as it is");
    host.observed.containers.get_mut("shop-app-1").unwrap().state =
        ContainerState::Exited { exit_code: 0, finished_at: 0 };
    assert_eq!(start("shop", &host.observed, &[]).unwrap_err(), restarted);
}

#[test]
fn a_container_that_runs_is_given_a_new_network_after_it_is_made_and_its_address() {
    let host = up_with(&shop());
    let mut stack = shop();
    let mut spec = stack.networks["default"].clone();
    spec.name = "shop_late".into();
    stack.networks.insert("late".into(), spec);
    let app = stack.services.get_mut("app").unwrap();
    let endpoint = app.networks["default"].clone();
    app.networks.insert("late".into(), endpoint);
    let plan = plan(&stack, &host);
    assert_snapshot!(plan, @"
    create  network shop_late  172.21.0.0/16
    update  app-1              networks.shop_late — → on
    Plan: 1 create, 1 update, 5 unchanged
    ");
    assert_snapshot!(steps(&plan), @"
    0 create_network shop_late ←
    1 update_container shop-app-1 ← 0
    ");
}

#[test]
fn over_what_has_ended_a_service_stops_before_what_it_needs() {
    let mut migrate = service("app:1");
    migrate.depends_on.insert("db".into(), dependency(Condition::ServiceStarted));
    let mut app = service("app:1");
    let done = dependency(Condition::ServiceCompletedSuccessfully);
    app.depends_on.insert("migrate".into(), done);
    let mut stack = with([("app", app), ("db", service("db:1")), ("migrate", migrate)]);
    let host = up_with(&stack);
    for service in ["app", "db"] {
        stack.services.get_mut(service).unwrap().image = Some("app:1".into());
        let value = Some("1".to_owned());
        stack.services.get_mut(service).unwrap().environment.insert("NEW".into(), value);
    }
    let plan = plan(&stack, &host);
    let at = |verb: &str, name: &str| {
        let is = |step: &&Step| step.action.verb() == verb && step.action.target() == name;
        plan.steps.iter().find(is).unwrap()
    };
    let (app, db) = (at("stop_container", "shop-app-1"), at("stop_container", "shop-db-1"));
    assert!(db.after.contains(&app.id), "{plan}");
}
