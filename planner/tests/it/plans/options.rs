//! What `up` does as it is asked: scale, orphans, services by name.

use super::*;

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
    update  app-1                 networks.shop_default on → —
    remove  web-1                 orphan: its service is not in the stack
    remove  network shop_default  not in the stack
    Plan: 1 update, 2 remove, 3 unchanged
    ");
    assert_snapshot!(steps(&plan), @"
    0 update_container shop-app-1 ←
    1 stop_container shop-web-1 ←
    2 remove_container shop-web-1 ← 1
    3 remove_network shop_default ← 0,2
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
